//! A file on a volume, and a model of what it maps.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::change::Change;
use crate::error::Result;
use crate::format::extent::{self, Node};
use crate::format::inode::Inode;
use crate::format::inode_flags::InodeFlags;
use crate::mapping::{self, Progress};
use crate::namespace;
use crate::run::{ExtentState, MappedExtent};
use crate::space::{BlockRequest, BlockRun, FreeCounts, Purpose};
use crate::testing::Fixture;
use crate::types::{FileBlock, FsBlock, InodeNumber};

/// Credits of the steps that may be many.
pub(super) const CREDITS: usize = 64;

/// What a file block maps to: the device's block, and whether it is written.
pub(super) type Model = BTreeMap<u64, (u64, bool)>;

pub(super) struct Bench {
    pub(super) fixture: Fixture,
    pub(super) file: InodeNumber,
    pub(super) model: Model,
}

impl Bench {
    /// `None` if there is no mke2fs.
    pub(super) fn new(options: &[&str], size: &str) -> Option<Self> {
        let fixture = Fixture::filled(options, size, |tree| {
            std::fs::write(tree.join("file"), "").unwrap();
            std::fs::write(tree.join("other"), "").unwrap();
        })?;
        Some(Self::of(fixture))
    }

    /// On a volume that has the files "file" and "other", both empty.
    pub(super) fn of(fixture: Fixture) -> Self {
        let file = named(&fixture, b"/file");
        for number in [file, named(&fixture, b"/other")] {
            let mut change = fixture.writer.begin(4).unwrap();
            let flags = change.inode(number).unwrap().flags();
            let empty = mapping::empty_map(&fixture.writer.store.superblock, flags);
            change
                .edit_inode(number, |edit| {
                    *edit.block_area_mut()? = empty;
                    // More than any test maps, so that nothing lies behind the end.
                    edit.set_size(512 << 20)
                })
                .unwrap();
            change.finish();
        }
        Self {
            fixture,
            file,
            model: Model::new(),
        }
    }

    /// Maps single blocks with a hole after each, in this order.
    pub(super) fn comb(&mut self, blocks: impl Iterator<Item = u64>, written: bool) {
        let blocks: Vec<u64> = blocks.collect();
        for some in blocks.chunks(100) {
            let mut model = std::mem::take(&mut self.model);
            self.change(CREDITS, |change| {
                let mut taken = 0..0;
                for &block in some {
                    if taken.is_empty() {
                        let run = change.allocate(request(FsBlock(0), some.len() as u64))?;
                        taken = run.start.0..run.start.0 + run.len_blocks;
                    }
                    let device = taken.next().unwrap();
                    mapping::insert(change, self.file, single(block, device, written))?;
                    model.insert(block, (device, written));
                }
                for left in taken {
                    change.free_data(BlockRun {
                        start: FsBlock(left),
                        len_blocks: 1,
                    })?;
                }
                Ok(())
            })
            .unwrap();
            self.model = model;
        }
    }

    /// The same file in an image that was changed outside.
    pub(super) fn reopened(image: Vec<u8>) -> Self {
        let fixture = Fixture::of(image);
        let file = named(&fixture, b"/file");
        Self {
            fixture,
            file,
            model: Model::new(),
        }
    }

    /// Blocks of nodes, by what the inode says it holds.
    pub(super) fn node_blocks(&self) -> u64 {
        let unit = u64::from(self.fixture.writer.store.superblock.block_bytes / 512);
        self.inode().blocks_512() / unit - self.model.len() as u64
    }

    pub(super) fn inode(&self) -> Arc<Inode> {
        self.fixture.writer.store.inode(self.file).unwrap()
    }

    pub(super) fn has_extents(&self) -> bool {
        self.inode().flags().contains(InodeFlags::EXTENTS)
    }

    pub(super) fn depth(&self) -> u16 {
        match extent::view(self.inode().block_area()) {
            Some(Node::Index { depth, .. }) => depth,
            _ => 0,
        }
    }

    pub(super) fn free(&self) -> FreeCounts {
        self.fixture.writer.space.counts()
    }

    /// One change, finished if all goes well.
    pub(super) fn change<T>(
        &self,
        credits: usize,
        edit: impl FnOnce(&mut Change<'_>) -> Result<T>,
    ) -> Result<T> {
        let mut change = self.fixture.writer.begin(credits)?;
        let output = edit(&mut change)?;
        change.finish();
        Ok(output)
    }

    /// Allocates and maps the holes of a range.
    pub(super) fn fill(&mut self, range: Range<u64>, written: bool) -> Result<()> {
        let mut model = self.model.clone();
        self.change(CREDITS, |change| {
            fill(change, self.file, &mut model, range, written)
        })?;
        self.model = model;
        Ok(())
    }

    pub(super) fn remove(&mut self, range: Range<u64>) -> Result<()> {
        let mut end = FileBlock(range.end);
        loop {
            let left = FileBlock(range.start)..end;
            let progress =
                self.change(CREDITS, |change| mapping::remove(change, self.file, left))?;
            match progress {
                Progress::Done => break,
                Progress::Until(next) => {
                    assert!(next < end, "no progress at {end}");
                    end = next;
                    self.model.retain(|block, _| {
                        !(range.start..range.end).contains(block) || *block < end.0
                    });
                    self.check();
                }
            }
        }
        self.model
            .retain(|block, _| !(range.start..range.end).contains(block));
        Ok(())
    }

    pub(super) fn convert(&mut self, range: Range<u64>, written: bool) -> Result<()> {
        let blocks = FileBlock(range.start)..FileBlock(range.end);
        self.change(CREDITS, |change| {
            mapping::convert(change, self.file, blocks, written)
        })?;
        for (_, state) in self.model.range_mut(range) {
            state.1 = written;
        }
        Ok(())
    }

    /// Removes `by` blocks before `from`, and closes the gap.
    pub(super) fn collapse(&mut self, from: u64, by: u64) -> Result<()> {
        self.remove(from - by..from)?;
        let mut at = FileBlock(from);
        while let Progress::Until(next) = self.change(CREDITS, |change| {
            mapping::shift_down(change, self.file, at, by)
        })? {
            assert!(next > at);
            at = next;
        }
        let moved = self.model.split_off(&from);
        (self.model).extend(moved.into_iter().map(|(block, state)| (block - by, state)));
        Ok(())
    }

    /// Makes a hole of `by` blocks at `from`.
    pub(super) fn open_gap(&mut self, from: u64, by: u64) -> Result<()> {
        let mut end = FileBlock(mapping::FILE_BLOCKS_MAX);
        while let Progress::Until(next) = self.change(CREDITS, |change| {
            mapping::shift_up(change, self.file, FileBlock(from)..end, by)
        })? {
            assert!(next < end);
            end = next;
        }
        let moved = self.model.split_off(&from);
        (self.model).extend(moved.into_iter().map(|(block, state)| (block + by, state)));
        Ok(())
    }

    /// The map as the reading code sees it, without holes.
    pub(super) fn runs(&self) -> Vec<MappedExtent> {
        runs(&self.fixture, self.file)
    }

    /// Fails unless the map is the model.
    #[track_caller]
    pub(super) fn check(&self) {
        assert_eq!(self.runs(), model_runs(&self.model));
    }

    /// Checks, closes, and has e2fsck judge.
    #[track_caller]
    pub(super) fn close(self) {
        self.check();
        self.fixture.close();
    }
}

pub(super) fn named(fixture: &Fixture, path: &[u8]) -> InodeNumber {
    let inode = namespace::resolve(&fixture.writer.store, path, false).unwrap();
    inode.number()
}

pub(super) fn runs(fixture: &Fixture, file: InodeNumber) -> Vec<MappedExtent> {
    let store = &fixture.writer.store;
    let inode = store.inode(file).unwrap();
    let limit = FileBlock(mapping::FILE_BLOCKS_MAX);
    let (mut runs, mut at) = (Vec::new(), FileBlock(0));
    while at < limit {
        let run = mapping::map(store, &inode, at, limit).unwrap();
        at = run.end();
        if run.state != ExtentState::Hole {
            runs.push(run);
        }
    }
    runs
}

/// One block's run.
pub(super) fn single(block: u64, device: u64, written: bool) -> MappedExtent {
    MappedExtent {
        file_block: FileBlock(block),
        len_blocks: 1,
        state: if written {
            ExtentState::Written(FsBlock(device))
        } else {
            ExtentState::Unwritten(FsBlock(device))
        },
    }
}

pub(super) fn request(goal: FsBlock, len_blocks: u64) -> BlockRequest {
    BlockRequest {
        goal,
        len_blocks,
        purpose: Purpose::Metadata,
        may_use_reserve: false,
    }
}

fn model_runs(model: &Model) -> Vec<MappedExtent> {
    let mut runs: Vec<MappedExtent> = Vec::new();
    for (&block, &(device, written)) in model {
        let run = single(block, device, written);
        if !runs.last_mut().is_some_and(|last| last.merge(&run)) {
            runs.push(run);
        }
    }
    runs
}

/// Allocates and maps the holes of a range within a change.
pub(super) fn fill(
    change: &mut Change<'_>,
    file: InodeNumber,
    model: &mut Model,
    range: Range<u64>,
    written: bool,
) -> Result<()> {
    let mut at = range.start;
    while at < range.end {
        if model.contains_key(&at) {
            at += 1;
            continue;
        }
        let next = model
            .range(at..)
            .next()
            .map_or(u64::MAX, |(block, _)| *block);
        let before = model.range(..at).next_back();
        let goal = before.map_or(0, |(_, (device, _))| device + 1);
        let run = change.allocate(request(FsBlock(goal), next.min(range.end) - at))?;
        let mapped = MappedExtent {
            len_blocks: run.len_blocks,
            ..single(at, run.start.0, written)
        };
        mapping::insert(change, file, mapped)?;
        for block in 0..run.len_blocks {
            model.insert(at + block, (run.start.0 + block, written));
        }
        at += run.len_blocks;
    }
    Ok(())
}

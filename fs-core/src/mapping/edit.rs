//! Changing a file's block map, whichever of the two kinds it is of.
//!
//! All functions work within a [`Change`] on an inode whose lock the caller holds, keep
//! `i_blocks` right, and leave everything to the change's rollback if they fail. Those
//! that may touch many blocks come in bounded steps: they watch the credits of the change
//! and return [`Progress::Until`]; begun with [`FRESH_CREDITS`] or more they always get
//! further. After each step the map is valid.

use std::ops::Range;
use std::sync::Arc;

use crate::change::Change;
use crate::error::{Error, ErrorKind, Result};
use crate::format::extent::{self, Node};
use crate::format::inode::Inode;
use crate::format::inode_flags::InodeFlags;
use crate::format::superblock::Superblock;
use crate::mapping::extent_path::ExtentTree;
use crate::mapping::indirect_edit::IndirectMap;
use crate::mapping::{self, extent_convert, extent_insert, extent_remove, extent_shift};
use crate::run::{ExtentState, MappedExtent};
use crate::space::BlockRun;
use crate::store::Store;
use crate::types::{FileBlock, FileType, InodeNumber};

/// Credits with which a step always gets further.
pub(crate) const FRESH_CREDITS: usize = 64;
/// What the next part of a step may cost: a leaf of a tree of depth 5 split once, with the
/// bitmaps and descriptors of new nodes, and those of the groups one extent lies in.
const STEP_CREDITS: usize = 40;
/// Runs of content given back after which a step ends: others wait for the transaction.
/// Blocks count where each is revoked by itself.
const STEP_RUNS: u64 = 4096;
/// File blocks in use lie below this: Linux keeps the last number for itself.
pub(super) const FILE_BLOCKS_USED_MAX: u64 = mapping::FILE_BLOCKS_MAX - 1;

/// How far a step came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// All is done.
    Done,
    /// Not finished: call again, in another change, from (or up to) here.
    Until(FileBlock),
}

/// What becomes of unmapped blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// They are given back.
    Free,
    /// They are, or will be, mapped elsewhere.
    Keep,
}

impl Fate {
    /// Gives back what a run maps, unless it is kept.
    pub(super) fn apply(
        self,
        change: &mut Change<'_>,
        inode: &Inode,
        run: &MappedExtent,
    ) -> Result<()> {
        let (ExtentState::Written(start) | ExtentState::Unwritten(start)) = run.state else {
            return Ok(());
        };
        if self == Self::Keep {
            return Ok(());
        }
        let blocks = (0..run.len_blocks).filter_map(|block| start.checked_add(block));
        if inode.file_type() == FileType::Directory {
            return blocks
                .into_iter()
                .try_for_each(|block| change.free_metadata(block));
        }
        change.free_data(BlockRun {
            start,
            len_blocks: run.len_blocks,
        })?;
        // These are read through the cache although they are written past it: what it
        // holds must not be taken for the blocks' next content.
        if inode.file_type() == FileType::Symlink || inode.flags().contains(InodeFlags::EA_INODE) {
            for block in blocks {
                change.cache().forget(block);
            }
        }
        Ok(())
    }
}

/// How much one step may still do.
#[derive(Debug)]
pub(super) struct Budget {
    runs_left: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            runs_left: STEP_RUNS,
        }
    }
}

impl Budget {
    /// A run of the inode's content has been unmapped.
    pub(super) fn spend(&mut self, inode: &Inode, run: &MappedExtent) {
        let is_revoked = inode.file_type() == FileType::Directory;
        let runs = if is_revoked { run.len_blocks } else { 1 };
        self.runs_left = self.runs_left.saturating_sub(runs);
    }

    /// The step ought to end.
    pub(super) fn is_spent(&self, change: &Change<'_>) -> bool {
        self.runs_left == 0 || change.handle.credits_left() < STEP_CREDITS
    }
}

/// Blocks a map gained and lost.
#[derive(Debug, Default)]
pub(super) struct Account {
    gained: u64,
    lost: u64,
}

impl Account {
    pub(super) fn add(&mut self, blocks: u64) {
        self.gained = self.gained.saturating_add(blocks);
    }

    pub(super) fn subtract(&mut self, blocks: u64) {
        self.lost = self.lost.saturating_add(blocks);
    }

    /// The inode's new count; `None` if it stays.
    ///
    /// # Errors
    /// `Corrupt` if the inode claims fewer blocks than it lost.
    pub(super) fn blocks_512(&self, store: &Store, inode: &Inode) -> Result<Option<u64>> {
        if self.gained == self.lost {
            return Ok(None);
        }
        let unit = u64::from(store.superblock.block_bytes / 512);
        let before = inode.blocks_512();
        let gained = self.gained.saturating_mul(unit);
        let lost = self.lost.saturating_mul(unit);
        match before.saturating_add(gained).checked_sub(lost) {
            Some(count) => Ok(Some(count)),
            None => Err(Error::corrupt(
                format_args!("i_blocks of inode {}", inode.number()),
                None,
                format_args!("{lost} or more"),
                before,
            )),
        }
    }
}

/// The map of a file without blocks, for an inode with these flags.
pub(crate) fn empty_map(_superblock: &Superblock, flags: InodeFlags) -> [u8; 60] {
    let mut area = [0; 60];
    if flags.contains(InodeFlags::EXTENTS) {
        // An empty leaf fits.
        let _ = extent::encode_leaf(&[], &mut area);
    }
    area
}

/// Maps a run over a hole; what it continues becomes one extent with it. Its blocks are
/// allocated and, if the run is written, hold their content already.
///
/// # Errors
/// `InvalidInput` if file blocks are mapped already, `NoSpace`, `FileTooLarge`,
/// `NotSupported` for unwritten blocks in an indirect map.
pub(crate) fn insert(change: &mut Change<'_>, inode: InodeNumber, run: MappedExtent) -> Result<()> {
    let inode = open(change, inode)?;
    let (ExtentState::Written(start) | ExtentState::Unwritten(start)) = run.state else {
        return Err(ErrorKind::InvalidInput("a hole cannot be mapped").into());
    };
    if run.end().0 > FILE_BLOCKS_USED_MAX {
        return Err(ErrorKind::FileTooLarge.into());
    }
    let superblock = &change.store().superblock;
    if run.len_blocks == 0 || !superblock.contains_run(start, run.len_blocks) {
        return Err(ErrorKind::InvalidInput("the run is not in the volume").into());
    }
    change.announce_mapping(&inode, run.file_block..run.end());
    if has_extents(&inode) {
        let mut tree = ExtentTree::open(change, inode)?;
        extent_insert::insert(&mut tree, &run)?;
        return tree.close();
    }
    if !matches!(run.state, ExtentState::Written(_)) {
        return Err(no_unwritten());
    }
    let mut map = IndirectMap::open(change, inode)?;
    map.insert(&run)?;
    map.close()
}

/// Unmaps a range and gives its blocks back, from the end backwards: after `Until(b)` what
/// is left lies in `range.start..b`. The content of directories is metadata, all other is
/// data.
pub(crate) fn remove(
    change: &mut Change<'_>,
    inode: InodeNumber,
    range: Range<FileBlock>,
) -> Result<Progress> {
    unmap(change, inode, range, Fate::Free)
}

/// The same, but the blocks may stay somebody's.
pub(super) fn unmap(
    change: &mut Change<'_>,
    inode: InodeNumber,
    range: Range<FileBlock>,
    fate: Fate,
) -> Result<Progress> {
    let inode = open_mapped(change, inode)?;
    change.announce_mapping(&inode, range.clone());
    if !has_extents(&inode) {
        let mut map = IndirectMap::open(change, inode)?;
        let progress = map.remove(range, fate)?;
        map.close()?;
        return Ok(progress);
    }
    let mut tree = ExtentTree::open(change, inode)?;
    // A hole in the middle of an extent may need a node more; space that is given back
    // must not fail for want of space.
    tree.may_use_reserve = true;
    let progress = extent_remove::remove(&mut tree, range, fate)?;
    tree.close()?;
    Ok(progress)
}

/// Makes the unwritten blocks of a range written ones, or the reverse; holes stay. What
/// has become alike is joined.
///
/// # Errors
/// `NotSupported` if an indirect map is to have unwritten blocks.
pub(crate) fn convert(
    change: &mut Change<'_>,
    inode: InodeNumber,
    range: Range<FileBlock>,
    written: bool,
) -> Result<()> {
    let inode = open_mapped(change, inode)?;
    if !has_extents(&inode) {
        return if written { Ok(()) } else { Err(no_unwritten()) };
    }
    change.announce_mapping(&inode, range.clone());
    let mut tree = ExtentTree::open(change, inode)?;
    // Blocks allocated in advance promise that writing them will not fail.
    tree.may_use_reserve = true;
    extent_convert::convert(&mut tree, range, written)?;
    tree.close()
}

/// Moves all that lies at `from` and behind down by `by_blocks`, where a hole is. After
/// `Until(b)` the hole lies before `b`: call again with `b` as `from`.
///
/// # Errors
/// `InvalidInput` if there is no hole, `NotSupported` for indirect maps.
pub(crate) fn shift_down(
    change: &mut Change<'_>,
    inode: InodeNumber,
    from: FileBlock,
    by_blocks: u64,
) -> Result<Progress> {
    let inode = open_mapped(change, inode)?;
    require_extents(&inode)?;
    let to = from
        .0
        .checked_sub(by_blocks)
        .ok_or_else(|| Error::from(ErrorKind::InvalidInput("a shift beyond the start")))?;
    if by_blocks == 0 {
        return Ok(Progress::Done);
    }
    let before = mapping::map(change.store(), &inode, FileBlock(to), from)?;
    if before.state != ExtentState::Hole || before.end() < from {
        return Err(ErrorKind::InvalidInput("a shift over what is mapped").into());
    }
    change.announce_mapping(&inode, FileBlock(to)..FileBlock(mapping::FILE_BLOCKS_MAX));
    let mut tree = ExtentTree::open(change, inode)?;
    let progress = extent_shift::down(&mut tree, from, by_blocks)?;
    tree.close()?;
    Ok(progress)
}

/// Makes two of the extent across the start of a block, if there is one: what is to move can
/// do so then without a node more.
///
/// # Errors
/// `NoSpace`, `NotSupported` for indirect maps.
pub(crate) fn split(change: &mut Change<'_>, inode: InodeNumber, at: FileBlock) -> Result<()> {
    let inode = open_mapped(change, inode)?;
    require_extents(&inode)?;
    let mut tree = ExtentTree::open(change, inode)?;
    extent_shift::split(&mut tree, at)?;
    tree.close()
}

/// Moves what lies in a range, to the end of the file the first time, up by `by_blocks`; an
/// extent across its start is split. It goes from the end: after `Until(b)` what lay in
/// `range.start..b` is left, call again with that. (The start alone would not do: what has
/// moved lies behind it as well.)
///
/// # Errors
/// `FileTooLarge`, `NotSupported` for indirect maps.
pub(crate) fn shift_up(
    change: &mut Change<'_>,
    inode: InodeNumber,
    range: Range<FileBlock>,
    by_blocks: u64,
) -> Result<Progress> {
    let inode = open_mapped(change, inode)?;
    require_extents(&inode)?;
    if by_blocks == 0 {
        return Ok(Progress::Done);
    }
    change.announce_mapping(&inode, range.start..FileBlock(mapping::FILE_BLOCKS_MAX));
    let mut tree = ExtentTree::open(change, inode)?;
    let progress = extent_shift::up(&mut tree, range, by_blocks)?;
    tree.close()?;
    Ok(progress)
}

/// Blocks that `runs` inserts or conversions may change at most, each within one leaf (one
/// block of pointers), the bitmaps and descriptors of new nodes included, those of the
/// content not.
pub(crate) fn credits(store: &Store, inode: &Inode, runs: u64) -> usize {
    let levels = if has_extents(inode) {
        match extent::view(inode.block_area()) {
            Some(Node::Index { depth, .. }) => usize::from(depth.min(extent::DEPTH_MAX)) + 1,
            _ => 1,
        }
    } else {
        3
    };
    let groups = store.superblock.group_count as usize;
    let runs = usize::try_from(runs).unwrap_or(usize::MAX);
    // Each level once as it was and once split off.
    let nodes = runs.saturating_mul(levels).saturating_mul(2);
    let places = runs.saturating_mul(levels).min(groups).saturating_mul(2);
    // The inode and the superblock.
    nodes.saturating_add(places).saturating_add(2)
}

/// The inode, if it can have a block map.
fn open(change: &Change<'_>, number: InodeNumber) -> Result<Arc<Inode>> {
    let inode = change.inode(number)?;
    let can_have = matches!(
        inode.file_type(),
        FileType::Regular | FileType::Directory | FileType::Symlink
    );
    if !can_have || inode.has_inline_data() {
        return Err(ErrorKind::InvalidInput("the inode has no block map").into());
    }
    if change.store().patches.extents(number).is_some() {
        return Err(ErrorKind::NotSupported("a map with fast commits not written back").into());
    }
    change.store().note_map_change(&change.handle, number);
    Ok(inode)
}

/// The inode, if it has a block map already: a new symlink is told from a short one only by
/// its first block.
fn open_mapped(change: &Change<'_>, number: InodeNumber) -> Result<Arc<Inode>> {
    let inode = open(change, number)?;
    if inode.is_fast_symlink(&change.store().superblock) {
        return Err(ErrorKind::InvalidInput("the inode has no block map").into());
    }
    Ok(inode)
}

fn has_extents(inode: &Inode) -> bool {
    inode.flags().contains(InodeFlags::EXTENTS)
}

fn require_extents(inode: &Inode) -> Result<()> {
    if has_extents(inode) {
        Ok(())
    } else {
        Err(ErrorKind::NotSupported("moving blocks within a file without extents").into())
    }
}

fn no_unwritten() -> Error {
    ErrorKind::NotSupported("blocks allocated in advance need a file with extents").into()
}

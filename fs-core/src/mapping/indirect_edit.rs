//! Changing the block map of ext2 and ext3.
//!
//! The fifteen pointers of the inode are kept here and reach it when the map is
//! [closed](IndirectMap::close); blocks of pointers are changed as they come. One of them
//! that holds nothing any more is given back.

use std::ops::Range;
use std::sync::Arc;

use zerocopy::FromBytes;
use zerocopy::little_endian::U32;

use crate::change::Change;
use crate::error::{Error, ErrorKind, Result};
use crate::format::inode::Inode;
use crate::mapping::edit::{Account, Budget, Fate, Progress};
use crate::mapping::indirect::{self, DIRECT, pointers};
use crate::mapping::indirect_row::{self, Row, last_run, put, too_far};
use crate::run::{ExtentState, MappedExtent};
use crate::types::{FileBlock, FsBlock};

/// Where a pointer stands.
#[derive(Debug, Clone, Copy)]
enum Place {
    Root(usize),
    Block {
        block: FsBlock,
        levels: u32,
        index: usize,
    },
}

/// See the module.
pub(super) struct IndirectMap<'c, 'v> {
    change: &'c mut Change<'v>,
    inode: Arc<Inode>,
    root: Vec<U32>,
    root_is_changed: bool,
    account: Account,
    budget: Budget,
}

impl<'c, 'v> IndirectMap<'c, 'v> {
    /// # Errors
    /// `Corrupt` if a pointer leads out of the volume.
    pub(super) fn open(change: &'c mut Change<'v>, inode: Arc<Inode>) -> Result<Self> {
        let root = pointers(inode.block_area());
        let name = format_args!("block map of inode {}", inode.number());
        indirect::check_pointers(&change.store().superblock, &name, None, root)?;
        let root = root.to_vec();
        Ok(Self {
            change,
            inode,
            root,
            root_is_changed: false,
            account: Account::default(),
            budget: Budget::default(),
        })
    }

    /// Brings pointers and count of blocks to the inode.
    pub(super) fn close(self) -> Result<()> {
        let blocks_512 = self.account.blocks_512(self.change.store(), &self.inode)?;
        if !self.root_is_changed && blocks_512.is_none() {
            return Ok(());
        }
        self.change.edit_inode(self.inode.number(), |edit| {
            for (bytes, pointer) in edit.block_area_mut()?.chunks_exact_mut(4).zip(&self.root) {
                bytes.copy_from_slice(&pointer.get().to_le_bytes());
            }
            blocks_512.map_or(Ok(()), |count| edit.set_blocks_512(count))
        })?;
        Ok(())
    }

    /// Maps a written run.
    pub(super) fn insert(&mut self, run: &MappedExtent) -> Result<()> {
        let ExtentState::Written(device) = run.state else {
            return Err(ErrorKind::InvalidInput("only written blocks").into());
        };
        // The last block's number tells whether all of them fit.
        let last = device.0.saturating_add(run.len_blocks - 1);
        if u32::try_from(last).is_err() {
            return Err(too_far());
        }
        let end = run.end().0;
        let mut at = run.file_block.0;
        // Once a row of pointers.
        while at < end {
            let row = Row::of(self.per_block(), at)
                .ok_or_else(|| Error::from(ErrorKind::FileTooLarge))?;
            let until = end.min(row.end());
            let first = device.0 + (at - run.file_block.0);
            let range = (at - row.start) as usize..(until - row.start) as usize;
            match row.tree {
                None => {
                    let row = self.root.get_mut(range);
                    put(row.unwrap_or_default(), first)?;
                    self.root_is_changed = true;
                }
                Some(tree) => {
                    let block = self.row_block(tree, row, FsBlock(first))?;
                    self.modify(block, 1, |row| {
                        put(row.get_mut(range).unwrap_or_default(), first)
                    })?;
                }
            }
            self.account.add(until - at);
            at = until;
        }
        Ok(())
    }

    /// Unmaps a range from its end backwards.
    pub(super) fn remove(&mut self, range: Range<FileBlock>, fate: Fate) -> Result<Progress> {
        let start = range.start.0;
        let mut end = range
            .end
            .0
            .min(indirect_row::len_blocks_max(self.per_block()));
        let mut has_changed = false;
        // Once a row of pointers, less if credits run out, or a missing subtree.
        while start < end {
            if has_changed && self.budget.is_spent(self.change) {
                return Ok(Progress::Until(FileBlock(end)));
            }
            let Some(row) = Row::of(self.per_block(), end - 1) else {
                break;
            };
            let reached = match row.tree {
                None => self.remove_direct(start..end, fate)?,
                Some(tree) => match self.way(tree, row, end - 1)? {
                    Way::Missing { start } => start,
                    Way::Found(way) => {
                        has_changed = true;
                        self.remove_in_row(row, &way, start..end, fate)?
                    }
                },
            };
            end = reached.min(end - 1);
        }
        Ok(Progress::Done)
    }

    fn remove_direct(&mut self, range: Range<u64>, fate: Fate) -> Result<u64> {
        let mut row = self.root.get(..DIRECT as usize).unwrap_or(&[]).to_vec();
        let reached = self.free_row(0, &mut row, range, fate)?;
        for (pointer, new) in self.root.iter_mut().zip(row) {
            *pointer = new;
        }
        self.root_is_changed = true;
        Ok(reached)
    }

    /// Unmaps in a row below the root. `way` leads to it: the places of the pointers to
    /// each block, the highest first.
    fn remove_in_row(
        &mut self,
        row: Row,
        way: &[(Place, FsBlock)],
        range: Range<u64>,
        fate: Fate,
    ) -> Result<u64> {
        let Some((_, block)) = way.last().copied() else {
            return Ok(row.start);
        };
        let loaded = indirect::load(self.change.store(), &self.inode, block, 1)?;
        let mut row_pointers = pointers(loaded.bytes()).to_vec();
        drop(loaded);
        let reached = self.free_row(row.start, &mut row_pointers, range, fate)?;
        if row_pointers.iter().any(|pointer| pointer.get() != 0) {
            self.modify(block, 1, |bytes| {
                bytes.copy_from_slice(&row_pointers);
                Ok(())
            })?;
        } else {
            self.free_way(way)?;
        }
        Ok(reached)
    }

    /// Gives back the blocks of pointers on a way, from below, as far as they are empty.
    /// That the last one is the caller knows.
    fn free_way(&mut self, way: &[(Place, FsBlock)]) -> Result<()> {
        for (place, block) in way.iter().rev() {
            self.change.free_metadata(*block)?;
            self.account.subtract(1);
            if !self.set_pointer(*place, None)? {
                break;
            }
        }
        Ok(())
    }

    /// Clears the pointers of a row that starts at file block `row_start` and gives back
    /// what they name, from the end. Returns down to where it came.
    fn free_row(
        &mut self,
        row_start: u64,
        row: &mut [U32],
        range: Range<u64>,
        fate: Fate,
    ) -> Result<u64> {
        let lowest = range.start.max(row_start);
        let mut end = range.end;
        while lowest < end {
            let Some(run) = last_run(
                row,
                (lowest - row_start) as usize..(end - row_start) as usize,
            ) else {
                break;
            };
            let Some(first) = row.get(run.start).map(|pointer| pointer.get()) else {
                break;
            };
            let mapped = MappedExtent {
                file_block: FileBlock(row_start + run.start as u64),
                len_blocks: run.len() as u64,
                state: ExtentState::Written(FsBlock(first.into())),
            };
            fate.apply(self.change, &self.inode, &mapped)?;
            self.account.subtract(mapped.len_blocks);
            self.budget.spend(&self.inode, &mapped);
            row.get_mut(run).unwrap_or_default().fill(U32::ZERO);
            end = mapped.file_block.0;
            if self.budget.is_spent(self.change) {
                return Ok(end);
            }
        }
        Ok(lowest)
    }

    /// The blocks of pointers above a row, if all are there.
    fn way(&self, (index, levels): (usize, u32), row: Row, block: u64) -> Result<Way> {
        let mut way = Vec::with_capacity(levels as usize);
        let mut place = Place::Root(index);
        for level in (1..=levels).rev() {
            let Some(node) = self.pointer(place)? else {
                // What this pointer would answer for begins here.
                let span = self.per_block().pow(level);
                let start = row.tree_start + (block - row.tree_start) / span * span;
                return Ok(Way::Missing { start });
            };
            if way.iter().any(|(_, above)| *above == node) {
                return Err(Error::corrupt(
                    format_args!("block map of inode {}", self.inode.number()),
                    Some(node),
                    "a tree of blocks",
                    "a block that is its own parent",
                ));
            }
            way.push((place, node));
            place = self.place_in(node, level, row);
        }
        Ok(Way::Found(way))
    }

    /// The block that holds a row, created with all above it if need be.
    fn row_block(
        &mut self,
        (index, levels): (usize, u32),
        row: Row,
        goal: FsBlock,
    ) -> Result<FsBlock> {
        let mut place = Place::Root(index);
        let mut node = FsBlock(0);
        for level in (1..=levels).rev() {
            node = match self.pointer(place)? {
                Some(node) => node,
                None => self.new_node(place, level, goal)?,
            };
            place = self.place_in(node, level, row);
        }
        Ok(node)
    }

    fn new_node(&mut self, place: Place, level: u32, goal: FsBlock) -> Result<FsBlock> {
        let node = self.change.allocate_metadata(goal)?;
        let len = self.change.store().superblock.block_bytes as usize;
        let role = indirect::role(&self.inode, level);
        self.change.create(node, role, vec![0; len].into());
        self.account.add(1);
        self.set_pointer(place, Some(node))?;
        Ok(node)
    }

    fn place_in(&self, block: FsBlock, levels: u32, row: Row) -> Place {
        let span = self.per_block().pow(levels - 1);
        let index = (row.start - row.tree_start) / span % self.per_block();
        Place::Block {
            block,
            levels,
            index: index as usize,
        }
    }

    fn pointer(&self, place: Place) -> Result<Option<FsBlock>> {
        let pointer = match place {
            Place::Root(index) => self.root.get(index).copied(),
            Place::Block {
                block,
                levels,
                index,
            } => {
                let node = indirect::load(self.change.store(), &self.inode, block, levels)?;
                pointers(node.bytes()).get(index).copied()
            }
        };
        Ok(pointer
            .filter(|pointer| pointer.get() != 0)
            .map(|pointer| FsBlock(pointer.get().into())))
    }

    /// Sets a pointer. True if its block holds no other; the inode's do not count.
    fn set_pointer(&mut self, place: Place, to: Option<FsBlock>) -> Result<bool> {
        let number = to.map_or(Ok(0), |block| u32::try_from(block.0));
        let number = number.map_err(|_| too_far())?;
        let set = |row: &mut [U32], index: usize| match row.get_mut(index) {
            Some(pointer) => {
                *pointer = number.into();
                Ok(row.iter().all(|pointer| pointer.get() == 0))
            }
            None => Err(Error::corrupt("block map", None, "a pointer", index)),
        };
        match place {
            Place::Root(index) => {
                self.root_is_changed = true;
                set(&mut self.root, index).map(|_| false)
            }
            Place::Block {
                block,
                levels,
                index,
            } => self.modify(block, levels, |row| set(row, index)),
        }
    }

    fn modify<T>(
        &mut self,
        block: FsBlock,
        levels: u32,
        edit: impl FnOnce(&mut [U32]) -> Result<T>,
    ) -> Result<T> {
        let (store, inode) = (self.change.store(), Arc::clone(&self.inode));
        self.change.modify(
            block,
            indirect::role(&inode, levels),
            |bytes| indirect::check(store, &inode, block, bytes),
            |bytes| edit(<[U32]>::mut_from_bytes(bytes).unwrap_or_default()),
        )
    }

    fn per_block(&self) -> u64 {
        u64::from(self.change.store().superblock.block_bytes / 4)
    }
}

/// What was found on the way to a row.
enum Way {
    /// Nothing is mapped from here on to the end of what was asked for.
    Missing { start: u64 },
    /// The pointers' places and what they name, the highest first.
    Found(Vec<(Place, FsBlock)>),
}

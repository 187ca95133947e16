//! A group's inodes: which are in use, which can be taken now.

use crate::error::{Error, Result};
use crate::format::group_descriptor::BG_INODE_UNINIT;
use crate::transaction::TransactionId;

use super::bits;
use super::group::{Locked, Slot};

/// See the module.
#[derive(Debug)]
pub(super) struct GroupInodes {
    /// The bitmap as the next commit writes it.
    pub(super) used: Box<[u8]>,
    /// Those in use, and those freed by a transaction that is not durable.
    busy: Box<[u8]>,
    pub(super) len: u32,
    /// All inodes before this one are busy.
    first_available: u32,
    freed: Vec<(TransactionId, u32)>,
    /// The bitmap has to be written.
    pub(super) is_dirty: bool,
}

/// An inode that was taken.
pub(super) struct TakenInode {
    pub(super) index: u32,
    /// Blocks added to the commit.
    pub(super) prepared_blocks: usize,
    /// Blocks of the inode table, counted from its first, that hold nothing and must
    /// become zeros before the inode is used.
    pub(super) blank_table_blocks: std::ops::Range<u32>,
}

impl GroupInodes {
    /// `used` counts `len` inodes.
    pub(super) fn new(used: Box<[u8]>, len: u32) -> Self {
        Self {
            busy: used.clone(),
            used,
            len,
            first_available: 0,
            freed: Vec::new(),
            is_dirty: false,
        }
    }

    /// True if the device does not have all that is known.
    pub(super) fn is_needed(&self) -> bool {
        self.is_dirty || !self.freed.is_empty()
    }

    pub(super) fn cost_bytes(&self) -> usize {
        size_of::<Self>() + 2 * self.used.len()
    }

    /// The first inode that can be taken, from `from` on.
    fn find(&mut self, from: u32) -> Option<u32> {
        let start = self.first_available.max(from);
        let found = bits::next_bit(&self.busy, start, self.len, false);
        if from <= self.first_available {
            self.first_available = found;
        }
        (found < self.len).then_some(found)
    }

    /// The inodes never used: an inode in use cannot be among them.
    pub(super) fn bounded_unused(&self, unused: u32) -> u32 {
        let start = self.len.saturating_sub(unused);
        let mut at = start;
        let mut bound = start;
        while at < self.len {
            at = bits::next_bit(&self.used, at, self.len, true);
            if at < self.len {
                at += 1;
                bound = at;
            }
        }
        self.len - bound
    }
}

impl Locked<'_> {
    /// Takes the first inode that can be taken, from index `from` on; `None` if there is
    /// none.
    pub(super) fn take_inode(
        &mut self,
        from: u32,
        per_block: u32,
        is_directory: bool,
    ) -> Result<Option<TakenInode>> {
        let unused = self.state.unused_inodes;
        let inodes = self.state.inodes.get()?;
        let Some(index) = inodes.find(from) else {
            return Ok(None);
        };
        let per_block = per_block.max(1);
        let table_block = index / per_block;
        let is_alone = bits::all_are(&inodes.busy, table_block * per_block, per_block, false);
        // From here on nothing was ever used.
        let fresh = inodes.len.saturating_sub(unused);
        let first_blank = if index >= fresh {
            fresh.div_ceil(per_block).min(table_block)
        } else {
            table_block
        };
        let blank_table_blocks = first_blank..table_block + u32::from(is_alone);
        bits::fill(&mut inodes.used, index, 1, true);
        bits::fill(&mut inodes.busy, index, 1, true);
        if index >= fresh {
            self.state.unused_inodes = self.state.inodes.get()?.len - index - 1;
        }
        self.group.available_inodes.sub(1);
        self.group.free_inodes.sub(1);
        self.group.directories.add(is_directory.into());
        Ok(Some(TakenInode {
            index,
            prepared_blocks: self.dirty_inodes()?,
            blank_table_blocks,
        }))
    }

    /// Undoes [`take_inode`](Self::take_inode).
    pub(super) fn untake_inode(&mut self, index: u32, is_directory: bool) -> Result<()> {
        let inodes = self.state.inodes.get()?;
        bits::fill(&mut inodes.used, index, 1, false);
        bits::fill(&mut inodes.busy, index, 1, false);
        inodes.first_available = inodes.first_available.min(index);
        self.group.available_inodes.add(1);
        self.group.free_inodes.add(1);
        self.group.directories.sub(is_directory.into());
        Ok(())
    }

    /// Frees an inode in a transaction; it can be taken when that is durable. Returns the
    /// blocks added to the commit.
    ///
    /// # Errors
    /// `Corrupt` if it is not in use.
    pub(super) fn free_inode(
        &mut self,
        index: u32,
        id: TransactionId,
        is_directory: bool,
    ) -> Result<usize> {
        let inodes = self.state.inodes.get()?;
        if !bits::all_are(&inodes.used, index, 1, true) {
            return Err(Error::corrupt(
                "inode bitmap",
                None,
                "an inode that is freed to be in use",
                "a free one",
            ));
        }
        bits::fill(&mut inodes.used, index, 1, false);
        inodes.freed.push((id, index));
        self.group.free_inodes.add(1);
        self.group.directories.sub(is_directory.into());
        self.dirty_inodes()
    }

    /// Undoes [`free_inode`](Self::free_inode).
    pub(super) fn unfree_inode(&mut self, index: u32, is_directory: bool) -> Result<()> {
        let inodes = self.state.inodes.get()?;
        bits::fill(&mut inodes.used, index, 1, true);
        if let Some(at) = inodes.freed.iter().rposition(|freed| freed.1 == index) {
            inodes.freed.swap_remove(at);
        }
        self.group.free_inodes.sub(1);
        self.group.directories.add(is_directory.into());
        Ok(())
    }

    /// Lets the inodes be taken that were freed up to a transaction.
    pub(super) fn release_inodes(&mut self, id: TransactionId) {
        let Slot::Loaded(inodes) = &mut self.state.inodes else {
            return;
        };
        let GroupInodes {
            freed,
            busy,
            first_available,
            ..
        } = inodes.as_mut();
        let mut released = 0;
        freed.retain(|&(freed_in, index)| {
            let is_durable = freed_in <= id;
            if is_durable {
                bits::fill(busy, index, 1, false);
                *first_available = (*first_available).min(index);
                released += 1;
            }
            !is_durable
        });
        self.group.available_inodes.add(released);
    }

    /// Notes that the inode bitmap has to be written, which is then valid. Returns the
    /// blocks added to the commit.
    fn dirty_inodes(&mut self) -> Result<usize> {
        if std::mem::replace(&mut self.state.inodes.get()?.is_dirty, true) {
            return Ok(0);
        }
        self.state.flags &= !BG_INODE_UNINIT;
        Ok(self.state.dirtied())
    }
}

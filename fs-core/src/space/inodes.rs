//! Taking inodes and giving them back.

use crate::cache::{Role, RoleKind};
use crate::error::{Error, ErrorKind, Result};
use crate::format::group_descriptor::BG_BLOCK_UNINIT;
use crate::store::Store;
use crate::transaction::Handle;
use crate::types::{FileType, GroupNumber, InodeNumber};

use super::group::Locked;
use super::{InodeRequest, Space};

impl Space {
    /// Takes an inode. Its place in the table can be edited by [`Store::edit_inode`]
    /// whatever it holds.
    ///
    /// # Errors
    /// `NoSpace`; `Corrupt` if a bitmap is damaged.
    pub(crate) fn allocate_inode<'v>(
        &'v self,
        store: &'v Store,
        handle: &mut Handle<'v>,
        request: InodeRequest,
    ) -> Result<InodeNumber> {
        if request.file_type == FileType::Directory {
            let groups = self.groups_for_directory(store, request.parent)?;
            return self.take_inode_of(store, handle, groups, true);
        }
        // Content is best near its inode.
        let has_blocks = |number: &u32| {
            let group = self.group(*number);
            group.is_ok_and(|group| group.available_blocks.get() > 0)
        };
        let groups = self
            .groups_for_file(store, request.parent)
            .filter(has_blocks);
        let all = self.groups_for_file(store, request.parent);
        self.take_inode_of(store, handle, groups.chain(all), false)
    }

    /// Takes an inode from the first of these groups that has one.
    fn take_inode_of<'v>(
        &'v self,
        store: &'v Store,
        handle: &mut Handle<'v>,
        groups: impl Iterator<Item = u32>,
        is_directory: bool,
    ) -> Result<InodeNumber> {
        let mut failure = Error::from(ErrorKind::NoSpace);
        for number in groups {
            if self.group(number)?.available_inodes.get() == 0 {
                continue;
            }
            let Some(first) = self.geometry.inode(number, 0) else {
                continue;
            };
            let from = self.geometry.first_inode.saturating_sub(first.0);
            let taken = self
                .lock_inodes(store, number)
                .and_then(|locked| self.take_inode(handle, number, locked, from, is_directory));
            match taken {
                Ok(Some(inode)) => return Ok(inode),
                Ok(None) => {}
                Err(error) if error.is_corruption() => failure = error,
                Err(error) => return Err(error),
            }
        }
        Err(failure)
    }

    fn take_inode<'v>(
        &'v self,
        handle: &mut Handle<'v>,
        number: u32,
        mut locked: Locked<'_>,
        from: u32,
        is_directory: bool,
    ) -> Result<Option<InodeNumber>> {
        let per_block = self.geometry.inodes_per_block;
        let Some(taken) = locked.take_inode(from, per_block, is_directory)? else {
            return Ok(None);
        };
        let mut prepared = taken.prepared_blocks;
        if locked.state.flags & BG_BLOCK_UNINIT != 0 && self.uses_uninit {
            prepared += locked.dirty_blocks()?;
        }
        // Under the lock, so that the next inode of the same block finds it initialised.
        for index in taken.blank_table_blocks {
            let block = locked.state.inode_table.checked_add(index.into());
            let block =
                block.ok_or_else(|| Error::corrupt("inode table", None, "a block", "2^64"))?;
            let zeros = vec![0; self.geometry.block_bytes as usize].into_boxed_slice();
            handle.create_shared(block, Role::of_volume(RoleKind::InodeTable), zeros);
        }
        drop(locked);
        let index = taken.index;
        self.totals.sub(0, 1);
        self.count_directory(is_directory, true);
        self.note_dirty(handle, number, prepared);
        handle.on_rollback(move || {
            self.totals.add(0, 1);
            self.count_directory(is_directory, false);
            self.change_group(number, |locked| locked.untake_inode(index, is_directory));
        });
        Ok(self.geometry.inode(number, index))
    }

    /// Takes exactly this inode: a fast commit names it.
    ///
    /// # Errors
    /// `Corrupt` if it cannot be taken; the handle must be given up then.
    pub(crate) fn take_inode_number<'v>(
        &'v self,
        store: &'v Store,
        handle: &mut Handle<'v>,
        inode: InodeNumber,
        is_directory: bool,
    ) -> Result<()> {
        let in_use = || Error::corrupt("inode of a fast commit", None, "a free one", inode);
        let position = store.superblock.inode_position(inode);
        let (group, index) = position.ok_or_else(in_use)?;
        let locked = self.lock_inodes(store, group.0)?;
        let taken = self.take_inode(handle, group.0, locked, index, is_directory)?;
        if taken == Some(inode) {
            Ok(())
        } else {
            Err(in_use())
        }
    }

    /// Gives an inode back and takes it at once, for another use: within fast commits a
    /// number may have been used twice.
    ///
    /// # Errors
    /// Those of [`free_inode`](Self::free_inode).
    pub(crate) fn retake_inode<'v>(
        &'v self,
        store: &'v Store,
        handle: &mut Handle<'v>,
        inode: InodeNumber,
        was_directory: bool,
        is_directory: bool,
    ) -> Result<()> {
        self.free_inode(store, handle, inode, was_directory)?;
        let position = store.superblock.inode_position(inode);
        let Some((GroupNumber(number), index)) = position else {
            return Ok(()); // It would not have been freed.
        };
        let id = handle.id();
        self.change_group(number, |locked| locked.unfree_inode(index, is_directory));
        self.totals.sub(0, 1);
        self.count_directory(is_directory, true);
        handle.on_rollback(move || {
            self.totals.add(0, 1);
            self.count_directory(is_directory, false);
            self.change_group(number, |locked| {
                locked.free_inode(index, id, is_directory).map(|_| ())
            });
        });
        Ok(())
    }

    /// Gives an inode back; it can be taken again once the transaction is durable.
    ///
    /// # Errors
    /// `Corrupt` if it is not in use, or one of the format's own.
    pub(crate) fn free_inode<'v>(
        &'v self,
        store: &'v Store,
        handle: &mut Handle<'v>,
        inode: InodeNumber,
        is_directory: bool,
    ) -> Result<()> {
        let position = store.superblock.inode_position(inode);
        let (number, index) = match position {
            Some((group, index)) if inode.0 >= self.geometry.first_inode => (group.0, index),
            _ => {
                let first = self.geometry.first_inode;
                return Err(Error::corrupt(
                    "inode to be freed",
                    None,
                    format_args!("{first} to {}", store.superblock.inodes_count),
                    inode,
                ));
            }
        };
        let id = handle.id();
        let mut locked = self.lock_inodes(store, number)?;
        let prepared = locked
            .free_inode(index, id, is_directory)
            .map_err(|error| error.context(format_args!("inode {inode}")))?;
        let is_news = locked.state.note_freed(id);
        drop(locked);
        self.totals.add(0, 1);
        self.count_directory(is_directory, false);
        self.note_dirty(handle, number, prepared);
        self.note_freed(id, number, is_news);
        handle.on_rollback(move || {
            self.totals.sub(0, 1);
            self.count_directory(is_directory, true);
            self.change_group(number, |locked| locked.unfree_inode(index, is_directory));
        });
        Ok(())
    }
}

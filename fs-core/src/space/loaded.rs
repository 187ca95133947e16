//! Loading bitmaps when they are needed, and unloading them when there are too many.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::error::{Error, Result};
use crate::format::group_descriptor::BG_BLOCK_UNINIT;
use crate::store::Store;
use crate::types::GroupNumber;

use super::Space;
use super::bits;
use super::group::{Locked, Slot};
use super::group_blocks::GroupBlocks;
use super::group_inodes::GroupInodes;
use super::load;
use super::runs::Run;

/// Loaded bitmaps and their indexes may take about so much memory, unless more of them
/// wait for a commit.
const LOADED_BYTES_MAX: usize = 8 << 20;
/// Groups looked at when one is to be unloaded.
const UNLOAD_TRIES_MAX: usize = 32;

/// Which groups are loaded. The lock is held for a few instructions, nothing is taken
/// under it.
#[derive(Debug, Default)]
pub(super) struct LoadedGroups {
    /// In the order they were loaded; one that is not any more may still be here.
    queue: Mutex<VecDeque<u32>>,
    bytes: AtomicUsize,
}

impl Space {
    /// The group with its block bitmap loaded.
    ///
    /// # Errors
    /// `Corrupt` if the bitmap is damaged.
    pub(super) fn lock_blocks(&self, store: &Store, number: u32) -> Result<Locked<'_>> {
        let group = self.group(number)?;
        let mut locked = group.lock();
        if locked.state.blocks.is_unloaded() {
            drop(locked);
            self.unload_some();
            // Brings the block into the cache, so that nothing is read under the lock. What is
            // found counts only under it: a commit may be changing bitmap and descriptor now.
            let _ = self.read_blocks(store, number);
            locked = group.lock();
            if let Err(error) = self.load_blocks(store, number, &mut locked) {
                drop(locked);
                return Err(self.note_damaged_blocks(number, error));
            }
        }
        locked.state.was_used = true;
        locked.state.blocks.get()?;
        Ok(locked)
    }

    /// The group with its inode bitmap loaded, and the block bitmap too if it was never
    /// initialised: who uses inodes of a group initialises both.
    ///
    /// # Errors
    /// `Corrupt` if the bitmap is damaged.
    pub(super) fn lock_inodes(&self, store: &Store, number: u32) -> Result<Locked<'_>> {
        let group = self.group(number)?;
        let mut locked = group.lock();
        if locked.state.inodes.is_unloaded() {
            drop(locked);
            self.unload_some();
            let _ = self.read_inodes(store, number);
            locked = group.lock();
            if let Err(error) = self.load_inodes(store, number, &mut locked) {
                drop(locked);
                return Err(self.note_damaged_inodes(number, error));
            }
        }
        if locked.state.flags & BG_BLOCK_UNINIT != 0 && self.uses_uninit {
            self.load_blocks(store, number, &mut locked)?;
            locked.state.blocks.get()?;
        }
        locked.state.was_used = true;
        locked.state.inodes.get()?;
        Ok(locked)
    }

    fn load_blocks(&self, store: &Store, number: u32, locked: &mut Locked<'_>) -> Result<()> {
        if locked.state.blocks.is_unloaded() {
            let blocks = self.read_blocks(store, number)?;
            locked.group.longest.set(blocks.longest());
            self.note_loaded(number, blocks.cost_bytes());
            locked.state.blocks = Slot::Loaded(Box::new(blocks));
            locked.group.is_loaded.set(1);
        }
        Ok(())
    }

    fn load_inodes(&self, store: &Store, number: u32, locked: &mut Locked<'_>) -> Result<()> {
        if locked.state.inodes.is_unloaded() {
            let inodes = self.read_inodes(store, number)?;
            let unused = inodes.bounded_unused(locked.state.unused_inodes);
            locked.state.unused_inodes = unused;
            self.note_loaded(number, inodes.cost_bytes());
            locked.state.inodes = Slot::Loaded(Box::new(inodes));
        }
        Ok(())
    }

    fn read_blocks(&self, store: &Store, number: u32) -> Result<GroupBlocks> {
        let descriptor = store.group(GroupNumber(number))?;
        let used = load::block_bitmap(store, &descriptor)?;
        let len = self.geometry.group_len(number);
        let (found, expected) = (bits::count_zeros(&used, len), descriptor.free_clusters);
        check_count("block", number, found, expected)?;
        let mut blocks = GroupBlocks::new(used, len);
        self.exclude_fixed(number, len, &mut blocks);
        Ok(blocks)
    }

    /// A damaged bitmap without a checksum may call the format's own blocks free.
    fn exclude_fixed(&self, number: u32, len: u32, blocks: &mut GroupBlocks) {
        let first = self.geometry.block(number, 0).0;
        let mut had_any = false;
        for (start, end) in self.fixed.within(first, first + u64::from(len)) {
            // Both lie in the group, whose length is 32 bits wide.
            had_any |= blocks.exclude(Run {
                start: (start - first) as u32,
                len: (end - start) as u32,
            });
        }
        if had_any {
            tracing::warn!("the bitmap of group {number} calls the format's own blocks free");
        }
    }

    fn read_inodes(&self, store: &Store, number: u32) -> Result<GroupInodes> {
        let descriptor = store.group(GroupNumber(number))?;
        let used = load::inode_bitmap(store, &descriptor)?;
        let len = self.geometry.inodes_per_group;
        let (found, expected) = (bits::count_zeros(&used, len), descriptor.free_inodes);
        check_count("inode", number, found, expected)?;
        Ok(GroupInodes::new(used, len))
    }

    fn note_damaged_blocks(&self, number: u32, error: Error) -> Error {
        if error.is_corruption()
            && let Ok(group) = self.group(number)
        {
            tracing::warn!("no blocks of group {number} are used: {error}");
            let mut locked = group.lock();
            if locked.state.blocks.is_unloaded() {
                locked.give_up_blocks();
            }
            drop(locked);
            let mut damaged = self.damaged.lock();
            damaged.get_or_insert_with(|| (number, error.to_string()));
        }
        error
    }

    fn note_damaged_inodes(&self, number: u32, error: Error) -> Error {
        if error.is_corruption()
            && let Ok(group) = self.group(number)
        {
            tracing::warn!("no inodes of group {number} are used: {error}");
            let mut locked = group.lock();
            if locked.state.inodes.is_unloaded() {
                locked.give_up_inodes();
            }
        }
        error
    }

    fn note_loaded(&self, number: u32, bytes: usize) {
        self.loaded.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.loaded.queue.lock().push_back(number);
    }

    /// Makes room: groups that were not used since they were last looked at, and of which
    /// the device has all that is known, are unloaded.
    fn unload_some(&self) {
        for _ in 0..UNLOAD_TRIES_MAX {
            if self.loaded.bytes.load(Ordering::Relaxed) <= self.loaded_bytes_max {
                return;
            }
            let Some(number) = self.loaded.queue.lock().pop_front() else {
                return;
            };
            let Ok(group) = self.group(number) else {
                continue;
            };
            let mut locked = group.lock();
            let bytes = match std::mem::take(&mut locked.state.was_used) {
                true => 0,
                false => locked.state.unload(),
            };
            if locked.state.blocks.is_unloaded() {
                group.is_loaded.set(0);
            }
            let is_loaded =
                !locked.state.blocks.is_unloaded() || !locked.state.inodes.is_unloaded();
            drop(locked);
            self.loaded.bytes.fetch_sub(bytes, Ordering::Relaxed);
            if is_loaded {
                self.loaded.queue.lock().push_back(number);
            }
        }
    }

    /// The bound of loaded bitmaps in bytes.
    pub(super) const LOADED_BYTES_MAX: usize = LOADED_BYTES_MAX;
}

fn check_count(what: &str, number: u32, found: u32, expected: u32) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(Error::corrupt(
        format_args!("{what} bitmap of group {number}"),
        None,
        format_args!("{expected} zero bits, as the descriptor says"),
        found,
    ))
}

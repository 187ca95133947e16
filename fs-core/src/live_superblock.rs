//! The superblock while the volume is changed: what changes is kept here and written with
//! each commit.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::cache::{Role, RoleKind};
use crate::error::Result;
use crate::format::superblock::{PRIMARY_OFFSET_BYTES, RawSuperblock};
use crate::transaction::{Handle, Preparation};
use crate::types::FsBlock;

/// See the module. The lock is held for a few instructions, nothing is taken under it.
pub(crate) struct LiveSuperblock {
    raw: Mutex<RawSuperblock>,
    is_dirty: AtomicBool,
    block_bytes: u64,
}

impl std::fmt::Debug for LiveSuperblock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LiveSuperblock").finish_non_exhaustive()
    }
}

impl LiveSuperblock {
    pub(crate) fn new(raw: RawSuperblock, block_bytes: u32) -> Self {
        Self {
            raw: Mutex::new(raw),
            is_dirty: AtomicBool::new(false),
            block_bytes: block_bytes.into(),
        }
    }

    /// A copy as it is now.
    pub(crate) fn snapshot(&self) -> RawSuperblock {
        self.raw.lock().clone()
    }

    /// Changes the superblock with the handle's transaction. How it is taken back the
    /// caller registers.
    pub(crate) fn edit<T>(
        &self,
        handle: &mut Handle<'_>,
        edit: impl FnOnce(&mut RawSuperblock) -> T,
    ) -> T {
        if !self.is_dirty.swap(true, Ordering::Relaxed) {
            handle.expect_prepared(1);
        }
        self.edit_quietly(edit)
    }

    /// Changes the superblock with whatever transaction comes next.
    pub(crate) fn edit_quietly<T>(&self, edit: impl FnOnce(&mut RawSuperblock) -> T) -> T {
        self.is_dirty.store(true, Ordering::Relaxed);
        edit(&mut self.raw.lock())
    }

    /// Where it lies: the block, and the byte there.
    pub(crate) fn place(&self) -> (FsBlock, usize) {
        let block = PRIMARY_OFFSET_BYTES / self.block_bytes;
        (
            FsBlock(block),
            (PRIMARY_OFFSET_BYTES % self.block_bytes) as usize,
        )
    }

    /// Writes it into its block, `last` changes first.
    pub(crate) fn prepare(
        &self,
        preparation: &mut Preparation<'_>,
        last: impl FnOnce(&mut RawSuperblock),
    ) -> Result<()> {
        self.is_dirty.store(false, Ordering::Relaxed);
        let sealed = {
            let mut raw = self.raw.lock();
            last(&mut raw);
            raw.seal_checksum();
            raw.clone()
        };
        let (block, offset) = self.place();
        let role = Role::of_volume(RoleKind::Superblock);
        preparation.modify(
            block,
            role,
            |_| Ok(()),
            |bytes| {
                if let Some(place) = bytes.get_mut(offset..offset + sealed.bytes().len()) {
                    place.copy_from_slice(sealed.bytes());
                }
            },
        )
    }
}

//! The content of files: writing, cutting, allocating.

use super::WritableVolume;
use crate::error::Result;
use crate::file::{self, Allocation, WriteContext};
use crate::types::InodeNumber;

impl WritableVolume {
    /// Writes `data` at `offset`; holes and what lies beyond the end are filled as needed.
    /// Less than all is written only if space runs out on the way.
    ///
    /// # Errors
    /// `NoSpace` if nothing could be written, `FileTooLarge`, `NotPermitted` by flags,
    /// `IsADirectory`, `InvalidInput` for what has no content.
    pub fn write(&self, inode: InodeNumber, data: &[u8], offset: u64) -> Result<usize> {
        self.write_as(inode, data, offset, WriteContext::default())
    }

    /// [`write`](Self::write) on somebody's behalf.
    pub fn write_as(
        &self,
        inode: InodeNumber,
        data: &[u8],
        offset: u64,
        context: WriteContext,
    ) -> Result<usize> {
        self.on_content(inode, || {
            file::write(self.writer(), inode, data, offset, context)
        })
    }

    /// Makes the content `size` bytes long: cut, or followed by a hole.
    ///
    /// # Errors
    /// Those of [`write`](Self::write).
    pub fn truncate(&self, inode: InodeNumber, size: u64) -> Result<()> {
        self.truncate_as(inode, size, WriteContext::default())
    }

    /// [`truncate`](Self::truncate) on somebody's behalf.
    pub fn truncate_as(&self, inode: InodeNumber, size: u64, context: WriteContext) -> Result<()> {
        self.on_content(inode, || {
            file::truncate(self.writer(), inode, size, context)
        })
    }

    /// fallocate(2): see [`Allocation`].
    ///
    /// # Errors
    /// Those of fallocate(2) on Linux's ext4.
    pub fn allocate(
        &self,
        inode: InodeNumber,
        how: Allocation,
        offset: u64,
        len: u64,
        context: WriteContext,
    ) -> Result<()> {
        self.on_content(inode, || {
            file::allocate(self.writer(), inode, how, offset, len, context)
        })
    }

    /// Exchanges the blocks of ranges of two files, as EXT4_IOC_MOVE_EXT does: offsets and
    /// length in bytes, whole blocks.
    ///
    /// # Errors
    /// `InvalidInput` for ranges that overlap, lie beyond an end or are not whole blocks.
    /// `NoSpace`: then all is as it was; only if not even the reserve has the blocks it takes
    /// to exchange back what was done, that part stays exchanged, and the log says so.
    pub fn swap_extents(
        &self,
        a: InodeNumber,
        a_offset: u64,
        b: InodeNumber,
        b_offset: u64,
        len: u64,
    ) -> Result<()> {
        self.changing_in_steps(|| {
            let _lock = self.shared.locks.exclusive(&[a, b]);
            self.usable(a)?;
            self.usable(b)?;
            file::swap_extents(self.writer(), a, a_offset, b, b_offset, len)
        })
    }

    pub(super) fn on_content<T>(
        &self,
        inode: InodeNumber,
        act: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        self.changing_in_steps(|| {
            let _lock = self.shared.locks.exclusive(&[inode]);
            self.usable(inode)?;
            act()
        })
    }
}

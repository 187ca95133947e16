//! A part of another device, as a device of its own.
//!
//! [`Window`] shifts every offset by a constant and checks every range against
//! its own size; what it is asked for never reaches the bytes around it. The
//! window's end is checked against the device beneath once, at creation; sizes
//! don't change.

use std::sync::Arc;

use crate::device::check_range;
use crate::{BlockDevice, DeviceFile, Error, Mapped, Result};

/// Bytes `offset .. offset + size` of another device.
#[derive(Debug)]
pub struct Window {
    inner: Arc<dyn BlockDevice>,
    offset: u64,
    size_bytes: u64,
}

impl Window {
    /// The `len_bytes` bytes of `inner` from byte `offset` on; up to its end
    /// for `None`. A window may be empty.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`] if they are not all there.
    pub fn new(inner: Arc<dyn BlockDevice>, offset: u64, len_bytes: Option<u64>) -> Result<Self> {
        let inner_size = inner.size_bytes();
        let size_bytes = len_bytes.unwrap_or(inner_size.saturating_sub(offset));
        check_range(offset, size_bytes, inner_size)?;
        Ok(Self {
            inner,
            offset,
            size_bytes,
        })
    }

    /// First byte of the device beneath.
    pub fn offset_bytes(&self) -> u64 {
        self.offset
    }

    /// Where a range of the window starts in the device beneath.
    fn shifted(&self, offset: u64, len: u64) -> Result<u64> {
        check_range(offset, len, self.size_bytes)?;
        self.offset.checked_add(offset).ok_or(Error::OutOfRange {
            offset,
            len,
            size: self.size_bytes,
        })
    }
}

impl BlockDevice for Window {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn logical_sector_bytes(&self) -> u32 {
        self.inner.logical_sector_bytes()
    }

    fn is_read_only(&self) -> bool {
        self.inner.is_read_only()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        let shifted = self.shifted(offset, buf.len() as u64)?;
        self.inner.read_at(buf, shifted)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        let shifted = self.shifted(offset, buf.len() as u64)?;
        self.inner.write_at(buf, shifted)
    }

    fn write_zeroes(&self, offset: u64, len: u64) -> Result<()> {
        let shifted = self.shifted(offset, len)?;
        self.inner.write_zeroes(shifted, len)
    }

    fn discard(&self, offset: u64, len: u64) -> Result<()> {
        let shifted = self.shifted(offset, len)?;
        self.inner.discard(shifted, len)
    }

    fn is_hole(&self, offset: u64, len: u64) -> bool {
        self.shifted(offset, len)
            .is_ok_and(|shifted| self.inner.is_hole(shifted, len))
    }

    fn start_writeback(&self, offset: u64, len: u64) {
        if let Ok(shifted) = self.shifted(offset, len) {
            self.inner.start_writeback(shifted, len);
        }
    }

    fn flush(&self) -> Result<()> {
        self.inner.flush()
    }

    fn as_file(&self) -> Option<DeviceFile<'_>> {
        let file = self.inner.as_file()?;
        Some(DeviceFile {
            fd: file.fd,
            base_offset: file.base_offset.checked_add(self.offset)?,
        })
    }

    fn block_device(&self) -> Option<DeviceFile<'_>> {
        let file = self.inner.block_device()?;
        Some(DeviceFile {
            fd: file.fd,
            base_offset: file.base_offset.checked_add(self.offset)?,
        })
    }

    fn mapped_at(&self, offset: u64, len_bytes: u64) -> Result<Mapped<'_>> {
        let shifted = self.shifted(offset, len_bytes)?;
        if len_bytes == 0 {
            return Err(Error::OutOfRange {
                offset,
                len: 0,
                size: self.size_bytes,
            });
        }
        self.inner.mapped_at(shifted, len_bytes)
    }

    fn prefetch(&self, offset: u64, len_bytes: u64) {
        let len_inside = len_bytes.min(self.size_bytes.saturating_sub(offset));
        if let Ok(shifted) = self.shifted(offset, len_inside) {
            self.inner.prefetch(shifted, len_inside);
        }
    }
}

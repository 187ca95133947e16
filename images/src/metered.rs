//! A device that counts what is written through it.
//!
//! A file system keeps account of the kilobytes written to it in its life; whoever writes
//! it puts a [`Metered`] between itself and the device.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;

use crate::{BlockDevice, DeviceFile, Mapped, Result};

/// Another device, and a counter.
#[derive(Debug)]
pub struct Metered {
    inner: Arc<dyn BlockDevice>,
    /// In a line of its own: all threads write it, and read what lies beside it.
    written_bytes: CachePadded<AtomicU64>,
}

impl Metered {
    /// Counts from 0.
    pub fn new(inner: Arc<dyn BlockDevice>) -> Self {
        Self {
            inner,
            written_bytes: CachePadded::new(AtomicU64::new(0)),
        }
    }

    /// Bytes written so far; zeroed and discarded ones do not count.
    pub fn written_bytes(&self) -> u64 {
        self.written_bytes.load(Ordering::Relaxed)
    }
}

impl BlockDevice for Metered {
    fn size_bytes(&self) -> u64 {
        self.inner.size_bytes()
    }

    fn logical_sector_bytes(&self) -> u32 {
        self.inner.logical_sector_bytes()
    }

    fn is_read_only(&self) -> bool {
        self.inner.is_read_only()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        self.inner.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        self.written_bytes
            .fetch_add(buf.len() as u64, Ordering::Relaxed);
        self.inner.write_at(buf, offset)
    }

    fn write_zeroes(&self, offset: u64, len: u64) -> Result<()> {
        self.inner.write_zeroes(offset, len)
    }

    fn discard(&self, offset: u64, len: u64) -> Result<()> {
        self.inner.discard(offset, len)
    }

    fn is_hole(&self, offset: u64, len: u64) -> bool {
        self.inner.is_hole(offset, len)
    }

    fn start_writeback(&self, offset: u64, len: u64) {
        self.inner.start_writeback(offset, len);
    }

    fn flush(&self) -> Result<()> {
        self.inner.flush()
    }

    fn block_device(&self) -> Option<DeviceFile<'_>> {
        self.inner.block_device()
    }

    fn as_file(&self) -> Option<DeviceFile<'_>> {
        self.inner.as_file()
    }

    fn mapped_at(&self, offset: u64, len_bytes: u64) -> Result<Mapped<'_>> {
        self.inner.mapped_at(offset, len_bytes)
    }

    fn prefetch(&self, offset: u64, len_bytes: u64) {
        self.inner.prefetch(offset, len_bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Memory;

    #[test]
    fn bytes_written_are_counted_and_arrive() {
        let memory = Arc::new(Memory::zeroed(1024));
        let metered = Metered::new(memory.clone());
        metered.write_at(&[1; 100], 0).unwrap();
        metered.write_at(&[2; 24], 1000).unwrap();
        metered.write_zeroes(0, 50).unwrap();
        assert_eq!(metered.written_bytes(), 124);
        assert_eq!(memory.snapshot()[50..52], [1, 1]);
    }
}

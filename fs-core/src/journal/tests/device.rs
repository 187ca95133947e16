//! A device in memory that nobody may write to.

use std::sync::Arc;

use images::{BlockDevice, Error, Result};

#[derive(Debug)]
pub(super) struct Bytes(Vec<u8>);

impl Bytes {
    pub(super) fn device(bytes: Vec<u8>) -> Arc<dyn BlockDevice> {
        Arc::new(Self(bytes))
    }
}

impl BlockDevice for Bytes {
    fn size_bytes(&self) -> u64 {
        self.0.len() as u64
    }

    fn is_read_only(&self) -> bool {
        true
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        let end = offset.saturating_add(buf.len() as u64);
        let out_of_range = Error::OutOfRange {
            offset,
            len: buf.len() as u64,
            size: self.size_bytes(),
        };
        if end > self.size_bytes() {
            return Err(out_of_range);
        }
        buf.copy_from_slice(&self.0[offset as usize..end as usize]);
        Ok(())
    }

    fn write_at(&self, _: &[u8], _: u64) -> Result<()> {
        panic!("recovery for reading wrote to the device");
    }

    fn write_zeroes(&self, _: u64, _: u64) -> Result<()> {
        panic!("recovery for reading wrote to the device");
    }

    fn discard(&self, _: u64, _: u64) -> Result<()> {
        panic!("recovery for reading wrote to the device");
    }

    fn flush(&self) -> Result<()> {
        panic!("recovery for reading flushed the device");
    }
}

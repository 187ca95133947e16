//! A device in this process's memory.
//!
//! [`Memory`] is for tests and for images that are made before they have a
//! place. Writes are visible at once and never durable. One lock guards all
//! bytes: many readers or one writer, never held while anything else is taken.
//! A memory that can't be written needs no lock, its bytes never move, and so
//! it answers [`BlockDevice::mapped_at`] like a mapped file does.

use parking_lot::RwLock;

use crate::device::check_range;
use crate::{BlockDevice, Error, Mapped, MappedBytes, Result};

/// Bytes in memory.
#[derive(Debug)]
pub struct Memory {
    bytes: Bytes,
    size_bytes: u64,
}

enum Bytes {
    Writable(RwLock<Box<[u8]>>),
    Frozen(Box<[u8]>),
}

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Writable(_) => "Writable",
            Self::Frozen(_) => "Frozen",
        })
    }
}

impl Memory {
    /// A writable device of these bytes.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self {
            size_bytes: bytes.len() as u64,
            bytes: Bytes::Writable(RwLock::new(bytes.into_boxed_slice())),
        }
    }

    /// A writable device of `len_bytes` zeros, all of them allocated.
    pub fn zeroed(len_bytes: usize) -> Self {
        Self::new(vec![0; len_bytes])
    }

    /// A device of these bytes that refuses writes and answers
    /// [`BlockDevice::mapped_at`] with their addresses.
    pub fn read_only(bytes: Vec<u8>) -> Self {
        Self {
            size_bytes: bytes.len() as u64,
            bytes: Bytes::Frozen(bytes.into_boxed_slice()),
        }
    }

    /// A copy of all bytes, as they are at one moment.
    pub fn snapshot(&self) -> Vec<u8> {
        match &self.bytes {
            Bytes::Writable(bytes) => bytes.read().to_vec(),
            Bytes::Frozen(bytes) => bytes.to_vec(),
        }
    }

    /// Shows a range's bytes to `change`.
    fn change(&self, offset: u64, len: u64, change: impl FnOnce(&mut [u8])) -> Result<()> {
        let Bytes::Writable(bytes) = &self.bytes else {
            return Err(Error::ReadOnly);
        };
        let (start, end) = self.indices(offset, len)?;
        match bytes.write().get_mut(start..end) {
            Some(range) => {
                change(range);
                Ok(())
            }
            None => Err(self.outside(offset, len)),
        }
    }

    /// First and last index (exclusive) of a range.
    fn indices(&self, offset: u64, len: u64) -> Result<(usize, usize)> {
        check_range(offset, len, self.size_bytes)?;
        // No larger than the size, which came from a usize.
        match (usize::try_from(offset), usize::try_from(len)) {
            (Ok(start), Ok(len_usize)) => Ok((start, start + len_usize)),
            _ => Err(self.outside(offset, len)),
        }
    }

    fn outside(&self, offset: u64, len: u64) -> Error {
        Error::OutOfRange {
            offset,
            len,
            size: self.size_bytes,
        }
    }
}

impl BlockDevice for Memory {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn is_read_only(&self) -> bool {
        matches!(self.bytes, Bytes::Frozen(_))
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        let len = buf.len() as u64;
        let (start, end) = self.indices(offset, len)?;
        let copied = match &self.bytes {
            Bytes::Writable(bytes) => copy(bytes.read().get(start..end), buf),
            Bytes::Frozen(bytes) => copy(bytes.get(start..end), buf),
        };
        copied.ok_or_else(|| self.outside(offset, len))
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        self.change(offset, buf.len() as u64, |range| range.copy_from_slice(buf))
    }

    fn write_zeroes(&self, offset: u64, len: u64) -> Result<()> {
        self.change(offset, len, |range| range.fill(0))
    }

    fn discard(&self, offset: u64, len: u64) -> Result<()> {
        self.change(offset, len, |_| ())
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }

    fn mapped_at(&self, offset: u64, len_bytes: u64) -> Result<Mapped<'_>> {
        let (start, end) = self.indices(offset, len_bytes)?;
        if len_bytes == 0 {
            return Err(self.outside(offset, len_bytes));
        }
        match &self.bytes {
            Bytes::Writable(_) => Ok(Mapped::No { len_bytes }),
            Bytes::Frozen(bytes) => {
                let address = bytes.as_ptr().wrapping_add(start);
                Ok(Mapped::Bytes(MappedBytes::new(address, end - start)))
            }
        }
    }
}

/// Copies when the range is there and as long as `buf`.
fn copy(range: Option<&[u8]>, buf: &mut [u8]) -> Option<()> {
    let range = range.filter(|range| range.len() == buf.len())?;
    buf.copy_from_slice(range);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_edge_of_the_range_is_checked() {
        let memory = Memory::new((0..16).collect());
        let mut buf = [0; 4];
        memory.read_at(&mut buf, 12).unwrap();
        assert_eq!(buf, [12, 13, 14, 15]);
        memory.read_at(&mut [], 16).unwrap();
        for offset in [13, 16, 17, u64::MAX - 3, u64::MAX] {
            let error = memory.read_at(&mut buf, offset).unwrap_err();
            assert!(matches!(
                error,
                Error::OutOfRange {
                    len: 4,
                    size: 16,
                    ..
                }
            ));
            assert!(memory.write_at(&buf, offset).is_err());
            assert!(memory.write_zeroes(offset, 4).is_err());
            assert!(memory.discard(offset, 4).is_err());
            assert!(memory.mapped_at(offset, 4).is_err());
        }
        assert!(memory.read_at(&mut [], 17).is_err());
        assert!(memory.write_zeroes(1, u64::MAX).is_err());
        assert!(memory.mapped_at(3, 0).is_err());
        assert_eq!(memory.snapshot(), (0..16).collect::<Vec<u8>>());
    }

    #[test]
    fn writes_are_seen() {
        let memory = Memory::zeroed(8);
        memory.write_at(&[1, 2, 3], 2).unwrap();
        memory.write_zeroes(3, 1).unwrap();
        memory.discard(0, 8).unwrap();
        memory.flush().unwrap();
        assert_eq!(memory.snapshot(), [0, 0, 1, 0, 3, 0, 0, 0]);
        assert!(matches!(
            memory.mapped_at(1, 5).unwrap(),
            Mapped::No { len_bytes: 5 }
        ));
    }

    #[test]
    fn a_frozen_memory_refuses_writes_and_has_addresses() {
        let memory = Memory::read_only(vec![7; 8]);
        assert!(memory.is_read_only());
        assert!(matches!(memory.write_at(&[1], 0), Err(Error::ReadOnly)));
        assert!(matches!(memory.write_zeroes(0, 1), Err(Error::ReadOnly)));
        assert!(matches!(memory.discard(0, 1), Err(Error::ReadOnly)));
        let Mapped::Bytes(first) = memory.mapped_at(0, 8).unwrap() else {
            panic!("not mapped");
        };
        let Mapped::Bytes(third) = memory.mapped_at(3, 5).unwrap() else {
            panic!("not mapped");
        };
        assert_eq!(first.len_bytes(), 8);
        assert_eq!(third.len_bytes(), 5);
        assert_eq!(third.address(), first.address().wrapping_add(3));
    }
}

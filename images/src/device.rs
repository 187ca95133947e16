//! The one trait of this crate and what its answers are made of.
//!
//! [`BlockDevice`] promises bytes at offsets, checked against a constant size.
//! It is an object-safe trait because devices are stacked at run time: an
//! overlay over a window over a file. Who can move bytes without looking at
//! them asks [`BlockDevice::as_file`] or [`BlockDevice::mapped_at`]; everybody
//! else reads into a buffer.

use std::fmt::Debug;
use std::marker::PhantomData;
use std::os::fd::BorrowedFd;

use crate::{Error, Result};

/// A file system's bytes, numbered from 0.
///
/// Offsets and lengths are bytes. Every operation checks its range and fails
/// with [`Error::OutOfRange`] before the system sees it. Implementations are
/// used by many threads at once; overlapping writes have no order among
/// themselves.
pub trait BlockDevice: Send + Sync + Debug {
    /// Size in bytes; constant while the device is open.
    fn size_bytes(&self) -> u64;

    /// Smallest unit the device writes whole: 512 or 4096 for a block device,
    /// 512 for files and memory.
    fn logical_sector_bytes(&self) -> u32 {
        512
    }

    /// True if every write will be refused.
    fn is_read_only(&self) -> bool;

    /// Fills `buf` from `offset`.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()>;

    /// Writes all of `buf` at `offset`. Durable after the next [`flush`](Self::flush).
    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()>;

    /// Makes a range read as zeros, without moving them where the system can.
    fn write_zeroes(&self, offset: u64, len: u64) -> Result<()>;

    /// Tells the device that a range's content is no longer needed. What it
    /// reads as afterwards is undefined. A device that cannot discard does nothing.
    fn discard(&self, offset: u64, len: u64) -> Result<()>;

    /// True if a range is known to hold no data, so that it reads as zeros without
    /// having been read: a hole of a sparse file. False says nothing.
    fn is_hole(&self, _offset: u64, _len: u64) -> bool {
        false
    }

    /// Has the system begin to bring a range that was written to the disk, so that
    /// the next [`flush`](Self::flush) has less to wait for. A hint: never fails, may do nothing.
    fn start_writeback(&self, _offset: u64, _len: u64) {}

    /// Returns once everything written before is durable.
    fn flush(&self) -> Result<()>;

    /// The system's file behind this device, for who moves bytes without
    /// copying; `None` if the bytes are not simply those of one file.
    fn as_file(&self) -> Option<DeviceFile<'_>> {
        None
    }

    /// The block device of the system behind this one, where everything here goes to it without
    /// a cache in between: what others read and write there by themselves agrees with what is
    /// read and written here.
    fn block_device(&self) -> Option<DeviceFile<'_>> {
        None
    }

    /// Where the bytes at `offset` lie in this process's memory, if they do.
    ///
    /// The answer may be shorter than `len_bytes` (never empty): ask again for the rest.
    /// An empty or outside range is [`Error::OutOfRange`].
    fn mapped_at(&self, offset: u64, len_bytes: u64) -> Result<Mapped<'_>> {
        check_range(offset, len_bytes, self.size_bytes())?;
        if len_bytes == 0 {
            return Err(Error::OutOfRange {
                offset,
                len: 0,
                size: self.size_bytes(),
            });
        }
        Ok(Mapped::No { len_bytes })
    }

    /// Says that a range will be read soon. A hint: never fails, may do nothing.
    fn prefetch(&self, _offset: u64, _len_bytes: u64) {}
}

/// Fails unless `offset .. offset + len` lies inside `size` bytes.
pub(crate) fn check_range(offset: u64, len: u64, size: u64) -> Result<()> {
    match offset.checked_add(len) {
        Some(end) if end <= size => Ok(()),
        _ => Err(Error::OutOfRange { offset, len, size }),
    }
}

/// A descriptor and where the device starts in it.
#[derive(Debug, Clone, Copy)]
pub struct DeviceFile<'a> {
    /// The open file or block device.
    pub fd: BorrowedFd<'a>,
    /// Byte of the file that is byte 0 of the device.
    pub base_offset: u64,
}

/// The answer of [`BlockDevice::mapped_at`].
#[derive(Debug)]
pub enum Mapped<'a> {
    /// The next bytes, in memory.
    Bytes(MappedBytes<'a>),
    /// The next `len_bytes` bytes have no address; read them.
    No {
        /// How many bytes this answer speaks for.
        len_bytes: u64,
    },
}

/// Bytes of a shared file mapping.
///
/// Not a slice on purpose: the file may be cut short or changed by others at
/// any time, so these bytes must not be looked at by this process (a read past
/// the new end would kill it). They may be handed to system calls, which
/// answer EFAULT instead.
#[derive(Debug, Clone, Copy)]
pub struct MappedBytes<'a> {
    address: *const u8,
    len_bytes: usize,
    mapping: PhantomData<&'a [u8]>,
}

impl MappedBytes<'_> {
    /// Describes `len_bytes` bytes at `address` of a mapping that outlives `'a`.
    pub(crate) fn new(address: *const u8, len_bytes: usize) -> Self {
        Self {
            address,
            len_bytes,
            mapping: PhantomData,
        }
    }

    /// The first byte's address, for an iovec.
    pub fn address(&self) -> *const u8 {
        self.address
    }

    /// Number of bytes, never 0.
    pub fn len_bytes(&self) -> usize {
        self.len_bytes
    }
}

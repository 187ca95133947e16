//! The system calls that regular files and block devices have in common.
//!
//! [`Descriptor`] is an open file, the size it had when it was opened and
//! whether writing was asked for. It promises that no range outside that size
//! and no write to a device opened for reading reaches the system, and that
//! all bytes move by pread(2) and pwrite(2): a file that others cut short is an
//! error here, never a fault.

use std::fs::File;
use std::io;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;

use rustix::fs::{Advice, FallocateFlags, SeekFrom};
use rustix::io::{Errno, retry_on_intr};

use crate::device::check_range;
use crate::{Error, Result, sys};

/// Zeros are written in pieces of this many bytes.
const ZEROES_LEN_BYTES: usize = 256 * 1024;

/// An open file or block device of a fixed size.
#[derive(Debug)]
pub(crate) struct Descriptor {
    file: File,
    size_bytes: u64,
    read_only: bool,
}

impl Descriptor {
    /// Takes over `file`, of which the first `size_bytes` bytes are the device.
    pub(crate) fn new(file: File, size_bytes: u64, read_only: bool) -> Self {
        Self {
            file,
            size_bytes,
            read_only,
        }
    }

    /// Size in bytes, as given to [`Descriptor::new`].
    pub(crate) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Whether writes are refused.
    pub(crate) fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// The system's descriptor.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Fails unless the range lies inside the device.
    pub(crate) fn check(&self, offset: u64, len: u64) -> Result<()> {
        check_range(offset, len, self.size_bytes)
    }

    /// Fails unless the range lies inside the device and may be changed.
    pub(crate) fn check_writable(&self, offset: u64, len: u64) -> Result<()> {
        if self.read_only {
            return Err(Error::ReadOnly);
        }
        self.check(offset, len)
    }

    /// Fills `buf` from `offset`. A file that has become too short is
    /// [`Error::Io`] with [`io::ErrorKind::UnexpectedEof`].
    pub(crate) fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        let len = buf.len() as u64;
        self.check(offset, len)?;
        self.file
            .read_exact_at(buf, offset)
            .map_err(|source| failed("read", offset, len, source))
    }

    /// Writes all of `buf` at `offset`.
    pub(crate) fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        let len = buf.len() as u64;
        self.check_writable(offset, len)?;
        self.file
            .write_all_at(buf, offset)
            .map_err(|source| failed("write", offset, len, source))
    }

    /// Writes zeros over a range, in pieces.
    pub(crate) fn write_zeroes_by_hand(&self, offset: u64, len: u64) -> Result<()> {
        self.check_writable(offset, len)?;
        let piece_max = usize::try_from(len).unwrap_or(usize::MAX);
        let zeroes = vec![0; piece_max.min(ZEROES_LEN_BYTES)];
        let mut done = 0;
        while done < len {
            let piece_len = usize::try_from(len - done).unwrap_or(usize::MAX);
            let piece = zeroes.get(..piece_len).unwrap_or(&zeroes);
            self.write_at(piece, offset + done)?;
            done += piece.len() as u64;
        }
        Ok(())
    }

    /// Has the system make a range read as zeros. `Ok(false)` if it cannot.
    pub(crate) fn zero_in_place(&self, offset: u64, len: u64) -> Result<bool> {
        self.check_writable(offset, len)?;
        // Zeroing keeps the room allocated, so that later writes can't run out
        // of space; a hole is second best.
        for flags in [FallocateFlags::ZERO_RANGE, FallocateFlags::PUNCH_HOLE] {
            if self.fallocate("zero", flags, offset, len)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Gives a range's room back. `Ok(false)` if the system cannot.
    pub(crate) fn punch_hole(&self, offset: u64, len: u64) -> Result<bool> {
        self.check_writable(offset, len)?;
        self.fallocate("discard", FallocateFlags::PUNCH_HOLE, offset, len)
    }

    fn fallocate(
        &self,
        operation: &'static str,
        flags: FallocateFlags,
        offset: u64,
        len: u64,
    ) -> Result<bool> {
        if len == 0 {
            return Ok(true);
        }
        let flags = flags | FallocateFlags::KEEP_SIZE;
        match retry_on_intr(|| rustix::fs::fallocate(&self.file, flags, offset, len)) {
            Ok(()) => Ok(true),
            Err(errno) if is_refusal(errno) => Ok(false),
            Err(errno) => Err(failed(operation, offset, len, errno.into())),
        }
    }

    /// True if the system knows that a range holds no data. A file system without
    /// holes says that everything is data.
    pub(crate) fn is_hole(&self, offset: u64, len: u64) -> bool {
        if self.check(offset, len).is_err() {
            return false;
        }
        // The descriptor's own position moves, and nobody uses it.
        match rustix::fs::seek(&self.file, SeekFrom::Data(offset)) {
            Ok(data) => data >= offset.saturating_add(len),
            Err(errno) => errno == Errno::NXIO,
        }
    }

    /// Begins to write back a range, as far as it lies inside the device.
    pub(crate) fn start_writeback(&self, offset: u64, len: u64) {
        if self.check_writable(offset, len).is_ok() {
            sys::start_writeback(self.file.as_fd(), offset, len);
        }
    }

    /// Returns once everything written before is durable.
    pub(crate) fn flush(&self) -> Result<()> {
        if self.read_only {
            return Ok(());
        }
        retry_on_intr(|| rustix::fs::fdatasync(&self.file))
            .map_err(|errno| failed("flush", 0, 0, errno.into()))
    }

    /// Starts reading the part of a range that lies inside the device.
    pub(crate) fn prefetch(&self, offset: u64, len_bytes: u64) {
        let len_inside = len_bytes.min(self.size_bytes.saturating_sub(offset));
        if let Some(len_inside) = NonZeroU64::new(len_inside) {
            // A hint: whether it was taken changes nothing for the caller.
            let _ = rustix::fs::fadvise(&self.file, offset, Some(len_inside), Advice::WillNeed);
        }
    }
}

/// True if the system will not zero or discard a range itself, which says nothing about
/// writing there. That is so of what cannot do it, and of a block device that somebody
/// else has claimed (EBUSY) or swaps to (ETXTBSY): it would drop pages of the cache.
pub(crate) fn is_refusal(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::OPNOTSUPP
            | Errno::NOSYS
            | Errno::NOTTY
            | Errno::BUSY
            | Errno::TXTBSY
            | Errno::PERM
            | Errno::ACCESS
    )
}

/// The error of a system call on a range.
pub(crate) fn failed(operation: &'static str, offset: u64, len: u64, source: io::Error) -> Error {
    let source = if source.kind() == io::ErrorKind::UnexpectedEof {
        io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the file has become shorter since it was opened",
        )
    } else {
        source
    };
    Error::Io {
        operation,
        offset,
        len,
        source,
    }
}

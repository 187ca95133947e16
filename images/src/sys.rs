//! The system calls no crate wraps safely, and the only unsafe code of this crate.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;
use rustix::ioctl::{Getter, Opcode, Setter, ioctl, opcode};

/// `BLKDISCARD`, `_IO(0x12, 119)` of linux/fs.h.
const BLKDISCARD: Opcode = opcode::none(0x12, 119);

/// `BLKROGET`, `_IO(0x12, 94)` of linux/fs.h.
const BLKROGET: Opcode = opcode::none(0x12, 94);

/// Whether a block device refuses writes, whatever it was opened for. One that cannot say
/// does not.
pub(crate) fn block_is_read_only(device: BorrowedFd<'_>) -> bool {
    // SAFETY: BLKROGET fills one int, which `Getter` has room for.
    let request = unsafe { Getter::<BLKROGET, std::ffi::c_int>::new() };
    // SAFETY: as above; the descriptor is borrowed and so open.
    unsafe { ioctl(device, request) }.is_ok_and(|answer| answer != 0)
}

/// Discards bytes `offset .. offset + len` of a block device, both multiples of
/// its logical sector. `Ok(false)` if the device cannot discard.
pub(crate) fn block_discard(
    device: BorrowedFd<'_>,
    offset: u64,
    len: u64,
) -> rustix::io::Result<bool> {
    // SAFETY: BLKDISCARD takes a pointer to two u64 (start, length in bytes),
    // which it only reads; `Setter` passes the address of the array it owns.
    let request = unsafe { Setter::<BLKDISCARD, [u64; 2]>::new([offset, len]) };
    // SAFETY: the opcode and its argument match, see above; on a descriptor
    // that is no block device the call fails and touches nothing.
    match unsafe { ioctl(device, request) } {
        Ok(()) => Ok(true),
        Err(Errno::OPNOTSUPP | Errno::NOTTY) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// sync_file_range(2) with SYNC_FILE_RANGE_WRITE: begins to write a range back
/// and does not wait. What it cannot do, the next fdatasync(2) does.
pub(crate) fn start_writeback(file: BorrowedFd<'_>, offset: u64, len: u64) {
    let (Ok(offset), Ok(len)) = (i64::try_from(offset), i64::try_from(len)) else {
        return;
    };
    // SAFETY: the descriptor is borrowed and so open; the call takes numbers only.
    let _ = unsafe {
        libc::sync_file_range(file.as_raw_fd(), offset, len, libc::SYNC_FILE_RANGE_WRITE)
    };
}

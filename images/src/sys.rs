//! The system calls no crate wraps safely, and the only unsafe code of this crate.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd};

use crate::loop_device::Attachment;
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

/// `LOOP_CTL_GET_FREE` of linux/loop.h.
const LOOP_CTL_GET_FREE: libc::c_ulong = 0x4C82;
/// `LOOP_CONFIGURE` of linux/loop.h.
const LOOP_CONFIGURE: libc::c_ulong = 0x4C0A;
/// `LO_FLAGS_AUTOCLEAR`: detached with the last use.
const LO_FLAGS_AUTOCLEAR: u32 = 4;
/// `LO_FLAGS_READ_ONLY`
const LO_FLAGS_READ_ONLY: u32 = 1;
/// `LO_FLAGS_DIRECT_IO`
const LO_FLAGS_DIRECT_IO: u32 = 16;

/// `struct loop_config` with the `struct loop_info64` in it, as far as it is used here.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    /// `lo_device` to `lo_sizelimit`.
    info_head: [u64; 5],
    lo_number: u32,
    lo_encrypt_type: u32,
    lo_encrypt_key_size: u32,
    lo_flags: u32,
    /// Names and keys, and what is reserved.
    info_tail: [u64; 22],
    reserved: [u64; 8],
}

const _: () = assert!(size_of::<LoopConfig>() == 304);

/// The number of a loop device nobody uses, made if need be.
pub(crate) fn free_loop_device(control: BorrowedFd<'_>) -> rustix::io::Result<u32> {
    // SAFETY: the descriptor is borrowed and so open; the call takes no argument.
    let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE as _) };
    u32::try_from(number).map_err(|_| last_errno())
}

/// Attaches a file to a loop device.
pub(crate) fn configure_loop_device(
    device: BorrowedFd<'_>,
    image: BorrowedFd<'_>,
    how: Attachment,
) -> rustix::io::Result<()> {
    let mut lo_flags = LO_FLAGS_AUTOCLEAR;
    if how.read_only {
        lo_flags |= LO_FLAGS_READ_ONLY;
    }
    if how.direct {
        lo_flags |= LO_FLAGS_DIRECT_IO;
    }
    let config = LoopConfig {
        fd: u32::try_from(image.as_raw_fd()).map_err(|_| Errno::BADF)?,
        block_size: 0,
        info_head: [0; 5],
        lo_number: 0,
        lo_encrypt_type: 0,
        lo_encrypt_key_size: 0,
        lo_flags,
        info_tail: [0; 22],
        reserved: [0; 8],
    };
    // SAFETY: both descriptors are borrowed and so open; LOOP_CONFIGURE only reads the
    // structure, whose layout is the kernel's.
    let answer = unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE as _, &raw const config) };
    if answer < 0 {
        return Err(last_errno());
    }
    Ok(())
}

fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// `BLKBSZSET`, `_IOW(0x12, 113, size_t)` of linux/fs.h.
const BLKBSZSET: Opcode = opcode::write::<usize>(0x12, 113);
/// `BLKBSZGET`, `_IOR(0x12, 112, size_t)` of linux/fs.h.
const BLKBSZGET: Opcode = opcode::read::<usize>(0x12, 112);

/// Sets the unit of a block device's page cache.
pub(crate) fn set_block_size(device: BorrowedFd<'_>, bytes: u32) -> rustix::io::Result<()> {
    let bytes = i32::try_from(bytes).map_err(|_| Errno::INVAL)?;
    // SAFETY: BLKBSZSET reads one int, whatever its number says; `Setter` owns it.
    let request = unsafe { Setter::<BLKBSZSET, i32>::new(bytes) };
    // SAFETY: as above; on what is no block device the call fails and touches nothing.
    unsafe { ioctl(device, request) }
}

/// The unit of a block device's page cache, in bytes.
pub(crate) fn block_size(device: BorrowedFd<'_>) -> rustix::io::Result<u32> {
    // SAFETY: BLKBSZGET fills one int, whatever its number says; `Getter` has room for a word.
    let request = unsafe { Getter::<BLKBSZGET, i32>::new() };
    // SAFETY: as above; on what is no block device the call fails and touches nothing.
    let bytes = unsafe { ioctl(device, request) }?;
    u32::try_from(bytes).map_err(|_| Errno::INVAL)
}

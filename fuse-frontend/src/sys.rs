//! The system calls that need `unsafe`: everything of this crate that does.
#![allow(unsafe_code)]

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd};

use images::MappedBytes;

/// One run of bytes of a message to be written.
///
/// A `Piece` is made of a slice or of a mapping and lives no longer than
/// either; nobody but the kernel looks at its bytes.
#[derive(Debug, Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Piece<'a> {
    iovec: libc::iovec,
    bytes: PhantomData<&'a [u8]>,
}

impl<'a> Piece<'a> {
    fn new(address: *const u8, len: usize) -> Self {
        Self {
            iovec: libc::iovec {
                iov_base: address.cast_mut().cast(),
                iov_len: len,
            },
            bytes: PhantomData,
        }
    }

    /// Bytes of our own.
    pub(crate) fn of_slice(bytes: &'a [u8]) -> Self {
        Self::new(bytes.as_ptr(), bytes.len())
    }

    /// The first `len` bytes of a mapping, or all if it has fewer.
    pub(crate) fn of_mapping(bytes: MappedBytes<'a>, len: usize) -> Self {
        Self::new(bytes.address(), bytes.len_bytes().min(len))
    }

    /// Length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.iovec.iov_len
    }

    /// Takes in `next` if it starts in memory where this piece ends.
    pub(crate) fn join(&mut self, next: &Piece<'a>) -> bool {
        let end = (self.iovec.iov_base as usize).wrapping_add(self.iovec.iov_len);
        if end != next.iovec.iov_base as usize {
            return false;
        }
        match self.iovec.iov_len.checked_add(next.iovec.iov_len) {
            Some(sum) => self.iovec.iov_len = sum,
            None => return false,
        }
        true
    }
}

/// writev(2): the pieces one after the other, as one message.
pub(crate) fn writev(fd: BorrowedFd<'_>, pieces: &[Piece<'_>]) -> io::Result<usize> {
    let count = libc::c_int::try_from(pieces.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: `Piece` is a transparent iovec, and each one describes memory
    // that is valid for its lifetime, which covers this call. The kernel only
    // reads it, and answers EFAULT where a mapped file has become shorter.
    let written = unsafe { libc::writev(fd.as_raw_fd(), pieces.as_ptr().cast(), count) };
    usize::try_from(written).map_err(|_| io::Error::last_os_error())
}

/// `FUSE_DEV_IOC_CLONE`, `_IOR(229, 0, u32)`.
const FUSE_DEV_IOC_CLONE: libc::Ioctl = 0x8004_e500;

/// Makes `fresh`, a newly opened `/dev/fuse`, a second descriptor of the
/// connection behind `session`.
pub(crate) fn clone_connection(fresh: BorrowedFd<'_>, session: BorrowedFd<'_>) -> io::Result<()> {
    let number = session.as_raw_fd() as u32;
    // SAFETY: the kernel reads one u32 at the given address, which is that of
    // a live local variable.
    let answer = unsafe {
        libc::ioctl(
            fresh.as_raw_fd(),
            FUSE_DEV_IOC_CLONE,
            std::ptr::from_ref(&number),
        )
    };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// ioctl(2) with a structure that the command reads or fills; what the call returns.
pub(crate) fn ioctl(fd: BorrowedFd<'_>, command: u32, argument: &mut [u8]) -> io::Result<u32> {
    // What the generic encoding says of the structure's size.
    let size = (command >> 16) & 0x3fff;
    if usize::try_from(size).is_ok_and(|size| size > argument.len()) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: the kernel reads and writes as many bytes as the command encodes, and `argument`
    // is not shorter.
    let result = unsafe {
        libc::ioctl(
            fd.as_raw_fd(),
            libc::Ioctl::from(command),
            argument.as_mut_ptr(),
        )
    };
    u32::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// An ioctl that fills `N` bytes: `_IOR` of that size.
pub(crate) fn read_ioctl<const N: usize>(fd: BorrowedFd<'_>, command: u32) -> io::Result<[u8; N]> {
    let mut answer = [0u8; N];
    // SAFETY: callers pass a command that encodes `N` as its size (asserted
    // where it is defined), and `answer` has room for as much.
    let result = unsafe {
        libc::ioctl(
            fd.as_raw_fd(),
            libc::Ioctl::from(command),
            answer.as_mut_ptr(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(answer)
}

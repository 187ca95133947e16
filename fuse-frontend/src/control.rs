//! The ioctl by which this program recognizes its own mounts.
//!
//! | | |
//! |---|---|
//! | number | `0x8010eb01`: `_IOR(0xeb, 1, 16 bytes)` |
//! | on | any file or directory of the mount |
//!
//! The answer, in the machine's byte order:
//!
//! | offset | size | |
//! |---|---|---|
//! | 0 | 4 | magic, `0x504d5845` ("EXMP" in memory on little-endian machines) |
//! | 4 | 4 | version of this layout, 1 |
//! | 8 | 4 | process id of the server, in the server's own PID namespace |
//! | 12 | 4 | reserved, 0 |
//!
//! Later versions may make use of the reserved field and will have another
//! number if they need more room.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::error::{Error, Result};
use crate::sys;

/// The number of the ioctl.
pub(crate) const EXTMAP_IOC_STATUS: u32 = 0x8010_eb01;
const _: () = assert!((EXTMAP_IOC_STATUS >> 16) & 0x3fff == size_of::<Status>() as u32);

const MAGIC: u32 = u32::from_le_bytes(*b"EXMP");
const VERSION: u32 = 1;

/// What the server says of itself.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(crate) struct Status {
    magic: u32,
    version: u32,
    pid: u32,
    reserved: u32,
}

impl Status {
    /// This process's.
    pub(crate) fn of_this_process() -> Self {
        Self {
            magic: MAGIC,
            version: VERSION,
            pid: std::process::id(),
            reserved: 0,
        }
    }
}

/// The process id of the server behind a directory (or file) of a mount.
///
/// To be asked before unmounting by who wants to wait for the server's end.
/// [`Error::NotServed`] if the descriptor is not inside such a mount.
pub fn server_pid(dir: BorrowedFd<'_>) -> Result<u32> {
    let bytes: [u8; size_of::<Status>()] =
        sys::read_ioctl(dir, EXTMAP_IOC_STATUS).map_err(not_served)?;
    let status = Status::read_from_bytes(&bytes).map_err(|_| Error::NotServed)?;
    if status.magic != MAGIC {
        return Err(Error::NotServed);
    }
    if status.version != VERSION {
        return Err(Error::ControlVersion {
            found: status.version,
            known: VERSION,
        });
    }
    Ok(status.pid)
}

fn not_served(source: std::io::Error) -> Error {
    match Errno::from_io_error(&source) {
        // What file systems answer to ioctls they do not know.
        Some(Errno::NOTTY | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => Error::NotServed,
        _ => Error::Status(source),
    }
}

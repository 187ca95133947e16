//! The ioctls by which this program recognizes its own mounts and asks their servers.
//!
//! | | server | status |
//! |---|---|---|
//! | number | `0x8010eb01`: `_IOR(0xeb, 1, 16 bytes)` | `0xbff0eb02`: `_IOR(0xeb, 2, 16368 bytes)` |
//! | on | any file or directory of the mount | the same |
//! | answer | the first 16 bytes of the table | all of it |
//!
//! The answer, in the machine's byte order:
//!
//! | offset | size | |
//! |---|---|---|
//! | 0 | 4 | magic, `0x504d5845` ("EXMP" in memory on little-endian machines) |
//! | 4 | 4 | version of this layout, 1 |
//! | 8 | 4 | process id of the server, in the server's own PID namespace |
//! | 12 | 4 | of the status: length of what follows, in bytes; else 0 |
//! | 16 | | of the status: [`Status`] as JSON |

use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::error::{Error, Result};
use crate::status::Status;
use crate::sys;

/// Asks which process serves.
pub(crate) const EXTMAP_IOC_SERVER: u32 = 0x8010_eb01;
const _: () = assert!(argument_bytes(EXTMAP_IOC_SERVER) == size_of::<Identity>());

/// Asks for the status.
pub(crate) const EXTMAP_IOC_STATUS: u32 = 0xbff0_eb02;
/// The largest multiple of 16 that an ioctl's number can tell.
const STATUS_BYTES_MAX: usize = 16_368;
const _: () = assert!(argument_bytes(EXTMAP_IOC_STATUS) == STATUS_BYTES_MAX);

const MAGIC: u32 = u32::from_le_bytes(*b"EXMP");
const VERSION: u32 = 1;

const fn argument_bytes(command: u32) -> usize {
    ((command >> 16) & 0x3fff) as usize
}

/// Which process serves.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(crate) struct Identity {
    magic: u32,
    version: u32,
    pid: u32,
    status_bytes: u32,
}

impl Identity {
    /// This process.
    pub(crate) fn of_this_process() -> Self {
        Self {
            magic: MAGIC,
            version: VERSION,
            pid: std::process::id(),
            status_bytes: 0,
        }
    }

    fn check(&self) -> Result<()> {
        if self.magic != MAGIC {
            return Err(Error::NotServed);
        }
        if self.version != VERSION {
            return Err(Error::ControlVersion {
                found: self.version,
                known: VERSION,
            });
        }
        Ok(())
    }
}

/// The answer to [`EXTMAP_IOC_STATUS`].
pub(crate) fn status_bytes(status: &Status) -> Vec<u8> {
    let room = STATUS_BYTES_MAX - size_of::<Identity>();
    // Counts, paths and a few bounded sentences: it is always far smaller; if it were not,
    // no status is better than half of one.
    let json = serde_json::to_vec(status)
        .ok()
        .filter(|json| json.len() <= room)
        .unwrap_or_else(|| b"{}".to_vec());
    let identity = Identity {
        status_bytes: u32::try_from(json.len()).unwrap_or(0),
        ..Identity::of_this_process()
    };
    [identity.as_bytes(), &json].concat()
}

/// The process id of the server behind a directory (or file) of a mount.
///
/// To be asked before unmounting by who wants to wait for the server's end.
/// [`Error::NotServed`] if the descriptor is not inside such a mount.
pub fn server_pid(dir: BorrowedFd<'_>) -> Result<u32> {
    let bytes: [u8; size_of::<Identity>()] =
        sys::read_ioctl(dir, EXTMAP_IOC_SERVER).map_err(not_served)?;
    let identity = Identity::read_from_bytes(&bytes).map_err(|_| Error::NotServed)?;
    identity.check()?;
    Ok(identity.pid)
}

/// What the server behind a directory (or file) of a mount says of itself.
///
/// # Errors
/// [`Error::NotServed`] if the descriptor is not inside such a mount,
/// [`Error::ControlVersion`] if the server is another program's, [`Error::Status`] if it
/// cannot be asked.
pub fn status(dir: BorrowedFd<'_>) -> Result<Status> {
    // A server of any version answers this one.
    server_pid(dir)?;
    let bytes: [u8; STATUS_BYTES_MAX] =
        sys::read_ioctl(dir, EXTMAP_IOC_STATUS).map_err(Error::Status)?;
    let (identity, rest) = Identity::read_from_prefix(&bytes).map_err(|_| Error::NotServed)?;
    identity.check()?;
    let len = usize::try_from(identity.status_bytes).unwrap_or(usize::MAX);
    let json = rest.get(..len).ok_or(Error::NotServed)?;
    serde_json::from_slice(json).map_err(|error| Error::Status(error.into()))
}

fn not_served(source: std::io::Error) -> Error {
    match Errno::from_io_error(&source) {
        // What file systems answer to ioctls they do not know.
        Some(Errno::NOTTY | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => Error::NotServed,
        _ => Error::Status(source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_too_large_to_tell_is_empty() {
        let status = Status {
            image: "x".repeat(STATUS_BYTES_MAX),
            ..Status::default()
        };
        let bytes = status_bytes(&status);
        assert_eq!(bytes[size_of::<Identity>()..], *b"{}");
    }
}

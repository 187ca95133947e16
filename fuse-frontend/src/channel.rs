//! A descriptor of the connection to the kernel, one for each thread.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::negotiate::REQUEST_BYTES_MAX;
use crate::sys;

pub(crate) const FUSE_DEVICE: &str = "/dev/fuse";

/// What the kernel demands that a read has room for: the largest write it was
/// promised and the structures before it.
pub(crate) const MESSAGE_BYTES_MAX: usize = REQUEST_BYTES_MAX + 4096;

/// A thread's own descriptor. A request read from it is answered on it.
#[derive(Debug)]
pub(crate) struct Channel(OwnedFd);

impl Channel {
    /// A descriptor that is a channel already.
    pub(crate) fn of(descriptor: OwnedFd) -> Self {
        Self(descriptor)
    }

    /// Another descriptor of the connection behind `session`. The kernel keeps
    /// a list of unanswered requests for each; where it cannot make one
    /// (before Linux 4.2, or `/dev/fuse` is not ours to open), threads share.
    pub(crate) fn beside(session: BorrowedFd<'_>) -> Result<Self> {
        match Self::fresh(session) {
            Ok(channel) => Ok(channel),
            Err(error) => {
                tracing::debug!("threads share one descriptor of {FUSE_DEVICE}: {error}");
                let shared = session.try_clone_to_owned();
                shared.map(Self).map_err(|source| Error::Device {
                    operation: "duplicate",
                    source,
                })
            }
        }
    }

    fn fresh(session: BorrowedFd<'_>) -> io::Result<Self> {
        let device: File = OpenOptions::new()
            .read(true)
            .write(true)
            .open(FUSE_DEVICE)?;
        sys::clone_connection(device.as_fd(), session)?;
        Ok(Self(device.into()))
    }

    /// Waits for the next request. `None`: there will be no more, because the
    /// file system is unmounted or the connection was aborted.
    pub(crate) fn receive<'b>(&self, buffer: &'b mut [u8]) -> Result<Option<&'b [u8]>> {
        loop {
            match rustix::io::read(&self.0, &mut *buffer) {
                // The other end of a connection that is not the kernel's has been closed.
                Ok(0) => return Ok(None),
                Ok(len) => return Ok(buffer.get(..len)),
                // Interrupted, or the request was before we came to it.
                Err(Errno::INTR | Errno::AGAIN | Errno::NOENT) => {}
                Err(Errno::NODEV | Errno::CONNABORTED) => return Ok(None),
                Err(errno) => {
                    return Err(Error::Device {
                        operation: "read from",
                        source: errno.into(),
                    });
                }
            }
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

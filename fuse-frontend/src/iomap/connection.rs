//! A connection to a kernel, and what is asked of it besides reading and answering requests.

use std::fmt::Debug;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use crate::sys::{self, Piece};

/// What is asked of a kernel's FUSE by itself.
///
/// The real one's is `/dev/fuse`; tests that play the kernel have their own.
pub trait ConnectionCalls: Send + Sync + Debug {
    /// ioctl(2): `argument` is the structure the command names, read or filled. Returns what
    /// the call returns.
    ///
    /// # Errors
    /// The system's.
    fn ioctl(&self, command: u32, argument: &mut [u8]) -> io::Result<u32>;

    /// write(2) of a notice, header and all. Its effect is there when this returns.
    ///
    /// # Errors
    /// What the kernel says of the notice.
    fn notify(&self, message: &[u8]) -> io::Result<()>;
}

/// An open connection, of which INIT has not been read.
#[derive(Debug)]
pub struct Connection {
    /// Each gives one whole request with a read(2) and takes one whole reply with a writev(2),
    /// the reply to what was read from it. Not empty.
    pub channels: Vec<OwnedFd>,
    /// `None`: there is nothing but requests and replies.
    pub calls: Option<Arc<dyn ConnectionCalls>>,
}

impl From<OwnedFd> for Connection {
    fn from(channel: OwnedFd) -> Self {
        Self {
            channels: vec![channel],
            calls: None,
        }
    }
}

/// A descriptor of `/dev/fuse`.
#[derive(Debug)]
pub(crate) struct FuseDevice(pub(crate) OwnedFd);

impl ConnectionCalls for FuseDevice {
    fn ioctl(&self, command: u32, argument: &mut [u8]) -> io::Result<u32> {
        sys::ioctl(self.0.as_fd(), command, argument)
    }

    fn notify(&self, message: &[u8]) -> io::Result<()> {
        sys::writev(self.0.as_fd(), &[Piece::of_slice(message)]).map(drop)
    }
}

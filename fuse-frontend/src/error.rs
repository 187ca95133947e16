use std::io;
use std::path::PathBuf;

/// What can go wrong between a mount point and the kernel.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The mount point cannot be used.
    #[error("cannot mount on {mountpoint}: {problem}")]
    Mountpoint {
        /// The path as given.
        mountpoint: PathBuf,
        /// What is wrong with it, as half a sentence.
        problem: String,
    },
    /// The system refused to mount.
    #[error("cannot mount on {mountpoint}: {source}")]
    Mount {
        /// The path as given.
        mountpoint: PathBuf,
        /// The system's or fusermount3's answer.
        source: io::Error,
    },
    /// The system refused to unmount.
    #[error("cannot unmount {mountpoint}: {source}")]
    Unmount {
        /// The path as given at mounting.
        mountpoint: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// `/dev/fuse` failed.
    #[error("cannot {operation} /dev/fuse: {source}")]
    Device {
        /// "open", "read from", ...
        operation: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// The kernel does not move the content of files, though it was to.
    #[error("file data cannot be left to the kernel: {0}")]
    Iomap(String),
    /// A thread could not be started.
    #[error("cannot start a server thread: {0}")]
    Thread(io::Error),
    /// The volume could not be left clean; the next mount recovers it.
    #[error("the file system could not be closed cleanly: {0}")]
    Close(fs_core::Error),
    /// A directory does not lie in a mounted extmap volume.
    #[error("not inside a directory served by extmap")]
    NotServed,
    /// The server of a mount could not be asked.
    #[error("cannot ask the server of this mount: {0}")]
    Status(io::Error),
    /// The server's answer about itself is of a version this program does not know.
    #[error(
        "the server speaks version {found} of the control interface, this program knows {known}"
    )]
    ControlVersion {
        /// The server's.
        found: u32,
        /// Ours.
        known: u32,
    },
}

/// The result of every fallible operation of this crate.
pub type Result<T> = std::result::Result<T, Error>;

//! What can go wrong, once for the whole crate.
//!
//! Every variant carries what its message needs, so that one line tells a user
//! what, where and why. `source` is always the system's own answer.

use std::io;
use std::path::PathBuf;

/// What can go wrong between a caller and the bytes of an image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A range that does not lie inside the device.
    #[error("{len} bytes at offset {offset} are outside the device of {size} bytes")]
    OutOfRange {
        /// First byte asked for.
        offset: u64,
        /// Number of bytes asked for.
        len: u64,
        /// Size of the device in bytes.
        size: u64,
    },
    /// A change was asked of a device opened for reading only.
    #[error("the device is open for reading only")]
    ReadOnly,
    /// Someone else holds the image or device.
    #[error("{path} is in use{}", by(.holder.as_deref()))]
    InUse {
        /// The image or device.
        path: PathBuf,
        /// By whom, as far as the system tells: "process 17 (extmap), mounted on /mnt".
        holder: Option<String>,
    },
    /// The path names something that cannot hold a file system.
    #[error("{path} is {found}, not a regular file or a block device")]
    WrongType {
        /// The path as given.
        path: PathBuf,
        /// What it is, with its article: "a directory".
        found: &'static str,
    },
    /// A block size that is not a power of two.
    #[error("{bytes} bytes cannot be a block size")]
    BlockSize {
        /// The size asked for, in bytes.
        bytes: u32,
    },
    /// Bytes for one block that are not as many as a block has.
    #[error("{found} bytes were given for a block of {expected}")]
    BlockLength {
        /// Bytes given.
        found: usize,
        /// Bytes of a block.
        expected: u32,
    },
    /// A partition table could not be used.
    #[error("partition {number}: {problem}")]
    Partition {
        /// The partition asked for, from 1.
        number: u32,
        /// What is wrong, as half a sentence.
        problem: String,
    },
    /// The image could not be opened.
    #[error("cannot open {path}: {source}")]
    Open {
        /// The path as given.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The system refused to read or write.
    #[error("cannot {operation} {len} bytes at offset {offset}: {source}")]
    Io {
        /// "read", "write", "flush", ...
        operation: &'static str,
        /// First byte of the range; 0 for whole-device operations.
        offset: u64,
        /// Length of the range in bytes; 0 for whole-device operations.
        len: u64,
        /// The system's answer.
        source: io::Error,
    },
}

/// The result of every operation of this crate.
pub type Result<T> = std::result::Result<T, Error>;

fn by(holder: Option<&str>) -> String {
    match holder {
        Some(holder) => format!(": {holder}"),
        None => " by another program".to_owned(),
    }
}

//! The one error type of this crate.

use std::io;
use std::path::PathBuf;

/// The result of every fallible operation of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why no file system was made. Every message is one sentence.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An option's value makes no sense, alone or with the others.
    #[error("{0}")]
    Option(String),
    /// Two features that exclude, or one that needs, another.
    #[error("{0}")]
    Features(String),
    /// The device or the size asked for is unusable.
    #[error("{0}")]
    Size(String),
    /// Something is on the device already.
    #[error("{0}")]
    Occupied(String),
    /// The tree needs more than the device or the size asked for has.
    #[error("{}", does_not_fit(*.needed_bytes, *.available_bytes))]
    DoesNotFit {
        /// Bytes of a file system that would hold the tree with these options, where
        /// that is known.
        needed_bytes: Option<u64>,
        /// Bytes there are.
        available_bytes: u64,
    },
    /// More files than the file system has inodes.
    #[error(
        "the tree does not fit: it needs {needed} inodes, there are {available}: ask for more (-N, -i)"
    )]
    TooFewInodes {
        /// Inodes needed, reserved ones included.
        needed: u64,
        /// Inodes there are.
        available: u64,
    },
    /// A source file, directory or archive failed.
    #[error("{}: {source}", path.display())]
    Source {
        /// The file, or the archive.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// A source holds what cannot be put into the file system, or is damaged.
    #[error("{}: {why}", path.display())]
    BadSource {
        /// The file, or the archive.
        path: PathBuf,
        /// What is wrong, as half a sentence.
        why: String,
    },
    /// The target device failed.
    #[error("{0}")]
    Device(#[from] images::Error),
    /// The format refused what was planned: a fault of this crate.
    #[error("{0}")]
    Format(#[from] fs_core::Error),
}

fn does_not_fit(needed_bytes: Option<u64>, available_bytes: u64) -> String {
    match needed_bytes {
        Some(needed) => {
            format!("the tree does not fit: it needs {needed} bytes, there are {available_bytes}")
        }
        None => format!("the tree does not fit into {available_bytes} bytes"),
    }
}

impl Error {
    /// Says how large the file system is into which something did not fit.
    pub(crate) fn with_available_bytes(self, bytes: u64) -> Self {
        match self {
            Self::DoesNotFit { needed_bytes, .. } => Self::DoesNotFit {
                needed_bytes,
                available_bytes: bytes,
            },
            other => other,
        }
    }
}

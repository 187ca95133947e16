//! The ext4 format and its semantics; no FUSE, no command line, no unsafe.
#![forbid(unsafe_code)]

mod error;
mod format;
mod journal;
mod types;
mod volume_stub;

pub use error::{Corruption, Error, ErrorKind, Result};
pub use format::journal::{JournalCompat, JournalIncompat};
pub use journal::JournalSuperblock;
pub use types::{FileBlock, FileType, FsBlock, GroupNumber, InodeNumber, Timestamp};
pub use volume_stub::*;

//! The ext4 format and its semantics; no FUSE, no command line, no unsafe.
//!
//! [`Volume::open`] takes a device of the crate `images` and gives read access
//! to everything on it. Opening never writes: a journal that was not emptied
//! is replayed in memory. All that is read is checked; what contradicts the
//! format is an [`Error`] that names the structure, the block, what was
//! expected and what was found.
//!
//! [`WritableVolume::open`] gives access to change it all, journalled: opening replays the
//! journal onto the device, and every change is a transaction. There is an example at
//! [`WritableVolume`].
#![forbid(unsafe_code)]

pub mod acl;
mod activity;
mod cache;
mod change;
mod clock;
mod directory;
pub mod encode;
mod error;
mod file;
mod format;
mod generations;
mod inline;
mod inline_edit;
mod inode_cache;
mod inode_locks;
mod journal;
mod live_superblock;
mod mapping;
mod namespace;
mod orphans;
mod patches;
mod run;
mod space;
mod store;
mod sync;
#[cfg(test)]
mod testing;
mod transaction;
mod types;
mod unsynced;
mod volume;
mod xattr;

pub use activity::{Activity, CacheActivity, JournalActivity};
pub use clock::Clock;
pub use directory::DirEntry;
pub use error::{Corruption, Error, ErrorKind, Result};
pub use file::{Allocation, SeekTarget, Segment, WriteCompletion, WriteContext, WritePreparation};
pub use format::features::{CompatFeatures, Features, IncompatFeatures, RoCompatFeatures};
pub use format::group_descriptor::{
    BG_BLOCK_UNINIT, BG_INODE_UNINIT, BG_INODE_ZEROED, GroupDescriptor,
};
pub use format::inode::Inode;
pub use format::inode_flags::{InodeFlags, USER_VISIBLE_FLAGS};
pub use format::superblock::{ErrorRecord, Superblock};
pub use journal::JournalSuperblock;
pub use mapping::MappingObserver;
pub use run::{ExtentState, MappedExtent};
pub use space::BlocksAhead;
pub use types::{FileBlock, FileType, FsBlock, GroupNumber, InodeNumber, Timestamp};
pub use volume::{
    AttributeChanges, ErrorsPolicy, MappingView, NewInode, NewKind, OpenOptions, Recovery,
    RecoveryReport, RenameMode, StatFs, TimeChange, USER_MODIFIABLE_FLAGS, Volume, WritableVolume,
    WriteOptions,
};
pub use xattr::XattrSet;

//! The kernel's half of FUSE with iomap, in process.
//!
//! A server of FUSE is run against this crate on machines whose kernel has no iomap. The
//! crate is written from the protocol's description alone (the numbers of
//! sections in these docs are that description's) and knows nothing of the server: it is an
//! independent witness, so it has wire structures and constants of its own.
//!
//! ```text
//!  application's calls        Kernel: lookup, write_direct, truncate, writeback, ...
//!        |                    locks held, requests, answers judged
//!  Inode: sizes, page cache, mapping cache (tree, cache)      BackingTable -> SimDevice
//!        |
//!  Transport: one socket pair a channel   <->   the server's read(2) and writev(2)
//!  Handle: ioctls and notifications       <->   the server's calls
//! ```
//!
//! What differs from a real `/dev/fuse`:
//!
//! * An end of file read from a channel stands for ENODEV: the file system is unmounted.
//! * A write to a channel cannot be refused, because a socket has no answer. A reply that the
//!   kernel would refuse is recorded as a [`Violation`] and the application gets EIO.
//!   Notifications have an answer that matters, so servers hand them to [`Handle::notify`].
//! * What a device's ioctls do, [`Handle::ioctl`] does.
//! * The kernel sees no descriptor table: tests say which descriptor number stands for which
//!   device ([`Kernel::plug`]).
//! * A folio of the page cache is one block of the file system.

mod attributes;
mod backing;
mod buffered;
mod cache;
#[cfg(test)]
mod cache_tests;
mod census;
mod channel;
mod completion;
mod config;
mod conformance;
mod counters;
mod device;
mod direct;
mod directory;
mod errors;
mod handle;
mod inode;
mod instantiate;
mod judge;
#[cfg(test)]
mod judge_tests;
mod kernel;
mod listing;
mod locate;
mod mapping;
mod names;
mod notify;
pub mod numbers;
mod pages;
mod personality;
mod record;
mod reply;
mod request;
mod rule;
mod seek;
mod size;
mod start;
mod sync;
mod tree;
#[cfg(test)]
mod tree_tests;
pub mod wire;
mod writeback;
mod xattr;

pub use backing::{Access, Descriptor};
pub use cache::{Hit, MappingCache};
pub use census::InCore;
pub use counters::Counts;
pub use device::{OwnerOf, SimDevice, Stray};
pub use errors::StartError;
pub use handle::Handle;
pub use judge::{Context, judge_mapping, judge_pair};
pub use kernel::{Kernel, ServerSide, Settings};
pub use listing::Listed;
pub use mapping::{Kind, Mapping};
pub use names::{Entry, OpenFile};
pub use personality::{Chaos, Personality, Variant};
pub use record::Violation;
pub use request::{Lock, PendingRequest};
pub use rule::Rule;
pub use rustix::io::Errno;
pub use seek::Whence;
pub use tree::{MappingTree, TREE_BYTES_DEFAULT};

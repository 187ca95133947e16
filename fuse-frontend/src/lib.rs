//! The kernel's FUSE protocol over `fs-core`: a volume, mounted for reading or writing.
//!
//! ```text
//! session ── mounting, options, negotiate ── fuser: mount, INIT, unmount
//!    |
//! worker  ── channel ── /dev/fuse, one descriptor a thread
//!    |  errands            what waits for other requests: a thread of its own
//! dispatch ── requests (bytes -> values)   replies (values -> bytes)
//!    |
//! namespace, attributes, listing, data, xattrs, ioctls ── served ── fs-core
//! changes                                                    |
//! iomap                 where the kernel moves content itself: what it is told
//! ```
//!
//! Only the kernel's own requests change a volume, so the kernel may keep everything
//! it has seen and is asked to open files without asking. The content of a volume open for
//! reading goes to the kernel straight from the image's mapping.
//!
//! Nothing here grows without bound: a thread owns its buffers, a request has
//! a largest size, tables have fixed sizes.

mod attributes;
mod block_mount;
mod body;
mod caller;
mod change_requests;
mod changes;
mod channel;
mod complaints;
mod control;
mod counters;
mod data;
mod dispatch;
mod errands;
mod error;
mod extensions;
mod failure;
mod gate;
mod gather;
mod ioctls;
mod iomap;
mod kernel_read_ahead;
mod listing;
#[doc(hidden)]
pub mod measure;
mod mounting;
mod namespace;
mod negotiate;
mod node;
mod options;
mod presentation;
mod read_ahead;
mod replies;
mod requests;
mod scratch;
mod served;
mod server;
mod session;
mod status;
mod sys;
mod unmounter;
mod wire;
mod worker;
mod xattrs;

pub use control::{server_pid, status};
pub use error::{Error, Result};
pub use iomap::{Connection, ConnectionCalls, IomapStatus, iomap_support};
pub use options::{
    Access, IomapMode, MountOptions, THREADS_MIN, THREADS_MIN_UNMAPPED, THREADS_MIN_WRITING,
};
pub use served::Served;
pub use session::Session;
pub use status::{JournalStatus, Status};
pub use unmounter::Unmounter;

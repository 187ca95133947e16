//! Makes ext2, ext3 and ext4 file systems, empty or filled.
//!
//! ```text
//!  options ──► Request ─┐
//!                       ├─► Plan ──► write ──► Report
//!  directory, tar ► Tree┘   (pure)   (device)
//! ```
//!
//! A [`Request`] says what to make, a [`Tree`] what to put in. From both a plan
//! is computed in memory, without touching the device: where every block goes,
//! or how much space is missing. Only then is anything written, the superblock
//! last. The plan depends on nothing else, so equal inputs give equal bytes
//! whatever the host, the directory order or the number of threads.
//!
//! ```
//! use mkfs::images::{BlockDevice, Memory};
//! use mkfs::options::{Options, Target};
//! use mkfs::{Foundation, Plan, Timestamp, Tree};
//!
//! let device = Memory::zeroed(16 << 20);
//! let options = Options {
//!     label: b"scratch".to_vec(),
//!     now: Timestamp { seconds: 1_700_000_000, nanos: 0 },
//!     ..Options::default()
//! };
//! let target = Target {
//!     size_bytes: device.size_bytes(),
//!     known_zeroed: true,
//!     ..Target::default()
//! };
//! let tree = Tree::empty(options.now);
//! let request = mkfs::fitted(&options, &target, &tree)?;
//! let foundation = Foundation::new(&request)?;
//! let report = Plan::new(&foundation, &tree)?.write(&device, &())?;
//! assert_eq!(report.blocks * u64::from(report.block_bytes), 16 << 20);
//! # Ok::<(), mkfs::Error>(())
//! ```
#![forbid(unsafe_code)]

mod error;
pub mod existing;
mod feature;
mod fit;
mod foundation;
mod groups;
mod layout;
pub mod options;
mod plan;
mod populate;
mod progress;
mod report;
mod request;
mod space;
mod special;
mod superblock;
pub mod tree;
mod write;

pub use error::{Error, Result};
pub use fit::{fitted, smallest};
pub use foundation::Foundation;
pub use fs_core::Timestamp;
pub use images;
pub use options::{Options, Target};
pub use plan::Plan;
pub use progress::{Progress, Stage};
pub use report::Report;
pub use request::{Geometry, Identity, JournalGeometry, Request, Writing};
pub use tree::{
    Attributes, ContentSource, DataRange, Entry, FileContent, Node, NodeId, NodeKind, OpenContent,
    ScanOptions, Tree, Xattr,
};

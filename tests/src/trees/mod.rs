//! Trees, the same in every run: an ordinary one that mke2fs can take in, the
//! special files that only a mounted file system can be given, and the large
//! ones of the benchmarks.

mod base;
mod crowd;
mod make;
mod special;

pub use base::base;
pub use crowd::{crowd, crowd_names, populous};
pub use make::{acl, at_time, device, fifo, flagged, socket, xattr};
pub use special::{Special, special};

//! Power cuts: a workload is recorded, cut at every write and flush, and what is left is
//! recovered by us and by others.
//!
//! ```text
//!   volume ──prepare──> image ──Recording──> events, states after each operation
//!                                   |
//!                        cut at each event: unflushed writes kept, lost, mixed
//!                                   |
//!                 Judge: our recovery, our reader, e2fsck -fy; all clean
//!                                   |
//!                 oracle: the state after so many operations, none halfway
//! ```

pub mod explore;
pub mod host;
pub mod judge;
pub mod oracle;
pub mod record;
pub mod tree;
pub mod volume;
pub mod workload;

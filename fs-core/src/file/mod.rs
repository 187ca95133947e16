//! The content of files: reading, seeking, changing; the targets of symbolic links.
//!
//! Whoever changes content holds the inode's exclusive lock and no handle: each function
//! here begins and finishes as many changes as it needs, so that a huge file costs many
//! small transactions and not one that fits nowhere. What it promises:
//!
//! * New content is on the device before the change that maps it, or that lets a larger
//!   size show it, can be committed. A crash never shows what blocks held before.
//! * What a fresh block holds beyond the bytes written is zero; so is, before a size grows,
//!   what lies between the old end and the new bytes.
//! * A failure leaves content as it was, or changed up to some point; never a file e2fsck
//!   would complain about.
//! * Overwriting written blocks changes nothing but content, and the times once in
//!   [`TICK_NS`](edit::TICK_NS).
//!
//! Blocks freed in a transaction that is not durable cannot be taken. Where space is short
//! for that reason alone, the transaction is committed and the step repeated once.

mod allocate;
mod collapse;
mod edit;
mod growth;
mod inline;
mod kernel_content;
mod limits;
mod punch;
mod read;
mod seek;
mod swap;
mod symlink;
#[cfg(test)]
mod tests;
mod truncate;
mod write;

pub use allocate::Allocation;
pub(crate) use allocate::allocate;
pub use edit::WriteContext;
pub use kernel_content::{WriteCompletion, WritePreparation};
pub(crate) use kernel_content::{complete_write, prepare_write, raise_size, trim_preallocation};
pub use read::Segment;
pub(crate) use read::{plan, read};
pub use seek::SeekTarget;
pub(crate) use seek::seek;
pub(crate) use swap::swap_extents;
pub(crate) use symlink::{read_link, write_symlink};
pub(crate) use truncate::{truncate, truncate_to_size};
pub(crate) use write::write;

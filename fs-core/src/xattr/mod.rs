//! Extended attributes of an inode, wherever they lie: in its tail, in a block of
//! their own, their values in EA inodes.
//!
//! ```text
//!   edit ── which attribute goes where; one change of the inode at the end
//!    |---- block ──── attribute blocks: in place, shared, new, given back
//!    |---- ea_inode ─ values too large for a block
//!    |        both under `sharing`: the lock, and which blocks can be shared
//!   read     list ─── attributes as lists, read and written whole
//! ```
//!
//! # What belongs to several inodes
//!
//! An attribute block has up to 1024 owners, an EA inode as many as there are entries that
//! name it. The locks of inodes, which callers hold, say nothing about these. So there is
//! one lock for all of them, [`Sharing`]: it is taken before the first change of a block or
//! an EA inode and held until the operation is finished **or taken back**. That is done by
//! the operation's handle: the guard is registered as the first thing to be undone, so it
//! goes last on rollback, and with the others when the handle is finished. Between two
//! owners of the lock everything shared is therefore either as before or as it shall be;
//! whole blocks and whole inodes can be restored without anybody's change being lost, and a
//! block found equal is one whose content will stay until the reference to it is counted.
//!
//! It cannot deadlock: inode locks are taken before a handle, this lock after, nothing
//! after it but locks held for a few instructions; who holds a handle waits for nothing
//! else. One thread may take it again (an operation that sets several attributes).
//! Attributes that fit the inode, which is where nearly all are, never need it.
//!
//! Reading needs no lock but the inode's: a block with several owners is never changed but
//! in its count, one with a single owner only under that inode's exclusive lock, and neither
//! a block nor an EA inode is given back before its last owner lets go.

mod block;
mod ea_inode;
mod edit;
pub(crate) mod list;
mod read;
mod sharing;

pub use edit::XattrSet;
pub(crate) use edit::{credits, remove, remove_all, set};
pub(crate) use read::{get, names};
pub(crate) use sharing::Sharing;

#[cfg(test)]
mod tests;

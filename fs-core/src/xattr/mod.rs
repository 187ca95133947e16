//! Extended attributes of an inode, wherever they lie: in its tail, in a block of
//! their own, their values in EA inodes.

pub(crate) mod list;
mod read;

pub(crate) use read::{get, names};

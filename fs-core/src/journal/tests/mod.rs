//! Recovery against logs of four kinds: made up block by block, made by Linux
//! and debugfs, damaged at random, and our own.

mod builder;
mod debugfs;
mod device;
mod fast_commit;
pub(crate) mod image;
mod linux;
mod mutation;
pub(crate) mod small;
mod superblock;
mod transactions;
mod writing;
mod written;

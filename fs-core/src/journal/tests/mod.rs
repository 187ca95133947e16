//! Recovery against logs of three kinds: made up block by block, made by Linux
//! and debugfs, and damaged at random.

mod builder;
mod debugfs;
mod device;
mod fast_commit;
mod image;
mod linux;
mod mutation;
mod superblock;
mod transactions;
mod written;

//! Generation numbers of new inodes, which tell uses of one number apart.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::types::InodeNumber;

/// A source of generations: random, or the same in every run.
#[derive(Debug)]
pub(crate) struct Generations {
    seed: Option<RandomState>,
    count: AtomicU64,
}

impl Generations {
    /// `repeats` for results that are the same in every run.
    pub(crate) fn new(repeats: bool) -> Self {
        Self {
            seed: (!repeats).then(RandomState::new),
            count: AtomicU64::new(0),
        }
    }

    /// The generation of a new inode.
    pub(crate) fn next(&self, inode: InodeNumber) -> u32 {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        match &self.seed {
            Some(seed) => (seed.hash_one((count, inode)) & 0xFFFF_FFFF) as u32,
            None => (count.wrapping_add(1) & 0xFFFF_FFFF) as u32,
        }
    }
}

//! Inodes that are held open: the last name's removal does not end them.

use std::collections::HashMap;

use crossbeam_utils::CachePadded;
use foldhash::fast::RandomState;
use parking_lot::Mutex;

use crate::types::InodeNumber;

const SHARDS: usize = 16;

/// Counts of holders. A shard's lock is held for a table look-up.
#[derive(Debug, Default)]
pub(super) struct Retained {
    shards: [CachePadded<Mutex<HashMap<InodeNumber, u64, RandomState>>>; SHARDS],
}

impl Retained {
    fn shard(&self, inode: InodeNumber) -> &Mutex<HashMap<InodeNumber, u64, RandomState>> {
        &self.shards[inode.0 as usize % SHARDS]
    }

    pub(super) fn add(&self, inode: InodeNumber) {
        *self.shard(inode).lock().entry(inode).or_insert(0) += 1;
    }

    /// Counts so many holders less. True if nobody holds the inode any more.
    pub(super) fn drop_some(&self, inode: InodeNumber, times: u64) -> bool {
        let mut shard = self.shard(inode).lock();
        let left = match shard.get_mut(&inode) {
            None => return false,
            Some(count) => {
                *count = count.saturating_sub(times);
                *count
            }
        };
        if left == 0 {
            shard.remove(&inode);
        }
        left == 0
    }

    pub(super) fn is_held(&self, inode: InodeNumber) -> bool {
        self.shard(inode).lock().contains_key(&inode)
    }

    /// How many inodes are held.
    pub(super) fn count(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    /// All inodes that are held.
    pub(super) fn all(&self) -> Vec<InodeNumber> {
        let shards = self.shards.iter();
        shards
            .flat_map(|shard| shard.lock().keys().copied().collect::<Vec<_>>())
            .collect()
    }
}

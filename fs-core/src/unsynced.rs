//! Which inodes' content a crash would not bring back as it is: their size, map or place
//! was changed by a transaction that may not be durable. fdatasync(2) needs a commit for
//! those alone; times can wait.

use std::collections::HashSet;

use crossbeam_utils::CachePadded;
use foldhash::fast::RandomState;
use parking_lot::Mutex;

use crate::transaction::TransactionId;
use crate::types::InodeNumber;

/// Threads rarely meet in one of this many tables.
const SHARDS: usize = 16;

/// What one transaction changed.
#[derive(Debug)]
struct Changed {
    by: TransactionId,
    inodes: HashSet<InodeNumber, RandomState>,
}

impl Changed {
    fn nothing() -> Self {
        Self {
            by: TransactionId(0),
            inodes: HashSet::default(),
        }
    }
}

/// Of two transactions, since all before the one that commits are durable.
#[derive(Debug)]
struct Shard {
    newer: Changed,
    older: Changed,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Unsynced {
    shards: [CachePadded<Mutex<Shard>>; SHARDS],
}

impl Unsynced {
    pub(crate) fn new() -> Self {
        Self {
            shards: std::array::from_fn(|_| {
                CachePadded::new(Mutex::new(Shard {
                    newer: Changed::nothing(),
                    older: Changed::nothing(),
                }))
            }),
        }
    }

    /// An open handle of transaction `by` changes more of an inode than times.
    pub(crate) fn note(&self, by: TransactionId, inode: InodeNumber) {
        let Some(mut shard) = self.shard(inode).map(Mutex::lock) else {
            return;
        };
        if shard.newer.by < by {
            // A transaction opens when the one before begins to commit, and that when the
            // one before it is durable: what is dropped here is.
            let next = Changed {
                by,
                inodes: HashSet::default(),
            };
            let shard = &mut *shard;
            shard.older = std::mem::replace(&mut shard.newer, next);
        }
        shard.newer.inodes.insert(inode);
    }

    /// The last transaction known to have changed more of an inode than times. It may be
    /// durable.
    pub(crate) fn changed_by(&self, inode: InodeNumber) -> Option<TransactionId> {
        let shard = self.shard(inode)?.lock();
        let both = [&shard.newer, &shard.older];
        let changed = both.into_iter().find(|c| c.inodes.contains(&inode))?;
        Some(changed.by)
    }

    fn shard(&self, inode: InodeNumber) -> Option<&Mutex<Shard>> {
        self.shards
            .get(inode.0 as usize % SHARDS)
            .map(|shard| &**shard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_transactions_are_known() {
        let unsynced = Unsynced::new();
        // All in one shard.
        let [a, b, c] = [1, 17, 33].map(InodeNumber);
        let changed_by = |inode| unsynced.changed_by(inode).map(|id| id.0);
        assert_eq!(changed_by(a), None);
        unsynced.note(TransactionId(3), a);
        unsynced.note(TransactionId(3), b);
        unsynced.note(TransactionId(4), b);
        assert_eq!((changed_by(a), changed_by(b)), (Some(3), Some(4)));
        unsynced.note(TransactionId(5), c);
        let all = (changed_by(a), changed_by(b), changed_by(c));
        assert_eq!(all, (None, Some(4), Some(5)));
    }
}

//! The lock of everything that belongs to several inodes, and which attribute blocks can
//! be found by their content. See [`xattr`](super).

use std::collections::HashMap;
use std::num::NonZeroUsize;

use lru::LruCache;
use parking_lot::{Mutex, ReentrantMutex};

use crate::change::Change;
use crate::types::FsBlock;

/// So many blocks can be found.
const BLOCKS_MAX: NonZeroUsize = NonZeroUsize::new(2048).unwrap();

/// See the module.
#[derive(Debug)]
pub(crate) struct Sharing {
    /// Guards the attribute blocks and EA inodes of the volume; held until a handle ends.
    lock: ReentrantMutex<()>,
    /// Held for a few instructions; nothing is taken under it.
    table: Mutex<Table>,
}

/// Blocks by the hash of their content. An entry is a hint: who shares a block compares.
/// But a block in the table is an attribute block: it is removed before it is given back.
#[derive(Debug)]
struct Table {
    by_hash: LruCache<u32, FsBlock>,
    hashes: HashMap<FsBlock, u32>,
}

impl Table {
    fn remove(&mut self, block: FsBlock) {
        if let Some(hash) = self.hashes.remove(&block) {
            self.by_hash.pop(&hash);
        }
    }

    fn insert(&mut self, hash: u32, block: FsBlock) {
        self.remove(block);
        // The one pushed out had the same hash, or was not used for longest.
        if let Some((_, out)) = self.by_hash.push(hash, block) {
            self.hashes.remove(&out);
        }
        self.hashes.insert(block, hash);
    }
}

impl Sharing {
    pub(crate) fn new() -> Self {
        Self {
            lock: ReentrantMutex::new(()),
            table: Mutex::new(Table {
                by_hash: LruCache::new(BLOCKS_MAX),
                hashes: HashMap::new(),
            }),
        }
    }

    /// A block that probably has content of this hash.
    pub(super) fn find(&self, hash: u32) -> Option<FsBlock> {
        self.table.lock().by_hash.get(&hash).copied()
    }

    /// Makes a block impossible to find: it is about to be changed or given back.
    pub(super) fn forget(&self, block: FsBlock) {
        self.table.lock().remove(block);
    }
}

/// Takes the lock for as long as the change lasts.
pub(super) fn lock(change: &mut Change<'_>) {
    let guard = change.writer.sharing.lock.lock();
    change.handle.on_rollback(move || drop(guard));
}

/// Lets a block be found, now that it is as it shall be. Under the lock.
pub(super) fn note(change: &mut Change<'_>, hash: u32, block: FsBlock) {
    // 0 forbids sharing.
    if hash == 0 {
        return;
    }
    let sharing = &change.writer.sharing;
    sharing.table.lock().insert(hash, block);
    change.handle.on_rollback(move || sharing.forget(block));
}

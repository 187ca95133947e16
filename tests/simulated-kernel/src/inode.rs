//! An inode in core: what the kernel remembers of a file.

use parking_lot::{Mutex, RwLock};
use rustix::io::Errno;

use crate::cache::MappingCache;
use crate::judge::Context;
use crate::kernel::Shared;
use crate::pages::Pages;

/// Lock order: `life`, `rwsem`, `invalidate`, `writeback`, `pages`, `state`, `cache`. The last two
/// are never held across a request.
#[derive(Debug)]
pub(crate) struct Inode {
    pub(crate) nodeid: u64,
    /// Of the entry that made it; goes into every request of iomap's.
    pub(crate) attr_ino: u64,
    /// `attr.flags` of that entry.
    pub(crate) attr_flags: u32,
    /// Whether iomap is in force.
    pub(crate) iomap: bool,
    pub(crate) block_bytes: u64,
    /// Held shared by sync(2), exclusively by who takes the inode out of core.
    pub(crate) life: RwLock<()>,
    /// `i_rwsem`.
    pub(crate) rwsem: RwLock<()>,
    /// The mapping invalidate lock.
    pub(crate) invalidate: RwLock<()>,
    /// Held by writeback until its IOENDs are answered: who takes it waits for them.
    pub(crate) writeback: Mutex<()>,
    /// Held: a folio is locked (one lock for all folios of a file).
    pub(crate) pages: Mutex<Pages>,
    pub(crate) state: Mutex<State>,
    pub(crate) cache: Mutex<Option<MappingCache>>,
}

/// What changes often.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// `i_size`.
    pub(crate) size: u64,
    /// What the kernel takes for the size on disk.
    pub(crate) disk_size: u64,
    /// The size the server said last that it has recorded.
    pub(crate) told_size: u64,
    /// Another size the server may have while truncate(2) or fallocate(2) is under way.
    pub(crate) size_in_transit: u64,
    /// How often that was said.
    pub(crate) tellings: u64,
    pub(crate) lookups: u64,
    pub(crate) is_bad: bool,
    pub(crate) times_dirty: bool,
    /// Of writeback, for the next fsync.
    pub(crate) error: Option<Errno>,
}

impl Inode {
    pub(crate) fn is_iomap(&self) -> bool {
        self.iomap
    }

    /// The server said what size it has recorded.
    pub(crate) fn told(&self, size: u64) {
        let mut state = self.state.lock();
        (state.told_size, state.disk_size) = (size, size);
        state.tellings += 1;
    }

    pub(crate) fn size(&self) -> u64 {
        self.state.lock().size
    }

    /// What its mappings are judged by.
    pub(crate) fn context(&self, shared: &Shared, has_cache: bool) -> Context {
        Context {
            variant: shared.settings.personality.variant,
            block_bytes: self.block_bytes,
            maxbytes: shared.link.lock().geometry.maxbytes,
            has_cache,
        }
    }

    /// Start of the block of `pos`.
    pub(crate) fn block_start(&self, pos: u64) -> u64 {
        pos - pos % self.block_bytes
    }

    /// Drops cached mappings of a range, rounded outward (5.7).
    pub(crate) fn drop_mappings(&self, start: u64, end: u64) {
        let start = self.block_start(start);
        let end = end
            .checked_next_multiple_of(self.block_bytes)
            .unwrap_or(u64::MAX);
        if let Some(cache) = self.cache.lock().as_mut() {
            cache.drop_range(start, end);
        }
    }
}

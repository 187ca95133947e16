//! Blocks that files hold ahead of need.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts blocks that were allocated without anybody's wish, and are given back when the file
/// is closed. For as long as they are out, so many blocks of the reserve may be used by
/// everybody: who fills the volume finds as much space as without them.
///
/// Clones count the same blocks.
#[derive(Debug, Clone, Default)]
pub struct BlocksAhead(Arc<AtomicU64>);

impl BlocksAhead {
    /// So many more are out.
    pub fn add(&self, blocks: u64) {
        self.update(|count| count.saturating_add(blocks));
    }

    /// So many are back, or in use.
    pub fn remove(&self, blocks: u64) {
        self.update(|count| count.saturating_sub(blocks));
    }

    /// How many are out.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn update(&self, change: impl Fn(u64) -> u64) {
        let changed = |count| Some(change(count));
        // The closure always says something.
        let _ = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, changed);
    }
}

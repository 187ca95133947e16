//! Windows: free blocks kept for a file that grows, right behind its last block, so that
//! files growing side by side do not interleave.
//!
//! A window is a run of one group that is taken out of the blocks that can be taken; on the
//! device it is free. Who asks for the file's next blocks gets them from there. The longer a
//! file is, the larger its next window: the number of its extents grows with the logarithm
//! of its length. All windows together are never in anybody's way: when runs become short
//! they are given back ([`Space::give_back_windows`]).

use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_utils::CachePadded;
use lru::LruCache;
use parking_lot::Mutex;

use crate::error::Result;
use crate::store::Store;
use crate::transaction::Handle;
use crate::types::InodeNumber;

use super::allocate::Wish;
use super::runs::Run;
use super::{BlockRun, Space};

/// Threads rarely meet in one of this many tables.
const SHARDS: usize = 16;
/// Files that have a window at a time; who has not grown for longest loses it.
const WINDOWS_MAX: usize = 1024;
/// A new file of which no more than this is known yet gets no window, in bytes: most files
/// are small, and lie side by side without gaps.
const SMALL_BYTES: u32 = 64 << 10;
/// The shortest window, in bytes, if there is room.
const WINDOW_BYTES_MIN: u32 = 8 << 20;
/// The longest, in bytes: as much as one extent of 4 KiB blocks holds.
const WINDOW_BYTES_MAX: u32 = 128 << 20;
/// A window is so many times as long as the file so far.
const GROWTH: u64 = 4;
/// A window takes no more than this part of what is free, less if there are many windows.
const SHARES_MIN: usize = 64;

/// The blocks that are left of a window.
#[derive(Debug, Clone, Copy)]
struct Window {
    group: u32,
    rest: Run,
}

/// The windows of all files.
#[derive(Debug)]
pub(super) struct Windows {
    /// A group's lock may be taken under a shard's.
    shards: [CachePadded<Mutex<LruCache<InodeNumber, Window>>>; SHARDS],
    count: AtomicUsize,
}

impl Default for Windows {
    fn default() -> Self {
        Self {
            shards: std::array::from_fn(|_| CachePadded::new(Mutex::new(LruCache::unbounded()))),
            count: AtomicUsize::new(0),
        }
    }
}

impl Windows {
    fn shard(&self, inode: InodeNumber) -> &Mutex<LruCache<InodeNumber, Window>> {
        &self.shards[inode.0 as usize % SHARDS]
    }

    /// Number of files that have one.
    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

impl Space {
    /// Takes blocks for a file that has `len_blocks` so far: from its window, or else
    /// near the goal, where a new window begins if the file is worth one.
    pub(super) fn take_data<'v>(
        &'v self,
        store: &'v Store,
        handle: &mut Handle<'v>,
        wish: Wish,
        inode: InodeNumber,
        len_blocks: u64,
    ) -> Result<BlockRun> {
        let next = self.window_start(inode);
        let is_at_goal = next == Some((wish.group, wish.goal));
        // Blocks that continue what lies before them cost no extent.
        if len_blocks > 0
            && next.is_some()
            && !is_at_goal
            && let Some(run) = self.take_at(store, handle, wish)?
        {
            return Ok(run);
        }
        if next.is_some()
            && let Some(run) = self.take_from_window(handle, inode, wish.len)?
        {
            return Ok(run);
        }
        let window_len = self.window_len(wish.len, len_blocks);
        if window_len > wish.len
            && let Some(run) = self.open_window(store, handle, inode, wish, window_len)?
        {
            return Ok(run);
        }
        if len_blocks > 0
            && let Some(run) = self.take_at(store, handle, wish)?
        {
            return Ok(run);
        }
        self.take_near(store, handle, wish)
    }

    fn window_start(&self, inode: InodeNumber) -> Option<(u32, u32)> {
        let shard = self.windows.shard(inode).lock();
        let window = shard.peek(&inode)?;
        Some((window.group, window.rest.start))
    }

    /// Takes blocks from the start of a file's window, if it still has one.
    fn take_from_window<'v>(
        &'v self,
        handle: &mut Handle<'v>,
        inode: InodeNumber,
        len_max: u32,
    ) -> Result<Option<BlockRun>> {
        let mut shard = self.windows.shard(inode).lock();
        let Some(window) = shard.get_mut(&inode) else {
            return Ok(None);
        };
        let number = window.group;
        let run = window.rest.cut(len_max);
        let mut locked = self.group(number)?.lock();
        let prepared = locked.take_held_blocks(run)?;
        match window.rest.after(run.len) {
            Some(rest) => window.rest = rest,
            None => {
                locked.end_hold(None)?;
                shard.pop(&inode);
                self.windows.count.fetch_sub(1, Ordering::Relaxed);
            }
        }
        drop(locked);
        drop(shard);
        Ok(Some(self.note_taken(handle, number, run, prepared)))
    }

    /// How long a window shall be; one that is not longer than what is wanted now is none.
    fn window_len(&self, wanted: u32, len_blocks: u64) -> u32 {
        let blocks = |bytes: u32| bytes / self.geometry.block_bytes;
        if len_blocks == 0 && wanted <= blocks(SMALL_BYTES).max(1) {
            return 0;
        }
        let shares = self.windows.count().saturating_add(1).max(SHARES_MIN);
        let share = self.counts().blocks / shares as u64;
        let len = len_blocks
            .saturating_mul(GROWTH)
            .max(blocks(WINDOW_BYTES_MIN).into())
            .min(blocks(WINDOW_BYTES_MAX).into())
            .min(self.geometry.blocks_per_group.into())
            .min(share);
        // Lengths that divide each other leave no gaps between windows.
        match u32::try_from(len).unwrap_or(0).checked_ilog2() {
            Some(log) => 1 << log,
            None => 0,
        }
    }

    /// Takes the first blocks of a run and keeps the rest as the file's window.
    fn open_window<'v>(
        &'v self,
        store: &'v Store,
        handle: &mut Handle<'v>,
        inode: InodeNumber,
        wish: Wish,
        window_len: u32,
    ) -> Result<Option<BlockRun>> {
        let Some(place) = self.window_place(store, wish, window_len)? else {
            return Ok(None);
        };
        let number = place.group;
        let mut locked = self.lock_blocks(store, number)?;
        // Others may have taken some of it meanwhile.
        let found = locked.state.blocks.get()?.at(place.rest.start);
        let Some(found) = found.filter(|found| found.len > wish.len) else {
            return Ok(None);
        };
        let whole = found.cut(place.rest.len);
        let run = whole.cut(wish.len);
        let prepared = locked.take_blocks(run)?;
        if let Some(rest) = whole.after(run.len) {
            locked.hold_blocks(rest)?;
            drop(locked);
            let group = number;
            self.keep_window(inode, Window { group, rest })?;
        } else {
            drop(locked);
        }
        Ok(Some(self.note_taken(handle, number, run, prepared)))
    }

    /// Where a window can begin: right at the goal, however short, or where one as long as
    /// possible fits.
    fn window_place(&self, store: &Store, wish: Wish, window_len: u32) -> Result<Option<Window>> {
        if let Some(found) = self.available_at(store, wish)?
            && found.len > wish.len
        {
            return Ok(Some(Window {
                group: wish.group,
                rest: found.cut(window_len),
            }));
        }
        let mut enough = window_len;
        while enough > wish.len {
            if let Some((group, found)) = self.find_near(store, wish, enough)? {
                return Ok(Some(Window {
                    group,
                    rest: found.cut(window_len),
                }));
            }
            enough /= 2;
        }
        Ok(None)
    }

    fn keep_window(&self, inode: InodeNumber, window: Window) -> Result<()> {
        let mut shard = self.windows.shard(inode).lock();
        let mut old = shard.put(inode, window);
        if old.is_none() {
            self.windows.count.fetch_add(1, Ordering::Relaxed);
            if shard.len() > WINDOWS_MAX / SHARDS {
                old = shard.pop_lru().map(|(_, window)| window);
                self.windows.count.fetch_sub(1, Ordering::Relaxed);
            }
        }
        match old {
            Some(old) => self.give_back(old),
            None => Ok(()),
        }
    }

    fn give_back(&self, window: Window) -> Result<()> {
        let mut locked = self.group(window.group)?.lock();
        locked.end_hold(Some(window.rest))
    }

    /// Gives up the blocks reserved for a file that will not grow for now.
    pub(crate) fn end_reservation(&self, inode: InodeNumber) {
        let mut shard = self.windows.shard(inode).lock();
        if let Some(window) = shard.pop(&inode) {
            self.windows.count.fetch_sub(1, Ordering::Relaxed);
            self.give_back_or_log(window);
        }
    }

    /// Gives all windows back; false if there were none.
    pub(super) fn give_back_windows(&self) -> bool {
        let mut had_any = false;
        for shard in &self.windows.shards {
            let mut shard = shard.lock();
            while let Some((_, window)) = shard.pop_lru() {
                had_any = true;
                self.windows.count.fetch_sub(1, Ordering::Relaxed);
                self.give_back_or_log(window);
            }
        }
        had_any
    }

    fn give_back_or_log(&self, window: Window) {
        if let Err(error) = self.give_back(window) {
            let group = window.group;
            tracing::error!("a window of group {group} could not be given back: {error}");
        }
    }
}

//! The metadata cache: device blocks in memory, verified once.
//!
//! A block enters after it has passed the check of the role it is read in (an
//! extent node of inode 12, a directory block of inode 30); the role is kept
//! beside it. Reading it again in the same role costs a table look-up. In
//! another role, which only a damaged or hostile image asks for, it is checked
//! again.
//!
//! Blocks are snapshots: who reads one holds it as it was, whatever is written
//! later. A change replaces the snapshot (in place if nobody else holds it) and
//! pins the block until [`settle`](BlockCache::settle) says that its content lies
//! in its place on the device. So a commit "copies" a block by holding it.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crossbeam_utils::CachePadded;
use foldhash::fast::RandomState;
use images::BlockDevice;
use lru::LruCache;

use crate::activity::CacheActivity;
use crate::error::{Error, Result};
use crate::sync::{Mutex, MutexGuard};
use crate::types::{FsBlock, InodeNumber};

/// Threads rarely meet in one of this many tables.
const SHARDS: usize = 64;
/// Per-block cost besides the bytes: table entry, reference counts.
const OVERHEAD_BYTES: usize = 160;
/// Fewer blocks a shard than this make no cache.
const BLOCKS_PER_SHARD_MIN: usize = 8;
/// Times a block is read beside the lock of its table. Whoever finds then that it was
/// changed and settled meanwhile each time reads it under the lock.
const READ_TRIES_MAX: usize = 4;

/// What a block is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Role {
    pub(crate) kind: RoleKind,
    /// The inode it belongs to; 0 where it belongs to the volume.
    pub(crate) owner: InodeNumber,
    /// Depth in a tree, where there is one.
    pub(crate) level: u8,
}

/// The kinds of metadata blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum RoleKind {
    GroupDescriptors = 1,
    InodeTable,
    ExtentNode,
    IndirectBlock,
    DirectoryLeaf,
    DirectoryIndex,
    Xattrs,
    OrphanFile,
    BlockBitmap,
    InodeBitmap,
    Superblock,
    Symlink,
    ValueBlock,
}

impl RoleKind {
    const ALL: [Self; 13] = [
        Self::GroupDescriptors,
        Self::InodeTable,
        Self::ExtentNode,
        Self::IndirectBlock,
        Self::DirectoryLeaf,
        Self::DirectoryIndex,
        Self::Xattrs,
        Self::OrphanFile,
        Self::BlockBitmap,
        Self::InodeBitmap,
        Self::Superblock,
        Self::Symlink,
        Self::ValueBlock,
    ];

    fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == code)
    }
}

impl Role {
    /// A block that belongs to the volume.
    pub(crate) fn of_volume(kind: RoleKind) -> Self {
        Self {
            kind,
            owner: InodeNumber(0),
            level: 0,
        }
    }

    /// A block that belongs to an inode.
    pub(crate) fn of_inode(kind: RoleKind, owner: InodeNumber, level: u8) -> Self {
        Self { kind, owner, level }
    }

    fn tag(self) -> u64 {
        u64::from(self.kind as u8) << 56 | u64::from(self.level) << 32 | u64::from(self.owner.0)
    }
}

/// A block's bytes; at least one role's check has accepted them.
#[derive(Debug)]
pub(crate) struct Block {
    bytes: Box<[u8]>,
    verified_as: AtomicU64,
    /// Nothing on the device points to it yet.
    is_fresh: AtomicBool,
}

impl Block {
    /// The whole block.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What the block was last used as.
    pub(crate) fn kind(&self) -> Option<RoleKind> {
        RoleKind::from_code((self.verified_as.load(Ordering::Relaxed) >> 56) as u8)
    }

    /// Depth in a tree, of what it was last used as.
    pub(crate) fn level(&self) -> u8 {
        (self.verified_as.load(Ordering::Relaxed) >> 32 & 0xFF) as u8
    }

    /// True if it was given its first content and has not been written since: nothing on
    /// the device points to it.
    pub(crate) fn is_fresh(&self) -> bool {
        self.is_fresh.load(Ordering::Relaxed)
    }

    /// The block, once `check` has accepted it in this role.
    fn verified(
        self: Arc<Self>,
        role: Role,
        check: &impl Fn(&[u8]) -> Result<()>,
    ) -> Result<Arc<Self>> {
        if self.verified_as.load(Ordering::Relaxed) != role.tag() {
            check(&self.bytes)?;
            self.verified_as.store(role.tag(), Ordering::Relaxed);
        }
        Ok(self)
    }
}

impl Clone for Block {
    fn clone(&self) -> Self {
        Self {
            bytes: self.bytes.clone(),
            verified_as: AtomicU64::new(self.verified_as.load(Ordering::Relaxed)),
            is_fresh: AtomicBool::new(self.is_fresh()),
        }
    }
}

/// A block whose newest content is not on the device.
#[derive(Debug)]
struct Pinned {
    block: Arc<Block>,
    /// Changed since the last [`take_snapshot`](BlockCache::take_snapshot).
    is_running: bool,
}

#[derive(Debug)]
struct Shard {
    clean: LruCache<FsBlock, Arc<Block>>,
    pinned: HashMap<FsBlock, Pinned, RandomState>,
    /// Blocks that have ceased to be pinned so far. As long as it stays, what was read from
    /// the device of a block that is not here is its newest content.
    unpinned_count: u64,
    found_count: u64,
    read_count: u64,
}

impl Shard {
    fn find(&mut self, number: FsBlock) -> Option<&Arc<Block>> {
        match self.pinned.get(&number) {
            Some(pinned) => Some(&pinned.block),
            None => self.clean.get(&number),
        }
    }

    fn unpin(&mut self, number: FsBlock) -> Option<Arc<Block>> {
        self.unpinned_count = self.unpinned_count.wrapping_add(1);
        self.pinned.remove(&number).map(|pinned| pinned.block)
    }
}

/// What a block was before a change.
#[derive(Debug)]
pub(crate) struct Before {
    /// Its content; `None` if the cache did not hold it.
    block: Option<Arc<Block>>,
    was_pinned: bool,
}

/// What [`BlockCache::edit`] did.
pub(crate) struct Edited<T> {
    /// What the edit returned.
    pub(crate) output: T,
    /// The block joins those changed since the last snapshot.
    pub(crate) is_first_change: bool,
    /// The content before, if it was asked for.
    pub(crate) before: Option<Before>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct BlockCache {
    device: Arc<dyn BlockDevice>,
    block_bytes: usize,
    shards: [CachePadded<Mutex<Shard>>; SHARDS],
}

impl BlockCache {
    /// A cache of at most about `capacity_bytes`.
    pub(crate) fn new(
        device: Arc<dyn BlockDevice>,
        block_bytes: u32,
        capacity_bytes: usize,
    ) -> Self {
        let block_bytes = block_bytes as usize;
        let blocks = capacity_bytes / (block_bytes + OVERHEAD_BYTES) / SHARDS;
        let capacity =
            NonZeroUsize::new(blocks.max(BLOCKS_PER_SHARD_MIN)).unwrap_or(NonZeroUsize::MIN);
        Self {
            device,
            block_bytes,
            shards: std::array::from_fn(|_| {
                CachePadded::new(Mutex::new(Shard {
                    clean: LruCache::new(capacity),
                    pinned: HashMap::default(),
                    unpinned_count: 0,
                    found_count: 0,
                    read_count: 0,
                }))
            }),
        }
    }

    /// How often a block was here, and how often it had to be read.
    pub(crate) fn activity(&self) -> CacheActivity {
        let mut sum = CacheActivity::default();
        for shard in &self.shards {
            let shard = shard.lock();
            sum.found += shard.found_count;
            sum.read += shard.read_count;
        }
        sum
    }

    /// The device beneath.
    pub(crate) fn device(&self) -> &Arc<dyn BlockDevice> {
        &self.device
    }

    /// The block, after `check` has accepted it in this role.
    ///
    /// # Errors
    /// What `check` says, or the device's failure. A refused block is not kept.
    pub(crate) fn get(
        &self,
        number: FsBlock,
        role: Role,
        check: impl Fn(&[u8]) -> Result<()>,
    ) -> Result<Arc<Block>> {
        for _ in 0..READ_TRIES_MAX {
            let unpinned_count = {
                let mut shard = self.shard(number).lock();
                if let Some(block) = shard.find(number).map(Arc::clone) {
                    shard.found_count += 1;
                    drop(shard);
                    return block.verified(role, &check);
                }
                shard.read_count += 1;
                shard.unpinned_count
            };
            let read = self.read(number, role, &check);
            let mut shard = self.shard(number).lock();
            // Changed meanwhile, or even changed and written: then this may be the old content,
            // or half of each.
            if shard.unpinned_count == unpinned_count && !shard.pinned.contains_key(&number) {
                let block = read?;
                shard.clean.put(number, Arc::clone(&block));
                return Ok(block);
            }
        }
        self.get_locked(&mut self.shard(number).lock(), number, role, &check)
    }

    /// The same with the block's table locked.
    fn get_locked(
        &self,
        shard: &mut Shard,
        number: FsBlock,
        role: Role,
        check: &impl Fn(&[u8]) -> Result<()>,
    ) -> Result<Arc<Block>> {
        if let Some(block) = shard.find(number).map(Arc::clone) {
            return block.verified(role, check);
        }
        let block = self.read(number, role, check)?;
        shard.clean.put(number, Arc::clone(&block));
        Ok(block)
    }

    /// Changes a block that `check` accepts in this role, and pins it. `keep` has the
    /// content before returned. If `edit` fails the block may be changed in part: the
    /// caller restores it ([`restore`](Self::restore)).
    ///
    /// Two changes of one block at a time come one after the other; everything else
    /// about their order is the caller's.
    ///
    /// # Errors
    /// Those of [`get`](Self::get) and of `edit`.
    pub(crate) fn edit<T>(
        &self,
        number: FsBlock,
        role: Role,
        keep: bool,
        check: impl Fn(&[u8]) -> Result<()>,
        edit: impl FnOnce(&mut [u8]) -> T,
    ) -> Result<Edited<T>> {
        let (mut shard, was_pinned) = self.pin(number, role, check)?;
        let Some(pinned) = shard.pinned.get_mut(&number) else {
            return Err(Error::corrupt(
                "cache",
                Some(number),
                "a pinned block",
                "none",
            ));
        };
        let before = keep.then(|| Before {
            block: Some(Arc::clone(&pinned.block)),
            was_pinned,
        });
        let block = Arc::make_mut(&mut pinned.block);
        let output = edit(&mut block.bytes);
        *block.verified_as.get_mut() = role.tag();
        Ok(Edited {
            output,
            is_first_change: !std::mem::replace(&mut pinned.is_running, true),
            before,
        })
    }

    /// The shard of a block that `check` accepts in this role, pinned there; whether it was
    /// before.
    fn pin(
        &self,
        number: FsBlock,
        role: Role,
        check: impl Fn(&[u8]) -> Result<()>,
    ) -> Result<(MutexGuard<'_, Shard>, bool)> {
        let shard = self.shard(number).lock();
        if let Some(pinned) = shard.pinned.get(&number)
            && pinned.block.verified_as.load(Ordering::Relaxed) == role.tag()
        {
            return Ok((shard, true));
        }
        drop(shard);
        drop(self.get(number, role, &check)?);
        let mut shard = self.shard(number).lock();
        let was_pinned = shard.pinned.contains_key(&number);
        if !was_pinned {
            // Rarely read once more: only if it was dropped between `get` and here.
            let block = self.get_locked(&mut shard, number, role, &check)?;
            shard.clean.pop(&number);
            let is_running = false;
            shard.pinned.insert(number, Pinned { block, is_running });
        }
        Ok((shard, was_pinned))
    }

    /// Gives a block new content, whatever it held, and pins it. True if it joins those
    /// changed since the last snapshot.
    pub(crate) fn replace(&self, number: FsBlock, role: Role, bytes: Box<[u8]>) -> (bool, Before) {
        let mut shard = self.shard(number).lock();
        let clean = shard.clean.pop(&number);
        let pinned = shard.pinned.remove(&number);
        let was_running = pinned.as_ref().is_some_and(|pinned| pinned.is_running);
        let was_pinned = pinned.is_some();
        let before = pinned.map(|pinned| pinned.block).or(clean);
        let is_fresh = before.as_ref().is_none_or(|block| block.is_fresh());
        let block = Arc::new(Block {
            bytes,
            verified_as: AtomicU64::new(role.tag()),
            is_fresh: AtomicBool::new(is_fresh),
        });
        let is_running = true;
        shard.pinned.insert(number, Pinned { block, is_running });
        let before = Before {
            block: before,
            was_pinned,
        };
        (!was_running, before)
    }

    /// Drops a block that no longer holds metadata; nothing of it will be written.
    pub(crate) fn forget(&self, number: FsBlock) -> Before {
        let mut shard = self.shard(number).lock();
        let pinned = shard.unpin(number);
        let clean = shard.clean.pop(&number);
        let was_pinned = pinned.is_some();
        Before {
            block: pinned.or(clean),
            was_pinned,
        }
    }

    /// Undoes a change. True if the block was pinned: then it counts as changed, also if the
    /// change was that it was forgotten.
    pub(crate) fn restore(&self, number: FsBlock, before: Before) -> bool {
        let mut shard = self.shard(number).lock();
        match before.block {
            Some(block) if before.was_pinned => {
                let pinned = Pinned {
                    block,
                    is_running: true,
                };
                shard.pinned.insert(number, pinned);
                true
            }
            other => {
                shard.unpin(number);
                match other {
                    Some(block) => shard.clean.put(number, block),
                    None => shard.clean.pop(&number),
                };
                false
            }
        }
    }

    /// The content of a block changed since the last snapshot; later changes count for
    /// the next one. `None` if it has been forgotten or restored meanwhile.
    pub(crate) fn take_snapshot(&self, number: FsBlock) -> Option<Arc<Block>> {
        let mut shard = self.shard(number).lock();
        let pinned = shard.pinned.get_mut(&number)?;
        if !std::mem::take(&mut pinned.is_running) {
            return None;
        }
        Some(Arc::clone(&pinned.block))
    }

    /// Says that this content lies in its place on the device: unless the block has been
    /// changed again it need not be pinned.
    pub(crate) fn settle(&self, number: FsBlock, written: &Arc<Block>) {
        written.is_fresh.store(false, Ordering::Relaxed);
        let mut shard = self.shard(number).lock();
        let is_newest = shard
            .pinned
            .get(&number)
            .is_some_and(|pinned| !pinned.is_running && Arc::ptr_eq(&pinned.block, written));
        if is_newest && let Some(block) = shard.unpin(number) {
            shard.clean.put(number, block);
        }
    }

    fn shard(&self, number: FsBlock) -> &Mutex<Shard> {
        // Neighbouring blocks go to different shards.
        &self.shards[(number.0 % SHARDS as u64) as usize]
    }

    fn read(
        &self,
        number: FsBlock,
        role: Role,
        check: &impl Fn(&[u8]) -> Result<()>,
    ) -> Result<Arc<Block>> {
        let mut bytes = vec![0; self.block_bytes].into_boxed_slice();
        let offset = number
            .0
            .checked_mul(self.block_bytes as u64)
            .ok_or_else(|| Error::corrupt("block number", None, "a block of the device", number))?;
        self.device
            .read_at(&mut bytes, offset)
            .map_err(|error| Error::from(error).context(format_args!("block {number}")))?;
        check(&bytes)?;
        Ok(Arc::new(Block {
            bytes,
            verified_as: AtomicU64::new(role.tag()),
            is_fresh: AtomicBool::new(false),
        }))
    }
}

#[cfg(test)]
mod tests;

//! The metadata cache: device blocks in memory, verified once.
//!
//! A block enters after it has passed the check of the role it is read in (an
//! extent node of inode 12, a directory block of inode 30); the role is kept
//! beside it. Reading it again in the same role costs a table look-up. In
//! another role, which only a damaged or hostile image asks for, it is checked
//! again.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use images::BlockDevice;
use lru::LruCache;
use parking_lot::Mutex;

use crate::error::{Error, Result};
use crate::format::superblock::Superblock;
use crate::types::{FsBlock, InodeNumber};

/// Threads rarely meet in one of this many tables.
const SHARDS: usize = 16;
/// Per-block cost besides the bytes: table entry, reference counts.
const OVERHEAD_BYTES: usize = 160;
/// Fewer blocks a shard than this make no cache.
const BLOCKS_PER_SHARD_MIN: usize = 8;

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
}

impl Block {
    /// The whole block.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct BlockCache {
    device: Arc<dyn BlockDevice>,
    block_bytes: usize,
    shards: Vec<Mutex<LruCache<FsBlock, Arc<Block>>>>,
}

impl BlockCache {
    /// A cache of at most about `capacity_bytes`.
    pub(crate) fn new(
        device: Arc<dyn BlockDevice>,
        superblock: &Superblock,
        capacity_bytes: usize,
    ) -> Self {
        let block_bytes = superblock.block_bytes as usize;
        let blocks = capacity_bytes / (block_bytes + OVERHEAD_BYTES) / SHARDS;
        let capacity =
            NonZeroUsize::new(blocks.max(BLOCKS_PER_SHARD_MIN)).unwrap_or(NonZeroUsize::MIN);
        Self {
            device,
            block_bytes,
            shards: (0..SHARDS)
                .map(|_| Mutex::new(LruCache::new(capacity)))
                .collect(),
        }
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
        check: impl FnOnce(&[u8]) -> Result<()>,
    ) -> Result<Arc<Block>> {
        let tag = role.tag();
        if let Some(block) = self.cached(number) {
            if block.verified_as.load(Ordering::Relaxed) != tag {
                check(&block.bytes)?;
                block.verified_as.store(tag, Ordering::Relaxed);
            }
            return Ok(block);
        }
        let bytes = self.read(number)?;
        check(&bytes)?;
        let block = Arc::new(Block {
            bytes,
            verified_as: AtomicU64::new(tag),
        });
        if let Some(shard) = self.shard(number) {
            shard.lock().put(number, Arc::clone(&block));
        }
        Ok(block)
    }

    fn shard(&self, number: FsBlock) -> Option<&Mutex<LruCache<FsBlock, Arc<Block>>>> {
        // Neighbouring blocks go to different shards.
        self.shards.get((number.0 % SHARDS as u64) as usize)
    }

    fn cached(&self, number: FsBlock) -> Option<Arc<Block>> {
        self.shard(number)?.lock().get(&number).map(Arc::clone)
    }

    fn read(&self, number: FsBlock) -> Result<Box<[u8]>> {
        let mut bytes = vec![0; self.block_bytes].into_boxed_slice();
        let offset = number
            .0
            .checked_mul(self.block_bytes as u64)
            .ok_or_else(|| Error::corrupt("block number", None, "a block of the device", number))?;
        self.device
            .read_at(&mut bytes, offset)
            .map_err(|error| Error::from(error).context(format_args!("block {number}")))?;
        Ok(bytes)
    }
}

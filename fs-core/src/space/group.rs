//! One block group in memory: counts that anybody may read, and behind a lock its
//! bitmaps, if they are loaded.

use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::{Mutex, MutexGuard};

use crate::error::{Error, Result};
use crate::format::group_descriptor::GroupDescriptor;
use crate::transaction::TransactionId;
use crate::types::FsBlock;

use super::group_blocks::GroupBlocks;
use super::group_inodes::GroupInodes;

/// A count that only the holder of a group's lock changes; others get a hint.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU32);

impl Count {
    pub(super) fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn set(&self, value: u32) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub(super) fn add(&self, more: u32) {
        self.set(self.get().saturating_add(more));
    }

    pub(super) fn sub(&self, less: u32) {
        self.set(self.get().saturating_sub(less));
    }
}

/// A bitmap that is loaded when it is needed.
#[derive(Debug, Default)]
pub(super) enum Slot<T> {
    #[default]
    Unloaded,
    /// It contradicts its checksum or the descriptor: nothing is taken or given back.
    Damaged,
    Loaded(Box<T>),
}

impl<T> Slot<T> {
    pub(super) fn is_unloaded(&self) -> bool {
        matches!(self, Self::Unloaded)
    }

    pub(super) fn get(&mut self) -> Result<&mut T> {
        match self {
            Self::Loaded(loaded) => Ok(loaded),
            Self::Unloaded | Self::Damaged => Err(Error::corrupt(
                "bitmap of a block group",
                None,
                "one that agrees with its descriptor",
                "another",
            )),
        }
    }
}

/// What a group's lock guards.
#[derive(Debug, Default)]
pub(super) struct GroupState {
    /// `BG_*` bits as the next commit writes them.
    pub(super) flags: u16,
    /// Inodes at the table's end that were never used.
    pub(super) unused_inodes: u32,
    pub(super) block_bitmap: FsBlock,
    pub(super) inode_bitmap: FsBlock,
    pub(super) inode_table: FsBlock,
    pub(super) blocks: Slot<GroupBlocks>,
    pub(super) inodes: Slot<GroupInodes>,
    /// Some part of the group has to be written by the next commit.
    pub(super) is_dirty: bool,
    /// The last transaction that was told to have freed something here.
    pub(super) freed_in: Option<TransactionId>,
    /// Used since the last search for groups to unload.
    pub(super) was_used: bool,
}

impl GroupState {
    /// Notes that the group will be written; returns how many blocks that adds to the
    /// commit, `1` being the bitmap that has become dirty.
    pub(super) fn dirtied(&mut self) -> usize {
        if std::mem::replace(&mut self.is_dirty, true) {
            1
        } else {
            2
        }
    }

    /// True if the transaction has not been told so yet.
    pub(super) fn note_freed(&mut self, id: TransactionId) -> bool {
        self.freed_in.replace(id) != Some(id)
    }

    /// Drops the bitmaps if the device has all that is known; returns the bytes gained.
    pub(super) fn unload(&mut self) -> usize {
        let is_needed = self.is_dirty
            || matches!(&self.blocks, Slot::Loaded(blocks) if blocks.is_needed())
            || matches!(&self.inodes, Slot::Loaded(inodes) if inodes.is_needed());
        if is_needed {
            return 0;
        }
        let mut bytes = 0;
        if let Slot::Loaded(blocks) = &self.blocks {
            bytes += blocks.cost_bytes();
            self.blocks = Slot::Unloaded;
        }
        if let Slot::Loaded(inodes) = &self.inodes {
            bytes += inodes.cost_bytes();
            self.inodes = Slot::Unloaded;
        }
        bytes
    }
}

/// See the module. The lock is held for a few microseconds; only shards of the block cache
/// are taken under it.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// Blocks whose bit is zero.
    pub(super) free_blocks: Count,
    /// Of these, the ones that can be taken now.
    pub(super) available_blocks: Count,
    /// No run of blocks that can be taken now is longer.
    pub(super) longest: Count,
    pub(super) free_inodes: Count,
    pub(super) available_inodes: Count,
    pub(super) directories: Count,
    /// Where a search for blocks that began here ended; 0 if it never left the flex group.
    pub(super) trail: Count,
    /// 1 if the block bitmap is loaded.
    pub(super) is_loaded: Count,
    state: Mutex<GroupState>,
}

impl Group {
    /// What a descriptor says.
    pub(super) fn new(descriptor: &GroupDescriptor, unused_inodes: u32) -> Self {
        let group = Self {
            state: Mutex::new(GroupState {
                flags: descriptor.flags,
                unused_inodes,
                block_bitmap: descriptor.block_bitmap,
                inode_bitmap: descriptor.inode_bitmap,
                inode_table: descriptor.inode_table,
                ..GroupState::default()
            }),
            ..Self::default()
        };
        group.free_blocks.set(descriptor.free_clusters);
        group.available_blocks.set(descriptor.free_clusters);
        group.longest.set(descriptor.free_clusters);
        group.free_inodes.set(descriptor.free_inodes);
        group.available_inodes.set(descriptor.free_inodes);
        group.directories.set(descriptor.used_directories);
        group
    }

    /// A group that cannot be used.
    pub(super) fn damaged() -> Self {
        Self {
            state: Mutex::new(GroupState {
                blocks: Slot::Damaged,
                inodes: Slot::Damaged,
                ..GroupState::default()
            }),
            ..Self::default()
        }
    }

    pub(super) fn lock(&self) -> Locked<'_> {
        Locked {
            group: self,
            state: self.state.lock(),
        }
    }
}

/// A group whose lock is held.
pub(super) struct Locked<'a> {
    pub(super) group: &'a Group,
    pub(super) state: MutexGuard<'a, GroupState>,
}

impl Locked<'_> {
    /// Keeps a block bitmap that turned out to be damaged from being used.
    pub(super) fn give_up_blocks(&mut self) {
        self.state.blocks = Slot::Damaged;
        self.group.available_blocks.set(0);
        self.group.longest.set(0);
    }

    /// The same for an inode bitmap.
    pub(super) fn give_up_inodes(&mut self) {
        self.state.inodes = Slot::Damaged;
        self.group.available_inodes.set(0);
    }
}

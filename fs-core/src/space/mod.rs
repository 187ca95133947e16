//! Which blocks and inodes are free, and which are taken next.
//!
//! Every group has counts that are always in memory, and bitmaps that are loaded when they
//! are needed ([`loaded`]). Changes are made in memory ([`group_blocks`],
//! [`group_inodes`]); [`Space::prepare`] writes the bitmaps and descriptors they concern
//! into the transaction being committed, whole, so that nothing is read for it.
//!
//! Promises:
//! * What one handle takes no other gets, and what is freed can be taken again only when
//!   the transaction that freed it is durable.
//! * A handle that is taken back leaves what is free as it was.
//! * The counts are exact whenever no handle is open.
//! * Files that grow side by side get blocks in long runs ([`windows`]).
//!
//! Locks: a shard of the windows, then one group, then a shard of the block cache. The lists
//! of groups to be written, freed in and loaded are taken alone or under a group's lock;
//! nothing is taken under them.

mod ahead;
mod allocate;
pub(crate) mod bits;
mod commit;
mod fixed;
mod geometry;
mod group;
mod group_blocks;
mod group_inodes;
mod inodes;
pub(crate) mod load;
mod loaded;
mod runs;
mod search;
mod spread;
#[cfg(test)]
mod tests;
mod trim;
mod windows;

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use crossbeam_utils::CachePadded;
use parking_lot::Mutex;

use crate::error::{Error, ErrorKind, Result};
use crate::store::Store;
use crate::transaction::{Handle, TransactionId};
use crate::types::{FileType, FsBlock, GroupNumber, InodeNumber};

pub use ahead::BlocksAhead;
use fixed::FixedBlocks;
pub(crate) use fixed::descriptor_blocks;
use geometry::{Geometry, uses_uninit};
use group::Group;
use loaded::LoadedGroups;
use windows::Windows;

/// Volumes of more groups than this, 512 TiB of 4 KiB blocks, are not written to: their
/// counts would fill the memory.
const GROUPS_MAX: u32 = 1 << 22;

/// A run of blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockRun {
    /// First block.
    pub(crate) start: FsBlock,
    /// Number of blocks, at least 1.
    pub(crate) len_blocks: u64,
}

/// What blocks are wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Content of a file that may go on growing: its window of reserved blocks is used
    /// and renewed.
    Data {
        /// The file.
        inode: InodeNumber,
        /// Its length in blocks so far: the longer, the larger a window.
        len_blocks: u64,
    },
    /// Metadata: nodes, directories, attributes.
    Metadata,
}

/// A wish for blocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockRequest {
    /// Best is this block or one soon after.
    pub(crate) goal: FsBlock,
    /// So many are wanted; any number from 1 up to this may be given.
    pub(crate) len_blocks: u64,
    pub(crate) purpose: Purpose,
    /// The blocks kept for the reserved user may be used.
    pub(crate) may_use_reserve: bool,
}

/// A wish for an inode.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InodeRequest {
    /// The directory that will hold its name.
    pub(crate) parent: InodeNumber,
    pub(crate) file_type: FileType,
}

/// Free blocks and inodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FreeCounts {
    pub(crate) blocks: u64,
    pub(crate) inodes: u32,
    /// Inodes in use that are directories.
    pub(crate) directories: u64,
}

/// Sums over all groups.
#[derive(Debug, Default)]
struct Totals {
    blocks: AtomicU64,
    inodes: AtomicU64,
    directories: AtomicU64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Space {
    geometry: Geometry,
    /// The UNINIT flags mean something.
    uses_uninit: bool,
    reserved_blocks: u64,
    ahead: BlocksAhead,
    /// Freed blocks are discarded.
    discard: bool,
    /// It has been said that discarding fails.
    discard_failed: AtomicBool,
    groups: Vec<Group>,
    fixed: FixedBlocks,
    totals: CachePadded<Totals>,
    /// Groups that the next commit writes.
    dirty: CachePadded<Mutex<Vec<u32>>>,
    /// Groups in which a transaction that is not durable has freed something.
    freed: Mutex<Vec<(TransactionId, u32)>>,
    loaded: LoadedGroups,
    loaded_bytes_max: usize,
    windows: Windows,
    /// Counts the directories that were spread.
    spread_turn: AtomicU32,
    /// Held while a piece is being discarded on a user's behalf.
    trimming: Mutex<()>,
    /// The first group whose block bitmap turned out to be damaged, and why.
    damaged: Mutex<Option<(u32, String)>>,
}

impl Space {
    /// Reads the counts of all groups; bitmaps are read when they are needed. Blocks of the
    /// log are the format's own as well: what was in a file there the next commit would
    /// overwrite.
    ///
    /// # Errors
    /// `Unsupported` for a volume of too many groups; the device's. A damaged descriptor
    /// costs its group only.
    pub(crate) fn open(
        store: &Store,
        log: impl Iterator<Item = (FsBlock, u64)>,
        discard: bool,
    ) -> Result<Self> {
        let superblock = &store.superblock;
        if superblock.group_count > GROUPS_MAX {
            let what = format!("writing to a volume of more than {GROUPS_MAX} block groups");
            return Err(ErrorKind::Unsupported(what).into());
        }
        let geometry = Geometry::of(superblock);
        let uses_uninit = uses_uninit(superblock);
        let totals = CachePadded::new(Totals::default());
        let mut groups = Vec::new();
        let mut fixed = vec![(superblock.mmp_block, superblock.mmp_block.saturating_add(1))];
        fixed.extend(log.map(|(start, len)| (start.0, start.0.saturating_add(len))));
        for number in 0..superblock.group_count {
            let descriptor = match store.group(GroupNumber(number)) {
                Ok(descriptor) => descriptor,
                Err(error) if error.is_corruption() => {
                    tracing::warn!("group {number} is not used: {error}");
                    groups.push(Group::damaged());
                    continue;
                }
                Err(error) => return Err(error),
            };
            for (start, len) in fixed::runs_of(superblock, &descriptor) {
                fixed.push((start.0, start.0.saturating_add(len)));
            }
            let unused = if uses_uninit {
                descriptor.unused_inodes
            } else {
                0
            };
            groups.push(Group::new(&descriptor, unused));
            totals.add(descriptor.free_clusters, descriptor.free_inodes);
            let directories = descriptor.used_directories.into();
            totals.directories.fetch_add(directories, Ordering::Relaxed);
        }
        Ok(Self {
            geometry,
            uses_uninit,
            reserved_blocks: superblock.reserved_blocks,
            ahead: BlocksAhead::default(),
            discard,
            discard_failed: AtomicBool::new(false),
            groups,
            fixed: FixedBlocks::new(fixed),
            totals,
            dirty: CachePadded::new(Mutex::new(Vec::new())),
            freed: Mutex::new(Vec::new()),
            loaded: LoadedGroups::default(),
            loaded_bytes_max: Self::LOADED_BYTES_MAX,
            windows: Windows::default(),
            spread_turn: AtomicU32::new(0),
            trimming: Mutex::new(()),
            damaged: Mutex::new(None),
        })
    }

    /// Where blocks for an inode's content are best looked for when it has none yet: from
    /// the start of its group. Small files are packed there; windows of growing ones pass
    /// over what is too short for them.
    pub(crate) fn goal_for(&self, store: &Store, inode: InodeNumber) -> FsBlock {
        let position = store.superblock.inode_position(inode);
        let group = position.map_or(0, |(group, _)| group.0);
        self.geometry.block(group, 0)
    }

    /// Free blocks and inodes, those included that were freed in a transaction that is not
    /// durable yet.
    pub(crate) fn counts(&self) -> FreeCounts {
        let inodes = self.totals.inodes.load(Ordering::Relaxed);
        FreeCounts {
            blocks: self.totals.blocks.load(Ordering::Relaxed),
            inodes: u32::try_from(inodes).unwrap_or(u32::MAX),
            directories: self.totals.directories.load(Ordering::Relaxed),
        }
    }

    /// True if something that was freed can be taken only after the next commit: who found
    /// no space may try again then.
    pub(crate) fn waits_for_commit(&self) -> bool {
        !self.freed.lock().is_empty()
    }

    /// Free runs of a group, first block and length in blocks, as they are now.
    ///
    /// # Errors
    /// `Corrupt` if the bitmap is damaged.
    pub(crate) fn free_runs(
        &self,
        store: &Store,
        number: GroupNumber,
    ) -> Result<Vec<(FsBlock, u64)>> {
        let mut runs = Vec::new();
        let mut locked = self.lock_blocks(store, number.0)?;
        let len = self.geometry.group_len(number.0);
        bits::zero_runs(&locked.state.blocks.get()?.used, len, |start, len| {
            runs.push((self.geometry.block(number.0, start), len.into()));
        });
        Ok(runs)
    }

    fn group(&self, number: u32) -> Result<&Group> {
        self.groups.get(number as usize).ok_or_else(|| {
            let last = self.groups.len().saturating_sub(1);
            Error::corrupt("block group", None, format_args!("0 to {last}"), number)
        })
    }

    fn count_directory(&self, is_directory: bool, is_more: bool) {
        let total = &self.totals.directories;
        match (is_directory, is_more) {
            (false, _) => {}
            (true, true) => {
                total.fetch_add(1, Ordering::Relaxed);
            }
            (true, false) => {
                // A damaged count must not wrap round.
                let less = |count: u64| Some(count.saturating_sub(1));
                let _ = total.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
            }
        }
    }

    /// Has a group written by the next commit, which takes `prepared_blocks` more for it.
    /// Called while the handle is open, after the group's lock was given up.
    fn note_dirty(&self, handle: &mut Handle<'_>, number: u32, prepared_blocks: usize) {
        if prepared_blocks > 0 {
            handle.expect_prepared(prepared_blocks);
            self.dirty.lock().push(number);
        }
    }
}

impl Totals {
    fn add(&self, blocks: u32, inodes: u32) {
        self.blocks.fetch_add(blocks.into(), Ordering::Relaxed);
        self.inodes.fetch_add(inodes.into(), Ordering::Relaxed);
    }

    fn sub(&self, blocks: u32, inodes: u32) {
        self.blocks.fetch_sub(blocks.into(), Ordering::Relaxed);
        self.inodes.fetch_sub(inodes.into(), Ordering::Relaxed);
    }
}

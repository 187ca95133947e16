//! Free space: statfs and the bitmaps of the groups.

use crate::directory::NAME_BYTES_MAX;
use crate::error::Result;
use crate::format::features::{CompatFeatures, IncompatFeatures};
use crate::space::{bits, descriptor_blocks, load};
use crate::store::Store;
use crate::types::{FsBlock, GroupNumber, InodeNumber};
use crate::volume::orphans::Unlinked;

/// Volumes of more groups than this (128 TiB of 4 KiB blocks) are summed up by
/// the superblock alone.
const SUMMED_GROUPS_MAX: u32 = 1 << 20;
/// Clusters Linux keeps for itself: a fiftieth, 4096 at most.
const KEPT_CLUSTERS_MAX: u64 = 4096;

/// Sizes and free counts as statfs(2) of the kernel's ext4 reports them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatFs {
    /// Unit of the block counts, in bytes.
    pub block_bytes: u32,
    /// Blocks without the format's own.
    pub blocks: u64,
    /// Free blocks.
    pub blocks_free: u64,
    /// Free blocks without the reserve.
    pub blocks_available: u64,
    /// Inodes.
    pub inodes: u64,
    /// Free inodes.
    pub inodes_free: u64,
    /// Longest name in bytes.
    pub name_len_max: u32,
}

/// Never fails: a group whose descriptor cannot be read has nothing free. What
/// `unlinked` inodes hold counts as free.
pub(super) fn statfs(store: &Store, unlinked: Unlinked) -> StatFs {
    let (free_clusters, free_inodes) = free_counts(store);
    let blocks = free_clusters
        .saturating_mul(1 << store.superblock.cluster_shift())
        .saturating_add(unlinked.blocks);
    statfs_with(
        store,
        blocks,
        free_inodes.saturating_add(unlinked.inodes),
        0,
    )
}

/// The same where the free blocks and inodes are known, and how many blocks of the reserve
/// everybody may use for those that files hold ahead.
pub(super) fn statfs_with(
    store: &Store,
    blocks_free: u64,
    inodes_free: u64,
    blocks_ahead: u64,
) -> StatFs {
    let superblock = &store.superblock;
    let shift = superblock.cluster_shift();
    let clusters = superblock.blocks_count >> shift;
    let overhead = match u64::from(superblock.overhead_clusters) {
        recorded @ 1.. if recorded <= clusters => recorded << shift,
        _ => overhead_blocks(store),
    };
    let kept = if superblock.has_incompat(IncompatFeatures::EXTENTS) {
        (clusters / 50).min(KEPT_CLUSTERS_MAX) << shift
    } else {
        0
    };
    let blocks_free = blocks_free.min(superblock.blocks_count);
    let reserved = superblock.reserved_blocks.saturating_sub(blocks_ahead);
    let reserved = reserved.saturating_add(kept);
    StatFs {
        block_bytes: superblock.block_bytes,
        blocks: superblock.blocks_count.saturating_sub(overhead),
        blocks_free,
        blocks_available: blocks_free.saturating_sub(reserved),
        inodes: superblock.inodes_count.into(),
        inodes_free,
        name_len_max: NAME_BYTES_MAX as u32,
    }
}

/// Free clusters and inodes: the groups know better than the superblock, which
/// is brought up to date only at unmount.
fn free_counts(store: &Store) -> (u64, u64) {
    let superblock = &store.superblock;
    if superblock.group_count > SUMMED_GROUPS_MAX {
        let clusters = superblock.free_blocks >> superblock.cluster_shift();
        return (clusters, superblock.free_inodes.into());
    }
    let mut sums = (0u64, 0u64);
    for number in 0..superblock.group_count {
        match store.group(GroupNumber(number)) {
            Ok(group) => {
                sums.0 += u64::from(group.free_clusters);
                sums.1 += u64::from(group.free_inodes);
            }
            Err(error) => tracing::warn!("free counts without group {number}: {error}"),
        }
    }
    sums
}

/// Blocks the format takes for itself, where the superblock does not say.
fn overhead_blocks(store: &Store) -> u64 {
    let superblock = &store.superblock;
    let mut overhead = u64::from(superblock.first_data_block);
    let in_each = u64::from(superblock.inode_blocks_per_group) + 2;
    overhead += u64::from(superblock.group_count) * in_each;
    for number in 0..superblock.group_count.min(SUMMED_GROUPS_MAX) {
        let group = GroupNumber(number);
        if superblock.group_has_super(group) {
            overhead += 1;
        }
        overhead += descriptor_blocks(superblock, group);
    }
    if superblock.has_compat(CompatFeatures::HAS_JOURNAL) && superblock.journal_inode != 0 {
        let journal = store.inode(InodeNumber(superblock.journal_inode));
        let bytes = journal.map_or(0, |inode| inode.size_bytes());
        overhead += bytes / u64::from(superblock.block_bytes);
    }
    overhead
}

pub(super) fn free_block_runs(store: &Store, number: GroupNumber) -> Result<Vec<(FsBlock, u64)>> {
    let superblock = &store.superblock;
    let bitmap = load::block_bitmap(store, &store.group(number)?)?;
    let first = superblock.group_first_block(number).unwrap_or_default();
    let shift = superblock.cluster_shift();
    let mut runs = Vec::new();
    bits::zero_runs(
        &bitmap,
        load::cluster_count(superblock, number),
        |start, len| {
            let block = first.0 + (u64::from(start) << shift);
            runs.push((FsBlock(block), u64::from(len) << shift));
        },
    );
    Ok(runs)
}

pub(super) fn free_inode_runs(
    store: &Store,
    number: GroupNumber,
) -> Result<Vec<(InodeNumber, u32)>> {
    let bitmap = load::inode_bitmap(store, &store.group(number)?)?;
    let inodes = store.superblock.inodes_per_group;
    let first = u64::from(number.0) * u64::from(inodes) + 1;
    let mut runs = Vec::new();
    bits::zero_runs(&bitmap, inodes, |start, len| {
        // Numbers of a valid volume's inodes fit 32 bits.
        let inode = u32::try_from(first + u64::from(start)).unwrap_or(u32::MAX);
        runs.push((InodeNumber(inode), len));
    });
    Ok(runs)
}

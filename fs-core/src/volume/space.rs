//! Free space: statfs and the bitmaps of the groups.

use std::sync::Arc;

use crate::cache::{Block, Role, RoleKind};
use crate::directory::NAME_BYTES_MAX;
use crate::error::{Error, Result};
use crate::format::checksum::crc32c_raw;
use crate::format::features::{CompatFeatures, IncompatFeatures};
use crate::format::group_descriptor::{BG_BLOCK_UNINIT, BG_INODE_UNINIT, GroupDescriptor};
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
    statfs_with(store, blocks, free_inodes.saturating_add(unlinked.inodes))
}

/// The same where the free blocks and inodes are known.
pub(super) fn statfs_with(store: &Store, blocks_free: u64, inodes_free: u64) -> StatFs {
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
    let reserved = superblock.reserved_blocks.saturating_add(kept);
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
        overhead += descriptor_blocks(store, group);
    }
    if superblock.has_compat(CompatFeatures::HAS_JOURNAL) && superblock.journal_inode != 0 {
        let journal = store.inode(InodeNumber(superblock.journal_inode));
        let bytes = journal.map_or(0, |inode| inode.size_bytes());
        overhead += bytes / u64::from(superblock.block_bytes);
    }
    overhead
}

/// Blocks of descriptors in a group, without those reserved for growth.
fn descriptor_blocks(store: &Store, group: GroupNumber) -> u64 {
    let superblock = &store.superblock;
    let per_block = superblock.descriptors_per_block();
    let has_meta = superblock.has_incompat(IncompatFeatures::META_BG);
    if has_meta && group.0 / per_block >= superblock.first_meta_bg {
        let place = group.0 % per_block;
        u64::from(place <= 1 || place == per_block - 1)
    } else if !superblock.group_has_super(group) {
        0
    } else if has_meta {
        superblock.first_meta_bg.into()
    } else {
        superblock.descriptor_blocks().into()
    }
}

/// Visits the runs of zero bits among the first `len` bits.
fn zero_runs(bits: &[u8], len: u32, mut visit: impl FnMut(u32, u32)) {
    let mut at = next_bit(bits, 0, len, false);
    while at < len {
        let end = next_bit(bits, at, len, true);
        visit(at, end - at);
        at = next_bit(bits, end, len, false);
    }
}

/// The first bit from `at` on that is `wanted`, or `len`. Bits that are not
/// there are ones. Whole bytes of the other kind are passed over at once.
fn next_bit(bits: &[u8], mut at: u32, len: u32, wanted: bool) -> u32 {
    while at < len {
        let byte = bits.get(at as usize / 8).copied().unwrap_or(!0);
        let candidates = if wanted { byte } else { !byte } >> (at % 8);
        if candidates != 0 {
            return (at + candidates.trailing_zeros()).min(len);
        }
        at = (at / 8 + 1) * 8;
    }
    len
}

pub(super) fn free_block_runs(store: &Store, number: GroupNumber) -> Result<Vec<(FsBlock, u64)>> {
    let superblock = &store.superblock;
    let group = store.group(number)?;
    let first = superblock.group_first_block(number).unwrap_or_default();
    let shift = superblock.cluster_shift();
    let clusters = superblock.group_len_blocks(number).div_ceil(1 << shift);
    let mut runs = Vec::new();
    let mut visit = |start: u32, len: u32| {
        let block = first.0 + (u64::from(start) << shift);
        runs.push((FsBlock(block), u64::from(len) << shift));
    };
    if group.flags & BG_BLOCK_UNINIT != 0 && uses_uninit(store) {
        zero_runs(&initial_block_bitmap(store, &group), clusters, &mut visit);
    } else {
        let checked = superblock.clusters_per_group;
        let (block, stored) = (group.block_bitmap, group.block_bitmap_checksum);
        let bitmap = load(store, RoleKind::BlockBitmap, number, block, checked, stored)?;
        zero_runs(bitmap.bytes(), clusters, &mut visit);
    }
    Ok(runs)
}

pub(super) fn free_inode_runs(
    store: &Store,
    number: GroupNumber,
) -> Result<Vec<(InodeNumber, u32)>> {
    let superblock = &store.superblock;
    let group = store.group(number)?;
    let inodes = superblock.inodes_per_group;
    let first = u64::from(number.0) * u64::from(inodes) + 1;
    let mut runs = Vec::new();
    let mut visit = |start: u32, len: u32| {
        // Numbers of a valid volume's inodes fit 32 bits.
        let inode = u32::try_from(first + u64::from(start)).unwrap_or(u32::MAX);
        runs.push((InodeNumber(inode), len));
    };
    if group.flags & BG_INODE_UNINIT != 0 && uses_uninit(store) {
        visit(0, inodes);
    } else {
        let (block, stored) = (group.inode_bitmap, group.inode_bitmap_checksum);
        let bitmap = load(store, RoleKind::InodeBitmap, number, block, inodes, stored)?;
        zero_runs(bitmap.bytes(), inodes, &mut visit);
    }
    Ok(runs)
}

/// Whether the flags BLOCK_UNINIT and INODE_UNINIT mean anything.
fn uses_uninit(store: &Store) -> bool {
    use crate::format::features::RoCompatFeatures;
    store.superblock.has_metadata_csum()
        || store.superblock.has_ro_compat(RoCompatFeatures::GDT_CSUM)
}

fn load(
    store: &Store,
    kind: RoleKind,
    group: GroupNumber,
    block: FsBlock,
    bits: u32,
    stored: u32,
) -> Result<Arc<Block>> {
    store.cache.get(block, Role::of_volume(kind), |bytes| {
        let Some(seed) = store.checksum_seed() else {
            return Ok(());
        };
        let covered = bytes.get(..bits.div_ceil(8) as usize).unwrap_or(bytes);
        let mut computed = crc32c_raw(seed, covered);
        if store.superblock.descriptor_bytes < 64 {
            computed &= 0xFFFF;
        }
        if computed == stored {
            Ok(())
        } else {
            let what = match kind {
                RoleKind::InodeBitmap => "inode bitmap",
                _ => "block bitmap",
            };
            let name = format!("{what} of group {group}");
            Err(Error::bad_checksum(name, Some(block), computed, stored))
        }
    })
}

/// The bitmap of a group that was never used: only the format's own blocks are taken.
fn initial_block_bitmap(store: &Store, group: &GroupDescriptor) -> Vec<u8> {
    let superblock = &store.superblock;
    let shift = superblock.cluster_shift();
    let first = superblock
        .group_first_block(group.number)
        .unwrap_or_default()
        .0;
    let len = u64::from(superblock.group_len_blocks(group.number));
    let mut bitmap = vec![0u8; (superblock.clusters_per_group as usize).div_ceil(8)];
    let mut take = |start: u64, count: u64| {
        let end = start.saturating_add(count).min(first + len);
        for block in start.max(first)..end {
            let cluster = (block - first) >> shift;
            if let Some(byte) = bitmap.get_mut((cluster / 8) as usize) {
                *byte |= 1 << (cluster % 8);
            }
        }
    };
    let has_super = superblock.group_has_super(group.number);
    let mut own = u64::from(has_super) + descriptor_blocks(store, group.number);
    if has_super && !superblock.has_incompat(IncompatFeatures::META_BG) {
        own += u64::from(superblock.reserved_gdt_blocks);
    }
    take(first, own);
    take(group.block_bitmap.0, 1);
    take(group.inode_bitmap.0, 1);
    take(
        group.inode_table.0,
        superblock.inode_blocks_per_group.into(),
    );
    bitmap
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(bits: &[u8], len: u32) -> Vec<(u32, u32)> {
        let mut runs = Vec::new();
        zero_runs(bits, len, |start, len| runs.push((start, len)));
        runs
    }

    #[test]
    fn free_runs_are_those_of_the_zero_bits() {
        assert_eq!(
            runs(&[0b1110_0011, 0, 0xFF, 0x7F], 32),
            [(2, 3), (8, 8), (31, 1)]
        );
        assert_eq!(runs(&[0, 0], 12), [(0, 12)]);
        assert_eq!(runs(&[0xFF], 8), []);
        assert_eq!(runs(&[], 8), []);
    }
}

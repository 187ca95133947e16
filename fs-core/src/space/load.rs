//! Bitmaps as they lie on the device, or as the format says they would.

use crate::cache::{Role, RoleKind};
use crate::error::{Error, Result};
use crate::format::bitmap;
use crate::format::group_descriptor::{BG_BLOCK_UNINIT, BG_INODE_UNINIT, GroupDescriptor};
use crate::format::superblock::Superblock;
use crate::store::Store;
use crate::types::{FsBlock, GroupNumber};

use super::bits;
use super::fixed;
use super::geometry::uses_uninit;

/// A group's block (cluster) bitmap, as long as that of a full group. Bits beyond the
/// group's end are ones.
///
/// # Errors
/// `Corrupt` for a wrong checksum.
pub(crate) fn block_bitmap(store: &Store, group: &GroupDescriptor) -> Result<Box<[u8]>> {
    let superblock = &store.superblock;
    let clusters = superblock.clusters_per_group;
    let mut bitmap = if group.flags & BG_BLOCK_UNINIT != 0 && uses_uninit(superblock) {
        initial_block_bitmap(superblock, group)
    } else {
        let (block, stored) = (group.block_bitmap, group.block_bitmap_checksum);
        let kind = RoleKind::BlockBitmap;
        read(store, kind, group.number, block, clusters, stored)?
    };
    let len = cluster_count(superblock, group.number);
    bits::fill(&mut bitmap, len, clusters.saturating_sub(len), true);
    Ok(bitmap)
}

/// A group's inode bitmap.
///
/// # Errors
/// `Corrupt` for a wrong checksum.
pub(crate) fn inode_bitmap(store: &Store, group: &GroupDescriptor) -> Result<Box<[u8]>> {
    let superblock = &store.superblock;
    let inodes = superblock.inodes_per_group;
    if group.flags & BG_INODE_UNINIT != 0 && uses_uninit(superblock) {
        let mut bitmap = vec![0; inodes.div_ceil(8) as usize].into_boxed_slice();
        bits::fill(&mut bitmap, inodes, inodes % 8, true);
        return Ok(bitmap);
    }
    let (block, stored) = (group.inode_bitmap, group.inode_bitmap_checksum);
    let kind = RoleKind::InodeBitmap;
    read(store, kind, group.number, block, inodes, stored)
}

/// Clusters (blocks, without bigalloc) that a group has.
pub(crate) fn cluster_count(superblock: &Superblock, group: GroupNumber) -> u32 {
    let shift = superblock.cluster_shift();
    superblock.group_len_blocks(group).div_ceil(1 << shift)
}

fn read(
    store: &Store,
    kind: RoleKind,
    group: GroupNumber,
    block: FsBlock,
    bits: u32,
    stored: u32,
) -> Result<Box<[u8]>> {
    let superblock = &store.superblock;
    let found = store.cache.get(block, Role::of_volume(kind), |bytes| {
        if !superblock.has_metadata_csum() {
            return Ok(());
        }
        let mut computed = bitmap::checksum(superblock, bytes, bits);
        if superblock.descriptor_bytes < 64 {
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
    })?;
    let bytes = found.bytes();
    let counted = bytes.get(..bits.div_ceil(8) as usize).unwrap_or(bytes);
    Ok(counted.into())
}

/// The bitmap of a group that was never used: only the format's own blocks are taken.
fn initial_block_bitmap(superblock: &Superblock, group: &GroupDescriptor) -> Box<[u8]> {
    let shift = superblock.cluster_shift();
    let first = superblock
        .group_first_block(group.number)
        .unwrap_or_default()
        .0;
    let end = first.saturating_add(superblock.group_len_blocks(group.number).into());
    let bytes = (superblock.clusters_per_group as usize).div_ceil(8);
    let mut bitmap = vec![0; bytes].into_boxed_slice();
    for (start, len) in fixed::runs_of(superblock, group) {
        let run_start = start.0.max(first);
        let run_end = start.0.saturating_add(len).min(end);
        if run_start < run_end {
            // Both lie in the group, whose length is 32 bits wide.
            let from = ((run_start - first) >> shift) as u32;
            let last = ((run_end - 1 - first) >> shift) as u32;
            bits::fill(&mut bitmap, from, last - from + 1, true);
        }
    }
    bitmap
}

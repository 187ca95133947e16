//! Where the copies of the superblock and of the descriptor table lie.
//!
//! Pure arithmetic on the superblock (ext4 on-disk layout, "Block groups",
//! "Meta block groups"): nothing on the device says it.

use fs_core::{GroupNumber, IncompatFeatures, RoCompatFeatures, Superblock};

/// What a group begins with; blocks of the file system, the first and the last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct GroupHead {
    /// A copy of the superblock.
    pub(super) superblock: Option<u64>,
    /// A copy of the descriptor table.
    pub(super) descriptors: Option<(u64, u64)>,
    /// Blocks kept for that table to grow.
    pub(super) reserved: Option<(u64, u64)>,
    /// The one block of descriptors that a meta block group keeps.
    pub(super) meta_descriptor: Option<u64>,
}

/// First and last block of a group.
pub(super) fn group_blocks(superblock: &Superblock, group: GroupNumber) -> (u64, u64) {
    let first = superblock.group_first_block(group).map_or(0, |b| b.0);
    let len = u64::from(superblock.group_len_blocks(group));
    (first, (first + len).saturating_sub(1))
}

/// What a group begins with.
pub(super) fn group_head(superblock: &Superblock, group: GroupNumber) -> GroupHead {
    let (mut first, _) = group_blocks(superblock, group);
    if first == 0 && superblock.block_bytes == 1024 {
        // Block 0 is the boot block even where group 0 begins with it (bigalloc).
        first = 1;
    }
    let has_super = superblock.group_has_super(group);
    let after_super = first + u64::from(has_super);
    let mut head = GroupHead {
        superblock: has_super.then_some(first),
        ..GroupHead::default()
    };
    let meta_bg = superblock
        .features
        .incompat
        .contains(IncompatFeatures::META_BG);
    let per_block = superblock.block_bytes / u32::from(superblock.descriptor_bytes.max(1));
    let per_block = per_block.max(1);
    if meta_bg && group.0 / per_block >= superblock.first_meta_bg {
        // The first two groups of a meta block group and the last.
        let place = group.0 % per_block;
        let keeps = matches!(place, 0 | 1) || place == per_block - 1;
        head.meta_descriptor = keeps.then_some(after_super);
    } else if has_super {
        let table = if meta_bg {
            superblock.first_meta_bg
        } else {
            superblock.descriptor_blocks()
        };
        let after_table = after_super + u64::from(table);
        let reserved = u64::from(superblock.reserved_gdt_blocks);
        head.descriptors = (table > 0).then(|| (after_super, after_table - 1));
        head.reserved = (reserved > 0).then(|| (after_table, after_table + reserved - 1));
    }
    head
}

/// The group a block lies in, and the block's number there.
pub(super) fn place_of(superblock: &Superblock, block: u64) -> (u64, u64) {
    let index = block.saturating_sub(superblock.first_data_block.into());
    let per_group = u64::from(superblock.blocks_per_group.max(1));
    (index / per_group, index % per_group)
}

/// True if group descriptors carry a checksum and flags.
pub(super) fn has_group_checksums(superblock: &Superblock) -> bool {
    let kinds = RoCompatFeatures::METADATA_CSUM | RoCompatFeatures::GDT_CSUM;
    superblock.features.ro_compat.intersects(kinds)
}

/// True if bitmaps carry a checksum.
pub(super) fn has_bitmap_checksums(superblock: &Superblock) -> bool {
    let features = superblock.features.ro_compat;
    features.contains(RoCompatFeatures::METADATA_CSUM)
}

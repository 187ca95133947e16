//! Blocks that belong to the format itself: superblocks, descriptors, room for more of
//! these, bitmaps and inode tables, the log. No file can own one.

use crate::format::features::IncompatFeatures;
use crate::format::group_descriptor::GroupDescriptor;
use crate::format::superblock::Superblock;
use crate::types::{FsBlock, GroupNumber};

/// Blocks of descriptors in a group, without those reserved for growth.
pub(crate) fn descriptor_blocks(superblock: &Superblock, group: GroupNumber) -> u64 {
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

/// Blocks at a group's start: copies of the superblock and of descriptors, and the room
/// to add descriptors.
fn header_blocks(superblock: &Superblock, group: GroupNumber) -> u64 {
    let has_super = superblock.group_has_super(group);
    let mut blocks = u64::from(has_super) + descriptor_blocks(superblock, group);
    if has_super && !superblock.has_incompat(IncompatFeatures::META_BG) {
        blocks += u64::from(superblock.reserved_gdt_blocks);
    }
    blocks
}

/// The format's own runs that a group has: first block and length. With flex_bg the
/// bitmaps and the table may lie in other groups.
pub(super) fn runs_of(superblock: &Superblock, group: &GroupDescriptor) -> [(FsBlock, u64); 4] {
    let first = superblock
        .group_first_block(group.number)
        .unwrap_or_default();
    [
        (first, header_blocks(superblock, group.number)),
        (group.block_bitmap, 1),
        (group.inode_bitmap, 1),
        (group.inode_table, superblock.inode_blocks_per_group.into()),
    ]
}

/// The format's own blocks of a whole volume.
#[derive(Debug, Default)]
pub(super) struct FixedBlocks {
    /// Starts and ends, sorted; they neither overlap nor touch.
    runs: Vec<(u64, u64)>,
}

impl FixedBlocks {
    /// Of any runs, in any order.
    pub(super) fn new(mut runs: Vec<(u64, u64)>) -> Self {
        runs.sort_unstable();
        let mut merged: Vec<(u64, u64)> = Vec::new();
        for (start, end) in runs {
            match merged.last_mut() {
                Some(last) if start <= last.1 => last.1 = last.1.max(end),
                _ if start < end => merged.push((start, end)),
                _ => {}
            }
        }
        merged.shrink_to_fit();
        Self { runs: merged }
    }

    /// The parts of the format's own runs in `start..end`: starts and ends.
    pub(super) fn within(&self, start: u64, end: u64) -> impl Iterator<Item = (u64, u64)> {
        let after = self.runs.partition_point(move |run| run.1 <= start);
        let runs = self.runs.get(after..).unwrap_or_default();
        runs.iter()
            .take_while(move |run| run.0 < end)
            .map(move |run| (run.0.max(start), run.1.min(end)))
    }

    /// True if any of these blocks is one of the format's own.
    pub(super) fn overlap(&self, start: FsBlock, len: u64) -> bool {
        let end = start.0.saturating_add(len);
        self.within(start.0, end).next().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_overlaps_what_it_shares_a_block_with() {
        let fixed = FixedBlocks::new(vec![(20, 30), (5, 10), (10, 12), (25, 26), (40, 40)]);
        assert_eq!(fixed.runs, [(5, 12), (20, 30)]);
        for (start, len, expected) in [
            (0, 5, false),
            (0, 6, true),
            (11, 1, true),
            (12, 8, false),
            (12, 9, true),
            (29, 1, true),
            (30, 100, false),
        ] {
            assert_eq!(
                fixed.overlap(FsBlock(start), len),
                expected,
                "{start} {len}"
            );
        }
    }
}

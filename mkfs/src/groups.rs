//! What each group's bitmaps and descriptor say.

use fs_core::encode::{bitmap_checksum, group_descriptor};
use fs_core::{
    BG_BLOCK_UNINIT, BG_INODE_UNINIT, BG_INODE_ZEROED, GroupDescriptor, GroupNumber,
    RoCompatFeatures, Superblock,
};

use crate::error::Result;
use crate::layout::{Layout, group_numbers, group_run};
use crate::plan::Plan;
use crate::space::Space;

/// What is in use in a group, and which of its bitmaps are written at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GroupState {
    pub(crate) free_blocks: u32,
    /// Inodes in use: the first ones of the group.
    pub(crate) used_inodes: u32,
    /// The block bitmap follows from the layout: nobody reads it.
    pub(crate) block_uninit: bool,
    /// No inode is in use: nobody reads the inode bitmap.
    pub(crate) inode_uninit: bool,
}

/// The states of all groups, in one pass over what is taken.
pub(crate) fn states(
    superblock: &Superblock,
    layout: &Layout,
    space: &Space,
    last_inode: u32,
) -> Vec<GroupState> {
    let has_checksums = has_group_checksums(superblock);
    let taken = taken_by_group(superblock, space);
    // Without flex groups a group's tables are in it, and known to be.
    let own_tables = if layout.is_flexible {
        0
    } else {
        2 + u64::from(superblock.inode_blocks_per_group)
    };
    let groups = group_numbers(superblock)
        .zip(layout.head_blocks())
        .zip(taken);
    let mut inodes_left = last_inode;
    groups
        .map(|((group, head_blocks), taken)| {
            let used_inodes = inodes_left.min(superblock.inodes_per_group);
            inodes_left -= used_inodes;
            // The last bitmap is padded, so it must be there. mke2fs and Linux
            // initialise the block bitmap together with the inodes.
            let is_last = group.0 + 1 == superblock.group_count;
            let len_blocks = superblock.group_len_blocks(group);
            GroupState {
                free_blocks: len_blocks.saturating_sub(taken),
                used_inodes,
                block_uninit: has_checksums
                    && !is_last
                    && used_inodes == 0
                    && u64::from(taken) == u64::from(head_blocks) + own_tables,
                inode_uninit: has_checksums && used_inodes == 0,
            }
        })
        .collect()
}

/// True if descriptors carry checksums: only then may something be left uninitialised.
pub(crate) fn has_group_checksums(superblock: &Superblock) -> bool {
    let either = RoCompatFeatures::GDT_CSUM | RoCompatFeatures::METADATA_CSUM;
    superblock.features.ro_compat.intersects(either)
}

/// Blocks in use of every group.
fn taken_by_group(superblock: &Superblock, space: &Space) -> Vec<u32> {
    let first = u64::from(superblock.first_data_block);
    let per_group = u64::from(superblock.blocks_per_group);
    let mut taken = vec![0; usize::try_from(superblock.group_count).unwrap_or(0)];
    for run in space.taken_in(first..superblock.blocks_count) {
        let (mut at, end) = (run.start.0 - first, run.end() - first);
        while at < end {
            let group = at / per_group;
            let here = (end - at).min((group + 1) * per_group - at);
            if let Some(taken) = usize::try_from(group).ok().and_then(|i| taken.get_mut(i)) {
                // A group has fewer than 2^32 blocks, and none is taken twice.
                *taken += u32::try_from(here).unwrap_or(0);
            }
            at += here;
        }
    }
    taken
}

impl Plan<'_> {
    /// Fills `bitmap`, a block, with a group's block bitmap.
    pub(crate) fn block_bitmap(&self, group: GroupNumber, bitmap: &mut [u8]) {
        let run = group_run(self.superblock, group);
        bitmap.fill(0);
        for taken in self.space.taken_in(run.start.0..run.end()) {
            let start = taken.start.0 - run.start.0;
            set_bits(bitmap, start, start + taken.len_blocks);
        }
        // What lies beyond the group counts as taken.
        set_bits(bitmap, run.len_blocks, bitmap.len() as u64 * 8);
    }

    /// Fills `bitmap`, a block, with a group's inode bitmap.
    pub(crate) fn inode_bitmap(&self, used_inodes: u32, bitmap: &mut [u8]) {
        bitmap.fill(0);
        set_bits(bitmap, 0, used_inodes.into());
        let end = bitmap.len() as u64 * 8;
        set_bits(bitmap, self.superblock.inodes_per_group.into(), end);
    }

    /// A block of zeros, then the descriptors of all groups in whole blocks: what most
    /// groups with a backup start with, so that copies need no second buffer.
    /// `tables_are_zero` says that the kernel need not zero unused inodes.
    ///
    /// # Errors
    /// `Format` if a descriptor has no room for a block number.
    pub(crate) fn descriptors(&self, tables_are_zero: bool) -> Result<Vec<u8>> {
        let superblock = self.superblock;
        let block_len = usize::try_from(superblock.block_bytes).unwrap_or(0);
        let blocks = usize::try_from(superblock.descriptor_blocks()).unwrap_or(0);
        let mut table = vec![0; (1 + blocks) * block_len];
        let directories = self.directories_by_group();
        let mut bitmap = vec![0; block_len];
        let behind_zeros = table.get_mut(block_len..).unwrap_or(&mut []);
        let slots = behind_zeros.chunks_exact_mut(superblock.descriptor_bytes.into());
        let states = self.states.iter().copied();
        let has_checksums = has_group_checksums(superblock);
        for (((number, places), state), slot) in self.layout.groups().zip(states).zip(slots) {
            let index = usize::try_from(number.0).unwrap_or(usize::MAX);
            let descriptor = GroupDescriptor {
                number,
                block_bitmap: places.block_bitmap,
                inode_bitmap: places.inode_bitmap,
                inode_table: places.inode_table,
                free_clusters: state.free_blocks,
                free_inodes: superblock.inodes_per_group - state.used_inodes,
                used_directories: directories.get(index).copied().unwrap_or(0),
                unused_inodes: if has_checksums {
                    superblock.inodes_per_group - state.used_inodes
                } else {
                    0
                },
                flags: flags(state, tables_are_zero),
                checksum: 0,
                block_bitmap_checksum: self.block_bitmap_checksum(state, number, &mut bitmap),
                inode_bitmap_checksum: self.inode_bitmap_checksum(state, &mut bitmap),
            };
            group_descriptor(superblock, &descriptor, slot)?;
        }
        Ok(table)
    }

    fn block_bitmap_checksum(
        &self,
        state: GroupState,
        group: GroupNumber,
        bitmap: &mut [u8],
    ) -> u32 {
        if state.block_uninit || !self.has_metadata_checksums() {
            return 0;
        }
        self.block_bitmap(group, bitmap);
        bitmap_checksum(self.superblock, bitmap, self.superblock.clusters_per_group)
    }

    fn inode_bitmap_checksum(&self, state: GroupState, bitmap: &mut [u8]) -> u32 {
        if state.inode_uninit || !self.has_metadata_checksums() {
            return 0;
        }
        self.inode_bitmap(state.used_inodes, bitmap);
        bitmap_checksum(self.superblock, bitmap, self.superblock.inodes_per_group)
    }

    fn has_metadata_checksums(&self) -> bool {
        let ro_compat = self.superblock.features.ro_compat;
        ro_compat.contains(RoCompatFeatures::METADATA_CSUM)
    }

    /// Directories of each group, up to the last group that has one.
    fn directories_by_group(&self) -> Vec<u32> {
        let mut counts = Vec::new();
        for inode in self.population.directories() {
            let group = inode.0.saturating_sub(1) / self.superblock.inodes_per_group;
            let index = usize::try_from(group).unwrap_or(usize::MAX);
            if counts.len() <= index {
                counts.resize(index + 1, 0);
            }
            if let Some(count) = counts.get_mut(index) {
                *count += 1;
            }
        }
        counts
    }
}

fn flags(state: GroupState, tables_are_zero: bool) -> u16 {
    let flag = |is_set: bool, bit: u16| if is_set { bit } else { 0 };
    flag(state.inode_uninit, BG_INODE_UNINIT)
        | flag(state.block_uninit, BG_BLOCK_UNINIT)
        | flag(tables_are_zero, BG_INODE_ZEROED)
}

/// Sets bits `start .. end` of a bitmap, the lowest bit of a byte first.
fn set_bits(bitmap: &mut [u8], start: u64, end: u64) {
    let index = |bit: u64| usize::try_from(bit / 8).unwrap_or(usize::MAX);
    let (first, last) = (index(start), index(end));
    let from_start = 0xFF_u8 << (start % 8);
    let to_end = !(0xFF_u8 << (end % 8));
    if start >= end {
        return;
    }
    if first == last {
        or(bitmap, first, from_start & to_end);
        return;
    }
    or(bitmap, first, from_start);
    if let Some(whole) = bitmap.get_mut(first + 1..last) {
        whole.fill(0xFF);
    }
    or(bitmap, last, to_end);
}

fn or(bitmap: &mut [u8], index: usize, bits: u8) {
    if let Some(byte) = bitmap.get_mut(index) {
        *byte |= bits;
    }
}

#[cfg(test)]
mod tests {
    use super::set_bits;

    #[test]
    fn bits_are_set_from_any_start_to_any_end() {
        for start in 0..24_u64 {
            for end in start..=24 {
                let mut bitmap = [0; 3];
                set_bits(&mut bitmap, start, end);
                for bit in 0..24_u64 {
                    let byte = bitmap[usize::try_from(bit / 8).unwrap()];
                    let is_set = byte >> (bit % 8) & 1 == 1;
                    assert_eq!(
                        is_set,
                        (start..end).contains(&bit),
                        "{bit} of {start}..{end}"
                    );
                }
            }
        }
    }
}

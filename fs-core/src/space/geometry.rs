//! The numbers of a volume that say which block and which inode is in which group.

use crate::error::{Error, Result};
use crate::format::features::{IncompatFeatures, RoCompatFeatures};
use crate::format::superblock::Superblock;
use crate::types::{FsBlock, InodeNumber};

use super::BlockRun;
use super::runs::Run;

/// Blocks of a group as parts of the volume's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) group: u32,
    pub(super) run: Run,
}

/// See the module.
#[derive(Debug, Clone, Copy)]
pub(super) struct Geometry {
    pub(super) block_bytes: u32,
    first_data_block: u64,
    blocks_count: u64,
    pub(super) blocks_per_group: u32,
    pub(super) inodes_per_group: u32,
    pub(super) inodes_per_block: u32,
    pub(super) first_inode: u32,
    pub(super) group_count: u32,
    /// Groups that keep their bitmaps and tables together; 1 without flex_bg.
    pub(super) groups_per_flex: u32,
}

impl Geometry {
    pub(super) fn of(superblock: &Superblock) -> Self {
        let has_flex = superblock.has_incompat(IncompatFeatures::FLEX_BG);
        let shift = u32::from(superblock.log_groups_per_flex);
        let groups_per_flex = match 1u32.checked_shl(shift) {
            Some(groups) if has_flex => groups,
            _ => 1,
        };
        Self {
            block_bytes: superblock.block_bytes,
            first_data_block: superblock.first_data_block.into(),
            blocks_count: superblock.blocks_count,
            blocks_per_group: superblock.blocks_per_group,
            inodes_per_group: superblock.inodes_per_group,
            inodes_per_block: superblock.block_bytes / u32::from(superblock.inode_bytes),
            first_inode: superblock.first_inode,
            group_count: superblock.group_count,
            groups_per_flex,
        }
    }

    /// The group of a block and its place there.
    pub(super) fn locate(&self, block: FsBlock) -> Option<(u32, u32)> {
        if block.0 >= self.blocks_count {
            return None;
        }
        let index = block.0.checked_sub(self.first_data_block)?;
        let per_group = u64::from(self.blocks_per_group);
        let group = u32::try_from(index / per_group).ok()?;
        let offset = u32::try_from(index % per_group).ok()?;
        (group < self.group_count).then_some((group, offset))
    }

    /// The inverse of [`locate`](Self::locate).
    pub(super) fn block(&self, group: u32, offset: u32) -> FsBlock {
        let start = u64::from(group) * u64::from(self.blocks_per_group);
        FsBlock(self.first_data_block + start + u64::from(offset))
    }

    /// Number of blocks of a group: the last may be short.
    pub(super) fn group_len(&self, group: u32) -> u32 {
        let left = self.blocks_count.saturating_sub(self.block(group, 0).0);
        u32::try_from(left)
            .unwrap_or(u32::MAX)
            .min(self.blocks_per_group)
    }

    /// Blocks of a group as the volume counts them.
    pub(super) fn run(&self, group: u32, run: Run) -> BlockRun {
        BlockRun {
            start: self.block(group, run.start),
            len_blocks: run.len.into(),
        }
    }

    /// The groups a run of blocks lies in, with its part in each.
    ///
    /// # Errors
    /// `Corrupt` if not all of it lies in the volume.
    pub(super) fn parts(&self, run: BlockRun) -> Result<impl Iterator<Item = Part> + use<>> {
        let geometry = *self;
        let end = run.start.checked_add(run.len_blocks);
        let is_inside = run.start.0 >= self.first_data_block
            && run.len_blocks > 0
            && end.is_some_and(|end| end.0 <= self.blocks_count);
        if !is_inside {
            return Err(Error::corrupt(
                "run of blocks",
                Some(run.start),
                format_args!(
                    "1 or more blocks within {} to {}",
                    self.first_data_block,
                    self.blocks_count.saturating_sub(1)
                ),
                format_args!("{} blocks", run.len_blocks),
            ));
        }
        let mut at = run.start.0;
        let end = run.start.0 + run.len_blocks;
        Ok(std::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let (group, start) = geometry.locate(FsBlock(at))?;
            let room = u64::from(geometry.group_len(group).saturating_sub(start));
            let len = u32::try_from((end - at).min(room)).ok()?;
            at += u64::from(len);
            (len > 0).then_some(Part {
                group,
                run: Run { start, len },
            })
        }))
    }

    /// The inode at a place of a group's table.
    pub(super) fn inode(&self, group: u32, index: u32) -> Option<InodeNumber> {
        group
            .checked_mul(self.inodes_per_group)?
            .checked_add(index)?
            .checked_add(1)
            .map(InodeNumber)
    }

    /// First group of the flex group that `group` is in, and the group after its last.
    pub(super) fn flex_bounds(&self, group: u32) -> (u32, u32) {
        let start = group - group % self.groups_per_flex;
        let end = start.saturating_add(self.groups_per_flex);
        (start, end.min(self.group_count))
    }
}

/// Whether the flags BLOCK_UNINIT and INODE_UNINIT, and the count of inodes never used,
/// mean anything.
pub(crate) fn uses_uninit(superblock: &Superblock) -> bool {
    superblock.has_metadata_csum() || superblock.has_ro_compat(RoCompatFeatures::GDT_CSUM)
}

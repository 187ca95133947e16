//! Where every group's superblock copy, descriptors, bitmaps and inode table lie.
//!
//! Blocks go where mke2fs 1.47 puts them: tools, recovery recipes and habits rely on
//! it. Nothing is kept per block: a volume of 16 TiB has 131,072 groups, and three
//! block numbers for each are all that needs to be remembered.

mod head;
mod tables;

use fs_core::{FsBlock, GroupNumber, Superblock};

use crate::error::{Error, Result};
use crate::request::Geometry;
use crate::space::{Run, Space};

pub(crate) use head::Head;
pub(crate) use tables::Tables;

/// The places of all groups.
#[derive(Debug)]
pub(crate) struct Layout {
    tables: Vec<Tables>,
    /// Blocks of every group's head.
    head_blocks: Vec<u32>,
    /// Blocks all this takes; bad blocks do not count.
    pub(crate) overhead_blocks: u64,
    /// Tables may lie in other groups than their own.
    pub(crate) is_flexible: bool,
}

impl Layout {
    /// Takes the blocks of everything that groups consist of, and bad blocks.
    ///
    /// # Errors
    /// `Size` if a group has no room, `Option` for a bad block that cannot be spared.
    pub(crate) fn new(
        superblock: &Superblock,
        geometry: &Geometry,
        space: &mut Space,
    ) -> Result<Self> {
        let mut head_blocks = Vec::new();
        for group in group_numbers(superblock) {
            let head = Head::of(superblock, group).run();
            if !space.take(head) {
                return Err(Error::Size(format!(
                    "group {group} has no room for its superblock and descriptors"
                )));
            }
            head_blocks.push(u32::try_from(head.len_blocks).unwrap_or(u32::MAX));
        }
        let bad_blocks = take_bad_blocks(superblock, geometry, space)?;
        let tables = tables::allocate(superblock, geometry, space)?;
        let bounds = u64::from(superblock.first_data_block)..superblock.blocks_count;
        let taken: u64 = space.taken_in(bounds).map(|run| run.len_blocks).sum();
        Ok(Self {
            tables,
            head_blocks,
            overhead_blocks: taken.saturating_sub(bad_blocks),
            is_flexible: geometry.packed_meta_blocks || geometry.log_groups_per_flex > 0,
        })
    }

    /// Blocks a group starts with that are no group's tables, in rising order of groups.
    pub(crate) fn head_blocks(&self) -> impl Iterator<Item = u32> + '_ {
        self.head_blocks.iter().copied()
    }

    /// All groups in rising order.
    pub(crate) fn groups(&self) -> impl Iterator<Item = (GroupNumber, Tables)> + '_ {
        (0..).map(GroupNumber).zip(self.tables.iter().copied())
    }
}

/// The numbers of all groups.
pub(crate) fn group_numbers(superblock: &Superblock) -> impl Iterator<Item = GroupNumber> {
    (0..superblock.group_count).map(GroupNumber)
}

/// The blocks of a group.
pub(crate) fn group_run(superblock: &Superblock, group: GroupNumber) -> Run {
    Run {
        start: superblock.group_first_block(group).unwrap_or(FsBlock(0)),
        len_blocks: superblock.group_len_blocks(group).into(),
    }
}

/// The group a block belongs to.
pub(crate) fn group_of(superblock: &Superblock, block: u64) -> GroupNumber {
    let index = block.saturating_sub(superblock.first_data_block.into())
        / u64::from(superblock.blocks_per_group);
    GroupNumber(u32::try_from(index).unwrap_or(u32::MAX))
}

/// Takes the bad blocks that nothing has yet; tells how many there are in all. A bad
/// block in a backup superblock loses that backup and nothing else.
fn take_bad_blocks(superblock: &Superblock, geometry: &Geometry, space: &mut Space) -> Result<u64> {
    let first = u64::from(superblock.first_data_block);
    let must_be_good = first..first + 1 + u64::from(superblock.descriptor_blocks());
    for bad in &geometry.bad_blocks {
        if must_be_good.contains(&bad.0) {
            return Err(Error::Option(format!(
                "block {bad} is bad, and the primary superblock and descriptors need it"
            )));
        }
        if bad.0 < first || bad.0 >= superblock.blocks_count {
            return Err(Error::Option(format!(
                "bad block {bad} lies outside the file system"
            )));
        }
        // False only for a block of a backup.
        let _ = space.take(Run {
            start: *bad,
            len_blocks: 1,
        });
    }
    Ok(geometry.bad_blocks.len() as u64)
}

/// Groups with a backup of the superblock.
pub(crate) fn backup_count(superblock: &Superblock) -> u32 {
    let backups = group_numbers(superblock).filter(|group| superblock.group_has_super(*group));
    u32::try_from(backups.count().saturating_sub(1)).unwrap_or(u32::MAX)
}

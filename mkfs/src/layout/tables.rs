//! Bitmaps and inode tables: where mke2fs 1.47 puts them.
//!
//! * Without flex groups each group holds its own, bitmaps first; a RAID stride
//!   moves the bitmaps from disk to disk.
//! * The groups of a flex group keep theirs together at its start: all block
//!   bitmaps, all inode bitmaps, all tables, with room for as many as a full flex
//!   group has.
//! * `packed_meta_blocks` gathers those of all groups at the start of the volume.

use fs_core::{FsBlock, GroupNumber, IncompatFeatures, Superblock};

use super::{group_numbers, group_run};
use crate::error::{Error, Result};
use crate::request::Geometry;
use crate::space::{Run, Space};

/// The places of one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tables {
    pub(crate) block_bitmap: FsBlock,
    pub(crate) inode_bitmap: FsBlock,
    /// First block of the inode table.
    pub(crate) inode_table: FsBlock,
}

/// Places the tables of all groups.
pub(super) fn allocate(
    superblock: &Superblock,
    geometry: &Geometry,
    space: &mut Space,
) -> Result<Vec<Tables>> {
    let has_flex = superblock
        .features
        .incompat
        .contains(IncompatFeatures::FLEX_BG);
    let mut allocator = Allocator {
        superblock,
        space,
        table_blocks: superblock.inode_blocks_per_group.into(),
    };
    if has_flex && geometry.packed_meta_blocks {
        allocator.packed()
    } else if has_flex && superblock.log_groups_per_flex > 0 {
        allocator.in_flex_groups()
    } else {
        allocator.in_own_groups(geometry.raid_stride.into())
    }
}

struct Allocator<'a> {
    superblock: &'a Superblock,
    space: &'a mut Space,
    table_blocks: u64,
}

impl Allocator<'_> {
    /// All block bitmaps, then all inode bitmaps, then all tables.
    fn packed(&mut self) -> Result<Vec<Tables>> {
        let (groups, table_blocks) = (self.superblock.group_count, self.table_blocks);
        let end = self.superblock.blocks_count - 1;
        let mut goal = 0;
        let mut column = |len_blocks: u64| -> Result<Vec<FsBlock>> {
            (0..groups)
                .map(|group| {
                    let start = self
                        .find(goal, end, len_blocks)
                        .ok_or_else(|| no_room(GroupNumber(group)))?;
                    goal = start;
                    self.take(GroupNumber(group), start, len_blocks)
                })
                .collect()
        };
        let block_bitmaps = column(1)?;
        let inode_bitmaps = column(1)?;
        let inode_tables = column(table_blocks)?;
        let columns = block_bitmaps.into_iter().zip(inode_bitmaps);
        Ok(columns
            .zip(inode_tables)
            .map(|((block_bitmap, inode_bitmap), inode_table)| Tables {
                block_bitmap,
                inode_bitmap,
                inode_table,
            })
            .collect())
    }

    fn in_own_groups(&mut self, stride: u64) -> Result<Vec<Tables>> {
        group_numbers(self.superblock)
            .map(|group| {
                let run = group_run(self.superblock, group);
                let (first, last) = (run.start.0, run.end() - 1);
                let start = self.strided(group, stride).unwrap_or(first);
                let block_bitmap = self.bitmap(group, start, first, last)?;
                let inode_bitmap = self.bitmap(group, start, first, last)?;
                let table = self
                    .find(first, last, self.table_blocks)
                    .ok_or_else(|| no_room(group))?;
                Ok(Tables {
                    block_bitmap,
                    inode_bitmap,
                    inode_table: self.take(group, table, self.table_blocks)?,
                })
            })
            .collect()
    }

    /// Where a RAID stride has a group's bitmaps searched from.
    fn strided(&self, group: GroupNumber, stride: u64) -> Option<u64> {
        let run = group_run(self.superblock, group);
        let (first, last) = (run.start.0, run.end() - 1);
        let free = self.find(first, last, 1).filter(|_| stride != 0)?;
        let start = free + self.table_blocks;
        let room = (last + 1).checked_sub(start).filter(|&room| room != 0)?;
        let start = start + stride * u64::from(group.0) % room;
        (start < last).then_some(start)
    }

    fn in_flex_groups(&mut self) -> Result<Vec<Tables>> {
        let per_flex = 1_u32 << self.superblock.log_groups_per_flex.min(31);
        let mut all: Vec<Tables> = Vec::new();
        while all.len() < usize::try_from(self.superblock.group_count).unwrap_or(usize::MAX) {
            let number = GroupNumber(u32::try_from(all.len()).unwrap_or(u32::MAX));
            let flex = FlexGroup::of(self.superblock, number, per_flex);
            if flex.is_first && self.whole_flex_group(&flex, &mut all) {
                continue;
            }
            let before = all.last().filter(|_| !flex.is_first).copied();
            let tables = self.in_flex_group(&flex, number, before)?;
            all.push(tables);
        }
        Ok(all)
    }

    /// The usual case, at once: nothing is in the way of a whole flex group. False, and
    /// nothing happens, otherwise.
    fn whole_flex_group(&mut self, flex: &FlexGroup, all: &mut Vec<Tables>) -> bool {
        let groups = flex.groups_left;
        let block_bitmaps = Run::new(self.flex_start(flex, 0, 1), groups);
        let goal = block_bitmaps.start.0 + flex.bitmaps_room;
        let inode_bitmaps = Run::new(self.flex_start(flex, goal, 1), groups);
        let goal = inode_bitmaps.start.0 + flex.bitmaps_room;
        let start = self.flex_start(flex, goal, self.table_blocks);
        let inode_tables = Run::new(start, groups * self.table_blocks);
        let is_in_order = block_bitmaps.end() <= inode_bitmaps.start.0
            && inode_bitmaps.end() <= inode_tables.start.0;
        let runs = [block_bitmaps, inode_bitmaps, inode_tables];
        let is_free = runs.iter().all(|run| {
            run.start.0 != 0 && run.end() <= flex.last_block && self.space.is_free(*run)
        });
        if !is_in_order || !is_free || !runs.iter().all(|run| self.space.take(*run)) {
            return false;
        }
        all.extend((0..groups).map(|index| Tables {
            block_bitmap: FsBlock(block_bitmaps.start.0 + index),
            inode_bitmap: FsBlock(inode_bitmaps.start.0 + index),
            inode_table: FsBlock(inode_tables.start.0 + index * self.table_blocks),
        }));
        true
    }

    /// The places of one group, behind those of the group before it in its flex group.
    fn in_flex_group(
        &mut self,
        flex: &FlexGroup,
        group: GroupNumber,
        before: Option<Tables>,
    ) -> Result<Tables> {
        let first = group_run(self.superblock, group).start.0;
        let goal = before.map_or(0, |before| before.block_bitmap.0 + 1);
        let start = self.flex_start(flex, goal, 1);
        let block_bitmap = self.bitmap(group, start, first, flex.last_block)?;
        let goal = match before {
            Some(before) => before.inode_bitmap.0 + 1,
            None => block_bitmap.0 + flex.bitmaps_room,
        };
        let start = self.flex_start(flex, goal, 1);
        let inode_bitmap = self.bitmap(group, start, first, flex.last_block)?;
        let goal = match before {
            Some(before) => before.inode_table.0 + self.table_blocks,
            None => inode_bitmap.0 + flex.bitmaps_room,
        };
        let start = self.flex_start(flex, goal, self.table_blocks);
        let table = self
            .find(start, flex.last_block, self.table_blocks)
            .ok_or_else(|| no_room(group))?;
        Ok(Tables {
            block_bitmap,
            inode_bitmap,
            inode_table: self.take(group, table, self.table_blocks)?,
        })
    }

    /// Where the search for one of a flex group's items begins: right behind the one
    /// before, past small obstacles such as a backup superblock; else where the items
    /// of all groups that are left fit in one piece; else where one fits.
    fn flex_start(&self, flex: &FlexGroup, goal: u64, item_blocks: u64) -> u64 {
        let quarter_group = u64::from(self.superblock.blocks_per_group / 4);
        let wanted = (flex.groups_left * item_blocks).min(quarter_group);
        if goal != 0
            && goal < self.superblock.blocks_count
            && let Some(found) = self.find(goal, goal + wanted, item_blocks)
        {
            return found;
        }
        self.find(flex.first_block, flex.last_block, wanted)
            .or_else(|| self.find(flex.first_block, flex.last_block, item_blocks))
            .or_else(|| self.find(0, flex.last_block, item_blocks))
            .unwrap_or(0)
    }

    /// Takes a block for a bitmap at or after `start`, else in the group.
    fn bitmap(&mut self, group: GroupNumber, start: u64, first: u64, last: u64) -> Result<FsBlock> {
        let found = self
            .find(start, last, 1)
            .or_else(|| self.find(first, last, 1))
            .ok_or_else(|| no_room(group))?;
        self.take(group, found, 1)
    }

    /// The first place for `len_blocks` blocks that begins at or after `start` and
    /// before `finish`; from `finish` on not before `start`, anywhere. It may reach
    /// past `finish`.
    fn find(&self, start: u64, finish: u64, len_blocks: u64) -> Option<u64> {
        let start = if start == 0 {
            self.superblock.first_data_block.into()
        } else {
            start
        };
        let len_blocks = len_blocks.max(1);
        let fits = |run: &Run| run.len_blocks >= len_blocks;
        let end = self.superblock.blocks_count;
        let found = self.space.free_in(start..end).find(fits);
        let found = found.map(|run| run.start.0);
        if finish > start {
            return found.filter(|&found| found < finish);
        }
        found.or_else(|| {
            let from_start = self.space.free_in(0..end).find(fits)?.start.0;
            (from_start < finish).then_some(from_start)
        })
    }

    fn take(&mut self, group: GroupNumber, start: u64, len_blocks: u64) -> Result<FsBlock> {
        if self.space.take(Run::new(start, len_blocks)) {
            Ok(FsBlock(start))
        } else {
            Err(no_room(group))
        }
    }
}

/// The flex group that a group belongs to.
struct FlexGroup {
    first_block: u64,
    last_block: u64,
    is_first: bool,
    /// Groups of it from this one on.
    groups_left: u64,
    /// Bitmaps of one kind its first group leaves room for.
    bitmaps_room: u64,
}

impl FlexGroup {
    fn of(superblock: &Superblock, group: GroupNumber, per_flex: u32) -> Self {
        let first = GroupNumber(group.0 & !(per_flex - 1));
        let full_last = group.0 | (per_flex - 1);
        let last_of_all = superblock.group_count - 1;
        let last = full_last.min(last_of_all);
        // The last flex group has no gaps between bitmaps; a full one needs none.
        let place_of_last = last & (per_flex - 1);
        let bitmaps_room = if last == last_of_all && place_of_last != 0 {
            place_of_last + 1
        } else {
            per_flex
        };
        Self {
            first_block: group_run(superblock, first).start.0,
            last_block: group_run(superblock, GroupNumber(last)).end() - 1,
            is_first: first == group,
            groups_left: u64::from(last - group.0) + 1,
            bitmaps_room: bitmaps_room.into(),
        }
    }
}

fn no_room(group: GroupNumber) -> Error {
    Error::Size(format!(
        "group {group} finds no room for its bitmaps and inode table"
    ))
}

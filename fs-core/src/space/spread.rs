//! Which group an inode is taken from.
//!
//! Files stay with their directory, directories with their parent as long as its group has
//! room; those of the root, and of directories marked TOPDIR, are where unrelated things
//! begin and are spread over the volume (Orlov's scheme, as ext4 has it).

use std::sync::atomic::Ordering;

use crate::error::Result;
use crate::format::inode_flags::InodeFlags;
use crate::store::Store;
use crate::types::InodeNumber;

use super::Space;
use super::group::Group;

/// Groups looked at for a directory.
const GROUPS_LOOKED_AT: u32 = 4096;
/// 2^32 divided by the golden ratio: its multiples spread evenly.
const GOLDEN: u32 = 0x9E37_79B1;
/// A group may have so many more directories than the average: this part of its inodes.
const DEBT_PART: u32 = 16;
/// A group may have less than the average free by this part of a group.
const LACK_PART: u32 = 4;

/// What a group has on average.
struct Average {
    inodes: u32,
    blocks: u32,
    directories: u32,
}

impl Space {
    /// Groups to take a directory's inode from, the best first; all of them in the end.
    pub(super) fn groups_for_directory(
        &self,
        store: &Store,
        parent: InodeNumber,
    ) -> Result<impl Iterator<Item = u32> + use<>> {
        let near = self.group_of_inode(store, parent);
        let is_top = parent == InodeNumber::ROOT
            || store.inode(parent)?.flags().contains(InodeFlags::TOPDIR);
        let best = if is_top {
            self.spread_group()
        } else {
            self.group_with_room(near)
        };
        let first = best.unwrap_or(near);
        Ok(std::iter::once(first).chain(self.all_groups_from(near)))
    }

    /// Groups to take another inode from: its directory's, those around it, then farther
    /// and farther ones; all of them in the end.
    pub(super) fn groups_for_file(
        &self,
        store: &Store,
        parent: InodeNumber,
    ) -> impl Iterator<Item = u32> + use<> {
        let near = self.group_of_inode(store, parent);
        let (start, end) = self.geometry.flex_bounds(near);
        let count = self.geometry.group_count.max(1);
        // Directories of one group part company here.
        let seed = near.wrapping_add(parent.0) % count;
        let jumps = (0..count.checked_ilog2().unwrap_or(0))
            .map(move |power| (u64::from(seed) + (1 << power)) % u64::from(count))
            .map(|group| group as u32);
        (near..end)
            .chain(start..near)
            .chain(jumps)
            .chain(self.all_groups_from(near))
    }

    fn group_of_inode(&self, store: &Store, inode: InodeNumber) -> u32 {
        let position = store.superblock.inode_position(inode);
        position.map_or(0, |(group, _)| group.0)
    }

    fn all_groups_from(&self, group: u32) -> impl Iterator<Item = u32> + use<> {
        (group..self.geometry.group_count).chain(0..group)
    }

    fn average(&self) -> Average {
        let counts = self.counts();
        let groups = u64::from(self.geometry.group_count.max(1));
        let part = |sum: u64| u32::try_from(sum / groups).unwrap_or(u32::MAX);
        Average {
            inodes: part(counts.inodes.into()),
            blocks: part(counts.blocks),
            directories: part(counts.directories),
        }
    }

    /// Of the groups with as much free as others have, the one with the fewest directories.
    fn spread_group(&self) -> Option<u32> {
        let count = self.geometry.group_count;
        let turn = self.spread_turn.fetch_add(1, Ordering::Relaxed);
        let place = u64::from(turn.wrapping_mul(GOLDEN)) * u64::from(count);
        let start = (place >> 32) as u32;
        let average = self.average();
        let has_room = |group: &Group| {
            let inodes = group.available_inodes.get();
            inodes > 0 && inodes >= average.inodes && group.free_blocks.get() >= average.blocks
        };
        let mut best: Option<(u32, u32)> = None;
        for number in self.all_groups_from(start).take(GROUPS_LOOKED_AT as usize) {
            let group = self.group(number).ok()?;
            let directories = group.directories.get();
            if has_room(group) && best.is_none_or(|(fewest, _)| directories < fewest) {
                best = Some((directories, number));
                if directories == 0 {
                    break;
                }
            }
        }
        best.map(|(_, number)| number)
    }

    /// The nearest group that has not many more directories than others, nor much less
    /// room; else the nearest with as many inodes as others.
    fn group_with_room(&self, near: u32) -> Option<u32> {
        let average = self.average();
        let debt = self.geometry.inodes_per_group / DEBT_PART;
        let directories_max = average.directories.saturating_add(debt.max(1));
        let inodes_lack = self.geometry.inodes_per_group / LACK_PART;
        let inodes_min = average.inodes.saturating_sub(inodes_lack).max(1);
        let blocks_lack = self.geometry.blocks_per_group / LACK_PART;
        let blocks_min = average.blocks.saturating_sub(blocks_lack);
        let (start, end) = self.geometry.flex_bounds(near);
        let near_ones = (near..end)
            .chain(start..near)
            .chain(self.all_groups_from(end));
        let mut second = None;
        for number in near_ones.take(GROUPS_LOOKED_AT as usize) {
            let group = self.group(number).ok()?;
            let inodes = group.available_inodes.get();
            if inodes >= inodes_min
                && group.directories.get() < directories_max
                && group.free_blocks.get() >= blocks_min
            {
                return Some(number);
            }
            if second.is_none() && inodes > 0 && inodes >= average.inodes {
                second = Some(number);
            }
        }
        second
    }
}

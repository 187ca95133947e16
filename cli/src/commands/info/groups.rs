//! A block group, as dumpe2fs prints it.

use std::fmt::{self, Display, Write};

use fs_core::{
    BG_BLOCK_UNINIT, BG_INODE_UNINIT, BG_INODE_ZEROED, GroupDescriptor, GroupNumber,
    IncompatFeatures, RoCompatFeatures, Superblock, Volume,
};
use serde_json::{Value, json};

use super::layout::{
    group_blocks, group_head, has_bitmap_checksums, has_group_checksums, place_of,
};

const FLAGS: [(u16, &str); 3] = [
    (BG_INODE_UNINIT, "INODE_UNINIT"),
    (BG_BLOCK_UNINIT, "BLOCK_UNINIT"),
    (BG_INODE_ZEROED, "ITABLE_ZEROED"),
];

/// A descriptor and what its bitmaps say.
#[derive(Debug, Clone)]
pub(super) struct Group {
    descriptor: GroupDescriptor,
    /// First and last block of each free run; `None` if the bitmap is damaged.
    free_blocks: Option<Vec<(u64, u64)>>,
    /// First and last inode of each free run; `None` if the bitmap is damaged.
    free_inodes: Option<Vec<(u64, u64)>>,
}

impl Group {
    /// Reads a group. Damaged bitmaps are left out and returned as problems.
    pub(super) fn read(
        volume: &Volume,
        number: GroupNumber,
    ) -> fs_core::Result<(Self, Vec<fs_core::Error>)> {
        let mut problems = Vec::new();
        let descriptor = volume.group(number)?;
        let blocks = volume.free_block_runs(number).map(|runs| {
            let runs = runs.into_iter().filter(|(_, len)| *len > 0);
            runs.map(|(start, len)| (start.0, start.0.saturating_add(len - 1)))
                .collect()
        });
        let inodes = volume.free_inode_runs(number).map(|runs| {
            let runs = runs.into_iter().filter(|(_, len)| *len > 0);
            runs.map(|(start, len)| (start.0.into(), u64::from(start.0) + u64::from(len - 1)))
                .collect()
        });
        let group = Self {
            descriptor,
            free_blocks: blocks.map_err(|error| problems.push(error)).ok(),
            free_inodes: inodes.map_err(|error| problems.push(error)).ok(),
        };
        Ok((group, problems))
    }

    fn flag_names(&self) -> Vec<&'static str> {
        let flags = FLAGS
            .iter()
            .filter(|(bit, _)| self.descriptor.flags & bit != 0);
        flags.map(|(_, name)| *name).collect()
    }

    /// First and last block of the inode table.
    fn inode_table(&self, superblock: &Superblock) -> (u64, u64) {
        let start = self.descriptor.inode_table.0;
        let len = u64::from(superblock.inode_blocks_per_group);
        (start, start.saturating_add(len).saturating_sub(1))
    }

    /// The lines dumpe2fs prints.
    pub(super) fn text(&self, superblock: &Superblock) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = self.write_head(superblock, &mut text);
        let _ = self.write_tables(superblock, &mut text);
        let _ = self.write_free(superblock, &mut text);
        text
    }

    fn write_head(&self, superblock: &Superblock, text: &mut String) -> fmt::Result {
        let number = self.descriptor.number;
        let blocks = Range(group_blocks(superblock, number));
        write!(text, "Group {number}: (Blocks {blocks})")?;
        if has_group_checksums(superblock) {
            write!(text, " csum {:#06x}", self.descriptor.checksum)?;
            let flags = self.flag_names();
            if !flags.is_empty() {
                write!(text, " [{}]", flags.join(", "))?;
            }
        }
        text.push('\n');
        let head = group_head(superblock, number);
        if let Some(copy) = head.superblock {
            let which = if number.0 == 0 { "Primary" } else { "Backup" };
            write!(text, "  {which} superblock at {copy}")?;
        }
        if let Some(descriptors) = head.descriptors {
            write!(text, ", Group descriptors at {}", Range(descriptors))?;
            if let Some(reserved) = head.reserved {
                write!(text, "\n  Reserved GDT blocks at {}", Range(reserved))?;
            }
        } else if let Some(block) = head.meta_descriptor {
            let before = if head.superblock.is_some() { ',' } else { ' ' };
            write!(text, "{before} Group descriptor at {block}")?;
        }
        if head.superblock.is_some() || head.meta_descriptor.is_some() {
            text.push('\n');
        }
        Ok(())
    }

    fn write_tables(&self, superblock: &Superblock, text: &mut String) -> fmt::Result {
        let descriptor = &self.descriptor;
        let place = |block| Place {
            superblock,
            group: descriptor.number,
            block,
        };
        let has_checksums = has_bitmap_checksums(superblock);
        let checksum = |sum: u32| {
            if has_checksums {
                format!(", csum {sum:#010x}")
            } else {
                String::new()
            }
        };
        writeln!(
            text,
            "  Block bitmap at {}{}{}",
            descriptor.block_bitmap,
            place(descriptor.block_bitmap.0),
            checksum(descriptor.block_bitmap_checksum)
        )?;
        writeln!(
            text,
            "  Inode bitmap at {}{}{}",
            descriptor.inode_bitmap,
            place(descriptor.inode_bitmap.0),
            checksum(descriptor.inode_bitmap_checksum)
        )?;
        let table = self.inode_table(superblock);
        writeln!(text, "  Inode table at {}{}", Range(table), place(table.0))
    }

    fn write_free(&self, superblock: &Superblock, text: &mut String) -> fmt::Result {
        let descriptor = &self.descriptor;
        let features = superblock.features.ro_compat;
        let bigalloc = features.contains(RoCompatFeatures::BIGALLOC);
        write!(
            text,
            "  {} free {}, {} free inodes, {} directories",
            descriptor.free_clusters,
            if bigalloc { "clusters" } else { "blocks" },
            descriptor.free_inodes,
            descriptor.used_directories
        )?;
        if descriptor.unused_inodes != 0 {
            write!(text, ", {} unused inodes", descriptor.unused_inodes)?;
        }
        writeln!(text, "\n  Free blocks: {}", Runs(self.free_blocks.as_ref()))?;
        writeln!(text, "  Free inodes: {}", Runs(self.free_inodes.as_ref()))
    }

    /// The same as one object.
    pub(super) fn json(&self, superblock: &Superblock) -> Value {
        let descriptor = &self.descriptor;
        let number = descriptor.number;
        let head = group_head(superblock, number);
        let mut group = json!({
            "number": number.0,
            "blocks": group_blocks(superblock, number),
            "superblock": head.superblock,
            "group_descriptors": head.descriptors.or(head.meta_descriptor.map(|b| (b, b))),
            "reserved_gdt_blocks": head.reserved,
            "block_bitmap": descriptor.block_bitmap.0,
            "inode_bitmap": descriptor.inode_bitmap.0,
            "inode_table": self.inode_table(superblock),
            "free_clusters": descriptor.free_clusters,
            "free_inodes": descriptor.free_inodes,
            "directories": descriptor.used_directories,
            "unused_inodes": descriptor.unused_inodes,
            "free_block_runs": self.free_blocks,
            "free_inode_runs": self.free_inodes,
        });
        if has_group_checksums(superblock) {
            group["checksum"] = descriptor.checksum.into();
            group["flags"] = self.flag_names().into();
        }
        if has_bitmap_checksums(superblock) {
            group["block_bitmap_checksum"] = descriptor.block_bitmap_checksum.into();
            group["inode_bitmap_checksum"] = descriptor.inode_bitmap_checksum.into();
        }
        group
    }
}

/// `first-last`.
struct Range((u64, u64));

impl Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = self.0;
        write!(f, "{first}-{last}")
    }
}

/// Free runs; a run of one is one number.
struct Runs<'a>(Option<&'a Vec<(u64, u64)>>);

impl Display for Runs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(runs) = self.0 else {
            return f.write_str("(damaged)");
        };
        for (index, (first, last)) in runs.iter().enumerate() {
            f.write_str(if index > 0 { ", " } else { "" })?;
            match first == last {
                true => write!(f, "{first}")?,
                false => write!(f, "{first}-{last}")?,
            }
        }
        Ok(())
    }
}

/// Where a block lies, seen from its group: ` (+129)`, or ` (bg #0 + 129)` in
/// another group.
struct Place<'a> {
    superblock: &'a Superblock,
    group: GroupNumber,
    block: u64,
}

impl Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = group_blocks(self.superblock, self.group);
        if (first..=last).contains(&self.block) {
            return write!(f, " (+{})", self.block - first);
        }
        let features = self.superblock.features.incompat;
        if !features.contains(IncompatFeatures::FLEX_BG) {
            return Ok(());
        }
        let (group, offset) = place_of(self.superblock, self.block);
        write!(f, " (bg #{group} + {offset})")
    }
}

//! Block groups: how many, how large, with how many inodes.
//!
//! The numbers are those of libext2fs 1.47: inode tables fill their blocks, a
//! last group that has no room for more than its own metadata is left out, and
//! groups shrink when the inodes asked for do not fit their bitmaps.

use fs_core::{CompatFeatures, Features, IncompatFeatures};

use super::{backups, ratios};
use crate::{Error, Result};

/// Blocks a short last group must have beyond its metadata to be kept.
const LAST_GROUP_MIN_FREE: u64 = 50;
/// Inodes with a number of their own, and the first ordinary one.
const INODES_MIN: u32 = 11;
/// Fewest inodes in a group: the bits of a byte.
const INODES_PER_GROUP_MIN: u64 = 8;
/// Fewest blocks in a group (mke2fs).
const BLOCKS_PER_GROUP_MIN: u64 = 256;
/// Numbers of blocks and inodes in a group have 16 bits in the descriptor.
const PER_GROUP_LIMIT: u64 = 1 << 16;
/// Most groups of a file system. Planning takes some 110 bytes a group, 200 without
/// checksums: this many stay below 1 and 2 GiB. They are 1 PiB in blocks of 4 KiB, 32 PiB
/// in blocks of 64 KiB.
const GROUPS_MAX: u64 = 1 << 23;
/// At so many times the present size an ext4 can arrive by growing, if nothing
/// else is asked for.
const GROWTH_DEFAULT: u64 = 1024;

/// What the groups are computed from.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) block_bytes: u32,
    pub(super) blocks: u64,
    pub(super) reserved_blocks: u64,
    /// As asked for (`-g`).
    pub(super) blocks_per_group: Option<u32>,
    pub(super) inodes: u32,
    pub(super) inode_bytes: u32,
    pub(super) features: Features,
    /// As computed from `resize=`.
    pub(super) reserved_gdt_blocks: Option<u64>,
    /// Superblock backups with sparse_super2: 0, 1 or 2.
    pub(super) backups: u8,
}

/// The shape that results.
#[derive(Debug, Clone)]
pub(super) struct Groups {
    pub(super) blocks: u64,
    pub(super) reserved_blocks: u64,
    pub(super) first_data_block: u32,
    pub(super) blocks_per_group: u32,
    pub(super) inodes_per_group: u32,
    pub(super) groups: u32,
    pub(super) descriptor_blocks: u64,
    pub(super) reserved_gdt_blocks: u16,
    pub(super) backup_groups: [u32; 2],
    /// meta_bg may have taken the place of resize_inode.
    pub(super) features: Features,
    /// Blocks that the superblocks, the descriptors and, without flex_bg, the
    /// bitmaps and inode tables leave.
    pub(super) free_blocks: u64,
}

/// Size of a group descriptor in bytes.
pub(super) fn descriptor_bytes(features: &Features) -> u16 {
    match features.incompat.contains(IncompatFeatures::BIT64) {
        true => 64,
        false => 32,
    }
}

/// Computes the shape.
///
/// # Errors
/// `Size` if that is too little or too much space for a file system, `Option` if
/// the inodes asked for do not fit.
pub(super) fn shape(wanted: &Wanted) -> Result<Groups> {
    let mut attempt = Attempt::new(wanted)?;
    loop {
        match attempt.run()? {
            Outcome::Done(groups) => return Ok(groups),
            Outcome::SmallerGroups => {
                attempt.blocks_per_group -= 8;
                attempt.blocks = wanted.blocks;
            }
            Outcome::WithoutLastGroup { rest } => {
                attempt.blocks -= rest;
                attempt.reserved_blocks =
                    ratios::rescaled(wanted.reserved_blocks, wanted.blocks, attempt.blocks);
            }
        }
    }
}

/// What one attempt at a shape leads to. Both retries make a number smaller that
/// has a lower bound.
enum Outcome {
    Done(Groups),
    SmallerGroups,
    WithoutLastGroup { rest: u64 },
}

struct Attempt<'a> {
    wanted: &'a Wanted,
    block_bytes: u64,
    first_data_block: u64,
    blocks: u64,
    reserved_blocks: u64,
    blocks_per_group: u64,
    features: Features,
}

impl<'a> Attempt<'a> {
    fn new(wanted: &'a Wanted) -> Result<Self> {
        let block_bytes = u64::from(wanted.block_bytes);
        let most = (block_bytes * 8).min(PER_GROUP_LIMIT - 8);
        let blocks_per_group = match wanted.blocks_per_group.map(u64::from) {
            None => most,
            Some(asked) => checked_blocks_per_group(asked, most)?,
        };
        Ok(Self {
            wanted,
            block_bytes,
            first_data_block: u64::from(wanted.block_bytes == 1024),
            blocks: wanted.blocks,
            reserved_blocks: wanted.reserved_blocks,
            blocks_per_group,
            features: wanted.features,
        })
    }

    fn run(&mut self) -> Result<Outcome> {
        let in_groups = self.blocks.saturating_sub(self.first_data_block);
        let groups = in_groups.div_ceil(self.blocks_per_group);
        if groups == 0 {
            return Err(self.too_small());
        }
        if groups > GROUPS_MAX {
            return Err(self.too_many_groups(groups));
        }
        let descriptors_per_block = self.block_bytes / u64::from(descriptor_bytes(&self.features));
        let descriptor_blocks = groups.div_ceil(descriptors_per_block);
        let inodes = u64::from(self.wanted.inodes.max(INODES_MIN + 1));
        let per_group = inodes.div_ceil(groups);
        if per_group > self.block_bytes * 8 {
            return match self.blocks_per_group >= BLOCKS_PER_GROUP_MIN {
                true => Ok(Outcome::SmallerGroups),
                false => Err(self.too_many_inodes()),
            };
        }
        let inodes_per_group = self.inodes_per_group(per_group, groups)?;
        let table_blocks = self.table_blocks(inodes_per_group);
        let reserved_gdt = self.reserved_gdt_blocks(descriptors_per_block, descriptor_blocks)?;
        let shape = Shape {
            groups,
            descriptor_blocks,
            reserved_gdt,
            table_blocks,
        };
        let descriptors = match self.has(IncompatFeatures::META_BG) {
            true => 1,
            false => descriptor_blocks,
        };
        if 3 + table_blocks + reserved_gdt + descriptors > self.blocks_per_group {
            return Err(self.too_many_inodes());
        }
        let rest = in_groups % self.blocks_per_group;
        let last = self.last_group_overhead(&shape);
        if groups == 1 && rest != 0 && rest < last {
            return Err(self.too_small());
        }
        if rest != 0 && rest < last + LAST_GROUP_MIN_FREE {
            return Ok(Outcome::WithoutLastGroup { rest });
        }
        self.done(&shape, inodes_per_group).map(Outcome::Done)
    }

    fn has(&self, feature: IncompatFeatures) -> bool {
        self.features.incompat.contains(feature)
    }

    fn table_blocks(&self, inodes_per_group: u64) -> u64 {
        (inodes_per_group * u64::from(self.wanted.inode_bytes)).div_ceil(self.block_bytes)
    }

    /// Fills the last block of the table, keeps to whole bytes of the bitmap and
    /// to 32 bits of inode numbers.
    fn inodes_per_group(&self, asked: u64, groups: u64) -> Result<u64> {
        let inode_bytes = u64::from(self.wanted.inode_bytes);
        let inodes_per_block = (self.block_bytes / inode_bytes).max(1);
        let mut asked = asked.min(PER_GROUP_LIMIT - inodes_per_block);
        loop {
            let full = self.table_blocks(asked) * self.block_bytes / inode_bytes;
            let per_group = full.max(INODES_PER_GROUP_MIN) & !7;
            if per_group.saturating_mul(groups) <= u64::from(u32::MAX) {
                return Ok(per_group);
            }
            if asked <= 1 {
                return Err(Error::Size(format!(
                    "{groups} groups of at least {per_group} inodes, which fill a block, are more inodes than have numbers (2^32): take larger inodes (-I) or a smaller size"
                )));
            }
            asked -= 1;
        }
    }

    /// Blocks kept for the descriptors of groups to come. Switches meta_bg on in
    /// place of resize_inode if descriptors would fill most of a group.
    fn reserved_gdt_blocks(&mut self, per_block: u64, descriptor_blocks: u64) -> Result<u64> {
        let most = self.block_bytes / 4;
        let mut reserved = 0;
        if self.features.compat.contains(CompatFeatures::RESIZE_INODE) {
            // 32-bit block numbers are all a resize inode can hold.
            let limit = u64::from(u32::MAX);
            let grown = match self.blocks < limit / GROWTH_DEFAULT {
                true => self.blocks * GROWTH_DEFAULT,
                false => limit,
            };
            let grown_groups = (grown - self.first_data_block).div_ceil(self.blocks_per_group);
            let by_default = grown_groups
                .div_ceil(per_block)
                .saturating_sub(descriptor_blocks)
                .min(most);
            reserved = self.wanted.reserved_gdt_blocks.unwrap_or(by_default);
        }
        if reserved + descriptor_blocks > self.blocks_per_group * 3 / 4 {
            if self.wanted.reserved_gdt_blocks.is_some() {
                return Err(Error::Option(format!(
                    "-E resize= would need {reserved} blocks in each group of {} for descriptors to come: ask for less",
                    self.blocks_per_group
                )));
            }
            self.features.incompat.insert(IncompatFeatures::META_BG);
            self.features.compat.remove(CompatFeatures::RESIZE_INODE);
            reserved = 0;
        }
        Ok(reserved)
    }

    fn last_group_overhead(&self, shape: &Shape) -> u64 {
        let mut overhead = 2 + shape.table_blocks;
        if backups::last_group_has_one(&self.features, shape.groups, self.wanted.backups) {
            overhead += 1 + shape.descriptor_blocks + shape.reserved_gdt;
        }
        overhead
    }

    fn done(&self, shape: &Shape, inodes_per_group: u64) -> Result<Groups> {
        let groups = narrow(shape.groups, "block groups")?;
        let inodes_per_group = narrow(inodes_per_group, "inodes in a group")?;
        if u64::from(inodes_per_group) * shape.groups < u64::from(INODES_MIN) {
            return Err(self.too_small());
        }
        let backup_groups = backups::of_sparse_super2(&self.features, groups, self.wanted.backups);
        let superblocks = backups::superblocks(&self.features, shape.groups, backup_groups);
        let mut taken = match self.has(IncompatFeatures::META_BG) {
            // Three groups of a metagroup have a copy of its block.
            true => superblocks + (3 * shape.descriptor_blocks).min(shape.groups),
            false => superblocks * (1 + shape.descriptor_blocks + shape.reserved_gdt),
        };
        if !self.has(IncompatFeatures::FLEX_BG) {
            taken += shape.groups * (2 + shape.table_blocks);
        }
        Ok(Groups {
            blocks: self.blocks,
            reserved_blocks: self.reserved_blocks,
            first_data_block: u32::from(self.first_data_block == 1),
            blocks_per_group: narrow(self.blocks_per_group, "blocks in a group")?,
            inodes_per_group,
            groups,
            descriptor_blocks: shape.descriptor_blocks,
            reserved_gdt_blocks: narrow(shape.reserved_gdt, "blocks kept for descriptors")?,
            backup_groups,
            features: self.features,
            free_blocks: (self.blocks - self.first_data_block).saturating_sub(taken),
        })
    }

    fn too_small(&self) -> Error {
        Error::Size(format!(
            "{} blocks of {} bytes are too few for a file system",
            self.wanted.blocks, self.block_bytes
        ))
    }

    fn too_many_groups(&self, groups: u64) -> Error {
        let most = u128::from(GROUPS_MAX * self.blocks_per_group) * u128::from(self.block_bytes);
        let advice = match self.wanted.blocks_per_group {
            Some(_) => "take larger groups (-g), larger blocks (-b) or a smaller size",
            None => "take larger blocks (-b) or a smaller size",
        };
        Error::Size(format!(
            "{} blocks of {} bytes are {groups} block groups, more than the {GROUPS_MAX} ({} GiB) that can be planned in memory: {advice}",
            self.wanted.blocks,
            self.block_bytes,
            most >> 30
        ))
    }

    fn too_many_inodes(&self) -> Error {
        Error::Option(format!(
            "{} inodes of {} bytes do not fit into groups of {} blocks of {} bytes: ask for fewer inodes (-N, -i) or larger groups (-g)",
            self.wanted.inodes, self.wanted.inode_bytes, self.blocks_per_group, self.block_bytes
        ))
    }
}

/// Counts of one attempt.
struct Shape {
    groups: u64,
    descriptor_blocks: u64,
    reserved_gdt: u64,
    table_blocks: u64,
}

fn checked_blocks_per_group(asked: u64, most: u64) -> Result<u64> {
    if !asked.is_multiple_of(8) || !(BLOCKS_PER_GROUP_MIN..=most).contains(&asked) {
        return Err(Error::Option(format!(
            "{asked} blocks per group (-g) are not possible: a multiple of 8 from {BLOCKS_PER_GROUP_MIN} to {most} is"
        )));
    }
    Ok(asked)
}

fn narrow<T: TryFrom<u64>>(number: u64, what: &str) -> Result<T> {
    T::try_from(number).map_err(|_| {
        Error::Size(format!(
            "the file system would have {number} {what}, more than the format can say"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::features::{FeatureEdits, none};

    fn wanted(blocks: u64, list: &str) -> Wanted {
        let mut features = none();
        list.parse::<FeatureEdits>().unwrap().apply(&mut features);
        Wanted {
            block_bytes: 4096,
            blocks,
            reserved_blocks: blocks / 20,
            blocks_per_group: None,
            inodes: u32::try_from(blocks / 4).unwrap_or(u32::MAX),
            inode_bytes: 256,
            features,
            reserved_gdt_blocks: None,
            backups: 2,
        }
    }

    #[test]
    fn a_last_group_without_room_is_left_out() {
        let whole = 3 * 32_768;
        let groups = |rest| shape(&wanted(whole + rest, "sparse_super,extent,64bit")).unwrap();
        assert_eq!(groups(0).groups, 3);
        // A fourth group would have a superblock, a descriptor block, two bitmaps
        // and some 385 blocks of inodes.
        assert_eq!(groups(300).groups, 3);
        assert_eq!(groups(300).blocks, whole);
        assert_eq!(groups(300).reserved_blocks, whole / 20);
        assert_eq!(groups(500).groups, 4);
        assert_eq!(groups(500).blocks, whole + 500);
    }

    #[test]
    fn groups_shrink_for_many_inodes() {
        let mut wanted = wanted(32_768, "sparse_super,extent");
        wanted.inodes = 100_000;
        let groups = shape(&wanted).unwrap();
        assert!(groups.blocks_per_group < 32_768);
        assert!(u64::from(groups.inodes_per_group) * u64::from(groups.groups) >= 100_000);
        wanted.inodes = u32::MAX;
        assert!(shape(&wanted).is_err());
    }

    #[test]
    fn descriptors_of_many_groups_move_into_metagroups() {
        let blocks = 1 << 36; // 256 TiB
        let groups = shape(&wanted(
            blocks,
            "sparse_super,extent,64bit,resize_inode,flex_bg",
        ))
        .unwrap();
        let names = groups.features.names();
        assert!(names.contains(&"meta_bg".to_owned()), "{names:?}");
        assert!(!names.contains(&"resize_inode".to_owned()), "{names:?}");
    }

    #[test]
    fn groups_are_as_many_as_can_be_planned() {
        let list = "sparse_super,extent,64bit,flex_bg";
        let whole = GROUPS_MAX * 32_768;
        assert_eq!(
            u64::from(shape(&wanted(whole, list)).unwrap().groups),
            GROUPS_MAX
        );
        for blocks in [whole + 32_768, 1 << 44, u64::MAX / 4096] {
            let message = shape(&wanted(blocks, list)).unwrap_err().to_string();
            assert!(message.contains("8388608 (1048576 GiB)"), "{message}");
            assert!(message.contains("larger blocks (-b)"), "{message}");
        }
    }

    #[test]
    fn a_block_of_inodes_in_every_group_must_have_numbers() {
        let mut wanted = wanted(GROUPS_MAX * 65_528, "sparse_super,extent,64bit,flex_bg");
        wanted.block_bytes = 65_536;
        assert_eq!(shape(&wanted).unwrap().inodes_per_group, 256);
        wanted.inode_bytes = 128;
        let message = shape(&wanted).unwrap_err().to_string();
        assert!(message.contains("at least 512 inodes"), "{message}");
    }
}

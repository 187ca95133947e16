//! Where the copies of the superblock and of the descriptor table lie.
//!
//! Pure arithmetic on the superblock (ext4 on-disk layout, "Block groups",
//! "Meta block groups"): nothing on the device says it.

use fs_core::Superblock;

use super::superblock::has_feature;

/// The numbers that decide what a group begins with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) first_data_block: u64,
    pub(super) blocks_count: u64,
    pub(super) blocks_per_group: u64,
    pub(super) groups: u32,
    pub(super) inode_blocks_per_group: u64,
    /// Groups have a checksum and flags.
    pub(super) group_checksums: bool,
    /// Bitmaps have checksums.
    pub(super) bitmap_checksums: bool,
    /// Groups' tables may lie in another group.
    pub(super) flex_bg: bool,
    /// Free space is counted in clusters.
    pub(super) bigalloc: bool,
    sparse_super: bool,
    /// The two groups with copies, if that is how they are chosen.
    backup_groups: Option<[u32; 2]>,
    /// First block of the table's blocks that lie with their own groups.
    first_meta_bg: Option<u32>,
    descriptors_per_block: u32,
    reserved_gdt_blocks: u64,
}

/// What a group begins with; blocks of the file system.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct GroupHead {
    /// A copy of the superblock.
    pub(super) superblock: Option<u64>,
    /// First and last block of a copy of the descriptor table.
    pub(super) descriptors: Option<(u64, u64)>,
    /// Blocks kept for that table to grow.
    pub(super) reserved: Option<(u64, u64)>,
    /// The one block of descriptors that a meta block group keeps.
    pub(super) meta_descriptor: Option<u64>,
}

impl Layout {
    pub(super) fn new(sb: &Superblock, groups: u32) -> Self {
        let metadata_csum = has_feature(sb, "metadata_csum");
        Self {
            first_data_block: sb.first_data_block.into(),
            blocks_count: sb.blocks_count,
            blocks_per_group: sb.blocks_per_group.into(),
            groups,
            inode_blocks_per_group: sb.inode_blocks_per_group.into(),
            group_checksums: metadata_csum || has_feature(sb, "uninit_bg"),
            bitmap_checksums: metadata_csum,
            flex_bg: has_feature(sb, "flex_bg"),
            bigalloc: has_feature(sb, "bigalloc"),
            sparse_super: has_feature(sb, "sparse_super"),
            backup_groups: has_feature(sb, "sparse_super2").then_some(sb.backup_groups),
            first_meta_bg: has_feature(sb, "meta_bg").then_some(sb.first_meta_bg),
            descriptors_per_block: (sb.block_bytes / u32::from(sb.descriptor_bytes.max(1))).max(1),
            reserved_gdt_blocks: sb.reserved_gdt_blocks.into(),
        }
    }

    /// First block of a group.
    pub(super) fn first_block(&self, group: u32) -> u64 {
        let start = u64::from(group).saturating_mul(self.blocks_per_group);
        start.saturating_add(self.first_data_block)
    }

    /// Last block of a group.
    pub(super) fn last_block(&self, group: u32) -> u64 {
        let next = self
            .first_block(group)
            .saturating_add(self.blocks_per_group);
        next.min(self.blocks_count).saturating_sub(1)
    }

    /// The group a block lies in.
    pub(super) fn group_of(&self, block: u64) -> u64 {
        block.saturating_sub(self.first_data_block) / self.blocks_per_group.max(1)
    }

    /// What a group begins with.
    pub(super) fn head(&self, group: u32) -> GroupHead {
        let first = self.first_block(group);
        let has_super = self.has_superblock(group);
        let after_super = first + u64::from(has_super);
        let mut head = GroupHead {
            superblock: has_super.then_some(first),
            ..GroupHead::default()
        };
        match self.first_meta_bg {
            Some(first_meta) if group / self.descriptors_per_block >= first_meta => {
                // The first two and the last group of a meta block group.
                let place = group % self.descriptors_per_block;
                if matches!(place, 0 | 1) || place == self.descriptors_per_block - 1 {
                    head.meta_descriptor = Some(after_super);
                }
            }
            meta if has_super => {
                let whole_table = u64::from(self.groups.div_ceil(self.descriptors_per_block));
                let table = meta.map_or(whole_table, u64::from);
                let after_table = after_super + table;
                head.descriptors = (table > 0).then(|| (after_super, after_table - 1));
                head.reserved = (self.reserved_gdt_blocks > 0)
                    .then(|| (after_table, after_table + self.reserved_gdt_blocks - 1));
            }
            _ => {}
        }
        head
    }

    fn has_superblock(&self, group: u32) -> bool {
        match self.backup_groups {
            _ if group == 0 => true,
            Some(groups) => groups.contains(&group),
            None => {
                group == 1 || !self.sparse_super || [3, 5, 7].iter().any(|b| is_power(group, *b))
            }
        }
    }
}

fn is_power(mut number: u32, base: u32) -> bool {
    while number >= base && number.is_multiple_of(base) {
        number /= base;
    }
    number == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> Layout {
        Layout {
            first_data_block: 1,
            blocks_count: 65536,
            blocks_per_group: 8192,
            groups: 8,
            sparse_super: true,
            descriptors_per_block: 16,
            reserved_gdt_blocks: 256,
            ..Layout::default()
        }
    }

    #[test]
    fn copies_are_sparse() {
        let with_copies: Vec<u32> = (0..130).filter(|g| layout().has_superblock(*g)).collect();
        assert_eq!(with_copies, [0, 1, 3, 5, 7, 9, 25, 27, 49, 81, 125]);
    }

    #[test]
    fn a_plain_group_begins_with_a_copy_of_the_table() {
        let head = layout().head(1);
        assert_eq!(head.superblock, Some(8193));
        assert_eq!(head.descriptors, Some((8194, 8194)));
        assert_eq!(head.reserved, Some((8195, 8450)));
        assert_eq!(layout().head(2), GroupHead::default());
    }

    #[test]
    fn chosen_backup_groups_replace_the_rule() {
        let layout = Layout {
            backup_groups: Some([1, 6]),
            ..layout()
        };
        let with_copies: Vec<u32> = (0..8).filter(|g| layout.has_superblock(*g)).collect();
        assert_eq!(with_copies, [0, 1, 6]);
    }

    #[test]
    fn meta_block_groups_keep_one_block_thrice() {
        let layout = Layout {
            first_meta_bg: Some(0),
            groups: 64,
            reserved_gdt_blocks: 0,
            ..layout()
        };
        let kept: Vec<u32> = (0..32)
            .filter(|g| layout.head(*g).meta_descriptor.is_some())
            .collect();
        assert_eq!(kept, [0, 1, 15, 16, 17, 31]);
        assert_eq!(layout.head(0).meta_descriptor, Some(2));
        assert_eq!(layout.head(16).meta_descriptor, Some(1 + 16 * 8192));
    }

    #[test]
    fn the_last_group_ends_with_the_file_system() {
        assert_eq!(layout().last_block(6), 57344);
        assert_eq!(layout().last_block(7), 65535);
        assert_eq!(layout().group_of(259), 0);
        assert_eq!(layout().group_of(8193), 1);
    }
}

//! The superblock: 1024 bytes at byte 1024 of the device, with copies at the
//! start of some groups (ext4 on-disk layout, "Super Block").

mod raw;
mod typed;
mod validate;

use crate::format::features::{CompatFeatures, Features, IncompatFeatures, RoCompatFeatures};
use crate::types::{FsBlock, GroupNumber, InodeNumber};

pub use raw::RawSuperblock;

/// Where the primary superblock starts, in bytes.
pub(crate) const PRIMARY_OFFSET_BYTES: u64 = 1024;
/// Its size, and the size of every copy.
pub(crate) const SIZE_BYTES: usize = 1024;

/// One of the two error records a superblock keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorRecord {
    /// Seconds since 1970; 0 if there was none.
    pub time: i64,
    /// Source line of the program that saw it.
    pub line: u32,
    /// The inode concerned, or 0.
    pub inode: u32,
    /// The block concerned, or 0.
    pub block: u64,
    /// Function that saw it.
    pub function: Vec<u8>,
    /// ext4's error code (1 EUCLEAN ... ), 0 if not recorded.
    pub error_code: u8,
}

/// A superblock whose fields lie in the format's ranges and agree with one
/// another. Sizes are bytes unless the name says otherwise; times are seconds
/// since 1970.
#[derive(Debug, Clone)]
#[allow(missing_docs)] // Each field is the format's, named in full.
pub struct Superblock {
    pub revision: u32,
    pub minor_revision: u16,
    pub creator_os: u32,
    pub label: Vec<u8>,
    pub last_mounted: Vec<u8>,
    pub uuid: uuid::Uuid,
    pub features: Features,
    pub flags: u32,
    pub default_mount_options: u32,
    pub mount_opts: Vec<u8>,
    pub state: u16,
    pub errors_behavior: u16,
    pub inodes_count: u32,
    pub blocks_count: u64,
    pub reserved_blocks: u64,
    pub overhead_clusters: u32,
    pub free_blocks: u64,
    pub free_inodes: u32,
    pub first_data_block: u32,
    pub block_bytes: u32,
    pub cluster_bytes: u32,
    pub blocks_per_group: u32,
    pub clusters_per_group: u32,
    pub inodes_per_group: u32,
    pub inode_blocks_per_group: u32,
    pub reserved_gdt_blocks: u16,
    /// 32 without the 64bit feature, else what the superblock says (64 or more).
    pub descriptor_bytes: u16,
    pub first_meta_bg: u32,
    pub log_groups_per_flex: u8,
    pub created_at: i64,
    pub mounted_at: i64,
    pub written_at: i64,
    pub checked_at: i64,
    pub mount_count: u16,
    pub max_mount_count: i16,
    pub check_interval: u32,
    pub lifetime_kib_written: u64,
    pub default_reserved_uid: u16,
    pub default_reserved_gid: u16,
    pub first_inode: u32,
    pub inode_bytes: u16,
    pub min_extra_isize: u16,
    pub want_extra_isize: u16,
    pub journal_inode: u32,
    pub journal_device: u32,
    pub journal_uuid: [u8; 16],
    pub journal_backup: [u32; 17],
    pub journal_backup_type: u8,
    pub first_orphan: u32,
    pub orphan_file_inode: u32,
    pub hash_seed: [u32; 4],
    pub default_hash_version: u8,
    pub raid_stride: u16,
    pub raid_stripe_width: u32,
    pub mmp_block: u64,
    pub mmp_interval: u16,
    pub checksum_type: u8,
    pub checksum: u32,
    /// The seed of all metadata checksums: stored under csum_seed, else from the UUID.
    pub checksum_seed: u32,
    pub error_count: u32,
    pub first_error: ErrorRecord,
    pub last_error: ErrorRecord,
    pub encoding: u16,
    pub encoding_flags: u16,
    pub encryption_level: u8,
    pub backup_groups: [u32; 2],
    pub lost_and_found_inode: u32,
    pub user_quota_inode: u32,
    pub group_quota_inode: u32,
    pub project_quota_inode: u32,
    /// The group this copy lies in; 0 for the primary.
    pub block_group: u16,
    /// Derived: number of block groups.
    pub group_count: u32,
}

/// `s_flags`: directory hashes were made with signed or unsigned characters.
const FLAG_UNSIGNED_HASH: u32 = 0x2;

impl Superblock {
    /// True if all of these incompatible features are on.
    pub(crate) fn has_incompat(&self, features: IncompatFeatures) -> bool {
        self.features.incompat.contains(features)
    }

    /// True if all of these read-only-compatible features are on.
    pub(crate) fn has_ro_compat(&self, features: RoCompatFeatures) -> bool {
        self.features.ro_compat.contains(features)
    }

    /// True if all of these compatible features are on.
    pub(crate) fn has_compat(&self, features: CompatFeatures) -> bool {
        self.features.compat.contains(features)
    }

    /// True if metadata carries CRC-32C checksums.
    pub(crate) fn has_metadata_csum(&self) -> bool {
        self.has_ro_compat(RoCompatFeatures::METADATA_CSUM)
    }

    /// log2 of the blocks in a cluster; 0 without bigalloc.
    pub(crate) fn cluster_shift(&self) -> u32 {
        (self.cluster_bytes / self.block_bytes).trailing_zeros()
    }

    /// True if directory hashes treat name bytes as unsigned.
    pub(crate) fn hash_is_unsigned(&self) -> bool {
        self.flags & FLAG_UNSIGNED_HASH != 0
    }

    /// True if `block` can hold anything but the boot block.
    pub(crate) fn contains(&self, block: FsBlock) -> bool {
        (u64::from(self.first_data_block)..self.blocks_count).contains(&block.0)
    }

    /// True if the `len` blocks from `block` on all lie in the volume.
    pub(crate) fn contains_run(&self, block: FsBlock, len: u64) -> bool {
        self.contains(block)
            && block
                .checked_add(len)
                .is_some_and(|end| end.0 <= self.blocks_count)
    }

    /// The group an inode belongs to and its index there.
    pub(crate) fn inode_position(&self, inode: InodeNumber) -> Option<(GroupNumber, u32)> {
        let index = inode.0.checked_sub(1)?;
        (inode.0 <= self.inodes_count).then(|| {
            (
                GroupNumber(index / self.inodes_per_group),
                index % self.inodes_per_group,
            )
        })
    }

    /// True for an inode that belongs to the file system itself: nothing names it, and its
    /// content is nobody's to change.
    pub(crate) fn is_own_inode(&self, inode: InodeNumber) -> bool {
        inode != InodeNumber::ROOT
            && (inode.0 < self.first_inode
                || inode.0 == self.journal_inode
                || inode.0 == self.orphan_file_inode)
    }

    /// First block of a group; `None` if that lies beyond the volume.
    pub fn group_first_block(&self, group: GroupNumber) -> Option<FsBlock> {
        let first = u64::from(group.0) * u64::from(self.blocks_per_group)
            + u64::from(self.first_data_block);
        (group.0 < self.group_count).then_some(FsBlock(first))
    }

    /// Number of blocks of a group: all groups are full but the last.
    pub fn group_len_blocks(&self, group: GroupNumber) -> u32 {
        self.group_first_block(group).map_or(0, |first| {
            let left = self.blocks_count.saturating_sub(first.0);
            u32::try_from(left)
                .unwrap_or(u32::MAX)
                .min(self.blocks_per_group)
        })
    }

    /// Whether a group starts with a copy of the superblock and descriptors.
    pub fn group_has_super(&self, group: GroupNumber) -> bool {
        let number = group.0;
        if number == 0 {
            return true;
        }
        if self.has_compat(CompatFeatures::SPARSE_SUPER2) {
            return self.backup_groups.contains(&number);
        }
        if number == 1 || !self.has_ro_compat(RoCompatFeatures::SPARSE_SUPER) {
            return true;
        }
        number % 2 == 1 && [3, 5, 7].iter().any(|&base| is_power_of(number, base))
    }

    /// Group descriptors in one block.
    pub(crate) fn descriptors_per_block(&self) -> u32 {
        self.block_bytes / u32::from(self.descriptor_bytes)
    }

    /// Blocks the descriptors of all groups fill.
    pub fn descriptor_blocks(&self) -> u32 {
        self.group_count.div_ceil(self.descriptors_per_block())
    }
}

fn is_power_of(mut number: u32, base: u32) -> bool {
    while number > 1 && number.is_multiple_of(base) {
        number /= base;
    }
    number == 1
}

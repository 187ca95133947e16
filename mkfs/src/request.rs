//! What to make: every number a superblock states, before any block is placed.
//!
//! A [`Request`] is complete and free of contradictions; the module `options`
//! makes one from what a user asks for. Nothing here depends on the source tree.

use fs_core::{Features, FsBlock, Timestamp};
use uuid::Uuid;

/// Everything that decides the bytes of an empty file system, and how they
/// are brought to the device.
#[derive(Debug, Clone)]
pub struct Request {
    /// Shape and features.
    pub geometry: Geometry,
    /// Names, times, owners, seeds.
    pub identity: Identity,
    /// How to write.
    pub writing: Writing,
}

/// Shape and features. Fields that a feature brings are 0 without it.
#[derive(Debug, Clone)]
pub struct Geometry {
    /// 1024 to 65536, a power of two.
    pub block_bytes: u32,
    /// Blocks in the file system, the ones before the first group included.
    pub blocks: u64,
    /// First block of group 0: 1 with blocks of 1 KiB, else 0.
    pub first_data_block: u32,
    /// Blocks in every group but the last.
    pub blocks_per_group: u32,
    /// Inodes in every group.
    pub inodes_per_group: u32,
    /// Number of groups; the last may be short.
    pub groups: u32,
    /// 128 to the block size, a power of two.
    pub inode_bytes: u16,
    /// `s_first_ino`: 11.
    pub first_inode: u32,
    /// `s_min_extra_isize` and `s_want_extra_isize`: 32, or 0 in 128-byte inodes.
    pub extra_isize: u16,
    /// Feature bits as they will stand in the superblock.
    pub features: Features,
    /// 64 with the 64bit feature, else 32.
    pub descriptor_bytes: u16,
    /// Blocks kept behind each copy of the descriptors (resize_inode).
    pub reserved_gdt_blocks: u16,
    /// `s_first_meta_bg` (meta_bg).
    pub first_meta_bg: u32,
    /// log2 of the groups in a flex group (flex_bg), 0 for none.
    pub log_groups_per_flex: u8,
    /// All bitmaps and inode tables at the start of the volume (flex_bg).
    pub packed_meta_blocks: bool,
    /// Groups with the backups (sparse_super2); 0 for none.
    pub backup_groups: [u32; 2],
    /// Blocks only root (`Identity::reserved_uid`) may use.
    pub reserved_blocks: u64,
    /// The journal (has_journal).
    pub journal: Option<JournalGeometry>,
    /// Blocks of the orphan file (orphan_file).
    pub orphan_file_blocks: u32,
    /// `s_mmp_update_interval` in seconds (mmp).
    pub mmp_interval_seconds: u16,
    /// `s_raid_stride` in blocks.
    pub raid_stride: u16,
    /// `s_raid_stripe_width` in blocks.
    pub raid_stripe_width: u32,
    /// `s_rev_level`: 0 or 1.
    pub revision: u32,
    /// `s_creator_os`: 0 Linux, 1 Hurd, 2 Masix, 3 FreeBSD, 4 Lites.
    pub creator_os: u32,
    /// `s_default_mount_opts`.
    pub default_mount_options: u32,
    /// `s_errors`: 1 continue, 2 remount-ro, 3 panic.
    pub errors_behavior: u16,
    /// `s_max_mnt_count`: mounts between checks, -1 for never.
    pub max_mount_count: i16,
    /// `s_checkinterval` in seconds, 0 for never.
    pub check_interval_seconds: u32,
    /// `s_def_hash_version`: 0 legacy, 1 half MD4, 2 tea.
    pub hash_version: u8,
    /// `s_flags`: 1 signed, 2 unsigned directory hashes, 4 test file system.
    pub superblock_flags: u32,
    /// Blocks that are broken and belong to inode 1, sorted.
    pub bad_blocks: Vec<FsBlock>,
}

/// The journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalGeometry {
    /// Its length, superblock and fast-commit area included.
    pub blocks: u32,
    /// `s_num_fc_blks`: blocks at its end for fast commits.
    pub fast_commit_blocks: u32,
    /// First block near which it lies; near the middle if not given.
    pub location: Option<FsBlock>,
}

/// Names, times, owners, seeds.
#[derive(Debug, Clone)]
pub struct Identity {
    /// `s_uuid`.
    pub uuid: Uuid,
    /// `s_hash_seed`.
    pub hash_seed: Uuid,
    /// `s_volume_name`, at most 16 bytes.
    pub label: Vec<u8>,
    /// `s_last_mounted`, at most 64 bytes.
    pub last_mounted: Vec<u8>,
    /// When it is made: the superblock's and the new inodes' times.
    pub time: Timestamp,
    /// Owner of the root directory; `None` leaves it to the tree (0:0 if empty).
    pub root_owner: Option<(u32, u32)>,
    /// Permissions of the root directory; `None` leaves them to the tree (0755 if empty).
    pub root_permissions: Option<u16>,
}

/// How to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Writing {
    /// Discard the whole device first.
    pub discard: bool,
    /// The device is known to read as zeros: zeros need not be written.
    pub prezeroed: bool,
    /// Leave unused inode tables as they are, for the kernel to zero (uninit_bg or
    /// metadata_csum).
    pub lazy_itable_init: bool,
    /// Write only the journal's superblock.
    pub lazy_journal_init: bool,
    /// Threads that move content; at least 1.
    pub threads: usize,
}

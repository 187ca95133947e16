//! The superblock: 1024 bytes at byte 1024 of the device, with copies at the
//! start of some groups (ext4 on-disk layout, "Super Block").

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::error::{Error, ErrorKind, Result};
use crate::format::checksum::crc32c_raw;
use crate::format::features::{CompatFeatures, Features, IncompatFeatures, RoCompatFeatures};
use crate::types::{FsBlock, GroupNumber, InodeNumber};

/// Where the primary superblock starts, in bytes.
pub(crate) const PRIMARY_OFFSET_BYTES: u64 = 1024;
/// Its size, and the size of every copy.
pub(crate) const SIZE_BYTES: usize = 1024;
const MAGIC: u16 = 0xEF53;
/// `s_checksum_type`: the only one defined.
const CHECKSUM_CRC32C: u8 = 1;
/// `s_log_block_size` of 64 KiB blocks, the largest.
const LOG_BLOCK_SIZE_MAX: u32 = 6;
/// `s_log_cluster_size` of 512 MiB clusters, the largest Linux takes (2^29 bytes).
const LOG_CLUSTER_SIZE_MAX: u32 = 19;
/// `s_def_hash_version` of SipHash, the last one defined.
const HASH_VERSION_MAX: u8 = 6;
/// Inodes before the first free one in revision 0.
const GOOD_OLD_FIRST_INODE: u32 = 11;
const GOOD_OLD_INODE_BYTES: u16 = 128;

/// The superblock as it lies on disk, unchecked.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone)]
#[repr(C)]
pub(crate) struct RawSuperblock {
    pub(crate) s_inodes_count: U32,            // 0x000
    pub(crate) s_blocks_count_lo: U32,         // 0x004
    pub(crate) s_r_blocks_count_lo: U32,       // 0x008
    pub(crate) s_free_blocks_count_lo: U32,    // 0x00C
    pub(crate) s_free_inodes_count: U32,       // 0x010
    pub(crate) s_first_data_block: U32,        // 0x014
    pub(crate) s_log_block_size: U32,          // 0x018
    pub(crate) s_log_cluster_size: U32,        // 0x01C
    pub(crate) s_blocks_per_group: U32,        // 0x020
    pub(crate) s_clusters_per_group: U32,      // 0x024
    pub(crate) s_inodes_per_group: U32,        // 0x028
    pub(crate) s_mtime: U32,                   // 0x02C
    pub(crate) s_wtime: U32,                   // 0x030
    pub(crate) s_mnt_count: U16,               // 0x034
    pub(crate) s_max_mnt_count: U16,           // 0x036
    pub(crate) s_magic: U16,                   // 0x038
    pub(crate) s_state: U16,                   // 0x03A
    pub(crate) s_errors: U16,                  // 0x03C
    pub(crate) s_minor_rev_level: U16,         // 0x03E
    pub(crate) s_lastcheck: U32,               // 0x040
    pub(crate) s_checkinterval: U32,           // 0x044
    pub(crate) s_creator_os: U32,              // 0x048
    pub(crate) s_rev_level: U32,               // 0x04C
    pub(crate) s_def_resuid: U16,              // 0x050
    pub(crate) s_def_resgid: U16,              // 0x052
    pub(crate) s_first_ino: U32,               // 0x054
    pub(crate) s_inode_size: U16,              // 0x058
    pub(crate) s_block_group_nr: U16,          // 0x05A
    pub(crate) s_feature_compat: U32,          // 0x05C
    pub(crate) s_feature_incompat: U32,        // 0x060
    pub(crate) s_feature_ro_compat: U32,       // 0x064
    pub(crate) s_uuid: [u8; 16],               // 0x068
    pub(crate) s_volume_name: [u8; 16],        // 0x078
    pub(crate) s_last_mounted: [u8; 64],       // 0x088
    pub(crate) s_algorithm_usage_bitmap: U32,  // 0x0C8
    pub(crate) s_prealloc_blocks: u8,          // 0x0CC
    pub(crate) s_prealloc_dir_blocks: u8,      // 0x0CD
    pub(crate) s_reserved_gdt_blocks: U16,     // 0x0CE
    pub(crate) s_journal_uuid: [u8; 16],       // 0x0D0
    pub(crate) s_journal_inum: U32,            // 0x0E0
    pub(crate) s_journal_dev: U32,             // 0x0E4
    pub(crate) s_last_orphan: U32,             // 0x0E8
    pub(crate) s_hash_seed: [U32; 4],          // 0x0EC
    pub(crate) s_def_hash_version: u8,         // 0x0FC
    pub(crate) s_jnl_backup_type: u8,          // 0x0FD
    pub(crate) s_desc_size: U16,               // 0x0FE
    pub(crate) s_default_mount_opts: U32,      // 0x100
    pub(crate) s_first_meta_bg: U32,           // 0x104
    pub(crate) s_mkfs_time: U32,               // 0x108
    pub(crate) s_jnl_blocks: [U32; 17],        // 0x10C
    pub(crate) s_blocks_count_hi: U32,         // 0x150
    pub(crate) s_r_blocks_count_hi: U32,       // 0x154
    pub(crate) s_free_blocks_count_hi: U32,    // 0x158
    pub(crate) s_min_extra_isize: U16,         // 0x15C
    pub(crate) s_want_extra_isize: U16,        // 0x15E
    pub(crate) s_flags: U32,                   // 0x160
    pub(crate) s_raid_stride: U16,             // 0x164
    pub(crate) s_mmp_interval: U16,            // 0x166
    pub(crate) s_mmp_block: U64,               // 0x168
    pub(crate) s_raid_stripe_width: U32,       // 0x170
    pub(crate) s_log_groups_per_flex: u8,      // 0x174
    pub(crate) s_checksum_type: u8,            // 0x175
    pub(crate) s_encryption_level: u8,         // 0x176
    pub(crate) s_reserved_pad: u8,             // 0x177
    pub(crate) s_kbytes_written: U64,          // 0x178
    pub(crate) s_snapshot_inum: U32,           // 0x180
    pub(crate) s_snapshot_id: U32,             // 0x184
    pub(crate) s_snapshot_r_blocks_count: U64, // 0x188
    pub(crate) s_snapshot_list: U32,           // 0x190
    pub(crate) s_error_count: U32,             // 0x194
    pub(crate) s_first_error_time: U32,        // 0x198
    pub(crate) s_first_error_ino: U32,         // 0x19C
    pub(crate) s_first_error_block: U64,       // 0x1A0
    pub(crate) s_first_error_func: [u8; 32],   // 0x1A8
    pub(crate) s_first_error_line: U32,        // 0x1C8
    pub(crate) s_last_error_time: U32,         // 0x1CC
    pub(crate) s_last_error_ino: U32,          // 0x1D0
    pub(crate) s_last_error_line: U32,         // 0x1D4
    pub(crate) s_last_error_block: U64,        // 0x1D8
    pub(crate) s_last_error_func: [u8; 32],    // 0x1E0
    pub(crate) s_mount_opts: [u8; 64],         // 0x200
    pub(crate) s_usr_quota_inum: U32,          // 0x240
    pub(crate) s_grp_quota_inum: U32,          // 0x244
    pub(crate) s_overhead_clusters: U32,       // 0x248
    pub(crate) s_backup_bgs: [U32; 2],         // 0x24C
    pub(crate) s_encrypt_algos: [u8; 4],       // 0x254
    pub(crate) s_encrypt_pw_salt: [u8; 16],    // 0x258
    pub(crate) s_lpf_ino: U32,                 // 0x268
    pub(crate) s_prj_quota_inum: U32,          // 0x26C
    pub(crate) s_checksum_seed: U32,           // 0x270
    pub(crate) s_wtime_hi: u8,                 // 0x274
    pub(crate) s_mtime_hi: u8,                 // 0x275
    pub(crate) s_mkfs_time_hi: u8,             // 0x276
    pub(crate) s_lastcheck_hi: u8,             // 0x277
    pub(crate) s_first_error_time_hi: u8,      // 0x278
    pub(crate) s_last_error_time_hi: u8,       // 0x279
    pub(crate) s_first_error_errcode: u8,      // 0x27A
    pub(crate) s_last_error_errcode: u8,       // 0x27B
    pub(crate) s_encoding: U16,                // 0x27C
    pub(crate) s_encoding_flags: U16,          // 0x27E
    pub(crate) s_orphan_file_inum: U32,        // 0x280
    pub(crate) s_reserved: [U32; 94],          // 0x284
    pub(crate) s_checksum: U32,                // 0x3FC
}

const _: () = assert!(size_of::<RawSuperblock>() == SIZE_BYTES);
const CHECKSUM_OFFSET: usize = 0x3FC;

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

fn until_nul(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().take_while(|&b| b != 0).collect()
}

fn time(low: U32, high: u8) -> i64 {
    i64::from(low.get()) | i64::from(high) << 32
}

fn wide(low: U32, high: U32) -> u64 {
    u64::from(low.get()) | u64::from(high.get()) << 32
}

impl RawSuperblock {
    /// True if the magic number is there at all.
    pub(crate) fn has_magic(&self) -> bool {
        self.s_magic.get() == MAGIC
    }

    fn features(&self) -> Features {
        Features {
            compat: CompatFeatures::from_bits_retain(self.s_feature_compat.get()),
            incompat: IncompatFeatures::from_bits_retain(self.s_feature_incompat.get()),
            ro_compat: RoCompatFeatures::from_bits_retain(self.s_feature_ro_compat.get()),
        }
    }

    fn has_bit64(&self) -> bool {
        self.features().incompat.contains(IncompatFeatures::BIT64)
    }

    fn high(&self, field: U32) -> U32 {
        if self.has_bit64() { field } else { U32::ZERO }
    }

    fn blocks_count(&self) -> u64 {
        wide(self.s_blocks_count_lo, self.high(self.s_blocks_count_hi))
    }

    /// The checksum this superblock ought to carry.
    pub(crate) fn computed_checksum(&self) -> u32 {
        let bytes = self.as_bytes();
        crc32c_raw(!0, bytes.get(..CHECKSUM_OFFSET).unwrap_or(bytes))
    }

    /// Checks everything and gives the typed form.
    ///
    /// # Errors
    /// `NotExt4` without the magic number, `Unsupported` for a refused feature,
    /// `Corrupt` for every field out of range.
    pub(crate) fn validate(&self, device_size_bytes: u64) -> Result<Superblock> {
        if !self.has_magic() {
            return Err(Error::from(ErrorKind::NotExt4 {
                found: format!(
                    "the magic number is {:#06x}, not {MAGIC:#06x}",
                    self.s_magic.get()
                ),
            }));
        }
        let features = self.features();
        if self.s_rev_level.get() > 1 {
            return Err(ErrorKind::Unsupported(format!("revision {}", self.s_rev_level)).into());
        }
        self.check_checksum(&features)?;
        features.check_readable()?;
        self.check_sizes(&features)?;
        self.check_groups(device_size_bytes)?;
        self.check_numbers()?;
        Ok(self.to_typed(features))
    }

    fn check_checksum(&self, features: &Features) -> Result<()> {
        if !features.ro_compat.contains(RoCompatFeatures::METADATA_CSUM) {
            return Ok(());
        }
        if self.s_checksum_type != CHECKSUM_CRC32C {
            return Err(Error::corrupt(
                "superblock field s_checksum_type",
                None,
                CHECKSUM_CRC32C,
                self.s_checksum_type,
            ));
        }
        let computed = self.computed_checksum();
        if computed != self.s_checksum.get() {
            return Err(Error::bad_checksum(
                "superblock",
                None,
                computed,
                self.s_checksum.get(),
            ));
        }
        Ok(())
    }

    fn check_sizes(&self, features: &Features) -> Result<()> {
        let log_block = self.s_log_block_size.get();
        require(
            "s_log_block_size",
            log_block <= LOG_BLOCK_SIZE_MAX,
            "at most 6",
            log_block,
        )?;
        let log_cluster = self.s_log_cluster_size.get();
        if features.ro_compat.contains(RoCompatFeatures::BIGALLOC) {
            require(
                "s_log_cluster_size",
                (log_block..=LOG_CLUSTER_SIZE_MAX).contains(&log_cluster),
                format_args!("{log_block} to {LOG_CLUSTER_SIZE_MAX}"),
                log_cluster,
            )?;
        } else {
            // A cluster is a block, as a fragment was in ext2.
            require(
                "s_log_cluster_size",
                log_cluster == log_block,
                log_block,
                log_cluster,
            )?;
            let (blocks, clusters) = (self.s_blocks_per_group, self.s_clusters_per_group);
            require("s_clusters_per_group", clusters == blocks, blocks, clusters)?;
        }
        let block_bytes = 1024u32 << log_block;
        let inode_bytes = u32::from(self.inode_bytes());
        require(
            "s_inode_size",
            inode_bytes.is_power_of_two() && (128..=block_bytes).contains(&inode_bytes),
            format_args!("a power of two from 128 to {block_bytes}"),
            inode_bytes,
        )?;
        let descriptor_bytes = self.s_desc_size.get();
        if self.has_bit64() {
            require(
                "s_desc_size",
                descriptor_bytes.is_power_of_two() && (64..=1024).contains(&descriptor_bytes),
                "a power of two from 64 to 1024",
                descriptor_bytes,
            )?;
        }
        let first = self.s_first_data_block.get();
        let first_expected = u32::from(block_bytes == 1024 && log_cluster <= log_block);
        require(
            "s_first_data_block",
            first == first_expected,
            first_expected,
            first,
        )
    }

    fn check_groups(&self, device_size_bytes: u64) -> Result<()> {
        let block_bits = (1024u32 << self.s_log_block_size.get()) * 8;
        let clusters = self.clusters_per_group();
        require(
            "s_clusters_per_group",
            (1..=block_bits).contains(&clusters),
            format_args!("1 to {block_bits}"),
            clusters,
        )?;
        let per_group = self.s_blocks_per_group.get();
        let per_group_expected = u64::from(clusters) << self.cluster_shift();
        require(
            "s_blocks_per_group",
            u64::from(per_group) == per_group_expected && per_group.is_multiple_of(8),
            format_args!("{per_group_expected}, a multiple of 8"),
            per_group,
        )?;
        let inodes = self.s_inodes_per_group.get();
        let inodes_per_block = (block_bits / 8) / u32::from(self.inode_bytes());
        require(
            "s_inodes_per_group",
            (inodes_per_block..=block_bits).contains(&inodes)
                && inodes.is_multiple_of(inodes_per_block),
            format_args!("{inodes_per_block} to {block_bits}, a multiple of {inodes_per_block}"),
            inodes,
        )?;
        let blocks = self.blocks_count();
        let first = u64::from(self.s_first_data_block.get());
        require(
            "s_blocks_count",
            blocks > first,
            format_args!("more than {first}"),
            blocks,
        )?;
        let size = u128::from(blocks) * u128::from(block_bits / 8);
        if size > u128::from(device_size_bytes) {
            return Err(Error::corrupt(
                "superblock field s_blocks_count",
                None,
                format_args!("a file system within the device's {device_size_bytes} bytes"),
                format_args!("{blocks} blocks, {size} bytes (a truncated image?)"),
            ));
        }
        let groups = self.group_count();
        if self.features().incompat.contains(IncompatFeatures::META_BG) {
            let descriptor_bytes = if self.has_bit64() {
                self.s_desc_size.get()
            } else {
                32
            };
            let per_block = u64::from(block_bits / 8) / u64::from(descriptor_bytes);
            let descriptor_blocks = groups.div_ceil(per_block);
            let first = self.s_first_meta_bg.get();
            require(
                "s_first_meta_bg",
                u64::from(first) <= descriptor_blocks,
                format_args!("at most {descriptor_blocks}"),
                first,
            )?;
        }
        let inodes_expected = groups.checked_mul(u64::from(inodes));
        require(
            "s_inodes_count",
            inodes_expected == Some(u64::from(self.s_inodes_count.get())),
            format_args!("{groups} groups of {inodes}"),
            self.s_inodes_count,
        )
    }

    fn check_numbers(&self) -> Result<()> {
        let inodes = self.s_inodes_count.get();
        let within = |field: &'static str, value: U32| {
            require(
                field,
                value.get() <= inodes,
                format_args!("an inode number up to {inodes}"),
                value,
            )
        };
        within("s_journal_inum", self.s_journal_inum)?;
        within("s_orphan_file_inum", self.s_orphan_file_inum)?;
        within("s_usr_quota_inum", self.s_usr_quota_inum)?;
        within("s_grp_quota_inum", self.s_grp_quota_inum)?;
        within("s_prj_quota_inum", self.s_prj_quota_inum)?;
        let first = self.first_inode();
        require(
            "s_first_ino",
            (GOOD_OLD_FIRST_INODE..=inodes.max(GOOD_OLD_FIRST_INODE)).contains(&first),
            format_args!("{GOOD_OLD_FIRST_INODE} to {inodes}"),
            first,
        )?;
        let journal = self.s_journal_inum.get();
        require(
            "s_journal_inum",
            journal == 0 || journal == InodeNumber::JOURNAL.0 || journal >= first,
            format_args!("0, {} or {first} and more", InodeNumber::JOURNAL),
            journal,
        )?;
        let extra_max = self.inode_bytes().saturating_sub(128);
        for (field, value) in [
            ("s_min_extra_isize", self.s_min_extra_isize),
            ("s_want_extra_isize", self.s_want_extra_isize),
        ] {
            require(
                field,
                value.get() <= extra_max,
                format_args!("at most {extra_max}"),
                value,
            )?;
        }
        let hash = self.s_def_hash_version;
        require(
            "s_def_hash_version",
            hash <= HASH_VERSION_MAX,
            format_args!("at most {HASH_VERSION_MAX}"),
            hash,
        )?;
        let flex = self.s_log_groups_per_flex;
        require("s_log_groups_per_flex", flex < 32, "less than 32", flex)?;
        // The GDT's growth is reserved within one block of the resize inode.
        let gdt_max = (1024u32 << self.s_log_block_size.get()) / 4;
        let gdt = u32::from(self.s_reserved_gdt_blocks.get());
        require(
            "s_reserved_gdt_blocks",
            gdt <= gdt_max,
            format_args!("at most {gdt_max}"),
            gdt,
        )
    }

    fn inode_bytes(&self) -> u16 {
        match self.s_rev_level.get() {
            0 => GOOD_OLD_INODE_BYTES,
            _ => self.s_inode_size.get(),
        }
    }

    fn first_inode(&self) -> u32 {
        match self.s_rev_level.get() {
            0 => GOOD_OLD_FIRST_INODE,
            _ => self.s_first_ino.get(),
        }
    }

    /// log2 of the blocks in a cluster; 0 without bigalloc.
    fn cluster_shift(&self) -> u32 {
        if self
            .features()
            .ro_compat
            .contains(RoCompatFeatures::BIGALLOC)
        {
            self.s_log_cluster_size
                .get()
                .saturating_sub(self.s_log_block_size.get())
        } else {
            0
        }
    }

    fn clusters_per_group(&self) -> u32 {
        if self
            .features()
            .ro_compat
            .contains(RoCompatFeatures::BIGALLOC)
        {
            self.s_clusters_per_group.get()
        } else {
            self.s_blocks_per_group.get()
        }
    }

    /// Number of groups the counts imply; the last may be short.
    fn group_count(&self) -> u64 {
        let first = u64::from(self.s_first_data_block.get());
        self.blocks_count()
            .saturating_sub(first)
            .div_ceil(u64::from(self.s_blocks_per_group.get().max(1)))
    }

    fn seed(&self, features: &Features) -> u32 {
        if features.incompat.contains(IncompatFeatures::CSUM_SEED) {
            self.s_checksum_seed.get()
        } else {
            crc32c_raw(!0, &self.s_uuid)
        }
    }

    fn to_typed(&self, features: Features) -> Superblock {
        let block_bytes = 1024u32 << self.s_log_block_size.get();
        let inode_bytes = self.inode_bytes();
        let inodes_per_block = block_bytes / u32::from(inode_bytes);
        Superblock {
            revision: self.s_rev_level.get(),
            minor_revision: self.s_minor_rev_level.get(),
            creator_os: self.s_creator_os.get(),
            label: until_nul(&self.s_volume_name),
            last_mounted: until_nul(&self.s_last_mounted),
            uuid: uuid::Uuid::from_bytes(self.s_uuid),
            features,
            flags: self.s_flags.get(),
            default_mount_options: self.s_default_mount_opts.get(),
            mount_opts: until_nul(&self.s_mount_opts),
            state: self.s_state.get(),
            errors_behavior: self.s_errors.get(),
            inodes_count: self.s_inodes_count.get(),
            blocks_count: self.blocks_count(),
            reserved_blocks: wide(
                self.s_r_blocks_count_lo,
                self.high(self.s_r_blocks_count_hi),
            ),
            overhead_clusters: self.s_overhead_clusters.get(),
            free_blocks: wide(
                self.s_free_blocks_count_lo,
                self.high(self.s_free_blocks_count_hi),
            ),
            free_inodes: self.s_free_inodes_count.get(),
            first_data_block: self.s_first_data_block.get(),
            block_bytes,
            cluster_bytes: block_bytes << self.cluster_shift(),
            blocks_per_group: self.s_blocks_per_group.get(),
            clusters_per_group: self.clusters_per_group(),
            inodes_per_group: self.s_inodes_per_group.get(),
            inode_blocks_per_group: self.s_inodes_per_group.get() / inodes_per_block,
            reserved_gdt_blocks: self.s_reserved_gdt_blocks.get(),
            descriptor_bytes: if self.has_bit64() {
                self.s_desc_size.get()
            } else {
                32
            },
            first_meta_bg: self.s_first_meta_bg.get(),
            log_groups_per_flex: self.s_log_groups_per_flex,
            created_at: time(self.s_mkfs_time, self.s_mkfs_time_hi),
            mounted_at: time(self.s_mtime, self.s_mtime_hi),
            written_at: time(self.s_wtime, self.s_wtime_hi),
            checked_at: time(self.s_lastcheck, self.s_lastcheck_hi),
            mount_count: self.s_mnt_count.get(),
            max_mount_count: self.s_max_mnt_count.get().cast_signed(),
            check_interval: self.s_checkinterval.get(),
            lifetime_kib_written: self.s_kbytes_written.get(),
            default_reserved_uid: self.s_def_resuid.get(),
            default_reserved_gid: self.s_def_resgid.get(),
            first_inode: self.first_inode(),
            inode_bytes,
            min_extra_isize: self.s_min_extra_isize.get(),
            want_extra_isize: self.s_want_extra_isize.get(),
            journal_inode: self.s_journal_inum.get(),
            journal_device: self.s_journal_dev.get(),
            journal_uuid: self.s_journal_uuid,
            journal_backup: self.s_jnl_blocks.map(U32::get),
            journal_backup_type: self.s_jnl_backup_type,
            first_orphan: self.s_last_orphan.get(),
            orphan_file_inode: self.s_orphan_file_inum.get(),
            hash_seed: self.s_hash_seed.map(U32::get),
            default_hash_version: self.s_def_hash_version,
            raid_stride: self.s_raid_stride.get(),
            raid_stripe_width: self.s_raid_stripe_width.get(),
            mmp_block: self.s_mmp_block.get(),
            mmp_interval: self.s_mmp_interval.get(),
            checksum_type: self.s_checksum_type,
            checksum: self.s_checksum.get(),
            checksum_seed: self.seed(&features),
            error_count: self.s_error_count.get(),
            first_error: self.first_error(),
            last_error: self.last_error(),
            encoding: self.s_encoding.get(),
            encoding_flags: self.s_encoding_flags.get(),
            encryption_level: self.s_encryption_level,
            backup_groups: self.s_backup_bgs.map(U32::get),
            lost_and_found_inode: self.s_lpf_ino.get(),
            user_quota_inode: self.s_usr_quota_inum.get(),
            group_quota_inode: self.s_grp_quota_inum.get(),
            project_quota_inode: self.s_prj_quota_inum.get(),
            block_group: self.s_block_group_nr.get(),
            // check_groups bounds the count by s_inodes_count, a u32.
            group_count: u32::try_from(self.group_count()).unwrap_or(u32::MAX),
        }
    }

    fn first_error(&self) -> ErrorRecord {
        ErrorRecord {
            time: time(self.s_first_error_time, self.s_first_error_time_hi),
            line: self.s_first_error_line.get(),
            inode: self.s_first_error_ino.get(),
            block: self.s_first_error_block.get(),
            function: until_nul(&self.s_first_error_func),
            error_code: self.s_first_error_errcode,
        }
    }

    fn last_error(&self) -> ErrorRecord {
        ErrorRecord {
            time: time(self.s_last_error_time, self.s_last_error_time_hi),
            line: self.s_last_error_line.get(),
            inode: self.s_last_error_ino.get(),
            block: self.s_last_error_block.get(),
            function: until_nul(&self.s_last_error_func),
            error_code: self.s_last_error_errcode,
        }
    }
}

fn require(
    field: &'static str,
    holds: bool,
    expected: impl std::fmt::Display,
    found: impl std::fmt::Display,
) -> Result<()> {
    if holds {
        Ok(())
    } else {
        Err(Error::corrupt(
            format!("superblock field {field}"),
            None,
            expected,
            found,
        ))
    }
}

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

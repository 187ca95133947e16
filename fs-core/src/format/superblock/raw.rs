//! The superblock as it lies on disk, and the plain meaning of its fields.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::format::checksum::crc32c_raw;
use crate::format::features::{CompatFeatures, Features, IncompatFeatures, RoCompatFeatures};
use crate::format::superblock::SIZE_BYTES;

/// `s_magic`.
pub(super) const MAGIC: u16 = 0xEF53;
/// `s_checksum_type`: the only one defined.
pub(super) const CHECKSUM_CRC32C: u8 = 1;
/// Inodes before the first free one in revision 0.
pub(super) const GOOD_OLD_FIRST_INODE: u32 = 11;
const GOOD_OLD_INODE_BYTES: u16 = 128;

/// The superblock as it lies on disk, unchecked. The fields are the format's own.
#[allow(missing_docs)]
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone)]
#[repr(C)]
pub struct RawSuperblock {
    pub s_inodes_count: U32,            // 0x000
    pub s_blocks_count_lo: U32,         // 0x004
    pub s_r_blocks_count_lo: U32,       // 0x008
    pub s_free_blocks_count_lo: U32,    // 0x00C
    pub s_free_inodes_count: U32,       // 0x010
    pub s_first_data_block: U32,        // 0x014
    pub s_log_block_size: U32,          // 0x018
    pub s_log_cluster_size: U32,        // 0x01C
    pub s_blocks_per_group: U32,        // 0x020
    pub s_clusters_per_group: U32,      // 0x024
    pub s_inodes_per_group: U32,        // 0x028
    pub s_mtime: U32,                   // 0x02C
    pub s_wtime: U32,                   // 0x030
    pub s_mnt_count: U16,               // 0x034
    pub s_max_mnt_count: U16,           // 0x036
    pub s_magic: U16,                   // 0x038
    pub s_state: U16,                   // 0x03A
    pub s_errors: U16,                  // 0x03C
    pub s_minor_rev_level: U16,         // 0x03E
    pub s_lastcheck: U32,               // 0x040
    pub s_checkinterval: U32,           // 0x044
    pub s_creator_os: U32,              // 0x048
    pub s_rev_level: U32,               // 0x04C
    pub s_def_resuid: U16,              // 0x050
    pub s_def_resgid: U16,              // 0x052
    pub s_first_ino: U32,               // 0x054
    pub s_inode_size: U16,              // 0x058
    pub s_block_group_nr: U16,          // 0x05A
    pub s_feature_compat: U32,          // 0x05C
    pub s_feature_incompat: U32,        // 0x060
    pub s_feature_ro_compat: U32,       // 0x064
    pub s_uuid: [u8; 16],               // 0x068
    pub s_volume_name: [u8; 16],        // 0x078
    pub s_last_mounted: [u8; 64],       // 0x088
    pub s_algorithm_usage_bitmap: U32,  // 0x0C8
    pub s_prealloc_blocks: u8,          // 0x0CC
    pub s_prealloc_dir_blocks: u8,      // 0x0CD
    pub s_reserved_gdt_blocks: U16,     // 0x0CE
    pub s_journal_uuid: [u8; 16],       // 0x0D0
    pub s_journal_inum: U32,            // 0x0E0
    pub s_journal_dev: U32,             // 0x0E4
    pub s_last_orphan: U32,             // 0x0E8
    pub s_hash_seed: [U32; 4],          // 0x0EC
    pub s_def_hash_version: u8,         // 0x0FC
    pub s_jnl_backup_type: u8,          // 0x0FD
    pub s_desc_size: U16,               // 0x0FE
    pub s_default_mount_opts: U32,      // 0x100
    pub s_first_meta_bg: U32,           // 0x104
    pub s_mkfs_time: U32,               // 0x108
    pub s_jnl_blocks: [U32; 17],        // 0x10C
    pub s_blocks_count_hi: U32,         // 0x150
    pub s_r_blocks_count_hi: U32,       // 0x154
    pub s_free_blocks_count_hi: U32,    // 0x158
    pub s_min_extra_isize: U16,         // 0x15C
    pub s_want_extra_isize: U16,        // 0x15E
    pub s_flags: U32,                   // 0x160
    pub s_raid_stride: U16,             // 0x164
    pub s_mmp_interval: U16,            // 0x166
    pub s_mmp_block: U64,               // 0x168
    pub s_raid_stripe_width: U32,       // 0x170
    pub s_log_groups_per_flex: u8,      // 0x174
    pub s_checksum_type: u8,            // 0x175
    pub s_encryption_level: u8,         // 0x176
    pub s_reserved_pad: u8,             // 0x177
    pub s_kbytes_written: U64,          // 0x178
    pub s_snapshot_inum: U32,           // 0x180
    pub s_snapshot_id: U32,             // 0x184
    pub s_snapshot_r_blocks_count: U64, // 0x188
    pub s_snapshot_list: U32,           // 0x190
    pub s_error_count: U32,             // 0x194
    pub s_first_error_time: U32,        // 0x198
    pub s_first_error_ino: U32,         // 0x19C
    pub s_first_error_block: U64,       // 0x1A0
    pub s_first_error_func: [u8; 32],   // 0x1A8
    pub s_first_error_line: U32,        // 0x1C8
    pub s_last_error_time: U32,         // 0x1CC
    pub s_last_error_ino: U32,          // 0x1D0
    pub s_last_error_line: U32,         // 0x1D4
    pub s_last_error_block: U64,        // 0x1D8
    pub s_last_error_func: [u8; 32],    // 0x1E0
    pub s_mount_opts: [u8; 64],         // 0x200
    pub s_usr_quota_inum: U32,          // 0x240
    pub s_grp_quota_inum: U32,          // 0x244
    pub s_overhead_clusters: U32,       // 0x248
    pub s_backup_bgs: [U32; 2],         // 0x24C
    pub s_encrypt_algos: [u8; 4],       // 0x254
    pub s_encrypt_pw_salt: [u8; 16],    // 0x258
    pub s_lpf_ino: U32,                 // 0x268
    pub s_prj_quota_inum: U32,          // 0x26C
    pub s_checksum_seed: U32,           // 0x270
    pub s_wtime_hi: u8,                 // 0x274
    pub s_mtime_hi: u8,                 // 0x275
    pub s_mkfs_time_hi: u8,             // 0x276
    pub s_lastcheck_hi: u8,             // 0x277
    pub s_first_error_time_hi: u8,      // 0x278
    pub s_last_error_time_hi: u8,       // 0x279
    pub s_first_error_errcode: u8,      // 0x27A
    pub s_last_error_errcode: u8,       // 0x27B
    pub s_encoding: U16,                // 0x27C
    pub s_encoding_flags: U16,          // 0x27E
    pub s_orphan_file_inum: U32,        // 0x280
    pub s_reserved: [U32; 94],          // 0x284
    pub s_checksum: U32,                // 0x3FC
}

const _: () = assert!(size_of::<RawSuperblock>() == SIZE_BYTES);
const CHECKSUM_OFFSET: usize = 0x3FC;

pub(super) fn wide(low: U32, high: U32) -> u64 {
    u64::from(low.get()) | u64::from(high.get()) << 32
}

impl RawSuperblock {
    /// A superblock with its magic number and nothing else.
    pub fn empty() -> Self {
        let mut raw = Self::new_zeroed();
        raw.s_magic = MAGIC.into();
        raw
    }

    /// The superblock in the first 1024 bytes of `bytes`, if there are so many.
    pub fn from_prefix(bytes: &[u8]) -> Option<Self> {
        Self::read_from_prefix(bytes).ok().map(|(raw, _)| raw)
    }

    /// The 1024 bytes as they lie on disk.
    pub fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }

    /// Sets what is computed from the other fields: the checksum and its type under
    /// metadata_csum, the seed under csum_seed. Comes after every change.
    pub fn seal(&mut self) {
        let features = self.features();
        if features.incompat.contains(IncompatFeatures::CSUM_SEED) {
            self.s_checksum_seed = crc32c_raw(!0, &self.s_uuid).into();
        }
        if features.ro_compat.contains(RoCompatFeatures::METADATA_CSUM) {
            self.s_checksum_type = CHECKSUM_CRC32C;
            self.seal_checksum();
        }
    }

    /// Sets the checksum alone, where there is one: the superblock of a volume in use,
    /// whose seed may be older than its UUID.
    pub fn seal_checksum(&mut self) {
        if self
            .features()
            .ro_compat
            .contains(RoCompatFeatures::METADATA_CSUM)
        {
            self.s_checksum = self.computed_checksum().into();
        }
    }

    /// True if the magic number is there at all.
    pub fn has_magic(&self) -> bool {
        self.s_magic.get() == MAGIC
    }

    pub(super) fn features(&self) -> Features {
        Features {
            compat: CompatFeatures::from_bits_retain(self.s_feature_compat.get()),
            incompat: IncompatFeatures::from_bits_retain(self.s_feature_incompat.get()),
            ro_compat: RoCompatFeatures::from_bits_retain(self.s_feature_ro_compat.get()),
        }
    }

    pub(super) fn has_bit64(&self) -> bool {
        self.features().incompat.contains(IncompatFeatures::BIT64)
    }

    pub(super) fn high(&self, field: U32) -> U32 {
        if self.has_bit64() { field } else { U32::ZERO }
    }

    pub(super) fn blocks_count(&self) -> u64 {
        wide(self.s_blocks_count_lo, self.high(self.s_blocks_count_hi))
    }

    /// The checksum this superblock ought to carry.
    pub fn computed_checksum(&self) -> u32 {
        let bytes = self.as_bytes();
        crc32c_raw(!0, bytes.get(..CHECKSUM_OFFSET).unwrap_or(bytes))
    }

    pub(super) fn inode_bytes(&self) -> u16 {
        match self.s_rev_level.get() {
            0 => GOOD_OLD_INODE_BYTES,
            _ => self.s_inode_size.get(),
        }
    }

    pub(super) fn first_inode(&self) -> u32 {
        match self.s_rev_level.get() {
            0 => GOOD_OLD_FIRST_INODE,
            _ => self.s_first_ino.get(),
        }
    }

    /// log2 of the blocks in a cluster; 0 without bigalloc.
    pub(super) fn cluster_shift(&self) -> u32 {
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

    pub(super) fn clusters_per_group(&self) -> u32 {
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
    pub(super) fn group_count(&self) -> u64 {
        let first = u64::from(self.s_first_data_block.get());
        self.blocks_count()
            .saturating_sub(first)
            .div_ceil(u64::from(self.s_blocks_per_group.get().max(1)))
    }

    pub(super) fn seed(&self, features: &Features) -> u32 {
        if features.incompat.contains(IncompatFeatures::CSUM_SEED) {
            self.s_checksum_seed.get()
        } else {
            crc32c_raw(!0, &self.s_uuid)
        }
    }
}

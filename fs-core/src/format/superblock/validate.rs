//! What every field of a superblock may say.

use zerocopy::little_endian::U32;

use super::Superblock;
use super::raw::{CHECKSUM_CRC32C, GOOD_OLD_FIRST_INODE, MAGIC, RawSuperblock};
use crate::error::{Error, ErrorKind, Result};
use crate::format::features::{Features, IncompatFeatures, RoCompatFeatures};
use crate::types::InodeNumber;

/// `s_log_block_size` of 64 KiB blocks, the largest.
const LOG_BLOCK_SIZE_MAX: u32 = 6;
/// `s_log_cluster_size` of 512 MiB clusters, the largest Linux takes (2^29 bytes).
const LOG_CLUSTER_SIZE_MAX: u32 = 19;
/// `s_def_hash_version` of SipHash, the last one defined.
const HASH_VERSION_MAX: u8 = 6;

impl RawSuperblock {
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
        Error::check_checksum("superblock", None, computed, self.s_checksum.get())?;
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

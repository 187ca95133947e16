//! From the checked fields to the typed superblock.

use zerocopy::little_endian::U32;

use super::raw::{RawSuperblock, wide};
use super::{ErrorRecord, Superblock};
use crate::format::features::Features;

fn until_nul(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().take_while(|&b| b != 0).collect()
}

fn time(low: U32, high: u8) -> i64 {
    i64::from(low.get()) | i64::from(high) << 32
}

impl RawSuperblock {
    /// The typed form; for fields that [`validate`](Self::validate) has accepted.
    pub(super) fn to_typed(&self, features: Features) -> Superblock {
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

//! The superblock of a request, as it lies on disk.
//!
//! Composed twice: without counts, to be checked and typed before anything is
//! placed; and with them, to be written.

use fs_core::encode::RawSuperblock;
use fs_core::{CompatFeatures, IncompatFeatures, InodeNumber, RoCompatFeatures};

use crate::request::{Geometry, Identity, Request};

/// What is only known when everything has been placed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts {
    pub(crate) free_blocks: u64,
    pub(crate) free_inodes: u32,
    /// `s_overhead_clusters`: blocks that never hold files, the journal included.
    pub(crate) overhead_blocks: u64,
    /// `s_jnl_blocks`: the journal's `i_block`, then its size, high half first.
    pub(crate) journal_backup: Option<[u32; 17]>,
    /// Block of multiple mount protection, 0 for none.
    pub(crate) mmp_block: u64,
    /// `s_orphan_file_inum`, 0 for none.
    pub(crate) orphan_file_inode: u32,
    /// `s_kbytes_written`: what is charged to making the file system.
    pub(crate) kib_written: u64,
}

/// `s_state` of a file system that was unmounted cleanly.
const STATE_CLEAN: u16 = 1;
/// `s_jnl_backup_type`: `s_jnl_blocks` holds `i_block` and the size.
const JOURNAL_BACKUP_BLOCKS: u8 = 1;
/// Files of this size and more need large_file.
const LARGE_FILE_BYTES_MIN: u64 = 1 << 31;

/// The superblock; `seal` must follow the last change.
pub(crate) fn compose(request: &Request, counts: &Counts) -> RawSuperblock {
    let mut raw = RawSuperblock::empty();
    set_geometry(&mut raw, &request.geometry);
    set_policy(&mut raw, &request.geometry);
    set_identity(&mut raw, &request.identity, &request.geometry);
    set_counts(&mut raw, counts);
    raw.seal();
    raw
}

/// The bytes of a file that has all double indirect blocks and no more.
pub(crate) fn resize_inode_bytes(block_bytes: u32) -> u64 {
    let per_block = u64::from(block_bytes / 4);
    (per_block * per_block + per_block + 12) * u64::from(block_bytes)
}

fn set_geometry(raw: &mut RawSuperblock, geometry: &Geometry) {
    let log_block_size = geometry.block_bytes.trailing_zeros().saturating_sub(10);
    let [blocks_lo, blocks_hi] = halves(geometry.blocks);
    let [reserved_lo, reserved_hi] = halves(geometry.reserved_blocks);
    raw.s_inodes_count = (geometry.inodes_per_group.saturating_mul(geometry.groups)).into();
    raw.s_blocks_count_lo = blocks_lo.into();
    raw.s_blocks_count_hi = blocks_hi.into();
    raw.s_r_blocks_count_lo = reserved_lo.into();
    raw.s_r_blocks_count_hi = reserved_hi.into();
    raw.s_first_data_block = geometry.first_data_block.into();
    raw.s_log_block_size = log_block_size.into();
    raw.s_log_cluster_size = log_block_size.into();
    raw.s_blocks_per_group = geometry.blocks_per_group.into();
    raw.s_clusters_per_group = geometry.blocks_per_group.into();
    raw.s_inodes_per_group = geometry.inodes_per_group.into();
    raw.s_first_ino = geometry.first_inode.into();
    raw.s_inode_size = geometry.inode_bytes.into();
    raw.s_min_extra_isize = geometry.extra_isize.into();
    raw.s_want_extra_isize = geometry.extra_isize.into();
    raw.s_feature_compat = geometry.features.compat.bits().into();
    raw.s_feature_incompat = geometry.features.incompat.bits().into();
    raw.s_feature_ro_compat = ro_compat(geometry).bits().into();
    if geometry.features.incompat.contains(IncompatFeatures::BIT64) {
        raw.s_desc_size = geometry.descriptor_bytes.into();
    }
    raw.s_reserved_gdt_blocks = geometry.reserved_gdt_blocks.into();
    raw.s_first_meta_bg = geometry.first_meta_bg.into();
    raw.s_log_groups_per_flex = geometry.log_groups_per_flex;
    raw.s_backup_bgs = geometry.backup_groups.map(Into::into);
    raw.s_raid_stride = geometry.raid_stride.into();
    raw.s_raid_stripe_width = geometry.raid_stripe_width.into();
}

/// The read-only-compatible features, with large_file if our own files need it.
fn ro_compat(geometry: &Geometry) -> RoCompatFeatures {
    let mut features = geometry.features.ro_compat;
    let block_bytes = u64::from(geometry.block_bytes);
    let journal_blocks = geometry.journal.map_or(0, |journal| journal.blocks);
    let has_resize_inode = geometry
        .features
        .compat
        .contains(CompatFeatures::RESIZE_INODE);
    if u64::from(journal_blocks) * block_bytes >= LARGE_FILE_BYTES_MIN
        || has_resize_inode && resize_inode_bytes(geometry.block_bytes) >= LARGE_FILE_BYTES_MIN
    {
        features |= RoCompatFeatures::LARGE_FILE;
    }
    features
}

fn set_policy(raw: &mut RawSuperblock, geometry: &Geometry) {
    raw.s_state = STATE_CLEAN.into();
    raw.s_errors = geometry.errors_behavior.into();
    raw.s_max_mnt_count = geometry.max_mount_count.cast_unsigned().into();
    raw.s_checkinterval = geometry.check_interval_seconds.into();
    raw.s_creator_os = geometry.creator_os.into();
    raw.s_rev_level = geometry.revision.into();
    raw.s_default_mount_opts = geometry.default_mount_options.into();
    raw.s_def_hash_version = geometry.hash_version;
    raw.s_flags = geometry.superblock_flags.into();
    raw.s_mmp_interval = geometry.mmp_interval_seconds.into();
    if geometry.journal.is_some() {
        raw.s_journal_inum = InodeNumber::JOURNAL.0.into();
        raw.s_jnl_backup_type = JOURNAL_BACKUP_BLOCKS;
    }
}

fn set_identity(raw: &mut RawSuperblock, identity: &Identity, geometry: &Geometry) {
    // 40 bits of unsigned seconds; the high 8 count only where extra times do.
    let seconds = u64::try_from(identity.time.seconds).unwrap_or(0);
    let [low, high] = halves(seconds);
    let [high, ..] = if geometry.inode_bytes > 128 { high } else { 0 }.to_le_bytes();
    raw.s_mkfs_time = low.into();
    raw.s_wtime = low.into();
    raw.s_lastcheck = low.into();
    raw.s_mkfs_time_hi = high;
    raw.s_wtime_hi = high;
    raw.s_lastcheck_hi = high;
    raw.s_uuid = *identity.uuid.as_bytes();
    copy(&mut raw.s_volume_name, &identity.label);
    copy(&mut raw.s_last_mounted, &identity.last_mounted);
    let (words, _) = identity.hash_seed.as_bytes().as_chunks::<4>();
    for (to, from) in raw.s_hash_seed.iter_mut().zip(words) {
        *to = u32::from_le_bytes(*from).into();
    }
}

fn set_counts(raw: &mut RawSuperblock, counts: &Counts) {
    let [free_lo, free_hi] = halves(counts.free_blocks);
    raw.s_free_blocks_count_lo = free_lo.into();
    raw.s_free_blocks_count_hi = free_hi.into();
    raw.s_free_inodes_count = counts.free_inodes.into();
    // The kernel counts itself what does not fit.
    raw.s_overhead_clusters = u32::try_from(counts.overhead_blocks).unwrap_or(0).into();
    if let Some(backup) = counts.journal_backup {
        raw.s_jnl_blocks = backup.map(Into::into);
    }
    raw.s_mmp_block = counts.mmp_block.into();
    raw.s_orphan_file_inum = counts.orphan_file_inode.into();
    raw.s_kbytes_written = counts.kib_written.into();
}

fn copy(to: &mut [u8], from: &[u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

/// Low and high 32 bits.
pub(crate) fn halves(number: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = number.to_le_bytes();
    [
        u32::from_le_bytes([a, b, c, d]),
        u32::from_le_bytes([e, f, g, h]),
    ]
}

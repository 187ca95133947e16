//! Group descriptors: where a group's bitmaps and inode table lie, and what is
//! free in it (ext4 on-disk layout, "Block Group Descriptors").

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::error::{Error, ErrorKind, Result};
use crate::format::checksum::{crc16, crc32c_raw};
use crate::format::features::RoCompatFeatures;
use crate::format::superblock::Superblock;
use crate::types::{FsBlock, GroupNumber};

/// The first 32 bytes, all there is without the 64bit feature.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawLow {
    bg_block_bitmap_lo: U32,      // 0x00
    bg_inode_bitmap_lo: U32,      // 0x04
    bg_inode_table_lo: U32,       // 0x08
    bg_free_blocks_count_lo: U16, // 0x0C
    bg_free_inodes_count_lo: U16, // 0x0E
    bg_used_dirs_count_lo: U16,   // 0x10
    bg_flags: U16,                // 0x12
    bg_exclude_bitmap_lo: U32,    // 0x14
    bg_block_bitmap_csum_lo: U16, // 0x18
    bg_inode_bitmap_csum_lo: U16, // 0x1A
    bg_itable_unused_lo: U16,     // 0x1C
    bg_checksum: U16,             // 0x1E
}

/// Bytes 32 to 64, with the 64bit feature.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Default)]
#[repr(C)]
struct RawHigh {
    bg_block_bitmap_hi: U32,      // 0x20
    bg_inode_bitmap_hi: U32,      // 0x24
    bg_inode_table_hi: U32,       // 0x28
    bg_free_blocks_count_hi: U16, // 0x2C
    bg_free_inodes_count_hi: U16, // 0x2E
    bg_used_dirs_count_hi: U16,   // 0x30
    bg_itable_unused_hi: U16,     // 0x32
    bg_exclude_bitmap_hi: U32,    // 0x34
    bg_block_bitmap_csum_hi: U16, // 0x38
    bg_inode_bitmap_csum_hi: U16, // 0x3A
    bg_reserved: U32,             // 0x3C
}

const _: () = assert!(size_of::<RawLow>() == 32 && size_of::<RawHigh>() == 32);
const CHECKSUM_OFFSET: usize = 0x1E;

/// `bg_flags`: the inode bitmap and table are not initialised.
pub const BG_INODE_UNINIT: u16 = 0x1;
/// `bg_flags`: the block bitmap is not initialised.
pub const BG_BLOCK_UNINIT: u16 = 0x2;
/// `bg_flags`: the inode table has been zeroed.
pub const BG_INODE_ZEROED: u16 = 0x4;

/// A group descriptor whose blocks lie in the volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupDescriptor {
    /// The group it describes.
    pub number: GroupNumber,
    /// Block of the block (cluster) bitmap.
    pub block_bitmap: FsBlock,
    /// Block of the inode bitmap.
    pub inode_bitmap: FsBlock,
    /// First block of the inode table.
    pub inode_table: FsBlock,
    /// Free clusters (blocks, without bigalloc).
    pub free_clusters: u32,
    /// Free inodes.
    pub free_inodes: u32,
    /// Inodes that are directories.
    pub used_directories: u32,
    /// Inodes at the end of the table that were never used.
    pub unused_inodes: u32,
    /// `BG_*` bits.
    pub flags: u16,
    /// The descriptor's own checksum.
    pub checksum: u16,
    /// Checksum of the block bitmap; 16 bits in a 32-byte descriptor.
    pub block_bitmap_checksum: u32,
    /// Checksum of the inode bitmap; 16 bits in a 32-byte descriptor.
    pub inode_bitmap_checksum: u32,
}

fn wide(low: U32, high: U32) -> FsBlock {
    FsBlock(u64::from(low.get()) | u64::from(high.get()) << 32)
}

fn joined(low: U16, high: U16) -> u32 {
    u32::from(low.get()) | u32::from(high.get()) << 16
}

/// Checks and types the descriptor of `number` in `bytes`
/// (`descriptor_bytes` long), which lies in `block`.
pub(crate) fn parse(
    superblock: &Superblock,
    number: GroupNumber,
    block: FsBlock,
    bytes: &[u8],
) -> Result<GroupDescriptor> {
    let name = || format!("group descriptor {number}");
    let short = || Error::corrupt(name(), Some(block), "32 or more bytes", bytes.len());
    let (low, rest) = RawLow::ref_from_prefix(bytes).map_err(|_| short())?;
    let no_high = RawHigh::default();
    let high = RawHigh::ref_from_prefix(rest).map_or(&no_high, |(high, _)| high);
    let stored = low.bg_checksum.get();
    if let Some(computed) = computed_checksum(superblock, number, bytes)
        && computed != stored
    {
        return Err(Error::bad_checksum(
            name(),
            Some(block),
            computed.into(),
            stored.into(),
        ));
    }
    let descriptor = GroupDescriptor {
        number,
        block_bitmap: wide(low.bg_block_bitmap_lo, high.bg_block_bitmap_hi),
        inode_bitmap: wide(low.bg_inode_bitmap_lo, high.bg_inode_bitmap_hi),
        inode_table: wide(low.bg_inode_table_lo, high.bg_inode_table_hi),
        free_clusters: joined(low.bg_free_blocks_count_lo, high.bg_free_blocks_count_hi),
        free_inodes: joined(low.bg_free_inodes_count_lo, high.bg_free_inodes_count_hi),
        used_directories: joined(low.bg_used_dirs_count_lo, high.bg_used_dirs_count_hi),
        unused_inodes: joined(low.bg_itable_unused_lo, high.bg_itable_unused_hi),
        flags: low.bg_flags.get(),
        checksum: stored,
        block_bitmap_checksum: joined(low.bg_block_bitmap_csum_lo, high.bg_block_bitmap_csum_hi),
        inode_bitmap_checksum: joined(low.bg_inode_bitmap_csum_lo, high.bg_inode_bitmap_csum_hi),
    };
    check_places(superblock, &descriptor, block)?;
    Ok(descriptor)
}

/// Writes a descriptor into `bytes` (`descriptor_bytes` long) with its checksum;
/// `group.checksum` does not matter.
///
/// # Errors
/// `InvalidInput` if `bytes` is shorter than 32 bytes, or has no room for the high
/// halves of a number that needs them.
pub fn encode(superblock: &Superblock, group: &GroupDescriptor, bytes: &mut [u8]) -> Result<()> {
    let too_small = || Error::from(ErrorKind::InvalidInput("the group descriptor has no room"));
    let ([block_bitmap, block_bitmap_hi], [inode_bitmap, inode_bitmap_hi], [table, table_hi]) = (
        split_block(group.block_bitmap),
        split_block(group.inode_bitmap),
        split_block(group.inode_table),
    );
    let [free_blocks, free_blocks_hi] = split(group.free_clusters);
    let [free_inodes, free_inodes_hi] = split(group.free_inodes);
    let [directories, directories_hi] = split(group.used_directories);
    let [unused, unused_hi] = split(group.unused_inodes);
    let [block_csum, block_csum_hi] = split(group.block_bitmap_checksum);
    let [inode_csum, inode_csum_hi] = split(group.inode_bitmap_checksum);
    let low = RawLow {
        bg_block_bitmap_lo: block_bitmap,
        bg_inode_bitmap_lo: inode_bitmap,
        bg_inode_table_lo: table,
        bg_free_blocks_count_lo: free_blocks,
        bg_free_inodes_count_lo: free_inodes,
        bg_used_dirs_count_lo: directories,
        bg_flags: group.flags.into(),
        bg_exclude_bitmap_lo: U32::ZERO,
        bg_block_bitmap_csum_lo: block_csum,
        bg_inode_bitmap_csum_lo: inode_csum,
        bg_itable_unused_lo: unused,
        bg_checksum: U16::ZERO,
    };
    let high = RawHigh {
        bg_block_bitmap_hi: block_bitmap_hi,
        bg_inode_bitmap_hi: inode_bitmap_hi,
        bg_inode_table_hi: table_hi,
        bg_free_blocks_count_hi: free_blocks_hi,
        bg_free_inodes_count_hi: free_inodes_hi,
        bg_used_dirs_count_hi: directories_hi,
        bg_itable_unused_hi: unused_hi,
        bg_exclude_bitmap_hi: U32::ZERO,
        bg_block_bitmap_csum_hi: block_csum_hi,
        bg_inode_bitmap_csum_hi: inode_csum_hi,
        bg_reserved: U32::ZERO,
    };
    bytes.fill(0);
    let (to_low, rest) = bytes
        .split_at_mut_checked(size_of::<RawLow>())
        .ok_or_else(too_small)?;
    to_low.copy_from_slice(low.as_bytes());
    if let Some(to_high) = rest.get_mut(..size_of::<RawHigh>()) {
        to_high.copy_from_slice(high.as_bytes());
    } else if [block_bitmap_hi, inode_bitmap_hi, table_hi] != [U32::ZERO; 3] {
        return Err(too_small());
    }
    set_checksum(superblock, group.number, bytes);
    Ok(())
}

/// What changes in a descriptor while the volume is in use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) free_clusters: u32,
    pub(crate) free_inodes: u32,
    pub(crate) used_directories: u32,
    /// `None` where the count means nothing: it stays.
    pub(crate) unused_inodes: Option<u32>,
    pub(crate) flags: u16,
    /// `None`: the bitmap has not changed.
    pub(crate) block_bitmap_checksum: Option<u32>,
    pub(crate) inode_bitmap_checksum: Option<u32>,
}

/// Changes a descriptor in `bytes` (`descriptor_bytes` long) and nothing else of it, and
/// sets its checksum.
///
/// # Errors
/// `InvalidInput` if `bytes` is shorter than 32 bytes.
pub(crate) fn update(
    superblock: &Superblock,
    number: GroupNumber,
    counts: &Counts,
    bytes: &mut [u8],
) -> Result<()> {
    let too_small = || Error::from(ErrorKind::InvalidInput("the group descriptor has no room"));
    let (low, rest) = RawLow::mut_from_prefix(bytes).map_err(|_| too_small())?;
    let mut none = RawHigh::default();
    let high = RawHigh::mut_from_prefix(rest).map_or(&mut none, |(high, _)| high);
    [low.bg_free_blocks_count_lo, high.bg_free_blocks_count_hi] = split(counts.free_clusters);
    [low.bg_free_inodes_count_lo, high.bg_free_inodes_count_hi] = split(counts.free_inodes);
    [low.bg_used_dirs_count_lo, high.bg_used_dirs_count_hi] = split(counts.used_directories);
    low.bg_flags = counts.flags.into();
    if let Some(unused) = counts.unused_inodes {
        [low.bg_itable_unused_lo, high.bg_itable_unused_hi] = split(unused);
    }
    if let Some(checksum) = counts.block_bitmap_checksum {
        [low.bg_block_bitmap_csum_lo, high.bg_block_bitmap_csum_hi] = split(checksum);
    }
    if let Some(checksum) = counts.inode_bitmap_checksum {
        [low.bg_inode_bitmap_csum_lo, high.bg_inode_bitmap_csum_hi] = split(checksum);
    }
    set_checksum(superblock, number, bytes);
    Ok(())
}

fn set_checksum(superblock: &Superblock, number: GroupNumber, bytes: &mut [u8]) {
    if let Some(checksum) = computed_checksum(superblock, number, bytes)
        && let Some(to) = bytes.get_mut(CHECKSUM_OFFSET..CHECKSUM_OFFSET + 2)
    {
        to.copy_from_slice(&checksum.to_le_bytes());
    }
}

fn split_block(block: FsBlock) -> [U32; 2] {
    let [a, b, c, d, e, f, g, h] = block.0.to_le_bytes();
    [U32::from_bytes([a, b, c, d]), U32::from_bytes([e, f, g, h])]
}

fn split(number: u32) -> [U16; 2] {
    let [a, b, c, d] = number.to_le_bytes();
    [U16::from_bytes([a, b]), U16::from_bytes([c, d])]
}

fn check_places(superblock: &Superblock, group: &GroupDescriptor, block: FsBlock) -> Result<()> {
    let table_blocks = u64::from(superblock.inode_blocks_per_group);
    let places = [
        ("block bitmap", group.block_bitmap, 1),
        ("inode bitmap", group.inode_bitmap, 1),
        ("inode table", group.inode_table, table_blocks),
    ];
    for (what, start, len) in places {
        if !superblock.contains_run(start, len) {
            return Err(Error::corrupt(
                format!("group descriptor {}", group.number),
                Some(block),
                format_args!(
                    "{what} of {len} blocks within blocks {} to {}",
                    superblock.first_data_block,
                    superblock.blocks_count.saturating_sub(1)
                ),
                format_args!("block {start}"),
            ));
        }
    }
    Ok(())
}

/// The checksum the descriptor in `bytes` ought to carry; `None` if the
/// volume's features give it none.
fn computed_checksum(superblock: &Superblock, number: GroupNumber, bytes: &[u8]) -> Option<u16> {
    let before = bytes.get(..CHECKSUM_OFFSET)?;
    let after = bytes.get(CHECKSUM_OFFSET + 2..)?;
    let number = number.0.to_le_bytes();
    if superblock.has_metadata_csum() {
        let crc = crc32c_raw(superblock.checksum_seed, &number);
        let crc = crc32c_raw(crc, before);
        let crc = crc32c_raw(crc, &[0, 0]);
        Some((crc32c_raw(crc, after) & 0xFFFF) as u16)
    } else if superblock.has_ro_compat(RoCompatFeatures::GDT_CSUM) {
        let crc = crc16(!0, superblock.uuid.as_bytes());
        let crc = crc16(crc, &number);
        Some(crc16(crc16(crc, before), after))
    } else {
        None
    }
}

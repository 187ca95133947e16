//! The block of multiple mount protection: who uses the file system, and when they
//! last said so (ext4 on-disk layout, "Multiple Mount Protection").

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::format::checksum::crc32c_raw;
use crate::format::superblock::Superblock;

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawMmp {
    mmp_magic: U32,          // 0x00
    mmp_seq: U32,            // 0x04
    mmp_time: U64,           // 0x08
    mmp_nodename: [u8; 64],  // 0x10
    mmp_bdevname: [u8; 32],  // 0x50
    mmp_check_interval: U16, // 0x70
    mmp_pad1: U16,           // 0x72
    mmp_pad2: [U32; 226],    // 0x74
    mmp_checksum: U32,       // 0x3FC
}

const _: () = assert!(size_of::<RawMmp>() == 1024);
const CHECKSUM_OFFSET: usize = 0x3FC;
/// `mmp_magic`.
const MAGIC: u32 = 0x004D_4D50;
/// `mmp_seq` of a file system that was unmounted cleanly.
const SEQUENCE_CLEAN: u32 = 0xFF4D_4D50;
/// `mmp_check_interval` is at least this many seconds.
const CHECK_INTERVAL_SECONDS_MIN: u16 = 5;

/// The block's first 1024 bytes for a file system nobody uses, last touched at
/// `time_seconds` since 1970; its machine and device are not named.
pub fn encode_clean(
    superblock: &Superblock,
    time_seconds: u64,
    update_interval_seconds: u16,
) -> Vec<u8> {
    let mut raw = RawMmp::new_zeroed();
    raw.mmp_magic = MAGIC.into();
    raw.mmp_seq = SEQUENCE_CLEAN.into();
    raw.mmp_time = time_seconds.into();
    raw.mmp_check_interval = update_interval_seconds
        .max(CHECK_INTERVAL_SECONDS_MIN)
        .into();
    if superblock.has_metadata_csum() {
        let covered = raw.as_bytes().get(..CHECKSUM_OFFSET).unwrap_or(&[]);
        raw.mmp_checksum = crc32c_raw(superblock.checksum_seed, covered).into();
    }
    raw.as_bytes().to_vec()
}

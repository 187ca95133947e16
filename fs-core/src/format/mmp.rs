//! The block of multiple mount protection: who uses the file system, and when they
//! last said so (ext4 on-disk layout, "Multiple Mount Protection").

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::error::{Error, Result};
use crate::format::checksum::crc32c_raw;
use crate::format::superblock::Superblock;
use crate::types::FsBlock;

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
pub(crate) const SEQUENCE_CLEAN: u32 = 0xFF4D_4D50;
/// `mmp_seq` while e2fsck works on the file system.
pub(crate) const SEQUENCE_FSCK: u32 = 0xE24D_4D50;
/// The highest `mmp_seq` of one in use.
pub(crate) const SEQUENCE_MAX: u32 = 0xE24D_4D4F;
/// `mmp_check_interval` is at least this many seconds.
pub(crate) const CHECK_INTERVAL_SECONDS_MIN: u16 = 5;

/// What an MMP block says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MmpBlock {
    /// Changes with every sign of life; see [`SEQUENCE_CLEAN`] and [`SEQUENCE_FSCK`].
    pub(crate) sequence: u32,
    /// When the last sign was given, in seconds since 1970.
    pub(crate) time_seconds: u64,
    /// Name of the machine, up to a NUL.
    pub(crate) node: [u8; 64],
    /// Name of the device there, up to a NUL.
    pub(crate) device: [u8; 32],
    /// Who wants to use the volume watches for this many seconds.
    pub(crate) check_interval_seconds: u16,
}

impl MmpBlock {
    /// Reads the first 1024 bytes of the block at `place`.
    ///
    /// # Errors
    /// `Corrupt` for a bad magic number or checksum.
    pub(crate) fn parse(superblock: &Superblock, place: FsBlock, bytes: &[u8]) -> Result<Self> {
        let bad = |expected: &str, found: u32| {
            let found = format_args!("{found:#010x}");
            Error::corrupt("MMP block", Some(place), expected, found)
        };
        let (raw, _) = RawMmp::ref_from_prefix(bytes).map_err(|_| bad("1024 bytes", 0))?;
        if raw.mmp_magic.get() != MAGIC {
            return Err(bad("magic number 0x004d4d50", raw.mmp_magic.get()));
        }
        if superblock.has_metadata_csum() {
            let computed = raw.checksum(superblock);
            Error::check_checksum("MMP block", Some(place), computed, raw.mmp_checksum.get())?;
        }
        Ok(Self {
            sequence: raw.mmp_seq.get(),
            time_seconds: raw.mmp_time.get(),
            node: raw.mmp_nodename,
            device: raw.mmp_bdevname,
            check_interval_seconds: raw.mmp_check_interval.get(),
        })
    }

    /// The block's first 1024 bytes.
    pub(crate) fn encode(&self, superblock: &Superblock) -> Vec<u8> {
        let mut raw = RawMmp::new_zeroed();
        raw.mmp_magic = MAGIC.into();
        raw.mmp_seq = self.sequence.into();
        raw.mmp_time = self.time_seconds.into();
        raw.mmp_nodename = self.node;
        raw.mmp_bdevname = self.device;
        raw.mmp_check_interval = self
            .check_interval_seconds
            .max(CHECK_INTERVAL_SECONDS_MIN)
            .into();
        if superblock.has_metadata_csum() {
            raw.mmp_checksum = raw.checksum(superblock).into();
        }
        raw.as_bytes().to_vec()
    }
}

impl RawMmp {
    fn checksum(&self, superblock: &Superblock) -> u32 {
        let covered = self.as_bytes().get(..CHECKSUM_OFFSET).unwrap_or(&[]);
        crc32c_raw(superblock.checksum_seed, covered)
    }
}

/// The block's first 1024 bytes for a file system nobody uses, last touched at
/// `time_seconds` since 1970; its machine and device are not named.
pub fn encode_clean(
    superblock: &Superblock,
    time_seconds: u64,
    update_interval_seconds: u16,
) -> Vec<u8> {
    MmpBlock {
        sequence: SEQUENCE_CLEAN,
        time_seconds,
        node: [0; 64],
        device: [0; 32],
        check_interval_seconds: update_interval_seconds,
    }
    .encode(superblock)
}

//! Blocks of the orphan file: inode numbers up to a tail with a magic number
//! and a checksum (ext4 on-disk layout, "Orphan file").

use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::error::{Error, Result};
use crate::format::checksum::crc32c_raw;
use crate::types::{FsBlock, InodeNumber};

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawTail {
    ob_magic: U32,    // 0x0
    ob_checksum: U32, // 0x4
}

const MAGIC: u32 = 0x0B10_CA04;
const TAIL_BYTES: usize = 8;
const _: () = assert!(size_of::<RawTail>() == TAIL_BYTES);

/// An orphan file block of `len_bytes` without entries, as it lies in `block`.
/// `checksum_seed` is the orphan file's own, if the volume has checksums.
pub fn encode_empty(block: FsBlock, len_bytes: usize, checksum_seed: Option<u32>) -> Vec<u8> {
    let mut bytes = vec![0; len_bytes];
    if let Some(tail_at) = len_bytes.checked_sub(TAIL_BYTES)
        && let Some((entries, tail)) = bytes.split_at_mut_checked(tail_at)
    {
        let checksum = checksum_seed.map_or(0, |seed| {
            crc32c_raw(crc32c_raw(seed, &block.0.to_le_bytes()), entries)
        });
        let raw = RawTail {
            ob_magic: MAGIC.into(),
            ob_checksum: checksum.into(),
        };
        tail.copy_from_slice(raw.as_bytes());
    }
    bytes
}

/// The inode numbers in a checked block, empty slots left out.
/// `checksum_seed` is the orphan file's own, if the volume has checksums.
pub(crate) fn entries(
    block: FsBlock,
    bytes: &[u8],
    checksum_seed: Option<u32>,
) -> Result<Vec<InodeNumber>> {
    let bad = |expected: &dyn std::fmt::Display, found: &dyn std::fmt::Display| {
        Error::corrupt("orphan file", Some(block), expected, found)
    };
    let (entries, tail) =
        RawTail::ref_from_suffix(bytes).map_err(|_| bad(&"a tail of 8 bytes", &bytes.len()))?;
    if tail.ob_magic.get() != MAGIC {
        let found = format!("{:#010x}", tail.ob_magic.get());
        return Err(bad(&format_args!("magic number {MAGIC:#010x}"), &found));
    }
    if let Some(seed) = checksum_seed {
        let crc = crc32c_raw(seed, &block.0.to_le_bytes());
        let computed = crc32c_raw(crc, entries);
        Error::check_checksum("orphan file", Some(block), computed, tail.ob_checksum.get())?;
    }
    let (entries, _) = <[U32]>::ref_from_prefix_with_elems(entries, entries.len() / 4)
        .map_err(|_| bad(&"whole entries", &entries.len()))?;
    Ok(entries
        .iter()
        .map(|entry| InodeNumber(entry.get()))
        .filter(|inode| inode.0 != 0)
        .collect())
}

/// Entries a block of `len_bytes` holds.
pub(crate) fn capacity(len_bytes: usize) -> usize {
    len_bytes.saturating_sub(TAIL_BYTES) / 4
}

/// The entry with this number, 0 if the slot is empty.
pub(crate) fn entry(bytes: &[u8], slot: usize) -> u32 {
    bytes
        .get(slot * 4..slot * 4 + 4)
        .and_then(|entry| entry.try_into().ok())
        .map_or(0, u32::from_le_bytes)
}

/// Sets an entry, 0 to empty the slot, and the checksum.
pub(crate) fn set_entry(
    block: FsBlock,
    bytes: &mut [u8],
    slot: usize,
    inode: InodeNumber,
    checksum_seed: Option<u32>,
) {
    let Some((entries, tail)) = bytes
        .len()
        .checked_sub(TAIL_BYTES)
        .and_then(|at| bytes.split_at_mut_checked(at))
    else {
        return;
    };
    if let Some(entry) = entries.get_mut(slot * 4..slot * 4 + 4) {
        entry.copy_from_slice(&inode.0.to_le_bytes());
    }
    if let Some(seed) = checksum_seed
        && let Some(field) = tail.get_mut(4..)
    {
        let checksum = crc32c_raw(crc32c_raw(seed, &block.0.to_le_bytes()), entries);
        field.copy_from_slice(&checksum.to_le_bytes());
    }
}

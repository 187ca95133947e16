//! What is known by bytes at the end of a device.
//!
//! An array's member with its superblock at the end looks like a plain file system
//! at its beginning, and a damaged GPT has its copy in the last sector. They only
//! count if they would be overwritten: whoever makes a file system in one
//! partition of a disk image leaves the table behind it alone.

use super::area::Area;
use crate::Result;

/// Linux MD (include/uapi/linux/raid/md_p.h): MD_SB_MAGIC. Version 0.90 has the
/// byte order of the host that made it.
const MD_MAGIC: [u8; 4] = [0xFC, 0x4E, 0x2B, 0xA9];
const MD_MAGIC_SWAPPED: [u8; 4] = [0xA9, 0x2B, 0x4E, 0xFC];
/// The last whole piece of this size holds the superblock of version 0.90.
const MD_RESERVED_BYTES: u64 = 64 << 10;
/// Version 1.0 lies at least this far from the end, on a multiple of 4 KiB.
const MD1_FROM_END_BYTES: u64 = 8 << 10;

pub(super) const GPT_MAGIC: &[u8] = b"EFI PART";

/// A thing in a sector counted from the end; 1 is the last whole one.
struct FromEnd {
    what: &'static str,
    sectors: u64,
    /// Bytes from the beginning of that sector.
    offset: u64,
    magic: &'static [u8],
}

const fn sector(sectors: u64, offset: u64, magic: &'static [u8], what: &'static str) -> FromEnd {
    FromEnd {
        what,
        sectors,
        offset,
        magic,
    }
}

/// Sectors of 512 bytes. DRBD: magic 0x8374026B to 0x8374026D, big-endian, at byte
/// 60 of the last 4 KiB. DDF: SNIA Common RAID Disk Data Format, the anchor.
const FROM_END: &[FromEnd] = &[
    sector(1, 0, b"\xDE\x11\xDE\x11", "a RAID member (DDF)"),
    sector(1, 0, b"\x11\xDE\x11\xDE", "a RAID member (DDF)"),
    sector(257, 0, b"\xDE\x11\xDE\x11", "a RAID member (DDF)"),
    sector(257, 0, b"\x11\xDE\x11\xDE", "a RAID member (DDF)"),
    sector(2, 0, b"Intel Raid ISM Cfg Sig. ", "a RAID member (Intel)"),
    sector(8, 60, b"\x83\x74\x02\x6B", "a DRBD device"),
    sector(8, 60, b"\x83\x74\x02\x6C", "a DRBD device"),
    sector(8, 60, b"\x83\x74\x02\x6D", "a DRBD device"),
    sector(1, 0, GPT_MAGIC, "a GPT partition table"),
    sector(8, 0, GPT_MAGIC, "a GPT partition table"),
];

/// Finds what lies at the end of the device, or of the area.
///
/// # Errors
/// What the device says when it cannot be read.
pub(super) fn find(area: &Area<'_>) -> Result<Option<&'static str>> {
    for end in area.ends() {
        if is_md_member(area, end)? {
            return Ok(Some("a RAID member"));
        }
        for FromEnd {
            what,
            sectors,
            offset,
            magic,
        } in FROM_END
        {
            let Some(start) = (end / 512).checked_sub(*sectors) else {
                continue;
            };
            if area.has(start.saturating_mul(512).saturating_add(*offset), magic)? {
                return Ok(Some(what));
            }
        }
    }
    Ok(None)
}

/// A superblock of version 0.90 or 1.0; 1.1 and 1.2 lie at the beginning.
fn is_md_member(area: &Area<'_>, end: u64) -> Result<bool> {
    if let Some(offset) = (end - end % MD_RESERVED_BYTES).checked_sub(MD_RESERVED_BYTES)
        && (area.has(offset, &MD_MAGIC)? || area.has(offset, &MD_MAGIC_SWAPPED)?)
    {
        return Ok(true);
    }
    match (end - end % 4096).checked_sub(MD1_FROM_END_BYTES) {
        Some(offset) => area.has(offset, &MD_MAGIC),
        None => Ok(false),
    }
}

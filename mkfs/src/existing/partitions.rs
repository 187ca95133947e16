//! Partition tables at the beginning of a device.

use super::Existing;
use super::area::Area;
use super::ends::GPT_MAGIC;
use crate::Result;

/// Finds a partition table.
///
/// # Errors
/// What the device says when it cannot be read.
pub(super) fn find(area: &Area<'_>) -> Result<Option<Existing>> {
    for sector_bytes in [512, 4096] {
        if area.has(sector_bytes, GPT_MAGIC)? {
            return Ok(Some(Existing::new("a GPT partition table")));
        }
    }
    if is_sun(area.head()) {
        return Ok(Some(Existing::new("a Sun disk label")));
    }
    if is_apple(area)? {
        return Ok(Some(Existing::new("an Apple partition map")));
    }
    Ok(mbr(area.head()))
}

/// A Sun label: its magic number at byte 508, and all 16-bit words of the sector
/// together give zero (Linux, block/partitions/sun.c).
fn is_sun(head: &[u8]) -> bool {
    let Some(sector) = head.get(..512) else {
        return false;
    };
    let sum = sector.chunks_exact(2).fold([0, 0], |[high, low], word| {
        let byte = |at: usize| word.get(at).copied().unwrap_or(0);
        [high ^ byte(0), low ^ byte(1)]
    });
    sector.get(508..510) == Some(&[0xDA, 0xBE]) && sum == [0, 0]
}

/// A driver descriptor ("ER" and the size of a block), and in block 1 the first
/// entry of the map ("PM"; "TS" in the oldest) (Inside Macintosh: Devices).
fn is_apple(area: &Area<'_>) -> Result<bool> {
    let Some([b'E', b'R', high, low]) = area.array(0) else {
        return Ok(false);
    };
    let block_bytes = u64::from(u16::from_be_bytes([high, low]));
    Ok(area.has(block_bytes, b"PM")? || area.has(block_bytes, b"TS")?)
}

/// An MBR with a partition, or at least with the number of its disk: other boot
/// sectors have code in that place and what looks like partitions.
fn mbr(head: &[u8]) -> Option<Existing> {
    let entries = head.get(446..510)?;
    let is_mbr = head.get(510..512) == Some(&[0x55, 0xAA])
        && entries
            .chunks(16)
            .all(|entry| matches!(entry.first(), Some(0 | 0x80)));
    if !is_mbr {
        return None;
    }
    let is_used = |entry: &&[u8]| entry.get(4).is_some_and(|&kind| kind != 0);
    let partitions = entries.chunks(16).filter(is_used).count();
    let has_disk_id = head.get(440..444).is_some_and(|id| id != [0; 4]);
    let details = match partitions {
        0 if !has_disk_id => return None,
        0 => "without partitions".to_owned(),
        1 => "1 partition".to_owned(),
        many => format!("{many} partitions"),
    };
    Some(Existing {
        what: "an MBR partition table",
        details: Some(details),
    })
}

//! The MBR partition table and its chain of extended boot records.
//!
//! It is read by hand: the crate `mbrman` adds what stands in the table without
//! looking (a hostile sum stops the program), keeps every record of a chain of
//! any length, and counts empty records, which Linux doesn't; numbers would
//! then differ.
//!
//! What Linux does and this file repeats: a boot indicator other than 0 and
//! 0x80 means that this is no table at all (but a boot sector of a file
//! system); entries of zero length don't exist; logical partitions are counted
//! from 5 in the order of the chain, empty ones left out; in the third and
//! fourth entry of an extended boot record, which should be empty, only what
//! lies inside counts.
//!
//! ```text
//!   0 ..... 446   boot code
//! 446 ..... 510   four entries of 16 bytes:
//!                 0 boot indicator, 4 type, 8 first sector u32, 12 sectors u32
//! 510, 511        0x55 0xaa
//! ```
//!
//! An extended boot record looks the same. Its data entries count sectors from
//! the record itself, its link to the next record counts them from the start of
//! the extended partition.

use crate::partition::Entry;
use crate::{BlockDevice, Result};

const RECORD_BYTES: usize = 512;
const ENTRIES_OFFSET: usize = 446;
const ENTRY_BYTES: usize = 16;
const SIGNATURE: [u8; 2] = [0x55, 0xaa];
const TYPE_GPT_PROTECTIVE: u8 = 0xee;
/// DOS, Windows with LBA, Linux.
const TYPES_EXTENDED: [u8; 3] = [0x05, 0x0f, 0x85];

const FIRST_LOGICAL_NUMBER: u32 = 5;
/// The highest partition number Linux uses.
const NUMBER_MAX: u32 = 255;
/// Extended boot records read before the chain counts as a loop.
const CHAIN_RECORDS_MAX: u32 = 1024;

/// What the first sector of a disk is.
#[derive(Debug)]
pub(crate) enum Mbr {
    /// No partition table.
    Absent,
    /// A placeholder in front of a GPT.
    Protective,
    /// A table that counts.
    Entries(MbrEntries),
}

/// The four entries of a record.
pub(crate) type MbrEntries = [MbrEntry; 4];

/// An entry as it stands on the disk, in sectors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct MbrEntry {
    boot_indicator: u8,
    type_code: u8,
    first_sector: u32,
    len_sectors: u32,
}

impl MbrEntry {
    fn parse(bytes: &[u8; ENTRY_BYTES]) -> Self {
        let [boot_indicator, _, _, _, type_code, _, _, _, rest @ ..] = *bytes;
        let [f0, f1, f2, f3, l0, l1, l2, l3] = rest;
        Self {
            boot_indicator,
            type_code,
            first_sector: u32::from_le_bytes([f0, f1, f2, f3]),
            len_sectors: u32::from_le_bytes([l0, l1, l2, l3]),
        }
    }

    fn is_used(&self) -> bool {
        self.len_sectors != 0
    }

    fn is_extended(&self) -> bool {
        TYPES_EXTENDED.contains(&self.type_code)
    }
}

/// Reads what stands in the first sector.
pub(crate) fn read(disk: &dyn BlockDevice) -> Result<Mbr> {
    if disk.size_bytes() < RECORD_BYTES as u64 {
        return Ok(Mbr::Absent);
    }
    let Some(entries) = read_record(disk, 0)? else {
        return Ok(Mbr::Absent);
    };
    if entries
        .iter()
        .any(|entry| entry.type_code == TYPE_GPT_PROTECTIVE)
    {
        return Ok(Mbr::Protective);
    }
    let is_table = entries
        .iter()
        .all(|entry| matches!(entry.boot_indicator, 0 | 0x80));
    Ok(if is_table {
        Mbr::Entries(entries)
    } else {
        Mbr::Absent
    })
}

/// The four entries of the record at `offset`; `None` if it has no signature.
fn read_record(disk: &dyn BlockDevice, offset: u64) -> Result<Option<MbrEntries>> {
    let mut record = [0; RECORD_BYTES];
    disk.read_at(&mut record, offset)?;
    if !record.ends_with(&SIGNATURE) {
        return Ok(None);
    }
    let mut entries = MbrEntries::default();
    let raw = record.get(ENTRIES_OFFSET..).unwrap_or(&[]);
    let (raw, _) = raw.as_chunks::<ENTRY_BYTES>();
    for (entry, bytes) in entries.iter_mut().zip(raw) {
        *entry = MbrEntry::parse(bytes);
    }
    Ok(Some(entries))
}

/// Every partition of the table, primary ones first.
pub(crate) fn partitions(
    disk: &dyn BlockDevice,
    sector_bytes: u64,
    mbr: &MbrEntries,
) -> Vec<Entry> {
    let mut found: Vec<Entry> = (1..)
        .zip(mbr)
        .filter(|(_, entry)| entry.is_used())
        .map(|(number, entry)| Entry {
            number,
            first_sector: entry.first_sector.into(),
            len_sectors: entry.len_sectors.into(),
            is_container: entry.is_extended(),
        })
        .collect();
    let containers: Vec<Entry> = found
        .iter()
        .copied()
        .filter(|entry| entry.is_container)
        .collect();
    let mut records_left = CHAIN_RECORDS_MAX;
    for container in containers {
        follow_chain(disk, sector_bytes, container, &mut records_left, &mut found);
    }
    found
}

/// Appends the logical partitions of one extended partition. A record that
/// can't be read ends the chain: those before it are still good.
fn follow_chain(
    disk: &dyn BlockDevice,
    sector_bytes: u64,
    container: Entry,
    records_left: &mut u32,
    found: &mut Vec<Entry>,
) {
    let mut record_sector = container.first_sector;
    let mut record_len = container.len_sectors;
    while *records_left > 0 {
        *records_left -= 1;
        let Some(offset) = record_sector.checked_mul(sector_bytes) else {
            return;
        };
        let Ok(Some(entries)) = read_record(disk, offset) else {
            return;
        };
        for (slot, entry) in entries.iter().enumerate() {
            let counts = entry.is_used()
                && !entry.is_extended()
                && (slot < 2 || is_inside(entry, record_sector, record_len, container));
            if counts && !append(found, record_sector, entry) {
                return;
            }
        }
        let link = entries
            .iter()
            .find(|entry| entry.is_used() && entry.is_extended());
        let Some(link) = link else {
            return;
        };
        // Both fit into 33 bits.
        record_sector = container.first_sector + u64::from(link.first_sector);
        record_len = link.len_sectors.into();
    }
}

/// Whether a data entry lies in its record's part and in the extended partition.
fn is_inside(entry: &MbrEntry, record_sector: u64, record_len: u64, container: Entry) -> bool {
    let relative_end = u64::from(entry.first_sector) + u64::from(entry.len_sectors);
    let container_end = container.first_sector + container.len_sectors;
    relative_end <= record_len
        && record_sector + u64::from(entry.first_sector) >= container.first_sector
        && record_sector + relative_end <= container_end
}

/// Adds a logical partition; `false` if there are no numbers left.
fn append(found: &mut Vec<Entry>, record_sector: u64, entry: &MbrEntry) -> bool {
    let number = match found.last() {
        Some(last) if last.number >= FIRST_LOGICAL_NUMBER => last.number + 1,
        _ => FIRST_LOGICAL_NUMBER,
    };
    if number > NUMBER_MAX {
        return false;
    }
    found.push(Entry {
        number,
        first_sector: record_sector + u64::from(entry.first_sector),
        len_sectors: entry.len_sectors.into(),
        is_container: false,
    });
    true
}

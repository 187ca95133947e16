//! The GUID partition table (UEFI specification, "GUID Partition Table Disk Layout").
//!
//! The crate `gpt` parses headers and entries and checks both checksums. It
//! trusts a header further than we may: it stops the program if an entry has
//! another size than 128 bytes, and allocates as much as the header asks for.
//! So no header reaches its table reader before [`check_header`] has bounded it,
//! as Linux does (128-byte entries, one fixed bound for the table).
//!
//! Copies are tried in this order: the primary one in sector 1; the backup in
//! the disk's last sector; the backup where the primary header, if it is sound,
//! says (the disk may have grown since).

use std::io::{BufReader, Read, Seek, SeekFrom};

use gpt::disk::LogicalBlockSize;
use gpt::header::Header;

use crate::BlockDevice;
use crate::partition::{Entry, Table};

/// Bytes of an entry; Linux uses no other either.
const ENTRY_BYTES: u32 = 128;
/// Entries a table may have: 4 MiB of them. A usual table has 128.
const ENTRIES_MAX: u32 = 32 * 1024;

/// The first usable table for any sector size, or the reasons why the first
/// size has none.
pub(crate) fn read(disk: &dyn BlockDevice) -> Result<Table, String> {
    let mut reasons = None;
    for sector in [LogicalBlockSize::Lb512, LogicalBlockSize::Lb4096] {
        if sector.as_u64() < disk.logical_sector_bytes().into() {
            continue;
        }
        match read_any_copy(disk, sector) {
            Ok(table) => return Ok(table),
            Err(found) => reasons.get_or_insert(found),
        };
    }
    Err(reasons.unwrap_or_else(|| "sectors of this size are not known".to_owned()))
}

fn read_any_copy(disk: &dyn BlockDevice, sector: LogicalBlockSize) -> Result<Table, String> {
    let primary_header = read_header(disk, sector, 1);
    let primary_problem = match read_entries(disk, sector, &primary_header) {
        Ok(table) => return Ok(table),
        Err(problem) => problem,
    };
    let last = (disk.size_bytes() / sector.as_u64()).saturating_sub(1);
    let backup_problem = match read_entries(disk, sector, &read_header(disk, sector, last)) {
        Ok(table) => return Ok(table),
        Err(problem) => problem,
    };
    if let Ok(header) = &primary_header
        && let Ok(table) = read_entries(disk, sector, &read_header(disk, sector, header.backup_lba))
    {
        return Ok(table);
    }
    Err(format!(
        "primary: {primary_problem}; backup: {backup_problem}"
    ))
}

/// The header in sector `lba`, with its checksum and bounds verified.
fn read_header(
    disk: &dyn BlockDevice,
    sector: LogicalBlockSize,
    lba: u64,
) -> Result<Header, String> {
    // The crate looks in sector 1 of what it is given, so it is given the disk
    // from the sector before the one meant.
    let base = lba
        .checked_sub(1)
        .and_then(|before| before.checked_mul(sector.as_u64()))
        .filter(|base| *base < disk.size_bytes())
        .ok_or_else(|| format!("sector {lba} is not on the disk"))?;
    let mut reader = Reader::new(disk, base);
    let header = gpt::header::read_header_from_arbitrary_device(&mut reader, sector)
        .map_err(|error| error.to_string())?;
    check_header(&header, lba, sector, disk.size_bytes())?;
    Ok(header)
}

/// Fails unless a header stands where it says and its table has entries of the
/// one known size, a bounded number of them, all on the disk.
fn check_header(
    header: &Header,
    lba: u64,
    sector: LogicalBlockSize,
    disk_bytes: u64,
) -> Result<(), String> {
    if header.current_lba != lba {
        return Err(format!(
            "the header in sector {lba} says that it stands in sector {}",
            header.current_lba
        ));
    }
    if header.part_size != ENTRY_BYTES {
        return Err(format!(
            "its entries have {} bytes, not {ENTRY_BYTES}",
            header.part_size
        ));
    }
    if header.num_parts == 0 || header.num_parts > ENTRIES_MAX {
        return Err(format!(
            "it has {} entries, not 1 to {ENTRIES_MAX}",
            header.num_parts
        ));
    }
    let len = u64::from(header.num_parts) * u64::from(ENTRY_BYTES);
    let end = header
        .part_start
        .checked_mul(sector.as_u64())
        .and_then(|start| start.checked_add(len));
    match end {
        Some(end) if end <= disk_bytes => Ok(()),
        _ => Err("its entries are not on the disk".to_owned()),
    }
}

/// The table a checked header speaks of, with its checksum verified.
fn read_entries(
    disk: &dyn BlockDevice,
    sector: LogicalBlockSize,
    header: &Result<Header, String>,
) -> Result<Table, String> {
    let header = header.as_ref().map_err(Clone::clone)?;
    let mut reader = BufReader::new(Reader::new(disk, 0));
    let partitions = gpt::partition::file_read_partitions(&mut reader, header, sector)
        .map_err(|error| error.to_string())?;
    let entries = partitions
        .iter()
        .filter(|(_, partition)| partition.is_used())
        .map(|(&number, partition)| Entry {
            number,
            first_sector: partition.first_lba,
            len_sectors: partition.sectors_len().unwrap_or(0),
            is_container: false,
        })
        .collect();
    Ok(Table {
        sector_bytes: sector.as_u64(),
        entries,
    })
}

/// A device from byte `base` on, as the standard library's traits want it.
struct Reader<'a> {
    disk: &'a dyn BlockDevice,
    base: u64,
    position: u64,
}

impl<'a> Reader<'a> {
    fn new(disk: &'a dyn BlockDevice, base: u64) -> Self {
        Self {
            disk,
            base,
            position: 0,
        }
    }

    fn len(&self) -> u64 {
        self.disk.size_bytes().saturating_sub(self.base)
    }
}

impl Read for Reader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let left = self.len().saturating_sub(self.position);
        let len = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let Some(buf) = buf.get_mut(..len).filter(|buf| !buf.is_empty()) else {
            return Ok(0);
        };
        // `left` is not 0: both sums lie inside the device.
        self.disk
            .read_at(buf, self.base + self.position)
            .map_err(std::io::Error::other)?;
        self.position += len as u64;
        Ok(len)
    }
}

impl Seek for Reader<'_> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.len().checked_add_signed(by),
        };
        self.position =
            position.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::InvalidInput))?;
        Ok(self.position)
    }
}

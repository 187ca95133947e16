//! Partitions of a disk.
//!
//! [`open_partition`] finds a partition by the number Linux gives it and
//! answers with a window over it. The two kinds of table are read by
//! `gpt_table` and `mbr_table`; this file decides which one counts and checks
//! that what a table claims lies on the device.
//!
//! A table is input from strangers: what is read, how much is allocated and
//! how many steps are taken has a bound, and every refusal says what is there.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::mbr_table::{Mbr, MbrEntries};
use crate::{BlockDevice, Error, Result, Window, gpt_table, mbr_table};

/// How many partitions an error message lists.
const LISTED_MAX: usize = 16;

/// A partition as its table tells, unchecked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// As Linux counts them, from 1.
    pub(crate) number: u32,
    pub(crate) first_sector: u64,
    /// 0 also if the table has the end before the start.
    pub(crate) len_sectors: u64,
    /// An extended partition, which only holds others.
    pub(crate) is_container: bool,
}

/// The partitions of a disk in the order of their numbers.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) sector_bytes: u64,
    pub(crate) entries: Vec<Entry>,
}

/// Partition `number` of the disk `disk`: the index of a GPT entry, from 1, or
/// of an MBR 1 to 4 for primary partitions and 5 and more for logical ones.
///
/// A table is a GPT if the MBR says so or there is no MBR; its backup is used
/// if the primary one is damaged. Sectors have 512 or, in a GPT, 4096 bytes,
/// but never fewer than the disk's logical sectors have.
///
/// # Errors
///
/// [`Error::Partition`] if there is no usable table, no such partition, or if
/// it is empty, an extended one, or does not end on the disk; reading the
/// disk's first sector fails as [`BlockDevice::read_at`] does.
pub fn open_partition(disk: Arc<dyn BlockDevice>, number: u32) -> Result<Window> {
    let refused = |problem| Error::Partition { number, problem };
    let table = find_table(disk.as_ref())?.map_err(refused)?;
    let (offset, len) = locate(&table, number, disk.size_bytes()).map_err(refused)?;
    Window::new(disk, offset, Some(len))
}

/// The table that counts, or why none does.
fn find_table(disk: &dyn BlockDevice) -> Result<std::result::Result<Table, String>> {
    let nothing = || "no partition table (GPT or MBR) was found".to_owned();
    Ok(match mbr_table::read(disk)? {
        Mbr::Entries(entries) => Ok(mbr_partitions(disk, &entries)),
        Mbr::Protective => gpt_table::read(disk).map_err(|reasons| {
            format!("the disk has a GUID partition table, but no usable copy of it ({reasons})")
        }),
        Mbr::Absent => gpt_table::read(disk).map_err(|_| nothing()),
    })
}

fn mbr_partitions(disk: &dyn BlockDevice, mbr: &MbrEntries) -> Table {
    let sector_bytes = u64::from(disk.logical_sector_bytes());
    Table {
        sector_bytes,
        entries: mbr_table::partitions(disk, sector_bytes, mbr),
    }
}

/// Offset and length in bytes of a partition, or why it can't be used.
fn locate(table: &Table, number: u32, disk_bytes: u64) -> std::result::Result<(u64, u64), String> {
    let Some(entry) = table.entries.iter().find(|entry| entry.number == number) else {
        return Err(format!(
            "there is no partition {number}; {}",
            listing(&table.entries)
        ));
    };
    if entry.is_container {
        return Err(format!(
            "it is an extended partition, which only holds others; {}",
            listing(&table.entries)
        ));
    }
    if entry.len_sectors == 0 {
        return Err("its length is zero".to_owned());
    }
    let in_bytes = |sectors: u64| sectors.checked_mul(table.sector_bytes);
    let outside = || {
        format!(
            "it has {} sectors of {} bytes from sector {} on, but the disk ends after {disk_bytes} bytes",
            entry.len_sectors, table.sector_bytes, entry.first_sector
        )
    };
    let offset = in_bytes(entry.first_sector).ok_or_else(outside)?;
    let len = in_bytes(entry.len_sectors).ok_or_else(outside)?;
    match offset.checked_add(len) {
        Some(end) if end <= disk_bytes => Ok((offset, len)),
        _ => Err(outside()),
    }
}

/// "the disk has 1, 2 and 5", without those that only hold others.
fn listing(entries: &[Entry]) -> String {
    let numbers: Vec<String> = entries
        .iter()
        .filter(|entry| !entry.is_container)
        .map(|entry| entry.number.to_string())
        .collect();
    let mut text = "the disk has ".to_owned();
    let hidden = numbers.len().saturating_sub(LISTED_MAX);
    let shown = numbers.get(..LISTED_MAX).unwrap_or(&numbers);
    match (shown, hidden) {
        ([], _) => text.push_str("none"),
        ([only], _) => text.push_str(only),
        ([first @ .., last], 0) => {
            text.push_str(&first.join(", "));
            let _ = write!(text, " and {last}");
        }
        (shown, hidden) => {
            text.push_str(&shown.join(", "));
            let _ = write!(text, " and {hidden} more");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u32) -> Entry {
        Entry {
            number,
            first_sector: 1,
            len_sectors: 1,
            is_container: false,
        }
    }

    #[test]
    fn listings_read_like_sentences() {
        let of = |numbers: &[u32]| listing(&numbers.iter().copied().map(entry).collect::<Vec<_>>());
        assert_eq!(of(&[]), "the disk has none");
        assert_eq!(of(&[7]), "the disk has 7");
        assert_eq!(of(&[1, 2]), "the disk has 1 and 2");
        assert_eq!(of(&[1, 2, 5]), "the disk has 1, 2 and 5");
        let many: Vec<u32> = (1..=20).collect();
        assert!(of(&many).ends_with("15, 16 and 4 more"));
    }

    #[test]
    fn sums_that_overflow_are_refused() {
        for (first_sector, len_sectors) in [(u64::MAX, 1), (1, u64::MAX), (u64::MAX / 512, 2)] {
            let table = Table {
                sector_bytes: 512,
                entries: vec![Entry {
                    first_sector,
                    len_sectors,
                    ..entry(1)
                }],
            };
            let problem = locate(&table, 1, u64::MAX).unwrap_err();
            assert!(problem.contains("but the disk ends"), "{problem}");
        }
    }
}

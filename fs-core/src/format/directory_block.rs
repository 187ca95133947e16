//! Linear directory blocks: records that fill the block to its end, or to a
//! checksum disguised as a last, nameless record (ext4 on-disk layout,
//! "Linear (Classic) Directories").

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::error::{Error, Result};
use crate::format::checksum::crc32c_raw;
use crate::types::{FileType, FsBlock, InodeNumber};

/// Head of a record; the name follows.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawEntry {
    inode: U32,    // 0x0
    rec_len: U16,  // 0x4
    name_len: u8,  // 0x6
    file_type: u8, // 0x7
}

/// The checksum at the end of a block.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawTail {
    det_reserved_zero1: U32, // 0x0
    det_rec_len: U16,        // 0x4
    det_reserved_zero2: u8,  // 0x6
    det_reserved_ft: u8,     // 0x7
    det_checksum: U32,       // 0x8
}

pub(super) const HEAD_BYTES: usize = 8;
pub(crate) const TAIL_BYTES: usize = 12;
const TAIL_FILE_TYPE: u8 = 0xDE;
/// The shortest record: a head and a name of up to 4 bytes.
pub(super) const RECORD_BYTES_MIN: usize = 12;
const _: () = assert!(size_of::<RawEntry>() == HEAD_BYTES && size_of::<RawTail>() == TAIL_BYTES);

/// The rules that differ between volumes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// Highest inode number of the volume.
    pub(crate) inodes_count: u32,
    /// Whether records hold types (feature filetype).
    pub(crate) has_types: bool,
}

/// One record that holds a name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) inode: InodeNumber,
    pub(crate) file_type: Option<FileType>,
    /// Offset of the following record in the area.
    pub(crate) end: usize,
}

/// What a record may not be.
#[derive(Debug)]
pub(crate) struct BadRecord {
    pub(crate) offset: usize,
    pub(crate) expected: String,
    pub(crate) found: String,
}

impl BadRecord {
    pub(crate) fn into_error(
        self,
        structure: &dyn std::fmt::Display,
        block: Option<FsBlock>,
    ) -> Error {
        Error::corrupt(
            format!("directory record at byte {} of {structure}", self.offset),
            block,
            self.expected,
            self.found,
        )
    }
}

/// Walks the records of an area from `offset`, empty ones left out.
pub(crate) struct Entries<'a> {
    area: &'a [u8],
    offset: usize,
    rules: Rules,
}

/// The records of `area` from byte `offset` on, which must be a record's start.
pub(crate) fn entries(area: &[u8], offset: usize, rules: Rules) -> Entries<'_> {
    Entries {
        area,
        offset,
        rules,
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = std::result::Result<Entry<'a>, BadRecord>;

    fn next(&mut self) -> Option<Self::Item> {
        // Every record is at least 12 bytes, so this ends.
        while self.offset < self.area.len() {
            match record(self.area, self.offset, self.rules) {
                Ok((end, entry)) => {
                    self.offset = end;
                    if let Some(entry) = entry {
                        return Some(Ok(entry));
                    }
                }
                Err(bad) => {
                    self.offset = self.area.len();
                    return Some(Err(bad));
                }
            }
        }
        None
    }
}

/// The record at `offset`: where it ends, and its entry unless it is empty.
fn record(
    area: &[u8],
    offset: usize,
    rules: Rules,
) -> std::result::Result<(usize, Option<Entry<'_>>), BadRecord> {
    let bad = |expected: &dyn std::fmt::Display, found: &dyn std::fmt::Display| BadRecord {
        offset,
        expected: expected.to_string(),
        found: found.to_string(),
    };
    let left = area.get(offset..).unwrap_or(&[]);
    let (raw, rest) = RawEntry::ref_from_prefix(left)
        .map_err(|_| bad(&"a record of 12 or more bytes", &left.len()))?;
    let len = record_len(raw.rec_len.get(), area.len());
    if !len.is_multiple_of(4) || !(RECORD_BYTES_MIN..=left.len()).contains(&len) {
        let expected = format!("rec_len a multiple of 4 from 12 to {}", left.len());
        return Err(bad(&expected, &len));
    }
    let end = offset + len;
    let Some(inode) = Some(raw.inode.get()).filter(|&inode| inode != 0) else {
        return Ok((end, None));
    };
    let name_len = usize::from(raw.name_len);
    let name = rest
        .get(..name_len)
        .filter(|_| HEAD_BYTES + name_len <= len)
        .ok_or_else(|| {
            bad(
                &format_args!("name_len of at most {}", len - HEAD_BYTES),
                &name_len,
            )
        })?;
    if inode > rules.inodes_count {
        return Err(bad(
            &format_args!("an inode up to {}", rules.inodes_count),
            &inode,
        ));
    }
    if name.is_empty() || name.contains(&b'/') || name.contains(&0) {
        let found = format!("\"{}\"", name.escape_ascii());
        return Err(bad(&"a name without '/' and NUL", &found));
    }
    let file_type = rules
        .has_types
        .then(|| FileType::from_dirent(raw.file_type))
        .flatten();
    let entry = Entry {
        name,
        inode: InodeNumber(inode),
        file_type,
        end,
    };
    Ok((end, Some(entry)))
}

/// `rec_len` has 16 bits; 64 KiB is written as 0 or 65535, and the two low
/// bits, always zero in a length, stand for bits 16 and 17.
pub(super) fn record_len(rec_len: u16, area_len: usize) -> usize {
    let raw = usize::from(rec_len);
    if area_len < 1 << 16 {
        raw
    } else if raw == 0 || raw == 65535 {
        area_len
    } else {
        raw & 65532 | (raw & 3) << 16
    }
}

/// The part of a block that holds records: all of it, or up to the checksum.
pub(crate) fn records_area(bytes: &[u8], has_checksum: bool) -> &[u8] {
    let end = if has_checksum {
        bytes.len().saturating_sub(TAIL_BYTES)
    } else {
        bytes.len()
    };
    bytes.get(..end).unwrap_or(bytes)
}

/// The same, to be changed.
pub(crate) fn records_area_mut(bytes: &mut [u8], has_checksum: bool) -> &mut [u8] {
    let end = records_area(bytes, has_checksum).len();
    bytes.get_mut(..end).unwrap_or_default()
}

/// A directory block under construction: records in the order they are pushed,
/// the last stretched to the end.
#[derive(Debug)]
pub struct DirectoryBlock {
    bytes: Vec<u8>,
    /// Where the next record starts.
    used: usize,
    /// Where the last record starts.
    last: Option<usize>,
    has_types: bool,
    checksum_seed: Option<u32>,
}

impl DirectoryBlock {
    /// An empty block of `len_bytes`. `checksum_seed` is the directory's own, if the
    /// volume has checksums.
    pub fn new(len_bytes: usize, has_types: bool, checksum_seed: Option<u32>) -> Self {
        Self {
            bytes: vec![0; len_bytes],
            used: 0,
            last: None,
            has_types,
            checksum_seed,
        }
    }

    /// Bytes a record for a name of this length takes.
    pub fn record_bytes(name_len: usize) -> usize {
        (HEAD_BYTES + name_len).next_multiple_of(4)
    }

    /// Bytes the records of a block may take together.
    pub fn capacity_bytes(len_bytes: usize, has_checksum: bool) -> usize {
        len_bytes - if has_checksum { TAIL_BYTES } else { 0 }
    }

    /// Appends a record; false, and nothing happens, if there is no room.
    pub fn push(&mut self, name: &[u8], inode: InodeNumber, file_type: FileType) -> bool {
        let len = Self::record_bytes(name.len());
        let end = Self::capacity_bytes(self.bytes.len(), self.checksum_seed.is_some());
        let Ok(name_len) = u8::try_from(name.len()) else {
            return false;
        };
        let Some(room) = self
            .bytes
            .get_mut(self.used..end)
            .filter(|room| room.len() >= len)
        else {
            return false;
        };
        let head = RawEntry {
            inode: inode.0.into(),
            rec_len: encoded_record_len(len),
            name_len,
            file_type: if self.has_types {
                file_type.dirent_code()
            } else {
                0
            },
        };
        let record = head.as_bytes().iter().chain(name);
        room.iter_mut()
            .zip(record)
            .for_each(|(to, from)| *to = *from);
        self.last = Some(self.used);
        self.used += len;
        true
    }

    /// The bytes: the last record stretched (an empty one if there is none), the
    /// checksum in place.
    pub fn finish(mut self) -> Vec<u8> {
        let end = Self::capacity_bytes(self.bytes.len(), self.checksum_seed.is_some());
        let last = self.last.unwrap_or(0);
        let rec_len = encoded_record_len(end - last);
        if let Some(field) = self.bytes.get_mut(last + 4..last + 6) {
            field.copy_from_slice(rec_len.as_bytes());
        }
        if let Some(seed) = self.checksum_seed {
            set_checksum(seed, &mut self.bytes);
        }
        self.bytes
    }
}

/// `rec_len` of a record; see [`record_len`] for lengths of 64 KiB and more.
pub(super) fn encoded_record_len(len: usize) -> U16 {
    u16::try_from(len).unwrap_or(u16::MAX).into()
}

/// Writes the checksum record into the last 12 bytes of a block.
pub(crate) fn set_checksum(seed: u32, bytes: &mut [u8]) {
    let Some((covered, tail)) = bytes
        .len()
        .checked_sub(TAIL_BYTES)
        .and_then(|at| bytes.split_at_mut_checked(at))
    else {
        return;
    };
    let raw = RawTail {
        det_reserved_zero1: U32::ZERO,
        det_rec_len: encoded_record_len(TAIL_BYTES),
        det_reserved_zero2: 0,
        det_reserved_ft: TAIL_FILE_TYPE,
        det_checksum: crc32c_raw(seed, covered).into(),
    };
    tail.copy_from_slice(raw.as_bytes());
}

/// Checks the checksum at the end of a block.
pub(crate) fn check_checksum(
    structure: &dyn std::fmt::Display,
    seed: u32,
    block: FsBlock,
    bytes: &[u8],
) -> Result<()> {
    let covered = records_area(bytes, true);
    let tail = bytes
        .get(covered.len()..)
        .and_then(|tail| RawTail::ref_from_bytes(tail).ok());
    let Some(tail) = tail.filter(|tail| {
        tail.det_reserved_zero1.get() == 0
            && usize::from(tail.det_rec_len.get()) == TAIL_BYTES
            && tail.det_reserved_zero2 == 0
            && tail.det_reserved_ft == TAIL_FILE_TYPE
    }) else {
        return Err(Error::corrupt(
            structure,
            Some(block),
            "a checksum record in the last 12 bytes",
            "none",
        ));
    };
    let computed = crc32c_raw(seed, covered);
    Error::check_checksum(structure, Some(block), computed, tail.det_checksum.get())
}

/// Checks every record of an area.
pub(crate) fn check(
    structure: &dyn std::fmt::Display,
    block: Option<FsBlock>,
    area: &[u8],
    rules: Rules,
) -> Result<()> {
    entries(area, 0, rules)
        .find_map(std::result::Result::err)
        .map_or(Ok(()), |bad| Err(bad.into_error(structure, block)))
}

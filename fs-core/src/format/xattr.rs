//! Extended attributes: a list of entries that grows up from a header and
//! values that grow down from the end, in the tail of an inode or in a block
//! of their own (ext4 on-disk layout, "Extended Attributes").

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::error::{Error, Result};
use crate::format::checksum::crc32c_raw;
use crate::types::{FsBlock, InodeNumber};

/// Head of an xattr block.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct RawHeader {
    pub(super) h_magic: U32,         // 0x00
    pub(super) h_refcount: U32,      // 0x04
    pub(super) h_blocks: U32,        // 0x08
    pub(super) h_hash: U32,          // 0x0C
    pub(super) h_checksum: U32,      // 0x10
    pub(super) h_reserved: [U32; 3], // 0x14
}

/// Head of an entry; the name follows.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct RawEntry {
    pub(super) e_name_len: u8,    // 0x0
    pub(super) e_name_index: u8,  // 0x1
    pub(super) e_value_offs: U16, // 0x2
    pub(super) e_value_inum: U32, // 0x4
    pub(super) e_value_size: U32, // 0x8
    pub(super) e_hash: U32,       // 0xC
}

pub(super) const HEADER_BYTES: usize = 32;
pub(super) const ENTRY_BYTES: usize = 16;
const _: () =
    assert!(size_of::<RawHeader>() == HEADER_BYTES && size_of::<RawEntry>() == ENTRY_BYTES);
pub(super) const MAGIC: u32 = 0xEA02_0000;
const CHECKSUM_OFFSET: usize = 0x10;
/// The largest value Linux takes (XATTR_SIZE_MAX).
pub const VALUE_BYTES_MAX: u32 = 65536;

/// `e_name_index` of POSIX access ACLs.
pub const INDEX_ACL_ACCESS: u8 = 2;
/// `e_name_index` of POSIX default ACLs.
pub const INDEX_ACL_DEFAULT: u8 = 3;
/// `e_name_index` of "system.": inline data is `system.data`.
pub const INDEX_SYSTEM: u8 = 7;

/// Prefixes a user can name, by `e_name_index`. The rest ("system.data",
/// encryption contexts, Lustre's) is ext4's own business.
const PREFIXES: &[(u8, &str)] = &[
    (1, "user."),
    (INDEX_ACL_ACCESS, "system.posix_acl_access"),
    (INDEX_ACL_DEFAULT, "system.posix_acl_default"),
    (4, "trusted."),
    (6, "security."),
    (8, "system.richacl"),
    (10, "gnu."),
];

/// Splits a full name into index and rest; `None` for a name ext4 cannot store.
pub fn split_name(name: &[u8]) -> Option<(u8, &[u8])> {
    PREFIXES.iter().find_map(|(index, prefix)| {
        let rest = name.strip_prefix(prefix.as_bytes())?;
        // An index is either a prefix that wants a rest, or a whole name.
        (prefix.ends_with('.') != rest.is_empty()).then_some((*index, rest))
    })
}

/// The full name, if it is one users see.
pub(crate) fn full_name(index: u8, rest: &[u8]) -> Option<Vec<u8>> {
    PREFIXES
        .iter()
        .find(|(number, prefix)| *number == index && prefix.ends_with('.') != rest.is_empty())
        .map(|(_, prefix)| [prefix.as_bytes(), rest].concat())
}

/// Where an entry's value lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// Beside the entries.
    Here(&'a [u8]),
    /// The content of an EA inode; `hash` is the entry's.
    InInode {
        inode: InodeNumber,
        size_bytes: u32,
        hash: u32,
    },
}

/// One checked entry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'a> {
    pub(crate) index: u8,
    pub(crate) name: &'a [u8],
    pub(crate) value: Value<'a>,
}

/// Checks the magic number, reference count and checksum of an xattr block.
pub(crate) fn check_block(
    structure: &dyn std::fmt::Display,
    block: FsBlock,
    bytes: &[u8],
    checksum_seed: Option<u32>,
) -> Result<()> {
    let bad = |expected: &dyn std::fmt::Display, found: &dyn std::fmt::Display| {
        Error::corrupt(structure, Some(block), expected, found)
    };
    let (header, _) = RawHeader::ref_from_prefix(bytes)
        .map_err(|_| bad(&"a header of 32 bytes", &bytes.len()))?;
    if header.h_magic.get() != MAGIC {
        let found = format!("{:#010x}", header.h_magic.get());
        return Err(bad(&format_args!("magic number {MAGIC:#010x}"), &found));
    }
    if header.h_blocks.get() != 1 {
        return Err(bad(&"h_blocks of 1", &header.h_blocks));
    }
    let Some(seed) = checksum_seed else {
        return Ok(());
    };
    let computed = block_checksum(seed, block, bytes);
    Error::check_checksum(structure, Some(block), computed, header.h_checksum.get())
}

/// `h_refcount` and `h_hash` of a checked block: how many inodes own it, and what blocks of
/// equal content are found by (0: not at all).
pub(crate) fn references_and_hash(bytes: &[u8]) -> (u32, u32) {
    match RawHeader::ref_from_prefix(bytes) {
        Ok((header, _)) => (header.h_refcount.get(), header.h_hash.get()),
        Err(_) => (0, 0),
    }
}

/// What makes two blocks equal: all that follows the header.
pub(crate) fn block_content(bytes: &[u8]) -> &[u8] {
    bytes.get(HEADER_BYTES..).unwrap_or(&[])
}

/// The checksum an xattr block ought to carry. `seed` is the volume's.
pub(super) fn block_checksum(seed: u32, block: FsBlock, bytes: &[u8]) -> u32 {
    let piece = |range: std::ops::Range<usize>| bytes.get(range).unwrap_or(&[]);
    let crc = crc32c_raw(seed, &block.0.to_le_bytes());
    let crc = crc32c_raw(crc, piece(0..CHECKSUM_OFFSET));
    let crc = crc32c_raw(crc, &[0; 4]);
    crc32c_raw(crc, piece(CHECKSUM_OFFSET + 4..bytes.len()))
}

/// The checked entries of an xattr block.
pub(crate) fn block_entries<'a>(
    structure: &dyn std::fmt::Display,
    block: FsBlock,
    bytes: &'a [u8],
) -> Result<Vec<Entry<'a>>> {
    entries(structure, Some(block), bytes, HEADER_BYTES, 0)
}

/// Whether the tail of an inode holds attributes.
pub(crate) fn has_magic(area: &[u8]) -> bool {
    U32::ref_from_prefix(area).is_ok_and(|(magic, _)| magic.get() == MAGIC)
}

/// The checked entries in the tail of an inode; none without the magic number.
pub(crate) fn inode_entries<'a>(
    structure: &dyn std::fmt::Display,
    area: &'a [u8],
) -> Result<Vec<Entry<'a>>> {
    if has_magic(area) {
        entries(structure, None, area, 4, 4)
    } else {
        Ok(Vec::new())
    }
}

/// Reads the list that starts at byte `first` of `area`; values are counted
/// from byte `base`.
fn entries<'a>(
    structure: &dyn std::fmt::Display,
    block: Option<FsBlock>,
    area: &'a [u8],
    first: usize,
    base: usize,
) -> Result<Vec<Entry<'a>>> {
    let values = area.get(base..).unwrap_or(&[]);
    let mut found = Vec::new();
    let mut at = first;
    // Four zero bytes end the list; so does the end of the area in an inode.
    while let Some(left) = area.get(at..).filter(|left| left.len() >= 4) {
        if left.starts_with(&[0; 4]) {
            return check_overlap(structure, block, at - base, &found, values).map(|()| found);
        }
        let (entry, len) = entry(left, values).map_err(|(expected, what)| {
            Error::corrupt(
                format!("xattr entry at byte {at} of {structure}"),
                block,
                expected,
                what,
            )
        })?;
        found.push(entry);
        at += len;
    }
    Err(Error::corrupt(
        structure,
        block,
        "an end of the xattr list within the area",
        format_args!("entries up to byte {at} of {}", area.len()),
    ))
}

/// Values must lie behind the list's end, `list_end` bytes into `values`.
fn check_overlap(
    structure: &dyn std::fmt::Display,
    block: Option<FsBlock>,
    list_end: usize,
    entries: &[Entry<'_>],
    values: &[u8],
) -> Result<()> {
    let start_of = |value: &[u8]| value.as_ptr().addr() - values.as_ptr().addr();
    for entry in entries {
        if let Value::Here(value) = entry.value
            && !value.is_empty()
            && start_of(value) < list_end + 4
        {
            return Err(Error::corrupt(
                format!("xattr \"{}\" of {structure}", entry.name.escape_ascii()),
                block,
                format_args!("a value at byte {} or later", list_end + 4),
                format_args!("byte {}", start_of(value)),
            ));
        }
    }
    Ok(())
}

fn entry<'a>(
    left: &'a [u8],
    values: &'a [u8],
) -> std::result::Result<(Entry<'a>, usize), (String, String)> {
    let (raw, rest) = RawEntry::ref_from_prefix(left)
        .map_err(|_| ("16 bytes".to_owned(), left.len().to_string()))?;
    let name_len = usize::from(raw.e_name_len);
    let name = rest.get(..name_len).ok_or_else(|| {
        (
            format!("a name within {} bytes", rest.len()),
            name_len.to_string(),
        )
    })?;
    if name.contains(&0) {
        return Err((
            "a name without NUL".to_owned(),
            format!("\"{}\"", name.escape_ascii()),
        ));
    }
    let size = raw.e_value_size.get();
    let value = if raw.e_value_inum.get() == 0 {
        let start = usize::from(raw.e_value_offs.get());
        let value = usize::try_from(size)
            .ok()
            .and_then(|size| values.get(start..start.checked_add(size)?))
            // An empty value may point anywhere.
            .or_else(|| (size == 0).then_some(&[][..]))
            .ok_or_else(|| {
                (
                    format!("a value within {} bytes", values.len()),
                    format!("{size} bytes at byte {start}"),
                )
            })?;
        Value::Here(value)
    } else {
        if size > VALUE_BYTES_MAX {
            return Err((
                format!("a value of at most {VALUE_BYTES_MAX} bytes"),
                size.to_string(),
            ));
        }
        Value::InInode {
            inode: InodeNumber(raw.e_value_inum.get()),
            size_bytes: size,
            hash: raw.e_hash.get(),
        }
    };
    let entry = Entry {
        index: raw.e_name_index,
        name,
        value,
    };
    Ok((entry, (ENTRY_BYTES + name_len).next_multiple_of(4)))
}

/// `e_hash` of an entry whose value is in an EA inode: the name's hash and
/// then the value's CRC-32C as one word.
pub(crate) fn entry_hash(name: &[u8], value_hash: u32, signed: bool) -> u32 {
    let name_hash = name.iter().fold(0u32, |hash, &byte| {
        let byte = if signed {
            i32::from(byte.cast_signed()).cast_unsigned()
        } else {
            u32::from(byte)
        };
        hash.rotate_left(5) ^ byte
    });
    name_hash.rotate_left(16) ^ value_hash
}

//! Index blocks of hashed directories. To who does not know them they look
//! like blocks whose records are empty; hidden in there lie a header and
//! (hash, block) pairs sorted by hash (ext4 on-disk layout, "Hash Tree
//! Directories").

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::error::{Error, Result};
use crate::format::checksum::crc32c_raw;
use crate::types::{FileBlock, FsBlock};

/// `dx_root_info`, behind the records of "." and "..".
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawRootInfo {
    reserved_zero: U32,  // 0x0
    hash_version: u8,    // 0x4
    info_length: u8,     // 0x5
    indirect_levels: u8, // 0x6
    unused_flags: u8,    // 0x7
}

/// A pair. The first of a block holds limit and count in place of the hash.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
pub(crate) struct RawIndexEntry {
    pub(crate) hash: U32,  // 0x0
    pub(crate) block: U32, // 0x4
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawCountLimit {
    limit: U16, // 0x0
    count: U16, // 0x2
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawTail {
    dt_reserved: U32, // 0x0
    dt_checksum: U32, // 0x4
}

const ROOT_INFO_OFFSET: usize = 24;
const ROOT_INFO_BYTES: u8 = 8;
/// Where the pairs of the root start.
const ROOT_PAIRS: usize = ROOT_INFO_OFFSET + ROOT_INFO_BYTES as usize;
/// Where the pairs of every other index block start: behind an empty record.
const NODE_PAIRS: usize = 8;
const PAIR_BYTES: usize = 8;
const TAIL_BYTES: usize = 8;
/// The high 4 bits of a block number are reserved.
const BLOCK_MASK: u32 = 0x0FFF_FFFF;

/// Which of the two kinds an index block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Root,
    Node,
}

impl Kind {
    fn pairs_offset(self) -> usize {
        match self {
            Self::Root => ROOT_PAIRS,
            Self::Node => NODE_PAIRS,
        }
    }
}

/// What the root says of the tree.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RootInfo {
    pub(crate) hash_version: u8,
    /// Index levels below the root: 0 if it points to leaves.
    pub(crate) indirect_levels: u8,
}

impl RawIndexEntry {
    pub(crate) fn file_block(&self) -> FileBlock {
        FileBlock((self.block.get() & BLOCK_MASK).into())
    }
}

/// The pairs of a checked index block; the first one's hash means nothing (0).
pub(crate) fn pairs(bytes: &[u8], kind: Kind) -> &[RawIndexEntry] {
    let area = bytes.get(kind.pairs_offset()..).unwrap_or(&[]);
    let count =
        RawCountLimit::ref_from_prefix(area).map_or(0, |(head, _)| usize::from(head.count.get()));
    <[RawIndexEntry]>::ref_from_prefix_with_elems(area, count).map_or(&[], |(pairs, _)| pairs)
}

/// What a checked root says of the tree.
pub(crate) fn root_info(bytes: &[u8]) -> Option<RootInfo> {
    let (raw, _) = RawRootInfo::ref_from_prefix(bytes.get(ROOT_INFO_OFFSET..)?).ok()?;
    Some(RootInfo {
        hash_version: raw.hash_version,
        indirect_levels: raw.indirect_levels,
    })
}

/// True if a block behind the first looks like an index node: one empty
/// record that spans it.
pub(crate) fn looks_like_node(bytes: &[u8]) -> bool {
    let spans = match bytes.get(..6) {
        Some([0, 0, 0, 0, low, high]) => {
            let rec_len = usize::from(u16::from_le_bytes([*low, *high]));
            rec_len == bytes.len() || bytes.len() >= 1 << 16 && (rec_len == 0 || rec_len == 65535)
        }
        _ => false,
    };
    spans && bytes.get(6) == Some(&0)
}

/// Checks an index block: header, room, order of hashes, checksum.
pub(crate) fn check(
    structure: &dyn std::fmt::Display,
    block: FsBlock,
    bytes: &[u8],
    kind: Kind,
    levels_max: u8,
    checksum_seed: Option<u32>,
) -> Result<()> {
    let bad = |expected: &dyn std::fmt::Display, found: &dyn std::fmt::Display| {
        Error::corrupt(structure, Some(block), expected, found)
    };
    if kind == Kind::Root {
        let (info, _) = bytes
            .get(ROOT_INFO_OFFSET..)
            .and_then(|info| RawRootInfo::ref_from_prefix(info).ok())
            .ok_or_else(|| bad(&"a hash tree root", &"a short block"))?;
        if info.info_length != ROOT_INFO_BYTES {
            return Err(bad(&"info_length of 8", &info.info_length));
        }
        if info.indirect_levels > levels_max {
            return Err(bad(
                &format_args!("indirect_levels of at most {levels_max}"),
                &info.indirect_levels,
            ));
        }
    }
    let offset = kind.pairs_offset();
    let area = bytes.get(offset..).unwrap_or(&[]);
    let tail_bytes = checksum_seed.map_or(0, |_| TAIL_BYTES);
    let room = area.len().saturating_sub(tail_bytes) / PAIR_BYTES;
    let (head, _) = RawCountLimit::ref_from_prefix(area)
        .map_err(|_| bad(&"a limit and a count", &"a short block"))?;
    let (limit, count) = (usize::from(head.limit.get()), usize::from(head.count.get()));
    if limit != room {
        return Err(bad(&format_args!("limit of {room}"), &limit));
    }
    if !(1..=limit).contains(&count) {
        return Err(bad(&format_args!("count of 1 to {limit}"), &count));
    }
    if let Some(seed) = checksum_seed {
        check_checksum(
            structure,
            block,
            bytes,
            seed,
            offset + limit * PAIR_BYTES,
            offset + count * PAIR_BYTES,
        )?;
    }
    let unsorted = pairs(bytes, kind)
        .get(1..)
        .unwrap_or(&[])
        .is_sorted_by(|a, b| a.hash.get() <= b.hash.get());
    if !unsorted {
        return Err(bad(
            &"hashes in rising order",
            &"a lower hash behind a higher one",
        ));
    }
    Ok(())
}

fn check_checksum(
    structure: &dyn std::fmt::Display,
    block: FsBlock,
    bytes: &[u8],
    seed: u32,
    tail_at: usize,
    used_end: usize,
) -> Result<()> {
    let used = bytes.get(..used_end).unwrap_or(bytes);
    let Some((tail, _)) = bytes
        .get(tail_at..)
        .and_then(|tail| RawTail::ref_from_prefix(tail).ok())
    else {
        return Err(Error::corrupt(
            structure,
            Some(block),
            "a checksum at the end",
            "none",
        ));
    };
    // The tail counts too, its checksum as zero.
    let crc = crc32c_raw(seed, used);
    let crc = crc32c_raw(crc, tail.dt_reserved.as_bytes());
    let computed = crc32c_raw(crc, &[0; 4]);
    Error::check_checksum(structure, Some(block), computed, tail.dt_checksum.get())
}

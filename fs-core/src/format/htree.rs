//! Index blocks of hashed directories. To who does not know them they look
//! like blocks whose records are empty; hidden in there lie a header and
//! (hash, block) pairs sorted by hash (ext4 on-disk layout, "Hash Tree
//! Directories").

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::error::{Error, ErrorKind, Result};
use crate::format::checksum::crc32c_raw;
use crate::format::directory_block::DirectoryBlock;
use crate::types::{FileBlock, FileType, FsBlock, InodeNumber};

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
/// The last block of a directory an index can name.
pub(crate) const BLOCK_MAX: u64 = BLOCK_MASK as u64;

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

/// What the root of a new tree says, but for its pairs.
#[derive(Debug, Clone, Copy)]
pub struct RootFields {
    /// The directory itself.
    pub directory: InodeNumber,
    /// Its parent.
    pub parent: InodeNumber,
    /// Whether records hold types (feature filetype).
    pub has_types: bool,
    /// `s_def_hash_version`.
    pub hash_version: u8,
    /// Index levels below the root: 0 if it points to leaves.
    pub indirect_levels: u8,
}

/// Pairs that the root has room for.
pub fn root_capacity(block_bytes: usize, has_checksum: bool) -> usize {
    capacity(Kind::Root, block_bytes, has_checksum)
}

/// Pairs that an index block other than the root has room for.
pub fn node_capacity(block_bytes: usize, has_checksum: bool) -> usize {
    capacity(Kind::Node, block_bytes, has_checksum)
}

/// Pairs an index block of this kind has room for.
pub(crate) fn capacity(kind: Kind, block_bytes: usize, has_checksum: bool) -> usize {
    let tail_bytes = if has_checksum { TAIL_BYTES } else { 0 };
    block_bytes.saturating_sub(kind.pairs_offset() + tail_bytes) / PAIR_BYTES
}

/// The first block of a hashed directory. `pairs` are the lowest hash in each
/// child (its lowest bit set if the hash goes on from the child before) and the
/// child; the first one's hash is not stored. `checksum_seed` is the
/// directory's own, if the volume has checksums.
///
/// # Errors
/// `InvalidInput` if there are no or too many pairs.
pub fn encode_root(
    fields: &RootFields,
    pairs: &[(u32, FileBlock)],
    block_bytes: usize,
    checksum_seed: Option<u32>,
) -> Result<Vec<u8>> {
    let mut records = DirectoryBlock::new(block_bytes, fields.has_types, None);
    records.push(b".", fields.directory, FileType::Directory);
    records.push(b"..", fields.parent, FileType::Directory);
    let mut bytes = records.finish();
    let info = RawRootInfo {
        reserved_zero: U32::ZERO,
        hash_version: fields.hash_version,
        info_length: ROOT_INFO_BYTES,
        indirect_levels: fields.indirect_levels,
        unused_flags: 0,
    };
    put(&mut bytes, ROOT_INFO_OFFSET, info.as_bytes())?;
    encode_pairs(Kind::Root, pairs, &mut bytes, checksum_seed)?;
    Ok(bytes)
}

/// Any other index block; see [`encode_root`].
///
/// # Errors
/// `InvalidInput` if there are no or too many pairs.
pub fn encode_node(
    pairs: &[(u32, FileBlock)],
    block_bytes: usize,
    checksum_seed: Option<u32>,
) -> Result<Vec<u8>> {
    let mut bytes = DirectoryBlock::new(block_bytes, false, None).finish();
    encode_pairs(Kind::Node, pairs, &mut bytes, checksum_seed)?;
    Ok(bytes)
}

fn encode_pairs(
    kind: Kind,
    pairs: &[(u32, FileBlock)],
    bytes: &mut [u8],
    checksum_seed: Option<u32>,
) -> Result<()> {
    let does_not_fit = || Error::from(ErrorKind::InvalidInput("the pairs do not fit the index"));
    let limit = capacity(kind, bytes.len(), checksum_seed.is_some());
    if pairs.is_empty() || pairs.len() > limit {
        return Err(does_not_fit());
    }
    let head = RawCountLimit {
        limit: u16::try_from(limit).map_err(|_| does_not_fit())?.into(),
        count: u16::try_from(pairs.len())
            .map_err(|_| does_not_fit())?
            .into(),
    };
    let offset = kind.pairs_offset();
    for (index, (hash, block)) in pairs.iter().enumerate() {
        let block = u32::try_from(block.0)
            .ok()
            .filter(|block| *block <= BLOCK_MASK)
            .ok_or_else(does_not_fit)?;
        let raw = RawIndexEntry {
            hash: (*hash).into(),
            block: block.into(),
        };
        put(bytes, offset + index * PAIR_BYTES, raw.as_bytes())?;
    }
    put(bytes, offset, head.as_bytes())?;
    match checksum_seed {
        Some(seed) => set_checksum(bytes, kind, seed),
        None => Ok(()),
    }
}

/// Sets the checksum of an index block whose pairs are in place.
///
/// # Errors
/// `InvalidInput` if count or limit reach out of the block.
pub(crate) fn set_checksum(bytes: &mut [u8], kind: Kind, seed: u32) -> Result<()> {
    let offset = kind.pairs_offset();
    let used = bytes
        .get(..offset + pairs(bytes, kind).len() * PAIR_BYTES)
        .ok_or(ErrorKind::InvalidInput("the pairs do not fit the index"))?;
    // The tail counts too: its first half is zero, and so is its checksum.
    let crc = crc32c_raw(crc32c_raw(seed, used), &[0; TAIL_BYTES]);
    let tail = RawTail {
        dt_reserved: U32::ZERO,
        dt_checksum: crc.into(),
    };
    let limit = capacity(kind, bytes.len(), true);
    put(bytes, offset + limit * PAIR_BYTES, tail.as_bytes())
}

/// Replaces the pairs of an index block, see [`encode_root`], and its checksum.
///
/// # Errors
/// `InvalidInput` if there are no or too many pairs.
pub(crate) fn set_pairs(
    bytes: &mut [u8],
    kind: Kind,
    pairs: &[(u32, FileBlock)],
    checksum_seed: Option<u32>,
) -> Result<()> {
    encode_pairs(kind, pairs, bytes, checksum_seed)
}

/// Sets the number of index levels below the root. The checksum is set afterwards.
pub(crate) fn set_levels(bytes: &mut [u8], levels: u8) {
    let info = bytes.get_mut(ROOT_INFO_OFFSET..);
    if let Some((raw, _)) = info.and_then(|info| RawRootInfo::mut_from_prefix(info).ok()) {
        raw.indirect_levels = levels;
    }
}

fn put(bytes: &mut [u8], at: usize, from: &[u8]) -> Result<()> {
    bytes
        .get_mut(at..)
        .and_then(|bytes| bytes.get_mut(..from.len()))
        .ok_or(ErrorKind::InvalidInput(
            "the block is too small for an index",
        ))?
        .copy_from_slice(from);
    Ok(())
}

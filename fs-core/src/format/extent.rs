//! Nodes of the extent tree: a header, then extents (leaf) or indexes
//! (ext4 on-disk layout, "Extent Tree"). The root lies in `i_block`, the
//! others fill a block and end in a checksum.

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::error::{Error, ErrorKind, Result};
use crate::format::checksum::crc32c_raw;
use crate::format::superblock::Superblock;
use crate::run::{ExtentState, MappedExtent};
use crate::types::{FileBlock, FsBlock};

/// First 12 bytes of a node.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct RawHeader {
    pub(crate) eh_magic: U16,      // 0x0
    pub(crate) eh_entries: U16,    // 0x2
    pub(crate) eh_max: U16,        // 0x4
    pub(crate) eh_depth: U16,      // 0x6
    pub(crate) eh_generation: U32, // 0x8
}

/// An entry of a leaf.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct RawExtent {
    pub(crate) ee_block: U32,    // 0x0
    pub(crate) ee_len: U16,      // 0x4
    pub(crate) ee_start_hi: U16, // 0x6
    pub(crate) ee_start_lo: U32, // 0x8
}

/// An entry of an index node.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct RawIndex {
    pub(crate) ei_block: U32,   // 0x0
    pub(crate) ei_leaf_lo: U32, // 0x4
    pub(crate) ei_leaf_hi: U16, // 0x8
    pub(crate) ei_unused: U16,  // 0xA
}

const ENTRY_BYTES: usize = 12;
const _: () = assert!(
    size_of::<RawHeader>() == ENTRY_BYTES
        && size_of::<RawExtent>() == ENTRY_BYTES
        && size_of::<RawIndex>() == ENTRY_BYTES
);
/// `eh_magic`.
pub(crate) const MAGIC: u16 = 0xF30A;
/// The deepest tree: five levels of index nodes above the leaves.
pub(crate) const DEPTH_MAX: u16 = 5;
/// `ee_len` above this says "unwritten", by that much.
const INITIALISED_LEN_MAX: u16 = 32768;

/// An extent, typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) file_block: FileBlock,
    pub(crate) len_blocks: u64,
    pub(crate) start: FsBlock,
    pub(crate) unwritten: bool,
}

impl RawExtent {
    /// The entry for a run that is no hole and no longer than the format allows.
    ///
    /// # Errors
    /// `InvalidInput` if it is, or if its numbers do not fit.
    pub(crate) fn pack(run: &MappedExtent) -> Result<Self> {
        let pack = || {
            let (start, offset) = match run.state {
                ExtentState::Written(start) => (start, 0),
                ExtentState::Unwritten(start) => (start, INITIALISED_LEN_MAX),
                ExtentState::Hole => return None,
            };
            let len = u16::try_from(run.len_blocks).ok()?;
            let allowed = 1..=INITIALISED_LEN_MAX - u16::from(offset != 0);
            let (start_lo, start_hi) = split_block(start)?;
            allowed.contains(&len).then_some(Self {
                ee_block: u32::try_from(run.file_block.0).ok()?.into(),
                ee_len: (len + offset).into(),
                ee_start_hi: start_hi,
                ee_start_lo: start_lo,
            })
        };
        pack().ok_or_else(|| ErrorKind::InvalidInput("the extent does not fit").into())
    }

    /// First file block.
    pub(crate) fn first(&self) -> u64 {
        self.ee_block.get().into()
    }

    /// First file block after it.
    pub(crate) fn end(&self) -> u64 {
        self.typed().end()
    }

    pub(crate) fn typed(&self) -> Extent {
        let len = self.ee_len.get();
        let unwritten = len > INITIALISED_LEN_MAX;
        Extent {
            file_block: FileBlock(self.ee_block.get().into()),
            len_blocks: u64::from(if unwritten {
                len - INITIALISED_LEN_MAX
            } else {
                len
            }),
            start: FsBlock(
                u64::from(self.ee_start_lo.get()) | u64::from(self.ee_start_hi.get()) << 32,
            ),
            unwritten,
        }
    }
}

impl Extent {
    /// First file block after it.
    pub(crate) fn end(&self) -> u64 {
        self.file_block.0.saturating_add(self.len_blocks)
    }
}

impl RawIndex {
    /// The entry for a child that begins with this file block.
    ///
    /// # Errors
    /// `InvalidInput` if the numbers do not fit.
    pub(crate) fn pack(first: FileBlock, child: FsBlock) -> Result<Self> {
        let pack = || {
            let (leaf_lo, leaf_hi) = split_block(child)?;
            Some(Self {
                ei_block: u32::try_from(first.0).ok()?.into(),
                ei_leaf_lo: leaf_lo,
                ei_leaf_hi: leaf_hi,
                ei_unused: U16::ZERO,
            })
        };
        pack().ok_or_else(|| ErrorKind::InvalidInput("the extent index does not fit").into())
    }

    /// First file block the child answers for.
    pub(crate) fn key(&self) -> u64 {
        self.ei_block.get().into()
    }

    pub(crate) fn leaf(&self) -> FsBlock {
        FsBlock(u64::from(self.ei_leaf_lo.get()) | u64::from(self.ei_leaf_hi.get()) << 32)
    }
}

/// Entries a node of `len_bytes` has room for; blocks keep 4 bytes for the
/// checksum, whether the volume has checksums or not.
pub fn capacity(len_bytes: usize) -> usize {
    len_bytes.saturating_sub(ENTRY_BYTES) / ENTRY_BYTES
}

/// Longest extent of written data, in blocks; an unwritten one is a block shorter.
pub const WRITTEN_LEN_MAX: u64 = INITIALISED_LEN_MAX as u64;
/// Longest extent of unwritten blocks.
pub(crate) const UNWRITTEN_LEN_MAX: u64 = WRITTEN_LEN_MAX - 1;

/// Writes a leaf into `bytes` (60 for the root, else a block). The extents are
/// sorted, none longer than the format allows. A block's checksum is set by
/// [`set_checksum`].
///
/// # Errors
/// `InvalidInput` if they do not fit or are holes.
pub fn encode_leaf(extents: &[MappedExtent], bytes: &mut [u8]) -> Result<()> {
    let raw: Result<Vec<RawExtent>> = extents.iter().map(RawExtent::pack).collect();
    encode_node(0, &raw?, bytes)
}

/// Writes an index node of `depth` (1 to 5) into `bytes`: the first file block
/// below each child, and the child's block. See [`encode_leaf`].
///
/// # Errors
/// `InvalidInput` if the children do not fit.
pub fn encode_index(depth: u16, children: &[(FileBlock, FsBlock)], bytes: &mut [u8]) -> Result<()> {
    let raw: Result<Vec<RawIndex>> = children
        .iter()
        .map(|(file_block, child)| RawIndex::pack(*file_block, *child))
        .collect();
    encode_node(depth, &raw?, bytes)
}

/// The 48 bits of a block number as they lie on disk.
fn split_block(block: FsBlock) -> Option<(U32, U16)> {
    let [a, b, c, d, e, f, 0, 0] = block.0.to_le_bytes() else {
        return None;
    };
    Some((U32::from_bytes([a, b, c, d]), U16::from_bytes([e, f])))
}

/// Writes a node whose entries are packed already. See [`encode_leaf`].
pub(crate) fn encode_node<E: IntoBytes + Immutable>(
    depth: u16,
    entries: &[E],
    bytes: &mut [u8],
) -> Result<()> {
    let does_not_fit = || Error::from(ErrorKind::InvalidInput("the extents do not fit the node"));
    let max = capacity(bytes.len());
    let header = RawHeader {
        eh_magic: MAGIC.into(),
        eh_entries: u16::try_from(entries.len())
            .map_err(|_| does_not_fit())?
            .into(),
        eh_max: u16::try_from(max).map_err(|_| does_not_fit())?.into(),
        eh_depth: depth.into(),
        eh_generation: U32::ZERO,
    };
    if entries.len() > max {
        return Err(does_not_fit());
    }
    bytes.fill(0);
    let (head, rest) = bytes
        .split_at_mut_checked(ENTRY_BYTES)
        .ok_or_else(does_not_fit)?;
    head.copy_from_slice(header.as_bytes());
    rest.get_mut(..entries.len() * ENTRY_BYTES)
        .ok_or_else(does_not_fit)?
        .copy_from_slice(entries.as_bytes());
    Ok(())
}

/// Writes the checksum behind the last entry a node block has room for.
/// `seed` is the inode's ([`inode_checksum_seed`](crate::encode::inode_checksum_seed)).
pub fn set_checksum(seed: u32, bytes: &mut [u8]) {
    let at = (capacity(bytes.len()) + 1) * ENTRY_BYTES;
    if let Some((covered, tail)) = bytes.split_at_mut_checked(at)
        && let Some(tail) = tail.get_mut(..4)
    {
        tail.copy_from_slice(&crc32c_raw(seed, covered).to_le_bytes());
    }
}

/// The entries of a checked node, sorted by file block.
#[derive(Debug)]
pub(crate) enum Node<'a> {
    /// Depth 0.
    Leaf(&'a [RawExtent]),
    /// Depth 1 to 5; never empty.
    Index { depth: u16, entries: &'a [RawIndex] },
}

/// Views a node without checking more than its bounds. For bytes that
/// [`check`] has accepted, or that will be.
pub(crate) fn view(bytes: &[u8]) -> Option<Node<'_>> {
    let (header, rest) = RawHeader::ref_from_prefix(bytes).ok()?;
    let count = usize::from(header.eh_entries.get());
    let depth = header.eh_depth.get();
    if depth == 0 {
        let (entries, _) = <[RawExtent]>::ref_from_prefix_with_elems(rest, count).ok()?;
        Some(Node::Leaf(entries))
    } else {
        let (entries, _) = <[RawIndex]>::ref_from_prefix_with_elems(rest, count).ok()?;
        Some(Node::Index { depth, entries })
    }
}

/// Checks a node: magic, room, depth, order, overlaps, and that all blocks lie
/// in the volume. `depth` is what the parent demands; `None` for a root.
pub(crate) fn check(
    superblock: &Superblock,
    structure: &dyn std::fmt::Display,
    block: Option<FsBlock>,
    bytes: &[u8],
    depth: Option<u16>,
) -> Result<()> {
    let bad = |expected: &dyn std::fmt::Display, found: &dyn std::fmt::Display| {
        Error::corrupt(structure, block, expected, found)
    };
    let (header, rest) = RawHeader::ref_from_prefix(bytes)
        .map_err(|_| bad(&"an extent header of 12 bytes", &bytes.len()))?;
    if header.eh_magic.get() != MAGIC {
        let found = format!("{:#06x}", header.eh_magic.get());
        return Err(bad(&format_args!("magic number {MAGIC:#06x}"), &found));
    }
    let room = rest.len() / ENTRY_BYTES;
    let (entries, max) = (header.eh_entries.get(), header.eh_max.get());
    if usize::from(max) > room || max == 0 {
        return Err(bad(&format_args!("eh_max of 1 to {room}"), &max));
    }
    if entries > max {
        return Err(bad(&format_args!("eh_entries of at most {max}"), &entries));
    }
    let found = header.eh_depth.get();
    match depth {
        Some(depth) if found != depth => {
            return Err(bad(&format_args!("eh_depth of {depth}"), &found));
        }
        None if found > DEPTH_MAX => {
            return Err(bad(
                &format_args!("eh_depth of at most {DEPTH_MAX}"),
                &found,
            ));
        }
        _ => {}
    }
    match view(bytes) {
        None => Err(bad(&"entries within the node", &entries)),
        Some(Node::Leaf(entries)) => check_leaf(superblock, structure, block, entries),
        Some(Node::Index { entries, .. }) => check_index(superblock, structure, block, entries),
    }
}

fn check_leaf(
    superblock: &Superblock,
    structure: &dyn std::fmt::Display,
    block: Option<FsBlock>,
    entries: &[RawExtent],
) -> Result<()> {
    let mut free_from = 0;
    for (index, raw) in entries.iter().enumerate() {
        let extent = raw.typed();
        let bad = |expected: String| {
            Error::corrupt(
                format!("extent {index} of {structure}"),
                block,
                expected,
                format_args!(
                    "file block {}, {} blocks at block {}",
                    extent.file_block, extent.len_blocks, extent.start
                ),
            )
        };
        if extent.len_blocks == 0 {
            return Err(bad("a length of at least 1 block".into()));
        }
        if extent.file_block.0 < free_from {
            return Err(bad(format!("a start at file block {free_from} or later")));
        }
        if extent.end() > FILE_BLOCKS_MAX {
            return Err(bad(format!(
                "an end at file block {FILE_BLOCKS_MAX} or before"
            )));
        }
        if !superblock.contains_run(extent.start, extent.len_blocks) {
            return Err(bad(format!("blocks below {}", superblock.blocks_count)));
        }
        free_from = extent.end();
    }
    Ok(())
}

/// A file has at most this many blocks: file block numbers are 32 bits.
pub(crate) const FILE_BLOCKS_MAX: u64 = 1 << 32;

fn check_index(
    superblock: &Superblock,
    structure: &dyn std::fmt::Display,
    block: Option<FsBlock>,
    entries: &[RawIndex],
) -> Result<()> {
    if entries.is_empty() {
        return Err(Error::corrupt(structure, block, "at least 1 index", 0));
    }
    let mut free_from = 0;
    for (number, index) in entries.iter().enumerate() {
        let key = u64::from(index.ei_block.get());
        if key < free_from {
            return Err(Error::corrupt(
                format!("index {number} of {structure}"),
                block,
                format_args!("file block {free_from} or later"),
                key,
            ));
        }
        if !superblock.contains(index.leaf()) {
            return Err(Error::corrupt(
                format!("index {number} of {structure}"),
                block,
                format_args!("a block below {}", superblock.blocks_count),
                index.leaf(),
            ));
        }
        free_from = key + 1;
    }
    Ok(())
}

/// Checks the checksum that follows the entries' room in a node that fills a block.
pub(crate) fn check_checksum(
    structure: &dyn std::fmt::Display,
    seed: u32,
    block: FsBlock,
    bytes: &[u8],
) -> Result<()> {
    let (header, _) = RawHeader::ref_from_prefix(bytes)
        .map_err(|_| Error::corrupt(structure, Some(block), "12 bytes", bytes.len()))?;
    let tail_at = ENTRY_BYTES * (usize::from(header.eh_max.get()) + 1);
    let covered = bytes.get(..tail_at);
    let stored = bytes
        .get(tail_at..)
        .and_then(|tail| U32::read_from_prefix(tail).ok());
    match (covered, stored) {
        (Some(covered), Some((stored, _))) => {
            let computed = crc32c_raw(seed, covered);
            Error::check_checksum(structure, Some(block), computed, stored.get())
        }
        _ => Err(Error::corrupt(
            structure,
            Some(block),
            "room for the checksum behind eh_max entries",
            header.eh_max,
        )),
    }
}

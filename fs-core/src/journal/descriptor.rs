//! Descriptor blocks: which blocks follow in the log, and where they belong.

use zerocopy::FromBytes;

use super::log::Checksums;
use crate::error::{Error, Result};
use crate::format::journal::{
    BlockTag, BlockTag3, BlockTail, JournalHeader, TAG_UUID_BYTES, TagFlags, tail_checksum,
    tail_stored,
};
use crate::types::FsBlock;

/// One logged block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tag {
    /// Where the block belongs.
    pub(super) target: FsBlock,
    /// The block began with the log's magic number, and zeros lie there instead.
    pub(super) is_escaped: bool,
    /// The checksum as the tag has it: 16 bits in v2, 32 in v3.
    pub(super) stored_checksum: u32,
}

/// The tags of one descriptor block.
///
/// They end after one that says it is the last, or where no further one fits;
/// jbd2 reads them so, and the number of blocks that follow depends on it.
pub(super) struct Tags<'a> {
    rest: Option<&'a [u8]>,
    checksums: Checksums,
    is_64bit: bool,
}

impl<'a> Tags<'a> {
    pub(super) fn new(block: &'a [u8], checksums: Checksums, is_64bit: bool) -> Self {
        Self {
            rest: without_tail(block, checksums).get(size_of::<JournalHeader>()..),
            checksums,
            is_64bit,
        }
    }

    fn tag_bytes(&self) -> usize {
        let high_bytes = if self.is_64bit { 4 } else { 0 };
        match self.checksums {
            Checksums::None | Checksums::V1 => size_of::<BlockTag>() + high_bytes,
            Checksums::V2 { .. } => size_of::<BlockTag>() + high_bytes + 2,
            Checksums::V3 { .. } => size_of::<BlockTag3>(),
        }
    }

    fn decode(&self, bytes: &[u8]) -> Option<(Tag, TagFlags)> {
        let (low, high, stored_checksum, t_flags) = if let Checksums::V3 { .. } = self.checksums {
            let (tag, _) = BlockTag3::ref_from_prefix(bytes).ok()?;
            let high = tag.t_blocknr_high.get();
            (tag.t_blocknr, high, tag.t_checksum.get(), tag.t_flags)
        } else {
            let (tag, after) = BlockTag::ref_from_prefix(bytes).ok()?;
            let high = after
                .first_chunk()
                .map_or(0, |bytes| u32::from_be_bytes(*bytes));
            (
                tag.t_blocknr,
                high,
                tag.t_checksum.get().into(),
                tag.t_flags,
            )
        };
        let high = if self.is_64bit { u64::from(high) } else { 0 };
        let flags = TagFlags::from_bits_retain(t_flags.get());
        let tag = Tag {
            target: FsBlock(high << 32 | u64::from(low.get())),
            is_escaped: flags.contains(TagFlags::ESCAPE),
            stored_checksum,
        };
        Some((tag, flags))
    }
}

impl Iterator for Tags<'_> {
    type Item = Tag;

    fn next(&mut self) -> Option<Tag> {
        let (bytes, after) = self.rest.take()?.split_at_checked(self.tag_bytes())?;
        let (tag, flags) = self.decode(bytes)?;
        if !flags.contains(TagFlags::LAST_TAG) {
            self.rest = if flags.contains(TagFlags::SAME_UUID) {
                Some(after)
            } else {
                after.get(TAG_UUID_BYTES..)
            };
        }
        Some(tag)
    }
}

/// The block without the checksum at its end, if the log has one there.
pub(super) fn without_tail(block: &[u8], checksums: Checksums) -> &[u8] {
    match checksums.block_seed() {
        Some(_) => block
            .get(..block.len().saturating_sub(size_of::<BlockTail>()))
            .unwrap_or(&[]),
        None => block,
    }
}

/// Fails unless the checksum at the end of a descriptor or revoke block matches.
pub(super) fn check_tail(
    structure: &str,
    block: &[u8],
    home: FsBlock,
    checksums: Checksums,
) -> Result<()> {
    let Some(seed) = checksums.block_seed() else {
        return Ok(());
    };
    let (computed, stored) = (tail_checksum(seed, block), tail_stored(block));
    Error::check_checksum(structure, Some(home), computed, stored)?;
    Ok(())
}

//! Directories, built whole from their sorted names: in the inode, as records in
//! one block after the other, or as a hash tree.
//!
//! A layout is computed twice, when blocks are counted and when they are
//! written, so that no directory's bytes are kept in memory in between.

use std::ops::Range;

use fs_core::encode::DirectoryBlock;
use fs_core::{CompatFeatures, FileType, InodeNumber, encode};

use crate::populate::hashed;
use crate::populate::rules::Rules;
use crate::{Error, Result};

/// A name and what it names.
#[derive(Debug, Clone, Copy)]
pub(super) struct Name<'t> {
    pub(super) name: &'t [u8],
    pub(super) inode: InodeNumber,
    pub(super) file_type: FileType,
}

/// The content of a directory.
#[derive(Debug)]
pub(super) struct Listing<'t> {
    pub(super) inode: InodeNumber,
    pub(super) parent: InodeNumber,
    /// Sorted by their bytes, without "." and "..".
    pub(super) names: Vec<Name<'t>>,
    /// Blocks it has at least, for names to come.
    pub(super) blocks_min: usize,
}

/// How the names are spread over blocks.
#[derive(Debug)]
pub(super) enum Layout {
    /// Names of each block, in the listing's order.
    Linear(Vec<Range<usize>>),
    Hashed(hashed::Layout),
}

impl Layout {
    /// Decides on a layout; `None` if the names are too many for a hash tree. (Linux
    /// would search them from end to end, but e2fsck makes a tree of such a
    /// directory, and one it then finds invalid.)
    ///
    /// # Errors
    /// `Features` if names cannot be hashed as the superblock says.
    pub(super) fn new(rules: Rules<'_>, listing: &Listing<'_>) -> Result<Option<Self>> {
        let linear = linear(rules, listing);
        let is_short = linear.len() <= listing.blocks_min.max(1);
        if is_short || !rules.has_compat(CompatFeatures::DIR_INDEX) {
            return Ok(Some(Self::Linear(linear)));
        }
        let hasher = encode::name_hasher(rules.superblock).ok_or_else(|| {
            Error::Features("names cannot be hashed with this hash version".into())
        })?;
        Ok(hashed::Layout::new(rules, &hasher, &listing.names).map(Self::Hashed))
    }

    pub(super) fn blocks(&self) -> usize {
        match self {
            Self::Linear(blocks) => blocks.len(),
            Self::Hashed(tree) => tree.blocks(),
        }
    }

    pub(super) fn is_hashed(&self) -> bool {
        matches!(self, Self::Hashed(_))
    }

    /// Writes the blocks, in their order, to `emit`.
    pub(super) fn encode(
        &self,
        rules: Rules<'_>,
        listing: &Listing<'_>,
        emit: &mut dyn FnMut(Vec<u8>) -> Result<()>,
    ) -> Result<()> {
        match self {
            Self::Linear(blocks) => {
                for (number, range) in blocks.iter().enumerate() {
                    let mut block = empty_block(rules, listing.inode);
                    if number == 0 {
                        push(&mut block, b".", listing.inode, FileType::Directory)?;
                        push(&mut block, b"..", listing.parent, FileType::Directory)?;
                    }
                    let names = listing.names.get(range.clone()).unwrap_or(&[]);
                    push_all(&mut block, names.iter())?;
                    emit(block.finish())?;
                }
                Ok(())
            }
            Self::Hashed(tree) => tree.encode(rules, listing, emit),
        }
    }
}

pub(super) fn empty_block(rules: Rules<'_>, directory: InodeNumber) -> DirectoryBlock {
    DirectoryBlock::new(rules.block_len(), rules.has_types(), rules.seed(directory))
}

/// Bytes that the records of a block may take.
pub(super) fn block_room(rules: Rules<'_>) -> usize {
    DirectoryBlock::capacity_bytes(rules.block_len(), rules.has_checksums())
}

pub(super) fn push_all<'a>(
    block: &mut DirectoryBlock,
    names: impl Iterator<Item = &'a Name<'a>>,
) -> Result<()> {
    for name in names {
        push(block, name.name, name.inode, name.file_type)?;
    }
    Ok(())
}

pub(super) fn push(
    block: &mut DirectoryBlock,
    name: &[u8],
    inode: InodeNumber,
    file_type: FileType,
) -> Result<()> {
    if block.push(name, inode, file_type) {
        return Ok(());
    }
    let why = fs_core::ErrorKind::InvalidInput("a directory block is fuller than was counted");
    Err(Error::Format(why.into()))
}

/// Cuts the names into full blocks, then adds empty ones.
fn linear(rules: Rules<'_>, listing: &Listing<'_>) -> Vec<Range<usize>> {
    let dots = DirectoryBlock::record_bytes(1) + DirectoryBlock::record_bytes(2);
    let lengths = listing
        .names
        .iter()
        .map(|name| DirectoryBlock::record_bytes(name.name.len()));
    let mut blocks = cut(lengths, dots, block_room(rules));
    let end = listing.names.len();
    if blocks.len() < listing.blocks_min {
        blocks.resize(listing.blocks_min, end..end);
    }
    blocks
}

/// Cuts records of these lengths into blocks with `room` bytes, of which the
/// first has `used` taken. There is at least one block.
pub(super) fn cut(
    lengths: impl Iterator<Item = usize>,
    used: usize,
    room: usize,
) -> Vec<Range<usize>> {
    let (mut start, mut end, mut used) = (0, 0, used);
    let mut blocks = Vec::new();
    for len in lengths {
        if used + len > room {
            blocks.push(start..end);
            (start, used) = (end, 0);
        }
        used += len;
        end += 1;
    }
    blocks.push(start..end);
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_cut_where_a_block_is_full() {
        let blocks = cut([12, 12, 12, 20, 24].into_iter(), 24, 48);
        assert_eq!(blocks, [0..2, 2..4, 4..5]);
        let none = cut(std::iter::empty(), 24, 48);
        assert_eq!((none.len(), none.first()), (1, Some(&(0..0))));
    }
}

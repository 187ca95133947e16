//! Hash trees of directories, built whole from the bottom.
//!
//! ```text
//!  block 0   1 ..            ..            ..
//!  root  |  index level  |  index level  |  leaves
//! ```
//!
//! Leaves and index blocks keep an eighth free, so that the first names Linux
//! adds do not split blocks at once; a directory that would need too many
//! levels is tried again without that reserve.

use fs_core::encode::{self, DirectoryBlock, HashTreeRoot, NameHasher};
use fs_core::{FileBlock, IncompatFeatures};

use crate::Result;
use crate::populate::directory::{self, Listing, Name};
use crate::populate::rules::Rules;

/// Index levels below the root that Linux accepts, without and with large_dir.
const LEVELS_MAX: usize = 1;
const LEVELS_MAX_LARGE: usize = 2;
/// Parts of 8 that are filled, at first and if that does not do.
const FILLS: [usize; 2] = [7, 8];
/// In a pair: names of this hash stand in the block before too.
const CONTINUED: u32 = 1;

/// A tree's shape.
#[derive(Debug)]
pub(super) struct Layout {
    /// Indexes of the names, sorted by hash, with their hashes.
    order: Vec<(u32, u32)>,
    /// Where in `order` each leaf starts and ends.
    leaves: Vec<std::ops::Range<usize>>,
    /// Blocks of the index levels below the root, from the top.
    levels: Vec<usize>,
}

impl Layout {
    /// `None` if the names do not fit a tree of the levels there may be.
    pub(super) fn new(rules: Rules<'_>, hasher: &NameHasher, names: &[Name<'_>]) -> Option<Self> {
        let mut order: Vec<(u32, u32)> = names
            .iter()
            .zip(0..)
            .map(|(name, index)| (hasher.hash(name.name), index))
            .collect();
        order.sort_unstable();
        FILLS.into_iter().find_map(|fill| {
            let lengths = order.iter().map(|(_, index)| {
                let name = names.get(*index as usize);
                name.map_or(0, |name| DirectoryBlock::record_bytes(name.name.len()))
            });
            let room = directory::block_room(rules) * fill / 8;
            let leaves = directory::cut(lengths, 0, room);
            let levels = levels(rules, leaves.len(), fill)?;
            Some(Self {
                order: order.clone(),
                leaves,
                levels,
            })
        })
    }

    pub(super) fn blocks(&self) -> usize {
        1 + self.levels.iter().sum::<usize>() + self.leaves.len()
    }

    /// Writes root, index blocks and leaves, in the order of their block numbers.
    pub(super) fn encode(
        &self,
        rules: Rules<'_>,
        listing: &Listing<'_>,
        emit: &mut dyn FnMut(Vec<u8>) -> Result<()>,
    ) -> Result<()> {
        let (block_len, seed) = (rules.block_len(), rules.seed(listing.inode));
        // From the leaves up: the pairs of each level, cut into its blocks.
        let mut first_block = self.blocks() - self.leaves.len();
        let mut pairs = numbered(first_block, self.leaf_hashes());
        let mut index_blocks = Vec::new();
        for &blocks in self.levels.iter().rev() {
            first_block -= blocks;
            let mut hashes = Vec::new();
            let mut level = Vec::new();
            for range in shares(pairs.len(), blocks) {
                let below = pairs.get(range).unwrap_or(&[]);
                hashes.extend(below.first().map(|(hash, _)| *hash));
                level.push(encode::hash_tree_node(below, block_len, seed)?);
            }
            pairs = numbered(first_block, hashes.into_iter());
            index_blocks.push(level);
        }
        let root = HashTreeRoot {
            directory: listing.inode,
            parent: listing.parent,
            has_types: rules.has_types(),
            hash_version: rules.superblock.default_hash_version,
            indirect_levels: u8::try_from(self.levels.len()).unwrap_or(u8::MAX),
        };
        emit(encode::hash_tree_root(&root, &pairs, block_len, seed)?)?;
        for block in index_blocks.into_iter().rev().flatten() {
            emit(block)?;
        }
        for leaf in &self.leaves {
            let mut block = directory::empty_block(rules, listing.inode);
            let order = self.order.get(leaf.clone()).unwrap_or(&[]);
            let names = order
                .iter()
                .filter_map(|(_, index)| listing.names.get(*index as usize));
            directory::push_all(&mut block, names)?;
            emit(block.finish())?;
        }
        Ok(())
    }

    /// The lowest hash in each leaf, marked if it goes on from the leaf before.
    fn leaf_hashes(&self) -> impl Iterator<Item = u32> + '_ {
        let mut before = None;
        self.leaves.iter().map(move |leaf| {
            let names = self.order.get(leaf.clone()).unwrap_or(&[]);
            let first = names.first().map_or(0, |(hash, _)| *hash);
            let is_continued = before == Some(first);
            before = names.last().map(|(hash, _)| *hash);
            first | if is_continued { CONTINUED } else { 0 }
        })
    }
}

/// Pairs of these hashes with blocks numbered from `first` on.
fn numbered(first: usize, hashes: impl Iterator<Item = u32>) -> Vec<(u32, FileBlock)> {
    hashes.zip((first as u64..).map(FileBlock)).collect()
}

/// Blocks of each index level between the root and `leaves` leaves, from the top.
fn levels(rules: Rules<'_>, leaves: usize, fill: usize) -> Option<Vec<usize>> {
    let levels_max = if rules.has_incompat(IncompatFeatures::LARGEDIR) {
        LEVELS_MAX_LARGE
    } else {
        LEVELS_MAX
    };
    let has_checksum = rules.has_checksums();
    let in_root = encode::hash_tree_root_capacity(rules.block_len(), has_checksum) * fill / 8;
    let in_node = encode::hash_tree_node_capacity(rules.block_len(), has_checksum) * fill / 8;
    let mut levels = Vec::new();
    let mut children = leaves;
    while children > in_root {
        children = children.div_ceil(in_node);
        levels.insert(0, children);
        if levels.len() > levels_max {
            return None;
        }
    }
    Some(levels)
}

/// Cuts `count` things into `parts` shares as equal as can be.
fn shares(count: usize, parts: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    (0..parts).map(move |part| count * part / parts..count * (part + 1) / parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_equal_and_complete() {
        let cut: Vec<_> = shares(11, 3).collect();
        assert_eq!(cut, [0..3, 3..7, 7..11]);
    }

    #[test]
    fn a_hash_that_goes_on_is_marked() {
        let layout = Layout {
            order: vec![(2, 0), (4, 1), (4, 2), (8, 3)],
            leaves: vec![0..2, 2..3, 3..4],
            levels: vec![],
        };
        let hashes: Vec<_> = layout.leaf_hashes().collect();
        assert_eq!(hashes, [2, 4 | 1, 8]);
    }
}

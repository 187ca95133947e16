//! From a file's blocks to the tree in its inode that finds them: extents, or
//! direct and indirect blocks.

use fs_core::encode::{
    WRITTEN_LEN_MAX, encode_index, encode_leaf, extent_capacity, inode_checksum_seed,
    set_extent_checksum,
};
use fs_core::{ExtentState, FileBlock, FsBlock, InodeNumber, MappedExtent, RoCompatFeatures};

use super::Context;
use crate::error::{Error, Result};
use crate::space::Run;

/// Blocks whose numbers lie in the inode itself.
const DIRECT_BLOCKS: usize = 12;
/// A tree has at most this many levels of index nodes.
const EXTENT_DEPTH_MAX: u16 = 5;

/// A file's block map, encoded.
#[derive(Debug)]
pub(super) struct FileMap {
    /// `i_block`.
    pub(super) block_area: [u8; 60],
    /// Blocks of the map outside the inode.
    pub(super) nodes: Vec<(FsBlock, Vec<u8>)>,
    /// Blocks of content and of the map.
    pub(super) blocks: u64,
    pub(super) is_extents: bool,
}

/// What the next block of a file with indirect blocks is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    Content,
    Map,
}

/// Takes `content_blocks` blocks from `goal` on for a file, and what its tree of
/// extents needs: the map, and the content in its order.
pub(super) fn extents(
    context: &mut Context<'_>,
    number: InodeNumber,
    goal: u64,
    content_blocks: u64,
) -> Result<(FileMap, Vec<Run>)> {
    let mut block_area = [0; 60];
    let root_capacity = extent_capacity(block_area.len());
    let (runs, leaves) = take_extents(context, goal, content_blocks, root_capacity)?;
    let extents = as_extents(&runs);
    let mut map = FileMap {
        block_area,
        nodes: Vec::new(),
        blocks: content_blocks,
        is_extents: true,
    };
    if leaves.is_empty() {
        encode_leaf(&extents, &mut block_area)?;
        return Ok((FileMap { block_area, ..map }, runs));
    }
    let seed = has_checksums(context).then(|| inode_checksum_seed(context.superblock, number, 0));
    let per_node = extent_capacity(context.block_len()).max(1);
    let mut children = Vec::new();
    for (leaf, &block) in extents.chunks(per_node).zip(&leaves) {
        let mut bytes = vec![0; context.block_len()];
        encode_leaf(leaf, &mut bytes)?;
        add_node(&mut map, block, bytes, seed);
        let start = leaf.first().map_or(FileBlock(0), |first| first.file_block);
        children.push((start, block));
    }
    let mut depth = 1;
    while children.len() > root_capacity && depth < EXTENT_DEPTH_MAX {
        let mut parents = Vec::new();
        for node in children.chunks(per_node) {
            let mut bytes = vec![0; context.block_len()];
            encode_index(depth, node, &mut bytes)?;
            let block = context.take_block(node_goal(&runs))?;
            add_node(&mut map, block, bytes, seed);
            let start = node.first().map_or(FileBlock(0), |&(start, _)| start);
            parents.push((start, block));
        }
        children = parents;
        depth += 1;
    }
    encode_index(depth, &children, &mut block_area)?;
    Ok((FileMap { block_area, ..map }, runs))
}

/// Takes the blocks of a file's extents, and of leaves where the root has no room.
/// A leaf is taken right after the first extent it is needed for, as mke2fs does.
fn take_extents(
    context: &mut Context<'_>,
    goal: u64,
    content_blocks: u64,
    root_capacity: usize,
) -> Result<(Vec<Run>, Vec<FsBlock>)> {
    context.check_free(content_blocks)?;
    let per_node = extent_capacity(context.block_len()).max(1);
    let (mut runs, mut leaves) = (Vec::new(), Vec::new());
    let (mut goal, mut left) = (goal, content_blocks);
    while left > 0 {
        let run = context.take_run(goal, left.min(WRITTEN_LEN_MAX))?;
        (goal, left) = (run.end(), left - run.len_blocks);
        runs.push(run);
        let needed = if runs.len() > root_capacity {
            runs.len().div_ceil(per_node)
        } else {
            0
        };
        while leaves.len() < needed {
            leaves.push(context.take_block(node_goal(&runs))?);
        }
    }
    Ok((runs, leaves))
}

/// Where blocks of the tree are looked for: right before the content.
fn node_goal(runs: &[Run]) -> u64 {
    runs.first().map_or(0, |run| run.start.0.saturating_sub(1))
}

fn has_checksums(context: &Context<'_>) -> bool {
    let ro_compat = context.superblock.features.ro_compat;
    ro_compat.contains(RoCompatFeatures::METADATA_CSUM)
}

fn add_node(map: &mut FileMap, block: FsBlock, mut bytes: Vec<u8>, seed: Option<u32>) {
    if let Some(seed) = seed {
        set_extent_checksum(seed, &mut bytes);
    }
    map.nodes.push((block, bytes));
    map.blocks += 1;
}

/// The extents of a file without holes.
fn as_extents(runs: &[Run]) -> Vec<MappedExtent> {
    let mut file_block = 0;
    runs.iter()
        .map(|run| {
            let start = file_block;
            file_block += run.len_blocks;
            MappedExtent {
                file_block: FileBlock(start),
                len_blocks: run.len_blocks,
                state: ExtentState::Written(run.start),
            }
        })
        .collect()
}

/// The blocks that map `content_blocks` blocks indirectly.
pub(super) fn indirect_map_blocks(block_bytes: u32, content_blocks: u64) -> u64 {
    let per_block = u64::from(block_bytes / 4).max(1);
    let mut left = content_blocks.saturating_sub(DIRECT_BLOCKS as u64);
    let mut blocks = 0_u64;
    let mut reach = 1_u64;
    for level in 1..=3 {
        reach = reach.saturating_mul(per_block);
        let here = left.min(reach);
        if here > 0 {
            blocks += (1..=level)
                .map(|below: u32| here.div_ceil(per_block.saturating_pow(below)))
                .sum::<u64>();
        }
        left -= here;
    }
    blocks
}

/// Direct and indirect blocks for a file of `content_blocks`. `next` gives the blocks
/// in the order in which they are used: those of the map before what they map.
///
/// # Errors
/// `Size` if a block number has more than 32 bits, or the file too many blocks.
pub(super) fn indirect(
    block_bytes: u32,
    content_blocks: u64,
    next: &mut dyn FnMut(Use) -> Result<FsBlock>,
) -> Result<FileMap> {
    let mut builder = IndirectBuilder {
        block_bytes,
        left: content_blocks,
        next,
        nodes: Vec::new(),
    };
    let mut words = [0_u32; 15];
    for (level, word) in (0..DIRECT_BLOCKS).map(|_| 0).chain(1..=3).zip(&mut words) {
        if builder.left > 0 {
            *word = builder.subtree(level)?;
        }
    }
    if builder.left > 0 {
        return Err(Error::Size(format!(
            "a file of {content_blocks} blocks is too long without extents"
        )));
    }
    let mut block_area = [0; 60];
    let bytes = words.iter().flat_map(|word| word.to_le_bytes());
    for (to, from) in block_area.iter_mut().zip(bytes) {
        *to = from;
    }
    Ok(FileMap {
        block_area,
        blocks: content_blocks + builder.nodes.len() as u64,
        nodes: builder.nodes,
        is_extents: false,
    })
}

struct IndirectBuilder<'a> {
    block_bytes: u32,
    /// Content that is not yet mapped.
    left: u64,
    next: &'a mut dyn FnMut(Use) -> Result<FsBlock>,
    nodes: Vec<(FsBlock, Vec<u8>)>,
}

impl IndirectBuilder<'_> {
    /// A block of content (level 0), or of the map with `level` levels of map from it on.
    fn subtree(&mut self, level: u32) -> Result<u32> {
        let Some(below) = level.checked_sub(1) else {
            self.left -= 1;
            return short((self.next)(Use::Content)?);
        };
        let node = (self.next)(Use::Map)?;
        let mut bytes = Vec::new();
        for _ in 0..self.block_bytes / 4 {
            let word = if self.left > 0 {
                self.subtree(below)?
            } else {
                0
            };
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        self.nodes.push((node, bytes));
        short(node)
    }
}

fn short(block: FsBlock) -> Result<u32> {
    u32::try_from(block.0).map_err(|_| {
        Error::Size(format!(
            "block {block} is beyond what indirect blocks reach"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(content_blocks: u64) -> FileMap {
        let mut at = 100;
        indirect(1024, content_blocks, &mut |_| {
            at += 1;
            Ok(FsBlock(at))
        })
        .unwrap()
    }

    #[test]
    fn the_number_of_map_blocks_is_foreseen() {
        for blocks in [
            0, 1, 12, 13, 268, 269, 524, 525, 65804, 65805, 65806, 131_400,
        ] {
            let map = built(blocks);
            let foreseen = indirect_map_blocks(1024, blocks);
            assert_eq!(map.nodes.len() as u64, foreseen, "{blocks} blocks");
            assert_eq!(map.blocks, blocks + foreseen);
        }
    }

    #[test]
    fn map_blocks_come_before_what_they_map() {
        let map = built(14);
        // 12 direct, then the indirect block, then its two.
        let words: Vec<u8> = (101..=113_u32).flat_map(u32::to_le_bytes).collect();
        assert_eq!(map.block_area[..52], words);
        let (node, bytes) = &map.nodes[0];
        assert_eq!(*node, FsBlock(113));
        assert_eq!(bytes[..8], [114, 0, 0, 0, 115, 0, 0, 0]);
    }
}

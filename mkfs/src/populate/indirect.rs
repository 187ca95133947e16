//! The block map of ext2 and ext3, laid out as it always was: each block of
//! block numbers right before the first block it leads to.

use fs_core::{FsBlock, MappedExtent};

use crate::populate::allocator::Allocator;
use crate::populate::mapping::{Dealer, FileRange, Mapping, miscounted, start_of, written};
use crate::populate::rules::{DIRECT_BLOCKS, Rules};
use crate::space::Space;
use crate::{Error, Result};

/// The three trees behind the direct blocks, by their levels.
const TREES: [u32; 3] = [1, 2, 3];

/// Shape of the map on one volume.
#[derive(Debug, Clone, Copy)]
struct Shape {
    /// Block numbers in a block.
    per_block: u64,
}

/// How a block is reached.
#[derive(Debug, PartialEq, Eq)]
struct Path {
    /// First block behind each node, from the top; with its level this names the node.
    nodes: Vec<u64>,
    /// Blocks that lie behind the same lowest node from this one on.
    left_blocks: u64,
}

impl Shape {
    fn new(rules: Rules<'_>) -> Self {
        Self {
            per_block: rules.block_bytes() / 4,
        }
    }

    /// The way to `block`; `None` beyond the third tree.
    fn path(self, block: u64) -> Option<Path> {
        if block < DIRECT_BLOCKS {
            return Some(Path {
                nodes: Vec::new(),
                left_blocks: DIRECT_BLOCKS - block,
            });
        }
        let mut start = DIRECT_BLOCKS;
        for levels in TREES {
            let span = self.per_block.pow(levels);
            if block - start < span {
                let inside = block - start;
                let first_below = |level: u32| {
                    let span = self.per_block.pow(level);
                    start + inside / span * span
                };
                return Some(Path {
                    nodes: (1..=levels).rev().map(first_below).collect(),
                    left_blocks: self.per_block - inside % self.per_block,
                });
            }
            start += span;
        }
        None
    }

    /// Visits the ranges in steps that stay behind one lowest node; says how many
    /// nodes on the way are new, top-down, before each step.
    fn walk(
        self,
        ranges: &[FileRange],
        mut visit: impl FnMut(usize, FileRange) -> Result<()>,
    ) -> Result<()> {
        let mut above: Vec<u64> = Vec::new();
        for range in ranges {
            let mut at = range.start;
            while at < range.end() {
                let path = self.path(at).ok_or_else(miscounted)?;
                // Trees differ in depth; in one tree a node is new if its first block is.
                let known = if path.nodes.len() == above.len() {
                    let pairs = path.nodes.iter().zip(&above);
                    pairs.take_while(|(new, old)| new == old).count()
                } else {
                    0
                };
                let len_blocks = path.left_blocks.min(range.end() - at);
                visit(
                    path.nodes.len() - known,
                    FileRange {
                        start: at,
                        len_blocks,
                    },
                )?;
                at += len_blocks;
                above = path.nodes;
            }
        }
        Ok(())
    }
}

/// Takes blocks for `ranges` and the nodes between them.
pub(super) fn place(
    rules: Rules<'_>,
    ranges: &[FileRange],
    allocator: &mut Allocator,
    space: &mut Space,
) -> Result<Mapping> {
    let shape = Shape::new(rules);
    let mut count = 0;
    shape.walk(ranges, |new_nodes, range| {
        count += new_nodes as u64 + range.len_blocks;
        Ok(())
    })?;
    let runs = allocator.clusters(space, count)?;
    if let Some(run) = runs.iter().find(|run| run.end() > 1 << 32) {
        return Err(Error::Features(format!(
            "block {} cannot be used without extents, whose absence limits block numbers to 32 bits",
            run.end() - 1
        )));
    }
    let mut dealer = Dealer::new(runs);
    let mut nodes = Vec::new();
    let mut extents: Vec<MappedExtent> = Vec::new();
    shape.walk(ranges, |new_nodes, range| {
        for _ in 0..new_nodes {
            nodes.push(dealer.deal(1).ok_or_else(miscounted)?.start);
        }
        let mut at = range.start;
        while at < range.end() {
            let run = dealer.deal(range.end() - at).ok_or_else(miscounted)?;
            extents.push(written(at, run.start.0, run.len_blocks));
            at += run.len_blocks;
        }
        Ok(())
    })?;
    Ok(Mapping {
        extents: extents.into(),
        nodes: nodes.into(),
        taken_blocks: count,
    })
}

/// `i_block`, and the nodes to `emit`, each when it is complete.
pub(super) fn encode(
    rules: Rules<'_>,
    mapping: &Mapping,
    emit: &mut dyn FnMut(FsBlock, Vec<u8>) -> Result<()>,
) -> Result<[u8; 60]> {
    let mut encoder = Encoder {
        shape: Shape::new(rules),
        block_len: rules.block_len(),
        extents: &mapping.extents,
        nodes: mapping.nodes.iter().copied(),
        emit,
    };
    let mut area = [0; 60];
    let mut slots = area.chunks_exact_mut(4);
    for (block, slot) in (0..DIRECT_BLOCKS).zip(slots.by_ref()) {
        slot.copy_from_slice(&encoder.data(block)?.to_le_bytes());
    }
    let mut start = DIRECT_BLOCKS;
    for (levels, slot) in TREES.into_iter().zip(slots) {
        slot.copy_from_slice(&encoder.tree(levels, start)?.to_le_bytes());
        start += encoder.shape.per_block.pow(levels);
    }
    Ok(area)
}

struct Encoder<'a, N> {
    shape: Shape,
    block_len: usize,
    extents: &'a [MappedExtent],
    nodes: N,
    emit: &'a mut dyn FnMut(FsBlock, Vec<u8>) -> Result<()>,
}

impl<N: Iterator<Item = FsBlock>> Encoder<'_, N> {
    /// The first extent that ends behind `block`.
    fn at_or_behind(&self, block: u64) -> Option<&MappedExtent> {
        let index = self
            .extents
            .partition_point(|extent| extent.file_block.0 + extent.len_blocks <= block);
        self.extents.get(index)
    }

    /// The device block of a file block, 0 in a hole.
    fn data(&self, block: u64) -> Result<u32> {
        let place = self
            .at_or_behind(block)
            .filter(|extent| extent.file_block.0 <= block)
            .map_or(0, |extent| start_of(extent) + (block - extent.file_block.0));
        u32::try_from(place).map_err(|_| miscounted())
    }

    /// Writes the tree that answers from `start` on; its block, 0 if all is a hole.
    fn tree(&mut self, levels: u32, start: u64) -> Result<u32> {
        let span = self.shape.per_block.pow(levels);
        let has_data = self
            .at_or_behind(start)
            .is_some_and(|extent| extent.file_block.0 < start + span);
        if !has_data {
            return Ok(0);
        }
        if levels == 0 {
            return self.data(start);
        }
        let block = self.nodes.next().ok_or_else(miscounted)?;
        let mut bytes = vec![0; self.block_len];
        let child_span = span / self.shape.per_block;
        for (child, slot) in (0..).zip(bytes.chunks_exact_mut(4)) {
            let pointer = self.tree(levels - 1, start + child * child_span)?;
            slot.copy_from_slice(&pointer.to_le_bytes());
        }
        (self.emit)(block, bytes)?;
        u32::try_from(block.0).map_err(|_| miscounted())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_stand_before_the_first_block_they_lead_to() {
        let shape = Shape { per_block: 256 };
        let mut steps = Vec::new();
        let all = FileRange {
            start: 0,
            len_blocks: 12 + 256 + 256 + 1,
        };
        shape
            .walk(&[all], |new_nodes, range| {
                steps.push((new_nodes, range.start, range.len_blocks));
                Ok(())
            })
            .unwrap();
        assert_eq!(
            steps,
            [(0, 0, 12), (1, 12, 256), (2, 268, 256), (1, 524, 1)]
        );
    }

    #[test]
    fn the_third_tree_ends_somewhere() {
        let shape = Shape { per_block: 256 };
        let end = 12 + 256 + 256 * 256 + 256 * 256 * 256;
        assert_eq!(shape.path(end - 1).unwrap().nodes.len(), 3);
        assert_eq!(shape.path(end), None);
    }
}

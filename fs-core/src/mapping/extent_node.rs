//! A node of the extent tree in memory, while it is changed: pure, no device, no cache.

use crate::error::{Error, Result};
use crate::format::extent::{self, Node, RawExtent, RawIndex, UNWRITTEN_LEN_MAX, WRITTEN_LEN_MAX};
use crate::mapping::extents::mapped;
use crate::run::{ExtentState, MappedExtent};
use crate::types::{FileBlock, FsBlock};

/// A node's entries. There may be more of them than the node has room for until it is
/// stored, and none.
#[derive(Debug, Clone)]
pub(super) enum TreeNode {
    Leaf(Vec<RawExtent>),
    /// Depth 1 and above.
    Index {
        depth: u16,
        entries: Vec<RawIndex>,
    },
}

impl TreeNode {
    /// A copy of a checked node.
    pub(super) fn of(node: &Node<'_>) -> Self {
        match node {
            Node::Leaf(entries) => Self::Leaf(entries.to_vec()),
            Node::Index { depth, entries } => Self::Index {
                depth: *depth,
                entries: entries.to_vec(),
            },
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Leaf(entries) => entries.len(),
            Self::Index { entries, .. } => entries.len(),
        }
    }

    pub(super) fn depth(&self) -> u16 {
        match self {
            Self::Leaf(_) => 0,
            Self::Index { depth, .. } => *depth,
        }
    }

    /// The key that the parent has for it; `None` if it is empty.
    pub(super) fn key(&self) -> Option<FileBlock> {
        let key = match self {
            Self::Leaf(entries) => entries.first().map(RawExtent::first),
            Self::Index { entries, .. } => entries.first().map(RawIndex::key),
        };
        key.map(FileBlock)
    }

    /// A good place for a node that follows this one.
    pub(super) fn goal(&self) -> FsBlock {
        let after = match self {
            Self::Leaf(entries) => entries.last().map(|last| {
                let last = last.typed();
                last.start.0.saturating_add(last.len_blocks)
            }),
            Self::Index { entries, .. } => {
                (entries.last()).map(|last| last.leaf().0.saturating_add(1))
            }
        };
        FsBlock(after.unwrap_or(0))
    }

    /// Takes the entries from `at` on into a node of their own.
    pub(super) fn split_off(&mut self, at: usize) -> Self {
        match self {
            Self::Leaf(entries) => Self::Leaf(entries.split_off(at.min(entries.len()))),
            Self::Index { depth, entries } => Self::Index {
                depth: *depth,
                entries: entries.split_off(at.min(entries.len())),
            },
        }
    }

    /// Appends its right neighbour, of the same depth.
    pub(super) fn append(&mut self, right: Self) -> Result<()> {
        match (self, right) {
            (Self::Leaf(left), Self::Leaf(mut right)) => {
                if let (Some(last), Some(first)) = (left.last(), right.first()) {
                    let seam = joined(&[mapped(&last.typed()), mapped(&first.typed())])?;
                    left.pop();
                    right.splice(..1, seam);
                }
                left.append(&mut right);
                Ok(())
            }
            (
                Self::Index { depth, entries },
                Self::Index {
                    depth: other,
                    entries: mut right,
                },
            ) if *depth == other => {
                entries.append(&mut right);
                Ok(())
            }
            (left, right) => Err(Error::corrupt(
                "extent tree",
                None,
                format_args!("neighbours of depth {}", left.depth()),
                right.depth(),
            )),
        }
    }

    /// Writes it without a checksum; 60 bytes are a root, others a block.
    pub(super) fn encode(&self, bytes: &mut [u8]) -> Result<()> {
        match self {
            Self::Leaf(entries) => extent::encode_node(0, entries, bytes),
            Self::Index { depth, entries } => extent::encode_node(*depth, entries, bytes),
        }
    }
}

/// The entries for sorted runs: those that continue each other become one, as far as the
/// format allows; those that are too long become several.
pub(super) fn joined(runs: &[MappedExtent]) -> Result<Vec<RawExtent>> {
    let mut whole: Vec<MappedExtent> = Vec::with_capacity(runs.len());
    for run in runs {
        if !whole.last_mut().is_some_and(|last| last.merge(run)) {
            whole.push(*run);
        }
    }
    let mut entries = Vec::with_capacity(whole.len());
    for mut rest in whole {
        let len_max = len_blocks_max(rest.state);
        while rest.len_blocks > len_max {
            let piece = MappedExtent {
                len_blocks: len_max,
                ..rest
            };
            entries.push(RawExtent::pack(&piece)?);
            rest = rest.starting_at(piece.end());
        }
        entries.push(RawExtent::pack(&rest)?);
    }
    Ok(entries)
}

/// The longest extent of a state.
pub(super) fn len_blocks_max(state: ExtentState) -> u64 {
    match state {
        ExtentState::Unwritten(_) => UNWRITTEN_LEN_MAX,
        ExtentState::Hole | ExtentState::Written(_) => WRITTEN_LEN_MAX,
    }
}

/// The part of a run within `start..end`, if there is one.
pub(super) fn clipped(run: &MappedExtent, start: u64, end: u64) -> Option<MappedExtent> {
    let from = run.file_block.0.max(start);
    let to = run.end().0.min(end);
    (from < to).then(|| MappedExtent {
        len_blocks: to - from,
        ..run.starting_at(FileBlock(from))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::hole;

    fn written(file_block: u64, len_blocks: u64, start: u64) -> MappedExtent {
        MappedExtent {
            file_block: FileBlock(file_block),
            len_blocks,
            state: ExtentState::Written(FsBlock(start)),
        }
    }

    fn unwritten(file_block: u64, len_blocks: u64, start: u64) -> MappedExtent {
        MappedExtent {
            state: ExtentState::Unwritten(FsBlock(start)),
            ..written(file_block, len_blocks, start)
        }
    }

    fn join(runs: &[MappedExtent]) -> Vec<MappedExtent> {
        let entries = joined(runs).unwrap();
        entries.iter().map(|entry| mapped(&entry.typed())).collect()
    }

    #[test]
    fn neighbours_of_one_state_are_joined() {
        let three = [
            written(5, 1, 100),
            written(6, 2, 101),
            unwritten(8, 1, 103),
            unwritten(9, 1, 200),
        ];
        assert_eq!(
            join(&three),
            [
                written(5, 3, 100),
                unwritten(8, 1, 103),
                unwritten(9, 1, 200)
            ]
        );
    }

    #[test]
    fn no_extent_is_longer_than_the_format_allows() {
        assert_eq!(
            join(&[written(0, 30_000, 100), written(30_000, 5000, 30_100)]),
            [written(0, 32_768, 100), written(32_768, 2232, 32_868)]
        );
        assert_eq!(
            join(&[unwritten(0, 32_768, 100)]),
            [unwritten(0, 32_767, 100), unwritten(32_767, 1, 32_867)]
        );
    }

    #[test]
    fn a_hole_is_no_entry() {
        assert!(joined(&[hole(FileBlock(3), 4)]).is_err());
    }

    #[test]
    fn the_seam_of_two_leaves_is_joined() {
        let mut left = TreeNode::Leaf(joined(&[written(0, 2, 50)]).unwrap());
        let right = TreeNode::Leaf(joined(&[written(2, 2, 52), written(9, 1, 7)]).unwrap());
        left.append(right).unwrap();
        assert_eq!(left.len(), 2);
        assert_eq!(left.goal(), FsBlock(8));
        assert_eq!(left.split_off(1).key(), Some(FileBlock(9)));
        assert_eq!(left.key(), Some(FileBlock(0)));
    }

    #[test]
    fn a_run_is_clipped_to_a_range() {
        let run = written(10, 10, 100);
        assert_eq!(clipped(&run, 0, 10), None);
        assert_eq!(clipped(&run, 12, 15), Some(written(12, 3, 102)));
        assert_eq!(clipped(&run, 0, 40), Some(run));
    }
}

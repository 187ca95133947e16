//! Runs of a file's blocks: the answer of every look at a block map.

use crate::types::{FileBlock, FsBlock};

/// What a run of a file's blocks is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExtentState {
    /// Nothing is allocated; reads as zeros.
    Hole,
    /// Written data from this device block on.
    Written(FsBlock),
    /// Allocated from this device block on, but reads as zeros.
    Unwritten(FsBlock),
}

impl ExtentState {
    /// The state `blocks` later in the same run.
    pub(crate) fn advanced(self, blocks: u64) -> Self {
        match self {
            Self::Hole => Self::Hole,
            Self::Written(start) => Self::Written(FsBlock(start.0.saturating_add(blocks))),
            Self::Unwritten(start) => Self::Unwritten(FsBlock(start.0.saturating_add(blocks))),
        }
    }
}

/// A run of a file's blocks in one state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MappedExtent {
    /// First block.
    pub file_block: FileBlock,
    /// Number of blocks, at least 1.
    pub len_blocks: u64,
    /// What they are.
    pub state: ExtentState,
}

impl MappedExtent {
    /// First file block after it.
    pub fn end(&self) -> FileBlock {
        FileBlock(self.file_block.0.saturating_add(self.len_blocks))
    }

    /// The part from `block` on, which must lie inside.
    pub(crate) fn starting_at(self, block: FileBlock) -> Self {
        let skipped = block.0.saturating_sub(self.file_block.0);
        Self {
            file_block: block,
            len_blocks: self.len_blocks.saturating_sub(skipped),
            state: self.state.advanced(skipped),
        }
    }

    /// Appends `next` if it continues this run.
    pub(crate) fn merge(&mut self, next: &Self) -> bool {
        let continues =
            next.file_block == self.end() && next.state == self.state.advanced(self.len_blocks);
        if continues {
            self.len_blocks = self.len_blocks.saturating_add(next.len_blocks);
        }
        continues
    }
}

/// A run of nothing.
pub(crate) fn hole(file_block: FileBlock, len_blocks: u64) -> MappedExtent {
    MappedExtent {
        file_block,
        len_blocks,
        state: ExtentState::Hole,
    }
}

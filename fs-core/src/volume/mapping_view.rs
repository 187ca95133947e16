//! A file's map as it is while the file is locked.

use std::ops::Range;

use crate::error::Result;
use crate::format::inode::Inode;
use crate::format::inode_flags::InodeFlags;
use crate::inline_edit;
use crate::mapping::{self, FILE_BLOCKS_MAX};
use crate::run::{ExtentState, MappedExtent, hole};
use crate::space::{BlockRun, Space};
use crate::store::Store;
use crate::types::FileBlock;

/// What [`WritableVolume::with_mapping`](crate::WritableVolume::with_mapping) and its relatives
/// show.
#[derive(Debug)]
pub struct MappingView<'a> {
    store: &'a Store,
    /// Of a volume that is open for writing.
    space: Option<&'a Space>,
    inode: &'a Inode,
    ahead: Option<Range<FileBlock>>,
}

impl<'a> MappingView<'a> {
    pub(crate) fn new(store: &'a Store, space: Option<&'a Space>, inode: &'a Inode) -> Self {
        Self {
            store,
            space,
            inode,
            ahead: None,
        }
    }

    /// The same after these blocks were allocated behind what was asked for.
    pub(crate) fn after_allocating(self, ahead: Option<Range<FileBlock>>) -> Self {
        Self { ahead, ..self }
    }

    /// The blocks that [`prepare_write`](crate::WritableVolume::prepare_write) has just
    /// allocated ahead, if it has.
    pub fn ahead(&self) -> Option<Range<FileBlock>> {
        self.ahead.clone()
    }

    /// The file.
    pub fn inode(&self) -> &Inode {
        self.inode
    }

    /// Whether the content lies in the inode: then there are no blocks.
    pub fn is_inline(&self) -> bool {
        self.inode.has_inline_data()
    }

    /// How long content in this inode can become, in bytes; 0 if it cannot lie there.
    pub fn inline_capacity_bytes(&self) -> u64 {
        inline_edit::inline_capacity(self.store, self.inode) as u64
    }

    /// Whether the map is one of extents: without them no block can be unwritten.
    pub fn has_extents(&self) -> bool {
        self.inode.flags().contains(InodeFlags::EXTENTS)
    }

    /// What is at a block, with all on both sides that continues it: a run of one state on
    /// adjacent blocks of the device, or a whole hole. It goes as far as a bounded number of
    /// looks does, and always includes the block. Behind the last block of the map is a hole
    /// that ends at `2^32` blocks, if not before; an inline file is one hole.
    ///
    /// # Errors
    /// `InvalidInput` if there is no map, `Corrupt` for a damaged one, and for one whose
    /// blocks cannot hold content.
    pub fn around(&self, block: FileBlock) -> Result<MappedExtent> {
        if self.is_inline() {
            return Ok(hole(FileBlock(0), FILE_BLOCKS_MAX));
        }
        let run = mapping::around(self.store, self.inode, block)?;
        if let (Some(space), ExtentState::Written(start) | ExtentState::Unwritten(start)) =
            (self.space, run.state)
        {
            let blocks = BlockRun {
                start,
                len_blocks: run.len_blocks,
            };
            space.check_content(blocks).map_err(|error| {
                error.context(format_args!("block map of inode {}", self.inode.number()))
            })?;
        }
        Ok(run)
    }
}

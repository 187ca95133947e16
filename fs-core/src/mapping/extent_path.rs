//! An extent tree opened for change, and the way from its root to a leaf.
//!
//! The root is kept here and reaches the inode, together with the count of blocks, when
//! the tree is [closed](ExtentTree::close); nodes below it are written as they change.
//! An error on the way leaves blocks and memory apart: the caller drops the change, which
//! takes the blocks back.

use std::ops::Range;
use std::sync::Arc;

use crate::change::Change;
use crate::error::{Error, ErrorKind, Result};
use crate::format::extent::{self, RawExtent, RawIndex};
use crate::format::inode::Inode;
use crate::mapping::FILE_BLOCKS_MAX;
use crate::mapping::edit::{Account, Budget};
use crate::mapping::extent_node::TreeNode;
use crate::mapping::extents;
use crate::space::{BlockRequest, Purpose};
use crate::types::{FileBlock, FsBlock};

/// An index node on the way to a leaf.
#[derive(Debug)]
pub(super) struct IndexLevel {
    /// Where it lies; `None` for the root.
    pub(super) block: Option<FsBlock>,
    pub(super) depth: u16,
    pub(super) entries: Vec<RawIndex>,
    /// The entry that was followed.
    pub(super) at: usize,
    /// First file block not its own any more.
    pub(super) end: u64,
}

/// The leaf at the end of the way.
#[derive(Debug)]
pub(super) struct LeafLevel {
    /// Where it lies; `None` for the root.
    pub(super) block: Option<FsBlock>,
    pub(super) entries: Vec<RawExtent>,
    /// The file blocks it answers for.
    pub(super) window: Range<u64>,
    /// What happened to it.
    pub(super) change: NodeChange,
}

/// What was done to a node: decides how it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NodeChange {
    None,
    Grown {
        /// The last entry is among the new ones: more are likely to follow.
        at_end: bool,
    },
    Shrunk,
}

impl LeafLevel {
    /// Puts other entries in the place of some.
    pub(super) fn replace(&mut self, range: Range<usize>, entries: Vec<RawExtent>) {
        let (before, at_end) = (self.entries.len(), range.end >= self.entries.len());
        let range = range.start.min(before)..range.end.min(before);
        self.entries.splice(range, entries);
        self.change = if self.entries.len() < before {
            NodeChange::Shrunk
        } else {
            NodeChange::Grown { at_end }
        };
    }

    /// Index of the first entry that begins at or behind `block`.
    pub(super) fn first_from(&self, block: u64) -> usize {
        self.entries.partition_point(|entry| entry.first() < block)
    }

    /// Index of the first entry that ends behind `block`.
    pub(super) fn first_ending_after(&self, block: u64) -> usize {
        self.entries.partition_point(|entry| entry.end() <= block)
    }
}

/// From the root to a leaf.
#[derive(Debug)]
pub(super) struct Path {
    /// The root first.
    pub(super) above: Vec<IndexLevel>,
    pub(super) leaf: LeafLevel,
}

/// See the module.
pub(super) struct ExtentTree<'c, 'v> {
    pub(super) change: &'c mut Change<'v>,
    pub(super) inode: Arc<Inode>,
    pub(super) root: TreeNode,
    pub(super) root_is_changed: bool,
    pub(super) account: Account,
    pub(super) budget: Budget,
    /// Nodes may use the blocks kept in reserve: what was promised must not fail for a node.
    pub(super) may_use_reserve: bool,
}

impl<'c, 'v> ExtentTree<'c, 'v> {
    /// # Errors
    /// `Corrupt` if the root is damaged.
    pub(super) fn open(change: &'c mut Change<'v>, inode: Arc<Inode>) -> Result<Self> {
        let structure = format_args!("extent tree root of inode {}", inode.number());
        let root = inode.block_area();
        extent::check(&change.store().superblock, &structure, None, root, None)?;
        let root = match extent::view(root) {
            Some(node) => TreeNode::of(&node),
            None => return Err(Error::corrupt(structure, None, "an extent node", "none")),
        };
        Ok(Self {
            change,
            inode,
            root,
            root_is_changed: false,
            account: Account::default(),
            budget: Budget::default(),
            may_use_reserve: false,
        })
    }

    /// Brings root and count of blocks to the inode.
    pub(super) fn close(self) -> Result<()> {
        let root = self.root_is_changed.then_some(&self.root);
        let blocks_512 = self.account.blocks_512(self.change.store(), &self.inode)?;
        if root.is_none() && blocks_512.is_none() {
            return Ok(());
        }
        self.change.edit_inode(self.inode.number(), |edit| {
            if let Some(root) = root {
                root.encode(edit.block_area_mut()?)?;
            }
            blocks_512.map_or(Ok(()), |count| edit.set_blocks_512(count))
        })?;
        Ok(())
    }

    /// Entries a node below the root has room for.
    pub(super) fn capacity(&self) -> usize {
        extent::capacity(self.change.store().superblock.block_bytes as usize)
    }

    /// The way to the leaf that answers for `block`, also if nothing is there. The first
    /// leaf of all answers for what lies before it.
    ///
    /// # Errors
    /// `Corrupt` for a damaged node on the way.
    pub(super) fn descend(&self, block: FileBlock) -> Result<Path> {
        let mut above: Vec<IndexLevel> = Vec::new();
        let mut window = 0..FILE_BLOCKS_MAX;
        let mut place = None;
        let mut node = self.root.clone();
        // The depth falls by one a level, checked against each node's own word.
        loop {
            let (depth, entries) = match node {
                TreeNode::Index { depth, entries } => (depth, entries),
                TreeNode::Leaf(entries) => {
                    let leaf = LeafLevel {
                        block: place,
                        entries,
                        window,
                        change: NodeChange::None,
                    };
                    return Ok(Path { above, leaf });
                }
            };
            let after = entries.partition_point(|entry| entry.key() <= block.0);
            let at = after.saturating_sub(1);
            let level = IndexLevel {
                block: place,
                depth,
                entries,
                at,
                end: window.end,
            };
            let (child, child_node, child_window) = self.child(&level, at)?;
            let start = if after == 0 {
                window.start
            } else {
                child_window.start
            };
            window = start..child_window.end;
            (place, node) = (Some(child), child_node);
            above.push(level);
        }
    }

    /// The child that an index entry names, and the file blocks it answers for.
    pub(super) fn child(
        &self,
        parent: &IndexLevel,
        at: usize,
    ) -> Result<(FsBlock, TreeNode, Range<u64>)> {
        let structure = format_args!("extent node of inode {}", self.inode.number());
        let entry = parent
            .entries
            .get(at)
            .ok_or_else(|| Error::corrupt(structure, parent.block, "an index", at))?;
        let end = parent.entries.get(at + 1).map_or(parent.end, RawIndex::key);
        let (block, window) = (entry.leaf(), entry.key()..end);
        let depth = parent.depth.saturating_sub(1);
        let loaded = extents::load(self.change.store(), &self.inode, block, depth)?;
        let node = extent::view(loaded.bytes())
            .ok_or_else(|| Error::corrupt(structure, Some(block), "an extent node", "none"))?;
        extents::check_window(&structure, Some(block), &window, &node)?;
        Ok((block, TreeNode::of(&node), window))
    }

    /// The step ought to end.
    pub(super) fn is_spent(&self) -> bool {
        self.budget.is_spent(self.change)
    }

    /// Writes a node below the root.
    pub(super) fn write(&mut self, block: FsBlock, node: &TreeNode) -> Result<()> {
        let store = self.change.store();
        let mut bytes = vec![0; store.superblock.block_bytes as usize].into_boxed_slice();
        node.encode(&mut bytes)?;
        if let Some(seed) = store.seed_for(&self.inode) {
            extent::set_checksum(seed, &mut bytes);
        }
        // The whole content is new, so that what the block held does not matter.
        let role = extents::role(&self.inode, node.depth());
        self.change.create(block, role, bytes);
        Ok(())
    }

    /// Writes a node to a new block near `goal`.
    pub(super) fn write_new(&mut self, goal: FsBlock, node: &TreeNode) -> Result<FsBlock> {
        let request = BlockRequest {
            goal,
            len_blocks: 1,
            purpose: Purpose::Metadata,
            may_use_reserve: self.may_use_reserve,
        };
        let block = self.change.allocate(request)?.start;
        self.account.add(1);
        self.write(block, node)?;
        Ok(block)
    }

    /// Gives a node's block back.
    pub(super) fn free(&mut self, block: FsBlock) -> Result<()> {
        self.change.free_metadata(block)?;
        self.account.subtract(1);
        Ok(())
    }

    /// `FileTooLarge`: the tree cannot become deeper.
    pub(super) fn too_deep(&self) -> Error {
        Error::from(ErrorKind::FileTooLarge).context(format_args!(
            "the extent tree of inode {} is full",
            self.inode.number()
        ))
    }
}

//! Storing a changed leaf: the tree grows and shrinks with it.
//!
//! Promises, after each call: every node has at least one entry and no more than it has
//! room for; the key of every index is the first file block below it (e2fsck asks for
//! that); a root whose only child would fit into it has been replaced by the child.
//!
//! A full node is split in the middle, except where its last entry is the new one: files
//! grow at the end, and should leave full nodes behind. A node that lost entries and is less
//! than a quarter full is united with a neighbour if both fill no more than three
//! quarters, so that splitting does not follow at once.

use crate::error::{Error, Result};
use crate::format::extent::{DEPTH_MAX, RawIndex};
use crate::mapping::extent_node::TreeNode;
use crate::mapping::extent_path::{ExtentTree, IndexLevel, NodeChange, Path};
use crate::types::FsBlock;

/// Entries of the root.
const ROOT_CAPACITY: usize = 4;

/// What storing a node did to its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Above {
    /// Nothing: the parent need not be stored.
    Same,
    Changed(NodeChange),
}

impl ExtentTree<'_, '_> {
    /// Stores a path whose leaf has been changed.
    ///
    /// # Errors
    /// `NoSpace` if there is no block for a node, `FileTooLarge` if the tree cannot grow.
    pub(super) fn store(&mut self, path: Path) -> Result<()> {
        let Path { mut above, leaf } = path;
        let mut change = leaf.change;
        let mut shrank = change == NodeChange::Shrunk;
        let (mut place, mut node) = (leaf.block, TreeNode::Leaf(leaf.entries));
        // Once a level.
        while let Some(block) = place {
            let mut parent = above
                .pop()
                .ok_or_else(|| Error::corrupt("extent tree", Some(block), "a parent", "none"))?;
            match self.store_below(&mut parent, block, node, change)? {
                Above::Same => return self.pull_up_if(shrank),
                Above::Changed(next) => change = next,
            }
            shrank |= change == NodeChange::Shrunk;
            place = parent.block;
            node = TreeNode::Index {
                depth: parent.depth,
                entries: parent.entries,
            };
        }
        self.store_root(node)?;
        self.pull_up_if(shrank)
    }

    /// Stores a node below the root, the entry `parent.at` of its parent.
    fn store_below(
        &mut self,
        parent: &mut IndexLevel,
        block: FsBlock,
        mut node: TreeNode,
        change: NodeChange,
    ) -> Result<Above> {
        let Some(key) = node.key() else {
            self.free(block)?;
            parent
                .entries
                .remove(parent.at.min(parent.entries.len().saturating_sub(1)));
            return Ok(Above::Changed(NodeChange::Shrunk));
        };
        let entry = RawIndex::pack(key, block)?;
        let mut above = Above::Same;
        if let Some(old) = parent.entries.get_mut(parent.at)
            && old.key() != entry.key()
        {
            *old = entry;
            above = Above::Changed(NodeChange::Grown { at_end: false });
        }
        let capacity = self.capacity();
        if node.len() > capacity {
            let at_end = change == NodeChange::Grown { at_end: true };
            let at = if at_end { capacity } else { node.len() / 2 };
            let right = node.split_off(at);
            let new = self.write_new(node.goal(), &right)?;
            let right_key = right.key().unwrap_or(key);
            let to = (parent.at + 1).min(parent.entries.len());
            let at_end = to == parent.entries.len();
            parent.entries.insert(to, RawIndex::pack(right_key, new)?);
            above = Above::Changed(NodeChange::Grown { at_end });
        } else if change == NodeChange::Shrunk
            && node.len() < capacity / 4
            && self.unite(parent, block, &node)?
        {
            return Ok(Above::Changed(NodeChange::Shrunk));
        }
        self.write(block, &node)?;
        Ok(above)
    }

    /// Unites a node with a neighbour below the same parent, if together they are small.
    /// True if it did: then both are stored.
    fn unite(&mut self, parent: &mut IndexLevel, block: FsBlock, node: &TreeNode) -> Result<bool> {
        let len_max = self.capacity() / 4 * 3;
        if parent.at + 1 < parent.entries.len() {
            let (right_block, right, _) = self.child(parent, parent.at + 1)?;
            if node.len() + right.len() <= len_max {
                let mut united = node.clone();
                united.append(right)?;
                self.write(block, &united)?;
                self.free(right_block)?;
                parent.entries.remove(parent.at + 1);
                return Ok(true);
            }
        }
        if let Some(left_at) = parent.at.checked_sub(1) {
            let (left_block, mut left, _) = self.child(parent, left_at)?;
            if node.len() + left.len() <= len_max && left.len() > 0 {
                left.append(node.clone())?;
                self.write(left_block, &left)?;
                self.free(block)?;
                parent.entries.remove(parent.at);
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn store_root(&mut self, node: TreeNode) -> Result<()> {
        self.root_is_changed = true;
        let Some(key) = node.key() else {
            self.root = TreeNode::Leaf(Vec::new());
            return Ok(());
        };
        if node.len() <= ROOT_CAPACITY {
            self.root = node;
            return Ok(());
        }
        if node.depth() >= DEPTH_MAX {
            return Err(self.too_deep());
        }
        let child = self.write_new(node.goal(), &node)?;
        self.root = TreeNode::Index {
            depth: node.depth() + 1,
            entries: vec![RawIndex::pack(key, child)?],
        };
        Ok(())
    }

    /// Replaces a root with one child by the child where that fits.
    fn pull_up_if(&mut self, shrank: bool) -> Result<()> {
        if !shrank {
            return Ok(());
        }
        for _ in 0..DEPTH_MAX {
            let TreeNode::Index { depth, entries } = &self.root else {
                break;
            };
            if entries.len() != 1 {
                break;
            }
            let level = IndexLevel {
                block: None,
                depth: *depth,
                entries: entries.clone(),
                at: 0,
                end: crate::mapping::FILE_BLOCKS_MAX,
            };
            let (block, child, _) = self.child(&level, 0)?;
            if child.len() > ROOT_CAPACITY {
                break;
            }
            self.free(block)?;
            self.root = child;
            self.root_is_changed = true;
        }
        Ok(())
    }
}

//! Unmapping: from the end of the range backwards, leaf by leaf, so that after each step
//! the tree is valid and what is left lies before what is done.

use std::ops::Range;

use crate::error::Result;
use crate::format::extent::RawExtent;
use crate::mapping::FILE_BLOCKS_MAX;
use crate::mapping::edit::{Fate, Progress};
use crate::mapping::extent_node::clipped;
use crate::mapping::extent_path::{ExtentTree, LeafLevel};
use crate::mapping::extents::mapped;
use crate::types::FileBlock;

/// Unmaps a range; see [`remove`](super::edit::remove). Blocks that keep being somebody's
/// ([`Fate::Keep`]) are not given back.
pub(super) fn remove(
    tree: &mut ExtentTree<'_, '_>,
    range: Range<FileBlock>,
    fate: Fate,
) -> Result<Progress> {
    let start = range.start.0;
    let mut end = range.end.0.min(FILE_BLOCKS_MAX);
    let mut has_changed = false;
    // Once a leaf, or less if the credits run out within one.
    while start < end {
        if has_changed && tree.is_spent() {
            return Ok(Progress::Until(FileBlock(end)));
        }
        let mut path = tree.descend(FileBlock(end - 1))?;
        let is_empty = path.leaf.block.is_some() && path.leaf.entries.is_empty();
        let (reached, changed) = remove_in_leaf(tree, &mut path.leaf, start..end, fate)?;
        // A leaf without entries, which others leave behind, goes as well.
        if changed || is_empty {
            tree.store(path)?;
            has_changed = true;
        }
        end = reached.min(end - 1);
    }
    Ok(Progress::Done)
}

/// Removes what a leaf has of a range. Returns down to where it came, and whether anything
/// was there.
fn remove_in_leaf(
    tree: &mut ExtentTree<'_, '_>,
    leaf: &mut LeafLevel,
    range: Range<u64>,
    fate: Fate,
) -> Result<(u64, bool)> {
    let first = leaf.first_ending_after(range.start);
    let last = leaf.first_from(range.end);
    let mut reached = leaf.window.start.max(range.start);
    let mut from = last;
    // What is left of the outer two, the left one last.
    let mut left_over: Vec<RawExtent> = Vec::new();
    while first < from {
        from -= 1;
        let Some(run) = leaf.entries.get(from).map(|entry| mapped(&entry.typed())) else {
            break;
        };
        let right = clipped(&run, range.end, FILE_BLOCKS_MAX);
        let left = clipped(&run, 0, range.start);
        for rest in right.into_iter().chain(left) {
            left_over.push(RawExtent::pack(&rest)?);
        }
        let Some(cut) = clipped(&run, range.start, range.end) else {
            continue;
        };
        fate.apply(tree.change, &tree.inode, &cut)?;
        tree.account.subtract(cut.len_blocks);
        tree.budget.spend(&tree.inode, &cut);
        if from > first && tree.is_spent() {
            reached = cut.file_block.0;
            break;
        }
    }
    let changed = from < last;
    if changed {
        left_over.reverse();
        leaf.replace(from..last, left_over);
    }
    Ok((reached, changed))
}

//! Moving extents within a file: down over a hole (collapse), up to make one (insert).
//!
//! Down goes from the left, up from the right, leaf by leaf: so no two extents ever claim
//! the same file blocks, and after each step the tree is valid.

use std::ops::Range;

use crate::error::{Error, ErrorKind, Result};
use crate::mapping::FILE_BLOCKS_MAX;
use crate::mapping::edit::{FILE_BLOCKS_USED_MAX, Progress};
use crate::mapping::extent_node::{clipped, joined};
use crate::mapping::extent_path::{ExtentTree, LeafLevel};
use crate::mapping::extents::mapped;
use crate::run::MappedExtent;
use crate::types::FileBlock;

/// Moves everything from `from` on down; see [`shift_down`](super::edit::shift_down).
pub(super) fn down(
    tree: &mut ExtentTree<'_, '_>,
    from: FileBlock,
    by_blocks: u64,
) -> Result<Progress> {
    let mut start = from.0;
    let mut has_changed = false;
    // Once a leaf, from the left.
    while start < FILE_BLOCKS_MAX {
        if has_changed && tree.is_spent() {
            return Ok(Progress::Until(FileBlock(start)));
        }
        let mut path = tree.descend(FileBlock(start))?;
        let leaf_end = path.leaf.window.end;
        if down_in_leaf(&mut path.leaf, start, by_blocks)? {
            tree.store(path)?;
            has_changed = true;
        }
        start = leaf_end;
    }
    Ok(Progress::Done)
}

fn down_in_leaf(leaf: &mut LeafLevel, start: u64, by_blocks: u64) -> Result<bool> {
    let first = leaf.first_from(start);
    let moved = leaf.entries.get(first..).unwrap_or(&[]);
    if moved.is_empty() {
        return Ok(false);
    }
    // What comes before may be continued by what is moved to it.
    let from = first.saturating_sub(1);
    let mut runs = Vec::with_capacity(moved.len() + 1);
    for entry in leaf.entries.get(from..first).unwrap_or(&[]) {
        runs.push(mapped(&entry.typed()));
    }
    for entry in moved {
        let run = mapped(&entry.typed());
        let to = (run.file_block.0)
            .checked_sub(by_blocks)
            .ok_or_else(|| Error::from(ErrorKind::InvalidInput("a shift beyond the start")))?;
        runs.push(MappedExtent {
            file_block: FileBlock(to),
            ..run
        });
    }
    leaf.replace(from..leaf.entries.len(), joined(&runs)?);
    Ok(true)
}

/// Makes two of the extent across `at`, if there is one; see [`split`](super::edit::split).
pub(super) fn split(tree: &mut ExtentTree<'_, '_>, at: FileBlock) -> Result<()> {
    let mut path = tree.descend(at)?;
    let index = path.leaf.first_ending_after(at.0);
    let entry = path.leaf.entries.get(index);
    let Some(entry) = entry.filter(|entry| entry.first() < at.0) else {
        return Ok(());
    };
    let run = mapped(&entry.typed());
    let mut halves = Vec::with_capacity(2);
    for half in [clipped(&run, 0, at.0), clipped(&run, at.0, FILE_BLOCKS_MAX)] {
        // Each by itself: joined they would be one again.
        halves.extend(joined(half.as_slice())?);
    }
    path.leaf.replace(index..index + 1, halves);
    tree.store(path)
}

/// Moves what lies in a range up; see [`shift_up`](super::edit::shift_up).
pub(super) fn up(
    tree: &mut ExtentTree<'_, '_>,
    range: Range<FileBlock>,
    by_blocks: u64,
) -> Result<Progress> {
    let start = range.start.0;
    let mut end = range.end.0.min(FILE_BLOCKS_MAX);
    let mut has_changed = false;
    // Once a leaf, from the right.
    while start < end {
        if has_changed && tree.is_spent() {
            return Ok(Progress::Until(FileBlock(end)));
        }
        let mut path = tree.descend(FileBlock(end - 1))?;
        let reached = path.leaf.window.start;
        if up_in_leaf(&mut path.leaf, start..end, by_blocks)? {
            tree.store(path)?;
            has_changed = true;
        }
        end = reached.min(end - 1);
    }
    Ok(Progress::Done)
}

fn up_in_leaf(leaf: &mut LeafLevel, range: Range<u64>, by_blocks: u64) -> Result<bool> {
    let first = leaf.first_ending_after(range.start);
    let last = leaf.first_from(range.end);
    let moved = leaf.entries.get(first..last).unwrap_or(&[]);
    if moved.is_empty() {
        return Ok(false);
    }
    let mut runs = Vec::with_capacity(moved.len() + 1);
    for entry in moved {
        let run = mapped(&entry.typed());
        runs.extend(clipped(&run, 0, range.start));
        if let Some(part) = clipped(&run, range.start, FILE_BLOCKS_MAX) {
            let to = part.file_block.0.saturating_add(by_blocks);
            if to.saturating_add(part.len_blocks) > FILE_BLOCKS_USED_MAX {
                return Err(ErrorKind::FileTooLarge.into());
            }
            runs.push(MappedExtent {
                file_block: FileBlock(to),
                ..part
            });
        }
    }
    leaf.replace(first..last, joined(&runs)?);
    Ok(true)
}

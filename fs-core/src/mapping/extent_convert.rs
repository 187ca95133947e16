//! Turning unwritten blocks into written ones, and back.

use std::ops::Range;

use crate::error::Result;
use crate::mapping::FILE_BLOCKS_MAX;
use crate::mapping::extent_node::{clipped, joined};
use crate::mapping::extent_path::{ExtentTree, LeafLevel};
use crate::mapping::extents::mapped;
use crate::run::{ExtentState, MappedExtent};
use crate::types::FileBlock;

/// Converts a range; see [`convert`](super::edit::convert).
pub(super) fn convert(
    tree: &mut ExtentTree<'_, '_>,
    range: Range<FileBlock>,
    written: bool,
) -> Result<()> {
    let end = range.end.0.min(FILE_BLOCKS_MAX);
    let mut start = range.start.0;
    // Once a leaf, from the left.
    while start < end {
        let mut path = tree.descend(FileBlock(start))?;
        let leaf_end = path.leaf.window.end;
        if convert_in_leaf(&mut path.leaf, start..end, written)? {
            tree.store(path)?;
        }
        start = leaf_end;
    }
    Ok(())
}

/// Converts what a leaf has of a range, and joins what has become alike. False if nothing
/// changed.
fn convert_in_leaf(leaf: &mut LeafLevel, range: Range<u64>, written: bool) -> Result<bool> {
    let first = leaf.first_ending_after(range.start);
    let last = leaf.first_from(range.end);
    let touched = leaf.entries.get(first..last).unwrap_or(&[]);
    if touched
        .iter()
        .all(|entry| entry.typed().unwritten != written)
    {
        return Ok(false);
    }
    // The neighbours may become part of what is converted.
    let from = first.saturating_sub(1);
    let to = (last + 1).min(leaf.entries.len());
    let mut runs = Vec::with_capacity(to - from + 2);
    for entry in leaf.entries.get(from..to).unwrap_or(&[]) {
        let run = mapped(&entry.typed());
        runs.extend(clipped(&run, 0, range.start));
        runs.extend(clipped(&run, range.start, range.end).map(|run| with_state(run, written)));
        runs.extend(clipped(&run, range.end, FILE_BLOCKS_MAX));
    }
    leaf.replace(from..to, joined(&runs)?);
    Ok(true)
}

fn with_state(run: MappedExtent, written: bool) -> MappedExtent {
    let state = match (run.state, written) {
        (ExtentState::Unwritten(start), true) => ExtentState::Written(start),
        (ExtentState::Written(start), false) => ExtentState::Unwritten(start),
        (state, _) => state,
    };
    MappedExtent { state, ..run }
}

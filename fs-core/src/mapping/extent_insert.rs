//! Mapping what was a hole.

use crate::error::{Error, ErrorKind, Result};
use crate::mapping::extent_node::{clipped, joined, len_blocks_max};
use crate::mapping::extent_path::{ExtentTree, LeafLevel};
use crate::mapping::extents::mapped;
use crate::run::MappedExtent;

/// Maps a run; see [`insert`](super::edit::insert).
pub(super) fn insert(tree: &mut ExtentTree<'_, '_>, run: &MappedExtent) -> Result<()> {
    let mut start = run.file_block.0;
    let end = run.end().0;
    // Each piece is as long as one extent may be.
    while start < end {
        let piece_end = end.min(start.saturating_add(len_blocks_max(run.state)));
        let Some(piece) = clipped(run, start, piece_end) else {
            break;
        };
        let mut path = tree.descend(piece.file_block)?;
        insert_in_leaf(&mut path.leaf, piece)?;
        tree.store(path)?;
        tree.account.add(piece.len_blocks);
        start = piece_end;
    }
    Ok(())
}

/// Puts a run between its neighbours, or makes it part of them.
fn insert_in_leaf(leaf: &mut LeafLevel, piece: MappedExtent) -> Result<()> {
    let at = leaf.first_from(piece.file_block.0);
    let before = at.checked_sub(1).and_then(|at| leaf.entries.get(at));
    let after = leaf.entries.get(at);
    let is_free = before.is_none_or(|entry| entry.end() <= piece.file_block.0)
        && after.is_none_or(|entry| entry.first() >= piece.end().0)
        && piece.end().0 <= leaf.window.end;
    if !is_free {
        let error = Error::from(ErrorKind::InvalidInput("the file blocks are mapped"));
        return Err(error.context(format_args!("file block {}", piece.file_block)));
    }
    let range = at - usize::from(before.is_some())..at + usize::from(after.is_some());
    let neighbours = before.into_iter().map(|entry| mapped(&entry.typed()));
    let mut runs: Vec<MappedExtent> = neighbours.collect();
    runs.push(piece);
    runs.extend(after.map(|entry| mapped(&entry.typed())));
    let entries = joined(&runs)?;
    leaf.replace(range, entries);
    Ok(())
}

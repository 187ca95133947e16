//! Ranges that become zeros: punched out, or kept and unwritten.
//!
//! Blocks that lie in the range only in part are overwritten with zeros on the device.

use std::sync::Arc;

use super::allocate::fill_holes;
use super::edit::FileEdit;
use crate::error::Result;
use crate::format::inode::Inode;
use crate::mapping;
use crate::run::ExtentState;
use crate::types::FileBlock;

/// A hole that reaches beyond the end takes blocks beyond it as far as the page goes that
/// holds the end, as in Linux.
const PAGE_BYTES: u64 = 4096;

/// Frees the blocks of `offset .. end` and zeroes the edges. Nothing happens beyond the end
/// of the file.
pub(super) fn punch_hole(file: &FileEdit<'_>, inode: &Inode, offset: u64, end: u64) -> Result<()> {
    let size = inode.size_bytes();
    if offset >= size {
        return Ok(());
    }
    let page_end = size.next_multiple_of(file.block_bytes.max(PAGE_BYTES));
    let end = if end > size { page_end } else { end };
    zero_edges(file, inode, offset, end)?;
    let (first, stop) = (file.block_from(offset), file.block_of(end));
    if first < stop {
        file.remove_blocks(first..stop)?;
    }
    stamp(file, None)
}

/// Has `offset .. end` read as zeros, with blocks of its own. Content is touched only when
/// all blocks have been taken.
pub(super) fn zero_range(
    file: &FileEdit<'_>,
    inode: Arc<Inode>,
    offset: u64,
    end: u64,
    keep_size: bool,
) -> Result<()> {
    let grows = !keep_size && end > inode.size_bytes();
    let mut inode = inode;
    if grows {
        inode = file.prepare_growth(&inode, end, end)?;
    }
    inode = fill_holes(file, inode, offset, end, |_| None)?;
    zero_edges(file, &inode, offset, end)?;
    unwrite(file, inode, file.block_from(offset), file.block_of(end))?;
    stamp(file, grows.then_some(end))
}

/// Makes written blocks unwritten, a run a step.
fn unwrite(
    file: &FileEdit<'_>,
    inode: Arc<Inode>,
    first: FileBlock,
    stop: FileBlock,
) -> Result<()> {
    let (mut inode, mut at) = (inode, first);
    while at < stop {
        let run = file.look(&inode, at)?;
        let next = run.end().min(stop);
        if matches!(run.state, ExtentState::Written(_)) {
            inode = file.change(file.run_credits(&inode), |change| {
                mapping::convert(change, file.number, at..next, false)?;
                change.inode(file.number)
            })?;
        }
        at = next;
    }
    Ok(())
}

/// Zeroes what the range covers of blocks that it covers in part.
fn zero_edges(file: &FileEdit<'_>, inode: &Inode, offset: u64, end: u64) -> Result<()> {
    let first_end = offset.next_multiple_of(file.block_bytes).min(end);
    file.zero_within(inode, offset..first_end)?;
    let last_start = end - end % file.block_bytes;
    if last_start < first_end {
        return Ok(());
    }
    file.zero_within(inode, last_start..end)
}

fn stamp(file: &FileEdit<'_>, size: Option<u64>) -> Result<()> {
    let inode = file.inode()?;
    file.change(file.run_credits(&inode), |change| {
        file.stamp(change, size).map(|_| ())
    })
}

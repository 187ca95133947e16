//! Exchanging the blocks of two files.

use crate::change::Change;
use crate::error::{ErrorKind, Result};
use crate::mapping;
use crate::mapping::edit::{FRESH_CREDITS, Fate, Progress, insert, unmap};
use crate::run::{ExtentState, MappedExtent};
use crate::types::{FileBlock, InodeNumber};

/// Runs exchanged after which a step ends.
const STEP_RUNS: u64 = 256;

/// Exchanges what two ranges of `len_blocks` map, holes included. After `Until(b)` what is
/// before `b` in `a` is done: call again with both starts moved as far.
///
/// The ranges may be of one file if they do not overlap.
///
/// # Errors
/// `InvalidInput` for ranges that overlap or end behind the last possible block;
/// `NotSupported` for unwritten blocks that would come to an indirect map.
pub(crate) fn swap(
    change: &mut Change<'_>,
    a: InodeNumber,
    a_start: FileBlock,
    b: InodeNumber,
    b_start: FileBlock,
    len_blocks: u64,
) -> Result<Progress> {
    let ends = (
        a_start.0.saturating_add(len_blocks),
        b_start.0.saturating_add(len_blocks),
    );
    if ends.0.max(ends.1) > mapping::FILE_BLOCKS_MAX {
        return Err(ErrorKind::InvalidInput("a range beyond the last block").into());
    }
    if a == b && a_start.0 < ends.1 && b_start.0 < ends.0 {
        return Err(ErrorKind::InvalidInput("ranges that overlap").into());
    }
    let mut done = 0;
    let mut runs = 0;
    // Once a run of either file.
    while done < len_blocks {
        let (at_a, at_b) = (FileBlock(a_start.0 + done), FileBlock(b_start.0 + done));
        let is_spent = runs >= STEP_RUNS || change.handle.credits_left() < FRESH_CREDITS;
        if runs > 0 && is_spent {
            return Ok(Progress::Until(at_a));
        }
        let of_a = look(change, a, at_a)?;
        let of_b = look(change, b, at_b)?;
        let len = of_a
            .len_blocks
            .min(of_b.len_blocks)
            .min(len_blocks - done)
            .max(1);
        if of_a.state != ExtentState::Hole || of_b.state != ExtentState::Hole {
            take(change, a, at_a, len)?;
            take(change, b, at_b, len)?;
            put(change, a, at_a, len, of_b.state)?;
            put(change, b, at_b, len, of_a.state)?;
            runs += 1;
        }
        done += len;
    }
    Ok(Progress::Done)
}

fn look(change: &Change<'_>, inode: InodeNumber, block: FileBlock) -> Result<MappedExtent> {
    mapping::map_some(change.store(), &*change.inode(inode)?, block)
}

/// Unmaps one run without giving its blocks back.
fn take(change: &mut Change<'_>, inode: InodeNumber, start: FileBlock, len: u64) -> Result<()> {
    let mut end = FileBlock(start.0.saturating_add(len));
    // One extent, so one call; a second of an indirect map whose credits ran out.
    for _ in 0..len {
        match unmap(change, inode, start..end, Fate::Keep)? {
            Progress::Done => break,
            Progress::Until(next) => end = next,
        }
    }
    Ok(())
}

fn put(
    change: &mut Change<'_>,
    inode: InodeNumber,
    start: FileBlock,
    len_blocks: u64,
    state: ExtentState,
) -> Result<()> {
    if state == ExtentState::Hole {
        return Ok(());
    }
    let run = MappedExtent {
        file_block: start,
        len_blocks,
        state,
    };
    insert(change, inode, run)
}

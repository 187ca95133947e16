//! Taking a range out of a file, and putting one in: what follows moves.
//!
//! One change does all of it where the log has room. Else several do, each as far as it gets,
//! and a crash (or a failure) between them leaves a file e2fsck finds nothing wrong with,
//! whose content is between the two: part of what follows has moved, part has not, and what
//! lies between reads as zeros. Linux promises no more. So that no written block ever
//! lies beyond the size, it grows before blocks move up and shrinks after they moved down.

use super::edit::FileEdit;
use super::limits;
use crate::change::Change;
use crate::error::{ErrorKind, Result};
use crate::format::inode::Inode;
use crate::mapping::{self, FILE_BLOCKS_MAX, Progress};
use crate::types::FileBlock;

/// How far a collapse has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Blocks of the range before this one are to be removed.
    Remove(FileBlock),
    /// Blocks from this one on are to be moved down.
    Move(FileBlock),
    Done,
}

/// Takes `offset .. offset + len` out.
///
/// # Errors
/// `InvalidInput` unless these are whole blocks and end before the file does.
pub(super) fn collapse(file: &FileEdit<'_>, inode: &Inode, offset: u64, len: u64) -> Result<()> {
    check_aligned(file, offset, len)?;
    let size = inode.size_bytes();
    if offset.saturating_add(len) >= size {
        return Err(ErrorKind::InvalidInput("the range reaches the end of the file").into());
    }
    let (first, after) = (file.block_of(offset), file.block_of(offset + len));
    let by_blocks = after.0 - first.0;
    let advance = |change: &mut Change<'_>, stage: Stage| -> Result<Stage> {
        let mut stage = stage;
        if let Stage::Remove(end) = stage {
            stage = match mapping::remove(change, file.number, first..end)? {
                Progress::Until(end) => return Ok(Stage::Remove(end)),
                Progress::Done => Stage::Move(after),
            };
        }
        if let Stage::Move(from) = stage
            && let Progress::Until(next) =
                mapping::shift_down(change, file.number, from, by_blocks)?
        {
            return Ok(Stage::Move(next));
        }
        Ok(Stage::Done)
    };
    let mut stage = Stage::Remove(after);
    while stage != Stage::Done {
        let inode = file.inode()?;
        let next = file.change(file.long_credits(&inode), |change| {
            let next = advance(change, stage)?;
            if next == Stage::Done {
                file.stamp(change, Some(size - len))?;
            }
            Ok(next)
        })?;
        check_progress(file, stage, next)?;
        stage = next;
    }
    Ok(())
}

fn check_progress(file: &FileEdit<'_>, before: Stage, after: Stage) -> Result<()> {
    match (before, after) {
        (Stage::Remove(from), Stage::Remove(to)) => file.advanced(from, to, to < from),
        (Stage::Move(from), Stage::Move(to)) => file.advanced(from, to, to > from),
        _ => return Ok(()),
    }
    .map(|_| ())
}

/// Puts a hole of `len` bytes in at `offset`.
///
/// # Errors
/// `InvalidInput` unless these are whole blocks and `offset` lies inside the file,
/// `FileTooLarge`.
pub(super) fn insert(file: &FileEdit<'_>, inode: &Inode, offset: u64, len: u64) -> Result<()> {
    check_aligned(file, offset, len)?;
    let size = inode.size_bytes();
    let room = limits::size_max(&file.store().superblock, inode).saturating_sub(size);
    if len > room {
        return Err(ErrorKind::FileTooLarge.into());
    }
    if offset >= size {
        return Err(ErrorKind::InvalidInput("the range begins at or behind the end").into());
    }
    let (from, by_blocks) = (file.block_of(offset), len / file.block_bytes);
    let mut end = FileBlock(FILE_BLOCKS_MAX);
    let mut is_first = true;
    loop {
        let inode = file.inode()?;
        let progress = file.change(file.long_credits(&inode), |change| {
            if is_first {
                file.stamp(change, Some(size + len))?;
                // What needs space comes first: with blocks moved already nothing could be
                // taken back.
                mapping::split(change, file.number, from)?;
            }
            mapping::shift_up(change, file.number, from..end, by_blocks)
        })?;
        let Progress::Until(next) = progress else {
            return Ok(());
        };
        end = file.advanced(end, next, next < end)?;
        is_first = false;
    }
}

fn check_aligned(file: &FileEdit<'_>, offset: u64, len: u64) -> Result<()> {
    if !offset.is_multiple_of(file.block_bytes) || !len.is_multiple_of(file.block_bytes) {
        return Err(ErrorKind::InvalidInput("the range is not whole blocks").into());
    }
    Ok(())
}

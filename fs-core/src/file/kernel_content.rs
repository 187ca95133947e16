//! Content that somebody else moves: the kernel, which is told where a file's blocks lie.
//!
//! ```text
//!  prepare     blocks for what is to be written, unwritten: whoever reads them meanwhile,
//!              or after a crash, finds zeros
//!  (the kernel writes)
//!  complete    those blocks are written ones, and the size is what was written to
//! ```
//!
//! Nothing here reads or writes content, but for files without extents: they have no unwritten
//! blocks, so theirs are zeroed before they are mapped. Written blocks behind the size are
//! damage; until the size follows such a file is an orphan, whose next opening cuts them off.

use std::ops::Range;
use std::sync::Arc;

use super::allocate::{UNWRITTEN_BLOCKS_MAX, fill_holes};
use super::edit::{FileEdit, WriteContext, check_kind};
use super::{inline, limits};
use crate::change::{Change, Writer};
use crate::error::{ErrorKind, Result};
use crate::format::inode::Inode;
use crate::format::inode_flags::InodeFlags;
use crate::mapping::{self, FILE_BLOCKS_MAX};
use crate::run::{ExtentState, MappedExtent};
use crate::types::{FileBlock, InodeNumber};

/// Blocks that are zeroed and mapped at a time in a file without extents.
const ZEROED_BLOCKS_MAX: u64 = 256;

const END: FileBlock = FileBlock(FILE_BLOCKS_MAX);

/// What is about to be written by somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WritePreparation {
    /// First byte.
    pub offset: u64,
    /// Number of bytes, at least 1.
    pub len_bytes: u64,
    /// If nothing is mapped behind these bytes: how many more to allocate there, as far as
    /// they can be had.
    pub ahead_bytes: u64,
}

/// What has been written by somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteCompletion {
    /// First byte.
    pub offset: u64,
    /// Number of bytes, at least 1.
    pub len_bytes: u64,
    /// Unwritten blocks of the range, those it touches in part included, are written now.
    pub converts: bool,
}

/// Has blocks at all of a range, or at least where it begins; returns where those begin that
/// were taken ahead.
pub(crate) fn prepare_write(
    writer: &Writer,
    number: InodeNumber,
    preparation: WritePreparation,
    context: WriteContext,
) -> Result<Option<Range<FileBlock>>> {
    let mut file = FileEdit::new(writer, number, context)?;
    let inode = file.inode()?;
    check_kind(&inode)?;
    let limit = limits::size_max(&writer.store.superblock, &inode);
    let end = preparation
        .offset
        .saturating_add(preparation.len_bytes)
        .min(limit);
    if preparation.offset >= end {
        return Err(ErrorKind::FileTooLarge.into());
    }
    let inode = inline::to_blocks(&file, inode)?;
    // Whoever asked looks at the map before the file is let go.
    file.announces_mappings = false;
    let has_extents = inode.flags().contains(InodeFlags::EXTENTS);
    let filled = match has_extents {
        true => fill_holes(&file, inode, preparation.offset, end, |_| None).map(drop),
        false => fill_with_zeros(&file, preparation.offset, end),
    };
    match filled {
        Err(error) if *error.kind() == ErrorKind::NoSpace => {
            let first = file.look(&*file.inode()?, file.block_of(preparation.offset))?;
            if first.state == ExtentState::Hole {
                return Err(error);
            }
            return Ok(None);
        }
        filled => filled?,
    }
    if has_extents && preparation.ahead_bytes > 0 {
        let most = end.saturating_add(preparation.ahead_bytes).min(limit);
        file.context.may_use_reserve = false;
        return allocate_ahead(&file, file.block_from(end), file.block_from(most));
    }
    Ok(None)
}

/// Takes unwritten blocks for a range behind all that is mapped, if it is that; returns which.
/// Never fails for want of space.
fn allocate_ahead(
    file: &FileEdit<'_>,
    from: FileBlock,
    stop: FileBlock,
) -> Result<Option<Range<FileBlock>>> {
    let inode = file.inode()?;
    if !is_behind_all(file, &inode, from)? {
        return Ok(None);
    }
    let mut at = from;
    while at < stop {
        let Ok(len_blocks) = file.len_with_room((stop.0 - at.0).min(UNWRITTEN_BLOCKS_MAX)) else {
            break;
        };
        let inode = file.inode()?;
        let taken = file.change_once(file.run_credits(&inode), |change| {
            let taken = file.take(change, &inode, at, len_blocks)?;
            let run = MappedExtent {
                file_block: at,
                len_blocks: taken.len_blocks,
                state: ExtentState::Unwritten(taken.start),
            };
            mapping::insert(change, file.number, run)?;
            Ok(run.end())
        });
        at = match taken {
            Ok(end) => end,
            Err(error) if *error.kind() == ErrorKind::NoSpace => break,
            Err(error) => return Err(error),
        };
    }
    Ok((at > from).then_some(from..at))
}

/// Runs of one write of 2 GiB into blocks of 1 KiB.
const COMPLETED_RUNS_MAX: u32 = 1 << 21;

/// Of the volume's blocks one in so many is kept for the maps of what the kernel writes, at most
/// [`MAP_BLOCKS_MAX`].
const MAP_PART: u64 = 50;
const MAP_BLOCKS_MAX: u64 = 4096;

impl FileEdit<'_> {
    /// How many of so many blocks may be taken unwritten. Where the kernel writes them, making
    /// them written must not fail, for the writer has gone: the blocks of the map that this can
    /// take are not given away.
    ///
    /// # Errors
    /// `NoSpace` if none may.
    pub(super) fn len_with_room(&self, len_blocks: u64) -> Result<u64> {
        if !self.context.kernel_moves_content {
            return Ok(len_blocks);
        }
        let kept = (self.store().superblock.blocks_count / MAP_PART).min(MAP_BLOCKS_MAX);
        match self.writer.space.counts().blocks.saturating_sub(kept) {
            0 => Err(ErrorKind::NoSpace.into()),
            room => Ok(len_blocks.min(room)),
        }
    }
}

fn fill_with_zeros(file: &FileEdit<'_>, offset: u64, end: u64) -> Result<()> {
    let (mut at, stop) = (file.block_of(offset), file.block_from(end));
    while at < stop {
        let inode = file.inode()?;
        let run = file.look(&inode, at)?;
        let next = run.end().min(stop);
        at = match run.state {
            ExtentState::Hole => zeroed(file, &inode, at, next.0 - at.0)?,
            _ => next,
        };
    }
    Ok(())
}

/// Maps zeroed blocks at the start of a hole; returns how far it came.
fn zeroed(file: &FileEdit<'_>, inode: &Inode, at: FileBlock, len_blocks: u64) -> Result<FileBlock> {
    file.change(file.run_credits(inode), |change| {
        let taken = file.take(change, inode, at, len_blocks.min(ZEROED_BLOCKS_MAX))?;
        let device = file.store().cache.device();
        let place = file.device_offset(taken.start, 0);
        device.write_zeroes(place, taken.len_blocks.saturating_mul(file.block_bytes))?;
        let run = MappedExtent {
            file_block: at,
            len_blocks: taken.len_blocks,
            state: ExtentState::Written(taken.start),
        };
        mapping::insert(change, file.number, run)?;
        if run.end() > file.block_from(inode.size_bytes()) {
            file.writer.orphans.add(change, file.number)?;
        }
        Ok(run.end())
    })
}

/// Takes note of what was written.
pub(crate) fn complete_write(
    writer: &Writer,
    number: InodeNumber,
    completion: WriteCompletion,
) -> Result<()> {
    let context = WriteContext {
        keeps_times: true,
        kernel_moves_content: true,
        ..WriteContext::default()
    };
    let mut file = FileEdit::new(writer, number, context)?;
    file.announces_mappings = false;
    let inode = file.inode()?;
    check_kind(&inode)?;
    let end = completion
        .offset
        .checked_add(completion.len_bytes)
        .filter(|&end| end <= limits::size_max(&writer.store.superblock, &inode))
        .ok_or(ErrorKind::FileTooLarge)?;
    let (first, stop) = (file.block_of(completion.offset), file.block_from(end));
    let has_extents = inode.flags().contains(InodeFlags::EXTENTS);
    if completion.converts && !has_extents {
        let why = "unwritten blocks are said to be written in a file that can have none";
        return Err(ErrorKind::NotItsMap(why).into());
    }
    let size = (end > inode.size_bytes()).then_some(end);
    let unwritten = written_runs(&file, &inode, first, stop)?;
    let unwritten = match completion.converts {
        true => unwritten,
        false => Vec::new(),
    };
    settle(&file, &inode, &unwritten, size).inspect_err(|_| {
        // Some of it may be written now that others think unwritten.
        writer.announce_mapping(number, first..stop);
    })
}

/// The unwritten parts of a range of which at least something is mapped. One write is no longer
/// than 2 GiB.
fn written_runs(
    file: &FileEdit<'_>,
    inode: &Inode,
    first: FileBlock,
    stop: FileBlock,
) -> Result<Vec<MappedExtent>> {
    let (mut at, mut has_blocks, mut unwritten) = (first, false, Vec::new());
    let mut looks = 0u32;
    while at < stop {
        looks += 1;
        if looks > COMPLETED_RUNS_MAX {
            return Err(ErrorKind::NotItsMap("more runs than a write can have").into());
        }
        let mut run = file.look(inode, at)?;
        run.len_blocks = run.len_blocks.min(stop.0 - at.0);
        at = run.end();
        has_blocks |= run.state != ExtentState::Hole;
        if matches!(run.state, ExtentState::Unwritten(_)) {
            unwritten.push(run);
        }
    }
    if has_blocks {
        return Ok(unwritten);
    }
    Err(ErrorKind::NotItsMap("blocks are said to be written that are not there").into())
}

/// Makes runs written, a change each, in which the size follows: no written block ever lies
/// behind it. In the end it is `size`, if there is a new one.
fn settle(
    file: &FileEdit<'_>,
    inode: &Arc<Inode>,
    unwritten: &[MappedExtent],
    size: Option<u64>,
) -> Result<()> {
    let mut inode = Arc::clone(inode);
    for run in unwritten {
        let reached = size.map(|size| size.min(file.start_of(run.end())));
        let grown = reached.filter(|&reached| reached > inode.size_bytes());
        inode = file.change(file.run_credits(&inode), |change| {
            mapping::convert(change, file.number, run.file_block..run.end(), true)?;
            match grown {
                Some(_) => file.stamp(change, grown),
                None => change.inode(file.number),
            }
        })?;
    }
    match size.filter(|&size| size > inode.size_bytes()) {
        Some(size) => file.change(file.run_credits(&inode), |change| {
            let inode = file.stamp(change, Some(size))?;
            let has_extents = inode.flags().contains(InodeFlags::EXTENTS);
            if !has_extents && is_behind_all(file, &inode, file.block_from(size))? {
                end_orphan(file, change, &inode)?;
            }
            Ok(())
        }),
        None => Ok(()),
    }
}

/// The file has nothing behind its size any more. Without a name it stays an orphan.
fn end_orphan<'w>(file: &FileEdit<'w>, change: &mut Change<'w>, inode: &Inode) -> Result<()> {
    match inode.links() {
        0 => Ok(()),
        _ => file.writer.orphans.remove(change, file.number),
    }
}

/// Whether nothing is mapped at a block or behind it.
fn is_behind_all(file: &FileEdit<'_>, inode: &Inode, block: FileBlock) -> Result<bool> {
    let run = mapping::map(file.store(), inode, block, END)?;
    Ok(run.state == ExtentState::Hole && run.end() >= END)
}

/// Makes the size at least `size`, unless what lies there last is still to be completed; returns
/// what it is then. Where nothing is mapped it has been punched out since.
pub(crate) fn raise_size(writer: &Writer, number: InodeNumber, size: u64) -> Result<u64> {
    let context = WriteContext {
        keeps_times: true,
        kernel_moves_content: true,
        ..WriteContext::default()
    };
    let file = FileEdit::new(writer, number, context)?;
    let inode = file.inode()?;
    check_kind(&inode)?;
    let is_possible = size <= limits::size_max(&writer.store.superblock, &inode);
    if inode.has_inline_data() || size <= inode.size_bytes() || !is_possible {
        return Ok(inode.size_bytes());
    }
    let last = file.look(&inode, file.block_of(size - 1))?;
    if matches!(last.state, ExtentState::Unwritten(_)) {
        return Ok(inode.size_bytes());
    }
    settle(&file, &inode, &[], Some(size))?;
    Ok(size)
}

/// Gives back the blocks wholly behind the size, those before `from` excepted.
pub(crate) fn trim_preallocation(
    writer: &Writer,
    number: InodeNumber,
    from: FileBlock,
) -> Result<()> {
    let file = FileEdit::new(writer, number, WriteContext::default())?;
    let inode = file.inode()?;
    if check_kind(&inode).is_err() || inode.has_inline_data() {
        return Ok(());
    }
    let start = file.block_from(inode.size_bytes()).max(from);
    if is_behind_all(&file, &inode, start)? {
        return Ok(());
    }
    writer.space.end_reservation(number);
    file.remove_blocks(start..END)?;
    if inode.flags().contains(InodeFlags::EXTENTS) {
        return Ok(());
    }
    file.change(file.run_credits(&inode), |change| {
        end_orphan(&file, change, &inode)
    })
}

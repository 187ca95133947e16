//! fallocate(2): what may be asked for, and preallocation.
//!
//! As Linux's ext4 does, with these decisions of our own:
//!
//! * `UnshareRange`, which Linux refuses on ext4: blocks are not shared, so what is left of
//!   its promise (later writes do not fail for want of space) is to preallocate the holes
//!   inside the file. As XFS does; but the size never changes, and nothing is done beyond
//!   the end.
//! * A preallocation that runs out of space keeps what it has got, and the size reaches as
//!   far as that, as in Linux.

use std::sync::Arc;

use super::edit::{FileEdit, WriteContext, check_not_append_only, check_writable};
use super::{collapse, inline, limits, punch};
use crate::change::Writer;
use crate::error::{ErrorKind, Result};
use crate::format::inode::Inode;
use crate::format::inode_flags::InodeFlags;
use crate::mapping;
use crate::run::{ExtentState, MappedExtent};
use crate::types::{FileBlock, InodeNumber};

/// The most blocks one unwritten extent has.
pub(super) const UNWRITTEN_BLOCKS_MAX: u64 = 32_767;

/// What fallocate(2) is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allocation {
    /// Take blocks for holes; they read as zeros.
    Allocate {
        /// The size stays.
        keep_size: bool,
    },
    /// Free blocks inside the file; the range reads as zeros. The size stays.
    PunchHole,
    /// Have the range read as zeros and its blocks taken.
    ZeroRange {
        /// The size stays.
        keep_size: bool,
    },
    /// Take the range out of the file; what follows moves down.
    CollapseRange,
    /// Put a hole into the file; what follows moves up.
    InsertRange,
    /// Have later writes into the range not fail for want of space.
    UnshareRange,
}

/// fallocate(2) of Linux on ext4.
///
/// # Errors
/// `NotSupported` for all but `PunchHole` on files without extents; `InvalidInput` for an
/// empty range, and for `CollapseRange` and `InsertRange` that are not whole blocks inside
/// the file; `FileTooLarge`; `NoSpace`; `NotPermitted` by the inode's flags; `Encrypted`.
pub(crate) fn allocate(
    writer: &Writer,
    inode: InodeNumber,
    how: Allocation,
    offset: u64,
    len: u64,
    context: WriteContext,
) -> Result<()> {
    let file = FileEdit::new(writer, inode, context)?;
    let inode = file.inode()?;
    if len == 0 {
        return Err(ErrorKind::InvalidInput("an empty range").into());
    }
    if !matches!(how, Allocation::Allocate { .. }) {
        check_not_append_only(&inode)?;
    }
    check_writable(&inode)?;
    let superblock = &writer.store.superblock;
    let end = offset
        .checked_add(len)
        .filter(|&end| end <= limits::volume_size_max(superblock))
        .ok_or(ErrorKind::FileTooLarge)?;
    let inode = inline::to_blocks(&file, inode)?;
    if how != Allocation::PunchHole && !inode.flags().contains(InodeFlags::EXTENTS) {
        return Err(ErrorKind::NotSupported("the file has no extents").into());
    }
    match how {
        Allocation::Allocate { keep_size } => preallocate(&file, inode, offset, end, keep_size),
        Allocation::UnshareRange => {
            let end = end.min(inode.size_bytes());
            if offset >= end {
                return Ok(());
            }
            preallocate(&file, inode, offset, end, true)
        }
        Allocation::PunchHole => punch::punch_hole(&file, &inode, offset, end),
        Allocation::ZeroRange { keep_size } => {
            punch::zero_range(&file, inode, offset, end, keep_size)
        }
        Allocation::CollapseRange => collapse::collapse(&file, &inode, offset, len),
        Allocation::InsertRange => collapse::insert(&file, &inode, offset, len),
    }
}

fn preallocate(
    file: &FileEdit<'_>,
    inode: Arc<Inode>,
    offset: u64,
    end: u64,
    keep_size: bool,
) -> Result<()> {
    let size_to = |end_of_run: u64| (!keep_size).then_some(end_of_run.min(end));
    let mut inode = inode;
    if !keep_size {
        inode = file.prepare_growth(&inode, end, end)?;
    }
    inode = fill_holes(file, inode, offset, end, size_to)?;
    let grows = !keep_size && end > inode.size_bytes();
    if !grows && !file.needs_stamp(&inode) {
        return Ok(());
    }
    file.change(file.run_credits(&inode), |change| {
        file.stamp(change, grows.then_some(end)).map(|_| ())
    })
}

/// Takes unwritten blocks for all holes in a range of bytes. `size_to` says to which size
/// the file may grow when blocks up to a byte are there.
pub(super) fn fill_holes(
    file: &FileEdit<'_>,
    inode: Arc<Inode>,
    offset: u64,
    end: u64,
    size_to: impl Fn(u64) -> Option<u64>,
) -> Result<Arc<Inode>> {
    let mut inode = inode;
    let (mut at, stop) = (file.block_of(offset), file.block_from(end));
    while at < stop {
        let run = file.look(&inode, at)?;
        let mut next = run.end().min(stop);
        if run.state == ExtentState::Hole {
            let len_blocks = (next.0 - at.0).min(UNWRITTEN_BLOCKS_MAX);
            (next, inode) = fill_hole(file, &inode, at, len_blocks, &size_to)?;
        }
        at = next;
    }
    Ok(inode)
}

/// Returns how far it came.
fn fill_hole(
    file: &FileEdit<'_>,
    inode: &Inode,
    block: FileBlock,
    len_blocks: u64,
    size_to: &impl Fn(u64) -> Option<u64>,
) -> Result<(FileBlock, Arc<Inode>)> {
    let len_blocks = file.len_with_room(len_blocks)?;
    file.change(file.run_credits(inode), |change| {
        let taken = file.take(change, inode, block, len_blocks)?;
        let run = MappedExtent {
            file_block: block,
            len_blocks: taken.len_blocks,
            state: ExtentState::Unwritten(taken.start),
        };
        mapping::insert(change, file.number, run)?;
        let size = size_to(file.start_of(run.end())).filter(|&size| size > inode.size_bytes());
        Ok((run.end(), file.stamp(change, size)?))
    })
}

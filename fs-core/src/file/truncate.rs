//! Making a file shorter or longer by its size alone.
//!
//! Shrinking: one change sets the size and removes what it can. If blocks are left the same
//! change makes the inode an orphan, and further changes remove them, the last of which ends
//! that. So after a crash either the old size is there or the next who opens the volume
//! finishes the removal.
//!
//! What lies behind the new end in its block is zeroed on the device before that change can
//! be committed. A crash before may find the old size and zeros there: the same that
//! overwriting them would have done.

use std::sync::Arc;

use super::edit::{FileEdit, WriteContext, check_not_append_only, check_writable};
use super::{inline, limits};
use crate::change::Writer;
use crate::error::{ErrorKind, Result};
use crate::format::inode::Inode;
use crate::mapping::{self, FILE_BLOCKS_MAX, Progress};
use crate::types::{FileBlock, FileType, InodeNumber};

const END: FileBlock = FileBlock(FILE_BLOCKS_MAX);

/// Gives a regular file a new size. Preallocated blocks beyond the end go, unless it grows.
///
/// # Errors
/// `FileTooLarge`, `NotPermitted` by the inode's flags, `Encrypted`.
pub(crate) fn truncate(
    writer: &Writer,
    inode: InodeNumber,
    size: u64,
    context: WriteContext,
) -> Result<()> {
    let file = FileEdit::new(writer, inode, context)?;
    let mut inode = file.inode()?;
    check_writable(&inode)?;
    check_not_append_only(&inode)?;
    if size > limits::size_max(&writer.store.superblock, &inode) {
        return Err(ErrorKind::FileTooLarge.into());
    }
    if inode.has_inline_data() {
        if inline::resize(&file, &inode, size)? {
            return Ok(());
        }
        inode = inline::to_blocks(&file, inode)?;
    }
    if size > inode.size_bytes() {
        grow(&file, &inode, size)
    } else {
        shrink(&file, &inode, size)
    }
}

fn grow(file: &FileEdit<'_>, inode: &Arc<Inode>, size: u64) -> Result<()> {
    let inode = file.prepare_growth(inode, size, size)?;
    file.change(file.run_credits(&inode), |change| {
        file.stamp(change, Some(size)).map(|_| ())
    })
}

fn shrink(file: &FileEdit<'_>, inode: &Inode, size: u64) -> Result<()> {
    let (writer, number) = (file.writer, file.number);
    let start = file.block_from(size);
    writer.space.end_reservation(number);
    let progress = file.change(file.long_credits(inode), |change| {
        let progress = mapping::remove(change, number, start..END)?;
        if let Progress::Until(_) = progress {
            writer.orphans.add(change, number)?;
        }
        let inode = file.stamp(change, Some(size))?;
        if progress == Progress::Done && inode.links() > 0 {
            // It may have been one for the sake of blocks behind its size.
            writer.orphans.remove(change, number)?;
        }
        file.zero_tail(&inode)?;
        Ok(progress)
    })?;
    let Progress::Until(end) = progress else {
        return Ok(());
    };
    file.remove_blocks(start..end)?;
    let inode = file.inode()?;
    if inode.links() == 0 {
        return Ok(()); // It is an orphan for that reason, too.
    }
    file.change(file.run_credits(&inode), |change| {
        writer.orphans.remove(change, number)
    })
}

/// Removes all blocks that lie wholly behind `size`.
pub(super) fn remove_beyond(file: &FileEdit<'_>, size: u64) -> Result<()> {
    file.remove_blocks(file.block_from(size)..END)
}

/// Removes all blocks of an inode beyond its size, whatever its type: finishes a truncate
/// after a crash, or frees all content of an inode whose size was set to 0. Nobody knows its map. Size, times and
/// the list of orphans are the caller's business.
pub(crate) fn truncate_to_size(writer: &Writer, inode: InodeNumber) -> Result<()> {
    let mut file = FileEdit::new(writer, inode, WriteContext::default())?;
    file.announces_mappings = false;
    let inode = file.inode()?;
    let has_map = match inode.file_type() {
        FileType::Regular | FileType::Directory => !inode.has_inline_data(),
        FileType::Symlink => {
            !inode.has_inline_data() && !inode.is_fast_symlink(&writer.store.superblock)
        }
        _ => false,
    };
    if !has_map {
        return Ok(());
    }
    writer.space.end_reservation(file.number);
    remove_beyond(&file, inode.size_bytes())?;
    if inode.file_type() == FileType::Regular {
        file.zero_tail(&inode)?;
    }
    Ok(())
}

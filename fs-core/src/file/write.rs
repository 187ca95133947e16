//! Writing: over what is there, into preallocated blocks, into holes, beyond the end.
//!
//! Each run of blocks in one state costs one write of the device and at most one change:
//!
//! ```text
//!   written     device write                                     (no change)
//!   unwritten   device write, zeros around it -> change: convert, size, times
//!   hole        change: take blocks, device write, zeros around it, map, size, times
//! ```
//!
//! The last step of overwriting is the times, if they would be others.

use std::sync::Arc;

use super::edit::{FileEdit, WriteContext, check_not_append_only, check_writable, write_fresh};
use super::{inline, limits};
use crate::change::Writer;
use crate::error::{Error, ErrorKind, Result};
use crate::format::inode::Inode;
use crate::inline_edit;
use crate::mapping;
use crate::run::{ExtentState, MappedExtent};
use crate::types::{FileBlock, FsBlock, InodeNumber};

/// Writes `data` at `offset` of a regular file; returns how much was written: less than all
/// if space ran out behind that, or at the largest size.
///
/// # Errors
/// `NoSpace` if nothing could be written, `FileTooLarge` if the largest size lies at or
/// before `offset`, `NotPermitted` by the inode's flags, `Encrypted`.
pub(crate) fn write(
    writer: &Writer,
    inode: InodeNumber,
    data: &[u8],
    offset: u64,
    context: WriteContext,
) -> Result<usize> {
    let file = FileEdit::new(writer, inode, context)?;
    let mut inode = file.inode()?;
    check_writable(&inode)?;
    if offset < inode.size_bytes() {
        check_not_append_only(&inode)?;
    }
    if data.is_empty() {
        return Ok(0);
    }
    let limit = limits::size_max(&writer.store.superblock, &inode);
    let room = limit.saturating_sub(offset);
    if room == 0 {
        return Err(ErrorKind::FileTooLarge.into());
    }
    let data = match usize::try_from(room) {
        Ok(room) => data.get(..room).unwrap_or(data),
        Err(_) => data,
    };
    if inode.has_inline_data() {
        if inline::write(&file, &inode, data, offset)? {
            return Ok(data.len());
        }
        // An empty file loses the flag in the change that maps its first block.
        if inode.size_bytes() > 0 {
            inode = inline::to_blocks(&file, inode)?;
        }
    }
    let end = offset.saturating_add(data.len() as u64);
    let inode = file.prepare_growth(&inode, offset, end)?;
    let writing = Writing {
        file: &file,
        inode,
        data,
        offset,
        done: 0,
    };
    writing.run()
}

/// A write under way.
struct Writing<'a, 'w> {
    file: &'a FileEdit<'w>,
    /// As the last step left it.
    inode: Arc<Inode>,
    data: &'a [u8],
    offset: u64,
    done: usize,
}

impl Writing<'_, '_> {
    fn run(mut self) -> Result<usize> {
        let outcome = self.steps();
        if self.done > 0 {
            self.stamp()?;
        }
        match outcome {
            Err(error) if self.done == 0 || !is_limit(&error) => Err(error),
            _ => Ok(self.done),
        }
    }

    fn steps(&mut self) -> Result<()> {
        let file = self.file;
        while let Some(rest) = self.data.get(self.done..).filter(|rest| !rest.is_empty()) {
            let at = self.at();
            let run = file.look(&self.inode, file.block_of(at))?;
            let len = file.start_of(run.end()).saturating_sub(at);
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            let piece = rest.get(..len).unwrap_or(rest);
            self.done += match run.state {
                ExtentState::Written(place) => {
                    let offset = file.device_offset(place, at % file.block_bytes);
                    file.store().cache.device().write_at(piece, offset)?;
                    piece.len()
                }
                ExtentState::Unwritten(place) => self.fill_unwritten(place, at, piece)?,
                ExtentState::Hole => self.fill_hole(at, piece)?,
            };
        }
        Ok(())
    }

    /// The byte of the file that is written next.
    fn at(&self) -> u64 {
        self.offset.saturating_add(self.done as u64)
    }

    fn fill_unwritten(&mut self, place: FsBlock, at: u64, piece: &[u8]) -> Result<usize> {
        let file = self.file;
        write_fresh(file.store(), place, at % file.block_bytes, piece)?;
        let end = at.saturating_add(piece.len() as u64);
        let blocks = file.block_of(at)..file.block_from(end);
        let size = self.inode.size_bytes().max(end);
        self.inode = file.change(file.run_credits(&self.inode), |change| {
            mapping::convert(change, file.number, blocks.clone(), true)?;
            file.stamp(change, Some(size))
        })?;
        Ok(piece.len())
    }

    fn fill_hole(&mut self, at: u64, piece: &[u8]) -> Result<usize> {
        let file = self.file;
        let (first, head) = (file.block_of(at), at % file.block_bytes);
        let wanted = file.block_from(at.saturating_add(piece.len() as u64));
        let wanted = wanted.0.saturating_sub(first.0);
        let inode = Arc::clone(&self.inode);
        let (len, inode) = file.change(file.run_credits(&inode), |change| {
            if inode.has_inline_data() {
                inline_edit::clear_inline(change, file.number)?;
            }
            let run = file.take(change, &inode, first, wanted)?;
            let room = run.len_blocks.saturating_mul(file.block_bytes) - head;
            let room = usize::try_from(room).unwrap_or(usize::MAX);
            let piece = piece.get(..room).unwrap_or(piece);
            write_fresh(file.store(), run.start, head, piece)?;
            map_written(change, file, first, run)?;
            let end = at.saturating_add(piece.len() as u64);
            let size = inode.size_bytes().max(end);
            Ok((piece.len(), file.stamp(change, Some(size))?))
        })?;
        self.inode = inode;
        Ok(len)
    }

    /// The size and the times after overwriting.
    fn stamp(&mut self) -> Result<()> {
        let (file, end) = (self.file, self.at());
        let grows = end > self.inode.size_bytes();
        if !grows && !file.needs_stamp(&self.inode) {
            return Ok(());
        }
        file.change(file.run_credits(&self.inode), |change| {
            file.stamp(change, grows.then_some(end)).map(|_| ())
        })
    }
}

fn map_written(
    change: &mut crate::change::Change<'_>,
    file: &FileEdit<'_>,
    file_block: FileBlock,
    run: crate::space::BlockRun,
) -> Result<()> {
    let run = MappedExtent {
        file_block,
        len_blocks: run.len_blocks,
        state: ExtentState::Written(run.start),
    };
    mapping::insert(change, file.number, run)
}

/// True for failures before which some bytes may be written, and are reported as such.
fn is_limit(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NoSpace | ErrorKind::FileTooLarge)
}

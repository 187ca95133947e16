//! Two files exchange blocks, as Linux's `EXT4_IOC_MOVE_EXT` does for defragmentation.
//!
//! Sizes and times stay: who defragments moves equal content. Steps are bounded; a crash
//! between two leaves the first part exchanged, a step that fails has it exchanged back.

use super::edit::{FileEdit, WriteContext, check_not_append_only, check_writable};
use crate::change::Writer;
use crate::error::{ErrorKind, Result};
use crate::format::inode::Inode;
use crate::format::inode_flags::InodeFlags;
use crate::mapping::{self, FILE_BLOCKS_MAX, Progress};
use crate::types::{FileBlock, InodeNumber};

const PRIVILEGES: u16 = 0o6000;

/// Exchanges `len` bytes of blocks at `a_offset` of `a` and `b_offset` of `b`, as far as
/// both files reach. The caller holds the locks of both.
///
/// # Errors
/// `InvalidInput` for a file with itself, ranges that are not whole blocks or begin behind
/// an end, and if `b` has set-ID bits; `NotSupported` without extents; `NotPermitted` by
/// flags.
pub(crate) fn swap_extents(
    writer: &Writer,
    a: InodeNumber,
    a_offset: u64,
    b: InodeNumber,
    b_offset: u64,
    len: u64,
) -> Result<()> {
    if a == b {
        return Err(ErrorKind::InvalidInput("a file cannot exchange blocks with itself").into());
    }
    let a_file = FileEdit::new(writer, a, WriteContext::default())?;
    let b_file = FileEdit::new(writer, b, WriteContext::default())?;
    let (a_inode, b_inode) = (a_file.inode()?, b_file.inode()?);
    for inode in [&a_inode, &b_inode] {
        check_file(inode)?;
    }
    if b_inode.mode() & PRIVILEGES != 0 {
        return Err(ErrorKind::InvalidInput("the other file has set-ID bits").into());
    }
    let block_bytes = a_file.block_bytes;
    if [a_offset, b_offset, len]
        .iter()
        .any(|at| !at.is_multiple_of(block_bytes))
    {
        return Err(ErrorKind::InvalidInput("the range is not whole blocks").into());
    }
    let (a_start, b_start) = (a_file.block_of(a_offset), b_file.block_of(b_offset));
    let room = |file: &FileEdit<'_>, inode: &Inode, start: FileBlock| {
        let end = file.block_from(inode.size_bytes()).0.min(FILE_BLOCKS_MAX);
        end.saturating_sub(start.0)
    };
    let len_blocks = (len / block_bytes)
        .min(room(&a_file, &a_inode, a_start))
        .min(room(&b_file, &b_inode, b_start));
    if len_blocks == 0 {
        return Err(ErrorKind::InvalidInput("the range begins behind the end of a file").into());
    }
    // What lies behind an end may come to lie inside the other file, and the other way round.
    a_file.zero_tail(&a_inode)?;
    b_file.zero_tail(&b_inode)?;
    exchange_or_not(writer, (a, a_start), (b, b_start), len_blocks)?;
    a_file.zero_tail(a_file.inode()?.as_ref())?;
    b_file.zero_tail(b_file.inode()?.as_ref())
}

fn check_file(inode: &Inode) -> Result<()> {
    check_writable(inode)?;
    check_not_append_only(inode)?;
    if !inode.flags().contains(InodeFlags::EXTENTS) {
        return Err(ErrorKind::NotSupported("the file has no extents").into());
    }
    Ok(())
}

/// Exchanges all, or nothing: a part that is done when something fails is exchanged back. For
/// that the reserve may be used. Without one the nodes it takes may be missing, as those that
/// became free may be in use again: then the part stays exchanged.
fn exchange_or_not(
    writer: &Writer,
    a: (InodeNumber, FileBlock),
    b: (InodeNumber, FileBlock),
    len_blocks: u64,
) -> Result<()> {
    let mut done = 0;
    let pair = Pair::new(writer, a, b, WriteContext::default())?;
    let failed = match pair.exchange(&mut done, len_blocks) {
        Ok(()) => return Ok(()),
        Err(error) => error,
    };
    let context = WriteContext {
        kernel_moves_content: false,
        may_use_reserve: true,
        ..WriteContext::default()
    };
    let mut undone = 0;
    let undoing =
        Pair::new(writer, a, b, context).and_then(|pair| pair.exchange(&mut undone, done));
    if let Err(error) = undoing {
        let left = done.saturating_sub(undone);
        tracing::warn!(
            "{left} blocks of inodes {} and {} stay exchanged: {error}",
            a.0,
            b.0
        );
    }
    Err(failed)
}

/// Two files and where their ranges begin.
struct Pair<'w> {
    a: FileEdit<'w>,
    a_start: FileBlock,
    b: FileEdit<'w>,
    b_start: FileBlock,
}

impl<'w> Pair<'w> {
    fn new(
        writer: &'w Writer,
        (a, a_start): (InodeNumber, FileBlock),
        (b, b_start): (InodeNumber, FileBlock),
        context: WriteContext,
    ) -> Result<Self> {
        Ok(Self {
            a: FileEdit::new(writer, a, context)?,
            a_start,
            b: FileEdit::new(writer, b, context)?,
            b_start,
        })
    }

    /// Exchanges the first `len_blocks` blocks; `done` says how many are, also after an
    /// error.
    fn exchange(&self, done: &mut u64, len_blocks: u64) -> Result<()> {
        let Self { a, b, .. } = self;
        while *done < len_blocks {
            let (a_inode, b_inode) = (a.inode()?, b.inode()?);
            let credits = a.long_credits(&a_inode) + b.long_credits(&b_inode);
            let a_from = FileBlock(self.a_start.0 + *done);
            let b_from = FileBlock(self.b_start.0 + *done);
            let left = len_blocks - *done;
            let progress = a.change(credits, |change| {
                mapping::swap(change, a.number, a_from, b.number, b_from, left)
            })?;
            let Progress::Until(next) = progress else {
                break;
            };
            let next = a.advanced(a_from, next, next > a_from)?;
            *done = next.0.saturating_sub(self.a_start.0);
        }
        Ok(())
    }
}

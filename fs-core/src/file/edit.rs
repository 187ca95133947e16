//! What all changes of content share: steps, times, fresh blocks, zeros.

use std::ops::Range;
use std::sync::Arc;

use crate::change::{Change, Writer};
use crate::error::{Error, ErrorKind, Result};
use crate::format::extent;
use crate::format::inode::Inode;
use crate::format::inode_flags::InodeFlags;
use crate::mapping::{self, Progress};
use crate::run::{ExtentState, MappedExtent, hole};
use crate::space::{BlockRequest, BlockRun, Purpose};
use crate::store::Store;
use crate::types::{FileBlock, FileType, FsBlock, InodeNumber, Timestamp};

use super::limits;

/// Times closer than this are equal: what Linux's clock for file times can tell apart at
/// 250 Hz. So a stream of small overwrites does not change its inode with each.
pub(super) const TICK_NS: i128 = 4_000_000;
/// Blocks a step may change besides those of the map: the inode, bitmaps, descriptors, the
/// superblock, an orphan's place.
const STEP_CREDITS: usize = 12;
/// Blocks a step that removes or moves a large map may change.
const LARGE_STEP_CREDITS: usize = 256;
/// Padded in memory and written at once up to this; beyond, only edge blocks are copied.
const PADDED_BYTES_MAX: usize = 64 << 10;

const S_ISUID: u16 = 0o4000;
const S_ISGID: u16 = 0o2000;
const S_IXGRP: u16 = 0o010;

/// On whose behalf content is changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WriteContext {
    /// The blocks kept for the reserved user may be used.
    pub may_use_reserve: bool,
    /// The set-user-ID bit is dropped, and the set-group-ID bit where the group may
    /// execute. `security.capability` is the caller's business.
    pub clear_privileges: bool,
    /// The times stay: the caller knows when the content was changed, and says so after.
    pub keeps_times: bool,
    /// The kernel moves content, and zeroes what lies partly in a block: only whole blocks are
    /// freed and allocated here, and none are written.
    pub kernel_moves_content: bool,
}

/// Fails unless the content of this inode may be changed.
pub(super) fn check_writable(inode: &Inode) -> Result<()> {
    check_kind(inode)?;
    if inode.flags().contains(InodeFlags::IMMUTABLE) {
        return Err(ErrorKind::NotPermitted("the file is immutable").into());
    }
    Ok(())
}

/// Fails unless this inode is of a kind whose content can be changed.
pub(super) fn check_kind(inode: &Inode) -> Result<()> {
    match inode.file_type() {
        FileType::Regular => {}
        FileType::Directory => return Err(ErrorKind::IsADirectory.into()),
        _ => return Err(ErrorKind::InvalidInput("not a regular file").into()),
    }
    let flags = inode.flags();
    if flags.contains(InodeFlags::VERITY) {
        return Err(ErrorKind::NotPermitted("the file is sealed by fs-verity").into());
    }
    if flags.contains(InodeFlags::ENCRYPT) {
        return Err(Error::from(ErrorKind::Encrypted).context(format!("inode {}", inode.number())));
    }
    Ok(())
}

/// Fails if the file may only grow.
pub(super) fn check_not_append_only(inode: &Inode) -> Result<()> {
    if inode.flags().contains(InodeFlags::APPEND) {
        return Err(ErrorKind::NotPermitted("the file can only be appended to").into());
    }
    Ok(())
}

/// A file whose lock is held, being changed.
pub(super) struct FileEdit<'w> {
    pub(super) writer: &'w Writer,
    pub(super) number: InodeNumber,
    pub(super) context: WriteContext,
    pub(super) block_bytes: u64,
    /// Who observes maps is told of changes.
    pub(super) announces_mappings: bool,
}

impl<'w> FileEdit<'w> {
    /// # Errors
    /// `Stopped` if nothing can be written any more.
    pub(super) fn new(
        writer: &'w Writer,
        number: InodeNumber,
        context: WriteContext,
    ) -> Result<Self> {
        writer.transactions.check_alive()?;
        Ok(Self {
            writer,
            number,
            context,
            block_bytes: u64::from(writer.store.superblock.block_bytes),
            announces_mappings: true,
        })
    }

    pub(super) fn store(&self) -> &'w Store {
        &self.writer.store
    }

    /// The inode as it is.
    pub(super) fn inode(&self) -> Result<Arc<Inode>> {
        self.writer.store.inode(self.number)
    }

    /// The block that holds a byte.
    pub(super) fn block_of(&self, offset: u64) -> FileBlock {
        FileBlock(offset / self.block_bytes)
    }

    /// The first block that begins at or behind a byte.
    pub(super) fn block_from(&self, offset: u64) -> FileBlock {
        FileBlock(offset.div_ceil(self.block_bytes))
    }

    /// The first byte of a block; blocks beyond all files have the last there is.
    pub(super) fn start_of(&self, block: FileBlock) -> u64 {
        block.0.saturating_mul(self.block_bytes)
    }

    /// The byte of the device where `within` bytes of a block are passed.
    pub(super) fn device_offset(&self, block: FsBlock, within: u64) -> u64 {
        // A block of the volume, whose size in bytes fits.
        block
            .0
            .saturating_mul(self.block_bytes)
            .saturating_add(within)
    }

    /// What is at a block, as far as one look goes. Content in the inode is no blocks.
    pub(super) fn look(&self, inode: &Inode, block: FileBlock) -> Result<MappedExtent> {
        if inode.has_inline_data() {
            return Ok(hole(
                block,
                mapping::FILE_BLOCKS_MAX.saturating_sub(block.0).max(1),
            ));
        }
        let run = mapping::map_some(self.store(), inode, block)?;
        if let ExtentState::Written(start) | ExtentState::Unwritten(start) = run.state {
            let blocks = BlockRun {
                start,
                len_blocks: run.len_blocks,
            };
            self.writer.space.check_content(blocks).map_err(|error| {
                error.context(format_args!("block map of inode {}", self.number))
            })?;
        }
        Ok(run)
    }

    /// Makes one change; once more if space was short and a commit may help.
    ///
    /// # Errors
    /// Those of `step`, after which all is as before.
    pub(super) fn change<T>(
        &self,
        credits: usize,
        mut step: impl FnMut(&mut Change<'w>) -> Result<T>,
    ) -> Result<T> {
        let durable = self.writer.transactions.committed();
        let result = self.change_once(credits, &mut step);
        match &result {
            Err(error)
                if *error.kind() == ErrorKind::NoSpace && self.writer.space.counts().blocks > 0 => {
            }
            _ => return result,
        }
        let transactions = &self.writer.transactions;
        let pending = transactions.pending();
        if transactions.committed() >= pending && transactions.committed() == durable {
            return result;
        }
        // Nothing to do if a commit has given something back meanwhile.
        self.writer.commit(pending)?;
        self.change_once(credits, &mut step)
    }

    /// Makes one change.
    pub(super) fn change_once<T>(
        &self,
        credits: usize,
        mut step: impl FnMut(&mut Change<'w>) -> Result<T>,
    ) -> Result<T> {
        let mut change = self.writer.begin(credits)?;
        change.may_use_reserve = self.context.may_use_reserve;
        change.announces_mappings = self.announces_mappings;
        let done = step(&mut change)?;
        change.finish();
        Ok(done)
    }

    /// Credits of a step that maps or converts one run.
    pub(super) fn run_credits(&self, inode: &Inode) -> usize {
        mapping::credits(self.store(), inode, 1).saturating_add(STEP_CREDITS)
    }

    /// Credits of a step that goes on as far as they last.
    pub(super) fn long_credits(&self, inode: &Inode) -> usize {
        let least = if has_small_map(inode) {
            mapping::FRESH_CREDITS
        } else {
            LARGE_STEP_CREDITS
        };
        least.saturating_add(STEP_CREDITS)
    }

    /// Takes a run for the hole at `block`, at most `len_blocks` of it.
    pub(super) fn take(
        &self,
        change: &mut Change<'w>,
        inode: &Inode,
        block: FileBlock,
        len_blocks: u64,
    ) -> Result<BlockRun> {
        let request = BlockRequest {
            goal: self.goal(inode, block)?,
            len_blocks,
            purpose: Purpose::Data {
                inode: self.number,
                len_blocks: self.block_from(inode.size_bytes()).0,
            },
            may_use_reserve: self.context.may_use_reserve,
        };
        change.allocate(request)
    }

    /// Behind the block before, so that content that is read in order lies in order.
    fn goal(&self, inode: &Inode, block: FileBlock) -> Result<FsBlock> {
        if let Some(before) = block.0.checked_sub(1) {
            let run = self.look(inode, FileBlock(before))?;
            if let ExtentState::Written(place) | ExtentState::Unwritten(place) = run.state
                && let Some(next) = place.checked_add(1)
            {
                return Ok(next);
            }
        }
        Ok(self.writer.space.goal_for(self.store(), self.number))
    }

    /// Sets the times of a change of content, a new size, and drops privileges.
    pub(super) fn stamp(&self, change: &mut Change<'w>, size: Option<u64>) -> Result<Arc<Inode>> {
        let inode = change.inode(self.number)?;
        if let Some(size) = size {
            limits::announce_large(change, inode.size_bytes(), size);
        }
        let (now, mode) = (change.now, self.mode_after(&inode));
        change.edit_inode(self.number, |edit| {
            if let Some(size) = size {
                edit.set_size(size)?;
            }
            if mode != inode.mode() {
                edit.set_mode(mode)?;
            }
            if self.context.keeps_times {
                return Ok(());
            }
            edit.set_modified(now)?;
            edit.set_changed(now)
        })
    }

    /// True if the times or the mode of an inode whose content was changed are not what
    /// [`stamp`](Self::stamp) makes them.
    pub(super) fn needs_stamp(&self, inode: &Inode) -> bool {
        let now = self.writer.clock.now();
        let is_touched = is_same_tick(now, inode.modified()) && is_same_tick(now, inode.changed());
        !is_touched && !self.context.keeps_times || self.mode_after(inode) != inode.mode()
    }

    fn mode_after(&self, inode: &Inode) -> u16 {
        let mode = inode.mode();
        if !self.context.clear_privileges {
            return mode;
        }
        let is_group_executable = mode & S_IXGRP != 0;
        mode & !S_ISUID & !if is_group_executable { S_ISGID } else { 0 }
    }

    /// Overwrites a range inside one block with zeros, if the block holds written content.
    pub(super) fn zero_within(&self, inode: &Inode, range: Range<u64>) -> Result<()> {
        if range.is_empty() || self.context.kernel_moves_content {
            return Ok(());
        }
        let run = self.look(inode, self.block_of(range.start))?;
        let ExtentState::Written(place) = run.state else {
            return Ok(());
        };
        let len = range.end.saturating_sub(range.start).min(self.block_bytes);
        let zeros = vec![0; usize::try_from(len).unwrap_or(0)];
        let offset = self.device_offset(place, range.start % self.block_bytes);
        Ok(self.store().cache.device().write_at(&zeros, offset)?)
    }

    /// Has what lies behind the end in the last block read as zeros.
    pub(super) fn zero_tail(&self, inode: &Inode) -> Result<()> {
        let size = inode.size_bytes();
        self.zero_within(inode, size..size.next_multiple_of(self.block_bytes))
    }

    /// Removes blocks, from the last to the first, in as many changes as it takes.
    pub(super) fn remove_blocks(&self, range: Range<FileBlock>) -> Result<()> {
        let mut left = range;
        while left.start < left.end {
            let credits = self.long_credits(self.inode()?.as_ref());
            let progress = self.change(credits, |change| {
                mapping::remove(change, self.number, left.clone())
            })?;
            match progress {
                Progress::Done => break,
                Progress::Until(end) => left.end = self.advanced(left.end, end, end < left.end)?,
            }
        }
        Ok(())
    }

    /// Where a long change goes on.
    ///
    /// # Errors
    /// `Corrupt` if it has not moved: it never would end.
    pub(super) fn advanced(
        &self,
        from: FileBlock,
        to: FileBlock,
        has_moved: bool,
    ) -> Result<FileBlock> {
        if has_moved {
            return Ok(to);
        }
        Err(Error::corrupt(
            format_args!("block map of inode {}", self.number),
            None,
            format_args!("fewer blocks to change at file block {from} than the log has room for"),
            "more",
        ))
    }
}

/// True if the whole map lies in the inode.
fn has_small_map(inode: &Inode) -> bool {
    if inode.flags().contains(InodeFlags::EXTENTS) {
        matches!(
            extent::view(inode.block_area()),
            Some(extent::Node::Leaf(_))
        )
    } else {
        inode.has_inline_data() || inode.block_area().iter().skip(48).all(|&byte| byte == 0)
    }
}

fn is_same_tick(now: Timestamp, then: Timestamp) -> bool {
    let ns = |time: Timestamp| i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos);
    (0..TICK_NS).contains(&(ns(now) - ns(then)))
}

/// Writes `data` into blocks that held nothing of the file, from `head` bytes behind the
/// beginning of `start`; what else the first and the last of them hold becomes zero.
pub(super) fn write_fresh(store: &Store, start: FsBlock, head: u64, data: &[u8]) -> Result<()> {
    let device = store.cache.device();
    let block = store.superblock.block_bytes as usize;
    let mut at = start.0.saturating_mul(block as u64);
    let head = usize::try_from(head).unwrap_or(0);
    let padded = (head + data.len()).next_multiple_of(block);
    if padded == data.len() {
        return Ok(device.write_at(data, at)?);
    }
    if padded <= PADDED_BYTES_MAX.max(block) {
        return Ok(device.write_at(&padded_with_zeros(head, data, padded), at)?);
    }
    let mut data = data;
    if head > 0 {
        let (first, rest) = data.split_at(block.saturating_sub(head).min(data.len()));
        device.write_at(&padded_with_zeros(head, first, block), at)?;
        (data, at) = (rest, at.saturating_add(block as u64));
    }
    let (whole, last) = data.split_at(data.len() - data.len() % block);
    device.write_at(whole, at)?;
    if !last.is_empty() {
        let last = padded_with_zeros(0, last, block);
        device.write_at(&last, at.saturating_add(whole.len() as u64))?;
    }
    Ok(())
}

fn padded_with_zeros(head: usize, data: &[u8], len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len);
    bytes.resize(head, 0);
    bytes.extend_from_slice(data);
    bytes.resize(len, 0);
    bytes
}

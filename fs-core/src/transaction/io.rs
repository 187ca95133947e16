//! What a commit and a checkpoint do with the device.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::cache::{Block, BlockCache, RoleKind};
use crate::error::Result;
use crate::journal::LogWriter;
use crate::types::FsBlock;

use super::home::write_home;
use super::{Limits, Sealed};

/// The log that commits go to, and the clock of its commit blocks.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) writer: LogWriter,
    pub(crate) clock: crate::clock::Clock,
}

/// One commit or checkpoint at a time has it.
#[derive(Debug)]
pub(super) struct Io {
    log: Option<Log>,
    /// Blocks committed whose content does not lie in its place: the newest copy of each.
    unsettled: BTreeMap<FsBlock, Arc<Block>>,
}

impl Io {
    pub(super) fn new(log: Option<Log>) -> Self {
        Self {
            log,
            unsettled: BTreeMap::new(),
        }
    }

    /// Blocks of the log in use, and written so far.
    pub(super) fn log_blocks(&self) -> (u64, u64) {
        let log = self.log.as_ref();
        log.map_or((0, 0), |log| log.writer.used_and_written())
    }

    /// Makes a transaction durable. Asks `may_write` before each of its steps.
    pub(super) fn write(
        &mut self,
        cache: &BlockCache,
        mut sealed: Sealed,
        limits: Limits,
        may_write: &dyn Fn() -> Result<()>,
    ) -> Result<()> {
        sealed.blocks.sort_unstable_by_key(|(number, _)| *number);
        let Some(log) = &mut self.log else {
            return write_without_log(cache, &sealed.blocks, may_write);
        };
        if sealed.blocks.is_empty() && sealed.revoked.is_empty() {
            cache.device().flush()?;
            return Ok(());
        }
        let is_crowded = self.unsettled.len() + sealed.blocks.len() > limits.unsettled_blocks;
        if is_crowded
            || !log
                .writer
                .has_room(sealed.blocks.len(), sealed.revoked.len())
        {
            empty(cache, &mut self.unsettled, log, may_write)?;
        }
        let blocks: Vec<(FsBlock, &[u8])> = sealed
            .blocks
            .iter()
            .map(|(number, block)| (*number, block.bytes()))
            .collect();
        let revoked: Vec<FsBlock> = sealed.revoked.iter().copied().collect();
        log.writer.append(&blocks, &revoked, log.clock.now())?;
        // A freed block may hold other things now: its older content must not go home.
        for number in &sealed.revoked {
            self.unsettled.remove(number);
        }
        self.unsettled.extend(sealed.blocks);
        Ok(())
    }

    /// Writes what is committed home and empties the log.
    pub(super) fn checkpoint(
        &mut self,
        cache: &BlockCache,
        may_write: &dyn Fn() -> Result<()>,
    ) -> Result<()> {
        match &mut self.log {
            Some(log) => empty(cache, &mut self.unsettled, log, may_write),
            None => Ok(()),
        }
    }

    /// Empties the log, and ends its fast commits.
    pub(super) fn end_fast_commits(
        &mut self,
        cache: &BlockCache,
        may_write: &dyn Fn() -> Result<()>,
    ) -> Result<()> {
        self.checkpoint(cache, may_write)?;
        match &mut self.log {
            Some(log) => log.writer.end_fast_commits(),
            None => Ok(()),
        }
    }

    pub(super) fn close(&mut self) -> Result<()> {
        match &mut self.log {
            Some(log) => log.writer.close(),
            None => Ok(()),
        }
    }

    pub(super) fn record_error(&mut self) {
        if let Some(log) = &mut self.log {
            let errno = rustix::io::Errno::IO.raw_os_error();
            if let Err(error) = log.writer.record_error(errno) {
                tracing::warn!("the journal's failure could not be noted: {error}");
            }
        }
    }
}

fn empty(
    cache: &BlockCache,
    unsettled: &mut BTreeMap<FsBlock, Arc<Block>>,
    log: &mut Log,
    may_write: &dyn Fn() -> Result<()>,
) -> Result<()> {
    settle(cache, unsettled)?;
    may_write()?;
    log.writer.restart()
}

fn settle(cache: &BlockCache, unsettled: &mut BTreeMap<FsBlock, Arc<Block>>) -> Result<()> {
    if unsettled.is_empty() {
        return Ok(());
    }
    let device = cache.device().as_ref();
    write_home(
        device,
        unsettled.iter().map(|(number, block)| (*number, block)),
    )?;
    device.flush()?;
    for (number, block) in std::mem::take(unsettled) {
        cache.settle(number, &block);
    }
    Ok(())
}

/// Without a log the order alone protects: what is pointed to before what points to it.
/// Bitmaps and blocks that are new first, inodes next, then indexes, then leaves, which may
/// have lost to a new block what an index finds there by now; the superblock, which says
/// whether all is well, last. A crash may leave blocks and inodes that are marked in use and
/// belong to nobody, and what has moved in both places, which e2fsck mends. What it can cost:
/// a name moved to another directory may be in neither, and what was added to the leaf of a
/// deep map may be missing, where both leaves were on their way.
fn write_without_log(
    cache: &BlockCache,
    blocks: &[(FsBlock, Arc<Block>)],
    may_write: &dyn Fn() -> Result<()>,
) -> Result<()> {
    let device = cache.device().as_ref();
    device.flush()?;
    for phase in 0..=4 {
        let of_phase = |block: &Block| phase_of(block) == phase;
        if !blocks.iter().any(|(_, block)| of_phase(block)) {
            continue;
        }
        may_write()?;
        let some = blocks.iter().filter(|(_, block)| of_phase(block));
        write_home(device, some.map(|(number, block)| (*number, block)))?;
        device.flush()?;
    }
    for (number, block) in blocks {
        cache.settle(*number, block);
    }
    Ok(())
}

fn phase_of(block: &Block) -> u8 {
    match block.kind() {
        Some(RoleKind::Superblock) => 4,
        _ if block.is_fresh() => 0,
        Some(RoleKind::InodeTable) => 1,
        Some(RoleKind::DirectoryIndex) => 2,
        Some(RoleKind::ExtentNode | RoleKind::IndirectBlock) if block.level() > 0 => 2,
        Some(RoleKind::DirectoryLeaf | RoleKind::ExtentNode) => 3,
        _ => 0,
    }
}

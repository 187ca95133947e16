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

    /// Makes a transaction durable.
    pub(super) fn write(
        &mut self,
        cache: &BlockCache,
        sealed: Sealed,
        limits: Limits,
    ) -> Result<()> {
        let Some(log) = &mut self.log else {
            return write_without_log(cache, sealed);
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
            settle(cache, &mut self.unsettled)?;
            log.writer.restart()?;
        }
        let mut sealed = sealed;
        sealed.blocks.sort_unstable_by_key(|(number, _)| *number);
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
    pub(super) fn checkpoint(&mut self, cache: &BlockCache) -> Result<()> {
        let Some(log) = &mut self.log else {
            return Ok(());
        };
        settle(cache, &mut self.unsettled)?;
        log.writer.restart()
    }

    pub(super) fn close(&mut self, _cache: &BlockCache) -> Result<()> {
        match &mut self.log {
            Some(log) => log.writer.close(),
            None => Ok(()),
        }
    }

    pub(super) fn record_error(&mut self, _cache: &BlockCache) {
        if let Some(log) = &mut self.log {
            let errno = rustix::io::Errno::IO.raw_os_error();
            if let Err(error) = log.writer.record_error(errno) {
                tracing::warn!("the journal's failure could not be noted: {error}");
            }
        }
    }
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
/// Bitmaps and new nodes first, inodes next, then names, and the superblock, which says
/// whether all is well, last. A crash may leave blocks and inodes that are marked in use and
/// belong to nobody, which e2fsck frees.
fn write_without_log(cache: &BlockCache, sealed: Sealed) -> Result<()> {
    let device = cache.device().as_ref();
    let mut blocks = sealed.blocks;
    blocks.sort_unstable_by_key(|(number, _)| *number);
    device.flush()?;
    for phase in 0..=3 {
        let some = blocks
            .iter()
            .filter(|(_, block)| phase_of(block.kind()) == phase);
        write_home(device, some.map(|(number, block)| (*number, block)))?;
        device.flush()?;
    }
    for (number, block) in &blocks {
        cache.settle(*number, block);
    }
    Ok(())
}

fn phase_of(kind: Option<RoleKind>) -> u8 {
    match kind {
        Some(RoleKind::InodeTable) => 1,
        Some(RoleKind::DirectoryLeaf | RoleKind::DirectoryIndex) => 2,
        Some(RoleKind::Superblock) => 3,
        _ => 0,
    }
}

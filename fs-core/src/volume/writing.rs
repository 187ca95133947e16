//! Opening a volume for writing: what must be done on the device before the first change,
//! and after the last one.

use std::sync::Arc;

use images::BlockDevice;
use zerocopy::FromBytes;

use crate::change::Writer;
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::format::features::{CompatFeatures, IncompatFeatures};
use crate::format::journal::RawJournalSuperblock;
use crate::format::superblock::{PRIMARY_OFFSET_BYTES, RawSuperblock, SIZE_BYTES};
use crate::journal::{self, LogFeatures, LogWriter};
use crate::live_superblock::LiveSuperblock;
use crate::orphans::Orphans;
use crate::space::Space;
use crate::store::Store;
use crate::transaction::{Limits, Log, Transactions};
use crate::volume::OpenOptions;
use crate::volume::{open, recovery};
use crate::xattr::Sharing;

/// Opens a volume whose journal is clean.
pub(crate) fn open_writer(device: Arc<dyn BlockDevice>, clock: Clock) -> Result<Writer> {
    let options = OpenOptions::default();
    let opened = open::open(&device, &options)?;
    let raw = read_superblock(device.as_ref())?;
    let block_bytes = opened.superblock.block_bytes;
    let store = recovery::store(Arc::clone(&device), opened, &options);
    let superblock = LiveSuperblock::new(raw, block_bytes);
    let log = open_log(&store, clock, 1)?;
    let mut limits = Limits {
        transaction_blocks: (options.cache_bytes / 8) / block_bytes as usize,
        unsettled_blocks: (options.cache_bytes / 4) / block_bytes as usize,
    };
    let mut log = log;
    if let Some(log) = &mut log {
        let quarter = log.writer.capacity_blocks() as usize / 4;
        limits.transaction_blocks = limits.transaction_blocks.min(quarter);
        superblock.edit_quietly(|raw| {
            let bits = raw.s_feature_incompat.get() | IncompatFeatures::RECOVER.bits();
            raw.s_feature_incompat = bits.into();
        });
        write_superblock(device.as_ref(), &superblock)?;
        log.writer.restart()?;
    }
    let space = Space::open(&store, false)?;
    let orphans = Orphans::load(&store)?;
    Ok(Writer {
        store,
        space,
        superblock,
        orphans,
        transactions: Transactions::new(log, limits),
        clock,
        sharing: Sharing::new(),
    })
}

/// Makes everything durable and says that there is nothing to recover.
pub(crate) fn close_writer(writer: &Writer) -> Result<()> {
    let cache = &writer.store.cache;
    writer.sync()?;
    writer.transactions.checkpoint(cache)?;
    writer.transactions.close_log(cache)?;
    writer.superblock.edit_quietly(|raw| {
        let bits = raw.s_feature_incompat.get() & !IncompatFeatures::RECOVER.bits();
        raw.s_feature_incompat = bits.into();
    });
    write_superblock(cache.device().as_ref(), &writer.superblock)
}

fn read_superblock(device: &dyn BlockDevice) -> Result<RawSuperblock> {
    let mut bytes = [0; SIZE_BYTES];
    device.read_at(&mut bytes, PRIMARY_OFFSET_BYTES)?;
    RawSuperblock::from_prefix(&bytes)
        .ok_or_else(|| Error::corrupt("superblock", None, "1024 bytes", bytes.len()))
}

fn write_superblock(device: &dyn BlockDevice, superblock: &LiveSuperblock) -> Result<()> {
    superblock.edit_quietly(RawSuperblock::seal_checksum);
    device.write_at(superblock.snapshot().bytes(), PRIMARY_OFFSET_BYTES)?;
    device.flush()?;
    Ok(())
}

fn open_log(store: &Store, clock: Clock, skipped: u32) -> Result<Option<Log>> {
    let superblock = &store.superblock;
    if !superblock.has_compat(CompatFeatures::HAS_JOURNAL) {
        return Ok(None);
    }
    if superblock.journal_inode == 0 {
        let what = "writing to a volume with an external journal".to_owned();
        return Err(ErrorKind::Unsupported(what).into());
    }
    let writer = recovery::with_log(store, |location| {
        let typed = journal::read_superblock(location)?;
        let mut block = vec![0; superblock.block_bytes as usize];
        let home = (location.map)(0)?;
        let offset = home.0.saturating_mul(superblock.block_bytes.into());
        store.cache.device().read_at(&mut block, offset)?;
        let (raw, _) = RawJournalSuperblock::read_from_prefix(&block)
            .map_err(|_| Error::corrupt("journal superblock", Some(home), "1024 bytes", 0))?;
        let features = LogFeatures {
            has_checksums: superblock.has_metadata_csum(),
            is_64bit: superblock.has_incompat(IncompatFeatures::BIT64),
        };
        let sequence = typed.sequence.wrapping_add(skipped);
        LogWriter::new(location, &typed, raw, features, sequence)
    })?;
    Ok(Some(Log { writer, clock }))
}

//! What lies on the device when a volume is opened for writing, and when it is closed.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use images::{BlockDevice, Metered};
use zerocopy::FromBytes;

use crate::Clock;
use crate::change::Writer;
use crate::error::{Error, ErrorKind, Result};
use crate::format::features::{CompatFeatures, IncompatFeatures};
use crate::format::journal::RawJournalSuperblock;
use crate::format::superblock::{PRIMARY_OFFSET_BYTES, RawSuperblock, SIZE_BYTES};
use crate::generations::Generations;
use crate::journal::{
    self, FastCommitOp, JournalSuperblock, LogFeatures, LogWriter, ReplayedBlock,
};
use crate::live_superblock::LiveSuperblock;
use crate::orphans::Orphans;
use crate::space::Space;
use crate::store::Store;
use crate::transaction::{Limits, Log, Transactions};
use crate::types::FsBlock;
use crate::volume::mmp::{self, MmpHold};
use crate::volume::{OpenOptions, RecoveryReport, WriteOptions, fast_commits, open, recovery};
use crate::xattr::Sharing;

/// `s_state`: errors were found.
const STATE_ERRORS: u16 = 0x2;
/// The parts of the caches' bound: clean blocks and inodes a half, blocks of the running
/// transaction an eighth, blocks waiting for their checkpoint a quarter.
const CLEAN_PART: usize = 2;
const TRANSACTION_PART: usize = 8;
const UNSETTLED_PART: usize = 4;
/// No transaction is smaller: one operation must fit.
const TRANSACTION_BLOCKS_MIN: usize = 128;

/// A volume that has been opened for writing.
pub(crate) struct Opened {
    pub(crate) writer: Writer,
    pub(crate) report: RecoveryReport,
    /// The hold of multiple mount protection.
    pub(super) mmp: Option<MmpHold>,
}

/// Opens the parts of a volume for writing: the journal is replayed onto the device, and
/// the volume marked so that whoever comes after a crash does the same.
pub(crate) fn open(device: Arc<dyn BlockDevice>, options: &WriteOptions) -> Result<Opened> {
    let meter = Arc::new(Metered::new(device));
    let device: Arc<dyn BlockDevice> = meter.clone();
    let reading = OpenOptions {
        cache_bytes: options.cache_bytes / CLEAN_PART,
        ..OpenOptions::default()
    };
    let opened = open::open(&device, &reading)?;
    opened.superblock.features.check_writable()?;
    if opened.superblock.has_compat(CompatFeatures::HAS_JOURNAL)
        && opened.superblock.journal_inode == 0
    {
        let what = "writing to a volume with an external journal".to_owned();
        return Err(ErrorKind::Unsupported(what).into());
    }
    let mmp = mmp::take(&device, &opened.superblock, &options.host, options.clock)?;
    let parts = match &mmp {
        // Somebody may have left it only after it was read.
        Some(_) => open::open(&device, &reading),
        None => Ok(opened),
    };
    match parts.and_then(|opened| open_parts(&meter, opened, &reading, options)) {
        Ok((writer, report)) => Ok(Opened {
            writer,
            report,
            mmp,
        }),
        Err(error) => {
            give_up(mmp);
            Err(error)
        }
    }
}

/// Gives back a volume that could not be opened, so that the next who tries need not watch
/// for a user that is gone.
pub(super) fn give_up(mmp: Option<MmpHold>) {
    if let Some(Err(error)) = mmp.map(MmpHold::release) {
        tracing::warn!("multiple mount protection could not be ended: {error}");
    }
}

/// The rest of [`open`], when the volume is ours.
fn open_parts(
    meter: &Arc<Metered>,
    opened: open::Opened,
    reading: &OpenOptions,
    options: &WriteOptions,
) -> Result<(Writer, RecoveryReport)> {
    let device: Arc<dyn BlockDevice> = Arc::clone(meter) as Arc<dyn BlockDevice>;
    let mut store = recovery::store(Arc::clone(&device), opened, reading);
    let mut report = RecoveryReport::default();
    let mut replayed = Replayed::default();
    if store.superblock.has_incompat(IncompatFeatures::RECOVER) {
        replayed = replay_home(&store, &mut report)?;
        // The superblock may be among what was replayed.
        let opened = open::open(&device, reading)?;
        opened.superblock.features.check_writable()?;
        store = recovery::store(Arc::clone(&device), opened, reading);
    }
    let superblock = LiveSuperblock::new(read_superblock(&*device)?, store.superblock.block_bytes);
    let log = begin_log(&store, &superblock, options.clock, &replayed)?;
    let limits = limits(&store, options, log.as_ref());
    let orphans = Orphans::load(&store)?;
    let log_runs = log.iter().flat_map(|log| log.writer.places());
    let writer = Writer {
        space: Space::open(&store, log_runs, options.discard)?,
        store,
        superblock,
        orphans,
        sharing: Sharing::new(),
        transactions: Transactions::new(log, limits),
        clock: options.clock,
        generations: Generations::new(options.clock != Clock::System),
        commits_each_change: options.commit_each_change,
        mapping_observer: OnceLock::new(),
        meter: Arc::clone(meter),
        accounted_bytes: AtomicU64::new(0),
    };
    if !replayed.fast_commits.is_empty() {
        fast_commits::write_back(&writer, &replayed.fast_commits)
            .map_err(|error| error.context("the journal's fast commits cannot be replayed"))?;
    }
    report.orphans = writer.orphans.all();
    Ok((writer, report))
}

/// Makes everything durable and says that there is nothing to recover.
pub(crate) fn close(writer: &Writer) -> Result<()> {
    let cache = &writer.store.cache;
    writer.sync()?;
    writer.transactions.checkpoint(cache)?;
    writer.transactions.close_log()?;
    if writer
        .store
        .superblock
        .has_compat(CompatFeatures::HAS_JOURNAL)
    {
        set_recover(&writer.superblock, false);
        write_superblock(&**cache.device(), &writer.superblock)?;
    }
    Ok(())
}

fn limits(store: &Store, options: &WriteOptions, log: Option<&Log>) -> Limits {
    let block_bytes = store.superblock.block_bytes as usize;
    let mut transaction_blocks = options.cache_bytes / TRANSACTION_PART / block_bytes;
    if let Some(log) = log {
        // The rest of the log holds what is committed but not in its place.
        transaction_blocks = transaction_blocks.min(log.writer.capacity_blocks() as usize / 4);
    }
    Limits {
        transaction_blocks: transaction_blocks.max(TRANSACTION_BLOCKS_MIN),
        unsettled_blocks: options.cache_bytes / UNSETTLED_PART / block_bytes,
    }
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

fn set_recover(superblock: &LiveSuperblock, on: bool) {
    superblock.edit_quietly(|raw| {
        let mut bits = IncompatFeatures::from_bits_retain(raw.s_feature_incompat.get());
        bits.set(IncompatFeatures::RECOVER, on);
        raw.s_feature_incompat = bits.bits().into();
    });
}

/// What a log held.
#[derive(Default)]
struct Replayed {
    /// The number the next transaction gets; the log's superblock knows where there was
    /// nothing to replay.
    next_sequence: Option<u32>,
    fast_commits: Vec<FastCommitOp>,
}

/// Writes what the log's blocks say into their places. The next transaction gets a number
/// that no block of the log can have, complete or not, unless fast commits are still to
/// be followed: they count until a transaction of their number is complete.
fn replay_home(store: &Store, report: &mut RecoveryReport) -> Result<Replayed> {
    report.journal_was_dirty = true;
    let log = recovery::journal_superblock(store)?;
    let replay = recovery::replay(store)
        .map_err(|error| error.context("the journal cannot be replayed; e2fsck may help"))?;
    report.transactions_replayed = replay.transactions;
    report.blocks_replayed = replay.blocks.len() as u64;
    report.fast_commits_replayed = replay.fast_commit_count;
    let device = &**store.cache.device();
    let block_bytes = u64::from(store.superblock.block_bytes);
    let mut buffer = vec![0; store.superblock.block_bytes as usize];
    let place = |block: FsBlock| block.0.saturating_mul(block_bytes);
    for (target, content) in &replay.blocks {
        match content {
            ReplayedBlock::InLog(logged) => {
                device.read_at(&mut buffer, place(*logged))?;
                device.write_at(&buffer, place(*target))?;
            }
            ReplayedBlock::Bytes(bytes) => device.write_at(bytes, place(*target))?,
        }
    }
    device.flush()?;
    let end = match (replay.tids, &log) {
        (Some((_, last)), _) => last.0.wrapping_add(1),
        (None, Some(log)) => log.sequence,
        (None, None) => return Ok(Replayed::default()),
    };
    let may_have_blocks = log.is_some_and(|log| log.is_dirty());
    let skipped = u32::from(may_have_blocks && replay.fast_commits.is_empty());
    Ok(Replayed {
        next_sequence: Some(end.wrapping_add(skipped)),
        fast_commits: replay.fast_commits,
    })
}

/// Takes over the log, if there is one, and marks the volume as one whose log counts.
fn begin_log(
    store: &Store,
    superblock: &LiveSuperblock,
    clock: Clock,
    replayed: &Replayed,
) -> Result<Option<Log>> {
    if !store.superblock.has_compat(CompatFeatures::HAS_JOURNAL) {
        return Ok(None);
    }
    let (mut writer, errno) = recovery::with_log(store, |location| {
        let typed = journal::read_superblock(location)?;
        let mut block = vec![0; location.block_bytes as usize];
        let home = (location.map)(0)?;
        let offset = home.0.saturating_mul(location.block_bytes.into());
        location.device.read_at(&mut block, offset)?;
        let (raw, _) = RawJournalSuperblock::read_from_prefix(&block)
            .map_err(|_| Error::corrupt("journal superblock", Some(home), "1024 bytes", "less"))?;
        let features = LogFeatures {
            has_checksums: store.superblock.has_metadata_csum(),
            is_64bit: store.superblock.has_incompat(IncompatFeatures::BIT64),
            has_fast_commits: !replayed.fast_commits.is_empty(),
        };
        let sequence = replayed
            .next_sequence
            .unwrap_or_else(|| unused_sequence(&typed));
        let writer = LogWriter::new(location, &typed, raw, features, sequence)?;
        Ok((writer, typed.errno))
    })?;
    if errno != 0 {
        superblock.edit_quietly(|raw| raw.s_state = (raw.s_state.get() | STATE_ERRORS).into());
    }
    // First the mark, then a log that is not empty: never the other way round. What a log
    // still says of fast commits counts until the first transaction is durable.
    set_recover(superblock, true);
    write_superblock(&**store.cache.device(), superblock)?;
    writer.restart()?;
    Ok(Some(Log { writer, clock }))
}

/// A number that no transaction in a log has that was not replayed.
fn unused_sequence(log: &JournalSuperblock) -> u32 {
    if log.is_dirty() {
        // The volume says that it does not count: more numbers than it has blocks are passed over.
        log.sequence.wrapping_add(log.len_blocks)
    } else {
        log.sequence
    }
}

//! Transactions: which changes belong together, and when they are durable.
//!
//! ```text
//!   Handle ──joins──> running transaction ──commit──> log ──checkpoint──> home
//!     |                 numbers of blocks    snapshots      `unsettled`
//!     undo: what to restore if the operation fails
//! ```
//!
//! Promises: what one [`Handle`] changed is recovered as a whole or not at all; a handle
//! that is dropped without [`finish`](Handle::finish) leaves everything as it was; what
//! [`Transactions::commit`] returned for is on the device.
//!
//! A commit closes the running transaction to new handles, waits for the open ones, holds
//! the changed blocks as they are (the cache keeps snapshots, see there), opens the next
//! transaction, and only then does its I/O. Whoever holds a handle therefore waits for
//! nothing but the device: no inode lock is taken, no commit asked for, with a handle open.

mod handle;
mod home;
mod io;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64 as Figure, Ordering};

use crossbeam_utils::CachePadded;
pub(crate) use handle::Handle;
pub(crate) use io::Log;

use crate::activity::JournalActivity;
use crate::cache::{Block, BlockCache, Role};
use crate::error::{Error, ErrorKind, Result};
use crate::sync::{AtomicU64, Condvar, Mutex, OnceLock};
use crate::types::FsBlock;
use io::Io;
use std::sync::Arc;

/// A transaction's number since the volume was opened. The log counts for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TransactionId(pub(crate) u64);

/// The transaction that handles join.
#[derive(Debug)]
struct Running {
    id: TransactionId,
    open_handles: usize,
    /// A commit waits for the open handles; nobody may join.
    is_closed: bool,
    /// Blocks the open handles may still change.
    credits_blocks: usize,
    /// Blocks the commit itself will add: bitmaps, descriptors, the superblock.
    prepared_blocks: usize,
    /// Blocks changed; one that was restored may be among them, or be there twice.
    blocks: Vec<FsBlock>,
    /// Metadata blocks freed: older copies in the log must not be replayed.
    revoked: BTreeSet<FsBlock>,
    /// Something changed.
    is_dirty: bool,
}

impl Running {
    fn new(id: TransactionId) -> Self {
        Self {
            id,
            open_handles: 0,
            is_closed: false,
            credits_blocks: 0,
            prepared_blocks: 0,
            blocks: Vec::new(),
            revoked: BTreeSet::new(),
            is_dirty: false,
        }
    }

    fn expected_blocks(&self) -> usize {
        self.blocks.len() + self.credits_blocks + self.prepared_blocks + self.revoked.len() / 256
    }
}

/// What a commit takes from the running transaction.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) id: TransactionId,
    /// Each block once, as it shall be.
    pub(crate) blocks: Vec<(FsBlock, Arc<Block>)>,
    pub(crate) revoked: BTreeSet<FsBlock>,
}

/// How large transactions may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Blocks of one transaction.
    pub(crate) transaction_blocks: usize,
    /// Blocks committed that may wait for their checkpoint.
    pub(crate) unsettled_blocks: usize,
}

/// How full the log is, for who asks while it is being written.
#[derive(Debug, Default)]
struct LogFigures {
    /// 0 without a log.
    len_blocks: u64,
    used_blocks: Figure,
    /// Written since the volume was opened.
    written_blocks: Figure,
}

/// Why nothing can be written any more.
#[derive(Debug, Clone)]
pub(crate) struct Stopped {
    pub(crate) why: String,
}

impl LogFigures {
    fn note(&self, io: &Io) {
        let (used, written) = io.log_blocks();
        self.used_blocks.store(used, Ordering::Relaxed);
        self.written_blocks.store(written, Ordering::Relaxed);
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Transactions {
    /// In a line of its own: all threads write it, and read what lies beside it.
    running: CachePadded<Mutex<Running>>,
    /// Signalled when a handle ends and when a transaction opens.
    changed: Condvar,
    /// One commit or checkpoint at a time.
    io: Mutex<Io>,
    /// A thread commits; the others wait for it, and not for the next one if theirs is
    /// durable then.
    is_committing: Mutex<bool>,
    /// Signalled when a commit ends.
    commit_ended: Condvar,
    /// The last transaction that is durable.
    committed: AtomicU64,
    stopped: OnceLock<Stopped>,
    /// Nobody joins any more. Looked at with the running transaction locked.
    is_ended: AtomicBool,
    limits: Limits,
    log_figures: LogFigures,
}

/// The right to commit, one at a time.
struct Turn<'t>(&'t Transactions);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The running transaction may be closed still: who waits for the next gets an error.
            self.0.stop("a commit ended in a panic");
        }
        *self.0.is_committing.lock() = false;
        self.0.commit_ended.notify_all();
    }
}

/// The answer to who wants to join.
pub(crate) enum Joined<'v> {
    /// The handle.
    Handle(Handle<'v>),
    /// The transaction is full: commit it first.
    Full(TransactionId),
}

/// The changes a commit makes itself before the transaction is sealed.
#[derive(Debug)]
pub(crate) struct Preparation<'a> {
    cache: &'a BlockCache,
    blocks: Vec<FsBlock>,
}

impl Preparation<'_> {
    /// Changes a block; see [`BlockCache::edit`].
    pub(crate) fn modify(
        &mut self,
        number: FsBlock,
        role: Role,
        check: impl Fn(&[u8]) -> Result<()>,
        edit: impl FnOnce(&mut [u8]),
    ) -> Result<()> {
        let edited = self.cache.edit(number, role, false, check, edit)?;
        if edited.is_first_change {
            self.blocks.push(number);
        }
        Ok(())
    }

    /// Gives a block content whatever it held.
    pub(crate) fn replace(&mut self, number: FsBlock, role: Role, bytes: Box<[u8]>) {
        if self.cache.replace(number, role, bytes).0 {
            self.blocks.push(number);
        }
    }
}

impl Transactions {
    /// `log` is where commits go; without one they go straight home.
    pub(crate) fn new(log: Option<Log>, limits: Limits) -> Self {
        let len_blocks = log.as_ref().map_or(0, |log| log.writer.capacity_blocks());
        Self {
            log_figures: LogFigures {
                len_blocks: u64::from(len_blocks),
                ..LogFigures::default()
            },
            running: CachePadded::new(Mutex::new(Running::new(TransactionId(1)))),
            changed: Condvar::new(),
            io: Mutex::new(Io::new(log)),
            is_committing: Mutex::new(false),
            commit_ended: Condvar::new(),
            committed: AtomicU64::new(0),
            stopped: OnceLock::new(),
            is_ended: AtomicBool::new(false),
            limits,
        }
    }

    /// Blocks one handle may ask for.
    pub(crate) fn credits_max(&self) -> usize {
        self.limits.transaction_blocks / 2
    }

    /// What there is to say of the log; `None` without one.
    pub(crate) fn journal_activity(&self) -> Option<JournalActivity> {
        let figures = &self.log_figures;
        (figures.len_blocks > 0).then(|| JournalActivity {
            len_blocks: figures.len_blocks,
            used_blocks: figures.used_blocks.load(Ordering::Relaxed),
            written_blocks: figures.written_blocks.load(Ordering::Relaxed),
        })
    }

    /// Fails if nothing can be written any more.
    pub(crate) fn check_alive(&self) -> Result<()> {
        match self.stopped.get() {
            None => Ok(()),
            Some(stopped) => Err(Error::from(ErrorKind::Stopped(stopped.why.clone()))),
        }
    }

    /// Stops all writing for good; the first reason counts. What is being written may still
    /// get to the device, nothing that follows it does.
    pub(crate) fn stop(&self, why: impl std::fmt::Display) {
        let why = why.to_string();
        if self.stopped.set(Stopped { why }).is_ok() {
            // With the locks, so that who waits has seen it or is woken.
            let running = self.running.lock();
            self.changed.notify_all();
            drop(running);
            let _is_committing = self.is_committing.lock();
            self.commit_ended.notify_all();
        }
    }

    /// Nobody may join any more; what is open may be finished, and committed.
    pub(crate) fn end(&self) {
        let _running = self.running.lock();
        self.is_ended.store(true, Ordering::Relaxed);
    }

    /// Joins the running transaction for up to `credits` changed blocks.
    ///
    /// # Errors
    /// `Stopped`, `Closed`.
    pub(crate) fn join<'v>(&'v self, cache: &'v BlockCache, credits: usize) -> Result<Joined<'v>> {
        let mut running = self.running.lock();
        loop {
            self.check_alive()?;
            if self.is_ended.load(Ordering::Relaxed) {
                return Err(ErrorKind::Closed.into());
            }
            if running.is_closed {
                self.changed.wait(&mut running);
                continue;
            }
            let expected = running.expected_blocks();
            let is_empty = expected == 0;
            if !is_empty && expected.saturating_add(credits) > self.limits.transaction_blocks {
                return Ok(Joined::Full(running.id));
            }
            running.open_handles += 1;
            running.credits_blocks += credits;
            return Ok(Joined::Handle(Handle::new(
                self, cache, running.id, credits,
            )));
        }
    }

    /// The transaction that has to be committed for everything finished so far to be
    /// durable: the running one, or, if nothing has changed since the last commit began, the
    /// one before.
    pub(crate) fn pending(&self) -> TransactionId {
        self.pending_or_idle().0
    }

    /// The same, and whether nothing has changed.
    pub(crate) fn pending_or_idle(&self) -> (TransactionId, bool) {
        let running = self.running.lock();
        if running.is_dirty || running.open_handles > 0 {
            (running.id, false)
        } else {
            (TransactionId(running.id.0.saturating_sub(1)), true)
        }
    }

    /// True if transaction `id` is the one that handles join: a commit that begins now or
    /// later makes it durable, and all content written so far with it.
    pub(crate) fn is_running(&self, id: TransactionId) -> bool {
        self.running.lock().id == id
    }

    /// True if the running transaction is so full that a commit should begin.
    pub(crate) fn wants_commit(&self) -> bool {
        self.running.lock().expected_blocks() > self.limits.transaction_blocks / 2
    }

    /// The last transaction that is durable.
    pub(crate) fn committed(&self) -> TransactionId {
        TransactionId(self.committed.load(Ordering::Acquire))
    }

    /// Makes transaction `wanted` and all before it durable. `prepare` adds the blocks that
    /// are kept in another form while the transaction runs; `durable` is told afterwards.
    ///
    /// Waiting callers share commits: who comes while one is being written finds, when it
    /// is done, either its own transaction durable or one transaction that holds all that
    /// the waiting ones did.
    ///
    /// # Errors
    /// `Stopped` with the reason if anything fails: nothing is written afterwards.
    pub(crate) fn commit(
        &self,
        cache: &BlockCache,
        wanted: TransactionId,
        prepare: &dyn Fn(&mut Preparation<'_>, TransactionId) -> Result<()>,
        durable: &dyn Fn(TransactionId),
    ) -> Result<()> {
        let Some(_turn) = self.turn(wanted)? else {
            return Ok(());
        };
        let mut io = self.io.lock();
        self.check_alive()?;
        let sealed = self.seal(cache, prepare).inspect_err(|e| self.stop(e))?;
        // Whoever stopped writing while handles were waited for must not see more of it.
        self.check_alive()?;
        let id = sealed.id;
        let written = io.write(cache, sealed, self.limits, &|| self.check_alive());
        self.log_figures.note(&io);
        if let Err(error) = written {
            self.stop(&error);
            return Err(error.context("the transaction could not be written"));
        }
        // Who finds the transaction durable also finds given back what it freed.
        durable(id);
        self.committed.store(id.0, Ordering::Release);
        Ok(())
    }

    /// Waits for the turn to commit; `None` if `wanted` is durable by then.
    fn turn(&self, wanted: TransactionId) -> Result<Option<Turn<'_>>> {
        if self.committed() >= wanted {
            return Ok(None);
        }
        let mut is_committing = self.is_committing.lock();
        loop {
            if self.committed() >= wanted {
                return Ok(None);
            }
            self.check_alive()?;
            if !std::mem::replace(&mut *is_committing, true) {
                return Ok(Some(Turn(self)));
            }
            self.commit_ended.wait(&mut is_committing);
        }
    }

    /// Closes the running transaction, has it prepared, takes its blocks and opens the next.
    fn seal(
        &self,
        cache: &BlockCache,
        prepare: &dyn Fn(&mut Preparation<'_>, TransactionId) -> Result<()>,
    ) -> Result<Sealed> {
        let mut running = self.running.lock();
        running.is_closed = true;
        while running.open_handles > 0 {
            self.changed.wait(&mut running);
        }
        let mut preparation = Preparation {
            cache,
            blocks: std::mem::take(&mut running.blocks),
        };
        // Nobody holds a handle, so nobody changes what is prepared now.
        let prepared = prepare(&mut preparation, running.id);
        let blocks: Vec<(FsBlock, Arc<Block>)> = preparation
            .blocks
            .into_iter()
            .filter_map(|number| cache.take_snapshot(number).map(|block| (number, block)))
            .collect();
        // A block that was freed and taken again for metadata is written after all: a revoke
        // record of the same transaction would void it.
        let mut revoked = std::mem::take(&mut running.revoked);
        for (number, _) in &blocks {
            revoked.remove(number);
        }
        let sealed = Sealed {
            id: running.id,
            blocks,
            revoked,
        };
        let next = TransactionId(running.id.0 + 1);
        *running = Running::new(next);
        self.changed.notify_all();
        drop(running);
        prepared.map(|()| sealed)
    }

    /// Writes everything committed to its place, so that the log holds nothing of use.
    ///
    /// # Errors
    /// `Stopped`.
    pub(crate) fn checkpoint(&self, cache: &BlockCache) -> Result<()> {
        self.with_io(|io| io.checkpoint(cache, &|| self.check_alive()))
    }

    /// Writes everything committed to its place, and says in the log that its fast commits
    /// count no more.
    ///
    /// # Errors
    /// `Stopped`.
    pub(crate) fn end_fast_commits(&self, cache: &BlockCache) -> Result<()> {
        self.with_io(|io| io.end_fast_commits(cache, &|| self.check_alive()))
    }

    /// Says in the log's superblock that there is nothing to recover. After a checkpoint,
    /// when the volume is closed.
    ///
    /// # Errors
    /// `Stopped`.
    pub(crate) fn close_log(&self) -> Result<()> {
        self.with_io(Io::close)
    }

    fn with_io(&self, act: impl FnOnce(&mut Io) -> Result<()>) -> Result<()> {
        let mut io = self.io.lock();
        // A commit that was waited for may have failed.
        self.check_alive()?;
        let outcome = act(&mut io).inspect_err(|error| self.stop(error));
        self.log_figures.note(&io);
        outcome
    }

    /// Notes in the log's superblock why it was stopped; the one write that is made then.
    pub(crate) fn record_stop(&self) {
        self.io.lock().record_error();
    }
}

//! What happens without being asked: the commit every few seconds, the sign of life of
//! multiple mount protection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::{Shared, WriteOptions};

/// What the thread is told.
#[derive(Debug, Default)]
struct Signals {
    /// Something has changed since the last commit.
    has_changes: AtomicBool,
    /// Something has changed since the thread looked last.
    is_lively: AtomicBool,
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_ending: bool,
}

/// The thread; it sleeps until something changes, so an idle volume costs nothing.
#[derive(Debug)]
pub(super) struct Background {
    signals: Arc<Signals>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Background {
    pub(super) fn start(shared: &Arc<Shared>, options: &WriteOptions) -> Self {
        let signals = Arc::new(Signals::default());
        let has_work = options.commit_interval_ms > 0;
        let thread = has_work.then(|| {
            let (shared, signals) = (Arc::clone(shared), Arc::clone(&signals));
            let rhythm = Rhythm {
                interval: Duration::from_millis(options.commit_interval_ms),
                quiet: (options.quiet_ms > 0).then(|| Duration::from_millis(options.quiet_ms)),
            };
            std::thread::Builder::new()
                .name("extmap-commit".to_owned())
                .spawn(move || run(&shared, &signals, rhythm))
        });
        let thread = thread.and_then(|spawned| match spawned {
            Ok(thread) => Some(thread),
            Err(error) => {
                tracing::warn!("no commits in the background: {error}");
                None
            }
        });
        Self {
            signals,
            thread: Mutex::new(thread),
        }
    }

    /// Says that something may have changed.
    pub(super) fn changed(&self) {
        // Looked at first: threads that write the same place wait for each other.
        if !self.signals.is_lively.load(Ordering::Relaxed) {
            self.signals.is_lively.store(true, Ordering::Relaxed);
        }
        if !self.signals.has_changes.load(Ordering::Relaxed)
            && !self.signals.has_changes.swap(true, Ordering::AcqRel)
        {
            // With the lock, so that the thread is either waiting or has yet to look.
            let _state = self.signals.state.lock();
            self.signals.wake.notify_all();
        }
    }

    /// Ends the thread and waits for it.
    pub(super) fn stop(&self) {
        self.signals.state.lock().is_ending = true;
        self.signals.wake.notify_all();
        let thread = self.thread.lock().take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the background thread ended unexpectedly");
        }
    }
}

/// How often the thread looks whether the running transaction has become large.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// When the thread commits.
#[derive(Debug, Clone, Copy)]
struct Rhythm {
    /// So long after the first change.
    interval: Duration,
    /// So long after the last one, if at all.
    quiet: Option<Duration>,
}

fn run(shared: &Shared, signals: &Signals, rhythm: Rhythm) {
    loop {
        let mut state = signals.state.lock();
        while !state.is_ending && !signals.has_changes.load(Ordering::Acquire) {
            signals.wake.wait(&mut state);
        }
        let due = Instant::now() + rhythm.interval;
        let mut last_change = Instant::now();
        while !state.is_ending && Instant::now() < due {
            let look = LOOK_INTERVAL.min(due.saturating_duration_since(Instant::now()));
            signals.wake.wait_for(&mut state, look);
            if signals.is_lively.swap(false, Ordering::Relaxed) {
                last_change = Instant::now();
            }
            let is_quiet = rhythm
                .quiet
                .is_some_and(|quiet| last_change.elapsed() >= quiet);
            if is_quiet || shared.writer.transactions.wants_commit() {
                break;
            }
        }
        if state.is_ending {
            return;
        }
        drop(state);
        signals.has_changes.store(false, Ordering::Release);
        // Where quiet is waited for, overwritten content counts too, which needs no commit.
        let committed = match rhythm.quiet {
            Some(_) => shared.writer.sync(),
            None => shared.writer.commit_pending(),
        };
        if shared.noted(committed).is_err() {
            return;
        }
    }
}

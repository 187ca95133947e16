//! What happens without being asked: the commit every few seconds, the sign of life of
//! multiple mount protection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::Shared;

/// What the thread is told.
#[derive(Debug, Default)]
struct Signals {
    /// Something has changed since the last commit.
    has_changes: AtomicBool,
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
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// `interval_ms` 0 for no commits of its own.
    pub(super) fn start(shared: &Arc<Shared>, interval_ms: u64) -> Self {
        let signals = Arc::new(Signals::default());
        let has_work = interval_ms > 0;
        let thread = has_work.then(|| {
            let (shared, signals) = (Arc::clone(shared), Arc::clone(&signals));
            let interval = Duration::from_millis(interval_ms);
            std::thread::Builder::new()
                .name("extmap-commit".to_owned())
                .spawn(move || run(&shared, &signals, interval))
        });
        let thread = thread.and_then(|spawned| match spawned {
            Ok(thread) => Some(thread),
            Err(error) => {
                tracing::warn!("no commits in the background: {error}");
                None
            }
        });
        Self { signals, thread }
    }

    /// Says that something may have changed.
    pub(super) fn changed(&self) {
        if !self.signals.has_changes.load(Ordering::Relaxed)
            && !self.signals.has_changes.swap(true, Ordering::AcqRel)
        {
            // With the lock, so that the thread is either waiting or has yet to look.
            let _state = self.signals.state.lock();
            self.signals.wake.notify_all();
        }
    }

    /// Ends the thread and waits for it.
    pub(super) fn stop(&mut self) {
        self.signals.state.lock().is_ending = true;
        self.signals.wake.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the background thread ended unexpectedly");
        }
    }
}

/// How often the thread looks whether the running transaction has become large.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

fn run(shared: &Shared, signals: &Signals, interval: Duration) {
    loop {
        let mut state = signals.state.lock();
        while !state.is_ending && !signals.has_changes.load(Ordering::Acquire) {
            signals.wake.wait(&mut state);
        }
        let due = Instant::now() + interval;
        while !state.is_ending && Instant::now() < due {
            let look = LOOK_INTERVAL.min(due.saturating_duration_since(Instant::now()));
            signals.wake.wait_for(&mut state, look);
            if shared.writer.transactions.wants_commit() {
                break;
            }
        }
        if state.is_ending {
            return;
        }
        drop(state);
        signals.has_changes.store(false, Ordering::Release);
        let committed = shared.writer.commit_pending();
        if shared.noted(committed).is_err() {
            return;
        }
    }
}

//! All power cuts of many workloads.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use fs_core::WriteOptions;
use images::Unflushed;

use super::judge::{Judge, Recovered, Repairs};
use super::oracle::find_state;
use super::record::Recording;
use crate::write::operation::Operation;

/// The superblock: there is no log of it before it is found. Linux relies on it being
/// written whole, too.
const SUPERBLOCK: std::ops::Range<usize> = 1024..2048;

/// What is tried of each workload.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Mixtures of kept and lost sectors at each cut.
    pub mixtures: u64,
    /// Every so many cuts only; 1 for all.
    pub every: usize,
    /// No workload is begun after this.
    pub time_max: Duration,
    /// Or after so many states.
    pub states_max: u64,
}

/// What was tried.
#[derive(Debug, Default)]
pub struct Counts {
    /// Workloads.
    pub workloads: AtomicU64,
    /// Power cuts looked at: a moment and what became of what was not flushed.
    pub cuts: AtomicU64,
    /// Different images among them, each recovered in all ways.
    pub states: AtomicU64,
    /// Runs of e2fsck.
    pub checks: AtomicU64,
}

impl Counts {
    /// One line.
    pub fn summary(&self) -> String {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        format!(
            "{} workloads, {} power cuts, {} states recovered, {} runs of e2fsck",
            get(&self.workloads),
            get(&self.cuts),
            get(&self.states),
            get(&self.checks)
        )
    }
}

/// Images that were recovered, of all workloads on one prepared image.
type Known = Mutex<HashMap<u128, Recovered>>;

/// Tries workloads on a prepared image, on two threads.
///
/// # Errors
/// The first state that is not as it should be, with the workload that led there.
pub fn explore(
    image: &[u8],
    options: &WriteOptions,
    workloads: &[Vec<Operation>],
    plan: Plan,
    counts: &Counts,
) -> Result<()> {
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let known = Known::default();
    let start = Instant::now();
    let work = || -> Result<()> {
        let mut judge = Judge::new(image, Repairs::RecoveryOnly)?;
        while start.elapsed() < plan.time_max
            && !failed.load(Ordering::Relaxed)
            && counts.states.load(Ordering::Relaxed) < plan.states_max
        {
            let Some(workload) = workloads.get(next.fetch_add(1, Ordering::Relaxed)) else {
                break;
            };
            let recording = Recording::new(image, options, workload);
            let outcome =
                recording.and_then(|recording| cuts(&recording, &mut judge, &known, plan, counts));
            outcome
                .inspect_err(|_| failed.store(true, Ordering::Relaxed))
                .with_context(|| format!("workload {workload:?}"))?;
            counts.workloads.fetch_add(1, Ordering::Relaxed);
        }
        counts.checks.fetch_add(judge.checks, Ordering::Relaxed);
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads = [scope.spawn(work), scope.spawn(work)];
        let results = threads.map(|thread| {
            let panicked = |_| Err(anyhow!("a thread panicked"));
            thread.join().unwrap_or_else(panicked)
        });
        results.into_iter().collect()
    })
}

/// Tries all cuts of one workload.
///
/// # Errors
/// The first state that is not as it should be.
pub fn cuts(
    recording: &Recording,
    judge: &mut Judge,
    known: &Known,
    plan: Plan,
    counts: &Counts,
) -> Result<()> {
    let mut walk = recording.recorder.replay().with_whole(SUPERBLOCK);
    let mut events = 0usize;
    loop {
        let mut ways = vec![Unflushed::Kept];
        if walk.pending() > 0 {
            ways.extend([Unflushed::Lost, Unflushed::OnlyLast]);
            ways.extend(
                (0..plan.mixtures).map(|seed| Unflushed::Mixed(seed << 32 | events as u64)),
            );
        }
        if !events.is_multiple_of(plan.every) {
            ways.clear();
        }
        for way in ways {
            counts.cuts.fetch_add(1, Ordering::Relaxed);
            let cut = walk.cut(way);
            let found = known
                .lock()
                .ok()
                .and_then(|known| known.get(&cut.fingerprint()).cloned());
            let place = || format!("power cut after {events} events, unflushed {way:?}");
            let recovered = match found {
                Some(recovered) => recovered,
                None => {
                    counts.states.fetch_add(1, Ordering::Relaxed);
                    let recovered = judge
                        .recover(cut.image())
                        .inspect_err(|_| keep(&cut.image()))
                        .with_context(place)?;
                    if let Ok(mut known) = known.lock() {
                        known.insert(cut.fingerprint(), recovered.clone());
                    }
                    recovered
                }
            };
            let allowed = recording.allowed(events);
            for (who, tree) in [("we", &recovered.ours), ("e2fsck", &recovered.theirs)] {
                find_state(tree, &recording.states, allowed.clone())
                    .map_err(|error| anyhow!("{who} recovered\n{error}"))
                    .inspect_err(|_| keep(&cut.image()))
                    .with_context(place)
                    .with_context(|| format!("states {allowed:?} are allowed"))?;
            }
        }
        if !walk.step() {
            return Ok(());
        }
        events += 1;
    }
}

/// Keeps an image for who looks into a failure: where EXTMAP_KEEP_IMAGE says.
fn keep(image: &[u8]) {
    if let Some(path) = std::env::var_os("EXTMAP_KEEP_IMAGE") {
        let _ = std::fs::write(path, image);
    }
}

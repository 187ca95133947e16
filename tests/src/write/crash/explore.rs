//! All power cuts of many workloads.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use fs_core::WriteOptions;
use images::{Cut, Unflushed};

use super::judge::{Judge, Recovered, Repairs};
use super::oracle::{Rule, find_state};
use super::record::{RECOVERY_SECONDS, Recording, WORK_SECONDS, options};
use crate::write::operation::Operation;

/// The superblock: there is no log of it before it is found. Linux relies on it being
/// written whole, too.
const SUPERBLOCK: std::ops::Range<usize> = 1024..2048;

/// What is tried of each workload.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How volumes are opened for the workloads.
    pub options: WriteOptions,
    /// What e2fsck may repair.
    pub repairs: Repairs,
    /// What counts as recovered.
    pub rule: Rule,
    /// Mixtures of kept and lost sectors at each cut.
    pub mixtures: u64,
    /// Of so many states one is recovered with the power cut again on the way; 0 for none.
    pub nested_every: u64,
    /// Cuts only near these events; all if empty.
    pub near: Vec<usize>,
    /// No workload is begun after this.
    pub time_max: Duration,
    /// Or after so many states.
    pub states_max: u64,
}

impl Plan {
    /// Everything, exactly.
    pub fn new(states_max: u64) -> Self {
        Self {
            options: options(WORK_SECONDS),
            repairs: Repairs::RecoveryOnly,
            rule: Rule::Exact,
            mixtures: 2,
            nested_every: 0,
            near: Vec::new(),
            time_max: Duration::from_secs(3600),
            states_max,
        }
    }
}

/// What was tried.
#[derive(Debug, Default)]
pub struct Counts {
    workloads: AtomicU64,
    cuts: AtomicU64,
    states: AtomicU64,
    nested: AtomicU64,
    checks: AtomicU64,
}

impl Counts {
    /// One line: workloads, moments and ways of power cuts, different images among them,
    /// each recovered in all ways.
    pub fn summary(&self) -> String {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        format!(
            "{} workloads, {} power cuts, {} states recovered ({} recoveries cut again), {} runs of e2fsck",
            get(&self.workloads),
            get(&self.cuts),
            get(&self.states),
            get(&self.nested),
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
    workloads: &[Vec<Operation>],
    plan: &Plan,
    counts: &Counts,
) -> Result<()> {
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let known = Known::default();
    let start = Instant::now();
    let work = || -> Result<()> {
        let mut explorer = Explorer {
            judge: Judge::new(image, plan.repairs)?,
            known: &known,
            plan,
            counts,
        };
        while start.elapsed() < plan.time_max
            && !failed.load(Ordering::Relaxed)
            && counts.states.load(Ordering::Relaxed) < plan.states_max
        {
            let Some(workload) = workloads.get(next.fetch_add(1, Ordering::Relaxed)) else {
                break;
            };
            let outcome = Recording::new(image, &plan.options, workload)
                .and_then(|recording| explorer.cuts(&recording, plan.rule, true));
            outcome
                .inspect_err(|_| failed.store(true, Ordering::Relaxed))
                .with_context(|| format!("workload {workload:?}"))?;
            counts.workloads.fetch_add(1, Ordering::Relaxed);
        }
        counts
            .checks
            .fetch_add(explorer.judge.checks, Ordering::Relaxed);
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

/// One thread's part.
struct Explorer<'a> {
    judge: Judge,
    known: &'a Known,
    plan: &'a Plan,
    counts: &'a Counts,
}

impl Explorer<'_> {
    /// Tries all cuts of one workload.
    fn cuts(&mut self, recording: &Recording, rule: Rule, is_outer: bool) -> Result<()> {
        let mut walk = recording.recorder.replay().with_whole(SUPERBLOCK);
        let mut events = 0usize;
        loop {
            let is_near = |place: &usize| place.abs_diff(events) <= NEAR_EVENTS;
            if !is_outer || self.plan.near.is_empty() || self.plan.near.iter().any(is_near) {
                for way in self.ways(walk.pending() > 0, events) {
                    self.cut(recording, &walk.cut(way), events, rule, is_outer)
                        .with_context(|| {
                            format!("power cut after {events} events, unflushed {way:?}")
                        })?;
                }
            }
            let has_enough = self.counts.states.load(Ordering::Relaxed) >= self.plan.states_max;
            if !walk.step() || is_outer && has_enough {
                return Ok(());
            }
            events += 1;
        }
    }

    fn ways(&self, has_pending: bool, events: usize) -> Vec<Unflushed> {
        let mut ways = vec![Unflushed::Kept];
        if has_pending {
            ways.extend([Unflushed::Lost, Unflushed::OnlyLast]);
            let seeds = 0..self.plan.mixtures;
            ways.extend(seeds.map(|seed| Unflushed::Mixed(seed << 32 | events as u64)));
        }
        ways
    }

    fn cut(
        &mut self,
        recording: &Recording,
        cut: &Cut<'_>,
        events: usize,
        rule: Rule,
        is_outer: bool,
    ) -> Result<()> {
        self.counts.cuts.fetch_add(1, Ordering::Relaxed);
        let known = self.known.lock();
        let found = known
            .ok()
            .and_then(|known| known.get(&cut.fingerprint()).cloned());
        let recovered = match found {
            Some(recovered) => recovered,
            None => self
                .recover(cut, is_outer)
                .inspect_err(|_| keep(&cut.image()))?,
        };
        let allowed = recording.allowed(events);
        for (who, tree) in [("we", &recovered.ours), ("e2fsck", &recovered.theirs)] {
            find_state(tree, &recording.states, allowed.clone(), rule)
                .map_err(|error| anyhow!("{who} recovered\n{error}"))
                .inspect_err(|_| keep(&cut.image()))
                .with_context(|| format!("states {allowed:?} are allowed"))?;
        }
        Ok(())
    }

    fn recover(&mut self, cut: &Cut<'_>, is_outer: bool) -> Result<Recovered> {
        let number = self.counts.states.fetch_add(1, Ordering::Relaxed);
        let image = cut.image();
        let is_nested =
            is_outer && self.plan.nested_every > 0 && number.is_multiple_of(self.plan.nested_every);
        let recovered = self.judge.recover(image.clone())?;
        if let Ok(mut known) = self.known.lock() {
            known.insert(cut.fingerprint(), recovered.clone());
        }
        if is_nested {
            self.counts.nested.fetch_add(1, Ordering::Relaxed);
            let again = Recording::new(&image, &options(RECOVERY_SECONDS), &[])?;
            self.cuts(&again, Rule::Exact, false)
                .context("during recovery")?;
        }
        Ok(recovered)
    }
}

/// How near is near, in events.
const NEAR_EVENTS: usize = 6;

/// Keeps an image for who looks into a failure: where EXTMAP_KEEP_IMAGE says.
fn keep(image: &[u8]) {
    if let Some(path) = std::env::var_os("EXTMAP_KEEP_IMAGE") {
        let _ = std::fs::write(path, image);
    }
}

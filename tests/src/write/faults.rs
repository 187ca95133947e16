//! A device that fails: each read, write and flush of an operation, of the sync after it and
//! of closing, once or from then on.
//!
//! What is asked of the volume:
//!
//! * The caller gets an error, never a panic. A failure of the operation's own reads and
//!   writes (content, whatever it looks up) costs that operation and nothing else.
//! * A failure on the way into or out of the log stops the volume: nothing is written any
//!   more but the marks that say so.
//! * Whoever opens the volume afterwards finds what was there before the operation or what is
//!   there after it, and e2fsck finds nothing.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail, ensure};
use fs_core::{AttributeChanges, ErrorKind, TimeChange, WritableVolume};
use images::{Event, Fault, Faulty, Operation as Io, Recorder};

use super::crash::judge::{Judge, log_superblock};
use super::crash::oracle::{Rule, find_state};
use super::crash::record::{Holds, WORK_SECONDS, options};
use super::crash::tree::Tree;
use super::operation::Operation;

/// Where the superblock lies.
const SUPERBLOCK: u64 = 1024;
/// `s_state` in it, and its bit for errors.
const STATE: usize = 1024 + 0x3A;
const STATE_ERRORS: u8 = 2;

/// How many faults were tried.
#[derive(Debug, Default, Clone, Copy)]
pub struct Counts {
    /// Failing reads.
    pub reads: u64,
    /// Failing writes.
    pub writes: u64,
    /// Failing flushes.
    pub flushes: u64,
    /// Of all these, those after which the volume was stopped.
    pub stopped: u64,
}

/// Counters of the device at one moment.
#[derive(Debug, Clone, Copy, Default)]
struct Moment {
    reads: u64,
    writes: u64,
    flushes: u64,
}

impl Moment {
    fn of(device: &Faulty) -> Self {
        Self {
            reads: device.count(Io::Read),
            writes: device.count(Io::Write),
            flushes: device.count(Io::Flush),
        }
    }

    fn get(self, io: Io) -> u64 {
        match io {
            Io::Read => self.reads,
            Io::Write => self.writes,
            Io::Flush => self.flushes,
        }
    }
}

/// A run in which nothing fails.
#[derive(Debug)]
struct Baseline {
    opened: Moment,
    operated: Moment,
    closed: Moment,
    /// Writes before each flush.
    writes_before_flush: Vec<usize>,
    states: Vec<Tree>,
}

/// Tries the faults of operations on one prepared image.
#[derive(Debug)]
pub struct Tester<'a> {
    image: &'a [u8],
    judge: Judge,
    log_superblock: Option<u64>,
    /// What was tried.
    pub counts: Counts,
}

/// A volume on a device that can fail.
struct Scene {
    recorder: Arc<Recorder>,
    device: Arc<Faulty>,
    volume: WritableVolume,
}

impl Scene {
    fn new(image: &[u8]) -> Result<Self> {
        let recorder = Arc::new(Recorder::new(image.to_vec()));
        let device = Arc::new(Faulty::new(recorder.clone()));
        let volume = WritableVolume::open(device.clone(), &options(WORK_SECONDS))?;
        Ok(Self {
            recorder,
            device,
            volume,
        })
    }
}

impl<'a> Tester<'a> {
    /// For operations on this image.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn new(image: &'a [u8]) -> Result<Self> {
        Ok(Self {
            image,
            judge: Judge::new(image, super::crash::judge::Repairs::Any)?,
            log_superblock: log_superblock(image).ok(),
            counts: Counts::default(),
        })
    }

    /// Tries every `every`th fault of an operation.
    ///
    /// # Errors
    /// The first fault that was not taken well.
    pub fn try_all(&mut self, operation: &Operation, every: u64) -> Result<()> {
        let Some(baseline) = self.baseline(operation)? else {
            return Ok(());
        };
        for io in [Io::Read, Io::Write, Io::Flush] {
            let (first, end) = (baseline.opened.get(io), baseline.closed.get(io));
            for number in (first..end).filter(|number| number.is_multiple_of(every)) {
                for fault in [Fault::Once(number), Fault::From(number)] {
                    self.try_one(operation, &baseline, io, fault, number)
                        .with_context(|| {
                            format!("{io:?} {fault:?}, the first is {first}, {operation:?}")
                        })?;
                    let count = match io {
                        Io::Read => &mut self.counts.reads,
                        Io::Write => &mut self.counts.writes,
                        Io::Flush => &mut self.counts.flushes,
                    };
                    *count += 1;
                }
            }
        }
        Ok(())
    }

    /// `None` for what this volume does not support.
    fn baseline(&self, operation: &Operation) -> Result<Option<Baseline>> {
        let scene = Scene::new(self.image)?;
        let opened = Moment::of(&scene.device);
        let outcome = Holds::default().apply(&scene.volume, operation);
        if outcome
            .as_ref()
            .is_err_and(|error| matches!(error.kind(), ErrorKind::NotSupported(_)))
        {
            return Ok(None);
        }
        ensure!(outcome.is_ok(), "{operation:?}: {outcome:?}");
        let operated = Moment::of(&scene.device);
        scene.volume.sync()?;
        scene.volume.close()?;
        let closed = Moment::of(&scene.device);
        let mut writes = 0;
        let mut writes_before_flush = Vec::new();
        for event in scene.recorder.log() {
            match event {
                Event::Flush => writes_before_flush.push(writes),
                _ => writes += 1,
            }
        }
        let states = vec![
            super::crash::judge::read(self.image.to_vec())?,
            super::crash::judge::read(scene.recorder.live())?,
        ];
        Ok(Some(Baseline {
            opened,
            operated,
            closed,
            writes_before_flush,
            states,
        }))
    }

    fn try_one(
        &mut self,
        operation: &Operation,
        baseline: &Baseline,
        io: Io,
        fault: Fault,
        number: u64,
    ) -> Result<()> {
        let scene = Scene::new(self.image)?;
        scene.device.set_fault(io, Some(fault));
        let outcome = Holds::default().apply(&scene.volume, operation);
        let is_in_operation = number < baseline.operated.get(io);
        if is_in_operation {
            check_costs_only_itself(&scene, fault, io, &outcome, baseline)?;
        } else if let Err(error) = &outcome {
            bail!("failed before the fault: {error}");
        }
        let synced = scene.volume.sync();
        if synced.as_ref().is_err_and(|error| !is_clean_error(error)) {
            bail!("sync: {synced:?}");
        }
        let is_stopped = scene.volume.is_read_only();
        let closed = scene.volume.close();
        scene.device.set_fault(io, None);
        if closed.as_ref().is_err_and(|error| !is_clean_error(error)) {
            bail!("close: {closed:?}");
        }
        let has_failed = outcome.is_err() || synced.is_err() || closed.is_err();
        ensure!(
            has_failed || io == Io::Read || is_in_operation,
            "nobody was told of the failure"
        );
        self.counts.stopped += u64::from(is_stopped);
        if is_stopped || closed.is_err() {
            let writes = match io {
                Io::Write => number as usize,
                Io::Flush => *baseline
                    .writes_before_flush
                    .get(number as usize)
                    .context("no such flush")?,
                Io::Read => usize::MAX,
            };
            if !is_in_operation {
                self.check_nothing_newer(&scene.recorder, writes)?;
            }
            if matches!(fault, Fault::Once(_)) && is_stopped {
                self.check_marked(&scene.recorder.live())?;
            }
        }
        let durable = usize::from(outcome.is_ok() && synced.is_ok());
        self.check_left(scene.recorder.live(), baseline, durable)
    }

    /// After the failure nothing is written but its marks.
    fn check_nothing_newer(&self, recorder: &Recorder, writes: usize) -> Result<()> {
        let log = recorder.log();
        let after = log.iter().filter(|event| !matches!(event, Event::Flush));
        for event in after.skip(writes) {
            let (Event::Write { offset, .. } | Event::Zero { offset, .. }) = event else {
                continue;
            };
            ensure!(
                *offset == SUPERBLOCK || Some(*offset) == self.log_superblock,
                "a write at {offset} came after the failure"
            );
        }
        Ok(())
    }

    fn check_marked(&self, image: &[u8]) -> Result<()> {
        let is_marked = image
            .get(STATE)
            .is_some_and(|state| state & STATE_ERRORS != 0);
        let errno = self
            .log_superblock
            .and_then(|at| image.get(at as usize + 0x20..at as usize + 0x24));
        let is_noted = errno.is_some_and(|errno| errno != [0; 4]);
        ensure!(is_marked || is_noted, "the failure is not marked");
        Ok(())
    }

    /// What the next to open the volume finds.
    fn check_left(&mut self, image: Vec<u8>, baseline: &Baseline, durable: usize) -> Result<()> {
        let recovered = self
            .judge
            .recover_marked(image)
            .context("after the failure")?;
        let allowed = durable..=1;
        for (who, tree) in [("we", &recovered.ours), ("e2fsck", &recovered.theirs)] {
            find_state(
                tree,
                &baseline.states,
                allowed.clone(),
                Rule::ContentHalfway,
            )
            .map_err(|error| anyhow!("{who} recovered {error}"))?;
        }
        Ok(())
    }
}

/// An error of the kinds a device's failure may become.
fn is_clean_error(error: &fs_core::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Device | ErrorKind::Stopped(_) | ErrorKind::ReadOnly
    )
}

/// Failing reads and writes of content do not stop the volume.
fn check_costs_only_itself(
    scene: &Scene,
    fault: Fault,
    io: Io,
    outcome: &fs_core::Result<()>,
    baseline: &Baseline,
) -> Result<()> {
    match outcome {
        // Some reads are hints whose failure costs nothing.
        Ok(()) => ensure!(io == Io::Read, "the failure was not told"),
        Err(error) => ensure!(matches!(error.kind(), ErrorKind::Device), "{error}"),
    }
    ensure!(
        !scene.volume.is_read_only() || io == Io::Flush,
        "an operation's own failure stopped the volume"
    );
    if matches!(fault, Fault::From(_)) {
        // The device recovers before the sync: a failure that has passed is no harm.
        scene.device.set_fault(io, None);
    }
    if outcome.is_err() {
        let tree = Tree::of(&scene.volume).context("after the failure, open")?;
        find_state(&tree, &baseline.states, 0..=1, Rule::ContentHalfway)
            .map_err(|error| anyhow!("open: {error}"))?;
        let directory = scene.volume.resolve(b"/B", false)?;
        let (number, changed) = (directory.number(), directory.changed());
        for permissions in [0o751, directory.mode() & 0o7777] {
            let changes = AttributeChanges {
                permissions: Some(permissions),
                changed: Some(TimeChange::At(changed)),
                ..AttributeChanges::default()
            };
            let probed = scene.volume.set_attributes(number, &changes);
            probed.context("the volume does not live on")?;
        }
    }
    Ok(())
}

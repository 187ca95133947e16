//! Random sequences of operations on one kind of volume, judged, and shrunk if they fail.

use super::device::Image;
use super::draw::{Draw, draw};
use super::judge::{self, Depth};
use super::kinds::VolumeKind;
use super::operation::Operation;
use super::run::{Counts, Run};
use anyhow::{Context, Result, bail};
use fs_core::WriteOptions;
use proptest::collection::vec;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use std::cell::RefCell;
use std::fmt::Write;

/// Everything is compared after this many operations, not only at the end.
const COMPARED_EVERY: usize = 16;
/// A sequence that fails is not made shorter by more tries.
const TRIES_MAX: u32 = 400;

/// How a test opens volumes: no commits of their own, so that runs repeat.
pub fn options() -> WriteOptions {
    WriteOptions {
        cache_bytes: 4 << 20,
        commit_interval_ms: 0,
        ..WriteOptions::default()
    }
}

/// Runs one sequence and has it judged. `done` gets the operations there were.
pub fn run_draws(
    kind: &VolumeKind,
    image: &Image,
    draws: &[Draw],
    depth: Depth,
    done: &mut Vec<Operation>,
) -> Result<Counts> {
    let device = image.device();
    let mut run = Run::open(device.clone(), &options())?;
    let mut limits = kind.limits();
    for draw in draws {
        let free = run.volume()?.statfs();
        limits.free_bytes = free.blocks_free * u64::from(free.block_bytes);
        for operation in draw.operations(&run.model, &limits) {
            done.push(operation.clone());
            run.step(&operation)?;
            if done.len().is_multiple_of(COMPARED_EVERY) {
                run.compare().context("while open")?;
            }
        }
    }
    let counts = run.counts.clone();
    judge::judge(run, &device, kind, depth)?;
    Ok(counts)
}

/// Runs operations, comparing after each, and has the result judged.
pub fn run_operations(
    kind: &VolumeKind,
    image: &Image,
    operations: &[Operation],
    depth: Depth,
) -> Result<()> {
    let device = image.device();
    let mut run = Run::open(device.clone(), &options())?;
    for operation in operations {
        run.step(operation)?;
        run.compare()
            .with_context(|| format!("after {operation:?}"))?;
    }
    judge::judge(run, &device, kind, depth)
}

/// Leaves out operations, while what remains still fails.
fn minimise(
    kind: &VolumeKind,
    image: &Image,
    operations: Vec<Operation>,
    depth: Depth,
) -> Vec<Operation> {
    let mut left = operations;
    let mut tries = 0;
    let mut chunk = left.len().div_ceil(2).max(1);
    loop {
        let mut at = 0;
        while at < left.len() && tries < TRIES_MAX {
            tries += 1;
            let mut fewer = left.clone();
            fewer.drain(at..(at + chunk).min(left.len()));
            match run_operations(kind, image, &fewer, depth) {
                Ok(()) => at += chunk,
                Err(_) => left = fewer,
            }
        }
        if chunk == 1 || tries >= TRIES_MAX {
            return left;
        }
        chunk = chunk.div_ceil(2);
    }
}

/// Where the random sequences come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chance {
    /// The same in every run.
    Fixed,
    /// Others in every run.
    New,
}

/// Runs so many sequences of up to `len` draws.
///
/// # Errors
/// The shortest sequence found that fails, and why.
pub fn check(
    kind: &VolumeKind,
    sequences: u32,
    len: usize,
    depth: Depth,
    chance: Chance,
) -> Result<Counts> {
    let image = kind.image()?;
    let config = Config {
        cases: sequences,
        failure_persistence: None,
        max_shrink_iters: 60,
        ..Config::default()
    };
    let mut runner = match chance {
        Chance::New => TestRunner::new(config),
        Chance::Fixed => {
            TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
        }
    };
    let counts = RefCell::new(Counts::default());
    let outcome = runner.run(&vec(draw(), 1..len), |draws| {
        let mut done = Vec::new();
        match run_draws(kind, &image, &draws, depth, &mut done) {
            Ok(more) => {
                counts.borrow_mut().add(&more);
                Ok(())
            }
            Err(error) => Err(TestCaseError::fail(format!("{error:#}"))),
        }
    });
    match outcome {
        Ok(()) => Ok(counts.into_inner()),
        Err(TestError::Fail(why, draws)) => {
            let mut done = Vec::new();
            let again = run_draws(kind, &image, &draws, depth, &mut done);
            let mut text = format!("on \"{}\": {why}", kind.name);
            if again.is_ok() {
                text.push_str("\n(not the second time)");
            }
            if run_operations(kind, &image, &done, depth).is_err() {
                done = minimise(kind, &image, done, depth);
            }
            if let Err(error) = run_operations(kind, &image, &done, depth) {
                let _ = write!(text, "\nshorter: {error:#}");
            }
            for operation in done {
                let _ = write!(text, "\n  {}", readable(&operation));
            }
            bail!("{text}")
        }
        Err(error) => bail!("on \"{}\": {error}", kind.name),
    }
}

/// An operation as text, lists of bytes as strings.
fn readable(operation: &Operation) -> String {
    let text = format!("{operation:?}");
    let mut readable = String::new();
    let mut left = text.as_str();
    while let Some((before, rest)) = left.split_once('[') {
        readable.push_str(before);
        let Some((list, after)) = rest.split_once(']') else {
            readable.push('[');
            left = rest;
            continue;
        };
        let bytes: Option<Vec<u8>> = list.split(", ").map(|byte| byte.parse().ok()).collect();
        match bytes.filter(|_| !list.is_empty()) {
            Some(bytes) => {
                let _ = write!(readable, "b\"{}\"", bytes.escape_ascii());
                left = after;
            }
            None => {
                readable.push('[');
                left = rest;
            }
        }
    }
    readable + left
}

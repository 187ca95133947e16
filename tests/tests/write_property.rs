//! Random sequences of all operations, on all kinds of volumes: what the model says
//! happens, e2fsck finds nothing, the kernel (debugfs where it cannot mount) shows the
//! model's tree.
//!
//! The usual run is the same each time. `EXTMAP_WRITE_SEQUENCES=N` makes it N sequences in
//! all, others in every run (`tests/long-write` does so for thousands), and
//! `EXTMAP_WRITE_KIND=NAME` of one kind only.

use anyhow::{Result, bail};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use system_tests::mkfs::JUDGES;
use system_tests::skip;
use system_tests::write::judge::Depth;
use system_tests::write::kinds::{KINDS, VolumeKind};
use system_tests::write::property::{self, Chance};
use system_tests::write::run::Counts;

/// Draws of a sequence, at most.
const LEN_MAX: usize = 90;

/// Kinds are tried side by side, on so many threads.
const THREADS: usize = 2;

/// Runs `sequences` of each kind, or as many in all as the environment says.
fn check(sequences: u32, depth: Depth) -> Result<()> {
    if !skip::allowed(JUDGES) {
        return Ok(());
    }
    let wanted = std::env::var("EXTMAP_WRITE_KIND").ok();
    let kinds: Vec<&VolumeKind> = KINDS
        .iter()
        .filter(|kind| wanted.as_ref().is_none_or(|name| name == kind.name))
        .collect();
    let asked: Option<u32> = match std::env::var("EXTMAP_WRITE_SEQUENCES") {
        Ok(text) => Some(text.parse()?),
        Err(_) => None,
    };
    let (sequences, chance) = match asked {
        Some(all) => (all.div_ceil(u32::try_from(kinds.len())?), Chance::New),
        None => (sequences, Chance::Fixed),
    };
    let next = AtomicUsize::new(0);
    let all = Mutex::new((Counts::default(), Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(kind) = kinds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let found = property::check(kind, sequences, LEN_MAX, depth, chance);
                    let mut all = all.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                    match found {
                        Ok(counts) => all.0.add(&counts),
                        Err(error) => all.1.push(format!("{error:#}")),
                    }
                }
            });
        }
    });
    let (counts, failures) = all
        .into_inner()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    println!(
        "{} sequences of {} kinds, {} operations, {depth:?}:{counts}",
        sequences as usize * kinds.len(),
        kinds.len(),
        counts.total(),
    );
    if !failures.is_empty() {
        bail!("{} kinds failed\n{}", failures.len(), failures.join("\n\n"));
    }
    Ok(())
}

#[test]
fn checked_by_e2fsck() -> Result<()> {
    check(24, Depth::Checked)
}

#[test]
fn shown_by_the_kernel() -> Result<()> {
    check(4, Depth::Mounted)
}

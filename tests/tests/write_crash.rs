//! Power cuts at every write and flush: what was made durable is there afterwards, the rest
//! is the state after some of the operations, and e2fsck has nothing to repair.
//!
//! Bugs these tests found: a commit block of two sectors could reach the disk as half of one,
//! and Linux mounts no volume with such a log.

use anyhow::{Result, ensure};
use fs_core::WriteOptions;
use system_tests::skip::{self, Need};
use system_tests::write::crash::explore::{Counts, Plan, explore};
use system_tests::write::crash::judge::{Repairs, log_superblock};
use system_tests::write::crash::oracle::Rule;
use system_tests::write::crash::record::{Recording, WORK_SECONDS, options};
use system_tests::write::crash::volume::{CROWDED, JOURNALLED, Kind, UNJOURNALLED, prepare};
use system_tests::write::crash::workload;
use system_tests::write::operation::Operation;

const NEEDS: &[Need] = &[Need::Tool("mke2fs"), Need::Tool("e2fsck")];

/// How much of everything is tried; `tests/long-crash` asks for more.
fn scale() -> u64 {
    let asked = std::env::var("EXTMAP_CRASH_SCALE").ok();
    asked.and_then(|text| text.parse().ok()).unwrap_or(1)
}

fn try_all(
    what: &str,
    kind: &Kind,
    setup: &[Operation],
    workloads: &[Vec<Operation>],
    plan: &Plan,
) -> Result<()> {
    if !skip::allowed(NEEDS) {
        return Ok(());
    }
    let image = prepare(kind, setup)?;
    let counts = Counts::default();
    let result = explore(&image, workloads, plan, &counts);
    println!("{what}, {}: {}", kind.name, counts.summary());
    result
}

/// One change, one transaction: a crash comes between any two.
fn each_change() -> WriteOptions {
    WriteOptions {
        commit_each_change: true,
        ..options(WORK_SECONDS)
    }
}

fn pairs_on(kind: usize) -> Result<()> {
    let plan = Plan {
        nested_every: 50,
        ..Plan::new(400 * scale())
    };
    let workloads = workload::shuffled(workload::pairs(), 7);
    try_all(
        "pairs",
        &JOURNALLED[kind],
        &workload::setup(),
        &workloads,
        &plan,
    )
}

#[test]
fn pairs_on_ext4() -> Result<()> {
    pairs_on(0)
}

#[test]
fn pairs_on_ext4_without_checksums() -> Result<()> {
    pairs_on(1)
}

#[test]
fn pairs_on_ext3() -> Result<()> {
    pairs_on(2)
}

#[test]
fn pairs_with_inline_data() -> Result<()> {
    pairs_on(3)
}

#[test]
fn longer_workloads() -> Result<()> {
    let workloads: Vec<_> = (0..400 * scale())
        .map(|seed| workload::random(seed, 8))
        .collect();
    let plan = Plan::new(400 * scale());
    try_all(
        "random",
        &JOURNALLED[0],
        &workload::setup(),
        &workloads,
        &plan,
    )
}

/// Blocks that were metadata hold content a moment later: the log's older copies of them must
/// not come back, and what was freed must not be used before that is durable.
#[test]
fn freed_blocks_are_used_again() -> Result<()> {
    let mut workloads = workload::taken_again();
    workloads.extend((0..200 * scale()).map(|seed| workload::reuse(seed, 30)));
    for discard in [false, true] {
        let plan = Plan {
            options: WriteOptions {
                discard,
                ..options(WORK_SECONDS)
            },
            // A write commits on its way to get at freed blocks.
            rule: Rule::ContentHalfway,
            ..Plan::new(300 * scale())
        };
        let setup = workload::crowded_setup();
        try_all("reuse", &CROWDED, &setup, &workloads, &plan)?;
    }
    Ok(())
}

/// Names stay one change, whatever comes of contents.
#[test]
fn pairs_with_each_change_alone() -> Result<()> {
    for kind in JOURNALLED {
        let plan = Plan {
            options: each_change(),
            rule: Rule::ContentHalfway,
            ..Plan::new(200 * scale())
        };
        let workloads = workload::shuffled(workload::pairs(), 8);
        try_all(
            "pairs, each change alone",
            kind,
            &workload::setup(),
            &workloads,
            &plan,
        )?;
    }
    Ok(())
}

#[test]
fn orphans_and_long_operations() -> Result<()> {
    for kind in JOURNALLED {
        let setup = workload::scattered_setup(150);
        let plan = Plan {
            options: each_change(),
            rule: Rule::ContentHalfway,
            mixtures: 1,
            ..Plan::new(300 * scale())
        };
        try_all("orphans", kind, &setup, &workload::orphans(), &plan)?;
    }
    Ok(())
}

#[test]
fn the_log_goes_around() -> Result<()> {
    if !skip::allowed(NEEDS) {
        return Ok(());
    }
    for kind in &JOURNALLED[..3] {
        let setup = workload::setup();
        let image = prepare(kind, &setup)?;
        let workload = workload::many_commits(400);
        let recording = Recording::new(&image, &options(WORK_SECONDS), &workload)?;
        let near = recording.log_restarts(log_superblock(&image)?);
        ensure!(
            near.len() >= 5,
            "the log was emptied {} times only",
            near.len()
        );
        let plan = Plan {
            near,
            mixtures: 1,
            ..Plan::new(u64::MAX)
        };
        try_all("log wraps", kind, &setup, &[workload], &plan)?;
    }
    Ok(())
}

#[test]
fn without_a_journal_nothing_durable_is_lost() -> Result<()> {
    for kind in UNJOURNALLED {
        let plan = Plan {
            repairs: Repairs::Any,
            rule: Rule::Durable,
            ..Plan::new(300 * scale())
        };
        let mut workloads = vec![workload::one_of_two_names_moves()];
        workloads.extend(workload::shuffled(workload::pairs(), 9));
        try_all("pairs", kind, &workload::setup(), &workloads, &plan)?;
    }
    Ok(())
}

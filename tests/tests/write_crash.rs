//! Power cuts at every write and flush: what was made durable is there afterwards, the rest
//! is the state after some of the operations, and e2fsck has nothing to repair.

use std::time::Duration;

use anyhow::Result;
use system_tests::skip::{self, Need};
use system_tests::write::crash::explore::{Counts, Plan, explore};
use system_tests::write::crash::record::{WORK_SECONDS, options};
use system_tests::write::crash::volume::{JOURNALLED, prepare};
use system_tests::write::crash::workload;

const NEEDS: &[Need] = &[Need::Tool("mke2fs"), Need::Tool("e2fsck")];

/// So many states are tried of each kind of volume; `tests/long-crash` asks for more.
fn states_max() -> u64 {
    let asked = std::env::var("EXTMAP_CRASH_STATES").ok();
    asked.and_then(|text| text.parse().ok()).unwrap_or(800)
}

fn pairs_on(kind: usize) -> Result<()> {
    if !skip::allowed(NEEDS) {
        return Ok(());
    }
    let kind = &JOURNALLED[kind];
    let image = prepare(kind, &workload::setup())?;
    let states_max = states_max();
    let plan = Plan {
        mixtures: 2,
        every: 1,
        time_max: Duration::from_secs(states_max / 10),
        states_max,
    };
    let counts = Counts::default();
    let workloads = workload::shuffled(workload::pairs(), 7);
    let result = explore(&image, &options(WORK_SECONDS), &workloads, plan, &counts);
    println!("pairs on {}: {}", kind.name, counts.summary());
    result
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

//! Power cuts at every write and flush.

use std::time::Duration;

use anyhow::Result;
use system_tests::skip::{self, Need};
use system_tests::write::crash::explore::{Counts, Plan, explore};
use system_tests::write::crash::record::{WORK_SECONDS, options};
use system_tests::write::crash::volume::{JOURNALLED, prepare};
use system_tests::write::crash::workload;

const NEEDS: &[Need] = &[Need::Tool("mke2fs"), Need::Tool("e2fsck")];

fn pairs_on(kind: usize, seconds: u64) -> Result<()> {
    if !skip::allowed(NEEDS) {
        return Ok(());
    }
    let kind = &JOURNALLED[kind];
    let image = prepare(kind, &workload::setup())?;
    let plan = Plan {
        mixtures: 2,
        every: 1,
        time_max: Duration::from_secs(seconds),
        states_max: u64::MAX,
    };
    let counts = Counts::default();
    let result = explore(
        &image,
        &options(WORK_SECONDS),
        &workload::pairs(),
        plan,
        &counts,
    );
    println!("{}: {}", kind.name, counts.summary());
    result
}

#[test]
fn pairs_on_ext4() -> Result<()> {
    pairs_on(0, 20)
}

//! Devices that fail under a volume open for writing.

use anyhow::{Context, Result};
use system_tests::skip::{self, Need};
use system_tests::write::crash::volume::{JOURNALLED, Kind, prepare};
use system_tests::write::crash::workload;
use system_tests::write::faults::Tester;

const NEEDS: &[Need] = &[Need::Tool("mke2fs"), Need::Tool("e2fsck")];

/// Every so many faults; 1 for all, which `tests/long-crash` asks for.
fn every() -> u64 {
    if std::env::var_os("EXTMAP_CRASH_SCALE").is_some() {
        1
    } else {
        3
    }
}

fn all_faults(kind: &Kind) -> Result<()> {
    if !skip::allowed(NEEDS) {
        return Ok(());
    }
    let image = prepare(kind, &workload::setup())?;
    let mut tester = Tester::new(&image)?;
    let operations = workload::operations(false);
    // /B/foo is what only a first operation of a pair makes.
    let possible = operations
        .iter()
        .filter(|operation| !format!("{operation:?}").contains("from: \"/B/foo\""));
    for operation in possible {
        let tried = tester.try_all(operation, every());
        tried.with_context(|| format!("{:?} before", tester.counts))?;
    }
    println!("faults on {}: {:?}", kind.name, tester.counts);
    Ok(())
}

#[test]
fn each_fault_on_ext4() -> Result<()> {
    all_faults(&JOURNALLED[0])
}

#[test]
fn each_fault_on_ext3() -> Result<()> {
    all_faults(&JOURNALLED[2])
}

#[test]
fn each_fault_with_inline_data() -> Result<()> {
    all_faults(&JOURNALLED[3])
}

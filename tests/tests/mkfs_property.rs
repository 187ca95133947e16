//! Random option sets and random trees: what is made, e2fsck and the kernel take
//! for their own; what is refused, mke2fs refuses too, or there is a reason.
//!
//! The usual run is the same each time. `PROPTEST_CASES=N` makes it N cases, others
//! in every run (`tests/long-mkfs` does so for thousands).

use anyhow::{Result, ensure};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use std::cell::Cell;
use system_tests::mkfs::JUDGES;
use system_tests::mkfs::property::{self, Case};
use system_tests::skip;

/// Runs `cases`, or as many as `PROPTEST_CASES` says; at least a quarter of them is
/// not refused.
fn check(cases: u32, mount: bool) -> Result<()> {
    if !skip::allowed(JUDGES) {
        return Ok(());
    }
    let asked = std::env::var_os("PROPTEST_CASES").is_some();
    let mut config = Config {
        failure_persistence: None,
        max_shrink_iters: 200,
        ..Config::default()
    };
    if !asked {
        config.cases = cases;
    }
    let count = config.cases;
    let mut runner = match asked {
        true => TestRunner::new(config),
        false => TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha)),
    };
    let made = Cell::new(0);
    let outcome = runner.run(&property::case(), |case: Case| match case.check(mount) {
        Ok(is_made) => {
            made.set(made.get() + u32::from(is_made));
            Ok(())
        }
        Err(error) => Err(TestCaseError::fail(format!("{error:#}"))),
    });
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(why, case)) => anyhow::bail!("{why}\n{case:#?}"),
        Err(error) => anyhow::bail!("{error}"),
    }
    println!("{} of {count} made", made.get());
    ensure!(
        made.get() * 4 >= count,
        "only {} of {count} were made",
        made.get()
    );
    Ok(())
}

#[test]
fn checked_by_e2fsck() -> Result<()> {
    check(60, false)
}

#[test]
fn shown_by_the_kernel() -> Result<()> {
    check(25, true)
}

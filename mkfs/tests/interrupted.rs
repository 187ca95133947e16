//! Whatever fails on the way, the device holds no valid primary superblock: neither a
//! new one too early nor the old one any longer.
#![allow(clippy::expect_used)]

mod common;

use std::sync::Arc;

use fs_core::encode::RawSuperblock;
use images::{Fault, Faulty, Memory, Operation, Recorder, Unflushed};
use mkfs::{Foundation, Plan, Tree};

fn has_superblock(image: &[u8]) -> bool {
    let bytes = image.get(1024..2048).unwrap_or_default();
    RawSuperblock::from_prefix(bytes).is_some_and(|raw| raw.has_magic())
}

/// Calls `test` with a plan for an empty file system and its size in bytes.
fn with_plan(test: impl Fn(&Plan<'_>, usize)) {
    let request = common::small_ext4();
    let foundation = Foundation::new(&request).expect("a sound request");
    let tree = Tree::empty(request.identity.time);
    let plan = Plan::new(&foundation, &tree).expect("room");
    let len = usize::try_from(request.geometry.blocks * 1024).expect("small");
    test(&plan, len);
}

/// An image with a file system made by `plan`.
fn made(plan: &Plan<'_>, len: usize) -> Vec<u8> {
    let memory = Memory::new(vec![0x5A; len]);
    plan.write(&memory, &()).expect("nothing fails");
    assert!(has_superblock(&memory.snapshot()));
    memory.snapshot()
}

/// Runs `plan` over an older file system with a fault that ends the run, if any:
/// what is left, whether the run succeeded, and how many operations there were.
fn run_with(plan: &Plan<'_>, old: &[u8], fault: Option<(Operation, u64)>) -> (Vec<u8>, bool, u64) {
    let memory = Arc::new(Memory::new(old.to_vec()));
    let faulty = Faulty::new(memory.clone());
    if let Some((operation, number)) = fault {
        faulty.set_fault(operation, Some(Fault::From(number)));
    }
    let succeeded = plan.write(&faulty, &()).is_ok();
    let counted = fault.map_or(Operation::Write, |(operation, _)| operation);
    (memory.snapshot(), succeeded, faulty.count(counted))
}

#[test]
fn a_failing_write_leaves_no_superblock() {
    with_plan(|plan, len| {
        let old = made(plan, len);
        let (_, succeeded, writes) = run_with(plan, &old, None);
        assert!(succeeded && writes > 10, "{writes} writes");
        // Before the first write that counts nothing has happened: discarding may fail.
        for number in 0..writes {
            let (left, succeeded, _) = run_with(plan, &old, Some((Operation::Write, number)));
            assert!(!succeeded, "write {number}");
            assert!(left == old || !has_superblock(&left), "write {number}");
        }
    });
}

#[test]
fn a_failing_flush_is_a_failure() {
    with_plan(|plan, len| {
        let old = made(plan, len);
        let (_, _, flushes) = run_with(plan, &old, Some((Operation::Flush, u64::MAX)));
        for number in 0..flushes {
            let (left, succeeded, _) = run_with(plan, &old, Some((Operation::Flush, number)));
            assert!(!succeeded, "flush {number}");
            // Only the last flush comes behind the superblock.
            assert!(
                number + 1 == flushes || !has_superblock(&left),
                "flush {number} of {flushes}"
            );
        }
    });
}

#[test]
fn a_power_cut_leaves_the_old_file_system_none_or_the_whole_new_one() {
    with_plan(|plan, len| {
        let old = made(plan, len);
        let recorder = Recorder::new(old.clone());
        plan.write(&recorder, &()).expect("nothing fails");
        let new = recorder.live();
        let is_allowed = |image: &[u8]| {
            let primary = 1024..2048;
            let is_whole = || image[primary.end..] == new[primary.end..];
            !has_superblock(image) || *image == old[..] || is_whole()
        };
        let mut replay = recorder.replay();
        let mut without = 0;
        while replay.step() {
            let mixed = (0..4).map(Unflushed::Mixed);
            for unflushed in [Unflushed::Kept, Unflushed::Lost].into_iter().chain(mixed) {
                let image = replay.after_power_cut(unflushed);
                assert!(
                    is_allowed(&image),
                    "{unflushed:?}, {} pending",
                    replay.pending()
                );
                without += u32::from(!has_superblock(&image));
            }
        }
        assert!(without > 50, "only {without} cuts without a superblock");
    });
}

#[test]
fn equal_plans_give_equal_bytes_whether_zeros_are_written_or_there() {
    let mut request = common::small_ext4();
    request.writing.lazy_itable_init = false;
    let foundation = Foundation::new(&request).expect("a sound request");
    let tree = Tree::empty(request.identity.time);
    let plan = Plan::new(&foundation, &tree).expect("room");
    let len = usize::try_from(request.geometry.blocks * 1024).expect("small");
    let [first, second] = [(), ()].map(|()| {
        let memory = Memory::zeroed(len);
        plan.write(&memory, &()).expect("nothing fails");
        memory.snapshot()
    });
    assert!(first == second);
    let mut prezeroed = request.clone();
    prezeroed.writing.prezeroed = true;
    let foundation = Foundation::new(&prezeroed).expect("a sound request");
    let plan = Plan::new(&foundation, &tree).expect("room");
    let memory = Memory::zeroed(len);
    plan.write(&memory, &()).expect("nothing fails");
    assert!(memory.snapshot() == first);
}

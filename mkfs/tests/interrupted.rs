//! Whatever fails on the way, the device holds no valid primary superblock: neither a
//! new one too early nor the old one any longer.
#![allow(clippy::expect_used)]

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};

use fs_core::encode::RawSuperblock;
use images::{BlockDevice, Error, Memory, Result};
use mkfs::{Foundation, Plan, Tree};

/// Fails at the `left`-th operation that changes something, and at all later ones.
#[derive(Debug)]
struct Failing {
    memory: Memory,
    left: AtomicUsize,
}

impl Failing {
    fn step(&self) -> Result<()> {
        let left = self.left.load(Ordering::Relaxed);
        if left == 0 {
            return Err(Error::ReadOnly);
        }
        self.left.store(left - 1, Ordering::Relaxed);
        Ok(())
    }
}

impl BlockDevice for Failing {
    fn size_bytes(&self) -> u64 {
        self.memory.size_bytes()
    }

    fn is_read_only(&self) -> bool {
        false
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        self.memory.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        self.step()?;
        self.memory.write_at(buf, offset)
    }

    fn write_zeroes(&self, offset: u64, len: u64) -> Result<()> {
        self.step()?;
        self.memory.write_zeroes(offset, len)
    }

    fn discard(&self, _offset: u64, _len: u64) -> Result<()> {
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        self.step()
    }
}

fn has_superblock(memory: &Memory) -> bool {
    let mut bytes = [0; 1024];
    memory.read_at(&mut bytes, 1024).expect("inside");
    RawSuperblock::from_prefix(&bytes).is_some_and(|raw| raw.has_magic())
}

#[test]
fn a_failure_leaves_no_superblock() {
    let request = common::small_ext4();
    let foundation = Foundation::new(&request).expect("a sound request");
    let tree = Tree::empty(request.identity.time);
    let plan = Plan::new(&foundation, &tree).expect("room");
    let len = usize::try_from(request.geometry.blocks * 1024).expect("small");
    let mut steps = 0;
    loop {
        let memory = Memory::new(vec![0x5A; len]);
        let made = plan.write(&memory, &()).expect("nothing fails");
        assert!(has_superblock(&memory));
        // The second run goes over the file system the first has made.
        let failing = Failing {
            memory,
            left: AtomicUsize::new(steps),
        };
        let again = plan.write(&failing, &());
        match again {
            Ok(report) => {
                assert_eq!(report, made);
                assert_eq!(failing.left.into_inner(), 0);
                break;
            }
            // Before the first change nothing has happened; after the last write only
            // the final flush is missing.
            Err(_) if steps > 0 && failing.left.into_inner() == 0 => {
                let written = has_superblock(&failing.memory);
                let is_final_flush = written && plan_steps(&plan, len) == steps + 1;
                assert!(!written || is_final_flush, "after {steps} steps");
            }
            Err(_) => assert_eq!(steps, 0),
        }
        steps += 1;
    }
    assert!(steps > 10, "only {steps} steps");
}

/// Operations of a whole run.
fn plan_steps(plan: &Plan<'_>, len: usize) -> usize {
    let failing = Failing {
        memory: Memory::new(vec![0x5A; len]),
        left: AtomicUsize::new(1_000_000),
    };
    plan.write(&failing, &()).expect("nothing fails");
    1_000_000 - failing.left.into_inner()
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

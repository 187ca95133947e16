//! Every write and every flush of commits and checkpoints fails once.

use std::sync::Arc;

use images::{BlockDevice, Fault, Faulty, Operation, Recorder, Unflushed};

use super::super::Transactions;
use super::model::{Kind, Owner, World};
use super::{SMALL, after_cut, open};
use crate::cache::BlockCache;
use crate::error::Result;
use crate::journal::tests::small;

/// Commits, with and without a checkpoint before, revokes, and the end.
fn script(world: &World, owners: &mut [Owner]) -> Result<()> {
    for round in 0..3 {
        for kind in [Kind::Metadata, Kind::Free, Kind::Content, Kind::Free] {
            for owner in owners.iter_mut() {
                owner.change(world, kind, round, true)?;
            }
            for owner in owners.iter_mut() {
                owner.sync(world)?;
            }
        }
        world.transactions.checkpoint(&world.cache)?;
    }
    world.transactions.close_log()
}

/// How many operations of this kind the script takes; then with the one `at` failing.
fn run(operation: Operation, at: Option<u64>, has_log: bool) -> u64 {
    let recorder = Arc::new(Recorder::new(small::image()));
    let faulty = Arc::new(Faulty::new(recorder.clone()));
    let device: Arc<dyn BlockDevice> = faulty.clone();
    let (transactions, cache) = if has_log {
        open(device.clone(), SMALL)
    } else {
        let cache = BlockCache::new(device.clone(), small::BLOCK_BYTES as u32, 0);
        (Transactions::new(None, SMALL), cache)
    };
    let before = faulty.count(operation);
    if let Some(at) = at {
        faulty.set_fault(operation, Some(Fault::Once(before + at)));
    }
    let world = World {
        transactions,
        cache,
        recorder: recorder.clone(),
        device,
    };
    let mut owners: Vec<Owner> = (0..5).map(Owner::new).collect();
    let done = script(&world, &mut owners);
    assert_eq!(
        done.is_err(),
        at.is_some(),
        "{operation:?} {at:?}: {done:?}"
    );
    if at.is_some() && world.transactions.check_alive().is_err() {
        // Nothing is written any more, whoever asks for it.
        let events = recorder.events();
        assert!(world.begin(1).is_err());
        assert!(world.sync().is_err());
        assert!(world.transactions.checkpoint(&world.cache).is_err());
        assert!(world.transactions.close_log().is_err());
        assert_eq!(recorder.events(), events, "{operation:?} {at:?}");
        // But for the log's mark, after which it is recovered all the same.
        world.transactions.record_stop();
        assert_eq!(recorder.events() > events, has_log);
    }
    if has_log {
        for unflushed in [Unflushed::Lost, Unflushed::Kept, Unflushed::Mixed(7)] {
            let homes = after_cut(&recorder, unflushed);
            for owner in &owners {
                owner.check_recovered(&homes, &format!("{operation:?} {at:?} {unflushed:?}"));
            }
        }
    }
    faulty.count(operation) - before
}

#[test]
fn any_write_or_flush_that_fails() {
    for has_log in [true, false] {
        for operation in [Operation::Write, Operation::Flush] {
            let count = run(operation, None, has_log);
            assert!(count > 20, "{count}");
            for at in 0..count {
                run(operation, Some(at), has_log);
            }
        }
    }
}

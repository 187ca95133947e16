//! How large transactions become.

use std::sync::Arc;

use images::{BlockDevice, Recorder, Unflushed};

use super::super::{Joined, TransactionId};
use super::model::World;
use super::{Limits, after_cut, open};
use crate::cache::{Role, RoleKind};
use crate::journal::tests::small::{self, BLOCK_BYTES};
use crate::types::{FsBlock, InodeNumber};

fn world(limits: Limits) -> World {
    let recorder = Arc::new(Recorder::new(small::image()));
    let device: Arc<dyn BlockDevice> = recorder.clone();
    let (transactions, cache) = open(device.clone(), limits);
    World {
        transactions,
        cache,
        recorder,
        device,
    }
}

const LIMITS: Limits = Limits {
    transaction_blocks: 20,
    unsettled_blocks: 1000,
};

fn create(world: &World, credits: usize, blocks: std::ops::Range<u64>) -> TransactionId {
    let mut handle = world.begin(credits).unwrap();
    for block in blocks {
        let role = Role::of_inode(RoleKind::ExtentNode, InodeNumber(1), 0);
        let bytes = vec![block as u8; BLOCK_BYTES].into();
        handle.create(FsBlock(block), role, bytes);
    }
    handle.finish()
}

#[test]
fn a_transaction_that_is_full_takes_no_more() {
    let world = world(LIMITS);
    create(&world, 10, 2..10);
    // 8 blocks are changed, 8 more may be.
    let open = world.begin(8).unwrap();
    let full = world.transactions.join(&world.cache, 5).unwrap();
    assert!(matches!(full, Joined::Full(TransactionId(1))));
    let fits = world.transactions.join(&world.cache, 4).unwrap();
    assert!(matches!(fits, Joined::Handle(_)));
    drop((fits, open));
    // Credits that were not used come back.
    let fits = world.transactions.join(&world.cache, 12).unwrap();
    assert!(matches!(fits, Joined::Handle(_)));
    drop(fits);
    assert!(!world.transactions.wants_commit());
    create(&world, 3, 10..13);
    assert!(world.transactions.wants_commit());
    // Whoever finds it full commits it, and has the next.
    assert_eq!(create(&world, 10, 13..15), TransactionId(2));
    assert_eq!(world.transactions.committed(), TransactionId(1));
}

/// More than it asked for: the transaction becomes larger than it should, and the log has
/// the room.
#[test]
fn a_handle_beyond_its_credits() {
    let world = world(LIMITS);
    create(&world, 2, 2..60);
    let mut handle = world.begin(1).unwrap();
    assert_eq!(handle.credits_left(), 1);
    let role = Role::of_volume(RoleKind::InodeTable);
    for block in 60..63 {
        handle.create(FsBlock(block), role, vec![9; BLOCK_BYTES].into());
    }
    assert_eq!(handle.credits_left(), 0);
    handle.finish();
    world.sync().unwrap();
    let homes = after_cut(&world.recorder, Unflushed::Lost);
    assert!((2..60).all(|at| homes[at * BLOCK_BYTES] == at as u8));
    assert_eq!(homes[60 * BLOCK_BYTES], 9);
}

/// More than the log can hold: writing stops, and what was durable stays.
#[test]
fn a_transaction_larger_than_the_log() {
    let world = world(LIMITS);
    create(&world, 2, 2..9);
    world.sync().unwrap();
    let mut handle = world.begin(1).unwrap();
    let role = Role::of_volume(RoleKind::InodeTable);
    for block in 2..1040 {
        handle.create(FsBlock(block), role, vec![77; BLOCK_BYTES].into());
    }
    handle.finish();
    assert!(world.sync().is_err());
    assert!(world.transactions.check_alive().is_err());
    for unflushed in [Unflushed::Lost, Unflushed::Kept] {
        let homes = after_cut(&world.recorder, unflushed);
        assert!((2..9).all(|at| homes[at * BLOCK_BYTES] == at as u8));
        assert_eq!(homes[20 * BLOCK_BYTES], 0);
    }
}

/// Round and round the smallest log with the largest transactions.
#[test]
fn many_transactions_at_the_limit() {
    let world = world(Limits {
        transaction_blocks: 255,
        unsettled_blocks: 1000,
    });
    for round in 0..60_u8 {
        let mut handle = world.begin(60).unwrap();
        let role = Role::of_volume(RoleKind::InodeTable);
        for block in 2..60 {
            handle.create(FsBlock(block), role, vec![round; BLOCK_BYTES].into());
        }
        handle.finish();
        world.sync().unwrap();
        let homes = after_cut(&world.recorder, Unflushed::Lost);
        assert!(
            (2..60).all(|at| homes[at * BLOCK_BYTES] == round),
            "{round}"
        );
    }
}

/// A change that panics may have left blocks half changed: nothing is written any more.
#[test]
fn a_change_that_panics() {
    let world = world(LIMITS);
    create(&world, 2, 2..9);
    world.sync().unwrap();
    let events = world.recorder.events();
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let mut handle = world.begin(3).unwrap();
        let role = Role::of_inode(RoleKind::ExtentNode, InodeNumber(1), 0);
        let edit = |bytes: &mut [u8]| -> crate::error::Result<()> {
            bytes.fill(99);
            panic!("half way");
        };
        let _ = handle.modify(FsBlock(3), role, |_| Ok(()), edit);
    }));
    assert!(outcome.is_err());
    assert!(world.begin(1).is_err() && world.sync().is_err());
    assert_eq!(world.recorder.events(), events);
}

/// The same of a commit; nobody waits for it for ever.
#[test]
fn a_commit_that_panics() {
    let world = world(LIMITS);
    let id = create(&world, 2, 2..9);
    let events = world.recorder.events();
    let prepare = |_: &mut super::super::Preparation<'_>, _: TransactionId| panic!("half way");
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let transactions = &world.transactions;
        transactions.commit(&world.cache, id, &prepare, &|_| {})
    }));
    assert!(outcome.is_err());
    assert!(world.begin(1).is_err() && world.sync().is_err());
    assert_eq!(world.recorder.events(), events);
}

//! What cannot be made is refused before anything is written, with its reason.
#![allow(clippy::expect_used)]

mod common;

use fs_core::{FsBlock, RoCompatFeatures};
use images::Memory;
use mkfs::{Error, Foundation, Plan, Request, Tree};

fn refusal(change: impl FnOnce(&mut Request)) -> Error {
    let mut request = common::small_ext4();
    change(&mut request);
    let foundation = match Foundation::new(&request) {
        Ok(foundation) => foundation,
        Err(error) => return error,
    };
    let tree = Tree::empty(request.identity.time);
    let plan = Plan::new(&foundation, &tree);
    plan.map(|_| ()).expect_err("a refusal")
}

#[test]
fn a_feature_is_refused_by_name() {
    let error = refusal(|request| {
        request.geometry.features.ro_compat |= RoCompatFeatures::QUOTA;
    });
    assert!(matches!(error, Error::Features(_)), "{error}");
    assert!(error.to_string().contains("quota"), "{error}");
}

#[test]
fn a_journal_that_does_not_fit_says_what_is_missing() {
    let error = refusal(|request| {
        if let Some(journal) = &mut request.geometry.journal {
            journal.blocks = 30_000;
        }
    });
    let Error::DoesNotFit {
        needed_bytes,
        available_bytes,
    } = error
    else {
        panic!("{error}");
    };
    assert_eq!(available_bytes, 24 << 20);
    assert!(needed_bytes > Some(30_000 << 10), "{needed_bytes:?}");
}

#[test]
fn a_bad_block_must_not_be_where_the_superblock_is() {
    let error = refusal(|request| request.geometry.bad_blocks = vec![FsBlock(2)]);
    assert!(matches!(error, Error::Option(_)), "{error}");
    let error = refusal(|request| request.geometry.bad_blocks = vec![FsBlock(1 << 40)]);
    assert!(error.to_string().contains("outside"), "{error}");
}

#[test]
fn groups_without_room_for_their_tables_are_refused() {
    let error = refusal(|request| {
        request.geometry.blocks = 8192 + 1 + 100;
        request.geometry.groups = 2;
    });
    assert!(matches!(error, Error::Size(_)), "{error}");
    let error = refusal(|request| request.geometry.groups = 4);
    assert!(error.to_string().contains("groups"), "{error}");
}

#[test]
fn a_device_that_is_too_small_is_not_touched() {
    let request = common::small_ext4();
    let foundation = Foundation::new(&request).expect("a sound request");
    let tree = Tree::empty(request.identity.time);
    let plan = Plan::new(&foundation, &tree).expect("room");
    let memory = Memory::new(vec![7; 1 << 20]);
    let error = plan.write(&memory, &()).expect_err("a refusal");
    assert!(matches!(error, Error::Size(_)), "{error}");
    assert!(memory.snapshot().iter().all(|&byte| byte == 7));
}

//! Inline content, judged by e2fsck and debugfs.

use std::path::Path;
use std::process::Command;

use super::*;
use crate::testing::Fixture;

const FIRST_FILE: u32 = 12;

/// A volume with two empty files, inodes 12 and 13.
fn fixture(options: &[&str]) -> Option<Fixture> {
    Fixture::filled(options, "8M", |tree| {
        for name in ["a", "b"] {
            std::fs::write(tree.join(name), "").unwrap();
        }
    })
}

/// What debugfs says to a request.
fn debugfs(image: &Path, request: &str) -> Vec<u8> {
    let run = Command::new("debugfs")
        .args(["-R", request])
        .arg(image)
        .output()
        .unwrap();
    assert!(run.status.success(), "{run:?}");
    run.stdout
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8 + 1).collect()
}

fn set(fixture: &Fixture, number: InodeNumber, content: &[u8]) -> bool {
    let mut change = fixture.writer.begin(1).unwrap();
    let fits = set_inline(&mut change, number, content).unwrap();
    if fits {
        let size = content.len() as u64;
        change
            .edit_inode(number, |edit| edit.set_size(size))
            .unwrap();
    }
    change.finish();
    fits
}

fn capacity_of(fixture: &Fixture, number: InodeNumber) -> usize {
    let store = &fixture.writer.store;
    inline_capacity(store, &store.inode(number).unwrap())
}

#[test]
fn content_of_every_size_lies_in_the_inode() {
    for (inode_bytes, expected) in [("256", 128), ("512", 384), ("1024", 896)] {
        let Some(fixture) = fixture(&["-O", "inline_data", "-I", inode_bytes, "-b", "1024"]) else {
            return;
        };
        let number = InodeNumber(FIRST_FILE);
        let capacity = capacity_of(&fixture, number);
        assert_eq!(capacity, expected);
        assert!(!set(&fixture, number, &pattern(capacity + 1)));
        let store = &fixture.writer.store;
        for len in (0..=capacity).chain([61, 60, 59, 0, capacity]) {
            assert!(set(&fixture, number, &pattern(len)), "{len}");
            let inode = store.inode(number).unwrap();
            assert_eq!(inline::content(&inode).unwrap(), pattern(len));
            assert_eq!(inline_capacity(store, &inode), capacity);
        }
        for len in [0, 3, 60, 61, 64, capacity] {
            assert!(set(&fixture, number, &pattern(len)));
            fixture.writer.sync().unwrap();
        }
        assert!(set(&fixture, InodeNumber(FIRST_FILE + 1), &pattern(63)));
        let image = fixture.close();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), image).unwrap();
        assert_eq!(debugfs(file.path(), "cat <12>"), pattern(capacity));
        assert_eq!(debugfs(file.path(), "cat <13>"), pattern(63));
    }
}

#[test]
fn content_leaves_the_inode() {
    for features in ["inline_data", "inline_data,^extents,^64bit"] {
        let Some(fixture) = fixture(&["-O", features, "-I", "512"]) else {
            return;
        };
        let number = InodeNumber(FIRST_FILE);
        for len in [0, 60, 200] {
            assert!(set(&fixture, number, &pattern(len)));
            let mut change = fixture.writer.begin(1).unwrap();
            assert_eq!(clear_inline(&mut change, number).unwrap(), pattern(len));
            change.edit_inode(number, |edit| edit.set_size(0)).unwrap();
            change.finish();
            let mut change = fixture.writer.begin(1).unwrap();
            assert!(
                clear_inline(&mut change, number)
                    .unwrap_err()
                    .is_corruption()
            );
        }
        fixture.close();
    }
}

#[test]
fn what_is_taken_back_leaves_the_content() {
    let Some(fixture) = fixture(&["-O", "inline_data", "-I", "256"]) else {
        return;
    };
    let number = InodeNumber(FIRST_FILE);
    assert!(set(&fixture, number, &pattern(100)));
    let mut change = fixture.writer.begin(1).unwrap();
    assert!(set_inline(&mut change, number, &pattern(5)).unwrap());
    clear_inline(&mut change, number).unwrap();
    drop(change);
    let inode = fixture.writer.store.inode(number).unwrap();
    assert_eq!(inline::content(&inode).unwrap(), pattern(100));
    fixture.close();
}

#[test]
fn volumes_without_the_feature_or_room_hold_none() {
    for options in [&["-O", "^inline_data"][..], &["-I", "128"]] {
        let Some(fixture) = fixture(options) else {
            return;
        };
        let number = InodeNumber(FIRST_FILE);
        assert_eq!(capacity_of(&fixture, number), 0);
        assert!(!set(&fixture, number, b""));
        fixture.close();
    }
}

//! Names of one hash: leaves that go on in the next one.

use std::collections::HashMap;

use super::{Random, Subject, assert_kind, debugfs};
use crate::directory::blocks;
use crate::encode::name_hasher;
use crate::error::ErrorKind;
use crate::format::directory_records::find;
use crate::format::htree::{self, Kind};
use crate::types::FileBlock;

/// What follows 249 times "n" in names of one legacy hash; found by trying.
const SUFFIXES: [&str; 14] = [
    "fJolnk", "oSBXxT", "oSBXTx", "sGuUiI", "vppw7c", "FRTieF", "Ps8iVg", "QtdemZ", "QtdeZm",
    "XLQYfI", "Zha2zE", "1UqlY8", "5j6uuw", "5j6uwu",
];

fn name_with(suffix: &str) -> Vec<u8> {
    [&[b'n'; 249][..], suffix.as_bytes()].concat()
}

/// Three names fill a leaf, so that those of one hash need five or more.
#[test]
fn a_hash_that_fills_many_leaves() {
    let options = ["-t", "ext4", "-b", "1024"];
    let Some(mut subject) = Subject::with_hash(&options, "8M", "legacy") else {
        return;
    };
    let hasher = name_hasher(&subject.fixture.writer.store.superblock).unwrap();
    let hash = hasher.hash(&name_with(SUFFIXES[0]));
    let mut random = Random::new(11);
    for (at, suffix) in SUFFIXES.iter().enumerate() {
        assert_eq!(hasher.hash(&name_with(suffix)), hash);
        subject.add(&name_with(suffix)).unwrap();
        for number in 0..5 {
            subject.add(&random.name((at * 5 + number) as u64)).unwrap();
        }
        subject.check();
    }
    for suffix in SUFFIXES {
        assert_kind(subject.add(&name_with(suffix)), &ErrorKind::Exists);
    }
    // A reader that takes one name at a time passes the whole chain.
    let mut cookie = 0;
    for _ in 0..subject.model.len() + 2 {
        cookie = subject.page(cookie, 1)[0].2;
    }
    assert!(subject.page(cookie, 1).is_empty());
    for suffix in SUFFIXES.iter().step_by(2) {
        subject.replace(&name_with(suffix)).unwrap();
        subject.remove(&name_with(suffix)).unwrap();
        subject.check();
    }
    for suffix in SUFFIXES.iter().step_by(2) {
        subject.add(&name_with(suffix)).unwrap();
    }
    subject.check();
    let image = subject.close();
    let tree = debugfs(&image, "htree /d");
    assert!(
        tree.contains(&format!("{:#010x}", hash | 1)),
        "{hash:#x}: {tree}"
    );
}

/// Two names of one half MD4 hash, found by trying, and two around them: the leaf's halves
/// part the two.
#[test]
fn a_pair_of_one_hash_parted_by_the_first_split() {
    let Some(mut subject) = Subject::new(&["-t", "ext4", "-b", "1024"], "8M") else {
        return;
    };
    let store = &subject.fixture.writer.store;
    let hasher = name_hasher(&store.superblock).unwrap();
    let mut seen = HashMap::new();
    let name = |number: u64| format!("{number:x>250}").into_bytes();
    let pair = (0..1 << 20).find_map(|number| {
        let hash = hasher.hash(&name(number));
        let other = seen.insert(hash, number)?;
        Some((hash, name(other), name(number)))
    });
    let (hash, one, other) = pair.unwrap();
    let low = (0..).map(|n| format!("{n:y>250}").into_bytes());
    let low = { low }.find(|name| hasher.hash(name) < hash).unwrap();
    let high = (0..).map(|n| format!("{n:z>250}").into_bytes());
    let high = { high }.find(|name| hasher.hash(name) > hash).unwrap();
    for name in [&high, &one, &low, &other] {
        subject.add(name).unwrap();
    }
    subject.check();
    let store = &subject.fixture.writer.store;
    let directory = subject.inode();
    let root = blocks::load(store, &directory, FileBlock(0)).unwrap();
    let pairs = htree::pairs(root.bytes(), Kind::Root);
    assert_eq!(pairs[1].hash.get(), hash | 1);
    let leaf = blocks::load(store, &directory, FileBlock(1)).unwrap();
    let area = blocks::records(store, &directory, FileBlock(1), leaf.bytes());
    assert!(find(area, &one).is_some() != find(area, &other).is_some());
    assert_kind(subject.add(&one), &ErrorKind::Exists);
    assert_kind(subject.add(&other), &ErrorKind::Exists);
    subject.remove(&one).unwrap();
    subject.add(&one).unwrap();
    subject.remove(&other).unwrap();
    subject.add(&other).unwrap();
    subject.check();
    subject.close();
}

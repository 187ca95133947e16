//! Attributes set and removed, judged by e2fsck, debugfs and Linux.

mod debugfs;
mod hostile;
mod kernel;
mod model;
mod rules;
mod threads;

use std::collections::BTreeMap;

use super::*;
use crate::error::Result;
use crate::testing::Fixture;
use crate::types::InodeNumber;

/// The first inode an empty volume gives to a file.
const FIRST_FILE: u32 = 12;

/// The attributes of an inode.
type Attributes = BTreeMap<Vec<u8>, Vec<u8>>;

/// A volume of 16 MiB with `count` empty files: inodes 12 and so on.
fn fixture(options: &[&str], count: u32) -> Option<Fixture> {
    Fixture::filled(options, "16M", |tree| {
        for file in 0..count {
            std::fs::write(tree.join(format!("f{file}")), "").unwrap();
        }
    })
}

fn file(index: u32) -> InodeNumber {
    InodeNumber(FIRST_FILE + index)
}

/// Sets one attribute in a change of its own.
fn set_one(fixture: &Fixture, number: InodeNumber, name: &str, value: &[u8]) -> Result<()> {
    let writer = &fixture.writer;
    let mut change = writer.begin(credits(&writer.store))?;
    set(&mut change, number, name.as_bytes(), value, XattrSet::Any)?;
    change.finish();
    Ok(())
}

/// Removes one attribute in a change of its own.
fn remove_one(fixture: &Fixture, number: InodeNumber, name: &str) -> Result<()> {
    let writer = &fixture.writer;
    let mut change = writer.begin(credits(&writer.store))?;
    remove(&mut change, number, name.as_bytes())?;
    change.finish();
    Ok(())
}

/// All attributes of an inode, as they are read.
fn read_all(fixture: &Fixture, number: InodeNumber) -> Attributes {
    let store = &fixture.writer.store;
    let inode = store.inode(number).unwrap();
    let names = names(store, &inode).unwrap();
    let count = names.len();
    let all: Attributes = names
        .into_iter()
        .map(|name| {
            let value = get(store, &inode, &name).unwrap();
            (name, value)
        })
        .collect();
    assert_eq!(all.len(), count, "a name twice");
    all
}

/// A value that differs by `kind`.
fn value(kind: u8, len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| (at % 253) as u8 ^ kind.wrapping_mul(57))
        .collect()
}

/// Numbers that look random.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit
    }

    fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

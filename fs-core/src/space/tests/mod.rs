//! Space against a model and against e2fsprogs.

mod behaviour;
mod damage;
mod inodes;
mod model;
mod shapes;
mod threads;
mod trim;
mod windows;

use std::collections::BTreeSet;
use std::process::Command;

use crate::change::{Change, Writer};
use crate::clock::Clock;
use crate::error::{ErrorKind, Result};
use crate::testing::Fixture;
use crate::testing::open_writer;
use crate::types::{FileType, FsBlock, InodeNumber};
use crate::volume::close_writer;

use super::{BlockRequest, BlockRun, InodeRequest, Purpose};

/// What dumpe2fs says is free.
#[derive(Debug, PartialEq, Eq)]
struct Free {
    blocks: BTreeSet<u64>,
    inodes: BTreeSet<u64>,
    /// The sums in the superblock.
    sums: (u64, u64),
    directories: u64,
}

fn numbers(list: &str) -> impl Iterator<Item = u64> {
    list.split(',')
        .filter(|part| !part.trim().is_empty())
        .flat_map(|part| {
            let (start, end) = part.trim().split_once('-').unwrap_or((part, part));
            let start: u64 = start.trim().parse().unwrap();
            start..=end.trim().parse().unwrap()
        })
}

/// What dumpe2fs says of an image.
fn dumped(image: &[u8]) -> Free {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("image");
    std::fs::write(&path, image).unwrap();
    let output = Command::new("dumpe2fs").arg(&path).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut free = Free {
        blocks: BTreeSet::new(),
        inodes: BTreeSet::new(),
        sums: (0, 0),
        directories: 0,
    };
    for line in text.lines() {
        if let Some(list) = line.strip_prefix("  Free blocks:") {
            free.blocks.extend(numbers(list));
        } else if let Some(list) = line.strip_prefix("  Free inodes:") {
            free.inodes.extend(numbers(list));
        } else if let Some(sum) = line.strip_prefix("Free blocks:") {
            free.sums.0 = sum.trim().parse().unwrap();
        } else if let Some(sum) = line.strip_prefix("Free inodes:") {
            free.sums.1 = sum.trim().parse().unwrap();
        } else if let Some((_, rest)) = line.split_once(" free inodes, ") {
            let count = rest.split(' ').next().unwrap();
            free.directories += count.parse::<u64>().unwrap();
        }
    }
    free
}

/// The image of a volume whose blocks may belong to nobody.
fn closed(fixture: Fixture) -> Vec<u8> {
    close_writer(&fixture.writer).unwrap();
    fixture.image()
}

/// A volume in a sparse file, for sizes that memory has no room for.
fn sparse(options: &[&str], size: &str) -> Option<(Writer, tempfile::TempDir)> {
    if !skipping::have_programs(&["mke2fs"]) {
        return None;
    }
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("image");
    let mut made = Command::new("mke2fs");
    made.args(["-q", "-F"]).args(options).arg(&image).arg(size);
    let made = made.output().unwrap();
    assert!(made.status.success(), "mke2fs {options:?}: {made:?}");
    let device = images::open(&image, &images::OpenOptions::default()).unwrap();
    Some((open_writer(device, Clock::System).unwrap(), directory))
}

fn metadata(goal: u64, len_blocks: u64) -> BlockRequest {
    BlockRequest {
        goal: FsBlock(goal),
        len_blocks,
        purpose: Purpose::Metadata,
        may_use_reserve: true,
    }
}

fn child_of(parent: u32, file_type: FileType) -> InodeRequest {
    InodeRequest {
        parent: InodeNumber(parent),
        file_type,
    }
}

fn commit(writer: &Writer) {
    writer.commit_pending().unwrap();
}

/// One change that ends well.
fn changed<'v, T>(writer: &'v Writer, change: impl FnOnce(&mut Change<'v>) -> Result<T>) -> T {
    let mut running = writer.begin(64).unwrap();
    let output = change(&mut running).unwrap();
    running.finish();
    output
}

fn run(start: u64, len_blocks: u64) -> BlockRun {
    BlockRun {
        start: FsBlock(start),
        len_blocks,
    }
}

/// A small generator of numbers that look random (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

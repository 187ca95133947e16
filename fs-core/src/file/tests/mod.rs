//! Tests of changing content: two files in a small volume, and what they should hold.
//!
//! All that is free is filled with a pattern first, so that a block whose old content
//! shows is noticed.

mod crash;
mod edges;
mod kernel;
mod model;
mod symlinks;

use std::ops::Range;
use std::process::Command;
use std::sync::Arc;

use crate::change::Writer;
use crate::directory;
use crate::error::{ErrorKind, Result};
use crate::file::{self, Allocation, SeekTarget, WriteContext};
use crate::format::inode::Inode;
use crate::testing::Fixture;
use crate::types::InodeNumber;

/// What free blocks hold.
const STALE: u8 = 0xE5;
const AS_ROOT: WriteContext = WriteContext {
    may_use_reserve: true,
    clear_privileges: false,
    keeps_times: false,
    kernel_moves_content: false,
};

/// An image mke2fs made with these options and the empty files "a" and "b" and a symbolic
/// link in it, its free blocks stale. `None` if there is no mke2fs.
fn stale_image(options: &[&str], size: &str) -> Option<Vec<u8>> {
    let fixture = Fixture::filled(options, size, |tree| {
        for name in ["a", "b"] {
            std::fs::write(tree.join(name), "").unwrap();
        }
        std::os::unix::fs::symlink("x", tree.join("link")).unwrap();
    })?;
    let number = named(&fixture.writer, b"a");
    let was_inline = inode(&fixture.writer, number).has_inline_data();
    let chunk = vec![STALE; 1 << 20];
    let mut at = 0;
    while let Ok(len) = file::write(&fixture.writer, number, &chunk, at, AS_ROOT) {
        at += len as u64;
    }
    assert!(at > 1 << 20, "{at}");
    file::truncate(&fixture.writer, number, 0, AS_ROOT).unwrap();
    if was_inline {
        let mut change = fixture.writer.begin(8).unwrap();
        assert!(crate::inline_edit::set_inline(&mut change, number, &[]).unwrap());
        change.finish();
    }
    Some(fixture.close())
}

fn named(writer: &Writer, name: &[u8]) -> InodeNumber {
    let root = inode(writer, InodeNumber::ROOT);
    directory::lookup(&writer.store, &root, name)
        .unwrap()
        .unwrap()
}

fn inode(writer: &Writer, number: InodeNumber) -> Arc<Inode> {
    writer.store.inode(number).unwrap()
}

fn content(writer: &Writer, number: InodeNumber) -> Vec<u8> {
    let inode = inode(writer, number);
    let mut bytes = vec![0xAA; inode.size_bytes() as usize];
    let len = file::read(&writer.store, &inode, &mut bytes, 0).unwrap();
    assert_eq!(len, bytes.len());
    bytes
}

/// Data that is never zero and never [`STALE`].
fn pattern(len: usize, seed: u64) -> Vec<u8> {
    (0..len as u64)
        .map(|at| ((at * 31 + seed * 97 + at / 256) % 200) as u8 + 1)
        .collect()
}

/// What lseek(2) finds must agree with the content: holes are zeros.
fn check_seek(writer: &Writer, number: InodeNumber, bytes: &[u8]) {
    let inode = inode(writer, number);
    let mut at = 0;
    while at < bytes.len() as u64 {
        let find = |target| file::seek(&writer.store, &inode, at, target);
        let data = match find(SeekTarget::Data) {
            Ok(data) => data,
            Err(error) => {
                assert_eq!(*error.kind(), ErrorKind::OutOfRange);
                bytes.len() as u64
            }
        };
        let between = bytes.get(at as usize..data as usize).unwrap();
        assert!(between.iter().all(|&byte| byte == 0), "data in a hole");
        if data >= bytes.len() as u64 {
            break;
        }
        let hole = file::seek(&writer.store, &inode, data, SeekTarget::Hole).unwrap();
        assert!(hole > data);
        at = hole;
    }
}

/// What debugfs reads.
fn debugfs_cat(image: &[u8], name: &str) -> Vec<u8> {
    let place = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(place.path(), image).unwrap();
    let run = Command::new("debugfs")
        .args(["-R", &format!("cat /{name}")])
        .arg(place.path())
        .output()
        .unwrap();
    assert!(run.status.success(), "{run:?}");
    run.stdout
}

fn allocate(
    writer: &Writer,
    number: InodeNumber,
    how: Allocation,
    range: Range<u64>,
) -> Result<()> {
    let len = range.end - range.start;
    file::allocate(writer, number, how, range.start, len, AS_ROOT)
}

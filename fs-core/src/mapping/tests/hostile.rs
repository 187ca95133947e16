//! Damaged trees: an error, whatever is asked of them, and never a panic or a loop.

use std::cell::RefCell;

use proptest::prelude::*;

use super::bench::{Bench, CREDITS, request, single};
use crate::change::Change;
use crate::error::Result;
use crate::format::extent::{self, Node};
use crate::mapping;
use crate::types::{FileBlock, FsBlock, InodeNumber};

/// No checksums, so that damage gets as far as it can.
const OPTIONS: &[&str] = &["-t", "ext4", "-b", "1024", "-O", "^metadata_csum"];
const BLOCK_BYTES: usize = 1024;

type Operation = fn(&mut Change<'_>, InodeNumber) -> Result<()>;

const OPERATIONS: [Operation; 5] = [
    |change, file| {
        let device = change.allocate(request(FsBlock(0), 1))?.start;
        mapping::insert(change, file, single(1, device.0, true))
    },
    |change, file| mapping::remove(change, file, FileBlock(0)..FileBlock(1 << 32)).map(|_| ()),
    |change, file| mapping::convert(change, file, FileBlock(0)..FileBlock(1 << 20), false),
    |change, file| mapping::shift_down(change, file, FileBlock(2), 1).map(|_| ()),
    |change, file| mapping::shift_up(change, file, FileBlock(0)..FileBlock(1 << 32), 9).map(|_| ()),
];

/// An image with a file of 600 extents, and the nodes of its tree, the topmost first.
fn image() -> Option<(Vec<u8>, Vec<usize>)> {
    let mut bench = Bench::new(OPTIONS, "8M")?;
    bench.comb((0..600).map(|block| block * 2), true);
    assert_eq!(bench.depth(), 2);
    let child = |bytes: &[u8]| match extent::view(bytes) {
        Some(Node::Index { entries, .. }) => entries[0].leaf().0 as usize,
        other => panic!("{other:?}"),
    };
    let top = child(bench.inode().block_area());
    let image = bench.fixture.close();
    let leaf = child(&image[top * BLOCK_BYTES..][..BLOCK_BYTES]);
    Some((image, vec![top, leaf]))
}

#[test]
fn a_damaged_node_is_corruption_to_every_operation() {
    let Some((image, nodes)) = image() else {
        return;
    };
    let damage: [fn(&mut [u8], usize); 6] = [
        |node, _| node[0] = 0,
        |node, _| node[2..4].copy_from_slice(&200u16.to_le_bytes()),
        |node, _| node[6] ^= 3,
        // The second entry begins before the first.
        |node, _| node[24..28].fill(0),
        // The first begins behind all others.
        |node, _| node[12..16].fill(0xFF),
        // The node is its own child, or its first extent lies behind the volume's end.
        |node, block| match node[6] {
            0 => node[20..24].fill(0xFF),
            _ => node[16..20].copy_from_slice(&(block as u32).to_le_bytes()),
        },
    ];
    for node in nodes {
        for (which, damage) in damage.iter().enumerate() {
            let mut image = image.clone();
            damage(&mut image[node * BLOCK_BYTES..][..BLOCK_BYTES], node);
            let bench = Bench::reopened(image);
            for (at, operation) in OPERATIONS.iter().enumerate() {
                let error = bench
                    .change(CREDITS * 8, |change| operation(change, bench.file))
                    .expect_err(&format!("damage {which} of {node}, operation {at}"));
                assert!(error.is_corruption(), "{which} {at}: {error}");
            }
        }
    }
}

#[test]
fn a_bad_checksum_is_corruption() {
    let options = &["-t", "ext4", "-b", "1024", "-O", "metadata_csum"];
    let Some(mut bench) = Bench::new(options, "8M") else {
        return;
    };
    bench.comb((0..20).map(|block| block * 2), true);
    let node = match extent::view(bench.inode().block_area()) {
        Some(Node::Index { entries, .. }) => entries[0].leaf().0 as usize,
        other => panic!("{other:?}"),
    };
    let mut image = bench.fixture.close();
    image[node * BLOCK_BYTES + 8] ^= 1;
    let bench = Bench::reopened(image);
    let all = FileBlock(0)..FileBlock(1 << 32);
    let removed = bench.change(CREDITS, |change| mapping::remove(change, bench.file, all));
    assert!(removed.unwrap_err().is_corruption());
}

#[test]
fn random_damage_does_no_more_than_fail() {
    let Some((image, nodes)) = image() else {
        return;
    };
    let image = RefCell::new(image);
    let config = ProptestConfig {
        cases: 40,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let hit = (0..2usize, 0..BLOCK_BYTES, any::<u8>());
    proptest!(config, |(hits in prop::collection::vec(hit, 1..6))| {
        let mut image = image.borrow().clone();
        for (node, at, byte) in hits {
            image[nodes[node] * BLOCK_BYTES + at % 300] = byte;
        }
        let bench = Bench::reopened(image);
        for operation in OPERATIONS {
            for _ in 0..3 {
                let _ = bench.change(CREDITS, |change| operation(change, bench.file));
            }
        }
    });
}

//! Random steps on one file.

use std::sync::OnceLock;

use proptest::prelude::*;

use super::bench::{Bench, CREDITS, fill};
use crate::mapping::{self, Progress};
use crate::testing::Fixture;
use crate::types::FileBlock;

/// File blocks the steps play with.
const SPAN: u64 = 600;

#[derive(Debug, Clone)]
enum Step {
    Fill {
        at: u64,
        len: u64,
        written: bool,
    },
    /// Single blocks with a hole after each.
    Comb {
        at: u64,
        count: u64,
        written: bool,
    },
    Remove {
        at: u64,
        len: u64,
    },
    Convert {
        at: u64,
        len: u64,
        written: bool,
    },
    Collapse {
        at: u64,
        len: u64,
    },
    Insert {
        at: u64,
        len: u64,
    },
    Sync,
    /// Steps that are taken back.
    Undo {
        at: u64,
        len: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let at = 0..SPAN;
    let len = prop_oneof![3 => 1..4u64, 2 => 1..40u64, 1 => 1..SPAN];
    let written = any::<bool>();
    prop_oneof![
        4 => (at.clone(), len.clone(), written).prop_map(|(at, len, written)| Step::Fill { at, len, written }),
        3 => (at.clone(), 1..150u64, written).prop_map(|(at, count, written)| Step::Comb { at, count, written }),
        3 => (at.clone(), len.clone()).prop_map(|(at, len)| Step::Remove { at, len }),
        4 => (at.clone(), len.clone(), written).prop_map(|(at, len, written)| Step::Convert { at, len, written }),
        1 => (at.clone(), 1..9u64).prop_map(|(at, len)| Step::Collapse { at, len }),
        1 => (at.clone(), 1..9u64).prop_map(|(at, len)| Step::Insert { at, len }),
        1 => Just(Step::Sync),
        1 => (at, len).prop_map(|(at, len)| Step::Undo { at, len }),
    ]
}

fn apply(bench: &mut Bench, step: &Step) {
    let has_extents = bench.has_extents();
    match *step {
        Step::Fill { at, len, written } => {
            bench.fill(at..at + len, written || !has_extents).unwrap();
        }
        Step::Comb { at, count, written } => {
            for block in (at..at + 2 * count).step_by(2) {
                bench
                    .fill(block..block + 1, written || !has_extents)
                    .unwrap();
            }
        }
        Step::Remove { at, len } => bench.remove(at..at + len).unwrap(),
        Step::Convert { at, len, written } => {
            if has_extents || written {
                bench.convert(at..at + len, written).unwrap();
            }
        }
        Step::Collapse { at, len } if has_extents => bench.collapse(at + len, len).unwrap(),
        Step::Insert { at, len } if has_extents => bench.open_gap(at, len).unwrap(),
        Step::Collapse { .. } | Step::Insert { .. } => {}
        Step::Sync => bench.fixture.writer.sync().unwrap(),
        Step::Undo { at, len } => undo(bench, at, len),
    }
    bench.check();
}

/// Removes, converts, shifts and fills, and drops the change.
fn undo(bench: &Bench, at: u64, len: u64) {
    let free = bench.free();
    let blocks = bench.inode().blocks_512();
    let mut model = bench.model.clone();
    let mut change = bench.fixture.writer.begin(CREDITS * 8).unwrap();
    let range = FileBlock(at)..FileBlock(at + len);
    if bench.has_extents() {
        mapping::convert(&mut change, bench.file, range.clone(), false).unwrap();
        let all = FileBlock(at)..FileBlock(mapping::FILE_BLOCKS_MAX);
        mapping::shift_up(&mut change, bench.file, all, 0).unwrap();
    }
    if mapping::remove(&mut change, bench.file, range).unwrap() == Progress::Done {
        model.retain(|block, _| !(at..at + len).contains(block));
        fill(&mut change, bench.file, &mut model, at..at + 30, true).unwrap();
    }
    drop(change);
    assert_eq!(bench.free(), free);
    assert_eq!(bench.inode().blocks_512(), blocks);
}

/// Runs random steps on volumes made with these options.
fn run(options: &'static [&'static str], image: &'static OnceLock<Option<Vec<u8>>>) {
    let made = image.get_or_init(|| {
        let fixture = Fixture::filled(options, "12M", |tree| {
            std::fs::write(tree.join("file"), "").unwrap();
            std::fs::write(tree.join("other"), "").unwrap();
        })?;
        Some(fixture.close())
    });
    let Some(made) = made else {
        return;
    };
    let config = ProptestConfig {
        cases: 10,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(config, |(steps in prop::collection::vec(step(), 1..24))| {
        let mut bench = Bench::of(Fixture::of(made.clone()));
        for step in &steps {
            apply(&mut bench, step);
        }
        bench.close();
    });
}

#[test]
fn an_extent_tree_with_checksums_is_the_model() {
    static IMAGE: OnceLock<Option<Vec<u8>>> = OnceLock::new();
    run(
        &["-t", "ext4", "-b", "1024", "-O", "metadata_csum,64bit"],
        &IMAGE,
    );
}

#[test]
fn an_extent_tree_without_checksums_is_the_model() {
    static IMAGE: OnceLock<Option<Vec<u8>>> = OnceLock::new();
    let options = &[
        "-t",
        "ext4",
        "-b",
        "1024",
        "-O",
        "^metadata_csum,^64bit,^has_journal",
    ];
    run(options, &IMAGE);
}

#[test]
fn an_extent_tree_in_large_blocks_is_the_model() {
    static IMAGE: OnceLock<Option<Vec<u8>>> = OnceLock::new();
    run(&["-t", "ext4", "-b", "4096"], &IMAGE);
}

#[test]
fn indirect_blocks_are_the_model() {
    static IMAGE: OnceLock<Option<Vec<u8>>> = OnceLock::new();
    run(&["-t", "ext3", "-b", "1024"], &IMAGE);
}

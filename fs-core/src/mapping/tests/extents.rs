//! Extent trees: growth, shrinking, moving, exchanging, running out of space.

use super::bench::{Bench, CREDITS, named, request, runs, single};
use crate::error::ErrorKind;
use crate::mapping::{self, Progress};
use crate::run::{MappedExtent, hole};
use crate::types::{FileBlock, FsBlock};

const SMALL_BLOCKS: &[&str] = &["-t", "ext4", "-b", "1024"];
/// Entries a block of 1 KiB has room for.
const CAPACITY: u64 = 84;

fn kind<T: std::fmt::Debug>(result: crate::Result<T>) -> ErrorKind {
    result.unwrap_err().kind().clone()
}

#[test]
fn a_deep_tree_is_built_backwards_and_removed_in_steps() {
    let Some(mut bench) = Bench::new(SMALL_BLOCKS, "24M") else {
        return;
    };
    let free = bench.free();
    bench.comb((0..9_800).rev().map(|block| block * 2), true);
    assert_eq!(bench.depth(), 3);
    bench.check();
    bench.remove(5001..7003).unwrap();
    bench.check();
    bench.remove(100..1 << 32).unwrap();
    bench.check();
    bench.remove(0..1 << 32).unwrap();
    assert_eq!(bench.depth(), 0);
    assert_eq!(bench.inode().blocks_512(), 0);
    assert_eq!(bench.free(), free);
    bench.close();
}

#[test]
fn growth_at_the_end_leaves_full_nodes_behind() {
    let Some(mut bench) = Bench::new(SMALL_BLOCKS, "24M") else {
        return;
    };
    // 5 leaves would fit the root's 4 entries not, so there is one index node.
    let leaves = 5;
    bench.comb((0..leaves * CAPACITY).map(|block| block * 2), true);
    assert_eq!(bench.depth(), 2);
    assert_eq!(bench.node_blocks(), leaves + 1);
    bench.close();
}

#[test]
fn random_writes_into_unwritten_blocks_become_one_extent() {
    const LEN: u64 = 2000;
    let Some(mut bench) = Bench::new(SMALL_BLOCKS, "24M") else {
        return;
    };
    bench.fill(0..LEN, false).unwrap();
    for step in 0..LEN {
        // 1201 has no divisor in common with the length: each block once.
        let block = step * 1201 % LEN;
        bench.convert(block..block + 1, true).unwrap();
        if step == LEN / 2 {
            assert!(bench.depth() >= 2);
            bench.check();
        }
    }
    assert_eq!((bench.depth(), bench.node_blocks()), (0, 0));
    bench.close();
}

#[test]
fn large_trees_move_in_steps() {
    let Some(mut bench) = Bench::new(SMALL_BLOCKS, "24M") else {
        return;
    };
    bench.comb((0..4000).map(|block| block * 2), true);
    bench.fill(8000..8100, false).unwrap();
    bench.fixture.writer.sync().unwrap();
    let mut change = bench.fixture.writer.begin(CREDITS).unwrap();
    let all = FileBlock(1000)..FileBlock(1 << 32);
    let progress = mapping::shift_up(&mut change, bench.file, all, 5).unwrap();
    assert!(
        matches!(progress, Progress::Until(_)),
        "one step was enough"
    );
    drop(change);
    bench.check();
    for at in [8050, 1001, 0] {
        bench.open_gap(at, 5).unwrap();
        bench.check();
        bench.collapse(at + 3, 3).unwrap();
        bench.check();
    }
    bench.close();
}

#[test]
fn what_cannot_be_mapped_is_refused() {
    let Some(mut bench) = Bench::new(SMALL_BLOCKS, "24M") else {
        return;
    };
    bench.fill(10..20, true).unwrap();
    let (file, mapped) = (bench.file, bench.runs()[0]);
    let insert = |run: MappedExtent| {
        kind(bench.change(CREDITS, |change| mapping::insert(change, file, run)))
    };
    for (file_block, len_blocks) in [(19, 1), (5, 6), (12, 2), (0, 100)] {
        let run = MappedExtent {
            file_block: FileBlock(file_block),
            len_blocks,
            ..mapped
        };
        assert!(matches!(insert(run), ErrorKind::InvalidInput(_)));
    }
    for run in [hole(FileBlock(30), 1), single(30, 1 << 40, true)] {
        assert!(matches!(insert(run), ErrorKind::InvalidInput(_)));
    }
    let last = single((1 << 32) - 1, 100, true);
    assert_eq!(insert(last), ErrorKind::FileTooLarge);
    let far = bench.change(CREDITS, |change| {
        let all = FileBlock(0)..FileBlock(1 << 32);
        mapping::shift_up(change, file, all, 1 << 32)
    });
    assert_eq!(kind(far), ErrorKind::FileTooLarge);
    let over = bench.change(CREDITS, |change| {
        mapping::shift_down(change, file, FileBlock(15), 1)
    });
    assert!(matches!(kind(over), ErrorKind::InvalidInput(_)));
    bench.close();
}

#[test]
fn the_last_block_of_all_can_be_mapped() {
    let Some(bench) = Bench::new(&["-t", "ext4", "-b", "1024"], "24M") else {
        return;
    };
    let last = (1u64 << 32) - 2;
    let file = bench.file;
    let run = bench.change(CREDITS, |change| {
        let device = change.allocate(request(FsBlock(0), 1))?.start;
        let run = single(last, device.0, true);
        mapping::insert(change, file, run)?;
        change.edit_inode(file, |edit| edit.set_size((last + 1) << 10))?;
        Ok(run)
    });
    assert_eq!(bench.runs(), [run.unwrap()]);
    bench.fixture.close();
}

#[test]
fn a_full_volume_undoes_what_failed_and_converts_what_was_promised() {
    let Some(mut bench) = Bench::new(SMALL_BLOCKS, "6M") else {
        return;
    };
    let mut end = 0;
    for len in [400, 20, 1] {
        while bench.fill(end..end + len, false).is_ok() {
            end += len;
        }
        bench.check();
    }
    let free = bench.free();
    let failed = bench.fill(end..end + 1, true);
    assert_eq!(kind(failed), ErrorKind::NoSpace);
    assert_eq!(bench.free(), free);
    for block in (0..600).step_by(2) {
        bench.convert(block..block + 1, true).unwrap();
    }
    assert!(bench.depth() >= 1);
    bench.close();
}

#[test]
fn files_exchange_what_they_map() {
    let Some(mut bench) = Bench::new(SMALL_BLOCKS, "24M") else {
        return;
    };
    bench.comb((0..300).map(|block| block * 2), true);
    bench.fill(700..800, false).unwrap();
    let other = named(&bench.fixture, b"/other");
    let before = bench.runs();
    let (mut at, end) = (0, 900);
    let mut steps = 0;
    while let Progress::Until(next) = bench
        .change(CREDITS * 2, |change| {
            let (from, to) = (FileBlock(at), FileBlock(5000 + at));
            mapping::swap(change, bench.file, from, other, to, end - at)
        })
        .unwrap()
    {
        assert!(next.0 > at);
        at = next.0;
        steps += 1;
    }
    assert!(steps > 0, "one step was enough");
    let moved = before.iter().map(|run| MappedExtent {
        file_block: FileBlock(run.file_block.0 + 5000),
        ..*run
    });
    assert_eq!(runs(&bench.fixture, other), moved.collect::<Vec<_>>());
    assert_eq!(bench.runs(), []);
    assert_eq!(bench.inode().blocks_512(), 0);
    let overlap = bench.change(CREDITS, |change| {
        mapping::swap(change, other, FileBlock(0), other, FileBlock(5), 6)
    });
    assert!(matches!(kind(overlap), ErrorKind::InvalidInput(_)));
    bench.fixture.close();
}

#[test]
fn what_a_dropped_change_freed_is_written_when_it_changes_again() {
    let Some(mut bench) = Bench::new(SMALL_BLOCKS, "24M") else {
        return;
    };
    bench.comb((0..100).map(|block| block * 2), true);
    bench.fixture.writer.sync().unwrap();
    let mut change = bench.fixture.writer.begin(CREDITS).unwrap();
    let all = FileBlock(0)..FileBlock(1 << 32);
    mapping::remove(&mut change, bench.file, all).unwrap();
    drop(change);
    bench.check();
    bench.remove(50..60).unwrap();
    bench.fixture.writer.sync().unwrap();
    bench.close();
}

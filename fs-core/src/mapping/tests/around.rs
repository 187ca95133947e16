//! The run around a block: the same wherever in it one looks.

use super::bench::{Bench, runs};
use crate::MappingView;
use crate::mapping::FILE_BLOCKS_MAX;
use crate::run::hole;
use crate::types::FileBlock;

fn check(options: &[&str]) {
    let Some(mut bench) = Bench::new(options, "24M") else {
        return;
    };
    let is_mapped = |block: u64| block % 7 > 1 && block % 100 > 20 || block > 2900;
    bench.comb((5..3000).rev().filter(|&block| is_mapped(block)), true);
    let mut expected = Vec::new();
    let mut at = FileBlock(0);
    for run in runs(&bench.fixture, bench.file) {
        if at < run.file_block {
            expected.push(hole(at, run.file_block.0 - at.0));
        }
        at = run.end();
        expected.push(run);
    }
    expected.push(hole(at, FILE_BLOCKS_MAX - at.0));
    let inode = bench.inode();
    let writer = &bench.fixture.writer;
    let view = MappingView::new(&writer.store, Some(&writer.space), &inode);
    for run in expected {
        let last = run.end().0 - 1;
        for block in [run.file_block.0, run.file_block.0.midpoint(last), last] {
            assert_eq!(view.around(FileBlock(block)).unwrap(), run, "{block}");
        }
    }
}

#[test]
fn a_run_is_whole_wherever_one_looks() {
    check(&["-t", "ext4", "-b", "1024"]);
    check(&["-t", "ext2", "-b", "1024"]);
}

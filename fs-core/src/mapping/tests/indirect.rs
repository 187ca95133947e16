//! Maps of ext2 and ext3: all four kinds of rows, and what they cannot do.

use super::bench::{Bench, CREDITS};
use crate::error::ErrorKind;
use crate::mapping;
use crate::types::FileBlock;

/// First file blocks of the rows, with 1 KiB blocks.
const ROWS: [u64; 4] = [0, 12, 12 + 256, 12 + 256 + 65_536];

#[test]
fn every_kind_of_row_is_mapped_and_removed() {
    for options in [
        &["-t", "ext2", "-b", "1024"][..],
        &["-t", "ext3", "-b", "1024"],
        &[
            "-t",
            "ext4",
            "-b",
            "1024",
            "-O",
            "^extents,^64bit,metadata_csum",
        ],
    ] {
        let Some(mut bench) = Bench::new(options, "24M") else {
            return;
        };
        let free = bench.free();
        for row in ROWS {
            bench.fill(row + 5..row + 7, true).unwrap();
            bench.fill(row + 300..row + 900, true).unwrap();
        }
        bench.fill(200_000..200_100, true).unwrap();
        bench.check();
        bench.remove(8..ROWS[3] + 310).unwrap();
        bench.check();
        bench.remove(ROWS[3]..300_000).unwrap();
        bench.check();
        assert_eq!(bench.model.len(), 2);
        assert_eq!(bench.node_blocks(), 0);
        bench.remove(0..1 << 32).unwrap();
        assert_eq!(bench.free(), free);
        bench.close();
    }
}

#[test]
fn what_only_extents_can_is_refused() {
    let Some(mut bench) = Bench::new(&["-t", "ext3", "-b", "1024"], "24M") else {
        return;
    };
    let file = bench.file;
    let refused = |result: crate::Result<()>| {
        assert!(matches!(
            result.unwrap_err().kind(),
            ErrorKind::NotSupported(_)
        ));
    };
    refused(bench.fill(0..1, false));
    bench.fill(0..3, true).unwrap();
    bench.convert(0..3, true).unwrap();
    let range = FileBlock(0)..FileBlock(3);
    refused(bench.change(CREDITS, |change| {
        mapping::convert(change, file, range.clone(), false)
    }));
    refused(bench.change(CREDITS, |change| {
        mapping::shift_up(change, file, range.clone(), 1).map(|_| ())
    }));
    bench.close();
}

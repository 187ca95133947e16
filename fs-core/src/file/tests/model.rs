//! Random changes of two files against vectors of bytes; e2fsck and debugfs judge the end.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::*;
use crate::format::inode_flags::InodeFlags;

/// Numbers are scaled to the test's block size when an operation is done.
#[derive(Debug, Clone)]
enum Op {
    Write {
        offset: u64,
        len: usize,
        seed: u64,
    },
    Truncate {
        size: u64,
    },
    Fallocate {
        how: Allocation,
        offset: u64,
        len: u64,
    },
    Swap {
        a_block: u64,
        b_block: u64,
        blocks: u64,
    },
    Sync,
}

/// Offsets and lengths: whole blocks half of the time, small ones often.
fn distance(max: u64) -> impl Strategy<Value = u64> {
    prop_oneof![
        (0..=max / 1024).prop_map(|blocks| blocks * 1024),
        (0..=max / 4096).prop_map(|blocks| blocks * 4096),
        0..=max,
        0..=300u64,
    ]
}

fn how() -> impl Strategy<Value = Allocation> {
    prop_oneof![
        any::<bool>().prop_map(|keep_size| Allocation::Allocate { keep_size }),
        Just(Allocation::PunchHole),
        any::<bool>().prop_map(|keep_size| Allocation::ZeroRange { keep_size }),
        Just(Allocation::CollapseRange),
        Just(Allocation::InsertRange),
        Just(Allocation::UnshareRange),
    ]
}

fn op(max: u64) -> impl Strategy<Value = (usize, Op)> {
    let write = (distance(max), distance(max / 4), any::<u64>()).prop_map(|(offset, len, seed)| {
        Op::Write {
            offset,
            len: len as usize,
            seed: seed % 1000,
        }
    });
    let fallocate = (how(), distance(max), distance(max / 2))
        .prop_map(|(how, offset, len)| Op::Fallocate { how, offset, len });
    let blocks = || 0..=max / 8192;
    let swap = (blocks(), blocks(), blocks()).prop_map(|(a_block, b_block, blocks)| Op::Swap {
        a_block,
        b_block,
        blocks,
    });
    let op = prop_oneof![
        6 => write,
        2 => distance(max).prop_map(|size| Op::Truncate { size }),
        6 => fallocate,
        1 => swap,
        1 => Just(Op::Sync),
    ];
    (0..2usize, op)
}

struct Run {
    fixture: Fixture,
    files: [InodeNumber; 2],
    models: [Vec<u8>; 2],
}

impl Run {
    fn new(image: &[u8]) -> Self {
        let fixture = Fixture::of(image.to_vec());
        let files = [b"a", b"b"].map(|name| named(&fixture.writer, name));
        Self {
            fixture,
            files,
            models: [Vec::new(), Vec::new()],
        }
    }

    fn step(&mut self, which: usize, op: &Op) {
        let number = self.files[which];
        match op {
            Op::Write { offset, len, seed } => self.write(which, *offset, *len, *seed),
            Op::Truncate { size } => {
                file::truncate(&self.fixture.writer, number, *size, AS_ROOT).unwrap_or_else(
                    |error| {
                        assert_eq!(*error.kind(), ErrorKind::NoSpace); // From inline to blocks.
                        let old = self.models[which].len() as u64;
                        assert!(*size > old);
                    },
                );
                if inode(&self.fixture.writer, number).size_bytes() == *size {
                    self.models[which].resize(*size as usize, 0);
                }
            }
            Op::Fallocate { how, offset, len } => self.fallocate(which, *how, *offset, *len),
            Op::Swap {
                a_block,
                b_block,
                blocks,
            } => self.swap(*a_block, *b_block, *blocks),
            Op::Sync => self.fixture.writer.sync().unwrap(),
        }
        for (number, model) in self.files.iter().zip(&self.models) {
            let found = content(&self.fixture.writer, *number);
            assert_eq!(found.len(), model.len(), "size after {op:?} of {which}");
            let differs = found.iter().zip(model).position(|(a, b)| a != b);
            assert_eq!(
                differs, None,
                "after {op:?} of file {which}, inode {number}"
            );
            check_seek(&self.fixture.writer, *number, model);
        }
    }

    fn write(&mut self, which: usize, offset: u64, len: usize, seed: u64) {
        let data = pattern(len, seed);
        let model = &mut self.models[which];
        match file::write(
            &self.fixture.writer,
            self.files[which],
            &data,
            offset,
            AS_ROOT,
        ) {
            Ok(done) => {
                assert!(done <= len && (done > 0 || len == 0));
                let end = offset as usize + done;
                if done > 0 {
                    model.resize(model.len().max(end), 0);
                    model[offset as usize..end].copy_from_slice(&data[..done]);
                }
            }
            Err(error) => assert_eq!(*error.kind(), ErrorKind::NoSpace),
        }
    }

    fn fallocate(&mut self, which: usize, how: Allocation, offset: u64, len: u64) {
        let number = self.files[which];
        let writer = &self.fixture.writer;
        let block = u64::from(writer.store.superblock.block_bytes);
        let result = file::allocate(writer, number, how, offset, len, AS_ROOT);
        let inode = inode(writer, number);
        let size = self.models[which].len() as u64;
        let is_inside = match how {
            Allocation::CollapseRange => offset + len < size,
            Allocation::InsertRange => offset < size,
            _ => true,
        };
        let is_whole = offset.is_multiple_of(block) && len.is_multiple_of(block);
        let must_be_whole = matches!(how, Allocation::CollapseRange | Allocation::InsertRange);
        if let Err(error) = result {
            match error.kind() {
                ErrorKind::NotSupported(_) => {
                    assert!(!inode.flags().contains(InodeFlags::EXTENTS));
                    assert!(how != Allocation::PunchHole);
                }
                ErrorKind::InvalidInput(_) => {
                    assert!(len == 0 || must_be_whole && !(is_whole && is_inside));
                }
                ErrorKind::NoSpace => self.after_no_space(which, how, offset..offset + len),
                other => panic!("{other:?}"),
            }
            return;
        }
        assert!(len > 0 && (!must_be_whole || is_whole && is_inside));
        let model = &mut self.models[which];
        let (start, end) = (offset as usize, (offset + len) as usize);
        match how {
            Allocation::Allocate { keep_size: false } => model.resize(model.len().max(end), 0),
            Allocation::Allocate { keep_size: true } | Allocation::UnshareRange => {}
            Allocation::PunchHole | Allocation::ZeroRange { .. } => {
                if how == (Allocation::ZeroRange { keep_size: false }) {
                    model.resize(model.len().max(end), 0);
                }
                let (start, end) = (start.min(model.len()), end.min(model.len()));
                model[start..end].fill(0);
            }
            Allocation::CollapseRange => drop(model.drain(start..end)),
            Allocation::InsertRange => drop(model.splice(start..start, vec![0; len as usize])),
        }
    }

    /// What a failure may leave: some of the size, or zeros in a range, no more.
    fn after_no_space(&mut self, which: usize, how: Allocation, range: std::ops::Range<u64>) {
        let found = content(&self.fixture.writer, self.files[which]);
        let model = &mut self.models[which];
        match how {
            Allocation::Allocate { keep_size: false } => {
                assert!((model.len()..=model.len().max(range.end as usize)).contains(&found.len()));
                model.resize(found.len(), 0);
            }
            Allocation::ZeroRange { .. } | Allocation::PunchHole => {
                assert_eq!(found.len(), model.len());
                for at in range.start as usize..(range.end as usize).min(model.len()) {
                    assert!(found[at] == 0 || found[at] == model[at]);
                    model[at] = found[at];
                }
            }
            _ => {}
        }
    }

    fn swap(&mut self, a_block: u64, b_block: u64, blocks: u64) {
        let writer = &self.fixture.writer;
        let block = u64::from(writer.store.superblock.block_bytes);
        let (a, b) = (a_block * block, b_block * block);
        let [a_file, b_file] = self.files;
        let result = file::swap_extents(writer, a_file, a, b_file, b, blocks * block);
        let room = |model: &Vec<u8>, start: u64| {
            (model.len() as u64).div_ceil(block).saturating_sub(start)
        };
        let blocks = blocks
            .min(room(&self.models[0], a_block))
            .min(room(&self.models[1], b_block));
        if let Err(error) = result {
            match error.kind() {
                ErrorKind::NotSupported(_) | ErrorKind::NoSpace => {}
                ErrorKind::InvalidInput(_) => assert_eq!(blocks, 0),
                other => panic!("{other:?}"),
            }
            return;
        }
        let sizes = [self.models[0].len(), self.models[1].len()];
        let padded = |size: usize| size.next_multiple_of(block as usize);
        let [first, second] = &mut self.models;
        first.resize(padded(sizes[0]), 0);
        second.resize(padded(sizes[1]), 0);
        let len = (blocks * block) as usize;
        let (a, b) = (a as usize, b as usize);
        first[a..a + len].swap_with_slice(&mut second[b..b + len]);
        first.truncate(sizes[0]);
        second.truncate(sizes[1]);
    }

    fn finish(self) {
        let writer = &self.fixture.writer;
        let are_inline = self.files.map(|file| inode(writer, file).has_inline_data());
        let image = self.fixture.close();
        for (which, name) in ["a", "b"].into_iter().enumerate() {
            let (mut found, model) = (debugfs_cat(&image, name), &self.models[which]);
            if are_inline[which] {
                // debugfs 1.47.0 shows the room for inline content whatever the size is.
                let behind = found.split_off(model.len());
                assert!(
                    behind.iter().all(|&byte| byte == 0),
                    "behind the end of {name}"
                );
            }
            assert!(found == *model, "debugfs reads {name} otherwise");
        }
    }
}

/// `EXTMAP_FILE_CASES` more thorough runs.
fn cases() -> u32 {
    let given = std::env::var("EXTMAP_FILE_CASES").ok();
    given.and_then(|cases| cases.parse().ok()).unwrap_or(3)
}

fn run(options: &[&str], size: &str, max: u64) {
    let Some(image) = stale_image(options, size) else {
        return;
    };
    let config = Config {
        cases: cases(),
        failure_persistence: None,
        max_shrink_iters: 400,
        ..Config::default()
    };
    let seed = std::env::var("EXTMAP_FILE_SEED").map_or(1, |seed| seed.parse().unwrap());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let strategy = prop::collection::vec(op(max), 1..60);
    TestRunner::new_with_rng(config, rng)
        .run(&strategy, |ops| {
            let mut run = Run::new(&image);
            for (which, op) in &ops {
                run.step(*which, op);
            }
            run.finish();
            Ok(())
        })
        .unwrap();
}

#[test]
fn extents_in_blocks_of_4096() {
    run(
        &["-t", "ext4", "-b", "4096", "-J", "size=4"],
        "10M",
        600_000,
    );
}

#[test]
fn extents_in_blocks_of_1024() {
    run(&["-t", "ext4", "-b", "1024", "-J", "size=1"], "4M", 150_000);
}

#[test]
fn extents_where_space_is_short() {
    run(
        &["-t", "ext4", "-b", "1024", "-J", "size=1"],
        "4M",
        3_000_000,
    );
}

#[test]
fn extents_without_a_journal() {
    run(
        &["-t", "ext4", "-b", "1024", "-O", "^has_journal"],
        "3M",
        400_000,
    );
}

#[test]
fn indirect_blocks_of_1024() {
    run(&["-t", "ext3", "-b", "1024", "-J", "size=1"], "4M", 400_000);
}

#[test]
fn indirect_blocks_where_space_is_short() {
    run(&["-t", "ext2", "-b", "1024"], "3M", 1_500_000);
}

#[test]
fn indirect_blocks_of_4096() {
    run(&["-t", "ext2", "-b", "4096"], "6M", 600_000);
}

#[test]
fn inline_data() {
    let options = [
        "-t",
        "ext4",
        "-b",
        "1024",
        "-J",
        "size=1",
        "-I",
        "256",
        "-O",
        "inline_data",
    ];
    run(&options, "4M", 2_000);
}

#[test]
fn inline_data_in_large_inodes() {
    let options = [
        "-t",
        "ext4",
        "-b",
        "4096",
        "-J",
        "size=4",
        "-I",
        "1024",
        "-O",
        "inline_data",
    ];
    run(&options, "10M", 20_000);
}

//! Volumes of all shapes: what is taken and given back leaves nothing behind, what stays
//! taken is what dumpe2fs sees.

use super::*;

/// Options of mke2fs and a size.
const SHAPES: [(&[&str], &str); 14] = [
    (&["-t", "ext4", "-b", "1024"], "24M"),
    (&["-t", "ext4", "-b", "4096", "-g", "2048"], "24M"),
    (&["-t", "ext4", "-b", "65536", "-O", "^has_journal"], "48M"),
    (
        &["-t", "ext4", "-b", "1024", "-O", "meta_bg,^resize_inode"],
        "33M",
    ),
    (&["-t", "ext4", "-b", "1024", "-O", "^flex_bg"], "24M"),
    (&["-t", "ext4", "-b", "1024", "-O", "sparse_super2"], "24M"),
    (&["-t", "ext4", "-b", "1024", "-O", "^resize_inode"], "24M"),
    (
        &["-t", "ext4", "-b", "1024", "-O", "^metadata_csum,uninit_bg"],
        "24M",
    ),
    (&["-t", "ext4", "-b", "1024", "-O", "^64bit"], "24M"),
    (
        &[
            "-t",
            "ext4",
            "-b",
            "1024",
            "-O",
            "^metadata_csum,^uninit_bg",
        ],
        "24M",
    ),
    (&["-t", "ext4", "-b", "1024", "-N", "64"], "24M"),
    (
        &["-t", "ext4", "-b", "2048", "-g", "1024", "-I", "128"],
        "23M",
    ),
    (&["-t", "ext3"], "24M"),
    (
        &[
            "-t",
            "ext2",
            "-b",
            "1024",
            "-O",
            "^sparse_super,^resize_inode",
        ],
        "24M",
    ),
];

fn each_shape(test: impl Fn(&[&str], Fixture)) {
    for (options, size) in SHAPES {
        let Some(fixture) = Fixture::new(options, size) else {
            return;
        };
        test(options, fixture);
    }
}

#[test]
fn everything_can_be_taken_and_given_back() {
    each_shape(|options, fixture| {
        let writer = &fixture.writer;
        let before = writer.space.counts();
        blocks_of_the_format_cannot_be_freed(options, writer);
        let mut runs = Vec::new();
        while writer.space.counts().blocks > 0 {
            let len = writer.space.counts().blocks;
            runs.push(changed(writer, |change| change.allocate(metadata(0, len))));
        }
        assert!(runs.len() < 100, "{options:?}: {} runs", runs.len());
        let mut inodes = Vec::new();
        for number in 0..before.inodes {
            let file_type = match number % 5 {
                0 => FileType::Directory,
                _ => FileType::Regular,
            };
            let request = child_of(2, file_type);
            let inode = changed(writer, |change| change.allocate_inode(request));
            inodes.push((inode, file_type == FileType::Directory));
        }
        commit(writer);
        let mut change = writer.begin(64).unwrap();
        change.allocate(metadata(0, 1)).unwrap_err();
        change
            .allocate_inode(child_of(2, FileType::Regular))
            .unwrap_err();
        drop(change);
        for run in runs {
            changed(writer, |change| change.free_data(run));
        }
        for (inode, is_directory) in inodes {
            changed(writer, |change| change.free_inode(inode, is_directory));
        }
        assert_eq!(writer.space.counts(), before, "{options:?}");
        fixture.close();
    });
}

#[test]
fn what_is_taken_is_in_use_on_the_device() {
    each_shape(|options, fixture| {
        let writer = &fixture.writer;
        close_writer(writer).unwrap();
        let mut expected = dumped(&fixture.image());
        let blocks = writer.store.superblock.blocks_count;
        let mut dice = Dice(7);
        for number in 0..200 {
            let goal = dice.below(blocks);
            let mut change = writer.begin(64).unwrap();
            let Ok(run) = change.allocate(metadata(goal, 1 + goal % 50)) else {
                break;
            };
            change.finish();
            for block in run.start.0..run.start.0 + run.len_blocks {
                assert!(expected.blocks.remove(&block), "{options:?}: {block}");
            }
            let file_type = match number % 3 {
                0 => FileType::Directory,
                _ => FileType::Regular,
            };
            let mut change = writer.begin(64).unwrap();
            let Ok(inode) = change.allocate_inode(child_of(2, file_type)) else {
                continue;
            };
            change.finish();
            assert!(expected.inodes.remove(&inode.0.into()), "{options:?}");
            expected.directories += u64::from(number % 3 == 0);
        }
        expected.sums = (expected.blocks.len() as u64, expected.inodes.len() as u64);
        assert_eq!(dumped(&closed(fixture)), expected, "{options:?}");
    });
}

fn blocks_of_the_format_cannot_be_freed(options: &[&str], writer: &Writer) {
    let store = &writer.store;
    let mut places = vec![run(store.superblock.first_data_block.into(), 1)];
    for number in 0..store.superblock.group_count {
        let group = store.group(crate::types::GroupNumber(number)).unwrap();
        places.push(run(group.block_bitmap.0, 1));
        places.push(run(group.inode_bitmap.0 - 1, 2));
        places.push(run(group.inode_table.0 + 1, 1));
    }
    places.push(run(store.superblock.blocks_count - 1, 2));
    places.push(run(u64::MAX, u64::MAX));
    places.push(run(5, 0));
    for place in places {
        let mut change = writer.begin(64).unwrap();
        let error = change.free_data(place).unwrap_err();
        assert!(error.is_corruption(), "{options:?} {place:?}: {error}");
    }
}

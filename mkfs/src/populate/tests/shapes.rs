//! Large directories and files of many pieces.

use super::host::Host;
use super::kernel;
use super::trees::{Item, Sources, attributes, directory, many_names, tree};

fn judge(options: &str, size: &str, make: impl FnOnce(&Sources) -> Item) -> Option<Host> {
    if !skipping::have_programs(&["mke2fs", "e2fsck", "debugfs"]) {
        return None;
    }
    let scratch = tempfile::tempdir().expect("a directory");
    let host = Host::new(scratch.path(), options, size);
    let tree = tree(make(&Sources::new(scratch.path())));
    host.put(&tree, 2).expect("it fits");
    host.check();
    kernel::compare(&host, &tree);
    Some(host)
}

#[test]
fn many_names_in_two_index_levels() {
    judge("-t ext4 -b 1024", "64M", |_| {
        directory(vec![("many", many_names(200_000, 6))])
    });
}

#[test]
fn many_long_names_need_two_index_levels_more() {
    judge("-t ext4 -b 1024 -O large_dir", "128M", |_| {
        directory(vec![("many", many_names(60_000, 255))])
    });
}

#[test]
fn every_hash_version() {
    if !skipping::have_programs(&["mke2fs", "e2fsck", "debugfs"]) {
        return;
    }
    for (algorithm, signedness) in [("legacy", 1), ("half_md4", 2), ("tea", 1), ("tea", 2)] {
        let scratch = tempfile::tempdir().expect("a directory");
        let options = "-t ext4 -b 1024";
        let host = Host::hashed(scratch.path(), options, "32M", algorithm, signedness);
        let names = (0..3000).map(|number| {
            let item = super::trees::other(crate::NodeKind::Fifo);
            let name = format!("n\u{e4}me{number}").into_bytes();
            (name, Item::Named("x", Box::new(item)))
        });
        let names = Item::Directory(names.collect(), attributes(0o755));
        let tree = tree(directory(vec![("names", names)]));
        host.put(&tree, 1).expect("it fits");
        host.check();
        kernel::compare(&host, &tree);
    }
}

#[test]
fn a_lost_and_found_of_the_source() {
    for (options, count) in [("-t ext4 -b 1024", 10), ("-t ext4 -b 1024", 3000)] {
        judge(options, "32M", |_| {
            directory(vec![("lost+found", many_names(count, 8))])
        });
    }
}

/// Data in every second block, so often.
fn pieces(count: u64, block_bytes: u64) -> Vec<(u64, u64)> {
    (0..count)
        .map(|at| (at * 2 * block_bytes, block_bytes))
        .collect()
}

#[test]
fn extent_trees_of_two_levels() {
    judge("-t ext4 -b 1024", "64M", |sources| {
        let data = pieces(84 * 4 + 50, 1024);
        directory(vec![
            ("five", sources.sparse(20_000, &pieces(5, 1024))),
            ("deep", sources.sparse(1 << 20, &data)),
        ])
    });
}

#[test]
fn sparse_files_through_all_three_trees() {
    let data = |block: u64| {
        let per_block = block / 4;
        let ends = [
            12,
            12 + per_block,
            12 + per_block + per_block.pow(2),
            12 + per_block + 3 * per_block.pow(2),
        ];
        let mut data = vec![(0, 100)];
        data.extend(ends.iter().map(|end| ((end - 1) * block, 2 * block)));
        data
    };
    judge("-t ext2 -b 1024", "64M", |sources| {
        let ranges = data(1024);
        let size = ranges.last().map_or(0, |(at, len)| at + len + 500);
        directory(vec![
            ("sparse", sources.sparse(size, &ranges)),
            ("whole", sources.file(20 << 20)),
        ])
    });
    judge("-t ext3 -b 4096", "64M", |sources| {
        let ranges = data(4096);
        let size = ranges.last().map_or(0, |(at, len)| at + len);
        directory(vec![("sparse", sources.sparse(size, &ranges))])
    });
}

#[test]
fn a_file_as_large_as_a_group_lies_in_pieces() {
    judge("-t ext4 -b 1024 -O ^flex_bg", "96M", |sources| {
        directory(vec![
            ("large", sources.file(50 << 20)),
            ("small", sources.file(3)),
        ])
    });
}

#[test]
fn members_of_an_archive() {
    let scratch = tempfile::tempdir().expect("a directory");
    let archive = scratch.path().join("archive");
    judge("-t ext4 -b 4096", "32M", |_| {
        let members = super::trees::members(
            &archive,
            &[
                (512, &[(0, 100)], 100),
                (1024, &[(0, 2 << 20)], 2 << 20),
                // Old archivers' sparse files: pieces at any byte, in one block too.
                (
                    7,
                    &[(10, 20), (100, 1), (5000, 3000), (1_500_000, 1_200_000)],
                    3_000_000,
                ),
            ],
        );
        let names = ["small", "large", "sparse"];
        directory(names.into_iter().zip(members).collect())
    });
}

#[test]
fn names_of_equal_hash_on_both_sides_of_a_border() {
    if !skipping::have_programs(&["mke2fs", "e2fsck", "debugfs"]) {
        return;
    }
    let scratch = tempfile::tempdir().expect("a directory");
    let host = Host::new(scratch.path(), "-t ext4 -b 1024", "32M");
    let hasher = fs_core::encode::name_hasher(&host.superblock).expect("a hash");
    // Among so many names some have equal hashes; leaves hold three of them.
    let mut by_hash = std::collections::BTreeMap::new();
    for number in 0..400_000 {
        let name = format!("{number:a>255}").into_bytes();
        by_hash
            .entry(hasher.hash(&name))
            .or_insert_with(Vec::new)
            .push(number);
    }
    let equal = by_hash.into_values().filter(|names| names.len() > 1);
    let names: Vec<u32> = equal.flatten().collect();
    assert!(names.len() > 20, "{}", names.len());
    let items = names.iter().map(|number| {
        let name = format!("{number:a>255}").into_bytes();
        (name, super::trees::other(crate::NodeKind::Fifo))
    });
    let names = Item::Directory(items.collect(), attributes(0o755));
    let tree = tree(directory(vec![("names", names)]));
    host.put(&tree, 1).expect("it fits");
    host.check();
    let image = host.image.to_str().expect("UTF-8");
    let shown = super::host::run("debugfs", &["-R", "htree_dump /names", image]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    // "Entry #3: Hash 0x1234567(1), block 4"
    let has_mark = shown
        .lines()
        .filter(|line| line.starts_with("Entry #"))
        .any(|line| {
            line.split_once("Hash 0x").is_some_and(|(_, hash)| {
                let digits = hash.split(|c: char| !c.is_ascii_hexdigit()).next();
                u32::from_str_radix(digits.unwrap_or_default(), 16).is_ok_and(|hash| hash & 1 == 1)
            })
        });
    assert!(has_mark, "{shown}");
    kernel::compare(&host, &tree);
}

#[test]
fn a_device_without_a_descriptor_gets_the_same_bytes() {
    if !skipping::have_programs(&["mke2fs", "debugfs"]) {
        return;
    }
    let scratch = tempfile::tempdir().expect("a directory");
    let tree = tree(super::trees::everything(&Sources::new(scratch.path())));
    let host = Host::new(scratch.path(), "-t ext4", "64M");
    let empty = std::fs::read(&host.image).expect("the image");
    let memory = std::sync::Arc::new(images::Memory::new(empty));
    host.put_into(&tree, 3, || memory.clone()).expect("it fits");
    host.put_into(&tree, 3, || host.device()).expect("it fits");
    assert!(memory.snapshot() == std::fs::read(&host.image).expect("the image"));
}

#[test]
fn the_number_of_threads_changes_nothing() {
    if !skipping::have_programs(&["mke2fs", "e2fsck", "debugfs"]) {
        return;
    }
    let scratch = tempfile::tempdir().expect("a directory");
    let tree = tree(super::trees::everything(&Sources::new(scratch.path())));
    let images = [1, 8].map(|threads| {
        let own = scratch.path().join(threads.to_string());
        std::fs::create_dir(&own).expect("a directory");
        let host = Host::new(&own, "-t ext4", "64M");
        host.put(&tree, threads).expect("it fits");
        std::fs::read(&host.image).expect("the image")
    });
    assert!(images[0] == images[1]);
}

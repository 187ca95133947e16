//! One of everything in volumes of every kind.

use super::host::{Host, run};
use super::trees::{Item, Sources, everything, tree, xattr};
use super::{kernel, trees};
use crate::{NodeKind, Tree};
use fs_core::Timestamp;

/// Makes a volume, puts the tree in, and lets e2fsck and the kernel judge.
fn judge(options: &str, size: &str, make: impl FnOnce(&Sources) -> Item) {
    if !skipping::have_programs(&["mke2fs", "e2fsck", "debugfs"]) {
        return;
    }
    let scratch = tempfile::tempdir().expect("a directory");
    let host = Host::new(scratch.path(), options, size);
    let tree = tree(make(&Sources::new(scratch.path())));
    host.put(&tree, 2).expect("it fits");
    host.check();
    kernel::compare(&host, &tree);
}

#[test]
fn defaults() {
    judge("-t ext4", "64M", everything);
}

#[test]
fn blocks_of_1_kib() {
    judge("-t ext4 -b 1024", "64M", everything);
}

#[test]
fn blocks_of_4_kib_without_a_journal() {
    judge("-t ext4 -b 4096 -O ^has_journal", "64M", everything);
}

#[test]
fn blocks_of_64_kib() {
    judge("-t ext4 -b 65536", "512M", everything);
}

#[test]
fn ext2_of_1_kib_blocks() {
    judge("-t ext2 -b 1024", "64M", everything);
}

#[test]
fn ext3_with_small_inodes() {
    judge("-t ext3 -b 4096 -I 128", "64M", everything);
}

#[test]
fn without_types_and_checksums() {
    judge("-t ext4 -O ^filetype,^metadata_csum", "64M", everything);
}

#[test]
fn without_hash_trees() {
    judge("-t ext4 -O ^dir_index", "64M", everything);
}

#[test]
fn inline_data() {
    judge("-t ext4 -O inline_data -b 4096", "64M", everything);
}

#[test]
fn inline_data_in_large_inodes() {
    judge("-t ext4 -O inline_data -I 1024 -b 1024", "64M", everything);
}

#[test]
fn clusters() {
    judge("-t ext4 -O bigalloc -C 65536 -b 4096", "256M", everything);
}

#[test]
fn without_64bit_and_huge_file() {
    judge("-t ext4 -O ^64bit,^huge_file,^flex_bg", "64M", everything);
}

#[test]
fn an_empty_tree_is_byte_for_byte_what_mke2fs_makes() {
    if !skipping::have_programs(&["mke2fs", "e2fsck", "debugfs"]) {
        return;
    }
    for options in [
        "-t ext4 -b 1024",
        "-t ext4 -b 4096",
        "-t ext4 -b 65536",
        "-t ext2 -b 2048",
    ] {
        let scratch = tempfile::tempdir().expect("a directory");
        let host = Host::new(scratch.path(), options, "128M");
        let path = host.image.to_str().expect("UTF-8");
        let before = std::fs::read(path).expect("the image");
        let now = Timestamp {
            seconds: super::host::NOW,
            nanos: 0,
        };
        host.put(&Tree::empty(now), 1).expect("it fits");
        let after = std::fs::read(path).expect("the image");
        // The descriptors of group 0 were told that its inodes are in use.
        let table = usize::try_from(host.superblock.block_bytes * 2).expect("a size");
        let first = before
            .iter()
            .zip(&after)
            .skip(table.max(8192))
            .position(|(a, b)| a != b);
        assert_eq!(first, None, "{options}");
        let output = run("e2fsck", &["-fn", path]);
        assert!(output.status.success(), "{options}: {output:?}");
    }
}

#[test]
fn lost_and_found_is_as_long_as_mke2fs_makes_it() {
    if !skipping::have_programs(&["mke2fs", "debugfs"]) {
        return;
    }
    for options in ["-b 1024", "-b 4096", "-b 16384"] {
        let options = format!("-t ext4 -O inline_data {options}");
        let scratch = tempfile::tempdir().expect("a directory");
        let host = Host::new(scratch.path(), &options, "128M");
        let size = || {
            let inode = host.volume().inode(fs_core::InodeNumber(11));
            inode.expect("lost+found").size_bytes()
        };
        let before = size();
        host.put(&Tree::empty(Timestamp::default()), 1)
            .expect("it fits");
        assert_eq!(before, size(), "{options}");
    }
}

fn with_many_xattrs(sources: &Sources) -> Item {
    let acl = [
        2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 0xE8, 3, 0, 0, 4, 0, 4, 0, 255,
        255, 255, 255, 0x10, 0, 4, 0, 255, 255, 255, 255, 0x20, 0, 0, 0, 255, 255, 255, 255,
    ];
    let capability = [
        1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    let mut items = vec![
        (
            "body",
            sources.file(100).with_xattrs(vec![xattr("user.a", b"b")]),
        ),
        (
            "acl",
            sources
                .file(50)
                .with_xattrs(vec![xattr("system.posix_acl_access", &acl)]),
        ),
        (
            "capable",
            sources.file(5000).with_xattrs(vec![
                xattr("security.capability", &capability),
                xattr("trusted.t", &[7; 30]),
                xattr("user.empty", b""),
                xattr("user.\u{e9}", "\u{e9}".as_bytes()),
            ]),
        ),
        (
            "link",
            trees::symlink("body").with_xattrs(vec![xattr("trusted.link", &[9; 200])]),
        ),
        (
            "fifo",
            trees::other(NodeKind::Fifo).with_xattrs(vec![xattr("security.x", &[1; 70])]),
        ),
    ];
    let directory = trees::directory(vec![("x", sources.file(1))]).with_xattrs(vec![
        xattr("system.posix_acl_access", &acl),
        xattr("system.posix_acl_default", &acl),
        xattr("user.more", &[3; 300]),
    ]);
    items.push(("directory", directory));
    // The same list in more inodes than may share a block.
    let shared = (0..1100).map(|number| {
        let file = trees::other(NodeKind::Fifo);
        let xattrs = vec![
            xattr("security.one", &[1; 300]),
            xattr("security.two", &[2; 301]),
        ];
        (format!("{number}").into_bytes(), file.with_xattrs(xattrs))
    });
    items.push((
        "shared",
        Item::Directory(shared.collect(), trees::attributes(0o700)),
    ));
    // The group's bits of the mode are the mask's.
    trees::directory(items).with_mode_of_acls()
}

impl Item {
    fn with_mode_of_acls(mut self) -> Self {
        if let Self::Directory(items, _) = &mut self {
            for item in items.values_mut() {
                if let Self::Directory(_, attributes) | Self::Other(_, attributes) = item
                    && attributes
                        .xattrs
                        .iter()
                        .any(|x| x.name.starts_with(b"system.posix_acl"))
                {
                    attributes.permissions = 0o640;
                }
            }
        }
        self
    }
}

#[test]
fn attributes_in_inode_and_block() {
    judge("-t ext4 -b 4096", "64M", with_many_xattrs);
}

#[test]
fn attributes_beside_inline_data() {
    judge("-t ext4 -b 4096 -O inline_data", "64M", with_many_xattrs);
}

#[test]
fn attributes_of_small_inodes() {
    judge("-t ext2 -b 1024 -I 128", "64M", with_many_xattrs);
}

#[test]
fn attributes_of_clusters() {
    judge(
        "-t ext4 -O bigalloc -C 16384 -b 4096",
        "128M",
        with_many_xattrs,
    );
}

#[test]
fn large_attributes() {
    judge("-t ext4 -b 4096 -O ea_inode", "128M", |sources| {
        let values: Vec<Vec<u8>> = [3000u32, 3001, 5000, 65_536]
            .iter()
            .map(|&len| (0..len).map(|at| (at % 251) as u8).collect())
            .collect();
        let both = vec![xattr("user.a", &values[0]), xattr("user.b", &values[1])];
        let equal = vec![xattr("user.a", &values[3]), xattr("user.b", &values[3])];
        let in_block = vec![
            xattr("user.fill", &[1; 3900]),
            xattr("user.name", &values[2]),
        ];
        trees::directory(vec![
            (
                "one",
                sources
                    .file(10)
                    .with_xattrs(vec![xattr("user.x", &values[3])]),
            ),
            ("two", sources.file(10).with_xattrs(both)),
            ("same", sources.file(10).with_xattrs(equal)),
            ("shared1", sources.file(10).with_xattrs(in_block.clone())),
            ("shared2", sources.file(10).with_xattrs(in_block)),
            (
                "link",
                trees::symlink("short").with_xattrs(vec![xattr("trusted.x", &values[2])]),
            ),
        ])
    });
}

#[test]
fn large_attributes_of_clusters() {
    judge(
        "-t ext4 -b 1024 -C 8192 -O bigalloc,ea_inode,inline_data",
        "128M",
        |sources| {
            trees::directory(vec![
                (
                    "one",
                    sources
                        .file(10)
                        .with_xattrs(vec![xattr("user.x", &[5; 9000])]),
                ),
                (
                    "two",
                    sources
                        .file(10)
                        .with_xattrs(vec![xattr("user.y", &[5; 9000])]),
                ),
            ])
        },
    );
}

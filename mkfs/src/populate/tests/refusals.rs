//! What cannot be stored is refused by name, before anything is written.

use super::host::Host;
use super::trees::{Item, Sources, directory, other, tree, xattr};
use crate::{Error, NodeKind, Tree};

fn refusal(options: &str, make: impl FnOnce(&Sources) -> Item) -> Option<String> {
    put(options, "16M", make).map(|error| error.to_string())
}

fn put(options: &str, size: &str, make: impl FnOnce(&Sources) -> Item) -> Option<Error> {
    if !skipping::have_programs(&["mke2fs", "debugfs"]) {
        return None;
    }
    let scratch = tempfile::tempdir().expect("a directory");
    let host = Host::new(scratch.path(), options, size);
    let tree: Tree = tree(make(&Sources::new(scratch.path())));
    Some(host.put(&tree, 1).expect_err("a refusal"))
}

fn assert_refused(options: &str, words: &[&str], make: impl FnOnce(&Sources) -> Item) {
    if let Some(message) = refusal(options, make) {
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    }
}

#[test]
fn attributes_are_refused_by_name() {
    let with = |name: &'static str, value: &'static [u8]| {
        move |sources: &Sources| {
            directory(vec![(
                "d",
                directory(vec![(
                    "file",
                    sources.file(1).with_xattrs(vec![xattr(name, value)]),
                )]),
            )])
        }
    };
    let small = "-t ext4 -b 1024";
    assert_refused(
        small,
        &["/d/file", "btrfs.x", "name"],
        with("btrfs.x", b"1"),
    );
    assert_refused(
        small,
        &["/d/file", "1020", "ea_inode", "-b 4096"],
        with("user.x", &[1; 1000]),
    );
    assert_refused(
        small,
        &["/d/file", "posix_acl_access", "version 2"],
        with("system.posix_acl_access", &[1, 0, 0, 0]),
    );
    assert_refused(
        "-t ext2 -O ^ext_attr",
        &["/d/file", "ext_attr"],
        with("user.x", b"1"),
    );
}

#[test]
fn limits_are_refused_by_name() {
    let wide = |_: &Sources| directory(vec![("dev", other(NodeKind::CharDevice(4096, 0)))]);
    assert_refused("-t ext4", &["/dev", "4096:0"], wide);
    let reserved = |_: &Sources| directory(vec![("lost+found", other(NodeKind::Fifo))]);
    assert_refused("-t ext4", &["/lost+found", "reserved"], reserved);
    let large = |sources: &Sources| directory(vec![("large", sources.sparse(1 << 40, &[]))]);
    assert_refused("-t ext2 -b 1024", &["/large", "1099511627776"], large);
    let long = |_: &Sources| directory(vec![("link", super::trees::symlink(&"x".repeat(1024)))]);
    assert_refused("-t ext4 -b 1024", &["/link", "1024", "-b 4096"], long);
}

#[test]
fn more_links_than_the_format_counts_are_refused() {
    let directories = |_: &Sources| {
        let names = (0..64_999).map(|number| (format!("{number}").into_bytes(), directory(vec![])));
        let many = Item::Directory(names.collect(), super::trees::attributes(0o755));
        directory(vec![("many", many)])
    };
    assert_refused("-t ext2", &["/many", "64999", "dir_nlink"], directories);
    let names = |_: &Sources| {
        let names = (0..65_001).map(|number| {
            let item = Item::Named("one", Box::new(other(NodeKind::Fifo)));
            (format!("{number}").into_bytes(), item)
        });
        Item::Directory(names.collect(), super::trees::attributes(0o755))
    };
    assert_refused("-t ext4", &["/0", "65001"], names);
}

#[test]
fn a_directory_no_hash_tree_can_hold_is_refused_by_name() {
    let names = |_: &Sources| directory(vec![("many", super::trees::many_names(60_000, 255))]);
    if let Some(error) = put("-t ext4 -b 1024", "128M", names) {
        let message = error.to_string();
        assert!(
            message.contains("/many") && message.contains("large_dir"),
            "{message}"
        );
    }
}

#[test]
fn a_tree_that_does_not_fit_is_told_so() {
    let large = |sources: &Sources| directory(vec![("large", sources.file(20 << 20))]);
    if let Some(error) = put("-t ext4", "16M", large) {
        assert!(matches!(error, Error::DoesNotFit { .. }), "{error}");
    }
    let many = |_: &Sources| {
        let names =
            (0..200).map(|number| (format!("{number}").into_bytes(), other(NodeKind::Fifo)));
        Item::Directory(names.collect(), super::trees::attributes(0o755))
    };
    if let Some(error) = put("-t ext4 -N 64", "4M", many) {
        assert!(
            matches!(error, Error::TooFewInodes { needed: 211, .. }),
            "{error}"
        );
    }
}

#[test]
fn a_source_that_changed_is_named() {
    for (change, words) in [
        ("gone", "No such file"),
        ("shorter", "changed while"),
        ("longer", "changed while"),
        ("rewritten", "changed while"),
        ("replaced", "changed while"),
    ] {
        let message = refusal("-t ext4", |sources| {
            let item = directory(vec![("file", sources.file(5000))]);
            let path = sources.path(0);
            let resize = |len| {
                let file = std::fs::File::options().write(true).open(&path);
                file.and_then(|file| file.set_len(len)).expect("a size");
            };
            match change {
                "gone" => std::fs::remove_file(&path).expect("a file"),
                "shorter" => resize(4000),
                "longer" => resize(6000),
                "rewritten" => std::fs::write(&path, [7; 5000]).expect("a file"),
                _ => {
                    let other = path.with_extension("other");
                    std::fs::copy(&path, &other).expect("a copy");
                    std::fs::rename(&other, &path).expect("a name");
                }
            }
            item
        });
        if let Some(message) = message {
            assert!(
                message.contains("source0") && message.contains(words),
                "{message}"
            );
        }
    }
}

impl Sources {
    fn path(&self, number: u32) -> std::path::PathBuf {
        self.directory_path().join(format!("source{number}"))
    }
}

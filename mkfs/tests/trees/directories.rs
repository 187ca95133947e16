//! Directories.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use fs_core::{InodeFlags, Timestamp};
use mkfs::tree::directory::scan;
use mkfs::{Error, NodeKind, ScanOptions, Tree};
use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};

use crate::describe::{content, describe, find};
use crate::source::{is_root, plain, run, sparse, touch};

fn scanned(path: &Path) -> Tree {
    let options = ScanOptions {
        threads: 2,
        ..ScanOptions::default()
    };
    scan(path, &options, &()).expect("the directory can be scanned")
}

fn temporary() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory can be made")
}

/// Compares every entry with lstat(2); returns how many there were.
fn compare(tree: &Tree, path: &Path, name: &str) -> usize {
    let node = find(tree, name).expect("present");
    let status = fs::symlink_metadata(path.join(name)).expect("status");
    let a = &node.attributes;
    let found = (u32::from(a.permissions), a.uid, a.gid);
    assert_eq!(
        found,
        (status.mode() & 0o7777, status.uid(), status.gid()),
        "{name}"
    );
    let times = [Some(a.modified), a.accessed, a.changed];
    let expected = [
        (status.mtime(), status.mtime_nsec()),
        (status.atime(), status.atime_nsec()),
        (status.ctime(), status.ctime_nsec()),
    ];
    let is_accessed = |index| index == 1 && status.is_symlink();
    for (index, (time, expected)) in times.into_iter().zip(expected).enumerate() {
        if is_accessed(index) {
            // A link that has another name was read here already.
            continue;
        }
        let time = time.expect("known");
        assert_eq!((time.seconds, i64::from(time.nanos)), expected, "{name}");
    }
    let kind = status.file_type();
    let device = rustix::fs::makedev;
    match &node.kind {
        NodeKind::Directory(entries) => {
            let names = entries.iter().map(|entry| entry.name.to_vec());
            let names: Vec<_> = names.map(String::from_utf8).collect();
            let mut listed = 0;
            for entry in fs::read_dir(path.join(name)).expect("listed") {
                let entry = entry.expect("listed").file_name();
                if let Some(entry) = entry.to_str() {
                    assert!(names.contains(&Ok(entry.to_owned())), "{name}/{entry}");
                    listed += compare(tree, path, &format!("{name}/{entry}"));
                }
            }
            return listed + 1;
        }
        NodeKind::File(content) => {
            assert!(kind.is_file(), "{name}");
            assert_eq!(content.size_bytes, status.len(), "{name}");
        }
        NodeKind::Symlink(target) => {
            let expected = fs::read_link(path.join(name)).expect("a link");
            assert_eq!(expected.as_os_str().as_encoded_bytes(), &**target);
        }
        NodeKind::CharDevice(major, minor) => {
            assert!(kind.is_char_device(), "{name}");
            assert_eq!(device(*major, *minor), status.rdev(), "{name}");
        }
        NodeKind::BlockDevice(major, minor) => {
            assert!(kind.is_block_device(), "{name}");
            assert_eq!(device(*major, *minor), status.rdev(), "{name}");
        }
        NodeKind::Fifo => assert!(kind.is_fifo(), "{name}"),
        NodeKind::Socket => assert!(kind.is_socket(), "{name}"),
    }
    1
}

#[test]
fn everything_is_as_lstat_says() {
    let source = temporary();
    plain(source.path());
    let _socket = UnixListener::bind(source.path().join("socket")).expect("a socket");
    touch(&source.path().join("z/block"), -1_000_000, 123_456_789);
    touch(&source.path().join("z/more"), 15_032_385_535, 999_999_999);
    let tree = scanned(source.path());
    assert!(tree.has_root_attributes);
    assert!(compare(&tree, source.path(), ".") >= 12);
    let lines = describe(&tree);
    assert!(lines["./z/more"].ends_with("as ./a/also more"));
    assert!(lines.contains_key("./bytes-\\xff\\xfe\\x01"));
    if is_root() {
        assert!(lines["./z/char2"].ends_with("as ./z/char"));
        assert!(lines["./z/link2"].ends_with("as ./a/link"));
    }
}

#[test]
fn numbers_go_depth_first_whatever_the_order_and_the_threads() {
    let names = ["b/x", "b/y", "a", "c", "B", "b/d/e", "b.d"];
    let orders: [Vec<_>; 2] = [names.to_vec(), names.iter().rev().copied().collect()];
    let mut seen = Vec::new();
    for (order, threads) in orders.iter().zip([1, 7]) {
        let source = temporary();
        for name in order {
            let path = source.path().join(name);
            fs::create_dir_all(path.parent().expect("beneath")).expect("makes");
            fs::write(path, name).expect("writes");
        }
        let options = ScanOptions {
            threads,
            owner: Some((3, 4)),
            clamp_mtime: Some(Timestamp::default()),
            reproducible: true,
            ..ScanOptions::default()
        };
        let tree = scan(source.path(), &options, &()).expect("scans");
        let text = format!("{:?}", tree.nodes);
        let text = text.replace(source.path().to_str().expect("text"), "");
        // How a file is known again is the host's; everything else must be equal.
        let cut = text
            .split("identity: (")
            .map(|part| match part.split_once("} }") {
                Some((known_by, rest)) if known_by.len() < 120 => rest.to_owned(),
                _ => part.to_owned(),
            });
        seen.push(cut.collect::<String>());
        let first = tree.nodes.first().expect("a root");
        assert_eq!((first.attributes.uid, first.attributes.gid), (3, 4));
        assert_eq!(first.attributes.modified, Timestamp::default());
        assert_eq!(first.attributes.accessed, None);
        let NodeKind::Directory(entries) = &first.kind else {
            panic!("the root is a directory");
        };
        let numbers: Vec<_> = entries
            .iter()
            .map(|entry| (&*entry.name, entry.node.0))
            .collect();
        let expected: [(&[u8], u32); 5] = [(b"B", 1), (b"a", 2), (b"b", 3), (b"b.d", 8), (b"c", 9)];
        assert_eq!(numbers, expected);
    }
    assert_eq!(seen[0], seen[1]);
}

#[test]
fn holes_are_found_and_content_is_read() {
    let source = temporary();
    sparse(&source.path().join("sparse"), 5, 400_000);
    sparse(&source.path().join("hole"), 0, 1 << 30);
    fs::write(source.path().join("solid"), [1; 5000]).expect("writes");
    let tree = scanned(source.path());
    let ranges = |name| match &find(&tree, name).expect("present").kind {
        NodeKind::File(content) => {
            crate::describe::content(content);
            content.data.iter().map(|d| (d.offset, d.len)).collect()
        }
        _ => Vec::new(),
    };
    assert_eq!(ranges("solid"), [(0, 5000)]);
    assert_eq!(ranges("hole"), []);
    let pieces: Vec<_> = (0..5).map(|piece| (piece * 65_536, 4096)).collect();
    assert_eq!(ranges("sparse"), pieces);
}

#[test]
fn attributes_acls_and_flags_are_read() {
    if !skipping::have_programs(&["setfattr", "setfacl", "chattr"]) {
        return;
    }
    let source = temporary();
    let at = source.path();
    plain(at);
    run(
        "setfattr",
        &["-n", "user.note", "-v", "0x00ff3d", "z/more"],
        at,
    );
    run("setfattr", &["-n", "user.empty", "z/more"], at);
    run("setfacl", &["-m", "u:1234:rw,m::rwx", "z/block"], at);
    run("setfacl", &["-d", "-m", "g:77:r", "z"], at);
    run("chattr", &["+d", "z/block"], at);
    let tree = scanned(at);
    let names = |name| {
        let node = find(&tree, name).expect("present");
        let xattrs = node.attributes.xattrs.iter();
        let xattrs = xattrs.filter(|xattr| !xattr.name.starts_with(b"security."));
        xattrs
            .map(|xattr| (xattr.name.to_vec(), xattr.value.to_vec()))
            .collect::<Vec<_>>()
    };
    let note = [
        (b"user.empty".to_vec(), Vec::new()),
        (b"user.note".to_vec(), b"\x00\xff=".to_vec()),
    ];
    assert_eq!(names("z/more"), note);
    let acl = b"\x02\0\0\0\x01\0\x06\0\xff\xff\xff\xff\x02\0\x06\0\xd2\x04\0\0";
    let found = names("z/block");
    assert_eq!(found[0].0, b"system.posix_acl_access");
    assert!(found[0].1.starts_with(acl), "{}", found[0].1.escape_ascii());
    assert_eq!(names("z")[0].0, b"system.posix_acl_default");
    let flags = find(&tree, "z/block").expect("present").attributes.flags;
    assert_eq!(flags, Some(InodeFlags::NODUMP));
    if is_root() {
        for name in ["a/link", "z/char", "pipe"] {
            run(
                "setfattr",
                &["-h", "-n", "trusted.note", "-v", "0x01", name],
                at,
            );
            let tree = scanned(at);
            let xattrs = &find(&tree, name).expect("present").attributes.xattrs;
            assert!(
                xattrs.iter().any(|xattr| *xattr.name == *b"trusted.note"),
                "{name}"
            );
        }
    } else {
        skipping::record("trusted attributes (root is needed)");
    }
}

#[test]
fn scanning_and_reading_leave_access_times_alone() {
    let source = temporary();
    let at = source.path();
    fs::create_dir(at.join("d")).expect("makes");
    sparse(&at.join("d/sparse"), 2, 400_000);
    for name in ["d/sparse", "d", "."] {
        touch(&at.join(name), 1, 0);
    }
    let tree = scanned(at);
    if let NodeKind::File(file) = &find(&tree, "d/sparse").expect("present").kind {
        content(file);
    }
    for name in ["d/sparse", "d", "."] {
        let status = fs::metadata(at.join(name)).expect("status");
        assert_eq!(status.atime(), 1, "{name}");
    }
}

/// A comb: each level has a file, a directory, and the next level. Beyond a
/// hundred levels not all directories can be kept open, beyond 200 their paths
/// are longer than Linux takes.
#[test]
fn directories_may_nest_by_thousands() {
    const LEVELS: usize = 2500;
    let source = temporary();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let mode = Mode::from_raw_mode(0o755);
    let mut at = openat(CWD, source.path(), flags, mode).expect("opens");
    for level in 0..LEVELS {
        let file = openat(&at, "file", OFlags::CREATE | OFlags::WRONLY, mode).expect("makes");
        rustix::io::write(&file, format!("{level}").as_bytes()).expect("writes");
        mkdirat(&at, "a-directory-aside", mode).expect("makes");
        mkdirat(&at, "the-next-directory", mode).expect("makes");
        at = openat(&at, "the-next-directory", flags, mode).expect("opens");
    }
    let tree = scanned(source.path());
    let deepest = tree.nodes.iter().rev().find_map(|node| match &node.kind {
        NodeKind::File(content) => Some(content),
        _ => None,
    });
    let expected = format!("{}", LEVELS - 1);
    let mut found = vec![0; expected.len()];
    let found_in: Vec<_> = tree
        .nodes
        .iter()
        .filter_map(|node| match &node.kind {
            NodeKind::File(content) => Some(content),
            _ => None,
        })
        .filter(|content| {
            let open = content.open().expect("any path can be opened");
            content.size_bytes == 4
                && open.read_exact_at(&mut found, 0).is_ok()
                && found == expected.as_bytes()
        })
        .collect();
    // Best removed by a program that does not descend with a descriptor a level.
    run("rm", &["-rf", "the-next-directory"], source.path());
    assert_eq!(tree.nodes.len(), 3 * LEVELS + 1);
    assert!(deepest.is_some());
    assert_eq!(found_in.len(), 1);
}

#[test]
fn what_changes_after_the_scan_is_refused() {
    let source = temporary();
    let at = source.path();
    for name in ["grown", "replaced", "gone", "linked"] {
        fs::write(at.join(name), "content").expect("writes");
    }
    let tree = scanned(at);
    fs::write(at.join("grown"), "more content").expect("writes");
    fs::write(at.join("new"), "content").expect("writes");
    fs::rename(at.join("new"), at.join("replaced")).expect("renames");
    fs::remove_file(at.join("gone")).expect("removes");
    fs::rename(at.join("linked"), at.join("elsewhere")).expect("renames");
    symlink("elsewhere", at.join("linked")).expect("links");
    let error = |name| match &find(&tree, name).expect("present").kind {
        NodeKind::File(content) => content.open().expect_err("refused"),
        _ => panic!("a file"),
    };
    for name in ["grown", "replaced"] {
        let Error::BadSource { path, why } = error(name) else {
            panic!("{name} changed");
        };
        assert_eq!(path, at.join(name));
        assert!(why.contains("changed"), "{why}");
    }
    for name in ["gone", "linked"] {
        assert!(matches!(error(name), Error::Source { path, .. } if path == at.join(name)));
    }
}

#[test]
fn the_image_itself_and_missing_sources_are_refused_by_name() {
    let source = temporary();
    let at = source.path();
    fs::create_dir(at.join("d")).expect("makes");
    fs::write(at.join("d/image"), "").expect("writes");
    let status = fs::metadata(at.join("d/image")).expect("status");
    let options = ScanOptions {
        exclude: vec![(status.dev(), status.ino())],
        ..ScanOptions::default()
    };
    let error = scan(at, &options, &()).expect_err("refused");
    assert!(
        error.to_string().contains("d/image: is the image itself"),
        "{error}"
    );
    for missing in ["nowhere", "d/image"] {
        let path = at.join(missing);
        let error = scan(&path, &ScanOptions::default(), &()).expect_err("refused");
        assert!(matches!(error, Error::Source { path: named, .. } if named == path));
    }
}

/// Two file systems in one tree number their inodes alike.
#[test]
fn hard_links_are_not_mixed_up_across_mounts() {
    let source = temporary();
    let mut mounted = Vec::new();
    for name in ["a", "b"] {
        let at = source.path().join(name);
        fs::create_dir(&at).expect("makes");
        let path = at.to_str().expect("text").to_owned();
        let mount = ["-t", "tmpfs", "-o", "size=1m", "none", &path];
        let output = std::process::Command::new("mount").args(mount).output();
        if !output.is_ok_and(|output| output.status.success()) {
            skipping::record("a tmpfs cannot be mounted (root is needed)");
            break;
        }
        mounted.push(path);
        fs::write(at.join("one"), name).expect("writes");
        fs::hard_link(at.join("one"), at.join("two")).expect("links");
    }
    let tree = scan(source.path(), &ScanOptions::default(), &());
    for path in &mounted {
        run("umount", &["-l", path], source.path());
    }
    let tree = tree.expect("scans");
    if mounted.len() == 2 {
        assert_eq!(tree.nodes.len(), 5);
        let root = tree.nodes.first().expect("a root");
        assert!(matches!(&root.kind, NodeKind::Directory(entries) if entries.len() == 2));
    }
}

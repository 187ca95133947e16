//! A directory with something of everything.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, makedev, mknodat, utimensat};

/// Runs a program that must succeed.
pub(crate) fn run(program: &str, arguments: &[&str], directory: &Path) {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .output()
        .expect("the program starts");
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Sets access and modification time of a file itself.
pub(crate) fn touch(path: &Path, seconds: i64, nanos: i64) {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: nanos,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).expect("times can be set");
}

/// Names, kinds, modes, holes and hard links any archive format can hold, with
/// whole seconds. Root adds owners and devices.
pub(crate) fn plain(at: &Path) {
    let write = |name: &str, bytes: &[u8]| fs::write(at.join(name), bytes).expect("writes");
    for directory in ["a", "a/b", "empty", "z"] {
        fs::create_dir(at.join(directory)).expect("makes");
    }
    write("a/b/small", b"some text");
    write("a/nothing", b"");
    write("z/block", &[7; 512]);
    write("z/more", &[8; 70_000]);
    fs::hard_link(at.join("z/more"), at.join("a/also more")).expect("links");
    let bytes = OsStr::from_bytes(b"bytes-\xff\xfe\x01");
    fs::write(at.join(bytes), b"x").expect("writes");
    symlink("b/small", at.join("a/link")).expect("links");
    run("mkfifo", &["pipe"], at);
    fs::set_permissions(at.join("a/nothing"), PermissionsExt::from_mode(0o4755)).expect("modes");
    fs::set_permissions(at.join("empty"), PermissionsExt::from_mode(0o1777)).expect("modes");
    if is_root() {
        let node = |name: &str, kind, major, minor| {
            let mode = Mode::from_raw_mode(0o640);
            mknodat(CWD, at.join(name), kind, mode, makedev(major, minor)).expect("makes");
        };
        node("z/char", FileType::CharacterDevice, 5, 1);
        node("z/blk", FileType::BlockDevice, 259, 3);
        fs::hard_link(at.join("z/char"), at.join("z/char2")).expect("links");
        fs::hard_link(at.join("a/link"), at.join("z/link2")).expect("links");
        for (name, owner) in [("a", 1), ("a/b/small", 60_000), ("a/link", 70)] {
            let owner = Some(owner);
            std::os::unix::fs::lchown(at.join(name), owner, owner).expect("owned");
        }
    } else {
        skipping::record("devices and owners (root is needed)");
    }
    for name in ["a/b/small", "a/b", "a/nothing", "a/link", "a", "empty", "z"] {
        touch(&at.join(name), 1_000_000_000, 0);
    }
    for entry in ["z/block", "z/more", "pipe"] {
        touch(&at.join(entry), 1_100_000_000, 0);
    }
    touch(&at.join(bytes), 1, 0);
    if is_root() {
        touch(&at.join("z/char"), 1_100_000_001, 0);
        touch(&at.join("z/blk"), 1_100_000_002, 0);
    }
    touch(at, 1_200_000_000, 0);
}

/// A file of `pieces` blocks with holes between, and a hole at the end.
pub(crate) fn sparse(path: &Path, pieces: u64, size: u64) {
    let file = fs::File::create(path).expect("makes");
    for piece in 0..pieces {
        let bytes = [(piece % 250) as u8 + 1; 4096];
        file.write_all_at(&bytes, piece * 65_536).expect("writes");
    }
    file.set_len(size).expect("grows");
    file.sync_all().expect("syncs");
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

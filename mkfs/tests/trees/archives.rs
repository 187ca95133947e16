//! Archives as programs make them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use fs_core::Timestamp;
use mkfs::tree::tar::TarInput;
use mkfs::tree::{directory, tar};
use mkfs::{NodeKind, ScanOptions, Tree};

use crate::describe::{Lines, describe, find};
use crate::source::{plain, run, sparse, touch};

struct Scene {
    directory: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory can be made");
        fs::create_dir(directory.path().join("source")).expect("makes");
        Self { directory }
    }

    fn source(&self) -> PathBuf {
        self.directory.path().join("source")
    }

    /// Runs GNU tar over the source; returns the archive's path.
    fn tar(&self, options: &[&str]) -> PathBuf {
        let mut all = vec!["-C", "source", "-cf", "archive"];
        all.extend(options);
        all.push(".");
        run("tar", &all, self.directory.path());
        self.directory.path().join("archive")
    }

    fn scan(&self) -> Tree {
        let options = ScanOptions::default();
        directory::scan(&self.source(), &options, &()).expect("scans")
    }

    fn read(&self, archive: &Path) -> Tree {
        let input = TarInput::Path(archive.to_owned());
        tar::read(input, &ScanOptions::default(), self.directory.path(), &())
            .expect("the archive can be read")
    }
}

/// What GNU tar makes of it: devices with several names become several devices.
fn through_tar(mut lines: Lines) -> Lines {
    if let Some(line) = lines.get_mut("./z/char2") {
        *line = line.replace("as ./z/char", "as ./z/char2");
    }
    lines
}

/// The lines without those of names an archive format cannot hold.
fn without(mut lines: Lines, names: &[&str]) -> Lines {
    lines.retain(|path, _| !names.iter().any(|name| path.contains(name)));
    lines
}

#[test]
fn an_archive_of_a_directory_is_the_directory() {
    if !skipping::have_programs(&["tar", "mkfifo"]) {
        return;
    }
    let scene = Scene::new();
    plain(&scene.source());
    let expected = through_tar(describe(&scene.scan()));
    for format in ["gnu", "oldgnu", "posix", "ustar"] {
        let archive = scene.tar(&[&format!("--format={format}")]);
        assert_eq!(describe(&scene.read(&archive)), expected, "{format}");
    }
    // v7 knows no devices and no pipes.
    let special = ["char", "blk", "pipe", "link2"];
    for name in ["pipe", "z/char", "z/char2", "z/blk", "z/link2"] {
        fs::remove_file(scene.source().join(name)).unwrap_or_default();
    }
    let archive = scene.tar(&["--format=v7"]);
    for name in ["a", "z", "."] {
        touch(&scene.source().join(name), 1, 0);
    }
    let archive_again = scene.tar(&["--format=v7"]);
    assert_eq!(archive, archive_again);
    let expected = without(describe(&scene.scan()), &special);
    assert_eq!(describe(&scene.read(&archive)), expected, "v7");
}

#[test]
fn compressed_archives_and_pipes_are_the_same() {
    if !skipping::have_programs(&["tar", "gzip", "zstd", "xz"]) {
        return;
    }
    let scene = Scene::new();
    plain(&scene.source());
    let expected = through_tar(describe(&scene.scan()));
    let archive = scene.tar(&["--format=posix"]);
    let bytes = fs::read(&archive).expect("reads");
    let half = bytes.len() / 1024 * 512;
    let at = scene.directory.path();
    fs::write(at.join("first"), &bytes[..half]).expect("writes");
    fs::write(at.join("second"), &bytes[half..]).expect("writes");
    for program in ["gzip", "zstd", "xz", "cat"] {
        // Two members, frames, streams behind one another are one archive.
        let both = format!("({program} -c <first; {program} -c <second) >both");
        let both = both.replace("cat -c", "cat");
        run("sh", &["-c", &both], at);
        assert_eq!(
            describe(&scene.read(&at.join("both"))),
            expected,
            "{program}"
        );
        let file = Command::new("cat")
            .arg(at.join("both"))
            .stdout(std::process::Stdio::piped())
            .spawn();
        let mut child = file.expect("cat starts");
        let pipe = child.stdout.take().expect("a pipe");
        let input = TarInput::File {
            file: File::from(std::os::fd::OwnedFd::from(pipe)),
            name: "standard input".into(),
        };
        let tree = tar::read(input, &ScanOptions::default(), at, &());
        assert_eq!(
            describe(&tree.expect("reads")),
            expected,
            "{program}, piped"
        );
        assert!(
            child.wait().expect("ends").success(),
            "{program}: all is read"
        );
        // A compressed archive that is cut off anywhere is refused.
        let whole = fs::read(at.join("both")).expect("reads");
        for cut in [1, 3, 8, 9, 100, whole.len() / 2] {
            if program != "cat" {
                fs::write(at.join("cut"), &whole[..whole.len() - cut]).expect("writes");
                let input = TarInput::Path(at.join("cut"));
                let read = tar::read(input, &ScanOptions::default(), at, &());
                read.expect_err("refused");
            }
        }
    }
    let left: Vec<_> = fs::read_dir(at).expect("lists").collect();
    assert_eq!(left.len(), 6, "nothing is left of the spool: {left:?}");
}

#[test]
fn attributes_and_acls_come_through_posix_archives() {
    if !skipping::have_programs(&["tar", "setfattr", "setfacl"]) {
        return;
    }
    let scene = Scene::new();
    let at = scene.source();
    plain(&at);
    for (name, value) in [
        ("user.note", "0x000aff"),
        ("user.a=b%c", "0x3d"),
        ("user.empty", "0x"),
    ] {
        run("setfattr", &["-n", name, "-v", value, "z/more"], &at);
    }
    run(
        "setfacl",
        &["-m", "u:1234:rw,u:5:x,g:9:r,m::rw", "z/block"],
        &at,
    );
    run("setfacl", &["-d", "-m", "g:77:r", "z"], &at);
    touch(&at.join("z/block"), -77, 123_456_789);
    touch(&at.join("z/more"), 15_032_385_000, 999_999_999);
    let expected = through_tar(describe(&scene.scan()));
    let options = [
        "--format=posix",
        "--xattrs",
        "--xattrs-include=*",
        "--acls",
        "--numeric-owner",
    ];
    assert_eq!(describe(&scene.read(&scene.tar(&options))), expected);
    // Alone, ACLs are text: only numbers without a name here stay numbers.
    for name in ["user.note", "user.a=b%c", "user.empty"] {
        run("setfattr", &["-x", name, "z/more"], &at);
    }
    run("setfacl", &["-b", "z/block"], &at);
    run(
        "setfacl",
        &["-m", "u:3999999999:rw,u:3999999998:x,m::rw", "z/block"],
        &at,
    );
    run(
        "setfacl",
        &["-d", "-x", "g:77", "-m", "g:3999999997:r", "z"],
        &at,
    );
    touch(&at.join("z/block"), 5, 5);
    let expected = through_tar(describe(&scene.scan()));
    let archive = scene.tar(&["--format=posix", "--acls", "--numeric-owner"]);
    assert_eq!(describe(&scene.read(&archive)), expected);
}

#[test]
fn holes_stay_holes_in_every_sparse_format() {
    if !skipping::have_programs(&["tar"]) {
        return;
    }
    let scene = Scene::new();
    for pieces in [0, 1, 4, 5, 25, 26, 300] {
        let path = scene.source().join(format!("sparse-{pieces}"));
        sparse(&path, pieces, pieces * 65_536 + 1_000_000);
        touch(&path, 5, 0);
    }
    fs::write(scene.source().join("solid"), [3; 777]).expect("writes");
    touch(&scene.source().join("solid"), 5, 0);
    touch(&scene.source(), 5, 0);
    let expected = through_tar(describe(&scene.scan()));
    let formats: [&[&str]; 5] = [
        &["--format=gnu"],
        &["--format=oldgnu"],
        &["--format=posix", "--sparse-version=0.0"],
        &["--format=posix", "--sparse-version=0.1"],
        &["--format=posix", "--sparse-version=1.0"],
    ];
    for format in formats {
        let options = [format, &["-S", "--hole-detection=seek"]].concat();
        let tree = scene.read(&scene.tar(&options));
        assert_eq!(describe(&tree), expected, "{format:?}");
    }
}

#[test]
fn long_names_and_targets_come_through() {
    if !skipping::have_programs(&["tar"]) {
        return;
    }
    let scene = Scene::new();
    let deep = ["x".repeat(99), "y".repeat(255), "z".repeat(200)].join("/");
    let at = scene.source();
    fs::create_dir_all(at.join(&deep)).expect("makes");
    fs::write(at.join(&deep).join("f".repeat(101)), "f").expect("writes");
    fs::hard_link(at.join(&deep).join("f".repeat(101)), at.join("short")).expect("links");
    std::os::unix::fs::symlink("t".repeat(4000), at.join("link")).expect("links");
    for path in ["short", "link", &deep, &"x".repeat(99), "."] {
        touch(&at.join(path), 8, 0);
    }
    touch(&at.join("x".repeat(99)).join("y".repeat(255)), 8, 0);
    let lines = describe(&scene.scan());
    for format in ["gnu", "oldgnu", "posix"] {
        let found = describe(&scene.read(&scene.tar(&[&format!("--format={format}")])));
        assert_eq!(found, lines, "{format}");
    }
}

/// Python writes numbers no real file can have here.
#[test]
fn big_numbers_and_far_times_come_through() {
    if !skipping::have_programs(&["python3"]) {
        return;
    }
    let scene = Scene::new();
    let script = "
import tarfile, sys, io
for name, form in (('gnu', tarfile.GNU_FORMAT), ('pax', tarfile.PAX_FORMAT)):
    with tarfile.open(name, 'w', format=form) as tar:
        for member, mtime in (('now', 1), ('far', 2**34), ('past', -5)):
            info = tarfile.TarInfo(member)
            info.uid, info.gid, info.mtime, info.mode = 4294967290, 2097152, mtime, 0o2711
            info.size = 5
            tar.addfile(info, io.BytesIO(b'12345'))
";
    run("python3", &["-c", script], scene.directory.path());
    for form in ["gnu", "pax"] {
        let tree = scene.read(&scene.directory.path().join(form));
        for (name, seconds) in [("now", 1), ("far", 1 << 34), ("past", -5)] {
            let node = find(&tree, name).expect("present");
            let a = &node.attributes;
            let found = (a.uid, a.gid, a.permissions, a.modified);
            let time = Timestamp { seconds, nanos: 0 };
            assert_eq!(found, (4_294_967_290, 2_097_152, 0o2711, time), "{form}");
            assert!(matches!(&node.kind, NodeKind::File(content) if content.size_bytes == 5));
        }
        let root = tree.nodes.first().expect("a root");
        assert!(!tree.has_root_attributes);
        assert_eq!(root.attributes.permissions, 0o755);
    }
}

/// An archive that is not at its beginning is not read in place.
#[test]
fn an_open_file_is_read_from_where_it_stands() {
    if !skipping::have_programs(&["tar"]) {
        return;
    }
    let scene = Scene::new();
    plain(&scene.source());
    let expected = through_tar(describe(&scene.scan()));
    let archive = fs::read(scene.tar(&[])).expect("reads");
    let path = scene.directory.path().join("behind");
    fs::write(&path, [b"junk", archive.as_slice()].concat()).expect("writes");
    let mut file = File::open(&path).expect("opens");
    std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(4)).expect("seeks");
    let input = TarInput::File { file, name: path };
    let tree = tar::read(input, &ScanOptions::default(), scene.directory.path(), &());
    assert_eq!(describe(&tree.expect("reads")), expected);
}

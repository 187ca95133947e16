//! What is put into a new file system: a filled image, mounted by the kernel,
//! equals its source, whatever the source is.

use anyhow::{Context, Result, ensure};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use system_tests::guards::{ChildGuard, KernelMount};
use system_tests::manifest::{Depth, Manifest};
use system_tests::mkfs::archive::{self, Member, pack};
use system_tests::mkfs::dump::Dump;
use system_tests::mkfs::maker::EPOCH;
use system_tests::mkfs::refusal;
use system_tests::mkfs::source::{self, Source, Wanted};
use system_tests::mkfs::{JUDGES, Maker, Mkfs, judge};
use system_tests::rng::Rng;
use system_tests::scratch::Scratch;
use system_tests::skip::{self, Need};
use system_tests::{debugfs, tool, trees};

/// Everything [`trees::base`] and [`Source::Nasty`] make.
fn everything(scratch: &Scratch) -> Result<PathBuf> {
    let dir = scratch.make_dir("source")?;
    Source::Nasty.make(&scratch.make_dir("source/nasty")?)?;
    trees::base(&scratch.make_dir("source/base")?, 7, true)?;
    Ok(dir)
}

fn allowed() -> bool {
    skip::allowed(JUDGES) && skip::allowed(&[Need::Tool("tar")])
}

/// mke2fs, in the program's place, cannot do this.
fn ours_only() -> bool {
    let ours = Maker::under_test() == Maker::Extmap;
    if !ours {
        skip::record("mke2fs 1.47.0 has nothing like it");
    }
    ours
}

/// e2fsck is content, and the kernel shows what is expected.
fn assert_image(
    image: &Path,
    scratch: &Scratch,
    expected: &Manifest,
    wanted: Wanted,
) -> Result<()> {
    judge::fsck(image)?;
    let mount = KernelMount::read_only(image, &scratch.path("mounted"))?;
    source::assert_filled(expected, mount.path(), wanted)?;
    mount.unmount()
}

mod directory {
    use super::*;

    fn check(options: &[&str]) -> Result<()> {
        if !allowed() {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let from = everything(&scratch)?;
        let image = scratch.path("image");
        let wanted = Wanted::usual();
        let expected = source::expected(&from, wanted)?;
        let call = Mkfs::under_test().fixed().args(options).filled_from(&from);
        call.arg(&image).arg("64M").make()?;
        assert_image(&image, &scratch, &expected, wanted)
    }

    #[test]
    fn blocks_of_4k() -> Result<()> {
        check(&["-b", "4096"])
    }

    #[test]
    fn blocks_of_1k() -> Result<()> {
        check(&["-b", "1024"])
    }

    /// Indirect blocks and linear directories.
    #[test]
    fn ext2() -> Result<()> {
        check(&["-t", "ext2", "-b", "1024", "-O", "^dir_index"])
    }

    #[test]
    fn one_thread() -> Result<()> {
        if !ours_only() {
            return Ok(());
        }
        check(&["--threads", "1"])
    }

    /// Without a fixed time, access and change times are the source's.
    #[test]
    fn times_of_the_source() -> Result<()> {
        if !allowed() || !ours_only() {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let from = scratch.make_dir("source")?;
        Source::Nasty.make(&from)?;
        // Reading moves an access time that is not younger than the change; once.
        std::thread::sleep(std::time::Duration::from_millis(30));
        Manifest::of(&from)?;
        let facts = ["type", "size", "atime", "mtime", "ctime"];
        let before = Manifest::of(&from)?;
        let image = scratch.path("image");
        let call = Mkfs::under_test().filled_from(&from);
        call.arg(&image).arg("32M").make()?;
        judge::fsck(&image)?;
        let seen = judge::kernel_manifest(&image, &scratch.path("mounted"), Depth::Full)?;
        let comparable = |tree: Manifest| {
            tree.keep(&facts)
                .without_in_directories(&["size"])
                .without_path("./lost+found")
        };
        comparable(before).assert_same(&comparable(seen), "the source", "the image")
    }

    /// The source's own lost+found is the image's, with what is in it.
    #[test]
    fn lost_and_found() -> Result<()> {
        if !allowed() {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let from = scratch.make_dir("source")?;
        fs::create_dir(from.join("lost+found"))?;
        fs::write(from.join("lost+found/#12"), b"found")?;
        fs::create_dir(from.join("lost+found/#13"))?;
        let image = scratch.path("image");
        let wanted = Wanted::usual();
        let expected = source::expected(&from, wanted)?;
        let call = Mkfs::under_test().fixed().filled_from(&from);
        call.arg(&image).arg("16M").make()?;
        judge::live_with(&image, &scratch.path("rw"), |root| {
            ensure!(fs::read(root.join("lost+found/#12"))? == b"found");
            Ok(())
        })?;
        let call = Mkfs::under_test().fixed().filled_from(&from).arg("-F");
        call.arg(&image).arg("16M").make()?;
        if Maker::under_test() == Maker::Extmap {
            assert_image(&image, &scratch, &expected, wanted)?;
        }
        Ok(())
    }

    #[test]
    fn empty() -> Result<()> {
        if !allowed() {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let from = scratch.make_dir("source")?;
        let image = scratch.path("image");
        let call = Mkfs::under_test().filled_from(&from);
        call.arg(&image).arg("8M").make()?;
        judge::live_with(&image, &scratch.path("mounted"), |root| {
            let names: Vec<_> = fs::read_dir(root)?.flatten().collect();
            ensure!(names.len() == 1, "more than lost+found");
            Ok(())
        })
        .map(drop)
    }

    /// A chain of directories whose path is longer than PATH_MAX.
    #[test]
    fn deeper_than_a_path() -> Result<()> {
        use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
        if !allowed() || !ours_only() {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let from = scratch.make_dir("source")?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut dir = openat(CWD, &from, flags, Mode::empty())?;
        let name = "d".repeat(200);
        for _ in 0..30 {
            mkdirat(&dir, &name, Mode::from_raw_mode(0o755))?;
            dir = openat(&dir, &name, flags, Mode::empty())?;
        }
        let file = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = openat(&dir, "bottom", file, Mode::from_raw_mode(0o644))?;
        rustix::io::write(&file, b"reached")?;
        let image = scratch.path("image");
        let call = Mkfs::under_test().filled_from(&from);
        call.arg(&image).arg("8M").make()?;
        judge::fsck(&image)?;
        let mount = KernelMount::read_only(&image, &scratch.path("mounted"))?;
        let mut dir = openat(CWD, mount.path(), flags, Mode::empty())?;
        for _ in 0..30 {
            dir = openat(&dir, &name, flags, Mode::empty())?;
        }
        let mut bytes = [0; 16];
        let file = openat(&dir, "bottom", OFlags::RDONLY, Mode::empty())?;
        let len = rustix::io::read(&file, &mut bytes)?;
        ensure!(&bytes[..len] == b"reached");
        drop((dir, file));
        mount.unmount()
    }

    fn crowded(options: &[&str], size: &str) -> Result<()> {
        // mke2fs takes minutes.
        if !allowed() || !ours_only() {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let from = scratch.make_dir("source")?;
        trees::crowd(&from.join("crowd"), 20_000, 40)?;
        trees::crowd(&from.join("few"), 40, 200)?;
        let image = scratch.path("image");
        let call = Mkfs::under_test().fixed().args(options).filled_from(&from);
        call.arg(&image).arg(size).make()?;
        judge::fsck(&image)?;
        let facts = ["type", "mode", "size"];
        let comparable = |tree: Manifest| {
            tree.keep(&facts)
                .without_in_directories(&["size"])
                .without_path("./lost+found")
                .without_at(".", &["*"])
        };
        let wanted = comparable(Manifest::with_depth(&from, Depth::Sampled)?);
        let mount = KernelMount::new(&image, &scratch.path("mounted"), judge::QUIET_MOUNT)?;
        let seen = comparable(Manifest::with_depth(mount.path(), Depth::Sampled)?);
        wanted.assert_same(&seen, "the source", "the image")?;
        // The kernel adds to the hash tree, and takes away from it.
        for number in 0..300 {
            File::create(mount.path().join(format!("crowd/one more {number}")))?;
        }
        for name in trees::crowd_names(2000, 40).step_by(7) {
            fs::remove_file(mount.path().join("crowd").join(name))?;
        }
        mount.unmount()?;
        judge::fsck(&image)
    }

    #[test]
    fn of_20_000_entries_1k() -> Result<()> {
        crowded(&["-b", "1024", "-i", "1024"], "64M")
    }

    #[test]
    fn of_20_000_entries_4k() -> Result<()> {
        crowded(&["-b", "4096", "-N", "21000"], "64M")
    }

    #[test]
    fn of_20_000_entries_large_dir() -> Result<()> {
        crowded(&["-b", "1024", "-i", "1024", "-O", "large_dir"], "64M")
    }

    #[test]
    fn of_20_000_entries_linear() -> Result<()> {
        crowded(
            &[
                "-t",
                "ext2",
                "-b",
                "4096",
                "-N",
                "21000",
                "-O",
                "^dir_index",
            ],
            "64M",
        )
    }

    /// Each file of some MiB is one extent; what is written is what is read.
    #[test]
    fn single_extents() -> Result<()> {
        if !allowed() {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let from = scratch.make_dir("source")?;
        let mut rng = Rng::new(3);
        for mib in [1, 2, 3, 5, 9] {
            fs::write(from.join(format!("{mib}")), rng.bytes((mib << 20) + 77))?;
        }
        for number in 0..200 {
            fs::write(from.join(format!("small {number}")), rng.bytes(5000))?;
        }
        let image = scratch.path("image");
        let wanted = Wanted::usual();
        let expected = source::expected(&from, wanted)?;
        let call = Mkfs::under_test().fixed().args(["-b", "4096"]);
        call.filled_from(&from).arg(&image).arg("64M").make()?;
        assert_image(&image, &scratch, &expected, wanted)?;
        for mib in [1, 2, 3, 5, 9] {
            let extents = debugfs::read(&image, &format!("ex /{mib}"))?;
            // A heading and a line for each extent.
            ensure!(extents.lines().count() == 2, "{mib} MiB: {extents}");
        }
        Ok(())
    }

    /// Three names, in different directories, of one file.
    #[test]
    fn hard_links() -> Result<()> {
        if !allowed() {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let from = scratch.make_dir("source")?;
        for dir in ["a", "b", "b/c"] {
            fs::create_dir(from.join(dir))?;
        }
        fs::write(from.join("b/first"), b"one content")?;
        fs::hard_link(from.join("b/first"), from.join("a/second"))?;
        fs::hard_link(from.join("b/first"), from.join("b/c/third"))?;
        // Another name of it lies outside of the tree.
        fs::hard_link(from.join("b/first"), scratch.path("outside"))?;
        let image = scratch.path("image");
        let call = Mkfs::under_test().filled_from(&from);
        call.arg(&image).arg("8M").make()?;
        judge::fsck(&image)?;
        let seen = judge::kernel_manifest(&image, &scratch.path("mounted"), Depth::Full)?;
        let facts = |path: &str| -> Result<(String, String)> {
            let facts = seen.files.get(Path::new(path)).context(path.to_owned())?;
            Ok((facts["ino"].clone(), facts["nlink"].clone()))
        };
        let first = facts("./b/first")?;
        ensure!(first == facts("./a/second")? && first == facts("./b/c/third")?);
        ensure!(first.1 == "3", "{} links", first.1);
        Ok(())
    }

    /// Unsparing holes: at the start, in the middle, at the end, of odd length.
    #[test]
    fn holes() -> Result<()> {
        use std::os::unix::fs::FileExt;
        if !allowed() {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let from = scratch.make_dir("source")?;
        let mut rng = Rng::new(5);
        for (name, len, places) in [
            ("far", (1u64 << 40) + 1, vec![0, 1 << 30, 1 << 40]),
            ("comb", 3 << 20, (0..64).map(|at| at * 40_960).collect()),
            ("tail", 100_000_001, vec![8192]),
            ("odd", 12_345, vec![]),
        ] {
            let file = File::create(from.join(name))?;
            file.set_len(len)?;
            for at in places {
                let piece = rng.bytes(4096.min(usize::try_from(len - at)?));
                file.write_all_at(&piece, at)?;
            }
        }
        let image = scratch.path("image");
        let wanted = Wanted::usual();
        let expected = source::expected(&from, wanted)?;
        let call = Mkfs::under_test().fixed().args(["-b", "4096"]);
        call.filled_from(&from).arg(&image).arg("16M").make()?;
        assert_image(&image, &scratch, &expected, wanted)
    }

    #[test]
    fn inode_flags() -> Result<()> {
        use system_tests::sys::{FLAG_APPEND, FLAG_IMMUTABLE, FLAG_NODUMP};
        if !allowed() || !ours_only() {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        // On a file system of its own: what is immutable cannot be removed here.
        let source_image = scratch.mke2fs("source-image", 8 << 20, &[])?;
        let mount = KernelMount::new(&source_image, &scratch.path("source"), "noatime")?;
        for (name, flag) in [
            ("immutable", FLAG_IMMUTABLE),
            ("append", FLAG_APPEND),
            ("nodump", FLAG_NODUMP),
        ] {
            fs::write(mount.path().join(name), name)?;
            trees::flagged(&mount.path().join(name), flag)?;
        }
        let image = scratch.path("image");
        let wanted = Wanted::usual();
        let expected = source::expected(mount.path(), wanted)?;
        let call = Mkfs::under_test().fixed().filled_from(mount.path());
        call.arg(&image).arg("8M").make()?;
        assert_image(&image, &scratch, &expected, wanted)?;
        mount.unmount()
    }
}

mod tar {
    use super::*;

    /// A tree as an archive holds it: no sockets; holes only if the archive has
    /// them.
    fn packable(scratch: &Scratch, holes: bool) -> Result<PathBuf> {
        let from = everything(scratch)?;
        fs::remove_file(from.join("nasty/kinds/socket"))?;
        if !holes {
            fs::remove_dir_all(from.join("nasty/holes"))?;
        }
        Ok(from)
    }

    struct Kept {
        fractions: bool,
        attributes: bool,
    }

    /// What an image made from an archive of `from` has to show.
    fn expected(from: &Path, kept: &Kept, wanted: Wanted) -> Result<Manifest> {
        let mut tree = source::expected(from, wanted)?;
        if !kept.fractions {
            tree = tree.whole_seconds();
        }
        if !kept.attributes {
            tree = tree.without(&["xattr.*"]);
        }
        Ok(tree.without(&["attribute flags"]))
    }

    fn assert_packed(
        image: &Path,
        scratch: &Scratch,
        expected: &Manifest,
        kept: &Kept,
    ) -> Result<()> {
        judge::fsck(image)?;
        let wanted = Wanted {
            fine_times: kept.fractions,
            ..Wanted::usual()
        };
        let mount = KernelMount::read_only(image, &scratch.path("mounted"))?;
        let expected = if kept.fractions {
            expected.clone()
        } else {
            expected.clone().without(&["btime"])
        };
        // An archive says nothing of inode flags.
        let mut all = expected;
        for facts in all.files.values_mut() {
            let kind = facts.get("type").map_or("", String::as_str);
            if ["RegularFile", "Directory"].contains(&kind) {
                facts.insert("attribute flags".into(), "0x0".into());
            }
        }
        source::assert_filled(&all, mount.path(), wanted)?;
        mount.unmount()
    }

    const ALL: &[&str] = &[
        "--format=pax",
        "--sparse",
        "--acls",
        "--xattrs",
        "--xattrs-include=*",
    ];

    const WHOLE: Kept = Kept {
        fractions: true,
        attributes: true,
    };

    /// Packs, fills from the archive by its name, compares.
    fn check(options: &[&str], filter: &str, holes: bool, kept: &Kept) -> Result<()> {
        if !allowed() || !ours_only() || !skip::allowed(&[Need::Tool("xz"), Need::Tool("zstd")]) {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let from = packable(&scratch, holes)?;
        let expected = expected(&from, kept, Wanted::usual())?;
        let (packed, image) = (scratch.path("archive"), scratch.path("image"));
        pack(&from, &packed, options, filter)?;
        let call = Mkfs::under_test().fixed().filled_from(&packed);
        call.arg(&image).arg("64M").make()?;
        assert_packed(&image, &scratch, &expected, kept)
    }

    #[test]
    fn pax_with_attributes() -> Result<()> {
        check(ALL, "cat", true, &WHOLE)
    }

    /// As those pack who want equal archives of equal trees.
    #[test]
    fn pax_without_times_of_the_host() -> Result<()> {
        let options = [ALL, &["--pax-option=delete=atime,delete=ctime"]].concat();
        check(&options, "cat", true, &WHOLE)
    }

    #[test]
    fn pax_sparse_0_1() -> Result<()> {
        let options = ["--format=pax", "--sparse", "--sparse-version=0.1"];
        let kept = Kept {
            fractions: true,
            attributes: false,
        };
        check(&options, "cat", true, &kept)
    }

    #[test]
    fn pax_sparse_0_0() -> Result<()> {
        let options = ["--format=pax", "--sparse", "--sparse-version=0.0"];
        let kept = Kept {
            fractions: true,
            attributes: false,
        };
        check(&options, "cat", true, &kept)
    }

    const BARE: Kept = Kept {
        fractions: false,
        attributes: false,
    };

    #[test]
    fn gnu() -> Result<()> {
        check(&["--format=gnu"], "cat", false, &BARE)
    }

    #[test]
    fn gnu_sparse() -> Result<()> {
        check(&["--format=gnu", "--sparse"], "cat", true, &BARE)
    }

    #[test]
    fn gzip() -> Result<()> {
        check(ALL, "gzip", true, &WHOLE)
    }

    #[test]
    fn zstd() -> Result<()> {
        check(ALL, "zstd", true, &WHOLE)
    }

    #[test]
    fn xz() -> Result<()> {
        check(ALL, "xz", true, &WHOLE)
    }

    /// Compressed files one after the other are one stream, as their tools hold.
    #[test]
    fn several_compressed_streams() -> Result<()> {
        if !allowed() || !ours_only() || !skip::allowed(&[Need::Tool("xz"), Need::Tool("zstd")]) {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let whole = archive::archive(&[
            Member::directory("dir"),
            Member::file("dir/file", &Rng::new(1).bytes(70_000)),
        ]);
        let (first, second) = whole.split_at(30_000);
        for filter in ["gzip", "zstd", "xz"] {
            let mut packed = Vec::new();
            for half in [first, second] {
                let half = scratch.file("half", half)?;
                let output = Command::new(filter).arg("-c").arg(&half).output()?;
                packed.extend(output.stdout);
            }
            let packed = scratch.file("packed", &packed)?;
            let image = scratch.path(filter);
            let call = Mkfs::under_test().filled_from(&packed);
            call.arg(&image).arg("4M").make().context(filter)?;
            judge::fsck(&image)?;
            let stat = debugfs::read(&image, "stat /dir/file")?;
            ensure!(stat.contains("Size: 70000"), "{filter}: {stat}");
        }
        Ok(())
    }

    fn from_pipe(filter: &str, program: &str) -> Result<()> {
        if !allowed() || !ours_only() || !skip::allowed(&[Need::Tool("xz"), Need::Tool("zstd")]) {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let from = packable(&scratch, true)?;
        let expected = expected(&from, &WHOLE, Wanted::usual())?;
        let (packed, image) = (scratch.path("archive"), scratch.path("image"));
        pack(&from, &packed, ALL, filter)?;
        let mut call = Mkfs::under_test().fixed().args(["-d", "-"]);
        let mut writer;
        if program == "file" {
            call = call.stdin_file(&packed)?;
        } else {
            writer = ChildGuard(
                Command::new("cat")
                    .arg(&packed)
                    .stdout(Stdio::piped())
                    .spawn()?,
            );
            call = call.stdin_of(&mut writer.0)?;
        }
        call.arg(&image).arg("64M").make()?;
        assert_packed(&image, &scratch, &expected, &WHOLE)
    }

    #[test]
    fn standard_input_pipe() -> Result<()> {
        from_pipe("cat", "cat")
    }

    #[test]
    fn standard_input_file() -> Result<()> {
        from_pipe("cat", "file")
    }

    #[test]
    fn standard_input_zstd() -> Result<()> {
        from_pipe("zstd", "cat")
    }

    #[test]
    fn standard_input_gzip_file() -> Result<()> {
        from_pipe("gzip", "file")
    }

    /// An ordinary user makes an image with root's files and devices in it.
    #[test]
    fn owners_without_root() -> Result<()> {
        if !allowed() || !ours_only() || !skip::allowed(&[Need::Tool("setpriv")]) {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let from = packable(&scratch, true)?;
        let expected = expected(&from, &WHOLE, Wanted::usual())?;
        let packed = scratch.path("archive");
        pack(&from, &packed, ALL, "cat")?;
        let dir = scratch.make_dir("theirs")?;
        std::os::unix::fs::chown(&dir, Some(1000), Some(1000))?;
        let image = dir.join("image");
        let call = Mkfs::under_test().fixed().through([
            "setpriv",
            "--reuid=1000",
            "--regid=1000",
            "--clear-groups",
        ]);
        call.filled_from(&packed).arg(&image).arg("64M").make()?;
        assert_packed(&image, &scratch, &expected, &WHOLE)
    }

    #[test]
    fn empty() -> Result<()> {
        if !allowed() || !ours_only() {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let packed = scratch.file("archive", &archive::archive(&[]))?;
        let image = scratch.path("image");
        let call = Mkfs::under_test().filled_from(&packed);
        call.arg(&image).arg("8M").make()?;
        judge::live_with(&image, &scratch.path("mounted"), |_| Ok(())).map(drop)
    }

    /// What tar(1) does not write, but others do.
    #[test]
    fn made_by_hand() -> Result<()> {
        if !allowed() || !ours_only() {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let mut prefixed = Member::file("tail", b"prefixed").header();
        prefixed[345..349].copy_from_slice(b"head");
        archive::seal(&mut prefixed);
        let long = format!("long/{}", "n".repeat(255));
        let mut bytes = archive::without_end(&[
            Member::file("implied/parents/file", b"no directory before"),
            Member::file("./dot/./inside", b"dots"),
            Member::directory("slash//"),
            Member::file("twice", b"the first"),
            Member::file("twice", b"the second wins"),
            Member::hard_link("implied/link", "implied/parents/file"),
            Member::symlink("symlink", "../outside is fine for a symlink"),
            Member::file("x", b"long").with_pax("path", long.as_bytes()),
            Member::file("dated", b"")
                .with_pax("mtime", b"-1.25")
                .with_pax("uid", b"4294967294")
                .with_pax("comment", b"ignored")
                .with_pax("SCHILY.xattr.user.k", b"v=1\n\0"),
            Member {
                uid: 0o7_654_321,
                gid: 12,
                mode: 0o106755,
                ..Member::file("owned", b"owned")
            },
            Member {
                device: (5, 1),
                ..Member::new("console", b'3')
            },
            // Written by old tools: no type flag.
            Member::new("old", 0),
        ]);
        bytes.extend(prefixed);
        bytes.extend(b"prefixed");
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes.extend([0; 10_240]);
        let packed = scratch.file("archive", &bytes)?;
        let image = scratch.path("image");
        let call = Mkfs::under_test().fixed().filled_from(&packed);
        call.arg(&image).arg("8M").make()?;
        judge::fsck(&image)?;
        let seen = judge::kernel_manifest(&image, &scratch.path("mounted"), Depth::Full)?;
        for (path, fact, value) in [
            ("./implied/parents", "type", "Directory"),
            ("./implied/parents/file", "nlink", "2"),
            ("./implied/link", "size", "19"),
            ("./dot/inside", "size", "4"),
            ("./slash", "type", "Directory"),
            ("./twice", "size", "15"),
            (
                "./symlink",
                "target",
                "\"../outside is fine for a symlink\"",
            ),
            (&format!("./{long}"), "size", "4"),
            ("./dated", "mtime", "-2.750000000"),
            ("./dated", "uid", "4294967294"),
            ("./dated", "xattr.user.k", "763d310a00"),
            ("./owned", "uid", "2054353"),
            ("./owned", "gid", "12"),
            ("./owned", "mode", "6755"),
            ("./console", "rdev", "5:1"),
            ("./console", "type", "CharacterDevice"),
            ("./old", "type", "RegularFile"),
            ("./head/tail", "size", "8"),
        ] {
            let facts = seen.files.get(Path::new(path)).context(path.to_owned())?;
            let found = facts.get(fact).map_or("nothing", String::as_str);
            ensure!(found == value, "{path}: {fact} is {found}, not {value}");
        }
        Ok(())
    }
}

mod attributes {
    use super::*;

    /// An archive with one attribute of each of these lengths, each in a file of
    /// its own, and two files with the same long value.
    fn packed(scratch: &Scratch, lens: &[usize]) -> Result<PathBuf> {
        let mut members = Vec::new();
        for &len in lens {
            let value = Rng::new(len as u64).bytes(len);
            for name in ["once", "again"] {
                let file = Member::file(&format!("{len} {name}"), b"attributed");
                members.push(file.with_pax("SCHILY.xattr.user.large", &value));
            }
        }
        scratch.file("archive", &archive::archive(&members))
    }

    fn check(options: &[&str], lens: &[usize]) -> Result<()> {
        if !allowed() || !ours_only() {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let packed = packed(&scratch, lens)?;
        let image = scratch.path("image");
        let call = Mkfs::under_test().args(options).filled_from(&packed);
        call.arg(&image).arg("16M").make()?;
        judge::live_with(&image, &scratch.path("mounted"), |root| {
            for &len in lens {
                for name in ["once", "again"] {
                    let path = root.join(format!("{len} {name}"));
                    let mut value = vec![0; 70_000];
                    let got = rustix::fs::lgetxattr(&path, "user.large", &mut value[..])
                        .with_context(|| format!("{len} bytes"))?;
                    let wanted = Rng::new(len as u64).bytes(len);
                    ensure!(value[..got] == wanted, "{len} bytes differ");
                }
            }
            Ok(())
        })
        .map(drop)
    }

    #[test]
    fn in_a_block() -> Result<()> {
        check(&["-b", "4096"], &[0, 1, 60, 100, 500, 3900])
    }

    #[test]
    fn in_large_inodes() -> Result<()> {
        check(&["-b", "4096", "-I", "1024"], &[0, 1, 500, 700, 850, 3900])
    }

    #[test]
    fn in_inodes_of_their_own() -> Result<()> {
        let lens = [1, 100, 3900, 4096, 5000, 30_000, 65_000];
        check(&["-b", "4096", "-O", "ea_inode"], &lens)
    }

    #[test]
    fn in_inodes_of_their_own_1k() -> Result<()> {
        let lens = [1, 100, 900, 1024, 2000, 30_000];
        check(&["-b", "1024", "-O", "ea_inode,inline_data"], &lens)
    }

    #[test]
    fn too_large() -> Result<()> {
        if !allowed() || !ours_only() {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let packed = packed(&scratch, &[5000])?;
        let image = scratch.path("image");
        let call = Mkfs::under_test().filled_from(&packed);
        refusal::refused(call.arg(&image).arg("16M"), &image, &["5000 ", "ea_inode"]).map(drop)
    }
}

mod changed_on_the_way {
    use super::*;

    #[test]
    fn owner() -> Result<()> {
        if !allowed() || !ours_only() {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let from = scratch.make_dir("source")?;
        Source::Nasty.make(&from)?;
        let image = scratch.path("image");
        let wanted = Wanted::usual();
        let mut expected = source::expected(&from, wanted)?;
        for facts in expected.files.values_mut() {
            facts.insert("uid".into(), "1234".into());
            facts.insert("gid".into(), "70000".into());
        }
        let call = Mkfs::under_test().fixed().args(["--owner", "1234:70000"]);
        call.filled_from(&from).arg(&image).arg("32M").make()?;
        assert_image(&image, &scratch, &expected, wanted)
    }

    #[test]
    fn root_directory() -> Result<()> {
        if !allowed() || !ours_only() {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let from = scratch.make_dir("source")?;
        Source::Tiny.make(&from)?;
        let image = scratch.path("image");
        let wanted = Wanted::usual();
        let mut expected = source::expected(&from, wanted)?;
        let root = expected.files.get_mut(Path::new(".")).context("no root")?;
        root.insert("uid".into(), "12".into());
        root.insert("gid".into(), "13".into());
        root.insert("mode".into(), "1777".into());
        let call = Mkfs::under_test().fixed();
        let call = call.args(["-E", "root_owner=12:13,root_perms=1777"]);
        call.filled_from(&from).arg(&image).arg("8M").make()?;
        assert_image(&image, &scratch, &expected, wanted)
    }

    #[test]
    fn clamped_times() -> Result<()> {
        if !allowed() || !ours_only() {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let from = scratch.make_dir("source")?;
        Source::Nasty.make(&from)?;
        let late = from.join("late");
        fs::write(&late, b"late")?;
        trees::at_time(&late, (EPOCH + 9, 5), (EPOCH + 9, 5))?;
        let on_time = from.join("on time");
        fs::write(&on_time, b"on time")?;
        trees::at_time(&on_time, (EPOCH, 0), (EPOCH, 0))?;
        let image = scratch.path("image");
        let wanted = Wanted::usual();
        let mut expected = source::expected(&from, wanted)?;
        let mut clamped = 0;
        for facts in expected.files.values_mut() {
            let mtime: f64 = facts["mtime"].parse()?;
            if mtime > EPOCH as f64 {
                for time in ["atime", "mtime"] {
                    facts.insert(time.into(), format!("{EPOCH}.000000000"));
                }
                clamped += 1;
            }
        }
        ensure!(clamped > 3, "the source has nothing to clamp");
        let call = Mkfs::under_test().fixed().args(["--clamp-mtime"]);
        call.filled_from(&from).arg(&image).arg("32M").make()?;
        assert_image(&image, &scratch, &expected, wanted)
    }

    /// Without a fixed time the present is the limit.
    #[test]
    fn clamped_to_the_present() -> Result<()> {
        if !allowed() || !ours_only() {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let from = scratch.make_dir("source")?;
        fs::write(from.join("future"), b"")?;
        fs::write(from.join("past"), b"")?;
        trees::at_time(&from.join("future"), (0, 0), (9_000_000_000, 0))?;
        trees::at_time(&from.join("past"), (0, 0), (900_000_000, 0))?;
        let image = scratch.path("image");
        let call = Mkfs::under_test().args(["--clamp-mtime"]);
        call.filled_from(&from).arg(&image).arg("8M").make()?;
        let now = std::time::UNIX_EPOCH.elapsed()?.as_secs_f64();
        let seen = judge::kernel_manifest(&image, &scratch.path("mounted"), Depth::Full)?;
        let mtime = |path: &str| -> Result<f64> {
            let facts = seen.files.get(Path::new(path)).context(path.to_owned())?;
            Ok(facts["mtime"].parse()?)
        };
        ensure!(mtime("./past")? == 900_000_000.0);
        let future = mtime("./future")?;
        ensure!((now - 60.0..=now + 1.0).contains(&future), "{future}");
        Ok(())
    }
}

mod size {
    use super::*;

    /// Makes the image without a SIZE and holds it against its tree.
    fn minimal(options: &[&str], make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        if !allowed() || !ours_only() {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let from = scratch.make_dir("source")?;
        make(&from)?;
        let image = scratch.path("image");
        let wanted = Wanted::usual();
        let expected = source::expected(&from, wanted)?;
        let fill = || Mkfs::under_test().fixed().args(options).filled_from(&from);
        fill().arg(&image).make()?;
        assert_image(&image, &scratch, &expected, wanted)?;
        let dump = Dump::of(&image)?;
        let (blocks, free) = (dump.number("Block count")?, dump.number("Free blocks")?);
        let block_len = dump.number("Block size")?;
        ensure!(image.metadata()?.len() == blocks * block_len);
        // Slack: a group's granularity of inode tables, and what a smaller size
        // would have to do without.
        let slack = 64.max(blocks / 20);
        ensure!(free <= slack, "{free} of {blocks} blocks are free");
        refused_when_smaller(&scratch, &fill, blocks, block_len)
    }

    /// A few blocks less are refused with the size that is needed. That size is
    /// enough, and not much less would be. (It may be more than the smallest image
    /// has, whose inodes and journal follow from the tree and not from a SIZE.)
    fn refused_when_smaller(
        scratch: &Scratch,
        fill: &dyn Fn() -> Mkfs,
        blocks: u64,
        block_len: u64,
    ) -> Result<()> {
        let (small, enough) = (scratch.path("small"), scratch.path("enough"));
        let size = |blocks: u64| format!("{}s", blocks * block_len / 512);
        let refuse = |blocks: u64| -> Result<String> {
            let call = fill().arg(&small).arg(size(blocks));
            refusal::refused(call, &small, &[]).with_context(|| format!("{blocks} blocks"))
        };
        let less = blocks - 4.max(blocks / 20);
        let mut said = refuse(less)?;
        if said.contains("too few for a file system") {
            return Ok(());
        }
        let needed: u64 = said
            .split("needs ")
            .nth(1)
            .and_then(|rest| rest.split(' ').next()?.parse().ok())
            .with_context(|| format!("no size is named: {said}"))?;
        if said.contains("inodes") {
            // Not a question of blocks alone; the number is of inodes.
            return Ok(());
        }
        fill().arg(&enough).arg(size(needed)).make()?;
        judge::fsck(&enough)?;
        said = refuse(needed - 4.max(needed / 20))?;
        ensure!(said.contains("need"));
        Ok(())
    }

    #[test]
    fn minimal_tiny() -> Result<()> {
        minimal(&[], |root| Source::Tiny.make(root))
    }

    #[test]
    fn minimal_nasty() -> Result<()> {
        minimal(&[], |root| Source::Nasty.make(root))
    }

    #[test]
    fn minimal_1k() -> Result<()> {
        minimal(&["-b", "1024"], |root| Source::Nasty.make(root))
    }

    #[test]
    fn minimal_no_journal() -> Result<()> {
        minimal(
            &["-b", "4096", "-O", "^has_journal,^resize_inode"],
            |root| Source::Nasty.make(root),
        )
    }

    #[test]
    fn minimal_inline_data() -> Result<()> {
        minimal(&["-O", "inline_data"], |root| Source::Nasty.make(root))
    }

    #[test]
    fn minimal_populous() -> Result<()> {
        minimal(&[], |root| trees::populous(root, 60, 1500, 8000).map(drop))
    }

    #[test]
    fn minimal_many_empty_files() -> Result<()> {
        minimal(&["-b", "4096"], |root| {
            trees::crowd(&root.join("dir"), 3000, 20)
        })
    }

    #[test]
    fn minimal_one_large_file() -> Result<()> {
        minimal(&["-b", "4096"], |root| {
            Ok(fs::write(root.join("large"), Rng::new(1).bytes(20 << 20))?)
        })
    }

    #[test]
    fn minimal_small_groups() -> Result<()> {
        minimal(&["-b", "1024", "-g", "1024"], |root| {
            Source::Nasty.make(root)
        })
    }

    #[test]
    fn headroom() -> Result<()> {
        if !allowed() || !ours_only() {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let from = scratch.make_dir("source")?;
        trees::populous(&from, 20, 400, 20_000)?;
        let mut free = Vec::new();
        for percent in ["0", "10", "100"] {
            let image = scratch.path(percent);
            let call = Mkfs::under_test().fixed().args(["--headroom", percent]);
            call.filled_from(&from).arg(&image).make()?;
            judge::fsck(&image)?;
            let dump = Dump::of(&image)?;
            free.push((dump.number("Free blocks")?, dump.number("Block count")?));
        }
        let (_, least) = free[0];
        ensure!(
            free[1].1 > least && free[1].0 >= least / 20,
            "with 10 percent: {free:?}"
        );
        ensure!(
            free[2].1 >= least * 17 / 10 && free[2].0 >= least * 7 / 10,
            "with 100 percent: {free:?}"
        );
        Ok(())
    }

    /// Too few inodes are said as such.
    #[test]
    fn too_few_inodes() -> Result<()> {
        if !allowed() {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let from = scratch.make_dir("source")?;
        trees::crowd(&from.join("dir"), 500, 20)?;
        let image = scratch.path("image");
        let call = Mkfs::under_test().args(["-N", "100"]).filled_from(&from);
        refusal::refused(call.arg(&image).arg("8M"), &image, &["inodes"]).map(drop)
    }

    /// The size an image file has is the size, if none is given.
    #[test]
    fn of_the_file() -> Result<()> {
        if !allowed() {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let image = scratch.sparse("image", 9_000_000)?;
        Mkfs::under_test().args(["-q"]).arg(&image).make()?;
        judge::fsck(&image)?;
        let dump = Dump::of(&image)?;
        let len = dump.number("Block count")? * dump.number("Block size")?;
        ensure!(image.metadata()?.len() == 9_000_000);
        ensure!((8_990_000..=9_000_000).contains(&len), "{len}");
        Ok(())
    }

    #[test]
    fn smaller_than_the_file() -> Result<()> {
        if !allowed() {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let image = scratch.sparse("image", 64 << 20)?;
        Mkfs::under_test()
            .args(["-q"])
            .arg(&image)
            .arg("16M")
            .make()?;
        judge::fsck(&image)?;
        let dump = Dump::of(&image)?;
        ensure!(dump.number("Block count")? * dump.number("Block size")? == 16 << 20);
        tool::run("e2fsck", &["-fn".as_ref(), image.as_os_str()]).map(drop)
    }
}

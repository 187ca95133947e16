//! What `extmap mkfs` cannot do: one sentence that names the culprit, exit code 1,
//! and nothing on the device that looks valid.

use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use system_tests::guards::LoopDevice;
use system_tests::mkfs::archive::{self, Member};
use system_tests::mkfs::judge::{fsck, has_magic};
use system_tests::mkfs::refusal::{self, refused};
use system_tests::mkfs::source::Source;
use system_tests::mkfs::{Maker, Mkfs, TOOLS};
use system_tests::program::Ended;
use system_tests::rng::Rng;
use system_tests::scratch::Scratch;
use system_tests::skip::{self, Need};
use system_tests::tool;

/// mke2fs, in the program's place, does not refuse this, or not so.
fn ours_only() -> bool {
    let ours = Maker::under_test() == Maker::Extmap;
    if !ours {
        skip::record("mke2fs 1.47.0 does otherwise");
    }
    ours
}

/// `OPTIONS IMAGE SIZE` is refused with `words`, and no image is made.
fn refuse(options: &[&str], size: &str, words: &[&str]) -> Result<()> {
    if !skip::allowed(TOOLS) {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let image = scratch.path("image");
    let call = Mkfs::under_test().args(options).arg(&image).arg(size);
    refused(call, &image, words)
        .map(drop)
        .with_context(|| format!("{options:?} {size}"))
}

fn refuse_each(cases: &[(&[&str], &str, &[&str])]) -> Result<()> {
    for (options, size, words) in cases {
        refuse(options, size, words)?;
    }
    Ok(())
}

/// `OPTIONS -d SOURCE IMAGE 16M` is refused with `words`, and no image is made.
fn refuse_source(source: &Path, words: &[&str]) -> Result<()> {
    let scratch = Scratch::new()?;
    let image = scratch.path("image");
    let call = Mkfs::under_test()
        .filled_from(source)
        .arg(&image)
        .arg("16M");
    refused(call, &image, words).map(drop)?;
    // The same into a file that is there, and whose bytes are somebody's.
    let image = scratch.file("there", &[0xaa; 20 << 20])?;
    let call = Mkfs::under_test().arg("-F").filled_from(source);
    refused(call.arg(&image).arg("16M"), &image, words).map(drop)
}

mod size {
    use super::*;

    #[test]
    fn zero() -> Result<()> {
        refuse(&[], "0", &[])
    }

    #[test]
    fn no_number() -> Result<()> {
        refuse_each(&[
            (&[], "many", &["many"]),
            (&[], "12x", &["12x"]),
            (&[], "1.5.5M", &["1.5.5M"]),
            (&[], "0x", &["0x"]),
            (&[], " ", &[]),
            (&[], "12MM", &["12MM"]),
            (&[], "99999999999999999999999", &["99999999999999999999999"]),
            (&[], "18446744073709551615K", &[]),
        ])
    }

    #[test]
    fn negative() -> Result<()> {
        refuse(&["--"], "-5", &["-5"])
    }

    #[test]
    fn below_the_minimum() -> Result<()> {
        refuse_each(&[
            (&[], "1", &[]),
            (&[], "9", &[]),
            (&["-b", "4096"], "5", &[]),
            (&["-b", "1024", "-O", "^has_journal"], "20", &[]),
            (&["-F", "-b", "65536"], "3", &[]),
        ])
    }

    #[test]
    fn beyond_the_features() -> Result<()> {
        refuse_each(&[
            (&["-b", "4096", "-O", "^64bit"], "17T", &["64bit"]),
            (&["-t", "ext2", "-b", "1024"], "5T", &[]),
            (
                &["-t", "ext2", "-r", "0", "-O", "none", "-b", "4096"],
                "17T",
                &[],
            ),
        ])
    }

    #[test]
    fn beyond_the_file() -> Result<()> {
        if !skip::allowed(TOOLS) || !ours_only() {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let image = scratch.sparse("image", 8 << 20)?;
        let call = Mkfs::under_test().arg(&image).arg("9M");
        refused(call, &image, &["image"])?;
        ensure!(image.metadata()?.len() == 8 << 20, "the file has grown");
        Ok(())
    }

    #[test]
    fn beyond_the_device() -> Result<()> {
        if !skip::allowed(TOOLS) || !skip::allowed(&[Need::Root, Need::Loop]) {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let image = scratch.sparse("image", 8 << 20)?;
        let device = LoopDevice::attach(&image, &[])?;
        let call = Mkfs::under_test().arg(device.path()).arg("9M");
        refused(call, device.path(), &["loop"]).map(drop)
    }

    #[test]
    fn missing() -> Result<()> {
        if !skip::allowed(TOOLS) {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let image = scratch.path("image");
        refused(Mkfs::under_test().arg(&image), &image, &["image"]).map(drop)?;
        let image = scratch.file("empty", b"")?;
        refused(Mkfs::under_test().arg(&image), &image, &[]).map(drop)
    }
}

mod option {
    use super::*;

    #[test]
    fn block_size() -> Result<()> {
        refuse_each(&[
            (&["-b", "0"], "16M", &["0"]),
            (&["-b", "512"], "16M", &["512"]),
            (&["-b", "1000"], "16M", &["1000"]),
            (&["-F", "-b", "131072"], "64M", &["131072"]),
            (&["-b", "4294967296"], "64M", &["4294967296"]),
            (&["-b", "large"], "64M", &["large"]),
        ])?;
        if !ours_only() {
            return Ok(());
        }
        refuse(&["-b", "3072"], "16M", &["3072"])
    }

    #[test]
    fn inode_size() -> Result<()> {
        refuse_each(&[
            (&["-I", "64"], "16M", &["64"]),
            (&["-I", "300"], "16M", &["300"]),
            (&["-b", "1024", "-I", "2048"], "16M", &["2048"]),
            (&["-I", "x"], "16M", &["x"]),
        ])
    }

    #[test]
    fn inodes() -> Result<()> {
        refuse_each(&[
            (&["-i", "100"], "16M", &["100"]),
            (&["-i", "999999999"], "16M", &["999999999"]),
            (&["-i", "x"], "16M", &["x"]),
            (&["-N", "x"], "16M", &["x"]),
            (&["-N", "4000000000"], "16M", &[]),
            (&["-N", "99999999999"], "16M", &["99999999999"]),
        ])
    }

    #[test]
    fn groups() -> Result<()> {
        refuse_each(&[
            (&["-g", "1001"], "16M", &["1001"]),
            (&["-b", "1024", "-g", "65536"], "16M", &["65536"]),
            (&["-g", "8"], "16M", &["8"]),
            (&["-G", "3"], "16M", &["3"]),
            (&["-G", "0"], "16M", &["0"]),
            (&["-G", "16", "-O", "^flex_bg"], "16M", &["flex_bg"]),
        ])
    }

    #[test]
    fn reserved_percentage() -> Result<()> {
        refuse_each(&[
            (&["-m", "51"], "16M", &["51"]),
            (&["-m", "-1"], "16M", &["-1"]),
            (&["-m", "x"], "16M", &["x"]),
            (&["-m", "nan"], "16M", &["nan"]),
        ])
    }

    #[test]
    fn journal() -> Result<()> {
        refuse_each(&[
            (&["-J", "size=x"], "64M", &["x"]),
            (&["-b", "4096", "-J", "size=2"], "64M", &[]),
            (&["-J", "size=100"], "64M", &["journal"]),
            (&["-J", "colour=red"], "64M", &["colour"]),
        ])
    }

    #[test]
    fn extended() -> Result<()> {
        refuse_each(&[
            (&["-E", "unknown=1"], "16M", &["unknown"]),
            (&["-E", "stride"], "16M", &["stride"]),
            (&["-E", "stride=x"], "16M", &["x"]),
            (&["-E", "offset=x"], "16M", &["x"]),
            (&["-E", "hash_seed=short"], "16M", &["short"]),
            (&["-E", "resize=x"], "16M", &["x"]),
            (&["-E", "resize=10"], "16M", &["10"]),
            (
                &["-E", "num_backup_sb=3", "-O", "sparse_super2"],
                "64M",
                &["3"],
            ),
            (&["-E", "root_owner=x:y"], "16M", &["x"]),
            (
                &["-E", "orphan_file_size=x", "-O", "orphan_file"],
                "64M",
                &["x"],
            ),
            (
                &["-E", "mmp_update_interval=301", "-O", "mmp"],
                "16M",
                &["301"],
            ),
        ])
    }

    #[test]
    fn feature_unknown() -> Result<()> {
        refuse_each(&[
            (&["-O", "no_such_feature"], "16M", &["no_such_feature"]),
            (&["-O", "^no_such_feature"], "16M", &["no_such_feature"]),
            (&["-O", "compression"], "16M", &["compression"]),
        ])
    }

    /// The two that do not go together are both named.
    #[test]
    fn feature_conflicts() -> Result<()> {
        refuse_each(&[
            (
                &["-O", "meta_bg,resize_inode"],
                "64M",
                &["meta_bg", "resize_inode"],
            ),
            (
                &["-O", "resize_inode,^sparse_super"],
                "64M",
                &["resize_inode", "sparse_super"],
            ),
            (
                &["-O", "orphan_file,^has_journal"],
                "64M",
                &["orphan_file", "has_journal"],
            ),
            (
                &["-O", "metadata_csum_seed,^metadata_csum"],
                "64M",
                &["metadata_csum_seed", "metadata_csum"],
            ),
        ])?;
        if !ours_only() {
            return Ok(());
        }
        refuse_each(&[
            (
                &["-O", "fast_commit,^has_journal"],
                "64M",
                &["fast_commit", "has_journal"],
            ),
            (&["-O", "inline_data", "-I", "128"], "64M", &["inline_data"]),
            (
                &["-E", "packed_meta_blocks=1", "-O", "^flex_bg"],
                "64M",
                &["packed_meta_blocks", "flex_bg"],
            ),
        ])
    }

    #[test]
    fn label_or_path_too_long() -> Result<()> {
        if !ours_only() {
            return Ok(());
        }
        let path = format!("/{}", "p".repeat(64));
        refuse_each(&[
            (&["-L", "seventeen bytes 17"], "16M", &["label"]),
            (
                &[
                    "-L",
                    "\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}",
                ],
                "16M",
                &["label"],
            ),
            (&["-M", &path], "16M", &["-M"]),
        ])
    }

    #[test]
    fn uuid() -> Result<()> {
        refuse_each(&[
            (&["-U", "junk"], "16M", &["junk"]),
            (&["-U", "11111111-2222-4333-8444-55555555555"], "16M", &[]),
        ])
    }

    #[test]
    fn types() -> Result<()> {
        refuse_each(&[
            (&["-t", "xfs"], "16M", &["xfs"]),
            (&["-o", "no_such_system"], "16M", &["no_such_system"]),
            (&["-r", "7"], "16M", &["7"]),
            (&["-C", "1000"], "16M", &["-C"]),
        ])?;
        if !ours_only() {
            return Ok(());
        }
        refuse(&["-T", "no_such_usage"], "16M", &["no_such_usage"])
    }

    #[test]
    fn of_our_own() -> Result<()> {
        if !ours_only() {
            return Ok(());
        }
        refuse_each(&[
            (&["--headroom", "x"], "16M", &["x"]),
            (&["--headroom", "-1"], "16M", &["-1"]),
            (&["--owner", "root"], "16M", &["root"]),
            (&["--owner", "1:2:3"], "16M", &["1:2:3"]),
            (&["--threads", "0"], "16M", &["0"]),
            (&["--threads", "x"], "16M", &["x"]),
            (
                &["--profile", "/no/such/profile"],
                "16M",
                &["/no/such/profile"],
            ),
        ])
    }

    #[test]
    fn profile_damaged() -> Result<()> {
        if !ours_only() || !skip::allowed(TOOLS) {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        for text in [
            "[defaults\n",
            "blocksize = 4096\n",
            "[fs_types]\n ext4 = {\n features = has_journal\n",
            "[defaults]\n blocksize = large\n",
            "[defaults]\n base_features = nonsense\n",
        ] {
            let profile = scratch.file("profile", text.as_bytes())?;
            let image = scratch.path("image");
            let call = Mkfs::under_test().arg("--profile").arg(&profile);
            refused(call.arg(&image).arg("16M"), &image, &[]).context(text)?;
        }
        Ok(())
    }

    #[test]
    fn unknown_or_missing_arguments() -> Result<()> {
        let scratch = Scratch::new()?;
        let image = scratch.path("image");
        for args in [&["--no-such-option"][..], &["-b"], &["-Z"]] {
            let call = Mkfs::under_test().arg(&image).arg("16M").args(args);
            let ended = call.run()?;
            ensure!(!ended.success() && !image.exists(), "{args:?}: {ended}");
        }
        ensure!(!Mkfs::under_test().run()?.success(), "no device");
        let call = Mkfs::under_test().arg(&image).args(["16M", "17M"]);
        ensure!(!call.run()?.success() && !image.exists(), "two sizes");
        Ok(())
    }

    #[test]
    fn bad_blocks_file() -> Result<()> {
        if !skip::allowed(TOOLS) {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let image = scratch.path("image");
        let call = Mkfs::under_test().args(["-l", "/no/such/list"]);
        refused(call.arg(&image).arg("16M"), &image, &["/no/such/list"])?;
        if !ours_only() {
            return Ok(());
        }
        for text in ["x\n", "-1\n", "99999999\n", "1\n"] {
            let list = scratch.file("list", text.as_bytes())?;
            let call = Mkfs::under_test().arg("-l").arg(&list);
            refused(call.arg(&image).arg("16M"), &image, &[]).context(text)?;
        }
        Ok(())
    }
}

mod device {
    use super::*;

    fn refuse_device(device: &Path, words: &[&str]) -> Result<()> {
        let call = Mkfs::under_test().arg(device).arg("16M");
        let maker = call.maker();
        refusal::check(maker, &call.run()?, words).map(drop)
    }

    #[test]
    fn is_none() -> Result<()> {
        if !skip::allowed(TOOLS) || !ours_only() {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        refuse_device(&scratch.make_dir("a directory")?, &["a directory"])?;
        refuse_device(Path::new("/dev/null"), &["/dev/null"])?;
        refuse_device(&scratch.path("no/such/parent"), &["no/such/parent"])?;
        system_tests::trees::fifo(&scratch.path("fifo"))?;
        refuse_device(&scratch.path("fifo"), &["fifo"])
    }

    #[test]
    fn is_not_ours() -> Result<()> {
        let needs = [Need::Root, Need::Tool("setpriv")];
        if !skip::allowed(TOOLS) || !skip::allowed(&needs) {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let image = scratch.sparse("image", 16 << 20)?;
        let call = as_user(Mkfs::under_test()).arg(&image);
        refused(call, &image, &["image"])?;
        let image = scratch.path("not allowed here");
        let call = as_user(Mkfs::under_test()).arg(&image).arg("16M");
        refused(call, &image, &["not allowed here"]).map(drop)
    }
}

fn as_user(call: Mkfs) -> Mkfs {
    call.through(["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"])
}

/// A directory an ordinary user may write to, in which images are made.
fn their_dir(scratch: &Scratch) -> Result<PathBuf> {
    let dir = scratch.make_dir("theirs")?;
    std::os::unix::fs::chown(&dir, Some(1000), Some(1000))?;
    Ok(dir)
}

mod source {
    use super::*;

    #[test]
    fn missing() -> Result<()> {
        if !skip::allowed(TOOLS) {
            return Ok(());
        }
        refuse_source(Path::new("/no/such/source"), &["/no/such/source"])
    }

    #[test]
    fn neither_directory_nor_archive() -> Result<()> {
        if !skip::allowed(TOOLS) || !ours_only() {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        refuse_source(
            &scratch.file("noise", &Rng::new(1).bytes(9000))?,
            &["noise"],
        )?;
        refuse_source(&scratch.file("text", b"This is no archive.\n")?, &["text"])?;
        refuse_source(Path::new("/dev/null"), &[])?;
        system_tests::trees::socket(&scratch.path("socket"))?;
        refuse_source(&scratch.path("socket"), &["socket"])
    }

    /// A file, and a directory, that may not be read.
    #[test]
    fn unreadable() -> Result<()> {
        let needs = [Need::Root, Need::Tool("setpriv")];
        if !skip::allowed(TOOLS) || !skip::allowed(&needs) {
            return Ok(());
        }
        for name in ["a secret", "d/a secret directory"] {
            let scratch = Scratch::new()?;
            let from = scratch.make_dir("source")?;
            fs::create_dir(from.join("d"))?;
            fs::write(from.join("readable"), b"r")?;
            let secret = from.join(name);
            if name.ends_with("directory") {
                fs::create_dir(&secret)?;
                fs::write(secret.join("inside"), b"")?;
            } else {
                fs::write(&secret, b"s")?;
            }
            let none = std::os::unix::fs::PermissionsExt::from_mode(0o000);
            fs::set_permissions(&secret, none)?;
            let image = their_dir(&scratch)?.join("image");
            let call = as_user(Mkfs::under_test()).filled_from(&from);
            let last = name.rsplit('/').next().unwrap_or(name);
            refused(call.arg(&image).arg("16M"), &image, &[last])?;
        }
        Ok(())
    }

    /// Files that go, or get shorter, while they are read: the run fails and says
    /// which, or it was faster.
    fn spoiled(spoil: fn(&Path) -> Result<()>) -> Result<()> {
        if !skip::allowed(TOOLS) || !ours_only() {
            return Ok(());
        }
        let mut failures = 0;
        for round in 0..12 {
            let scratch = Scratch::new()?;
            let from = scratch.make_dir("source")?;
            let bytes = Rng::new(round).bytes(2 << 20);
            for number in 0..30 {
                fs::write(from.join(format!("file-{number:02}")), &bytes)?;
            }
            let image = scratch.sparse("image", 128 << 20)?;
            let call = Mkfs::under_test()
                .args(["--threads", "1"])
                .filled_from(&from);
            let mut child = call.arg(&image).command()?;
            let child = child.stderr(std::process::Stdio::piped());
            let mut child = child.stdout(std::process::Stdio::null()).spawn()?;
            // The first bytes on the image mean that the tree has been looked at.
            let started = || {
                let blocks = fs::metadata(&image)
                    .map_or(0, |meta| std::os::unix::fs::MetadataExt::blocks(&meta));
                blocks > 64 << round
            };
            while !started() && child.try_wait()?.is_none() {
                std::thread::yield_now();
            }
            for number in (0..30).rev() {
                spoil(&from.join(format!("file-{number:02}")))?;
            }
            let output = child.wait_with_output()?;
            let said = Ended {
                status: Some(output.status),
                stdout: output.stdout,
                stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            };
            if said.success() {
                fsck(&image)?;
                continue;
            }
            failures += 1;
            refusal::check(Maker::Extmap, &said, &["file-"])?;
            ensure!(!has_magic(&image, 0)?, "a superblock is left: {said}");
            if failures == 3 {
                break;
            }
        }
        ensure!(failures > 0, "no run was slower than the changes");
        Ok(())
    }

    #[test]
    fn vanishing() -> Result<()> {
        spoiled(|path| Ok(fs::remove_file(path)?))
    }

    #[test]
    fn shrinking() -> Result<()> {
        spoiled(|path| Ok(fs::File::options().write(true).open(path)?.set_len(100)?))
    }

    /// The image in its own source, under whatever name.
    #[test]
    fn holds_the_image() -> Result<()> {
        if !skip::allowed(TOOLS) || !ours_only() {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let from = scratch.make_dir("source")?;
        Source::Tiny.make(&from)?;
        let refuse = |image: &Path, source: &Path, size: &[&str]| {
            let call = Mkfs::under_test().filled_from(source).arg(image).args(size);
            refused(call, image, &["image"]).map(drop)
        };
        // What is not there yet is not in the tree: refused, or left out.
        for (image, source) in [
            (from.join("image"), from.clone()),
            (from.join("dir/image"), from.clone()),
            (from.join("dir/../image"), from.join("dir/..")),
        ] {
            let call = Mkfs::under_test().filled_from(&source).arg(&image);
            let ended = call.arg("16M").run()?;
            if ended.success() {
                fsck(&image)?;
                let text = system_tests::debugfs::read(&image, "ls -p /")?;
                ensure!(!text.contains("image"), "in itself: {text}");
                fs::remove_file(&image)?;
            } else {
                refusal::check(Maker::Extmap, &ended, &["image"])?;
            }
        }
        fs::write(from.join("dir/image"), vec![0; 16 << 20])?;
        refuse(&from.join("dir/image"), &from, &[])?;
        std::os::unix::fs::symlink(from.join("dir/image"), scratch.path("image"))?;
        refuse(&scratch.path("image"), &from, &[])?;
        fs::hard_link(from.join("dir/image"), scratch.path("linked image"))?;
        refuse(&scratch.path("linked image"), &from, &[])
    }

    /// A directory that cannot be in a file system: more links than there may be.
    #[test]
    fn too_many_links() -> Result<()> {
        if !skip::allowed(TOOLS) || !ours_only() {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let mut members = vec![Member::file("first", b"linked")];
        members.extend((0..65_000).map(|n| Member::hard_link(&format!("link-{n}"), "first")));
        let packed = scratch.file("archive", &archive::archive(&members))?;
        let image = scratch.path("image");
        let call = Mkfs::under_test().filled_from(&packed).arg(&image);
        refused(call.arg("64M"), &image, &["first", "65000"]).map(drop)
    }

    #[test]
    fn too_large() -> Result<()> {
        if !skip::allowed(TOOLS) {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let from = scratch.make_dir("source")?;
        fs::write(from.join("large"), Rng::new(1).bytes(20 << 20))?;
        refuse_source(&from, &["need"])
    }

    /// The tree is right, but the size is not.
    #[test]
    fn with_a_bad_size() -> Result<()> {
        if !skip::allowed(TOOLS) {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let from = scratch.make_dir("source")?;
        Source::Tiny.make(&from)?;
        let image = scratch.path("image");
        let call = Mkfs::under_test().filled_from(&from).arg(&image).arg("9");
        refused(call, &image, &[]).map(drop)
    }
}

mod tar {
    use super::*;

    fn refuse_bytes(bytes: &[u8], words: &[&str]) -> Result<()> {
        if !skip::allowed(TOOLS) || !ours_only() {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let packed = scratch.file("the-archive.tar", bytes)?;
        refuse_source(&packed, words)?;
        // The same on standard input.
        let image = scratch.path("image");
        let call = Mkfs::under_test().args(["-d", "-"]).stdin_file(&packed)?;
        refused(call.arg(&image).arg("16M"), &image, &[]).map(drop)
    }

    fn refuse_members(members: &[Member], words: &[&str]) -> Result<()> {
        refuse_bytes(&archive::archive(members), words)
    }

    #[test]
    fn parent_directories() -> Result<()> {
        for name in ["../out", "a/../../out", "a/..", ".."] {
            let members = [Member::directory("a"), Member::file(name, b"out")];
            refuse_members(&members, &[name]).context(name)?;
        }
        Ok(())
    }

    #[test]
    fn absolute_paths() -> Result<()> {
        refuse_members(&[Member::file("/etc/passwd", b"x")], &["/etc/passwd"])?;
        refuse_members(&[Member::directory("//d")], &["//d"])
    }

    #[test]
    fn hard_link_to_nothing() -> Result<()> {
        refuse_members(&[Member::hard_link("here", "not there")], &["not there"])
    }

    #[test]
    fn hard_link_out_of_the_tree() -> Result<()> {
        refuse_members(&[Member::hard_link("here", "../there")], &["here"])?;
        refuse_members(&[Member::hard_link("here", "/etc/passwd")], &["here"])
    }

    #[test]
    fn hard_link_to_a_directory() -> Result<()> {
        let members = [Member::directory("dir"), Member::hard_link("link", "dir")];
        refuse_members(&members, &["dir"])
    }

    #[test]
    fn file_as_directory() -> Result<()> {
        let members = [Member::file("a", b""), Member::file("a/b", b"")];
        refuse_members(&members, &["a"])
    }

    #[test]
    fn name_too_long() -> Result<()> {
        let name = "n".repeat(256);
        let member = Member::file("x", b"").with_pax("path", name.as_bytes());
        refuse_members(&[member], &["name"])
    }

    #[test]
    fn symlink_without_target() -> Result<()> {
        refuse_members(&[Member::symlink("link", "")], &["link"])?;
        let target = "t".repeat(4096);
        let member = Member::symlink("link", "x").with_pax("linkpath", target.as_bytes());
        refuse_members(&[member], &["link"])
    }

    /// Cut short everywhere: within a header, a PAX record, a file's bytes. (Where
    /// a member ends, the archive only lacks its end.)
    #[test]
    fn truncated() -> Result<()> {
        let whole = archive::without_end(&[
            Member::file("one", &[1; 700]),
            Member::file("two", &[2; 3000]).with_pax("mtime", b"1.5"),
        ]);
        for len in [
            1,
            100,
            511,
            600,
            1535,
            1600,
            2100,
            2600,
            3072,
            3500,
            whole.len() - 1,
        ] {
            refuse_bytes(&whole[..len], &["the-archive.tar"]).with_context(|| format!("{len}"))?;
        }
        Ok(())
    }

    #[test]
    fn compressed_truncated() -> Result<()> {
        let tools = [Need::Tool("gzip"), Need::Tool("zstd"), Need::Tool("xz")];
        if !skip::allowed(&tools) || !ours_only() {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let whole = archive::archive(&[Member::file("noise", &Rng::new(1).bytes(200_000))]);
        let whole = scratch.file("whole.tar", &whole)?;
        for filter in ["gzip", "zstd", "xz"] {
            let output = std::process::Command::new(filter)
                .arg("-c")
                .arg(&whole)
                .output()?;
            let packed = output.stdout;
            for len in [8, 60, packed.len() / 2, packed.len() - 1] {
                refuse_bytes(&packed[..len], &[]).with_context(|| format!("{filter} {len}"))?;
            }
            let mut damaged = packed.clone();
            let middle = damaged.len() / 2;
            for byte in &mut damaged[middle..middle + 40] {
                *byte = !*byte;
            }
            refuse_bytes(&damaged, &[]).with_context(|| format!("{filter} damaged"))?;
            let mut followed = packed.clone();
            followed.extend(b"something else behind the end");
            // gzip(1) warns of what follows and goes on; nobody must crash on it.
            let packed = scratch.file("followed", &followed)?;
            let image = scratch.path(&format!("image-{filter}"));
            let call = Mkfs::under_test().filled_from(&packed).arg(&image);
            let ended = call.arg("16M").run()?;
            ensure!(
                ended.success() || ended.refusal().is_ok(),
                "{filter}: {ended}"
            );
        }
        Ok(())
    }

    fn with_header(change: fn(&mut [u8])) -> Vec<u8> {
        let mut bytes = archive::archive(&[
            Member::file("before", b"fine"),
            Member::file("damaged", &[7; 600]),
        ]);
        let header = &mut bytes[1024..1536];
        change(header);
        bytes
    }

    #[test]
    fn checksum_wrong() -> Result<()> {
        refuse_bytes(&with_header(|header| header[0] ^= 1), &["the-archive.tar"])?;
        refuse_bytes(&with_header(|header| header[148..156].fill(0)), &[])
    }

    #[test]
    fn numbers_wrong() -> Result<()> {
        for (at, text) in [
            (124, "abcdefghijk"),
            (136, "9!9"),
            (108, "zz"),
            (124, "77777777777"),
        ] {
            let mut bytes = with_header(|_| ());
            let header = &mut bytes[1024..1536];
            header[at..at + text.len()].copy_from_slice(text.as_bytes());
            archive::seal(header);
            refuse_bytes(&bytes, &[]).with_context(|| format!("{at} {text}"))?;
        }
        // Base 256: a negative size, and one beyond 64 bits.
        for first in [0xffu8, 0x80] {
            let mut bytes = with_header(|_| ());
            let header = &mut bytes[1024..1536];
            header[124..136].fill(0xff);
            header[124] = first;
            archive::seal(header);
            refuse_bytes(&bytes, &[]).with_context(|| format!("{first:#x}"))?;
        }
        Ok(())
    }

    #[test]
    fn pax_records_wrong() -> Result<()> {
        for content in [
            &b"9999999 path=x\n"[..],
            b"5 path=x\n",
            b"path=x\n",
            b"0 =\n",
            b"99999999999999999999999 path=x\n",
            b"12 path=abcd",
            b"18 size=-1\n",
            b"-5 a=b\n",
        ] {
            let mut extended = Member::new("PaxHeaders/x", b'x');
            extended.content = content.to_vec();
            let members = [extended, Member::file("file", b"content")];
            refuse_members(&members, &[])
                .with_context(|| String::from_utf8_lossy(content).into_owned())?;
        }
        let member = Member::file("x", b"").with_pax("path", b"with\0nul");
        refuse_members(&[member], &[])?;
        let member = Member::file("x", b"").with_pax("mtime", b"soon");
        refuse_members(&[member], &[])?;
        let member = Member::file("x", b"").with_pax("uid", b"99999999999");
        refuse_members(&[member], &[])
    }

    #[test]
    fn sparse_maps_wrong() -> Result<()> {
        let base = |map: &[u8], real: &[u8]| {
            Member::file("sparse", &[5; 1024])
                .with_pax("GNU.sparse.major", b"0")
                .with_pax("GNU.sparse.minor", b"1")
                .with_pax("GNU.sparse.size", real)
                .with_pax("GNU.sparse.map", map)
        };
        for (map, real) in [
            (&b"0,2048"[..], &b"4096"[..]),
            (b"0,512,100,512", b"4096"),
            (b"4096,512", b"4096"),
            (b"0,512,18446744073709551615,512", b"4096"),
            (b"0", b"4096"),
            (b"x,y", b"4096"),
            (b"0,1024", b"-1"),
        ] {
            refuse_members(&[base(map, real)], &[])
                .with_context(|| String::from_utf8_lossy(map).into_owned())?;
        }
        Ok(())
    }

    /// Random damage: a refusal, or an image e2fsck is content with.
    #[test]
    fn mutated() -> Result<()> {
        if !skip::allowed(TOOLS) || !ours_only() {
            return Ok(());
        }
        let whole = archive::archive(&[
            Member::directory("dir"),
            Member::file("dir/file", &[3; 900]).with_pax("SCHILY.xattr.user.a", b"value"),
            Member::hard_link("link", "dir/file"),
            Member::symlink("symlink", "dir"),
            Member::file("x", b"y")
                .with_pax("GNU.sparse.map", b"0,1")
                .with_pax("GNU.sparse.size", b"9"),
        ]);
        let scratch = Scratch::new()?;
        let mut rng = Rng::new(0x7a5);
        let mut refusals = 0;
        let rounds = 150;
        for round in 0..rounds {
            let mut bytes = whole.clone();
            for _ in 0..=rng.below(4) {
                let at = usize::try_from(rng.below(bytes.len() as u64))?;
                bytes[at] = rng.below(256) as u8;
            }
            if rng.below(3) > 0 {
                for header in bytes.chunks_mut(512) {
                    if header.len() == 512 && header[257..262] == *b"ustar" {
                        archive::seal(header);
                    }
                }
            }
            let packed = scratch.file("archive", &bytes)?;
            let image = scratch.path("image");
            let call = Mkfs::under_test().filled_from(&packed).arg(&image);
            let ended = call.arg("1M").args(["-O", "^has_journal"]).run()?;
            if ended.success() {
                fsck(&image).with_context(|| format!("round {round}"))?;
                fs::remove_file(&image)?;
            } else {
                refusal::check(Maker::Extmap, &ended, &[])
                    .with_context(|| format!("round {round}"))?;
                ensure!(!image.exists(), "round {round}: the image is left");
                refusals += 1;
            }
        }
        ensure!(refusals > 20 && refusals < rounds, "{refusals} of {rounds}");
        Ok(())
    }
}

mod full_disk {
    use super::*;

    /// Runs in a tmpfs of 4 MiB that only the call sees; what it said, and whether
    /// an image with a superblock was there afterwards.
    fn on_small_disk(
        scratch: &Scratch,
        call: Mkfs,
        size: &str,
        existing: bool,
    ) -> Result<(Ended, bool)> {
        let disk = scratch.make_dir("disk")?;
        let script = r#"
            mount -t tmpfs -o size=4m tmpfs "$1" || exit 99
            [ "$2" = existing ] && truncate -s 64M "$1/image"
            found="$3"; shift 3
            "$@"; code=$?
            dd if="$0/image" bs=1 skip=1080 count=2 2>/dev/null | od -An -tx1 >"$found"
            exit $code
        "#;
        let found = scratch.path("found");
        let call = call.arg(disk.join("image"));
        let call = call.through([
            "unshare".as_ref(),
            "--mount".as_ref(),
            "sh".as_ref(),
            "-c".as_ref(),
            script.as_ref(),
            disk.as_os_str(),
            disk.as_os_str(),
            if existing { "existing" } else { "new" }.as_ref(),
            found.as_os_str(),
        ]);
        let ended = call.arg(size).run()?;
        ensure!(
            ended.status.and_then(|status| status.code()) != Some(99),
            "no tmpfs: {ended}"
        );
        let magic = fs::read_to_string(&found)?;
        Ok((ended, magic.trim() == "53 ef"))
    }

    fn check(options: &[&str], size: &str, fill: bool, existing: bool) -> Result<()> {
        let needs = [Need::Root, Need::Tool("unshare"), Need::Tool("mount")];
        if !skip::allowed(TOOLS) || !skip::allowed(&needs) || !ours_only() {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let mut call = Mkfs::under_test().args(options);
        if fill {
            let from = scratch.make_dir("source")?;
            fs::write(from.join("large"), Rng::new(1).bytes(12 << 20))?;
            fs::write(from.join("larger"), Rng::new(2).bytes(16 << 20))?;
            call = call.filled_from(&from);
        }
        let (ended, magic) = on_small_disk(&scratch, call, size, existing)?;
        let said = refusal::check(Maker::Extmap, &ended, &["image"])?;
        ensure!(!magic, "a superblock is left: {said}");
        Ok(())
    }

    #[test]
    fn filling_a_new_image() -> Result<()> {
        check(&[], "64M", true, false)
    }

    #[test]
    fn filling_an_existing_image() -> Result<()> {
        check(&[], "64M", true, true)
    }

    /// The bitmaps of 2560 groups.
    #[test]
    fn tables() -> Result<()> {
        check(&["-b", "1024", "-t", "ext2"], "20G", false, false)
    }

    /// An archive on standard input that does not fit where it is put meanwhile.
    #[test]
    fn spooling() -> Result<()> {
        let needs = [Need::Root, Need::Tool("unshare"), Need::Tool("mount")];
        if !skip::allowed(TOOLS) || !skip::allowed(&needs) || !ours_only() {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let members = [Member::file("large", &Rng::new(1).bytes(9 << 20))];
        let packed = scratch.file("archive", &archive::archive(&members))?;
        let call = Mkfs::under_test().args(["-d", "-"]).stdin_file(&packed)?;
        let (ended, magic) = on_small_disk(&scratch, call, "64M", false)?;
        refusal::check(Maker::Extmap, &ended, &[])?;
        ensure!(!magic, "a superblock is left: {ended}");
        Ok(())
    }
}

/// `/dev/full` as the archive's other end: output that cannot be written.
#[test]
fn output_that_cannot_be_written() -> Result<()> {
    if !skip::allowed(TOOLS) || !ours_only() {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let image = scratch.path("image");
    let mut command = Mkfs::under_test()
        .arg("--json")
        .arg(&image)
        .arg("8M")
        .command()?;
    command.stdout(fs::File::options().write(true).open("/dev/full")?);
    let output = command.stderr(std::process::Stdio::piped()).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(!said.contains("panicked"), "{}", tool::failure(&output));
    ensure!(output.status.code().is_some(), "{}", tool::failure(&output));
    Ok(())
}

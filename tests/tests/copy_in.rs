//! `extmap cp` into an image, judged by the kernel's ext4 and e2fsck.

use anyhow::{Context, Result, anyhow, ensure};
use rustix::fs::{FileType, Mode, OFlags, SeekFrom, mkdirat, openat, seek};
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use system_tests::guards::{ChildGuard, FuseMount, KernelMount, LoopDevice};
use system_tests::manifest::Manifest;
use system_tests::mkfs::judge::{QUIET_MOUNT, fsck};
use system_tests::program::{self, Ended};
use system_tests::scratch::{Scratch, file_hash};
use system_tests::trees::{self, Special};
use system_tests::{dirty, patch, skip, sys, tool};

/// What a copy keeps.
const KEPT: &[&str] = &[
    "type", "hash", "data", "target", "mode", "size", "uid", "gid", "nlink", "rdev", "atime",
    "mtime", "xattr*",
];
/// Sizes of directories are each file system's own.
const NOT_OF_DIRECTORIES: &[&str] = &["size"];

/// Makes of images the tree is copied into.
const KINDS: &[&[&str]] = &[
    &["-b", "4096"],
    &["-b", "1024"],
    &["-b", "1024", "-O", "inline_data"],
    &["-b", "4096", "-O", "inline_data,ea_inode"],
    &["-b", "4096", "-O", "^has_journal"],
    &["-b", "4096", "-t", "ext3", "-I", "256"],
];

fn kept(root: &Path) -> Result<Manifest> {
    Ok(Manifest::of(root)?
        .keep(KEPT)
        .without_path("./lost+found")
        .without_in_directories(NOT_OF_DIRECTORIES))
}

/// `IMAGE:PATH`.
fn inside(image: &Path, path: &str) -> OsString {
    let mut whole = image.as_os_str().to_owned();
    whole.push(":");
    whole.push(path);
    whole
}

fn cp<S: AsRef<OsStr>>(args: &[S]) -> Result<Ended> {
    let all = std::iter::once("cp".as_ref()).chain(args.iter().map(AsRef::as_ref));
    program::extmap(all)
}

/// Copies, and nothing is complained of.
fn copied<S: AsRef<OsStr>>(args: &[S]) -> Result<()> {
    let ended = cp(args)?;
    ensure!(ended.success() && ended.stderr.is_empty(), "{ended}");
    Ok(())
}

/// Refused in one sentence that has these words in it; the image is sound and closed.
fn refused<S: AsRef<OsStr>>(args: &[S], words: &str) -> Result<()> {
    let ended = cp(args)?;
    let said = ended.refusal()?;
    ensure!(said.contains(words), "not {words:?}: {said}");
    let code = ended.status.and_then(|status| status.code());
    ensure!(code == Some(1), "{ended}");
    Ok(())
}

/// What the kernel shows of an image, which is sound.
fn shown<T>(scratch: &Scratch, image: &Path, look: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    fsck(image)?;
    let mount = KernelMount::read_only(image, &scratch.path("shown"))?;
    let seen = look(mount.path())?;
    mount.unmount()?;
    Ok(seen)
}

/// The source's blocks are no larger than the copy's: some things need a block as large.
fn block_len(kind: &[&str]) -> u64 {
    if kind.contains(&"1024") { 1024 } else { 4096 }
}

/// A tree with everything only ext4 holds, in an image that is to be mounted.
fn special_image(scratch: &Scratch, block_len: u64) -> Result<PathBuf> {
    let block_text = block_len.to_string();
    let image = scratch.mke2fs("special", 256 << 20, &["-b", &block_text])?;
    let mount = KernelMount::new(&image, &scratch.path("filling"), QUIET_MOUNT)?;
    let mut what = Special::of(block_len);
    // Blocks beyond what files mapped without extents reach.
    what.far_bytes = 1 << 31;
    trees::base(mount.path(), 0xba5e, true)?;
    trees::special(mount.path(), what)?;
    mount.unmount()?;
    Ok(image)
}

#[test]
fn a_tree_comes_in_with_all_it_has() -> Result<()> {
    if !skip::allowed(skip::MOUNTS) {
        return Ok(());
    }
    for kind in KINDS {
        let scratch = Scratch::new()?;
        let source = special_image(&scratch, block_len(kind))?;
        let image = scratch.mke2fs("image", 256 << 20, kind)?;
        let mount = KernelMount::read_only(&source, &scratch.path("source"))?;
        let mut from = mount.path().as_os_str().to_owned();
        from.push("/.");
        let ended = cp(&["-r".into(), from, inside(&image, "/")])?;
        // Afterwards: pages that have been read of unwritten extents count as data.
        let wanted = kept(mount.path())?;
        mount.unmount()?;
        ensure!(ended.success(), "{kind:?}: {ended}");
        let seen = shown(&scratch, &image, kept)?;
        compare(&wanted, &seen, kind).with_context(|| format!("{kind:?}: {}", ended.stderr))?;
    }
    Ok(())
}

#[test]
fn a_tree_goes_from_image_to_image() -> Result<()> {
    if !skip::allowed(skip::MOUNTS) {
        return Ok(());
    }
    for kind in KINDS {
        let scratch = Scratch::new()?;
        let source = special_image(&scratch, block_len(kind))?;
        let before = file_hash(&source)?;
        let image = scratch.mke2fs("image", 256 << 20, kind)?;
        let ended = cp(&["-r".into(), inside(&source, "/"), inside(&image, "/")])?;
        ensure!(ended.success(), "{kind:?}: {ended}");
        ensure!(before == file_hash(&source)?, "the source was changed");
        let wanted = shown(&scratch, &source, kept)?;
        let seen = shown(&scratch, &image, kept)?;
        compare(&wanted, &seen, kind).with_context(|| format!("{kind:?}: {}", ended.stderr))?;
    }
    Ok(())
}

/// Two trees are the same.
fn compare(wanted: &Manifest, seen: &Manifest, kind: &[&str]) -> Result<()> {
    let is_inline = kind.iter().any(|arg| arg.contains("inline_data"));
    let fair = |tree: &Manifest| match is_inline {
        // Where inodes hold content there are no holes in it.
        true => tree.clone().without(&["data"]),
        false => tree.clone(),
    };
    fair(wanted).assert_same(&fair(seen), "the source", "the copy")
}

/// A small tree of the test's own.
fn small_tree(scratch: &Scratch) -> Result<PathBuf> {
    let root = scratch.make_dir("tree")?;
    fs::create_dir(root.join("sub"))?;
    fs::write(root.join("file"), "one\n")?;
    fs::write(root.join("sub/file"), "two\n")?;
    symlink("file", root.join("link"))?;
    Ok(root)
}

#[test]
fn destinations_follow_the_rules_of_cp() -> Result<()> {
    if !skip::allowed(skip::MOUNTS) {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let tree = small_tree(&scratch)?;
    let (file, link) = (tree.join("file"), tree.join("link"));
    let image = scratch.mke2fs("image", 16 << 20, &[])?;
    let to = |path: &str| inside(&image, path);
    copied(&["-r".into(), tree.clone().into(), to("/")])?;
    copied(&["-r".into(), tree.clone().into(), to("/tree")])?;
    copied(&["-r".into(), tree.clone().into(), to("new/")])?;
    copied(&["-r".into(), tree.join(".").into(), to("/contents")])?;
    copied(&[file.clone().into(), to("/named")])?;
    copied(&[link.clone().into(), to("/followed")])?;
    copied(&["-r".into(), link.clone().into(), to("/kept")])?;
    copied(&[
        "-r".into(),
        file.clone().into(),
        link.clone().into(),
        to("/new/sub"),
    ])?;
    // Through a link that leads to a file.
    copied(&["-r".into(), tree.join("sub/file").into(), to("/new/link")])?;
    refused(&[file.clone().into(), to("/no/such")], "no such directory")?;
    refused(&[file.clone().into(), to("/no/")], "no directory")?;
    refused(
        &[file.clone().into(), link.clone().into(), to("/x")],
        "need a directory",
    )?;
    refused(&[tree.clone().into(), to("/")], "add -r")?;
    refused(
        &["-r".into(), tree.join("sub").into(), to("/named")],
        "not a directory",
    )?;
    refused(&[file.clone().into(), to("/named/")], "not a directory")?;
    fs::create_dir(scratch.path("sub"))?;
    fs::write(scratch.path("sub/sub"), "")?;
    let over = scratch.path("sub/sub");
    refused(
        &[over.into(), to("/tree")],
        "the destination is a directory",
    )?;
    refused(
        &[image.clone().into(), to("/")],
        "is the image that is written to",
    )?;
    refused(&[to("/named"), to("/other")], "within one image")?;
    refused(&[scratch.path("none").into(), to("/")], "No such file")?;
    let stray = scratch.path("stray:/x");
    refused(
        &[file.into(), stray.into_os_string()],
        "in an image that exists",
    )?;
    shown(&scratch, &image, |root| {
        let read = |path: &str| fs::read_to_string(root.join(path)).context(path.to_owned());
        for (path, wanted) in [
            ("tree/sub/file", "two\n"),
            ("tree/tree/sub/file", "two\n"),
            ("new/sub/file", "one\n"),
            ("contents/sub/file", "two\n"),
            ("named", "one\n"),
            ("followed", "one\n"),
            ("new/file", "two\n"),
        ] {
            ensure!(read(path)? == wanted, "{path}");
        }
        for link in ["kept", "new/link", "new/sub/link"] {
            ensure!(root.join(link).symlink_metadata()?.is_symlink(), "{link}");
        }
        ensure!(!root.join("followed").symlink_metadata()?.is_symlink());
        ensure!(!root.join("x").exists() && !root.join("other").exists());
        Ok(())
    })
}

#[test]
fn what_is_there_is_overwritten_as_by_cp() -> Result<()> {
    if !skip::allowed(skip::MOUNTS) {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let image = scratch.mke2fs("image", 16 << 20, &[])?;
    let old = scratch.make_dir("old/d")?;
    fs::write(old.join("plain"), vec![7; 100_000])?;
    trees::acl(&old.join("plain"), "system.posix_acl_access", 5, 6)?;
    fs::write(old.join("one name"), "old")?;
    fs::hard_link(old.join("one name"), old.join("another"))?;
    fs::write(old.join("elsewhere"), "old")?;
    symlink("elsewhere", old.join("link"))?;
    trees::fifo(&old.join("pipe"))?;
    copied(&["-r".into(), old.into_os_string(), inside(&image, "/")])?;
    let number = |root: &Path| Ok(root.join("d/plain").symlink_metadata()?.ino());
    let before = shown(&scratch, &image, number)?;

    let new = scratch.make_dir("new/d")?;
    for name in ["plain", "one name", "link", "pipe"] {
        fs::write(new.join(name), "new")?;
    }
    fs::set_permissions(new.join("plain"), fs::Permissions::from_mode(0o4711))?;
    copied(&[
        "-r".into(),
        new.clone().into_os_string(),
        inside(&image, "/"),
    ])?;
    shown(&scratch, &image, |root| {
        ensure!(before == number(root)?, "another inode");
        let root = root.join("d");
        for name in ["plain", "one name", "link", "pipe"] {
            ensure!(fs::read(root.join(name))? == b"new", "{name}");
            ensure!(root.join(name).symlink_metadata()?.is_file(), "{name}");
        }
        for name in ["another", "elsewhere"] {
            ensure!(fs::read(root.join(name))? == b"old", "{name}");
        }
        ensure!(
            root.join("plain").metadata()?.mode() & 0o7777 == 0o4711,
            "the old ACL is there"
        );
        Ok(())
    })
}

#[test]
fn names_of_one_file_stay_names_of_one() -> Result<()> {
    if !skip::allowed(skip::MOUNTS) {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let image = scratch.mke2fs("image", 16 << 20, &[])?;
    let [a, b] = ["a", "b"].map(|name| scratch.path(name));
    for dir in [&a, &b] {
        fs::create_dir(dir)?;
    }
    fs::write(a.join("x"), "x")?;
    fs::hard_link(a.join("x"), b.join("y"))?;
    fs::write(b.join("x"), "other")?;
    symlink("x", a.join("s"))?;
    fs::hard_link(a.join("s"), a.join("t"))?;
    // What the second source brings must not be written into what the first has brought.
    let dots = [&a, &b, &a].map(|dir| dir.join(".").into_os_string());
    let [first, second, third] = dots;
    copied(&["-r".into(), first, second, third, inside(&image, "/")])?;
    copied(&[
        "-r".into(),
        a.join("x").into(),
        b.join("y").into(),
        inside(&image, "/lost+found"),
    ])?;
    shown(&scratch, &image, |root| {
        let of = |name: &str| root.join(name).symlink_metadata();
        ensure!(fs::read(root.join("x"))? == b"x" && fs::read(root.join("y"))? == b"x");
        ensure!(of("x")?.ino() == of("y")?.ino() && of("x")?.nlink() == 2);
        ensure!(of("s")?.ino() == of("t")?.ino() && of("s")?.nlink() == 2);
        ensure!(of("lost+found/x")?.ino() == of("lost+found/y")?.ino());
        Ok(())
    })
}

#[test]
fn a_full_image_keeps_what_came_before() -> Result<()> {
    if !skip::allowed(skip::MOUNTS) {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let tree = scratch.make_dir("tree")?;
    for number in 0..40 {
        fs::write(tree.join(format!("{number:02}")), vec![number; 300_000])?;
    }
    for kind in [
        &["-b", "1024"][..],
        &["-O", "^has_journal"],
        &["-O", "inline_data"],
    ] {
        let image = scratch.mke2fs("image", 8 << 20, kind)?;
        let args = [
            "-r".into(),
            tree.clone().into_os_string(),
            inside(&image, "/"),
        ];
        refused(&args, "no space left").with_context(|| format!("{kind:?}"))?;
        ensure!(
            cp(&args)?.stderr.contains("/tree/"),
            "the place is not told"
        );
        ensure!(!dirty::is_dirty(&image)?, "{kind:?}: not closed");
        shown(&scratch, &image, |root| {
            for number in 0..10 {
                let seen = fs::read(root.join(format!("tree/{number:02}")))?;
                ensure!(seen == vec![number; 300_000], "{number}");
            }
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn images_that_cannot_be_written_are_refused() -> Result<()> {
    if !skip::allowed(skip::MOUNTS) {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let file = scratch.file("file", b"x")?;
    let image = scratch.mke2fs("image", 16 << 20, &[])?;
    let args = [file.clone().into_os_string(), inside(&image, "/")];
    let mount = KernelMount::new(&image, &scratch.path("kernel"), QUIET_MOUNT)?;
    refused(&args, "mounted on")?;
    mount.unmount()?;
    let mount = FuseMount::new(&image, &scratch.path("fuse"))?;
    let said = cp(&args)?;
    said.refusal()?;
    mount.unmount()?;
    let device = LoopDevice::attach(&image, &[])?;
    refused(&args, "attached to")?;
    drop(device);
    // RO_COMPAT: a bit nobody knows.
    let strange = scratch.mke2fs("strange", 16 << 20, &["-O", "^metadata_csum"])?;
    patch::set_bits(&strange, 0x64, 0x4000_0000)?;
    refused(
        &[file.clone().into_os_string(), inside(&strange, "/")],
        "not supported",
    )?;
    let junk = scratch.file("junk", &[0; 1 << 16])?;
    refused(
        &[file.clone().into_os_string(), inside(&junk, "/")],
        "not an ext2",
    )?;
    refused(
        &[
            "--norecovery".into(),
            file.into_os_string(),
            inside(&image, "/"),
        ],
        "for reading",
    )?;
    fsck(&image)
}

/// An ordinary user copies what they can read, and the rest is complained of.
#[test]
fn what_cannot_be_read_is_complained_of() -> Result<()> {
    if !skip::allowed(skip::MOUNTS) || !skip::allowed(&[skip::Need::Tool("setpriv")]) {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let tree = scratch.make_dir("tree")?;
    fs::write(tree.join("a"), "secret")?;
    fs::set_permissions(tree.join("a"), fs::Permissions::from_mode(0o600))?;
    fs::create_dir(tree.join("b"))?;
    fs::set_permissions(tree.join("b"), fs::Permissions::from_mode(0o700))?;
    fs::write(tree.join("c"), "open")?;
    fs::set_permissions(tree.join("c"), fs::Permissions::from_mode(0o644))?;
    trees::device(&tree.join("d"), FileType::CharacterDevice, 1, 3)?;
    let image = scratch.mke2fs("image", 16 << 20, &[])?;
    fs::set_permissions(&image, fs::Permissions::from_mode(0o666))?;
    // The program may lie where others cannot go.
    let extmap = scratch.path("extmap");
    fs::copy(program::extmap_path()?, &extmap)?;
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    command.arg(&extmap).arg("cp").arg("-r").arg(&tree);
    command.arg(inside(&image, "/"));
    let ended = program::finish(command, Duration::from_secs(20))?;
    let code = ended.status.and_then(|status| status.code());
    ensure!(code == Some(1), "{ended}");
    ensure!(ended.stderr.lines().count() == 2, "{ended}");
    shown(&scratch, &image, |root| {
        let root = root.join("tree");
        ensure!(fs::read(root.join("c"))? == b"open");
        ensure!(root.join("c").metadata()?.uid() == 0, "the owner is lost");
        ensure!(!root.join("a").exists() && root.join("b").is_dir());
        ensure!(root.join("d").metadata()?.rdev() == rustix::fs::makedev(1, 3));
        Ok(())
    })
}

#[test]
fn a_deep_tree_and_long_names_come_in() -> Result<()> {
    const LEVELS: usize = 1500;
    if !skip::allowed(skip::MOUNTS) {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let tree = scratch.make_dir("tree")?;
    let long = "n".repeat(255);
    fs::write(tree.join(&long), "long")?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let mut here: OwnedFd = File::open(&tree)?.into();
    for _ in 0..LEVELS {
        mkdirat(&here, "d", Mode::RWXU)?;
        here = openat(&here, "d", flags, Mode::empty())?;
    }
    // Behind the deep one, so that the way back is needed.
    fs::write(tree.join("z"), "last")?;
    let image = scratch.mke2fs("image", 64 << 20, &[])?;
    copied(&["-r".into(), tree.into_os_string(), inside(&image, "/")])?;
    shown(&scratch, &image, |root| {
        ensure!(fs::read(root.join("tree/z"))? == b"last");
        ensure!(fs::read(root.join("tree").join(&long))? == b"long");
        let mut here: OwnedFd = File::open(root.join("tree"))?.into();
        for level in 0..LEVELS {
            here = openat(&here, "d", flags, Mode::empty()).context(format!("level {level}"))?;
        }
        Ok(())
    })
}

#[test]
fn a_dirty_journal_is_recovered_first() -> Result<()> {
    if !skip::allowed(skip::MOUNTS) {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let file = scratch.file("file", b"from outside")?;
    let image = scratch.mke2fs("image", 16 << 20, &[])?;
    let mount = KernelMount::new(&image, &scratch.path("kernel"), QUIET_MOUNT)?;
    fs::write(mount.path().join("before"), "from before")?;
    sys::shutdown(File::open(mount.path())?, sys::Shutdown::FlushLog)?;
    mount.unmount()?;
    ensure!(dirty::is_dirty(&image)?, "nothing to recover");
    copied(&[file.into_os_string(), inside(&image, "/")])?;
    ensure!(!dirty::is_dirty(&image)?, "not closed");
    shown(&scratch, &image, |root| {
        ensure!(fs::read(root.join("file"))? == b"from outside");
        ensure!(root.join("before").exists());
        Ok(())
    })
}

#[test]
fn a_signal_ends_a_copy_and_leaves_a_sound_image() -> Result<()> {
    if !skip::allowed(skip::MOUNTS) {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    // A file without holes that takes a while.
    let big = scratch.file("big", &vec![1; 200 << 20])?;
    for (signal, kind) in [
        (Signal::INT, "^has_journal"),
        (Signal::TERM, "has_journal"),
        (Signal::KILL, "has_journal"),
    ] {
        let image = scratch.mke2fs("image", 512 << 20, &["-O", kind])?;
        let (status, said) = interrupted(&image, &big, signal)?;
        ensure!(!status.success(), "{signal:?}: too fast");
        if signal == Signal::KILL {
            // The journal makes it sound again.
            let path = image.to_string_lossy().into_owned();
            tool::output("e2fsck", &["-fy", &path])?;
        } else {
            ensure!(said.contains("interrupted"), "{status}: {said}");
        }
        ensure!(!dirty::is_dirty(&image)?, "{signal:?}: not closed");
        fsck(&image).with_context(|| format!("{signal:?}"))?;
    }
    Ok(())
}

/// Copies a large file, and sends a signal once some of it is in the image.
fn interrupted(image: &Path, file: &Path, signal: Signal) -> Result<(ExitStatus, String)> {
    let space = || image.metadata().map_or(0, |found| found.blocks() * 512);
    let before = space();
    let mut child = ChildGuard(
        Command::new(program::extmap_path()?)
            .arg("cp")
            .arg(file)
            .arg(inside(image, "/"))
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?,
    );
    let deadline = Instant::now() + Duration::from_secs(20);
    while space() < before + (8 << 20) && child.0.try_wait()?.is_none() {
        ensure!(Instant::now() < deadline, "nothing is copied");
        std::thread::sleep(Duration::from_millis(1));
    }
    let pid = Pid::from_raw(i32::try_from(child.0.id())?).context("pid")?;
    kill_process(pid, signal)?;
    let mut said = String::new();
    let stderr = child.0.stderr.as_mut().context("standard error")?;
    stderr.read_to_string(&mut said)?;
    Ok((child.0.wait()?, said))
}

#[test]
fn holes_stay_holes() -> Result<()> {
    if !skip::allowed(skip::MOUNTS) {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let file = scratch.sparse("file", 3 << 30)?;
    File::options()
        .write(true)
        .open(&file)?
        .write_all_at(b"here", 1 << 30)?;
    let image = scratch.mke2fs("image", 16 << 20, &["-b", "1024"])?;
    copied(&[file.into_os_string(), inside(&image, "/")])?;
    let other = scratch.mke2fs("other", 16 << 20, &["-b", "4096"])?;
    copied(&[inside(&image, "/file"), inside(&other, "/")])?;
    for image in [&image, &other] {
        shown(&scratch, image, |root| {
            let file = File::open(root.join("file"))?;
            ensure!(file.metadata()?.len() == 3 << 30);
            ensure!(seek(&file, SeekFrom::Data(0))? == 1 << 30);
            let end = seek(&file, SeekFrom::Hole(1 << 30))?;
            ensure!(end <= (1 << 30) + 4096, "data ends at {end}");
            let mut bytes = [0; 4];
            file.read_exact_at(&mut bytes, 1 << 30)?;
            ensure!(&bytes == b"here");
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_file_that_changes_meanwhile_is_told_of() -> Result<()> {
    if !skip::allowed(skip::MOUNTS) {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let tree = scratch.make_dir("tree")?;
    fs::write(tree.join("grows"), vec![1; 50 << 20])?;
    fs::write(tree.join("rests"), "still")?;
    let image = scratch.mke2fs("image", 128 << 20, &[])?;
    let is_over = AtomicBool::new(false);
    let args = ["-r".into(), tree.clone().into(), inside(&image, "/")];
    std::thread::scope(|scope| -> Result<()> {
        let appending = scope.spawn(|| -> Result<()> {
            let mut file = File::options().append(true).open(tree.join("grows"))?;
            while !is_over.load(Ordering::Relaxed) {
                file.write_all(b"x")?;
                std::thread::sleep(Duration::from_micros(200));
            }
            Ok(())
        });
        let outcome = refused(&args, "grows: copied in part only: was changed");
        is_over.store(true, Ordering::Relaxed);
        appending.join().map_err(|_| anyhow!("a panic"))??;
        outcome
    })?;
    shown(&scratch, &image, |root| {
        ensure!(fs::read(root.join("tree/rests"))? == b"still");
        Ok(())
    })
}

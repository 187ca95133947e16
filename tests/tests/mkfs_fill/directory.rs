//! From a directory.

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

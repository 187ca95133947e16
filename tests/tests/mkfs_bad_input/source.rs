//! Trees that cannot be read, change while they are read, or hold the image.

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

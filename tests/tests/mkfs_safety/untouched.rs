//! Bytes that are not the new file system's stay what they are.

use super::*;

fn around(options: &[&str], offset: usize) -> Result<()> {
    if !skip::allowed(TOOLS) {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let bytes = Rng::new(2).bytes(12 << 20);
    let image = scratch.file("image", &bytes)?;
    let call = Mkfs::under_test().arg("-q").args(options);
    call.arg(&image).arg("8M").make()?;
    let after = fs::read(&image)?;
    ensure!(after.len() == bytes.len(), "the file has another length");
    ensure!(after[..offset] == bytes[..offset], "changed before it");
    let end = offset + (8 << 20);
    ensure!(after[end..] == bytes[end..], "changed behind it");
    ensure!(has_magic(&image, offset as u64)?);
    Ok(())
}

#[test]
fn behind() -> Result<()> {
    around(&[], 0)
}

#[test]
fn behind_without_discarding() -> Result<()> {
    around(&["-E", "nodiscard"], 0)
}

#[test]
fn before_and_behind() -> Result<()> {
    around(&["-E", "offset=1048576"], 1 << 20)
}

/// `-n` says what would be made and writes nothing.
#[test]
fn by_a_dry_run() -> Result<()> {
    if !skip::allowed(TOOLS) {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let image = scratch.file("image", &Rng::new(2).bytes(8 << 20))?;
    let before = file_hash(&image)?;
    let ended = Mkfs::under_test().arg("-n").arg(&image).make()?;
    ensure!(ended.text().contains("8192"), "nothing is said: {ended}");
    ensure!(file_hash(&image)? == before, "-n writes");
    if !ours_only() {
        return Ok(());
    }
    let missing = scratch.path("missing");
    Mkfs::under_test()
        .arg("-n")
        .arg(&missing)
        .arg("8M")
        .make()?;
    ensure!(!missing.exists(), "-n makes the image");
    let from = scratch.make_dir("source")?;
    fs::write(from.join("large"), Rng::new(1).bytes(9 << 20))?;
    let call = Mkfs::under_test()
        .arg("-n")
        .filled_from(&from)
        .arg(&missing);
    refused(call.arg("8M"), &missing, &["need"]).map(drop)
}

/// The unused part of an inode table whose group says so is zero: the kernel
/// relies on it.
fn zeroed_tables_are_zero(image: &Path) -> Result<()> {
    let dump = Dump::of(image)?;
    let (block, inode) = (dump.number("Block size")?, dump.number("Inode size")?);
    let inodes = dump.number("Inodes per group")?;
    let file = File::open(image)?;
    let groups = format!("\n{}", dump.groups.join("\n"));
    for group in groups.split("\nGroup ").skip(1) {
        if !group.contains("ITABLE_ZEROED") {
            continue;
        }
        let unused = group
            .split(" unused inodes")
            .next()
            .and_then(|text| text.rsplit(' ').next()?.parse::<u64>().ok());
        let table = group.split("Inode table at ").nth(1).context("no table")?;
        let first: u64 = table.split('-').next().context("no table")?.parse()?;
        let unused = unused.context("unused inodes")?;
        let mut bytes = vec![0; usize::try_from(unused * inode)?];
        file.read_exact_at(&mut bytes, first * block + (inodes - unused) * inode)?;
        let name = group.lines().next().unwrap_or_default();
        ensure!(
            bytes.iter().all(|&byte| byte == 0),
            "garbage in group {name}"
        );
    }
    Ok(())
}

/// Garbage that is not discarded does not show.
#[test]
fn garbage_beneath() -> Result<()> {
    if !skip::allowed(JUDGES) {
        return Ok(());
    }
    for options in [
        &["-E", "nodiscard"][..],
        &["-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0"],
        &["-E", "nodiscard", "-t", "ext2"],
        &[
            "-E",
            "nodiscard",
            "-O",
            "orphan_file,inline_data,meta_bg,^resize_inode",
        ],
    ] {
        let scratch = Scratch::new()?;
        let image = scratch.file("image", &Rng::new(4).bytes(24 << 20))?;
        let from = scratch.make_dir("source")?;
        fs::write(from.join("file"), b"not garbage")?;
        fs::create_dir(from.join("dir"))?;
        let call = Mkfs::under_test().arg("-q").args(options);
        call.filled_from(&from).arg(&image).make()?;
        zeroed_tables_are_zero(&image).with_context(|| format!("{options:?}"))?;
        judge::live_with(&image, &scratch.path("mounted"), |root| {
            ensure!(fs::read(root.join("file"))? == b"not garbage");
            ensure!(fs::read_dir(root.join("dir"))?.count() == 0);
            Ok(())
        })
        .with_context(|| format!("{options:?}"))?;
    }
    Ok(())
}

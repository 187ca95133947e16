//! What is found on a device is said and kept.

use super::*;

fn made_by_mke2fs(args: &[&str], words: &[&str]) -> Result<()> {
    if !skip::allowed(TOOLS) {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let image = scratch.mke2fs("image", 16 << 20, args)?;
    guarded(&image, words)
}

#[test]
fn ext2() -> Result<()> {
    made_by_mke2fs(&["-t", "ext2"], &["ext2"])
}

#[test]
fn ext3() -> Result<()> {
    made_by_mke2fs(&["-t", "ext3"], &["ext3"])
}

#[test]
fn ext4_with_a_label() -> Result<()> {
    let words: &[&str] = match Maker::under_test() {
        Maker::Extmap => &["ext4", "precious"],
        Maker::Mke2fs => &[],
    };
    made_by_mke2fs(&["-L", "precious"], words)
}

#[test]
fn external_journal() -> Result<()> {
    made_by_mke2fs(&["-O", "journal_dev"], &["journal"])
}

/// What a tool makes in a sparse file of 16 MiB, its path the last argument.
fn made_by(program: &'static str, args: &[&str], words: &[&str]) -> Result<()> {
    let needs = [Need::Tool(program), Need::Tool("blkid")];
    if !skip::allowed(TOOLS) || !skip::allowed(&needs) {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let image = scratch.sparse("image", 16 << 20)?;
    let mut all: Vec<&std::ffi::OsStr> = args.iter().map(AsRef::as_ref).collect();
    all.push(image.as_os_str());
    tool::run(program, &all)?;
    guarded(&image, words)
}

#[test]
fn swap() -> Result<()> {
    made_by("mkswap", &[], &["swap"])
}

#[test]
fn minix() -> Result<()> {
    made_by("mkfs.minix", &[], &["minix"])
}

#[test]
fn bfs() -> Result<()> {
    made_by("mkfs.bfs", &[], &[])
}

#[test]
fn cramfs() -> Result<()> {
    let needs = [Need::Tool("mkfs.cramfs"), Need::Tool("blkid")];
    if !skip::allowed(TOOLS) || !skip::allowed(&needs) {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let (from, image) = (scratch.make_dir("source")?, scratch.path("image"));
    fs::write(from.join("file"), Rng::new(1).bytes(100_000))?;
    tool::run("mkfs.cramfs", &[&from, &image])?;
    File::options()
        .write(true)
        .open(&image)?
        .set_len(16 << 20)?;
    guarded(&image, &["cramfs"])
}

fn partitioned(script: &str, words: &[&str], keep: fn(&Path) -> Result<()>) -> Result<()> {
    let needs = [Need::Tool("sfdisk"), Need::Tool("blkid")];
    if !skip::allowed(TOOLS) || !skip::allowed(&needs) {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let image = scratch.sparse("image", 16 << 20)?;
    let script = scratch.file("script", script.as_bytes())?;
    let mut command = std::process::Command::new("sfdisk");
    command.arg(&image).stdin(File::open(&script)?);
    let ended = program::finish(command, Duration::from_secs(20))?;
    ensure!(ended.success(), "sfdisk: {ended}");
    keep(&image)?;
    guarded(&image, words)
}

#[test]
fn gpt() -> Result<()> {
    partitioned("label: gpt\nsize=8M\n", &["GPT"], |_| Ok(()))
}

#[test]
fn gpt_of_which_the_backup_is_left() -> Result<()> {
    if !ours_only() {
        return Ok(());
    }
    partitioned("label: gpt\nsize=8M\n", &["GPT"], |image| {
        let file = File::options().write(true).open(image)?;
        Ok(file.write_all_at(&[0; 34 * 512], 0)?)
    })
}

#[test]
fn mbr() -> Result<()> {
    let words: &[&str] = match Maker::under_test() {
        Maker::Extmap => &["MBR"],
        Maker::Mke2fs => &[],
    };
    partitioned("label: dos\nsize=8M, type=83\n", words, |_| Ok(()))
}

/// A header that no tool here makes: `bytes` at `at`.
fn headed(at: u64, bytes: &[u8], words: &[&str]) -> Result<()> {
    if !skip::allowed(TOOLS) || !ours_only() {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let image = scratch.sparse("image", 16 << 20)?;
    File::options()
        .write(true)
        .open(&image)?
        .write_all_at(bytes, at)?;
    guarded(&image, words).with_context(|| format!("{words:?}"))
}

/// Magic numbers as the formats' own descriptions give them.
#[test]
fn other_formats() -> Result<()> {
    headed(0, b"LUKS\xba\xbe\0\x02", &["LUKS"])?;
    headed(0, b"XFSB\0\0\x10\0", &["XFS"])?;
    headed(0x10040, b"_BHRfS_M", &["btrfs"])?;
    headed(0, b"hsqs", &["squashfs"])?;
    headed(1024, b"\x10\x20\xf5\xf2", &["f2fs"])?;
    headed(1024, b"\xe2\xe1\xf5\xe0", &["erofs"])?;
    headed(0x8001, b"CD001", &["9660"])?;
    headed(3, b"NTFS    ", &["NTFS"])?;
    headed(3, b"EXFAT   ", &["exFAT"])?;
    headed(82, b"FAT32   ", &["FAT"])?;
    headed(
        512,
        b"LABELONE\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0LVM2 001",
        &["LVM"],
    )?;
    headed(4096, b"\xfc\x4e\x2b\xa9", &["RAID"])
}

/// Files with nothing known in them are taken as they are.
#[test]
fn nothing_known() -> Result<()> {
    if !skip::allowed(TOOLS) {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    for (name, bytes) in [
        ("zeros", vec![0; 8 << 20]),
        ("noise", Rng::new(11).bytes(8 << 20)),
        ("empty", Vec::new()),
    ] {
        let image = scratch.file(name, &bytes)?;
        Mkfs::under_test()
            .arg(&image)
            .arg("8M")
            .make()
            .context(name)?;
        fsck(&image)?;
    }
    Ok(())
}

/// The file system behind an offset is looked at, not the one at the start.
#[test]
fn behind_an_offset() -> Result<()> {
    if !skip::allowed(TOOLS) || !ours_only() {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let inner = scratch.mke2fs("inner", 8 << 20, &[])?;
    let image = scratch.sparse("image", 16 << 20)?;
    let bytes = fs::read(&inner)?;
    File::options()
        .write(true)
        .open(&image)?
        .write_all_at(&bytes, 1 << 20)?;
    let before = file_hash(&image)?;
    let call = Mkfs::under_test().args(["-E", "offset=1048576"]);
    refused(call.arg(&image).arg("8M"), &image, &["ext4"])?;
    ensure!(file_hash(&image)? == before);
    Ok(())
}

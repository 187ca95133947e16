//! No room on the disk the image lies on.

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

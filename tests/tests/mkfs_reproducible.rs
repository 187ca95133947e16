//! Same inputs, same bytes, whatever the host, the order of directories or the
//! number of threads; and what is meant to differ differs.

use anyhow::{Context, Result, ensure};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use system_tests::manifest::Manifest;
use system_tests::mkfs::archive::pack;
use system_tests::mkfs::dump::Dump;
use system_tests::mkfs::judge::fsck;
use system_tests::mkfs::maker::UUID;
use system_tests::mkfs::source::Source;
use system_tests::mkfs::{Maker, Mkfs, TOOLS};
use system_tests::scratch::{Scratch, file_hash};
use system_tests::skip::{self, Need};
use system_tests::{tool, trees};

fn ours_only() -> bool {
    let ours = Maker::under_test() == Maker::Extmap;
    if !ours {
        skip::record("mke2fs 1.47.0 does otherwise");
    }
    ours
}

fn allowed() -> bool {
    skip::allowed(TOOLS) && skip::allowed(&[Need::Root])
}

fn source(scratch: &Scratch) -> Result<PathBuf> {
    let from = scratch.make_dir("source")?;
    Source::Nasty.make(&from)?;
    trees::populous(&scratch.make_dir("source/populous")?, 30, 300, 4000)?;
    trees::crowd(&from.join("crowd"), 700, 30)?;
    stamp(&from)?;
    Ok(from)
}

/// Gives everything that is as young as the run a time of its own.
fn stamp(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() && !path.is_symlink() {
            stamp(&path)?;
        } else {
            let len = path.as_os_str().as_bytes().len() as i64;
            let time = (1_111_111_111 + len, 0);
            trees::at_time(&path, time, time)?;
        }
    }
    trees::at_time(dir, (1_222_222_222, 0), (1_222_222_222, 0))
}

/// Makes an image and gives its SHA-256.
fn sum(scratch: &Scratch, name: &str, call: Mkfs) -> Result<String> {
    let image = scratch.path(name);
    call.arg("-q").arg(&image).arg("48M").make()?;
    fsck(&image)?;
    file_hash(&image)
}

fn filled(from: &Path) -> Mkfs {
    Mkfs::under_test().fixed().filled_from(from)
}

const FEATURES: &[&[&str]] = &[
    &[],
    &["-t", "ext2", "-b", "1024"],
    &[
        "-b",
        "4096",
        "-O",
        "inline_data,ea_inode,orphan_file,fast_commit,mmp,metadata_csum_seed",
    ],
];

#[test]
fn twice() -> Result<()> {
    if !allowed() || !ours_only() {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let from = source(&scratch)?;
    for options in FEATURES {
        // One name: it is in the MMP block.
        let first = sum(&scratch, "image", filled(&from).args(*options))?;
        fs::remove_file(scratch.path("image"))?;
        std::thread::sleep(std::time::Duration::from_millis(1100));
        let second = sum(&scratch, "image", filled(&from).args(*options))?;
        fs::remove_file(scratch.path("image"))?;
        ensure!(first == second, "{options:?}");
    }
    Ok(())
}

#[test]
fn empty() -> Result<()> {
    if !allowed() {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let first = sum(&scratch, "first", Mkfs::under_test().fixed())?;
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let second = sum(&scratch, "second", Mkfs::under_test().fixed())?;
    ensure!(first == second);
    Ok(())
}

#[test]
fn threads() -> Result<()> {
    if !allowed() || !ours_only() {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let from = source(&scratch)?;
    let one = sum(&scratch, "one", filled(&from).args(["--threads", "1"]))?;
    let eight = sum(&scratch, "eight", filled(&from).args(["--threads", "8"]))?;
    let usual = sum(&scratch, "usual", filled(&from))?;
    ensure!(one == eight && one == usual);
    Ok(())
}

/// A copy made from the last name to the first: other inode numbers, other order
/// in the directories, another path.
#[test]
fn order_of_creation() -> Result<()> {
    if !allowed() || !ours_only() {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let from = source(&scratch)?;
    let again = scratch.make_dir("elsewhere/another name")?;
    let list: Vec<PathBuf> = Manifest::of(&from)?.files.into_keys().rev().collect();
    let mut names = Vec::new();
    for path in &list {
        names.extend(path.as_os_str().as_bytes());
        names.push(0);
    }
    let names = scratch.file("names", &names)?;
    let packed = scratch.path("packed.tar");
    let options = [
        "-c",
        "--format=pax",
        "--sparse",
        "--acls",
        "--xattrs",
        "--xattrs-include=*",
        "--no-recursion",
    ];
    let mut words: Vec<&std::ffi::OsStr> = options.iter().map(AsRef::as_ref).collect();
    words.extend([
        "-C".as_ref(),
        from.as_os_str(),
        "-f".as_ref(),
        packed.as_os_str(),
        "--null".as_ref(),
        "-T".as_ref(),
        names.as_os_str(),
    ]);
    // A socket is left out by tar(1), and out of the first tree here.
    fs::remove_file(from.join("kinds/socket"))?;
    trees::at_time(&from.join("kinds"), (1, 0), (1, 0))?;
    let _ = tool::output("tar", &words)?;
    let words: Vec<&std::ffi::OsStr> =
        ["-x", "-p", "--acls", "--xattrs", "--xattrs-include=*", "-C"]
            .iter()
            .map(AsRef::as_ref)
            .chain([again.as_os_str(), "-f".as_ref(), packed.as_os_str()])
            .collect();
    tool::run("tar", &words)?;
    trees::at_time(&again, (1, 0), (1, 0))?;
    trees::at_time(&from, (1, 0), (1, 0))?;
    let facts = [
        "type", "mode", "uid", "gid", "mtime", "xattr.*", "hash", "data",
    ];
    let tree = |dir: &Path| -> Result<Manifest> { Ok(Manifest::of(dir)?.keep(&facts)) };
    tree(&from)?.assert_same(&tree(&again)?, "the tree", "its copy")?;
    let first = sum(&scratch, "first", filled(&from))?;
    let second = sum(&scratch, "second", filled(&again))?;
    ensure!(first == second);
    Ok(())
}

/// Time zone, language, umask, directory, user's name: nothing of it shows.
#[test]
fn surroundings() -> Result<()> {
    if !allowed() || !ours_only() {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let from = source(&scratch)?;
    let first = sum(&scratch, "first", filled(&from))?;
    let call = Mkfs::under_test().fixed().args(["-d", "source"]);
    let call = call
        .in_dir(from.parent().context("no parent")?)
        .env("TZ", "Pacific/Kiritimati")
        .env("LANG", "tr_TR.UTF-8")
        .env("HOME", "/nonexistent")
        .env("USER", "nobody")
        .through(["sh", "-c", "umask 077; exec \"$@\"", "sh"]);
    let second = sum(&scratch, "second", call)?;
    ensure!(first == second);
    Ok(())
}

/// A new file, an empty one and one full of zeros become the same; so do
/// archives and their compressed forms, by name and on standard input.
#[test]
fn ways_in_and_out() -> Result<()> {
    if !allowed() || !ours_only() || !skip::allowed(&[Need::Tool("zstd"), Need::Tool("tar")]) {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let from = source(&scratch)?;
    let mut sums = BTreeSet::new();
    sums.insert(sum(&scratch, "new", filled(&from))?);
    scratch.file("empty", b"")?;
    sums.insert(sum(&scratch, "empty", filled(&from))?);
    scratch.file("zeros", &vec![0; 48 << 20])?;
    sums.insert(sum(&scratch, "zeros", filled(&from))?);
    scratch.file("garbage", &vec![0xab; 48 << 20])?;
    sums.insert(sum(&scratch, "garbage", filled(&from))?);
    ensure!(sums.len() == 1, "targets: {sums:?}");
    let (plain, packed) = (scratch.path("plain.tar"), scratch.path("packed.tar.zst"));
    pack(&from, &plain, &["--sparse"], "cat")?;
    pack(&from, &packed, &["--sparse"], "zstd")?;
    let mut sums = BTreeSet::new();
    sums.insert(sum(&scratch, "plain", filled(&plain))?);
    sums.insert(sum(&scratch, "packed", filled(&packed))?);
    let call = Mkfs::under_test().fixed().args(["-d", "-"]);
    sums.insert(sum(&scratch, "stdin", call.stdin_file(&packed)?)?);
    ensure!(sums.len() == 1, "sources: {sums:?}");
    Ok(())
}

/// Without `-U`, and with `random` and `time`, every file system has its own.
#[test]
fn uuids() -> Result<()> {
    if !skip::allowed(TOOLS) {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let mut number = 0;
    let mut made = |options: &[&str]| -> Result<(String, String)> {
        number += 1;
        let image = scratch.path(&format!("{number}"));
        let call = Mkfs::under_test().at_epoch().args(["-q"]).args(options);
        call.arg(&image).arg("8M").make()?;
        fsck(&image)?;
        let dump = Dump::of(&image)?;
        Ok((
            dump.field("Filesystem UUID").to_owned(),
            dump.field("Directory Hash Seed").to_owned(),
        ))
    };
    let mut all = BTreeSet::new();
    for options in [
        &[][..],
        &[],
        &["-U", "random"],
        &["-U", "random"],
        &["-U", "time"],
        &["-U", "time"],
    ] {
        let (uuid, seed) = made(options)?;
        ensure!(uuid.len() == 36, "{options:?}: {uuid}");
        // The version: 1 or 7 by time, 4 by chance.
        let by_time = options.contains(&"time");
        let versions = if by_time { &['1', '7'][..] } else { &['4'] };
        let version = uuid.chars().nth(14).unwrap_or_default();
        ensure!(versions.contains(&version), "{options:?}: {uuid}");
        ensure!(all.insert(uuid), "{options:?} twice");
        ensure!(all.insert(seed), "the same hash seed twice");
    }
    ensure!(made(&["-U", "clear"])?.0 == "<none>");
    ensure!(made(&["-U", UUID])?.0 == UUID);
    ensure!(made(&["-U", &UUID.to_uppercase()])?.0 == UUID);
    ensure!(made(&["-E", &format!("hash_seed={UUID}")])?.1 == UUID);
    Ok(())
}

/// The time a file system is made at is the one asked for, or now.
#[test]
fn times() -> Result<()> {
    if !skip::allowed(TOOLS) || !ours_only() {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let created = |name: &str, call: Mkfs| -> Result<String> {
        let image = scratch.path(name);
        call.arg("-q").arg(&image).arg("8M").make()?;
        Ok(Dump::of(&image)?.field("Last write time").to_owned())
    };
    let at_epoch = created("epoch", Mkfs::under_test().at_epoch())?;
    ensure!(at_epoch.contains("2023"), "{at_epoch}");
    let call = Mkfs::under_test().env("SOURCE_DATE_EPOCH", "0");
    let at_zero = created("zero", call)?;
    ensure!(at_zero.contains("1970"), "{at_zero}");
    let now = created("now", Mkfs::under_test())?;
    let year = tool::run("date", &["-u", "+%Y"])?;
    ensure!(now.contains(year.trim()), "{now}");
    for bad in ["soon", "", "-", "99999999999999999999"] {
        let image = scratch.path("bad");
        let call = Mkfs::under_test().env("SOURCE_DATE_EPOCH", bad);
        let ended = call.arg(&image).arg("8M").run()?;
        ensure!(
            ended.refusal()?.contains("SOURCE_DATE_EPOCH") && !image.exists(),
            "{bad:?}: {ended}"
        );
    }
    Ok(())
}

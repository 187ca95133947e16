//! Sources to fill from, small and nasty, and the comparison of an image with its
//! source.

use super::maker::{EPOCH, Maker};
use crate::manifest::{Facts, Manifest};
use crate::rng::Rng;
use crate::sys;
use crate::trees::{acl, at_time, device, fifo, socket, xattr};
use anyhow::{Context, Result};
use rustix::fs::FileType;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, lchown, symlink};
use std::path::Path;

/// How much a source of the matrix holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Everything; about 120 files and half a MiB.
    Nasty,
    /// Without what the oldest file systems cannot hold: attributes, ACLs, fractions
    /// of a second, times beyond 32 bits, files beyond 2 GiB.
    Plain,
    /// Six files in a few KiB.
    Tiny,
    /// Not filled: no room for anything.
    None,
}

impl Source {
    /// Makes the tree in `root`, an existing empty directory.
    pub fn make(self, root: &Path) -> Result<()> {
        let mut rng = Rng::new(0x50_07ce);
        match self {
            Self::None => return Ok(()),
            Self::Tiny => tiny(root, &mut rng)?,
            Self::Plain => plain(root, &mut rng)?,
            Self::Nasty => {
                plain(root, &mut rng)?;
                attributes(&root.join("attributes"), &mut rng)?;
                let late = File::create(root.join("holes/begins late"))?;
                late.write_all_at(b"the only data", 5 << 30)?;
                times(&root.join("times"))?;
            }
        }
        let whole = self != Self::Nasty;
        stamp_directories(root, &mut 1_500_000_000, whole)
    }
}

fn tiny(root: &Path, rng: &mut Rng) -> Result<()> {
    fs::create_dir(root.join("dir"))?;
    fs::write(root.join("empty"), b"")?;
    fs::write(root.join("small"), rng.bytes(61))?;
    fs::write(root.join("dir/two blocks"), rng.bytes(1025))?;
    fs::hard_link(root.join("small"), root.join("dir/linked"))?;
    symlink("dir/linked", root.join("symlink"))?;
    for name in ["empty", "small", "dir/two blocks", "symlink"] {
        at_time(
            &root.join(name),
            (1_400_000_000, 0),
            (1_400_000_007 + name.len() as i64, 0),
        )?;
    }
    Ok(())
}

fn plain(root: &Path, rng: &mut Rng) -> Result<()> {
    tiny(root, rng)?;
    let dir = root.join("sizes");
    fs::create_dir(&dir)?;
    for len in [
        0, 1, 59, 60, 61, 99, 156, 160, 161, 1023, 1024, 1025, 4095, 4096, 4097, 12_289, 65_537,
        300_001,
    ] {
        fs::write(dir.join(format!("{len}")), rng.bytes(len))?;
    }
    holes(root, rng)?;
    names(&root.join("names"), rng)?;
    kinds(&root.join("kinds"))?;
    let mut deep = root.to_path_buf();
    for depth in 0..12 {
        deep.push(format!("depth {depth}"));
    }
    fs::create_dir_all(&deep)?;
    fs::write(deep.join("at the bottom"), b"found")?;
    for name in ["names", "sizes", "kinds", "holes"] {
        stamp_files(&root.join(name))?;
    }
    Ok(())
}

fn holes(root: &Path, rng: &mut Rng) -> Result<()> {
    let dir = root.join("holes");
    fs::create_dir(&dir)?;
    File::create(dir.join("only"))?.set_len(3 << 20)?;
    let file = File::create(dir.join("several"))?;
    for at in [0u64, 64 << 10, 1 << 20, 33 << 20] {
        file.write_all_at(&rng.bytes(4096), at)?;
    }
    file.set_len(40 << 20)?;
    Ok(())
}

fn names(dir: &Path, rng: &mut Rng) -> Result<()> {
    fs::create_dir(dir)?;
    let odd: [&[u8]; 9] = [
        b"with space",
        b"new\nline",
        b"\xff\xfe\x80 not utf-8",
        "\u{e4}\u{f6}\u{fc} \u{6f22}\u{5b57}".as_bytes(),
        b"...",
        b"-n",
        b"back\\slash\"quote",
        b"\x01\x02\x7f",
        &[b'n'; 255],
    ];
    for name in odd {
        fs::write(dir.join(OsStr::from_bytes(name)), name)?;
    }
    for number in 0..60u64 {
        let len = usize::try_from(rng.below(120))?;
        fs::write(dir.join(format!("{number}\u{df}{}", "x".repeat(len))), b"")?;
    }
    Ok(())
}

fn kinds(dir: &Path) -> Result<()> {
    fs::create_dir(dir)?;
    fifo(&dir.join("fifo"))?;
    socket(&dir.join("socket"))?;
    device(&dir.join("null"), FileType::CharacterDevice, 1, 3)?;
    device(&dir.join("wide"), FileType::BlockDevice, 4095, 0xf_ffff)?;
    for len in [1usize, 59, 60, 61, 1000] {
        symlink("t".repeat(len), dir.join(format!("symlink {len}")))?;
    }
    for (mode, uid) in [(0o000, 1), (0o7777, 65_536), (0o4711, 0xffff_fffe)] {
        let path = dir.join(format!("{mode:o}"));
        fs::write(&path, b"mode")?;
        lchown(&path, Some(uid), Some(uid ^ 1))?;
        fs::set_permissions(&path, Permissions::from_mode(mode))?;
    }
    lchown(dir.join("symlink 59"), Some(77), Some(88))?;
    Ok(())
}

fn attributes(dir: &Path, rng: &mut Rng) -> Result<()> {
    fs::create_dir(dir)?;
    let file = |name: &str| -> Result<std::path::PathBuf> {
        let path = dir.join(name);
        fs::write(&path, name)?;
        Ok(path)
    };
    xattr(&file("short")?, "user.a", b"b")?;
    xattr(&file("empty")?, "user.empty", b"")?;
    let several = file("several")?;
    for number in 0..8 {
        xattr(&several, &format!("user.number {number}"), &rng.bytes(30))?;
    }
    xattr(&file("long")?, "user.long", &rng.bytes(600))?;
    xattr(dir, "user.of a directory", b"yes")?;
    acl(&file("acl")?, "system.posix_acl_access", 33, 44)?;
    fs::create_dir(dir.join("inherited"))?;
    acl(
        &dir.join("inherited"),
        "system.posix_acl_default",
        7,
        70_000,
    )?;
    // cap_net_raw+ep, revision 2.
    let capability = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    xattr(&file("capable")?, "security.capability", &capability)?;
    xattr(&file("trusted")?, "trusted.overlay.opaque", b"y")?;
    Ok(())
}

/// The ends of the 34-bit range, with fractions.
pub fn times(dir: &Path) -> Result<()> {
    fs::create_dir(dir)?;
    for (number, second) in [
        -0x8000_0000i64,
        -1,
        0,
        0x7fff_ffff,
        0x8000_0000,
        0x1_0000_0000,
        0x3_7fff_fffe,
    ]
    .into_iter()
    .enumerate()
    {
        let path = dir.join(format!("{number}"));
        fs::write(&path, b"")?;
        at_time(&path, (second, 1), (second, 999_999_999))?;
    }
    Ok(())
}

fn stamp_files(dir: &Path) -> Result<()> {
    let mut paths: Vec<_> = fs::read_dir(dir)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<_>>()?;
    paths.sort();
    for (number, path) in (0..).zip(&paths) {
        at_time(path, (1_234_567_890, 0), (1_300_000_000 + number * 1001, 0))?;
    }
    Ok(())
}

/// Gives every directory a time of its own, children first, so that nothing in
/// the tree is as young as the run.
fn stamp_directories(dir: &Path, next: &mut i64, whole_seconds: bool) -> Result<()> {
    let mut paths: Vec<_> = fs::read_dir(dir)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<_>>()?;
    paths.sort();
    for path in paths {
        let status = fs::symlink_metadata(&path)?;
        if status.is_dir() {
            stamp_directories(&path, next, whole_seconds)?;
        } else if status
            .modified()?
            .elapsed()
            .is_ok_and(|age| age.as_secs() < 86_400)
        {
            at_time(&path, (1_222_222_222, 0), (1_333_333_333, 0))?;
        }
    }
    *next += 77;
    let nanos = if whole_seconds {
        0
    } else {
        *next % 1_000_000_000
    };
    at_time(dir, (*next, nanos), (*next, nanos))
}

/// What is asked of a filled image.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Who made it: mke2fs keeps less.
    pub maker: Maker,
    /// Inodes have room for fractions of a second and 34-bit times.
    pub fine_times: bool,
    /// It was made at [`EPOCH`]: access times are the modification times, change
    /// and creation times the epoch.
    pub at_epoch: bool,
}

impl Wanted {
    /// Made by the program under test, at [`EPOCH`], with inodes of 256 bytes.
    pub fn usual() -> Self {
        Self {
            maker: Maker::under_test(),
            fine_times: true,
            at_epoch: true,
        }
    }
}

const ALWAYS: &[&str] = &[
    "type",
    "mode",
    "uid",
    "gid",
    "rdev",
    "target",
    "xattr.*",
    "hash",
    "size",
    "nlink",
    "mtime",
    "data",
    "attribute flags",
];

/// The inode flags a file brings along: immutable, append only, no dump.
const KEPT_FLAGS: u32 = sys::FLAG_IMMUTABLE | sys::FLAG_APPEND | sys::FLAG_NODUMP;

/// The manifest of a source directory, as its image should show it.
pub fn expected(source: &Path, wanted: Wanted) -> Result<Manifest> {
    let tree = Manifest::of(source).with_context(|| source.display().to_string())?;
    Ok(expected_of(tree, wanted))
}

/// The same of a manifest that was taken before.
pub fn expected_of(mut tree: Manifest, wanted: Wanted) -> Manifest {
    count_directory_links(&mut tree);
    if wanted.at_epoch {
        for facts in tree.files.values_mut() {
            let mtime = facts.get("mtime").cloned().unwrap_or_default();
            facts.insert("atime".into(), mtime);
            for time in ["ctime", "btime"] {
                facts.insert(time.into(), format!("{EPOCH}.000000000"));
            }
        }
    }
    comparable(tree, wanted)
}

/// An error that shows how what the kernel mounted at `root` differs from the
/// source.
pub fn assert_filled(expected: &Manifest, root: &Path, wanted: Wanted) -> Result<()> {
    let mut seen = comparable(Manifest::of(root)?, wanted);
    let in_source = |path: &str| expected.files.contains_key(Path::new(path));
    if !in_source("./lost+found") {
        seen = seen.without_path("./lost+found");
        // The root has one link more by it.
        if let Some(facts) = seen.files.get_mut(Path::new(".")) {
            change_number(facts, "nlink", |links| links - 1);
        }
    }
    expected.assert_same(&seen, "the source", "the image")
}

fn comparable(mut tree: Manifest, wanted: Wanted) -> Manifest {
    for facts in tree.files.values_mut() {
        if let Some(flags) = facts.get("flags").and_then(|text| parse_hex(text)) {
            facts.insert(
                "attribute flags".into(),
                format!("{:#x}", flags & KEPT_FLAGS),
            );
        }
    }
    let mut keep = ALWAYS.to_vec();
    if wanted.maker == Maker::Mke2fs {
        keep.retain(|fact| !["data", "attribute flags"].contains(fact));
    } else if wanted.at_epoch {
        keep.push("atime");
        keep.push("ctime");
        if wanted.fine_times {
            keep.push("btime");
        }
    }
    tree = tree.keep(&keep).without_in_directories(&["size"]);
    if wanted.maker == Maker::Mke2fs {
        // Its times have 32 bits.
        tree = tree
            .without_path("./times")
            .without_path("./nasty/times")
            .without_in_directories(&["nlink", "mtime"])
            .without_at(".", &["*"])
            .whole_seconds();
    }
    if !wanted.fine_times {
        tree = tree.whole_seconds();
    }
    tree
}

fn parse_hex(text: &str) -> Option<u32> {
    u32::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

fn change_number(facts: &mut Facts, name: &str, change: impl Fn(u64) -> u64) {
    if let Some(number) = facts.get(name).and_then(|text| text.parse().ok()) {
        facts.insert(name.into(), change(number).to_string());
    }
}

/// A directory's links are two and one for each subdirectory, whatever the
/// source's file system counts.
fn count_directory_links(tree: &mut Manifest) {
    let mut subdirectories: BTreeMap<std::path::PathBuf, u64> = BTreeMap::new();
    let is_directory = |facts: &Facts| facts.get("type").is_some_and(|kind| kind == "Directory");
    for (path, facts) in &tree.files {
        if let (true, Some(parent)) = (is_directory(facts), path.parent()) {
            *subdirectories.entry(parent.to_path_buf()).or_default() += 1;
        }
    }
    for (path, facts) in tree
        .files
        .iter_mut()
        .filter(|(_, facts)| is_directory(facts))
    {
        let count = subdirectories.get(path).copied().unwrap_or(0);
        facts.insert("nlink".into(), (2 + count).to_string());
    }
}

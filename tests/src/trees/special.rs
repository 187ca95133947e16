//! What only a mounted ext4 can be given: nanoseconds, unwritten extents,
//! hashed directories, inode flags, values in inodes of their own.

use super::make::{acl, at_time, device, flagged, socket, xattr};
use crate::rng::Rng;
use crate::sys;
use anyhow::{Context, Result};
use rustix::fs::{FallocateFlags, FileType, fallocate};
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;

/// What the file system being filled can hold.
#[derive(Clone, Copy, Debug)]
pub struct Special {
    /// Its block size, bytes.
    pub block_len: u64,
    /// Files are mapped by extents, so that fallocate(2) works.
    pub extents: bool,
    /// Attribute values may have inodes of their own.
    pub ea_inode: bool,
    /// Position of the last byte of a sparse file; 0 for none.
    pub far_bytes: u64,
    /// Blocks of the file of which every other one is written.
    pub fragments: u64,
    /// Names in the hashed directory.
    pub names: u64,
}

impl Special {
    /// The usual extras for this block size.
    pub const fn of(block_len: u64) -> Self {
        Self {
            block_len,
            extents: true,
            ea_inode: false,
            far_bytes: 1 << 40,
            fragments: 3000,
            names: 1500,
        }
    }
}

/// Fills `root/special`.
pub fn special(root: &Path, what: Special) -> Result<()> {
    let dir = root.join("special");
    std::fs::create_dir(&dir)?;
    let mut rng = Rng::new(what.block_len ^ 0x5ec1a1);
    times(&make(&dir, "times")?)?;
    symlinks(&make(&dir, "symlinks")?, what)?;
    nodes(&make(&dir, "nodes")?)?;
    sparse(&make(&dir, "sparse")?, what, &mut rng)?;
    if what.extents {
        unwritten(&make(&dir, "unwritten")?, what, &mut rng)?;
    }
    fragments(&dir.join("fragments"), what, &mut rng)?;
    hashed(&make(&dir, "hashed")?, what, &mut rng)?;
    deleted(&make(&dir, "deleted")?)?;
    small(&make(&dir, "small")?, &mut rng)?;
    attributes(&make(&dir, "attributes")?, what, &mut rng)?;
    flags(&make(&dir, "flags")?)
}

fn make(dir: &Path, name: &str) -> Result<std::path::PathBuf> {
    let path = dir.join(name);
    std::fs::create_dir(&path).with_context(|| path.display().to_string())?;
    Ok(path)
}

/// The ends of the 32-bit and of the 34-bit range, and the points between
/// where the extra bits change.
fn times(dir: &Path) -> Result<()> {
    let seconds: [i64; 12] = [
        -0x8000_0000,
        -0x7fff_ffff,
        -1,
        0,
        1,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_ffff,
        0x1_0000_0000,
        0x1_7fff_ffff,
        0x2_8000_0000,
        0x3_7fff_ffff,
    ];
    for (number, second) in seconds.into_iter().enumerate() {
        let path = dir.join(format!("{number}"));
        std::fs::write(&path, b"")?;
        let nanos = [0, 1, 999_999_999, 123_456_789][number % 4];
        at_time(&path, (second, 999_999_999 - nanos), (second, nanos))?;
    }
    Ok(())
}

fn symlinks(dir: &Path, what: Special) -> Result<()> {
    let longest = usize::try_from(what.block_len.min(4096))? - 1;
    for len in [1, 59, 60, 61, 127, 255, 1023, 2047, 4095] {
        if len <= longest {
            let target = format!("{}/", "s".repeat(31)).repeat(128);
            symlink(&target[..len], dir.join(format!("{len}")))?;
        }
    }
    Ok(())
}

fn nodes(dir: &Path) -> Result<()> {
    socket(&dir.join("socket"))?;
    for (major, minor) in [
        (0, 0),
        (255, 255),
        (256, 256),
        (0x123, 0xa_bcde),
        (4095, 0xf_ffff),
    ] {
        device(
            &dir.join(format!("c{major}-{minor}")),
            FileType::CharacterDevice,
            major,
            minor,
        )?;
    }
    Ok(())
}

fn sparse(dir: &Path, what: Special, rng: &mut Rng) -> Result<()> {
    File::create(dir.join("only a hole"))?.set_len(10 * what.block_len + 7)?;
    let holes = File::create(dir.join("holes"))?;
    for block in [3u64, 4, 9, 40, 300, 301, 5000] {
        let len = usize::try_from(what.block_len)?;
        holes.write_all_at(&rng.bytes(len), block * what.block_len)?;
    }
    holes.set_len(6000 * what.block_len + 1)?;
    let cut = File::create(dir.join("cut within a block"))?;
    cut.write_all_at(&rng.bytes(20_000), 0)?;
    cut.set_len(10_001)?;
    cut.set_len(30_000)?;
    if what.far_bytes > 0 {
        let far = File::create(dir.join("far"))?;
        for (number, at) in [0, 1 << 20, 70 << 20, 5 << 30, what.far_bytes]
            .into_iter()
            .enumerate()
        {
            let at = at.min(what.far_bytes);
            far.write_all_at(format!("mark {number}").as_bytes(), at)
                .with_context(|| format!("far byte {at}"))?;
        }
    }
    Ok(())
}

fn unwritten(dir: &Path, what: Special, rng: &mut Rng) -> Result<()> {
    let block = what.block_len;
    let none = FallocateFlags::empty();
    let whole = File::create(dir.join("whole"))?;
    fallocate(&whole, none, 0, 64 * block)?;
    let middle = File::create(dir.join("written in the middle"))?;
    fallocate(&middle, none, 0, 64 * block)?;
    middle.write_all_at(&rng.bytes(usize::try_from(5 * block)?), 20 * block)?;
    middle.write_all_at(b"x", 50 * block + 3)?;
    let beyond = File::create(dir.join("beyond the end"))?;
    beyond.write_all_at(&rng.bytes(100), 0)?;
    fallocate(&beyond, FallocateFlags::KEEP_SIZE, 0, 64 * block)?;
    let punched = File::create(dir.join("punched"))?;
    punched.write_all_at(&rng.bytes(usize::try_from(80 * block)?), 0)?;
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    fallocate(&punched, punch, 7 * block, 9 * block)?;
    fallocate(&punched, punch, 30 * block + 5, 3 * block)?;
    let zeroed = File::create(dir.join("zeroed"))?;
    zeroed.write_all_at(&rng.bytes(usize::try_from(40 * block)?), 0)?;
    fallocate(&zeroed, FallocateFlags::ZERO_RANGE, 4 * block, 16 * block)?;
    // Alternately written and not: many extents without a hole.
    let striped = File::create(dir.join("striped"))?;
    fallocate(&striped, none, 0, 400 * block)?;
    for stripe in (0..400).step_by(2) {
        striped.write_all_at(&rng.bytes(usize::try_from(block)?), stripe * block)?;
    }
    Ok(())
}

/// Every other block written: as many extents as half the blocks, or a full
/// set of indirect blocks.
fn fragments(path: &Path, what: Special, rng: &mut Rng) -> Result<()> {
    let file = File::create(path)?;
    let bytes = rng.bytes(usize::try_from(what.block_len)?);
    for block in (0..what.fragments).step_by(2) {
        file.write_all_at(&bytes, block * what.block_len)?;
        file.write_all_at(&block.to_le_bytes(), block * what.block_len)?;
    }
    Ok(())
}

fn hashed(dir: &Path, what: Special, rng: &mut Rng) -> Result<()> {
    for number in 0..what.names {
        let len = usize::try_from(10 + rng.below(50))?;
        let mut name = rng.bytes(len);
        // Half the names have bytes beyond 127, where the signed and the
        // unsigned hash differ.
        let mask = if number % 2 == 0 { 0x3f } else { 0xff };
        for byte in &mut name {
            *byte = ((*byte & mask) | 0x40).max(b'A');
        }
        let path = dir.join(OsStr::from_bytes(&name));
        File::create(&path).with_context(|| format!("{}", path.display()))?;
    }
    Ok(())
}

fn deleted(dir: &Path) -> Result<()> {
    for number in 0..400 {
        std::fs::write(dir.join(format!("a name to be deleted {number}")), b"")?;
    }
    for number in (0..400).filter(|number| number % 3 != 0 || (100..200).contains(number)) {
        std::fs::remove_file(dir.join(format!("a name to be deleted {number}")))?;
    }
    std::fs::create_dir(dir.join("emptied"))?;
    std::fs::write(dir.join("emptied/gone"), b"gone")?;
    std::fs::remove_file(dir.join("emptied/gone"))?;
    Ok(())
}

/// Files and directories of the sizes that inline data can hold, and one more.
fn small(dir: &Path, rng: &mut Rng) -> Result<()> {
    for len in 0..170 {
        std::fs::write(dir.join(format!("f{len}")), rng.bytes(len))?;
    }
    for entries in 0..12 {
        let inner = make(dir, &format!("d{entries}"))?;
        for number in 0..entries {
            std::fs::write(inner.join(format!("e{number}")), b"in")?;
        }
    }
    let grown = File::create(dir.join("hole in the inode"))?;
    grown.write_all_at(b"at the end", 40)?;
    let shrunk = File::create(dir.join("shrunk"))?;
    shrunk.write_all_at(&rng.bytes(50), 0)?;
    shrunk.set_len(20)?;
    Ok(())
}

fn attributes(dir: &Path, what: Special, rng: &mut Rng) -> Result<()> {
    let file = |name: &str| -> Result<std::path::PathBuf> {
        let path = dir.join(name);
        std::fs::write(&path, name)?;
        Ok(path)
    };
    let in_inode = file("in the inode")?;
    xattr(&in_inode, "user.one", b"1")?;
    let both = file("in both places")?;
    for number in 0..12u32 {
        let value = rng.bytes(usize::try_from(number)? * 7);
        xattr(&both, &format!("trusted.{number}"), &value)?;
    }
    // The kernel lets files with the same attributes share a block.
    for name in ["shared 1", "shared 2", "shared 3"] {
        xattr(&file(name)?, "user.shared", &[b'S'; 500])?;
    }
    let replaced = file("replaced and removed")?;
    xattr(&replaced, "user.first", b"1")?;
    xattr(&replaced, "user.second", &[b'2'; 100])?;
    xattr(&replaced, "user.first", &[b'x'; 90])?;
    rustix::fs::removexattr(&replaced, "user.second")?;
    symlink("in the inode", dir.join("link"))?;
    xattr(&dir.join("link"), "trusted.link", b"on a symlink")?;
    acl(&file("acl")?, "system.posix_acl_access", 12, 4_000_000_000)?;
    if what.ea_inode {
        let large = file("values of their own")?;
        for len in [3000usize, 5000, 20_000, 60_000] {
            xattr(&large, &format!("user.{len}"), &rng.bytes(len))?;
        }
        xattr(&file("one more of 5000")?, "user.5000", &[b'5'; 5000])?;
        xattr(&file("the same 5000")?, "user.5000", &[b'5'; 5000])?;
    }
    Ok(())
}

fn flags(dir: &Path) -> Result<()> {
    for (name, flag) in [
        ("immutable", sys::FLAG_IMMUTABLE),
        ("append", sys::FLAG_APPEND),
        ("nodump", sys::FLAG_NODUMP),
        ("noatime", sys::FLAG_NOATIME),
    ] {
        std::fs::write(dir.join(name), name)?;
        flagged(&dir.join(name), flag)?;
    }
    Ok(())
}

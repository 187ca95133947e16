//! A volume damaged while it is open: noticed at the next look, noted in the superblock,
//! and followed by what the policy says.

use super::{kind, options};
use anyhow::{Context, Result, ensure};
use fs_core::{
    ErrorsPolicy, FileBlock, GroupNumber, InodeNumber, NewInode, OpenOptions, Volume,
    WritableVolume, WriteOptions, XattrSet,
};
use images::BlockDevice;
use rustix::io::Errno;
use std::ops::ControlFlow;
use std::sync::Arc;
use system_tests::debugfs;
use system_tests::mkfs::TOOLS;
use system_tests::scratch::Scratch;
use system_tests::skip;
use system_tests::tool;
use system_tests::write::device::{CowDevice, Image};

const ROOT: InodeNumber = InodeNumber::ROOT;
const BLOCK: u64 = 1024;

/// What is damaged, and what notices it.
#[derive(Debug, Clone, Copy)]
enum Place {
    Directory,
    Index,
    ExtentNode,
    Xattrs,
    Inode,
    BlockBitmap,
    InodeBitmap,
}

const PLACES: [Place; 7] = [
    Place::Directory,
    Place::Index,
    Place::ExtentNode,
    Place::Xattrs,
    Place::Inode,
    Place::BlockBitmap,
    Place::InodeBitmap,
];

/// A volume with a large directory, a file of many extents, and attributes.
fn made() -> Result<Image> {
    let device = kind("ext4 1k")?.image()?.device();
    let volume = WritableVolume::open(device.clone(), &options())?;
    let small = volume
        .create(ROOT, b"small", &NewInode::directory(0o755))?
        .number();
    volume.create(small, b"inside", &NewInode::file(0o644))?;
    let large = volume
        .create(ROOT, b"large", &NewInode::directory(0o755))?
        .number();
    for number in 0..300 {
        volume.create(
            large,
            format!("name {number}").as_bytes(),
            &NewInode::file(0o644),
        )?;
    }
    let extents = volume
        .create(ROOT, b"extents", &NewInode::file(0o644))?
        .number();
    for number in 0..40 {
        volume.write(extents, &[7; 1024], number * 3 * BLOCK)?;
    }
    let attributes = volume
        .create(ROOT, b"attributes", &NewInode::file(0o644))?
        .number();
    volume.set_xattr(attributes, b"user.large", &[b'v'; 600], XattrSet::Any)?;
    volume.create(ROOT, b"fine", &NewInode::file(0o644))?;
    volume.close()?;
    Ok(device.image())
}

/// The device block of what is to be damaged, and a byte in it.
fn find(image: &Image, place: Place) -> Result<(u64, u64)> {
    let volume = Volume::open(image.device(), &OpenOptions::default())?;
    let scratch = Scratch::new()?;
    let path = scratch.path("image");
    image.write_to(&path)?;
    let directory_block = |name: &[u8], block: u64| -> Result<u64> {
        let inode = volume.resolve(name, false)?;
        match volume.map(&inode, FileBlock(block))?.state {
            fs_core::ExtentState::Written(block) => Ok(block.0),
            state => anyhow::bail!("{state:?}"),
        }
    };
    let stat = |name: &str| debugfs::read(&path, &format!("stat {name}"));
    Ok(match place {
        Place::Directory => (directory_block(b"small", 0)?, 30),
        Place::Index => (directory_block(b"large", 0)?, 44),
        Place::ExtentNode => {
            let text = stat("/extents")?;
            (debugfs::number_after(&text, "(ETB0)")?, 20)
        }
        Place::Xattrs => (
            debugfs::number_after(&stat("/attributes")?, "File ACL:")?,
            40,
        ),
        Place::Inode => {
            let at = debugfs::inode_offset(&path, "/fine", BLOCK)?;
            (at / BLOCK, at % BLOCK + 4)
        }
        Place::BlockBitmap => (volume.group(GroupNumber(0))?.block_bitmap.0, 700),
        Place::InodeBitmap => (volume.group(GroupNumber(0))?.inode_bitmap.0, 20),
    })
}

/// Changes a byte under the volume.
fn damage(device: &CowDevice, (block, at): (u64, u64)) -> Result<()> {
    let mut byte = [0];
    device.read_at(&mut byte, block * BLOCK + at)?;
    device.write_at(&[byte[0] ^ 0x10], block * BLOCK + at)?;
    Ok(())
}

/// Looks at, or uses, what is damaged.
fn meet(volume: &WritableVolume, place: Place) -> fs_core::Result<()> {
    let new = NewInode::file(0o644);
    match place {
        Place::Directory => {
            let directory = volume.resolve(b"small", false)?.number();
            volume.create(directory, b"new", &new).map(drop)
        }
        Place::Index => {
            let directory = volume.resolve(b"large", false)?.number();
            volume.lookup(directory, b"name 7").map(drop)
        }
        Place::ExtentNode => {
            let file = volume.resolve(b"extents", false)?.number();
            volume.write(file, b"x", 50 * BLOCK).map(drop)
        }
        Place::Xattrs => {
            let file = volume.resolve(b"attributes", false)?.number();
            volume.set_xattr(file, b"user.new", b"v", XattrSet::Any)
        }
        Place::Inode => volume.resolve(b"fine", false).map(drop),
        Place::BlockBitmap => {
            let file = volume.resolve(b"extents", false)?.number();
            volume.truncate(file, 0)
        }
        Place::InodeBitmap => volume.unlink(ROOT, b"fine"),
    }
}

/// True if a result is what damage gives.
fn is_damage(result: &fs_core::Result<()>) -> bool {
    matches!(result, Err(error) if error.errno() == Errno::UCLEAN)
}

fn check(image: &Image, place: Place, policy: ErrorsPolicy) -> Result<()> {
    let device = image.device();
    let options = WriteOptions {
        errors: Some(policy),
        ..options()
    };
    let volume = WritableVolume::open(device.clone(), &options)?;
    let where_it_is = find(image, place)?;
    damage(&device, where_it_is)?;
    let met = meet(&volume, place);
    ensure!(is_damage(&met), "not noticed: {met:?}");
    ensure!(
        volume.is_read_only() == (policy != ErrorsPolicy::Continue),
        "read-only: {}",
        volume.is_read_only()
    );
    // What is not damaged can be read, whatever the policy.
    volume.read_dir(ROOT, 0, &mut |_| ControlFlow::Continue(()))?;
    let change = volume.create(
        ROOT,
        b"after",
        &NewInode::new(fs_core::NewKind::Fifo, 0o600),
    );
    match policy {
        ErrorsPolicy::Continue => {
            // Where the bitmap of all inodes is damaged none is left.
            let tolerated = matches!(place, Place::InodeBitmap | Place::BlockBitmap);
            if let Err(error) = change {
                ensure!(tolerated, "a change elsewhere: {error}");
            }
        }
        _ => super::refused("a change", change, Errno::ROFS)?,
    }
    let closed = volume.close();
    ensure!(
        closed.is_ok() || policy == ErrorsPolicy::Stop,
        "closing: {closed:?}"
    );
    check_noted(&device, where_it_is.0)
}

/// The superblock says that there were errors, and where.
fn check_noted(device: &Arc<CowDevice>, block: u64) -> Result<()> {
    let volume = Volume::open(device.image().device(), &OpenOptions::default())?;
    let superblock = volume.superblock();
    ensure!(superblock.state & 2 != 0, "no error is noted in s_state");
    ensure!(superblock.error_count > 0, "no error is counted");
    let noted = [&superblock.first_error, &superblock.last_error];
    ensure!(
        noted.iter().any(|error| error.block == block),
        "block {block} is not noted: {noted:?}"
    );
    let scratch = Scratch::new()?;
    let path = scratch.path("image");
    device.image().write_to(&path)?;
    let text = tool::run("dumpe2fs", &["-h".as_ref(), path.as_os_str()])?;
    ensure!(text.contains("FS Error count"), "dumpe2fs does not see it");
    Ok(())
}

#[test]
fn damage_is_noticed_noted_and_followed_by_the_policy() -> Result<()> {
    if !skip::allowed(TOOLS) {
        return Ok(());
    }
    let image = made()?;
    let mut failures = Vec::new();
    for place in PLACES {
        for policy in [
            ErrorsPolicy::Continue,
            ErrorsPolicy::ReadOnly,
            ErrorsPolicy::Stop,
        ] {
            let checked = check(&image, place, policy);
            if let Err(error) = checked.with_context(|| format!("{place:?}, {policy:?}")) {
                failures.push(format!("{error:#}"));
            }
        }
    }
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

//! Every field of a request out of its range: refused or harmless, never more.

use super::{clean, kind, open, refused};
use anyhow::{Result, ensure};
use fs_core::{
    Allocation, AttributeChanges, FileBlock, InodeFlags, InodeNumber, NewInode, NewKind,
    RenameMode, SeekTarget, TimeChange, Timestamp, WritableVolume, WriteContext, XattrSet,
};
use rustix::io::Errno;
use std::ops::ControlFlow;
use system_tests::mkfs::TOOLS;
use system_tests::skip;

const ROOT: InodeNumber = InodeNumber::ROOT;

/// Inode numbers that lead to nothing users may touch.
fn bad_inodes(volume: &WritableVolume) -> Vec<InodeNumber> {
    let count = volume.superblock().inodes_count;
    // None; the file system's own; a free one; the last; none; none.
    [0, 1, 3, 7, 8, 9, count - 1, count, count + 1, u32::MAX]
        .map(InodeNumber)
        .to_vec()
}

/// Fails unless it fails, and not because of damage.
fn is_refused<T>(what: &str, inode: InodeNumber, result: fs_core::Result<T>) -> Result<()> {
    match result {
        Ok(_) => anyhow::bail!("{what} of inode {inode}: done"),
        Err(error) => ensure!(
            [
                Errno::STALE,
                Errno::PERM,
                Errno::NOTDIR,
                Errno::INVAL,
                Errno::NOENT
            ]
            .contains(&error.errno()),
            "{what} of inode {inode}: {error}"
        ),
    }
    Ok(())
}

#[test]
fn inodes_that_are_not_the_users() -> Result<()> {
    if !skip::allowed(TOOLS) {
        return Ok(());
    }
    let (device, volume) = open(&kind("ext4 1k")?.image()?)?;
    volume.create(ROOT, b"file", &NewInode::file(0o644))?;
    let before = volume.statfs();
    let context = WriteContext::default();
    let how = Allocation::Allocate { keep_size: false };
    let file = NewInode::file(0o644);
    for inode in bad_inodes(&volume) {
        let check = |what: &str, result: fs_core::Result<()>| is_refused(what, inode, result);
        check("create", volume.create(inode, b"x", &file).map(drop))?;
        check("unnamed", volume.create_unnamed(inode, &file).map(drop))?;
        check("link", volume.link(inode, ROOT, b"linked"))?;
        check("link into", volume.link(InodeNumber(12), inode, b"linked"))?;
        check("unlink", volume.unlink(inode, b"x"))?;
        check("rmdir", volume.rmdir(inode, b"x"))?;
        let mode = RenameMode::Replace;
        check("rename from", volume.rename(inode, b"x", ROOT, b"y", mode))?;
        check("rename to", volume.rename(ROOT, b"file", inode, b"y", mode))?;
        check("write", volume.write(inode, b"x", 0).map(drop))?;
        check("truncate", volume.truncate(inode, 0))?;
        check("allocate", volume.allocate(inode, how, 0, 1, context))?;
        check(
            "swap",
            volume.swap_extents(inode, 0, InodeNumber(12), 0, 1024),
        )?;
        check(
            "swap",
            volume.swap_extents(InodeNumber(12), 0, inode, 0, 1024),
        )?;
        let changes = AttributeChanges {
            uid: Some(7),
            ..AttributeChanges::default()
        };
        check(
            "attributes",
            volume.set_attributes(inode, &changes).map(drop),
        )?;
        check("flags", volume.set_flags(inode, InodeFlags::empty()))?;
        check(
            "xattr",
            volume.set_xattr(inode, b"user.x", b"v", XattrSet::Any),
        )?;
        check("xattr", volume.remove_xattr(inode, b"user.x"))?;
        // Nobody holds it.
        volume.release(inode)?;
    }
    ensure!(volume.statfs() == before, "free space changed");
    volume.close()?;
    clean(&device)
}

#[test]
fn numbers_out_of_range() -> Result<()> {
    if !skip::allowed(TOOLS) {
        return Ok(());
    }
    let (device, volume) = open(&kind("ext4 1k")?.image()?)?;
    let file = volume
        .create(ROOT, b"file", &NewInode::file(0o644))?
        .number();
    volume.write(file, &[7; 5000], 0)?;
    let before = volume.statfs();
    for permissions in [0o10000, u16::MAX] {
        let created = volume.create(ROOT, b"x", &NewInode::file(permissions));
        refused("permissions", created, Errno::INVAL)?;
        let changes = AttributeChanges {
            permissions: Some(permissions),
            ..AttributeChanges::default()
        };
        refused(
            "permissions",
            volume.set_attributes(file, &changes),
            Errno::INVAL,
        )?;
    }
    for nanos in [1_000_000_000, u32::MAX] {
        let time = Timestamp { seconds: 0, nanos };
        let changes = [
            AttributeChanges {
                accessed: Some(TimeChange::At(time)),
                ..AttributeChanges::default()
            },
            AttributeChanges {
                created: Some(time),
                ..AttributeChanges::default()
            },
        ];
        for changes in changes {
            refused(
                "nanoseconds",
                volume.set_attributes(file, &changes),
                Errno::INVAL,
            )?;
        }
    }
    for (major, minor) in [(1 << 12, 0), (0, 1 << 20), (u32::MAX, u32::MAX)] {
        for kind in [
            NewKind::CharDevice { major, minor },
            NewKind::BlockDevice { major, minor },
        ] {
            let created = volume.create(ROOT, b"x", &NewInode::new(kind, 0));
            refused("device", created, Errno::INVAL)?;
        }
    }
    for (len, errno) in [
        (0, Errno::INVAL),
        (1024, Errno::NAMETOOLONG),
        (70_000, Errno::NAMETOOLONG),
    ] {
        let created = volume.create(ROOT, b"x", &NewInode::symlink(&vec![b't'; len]));
        refused("target", created, errno)?;
    }
    let context = WriteContext::default();
    for how in [
        Allocation::Allocate { keep_size: true },
        Allocation::PunchHole,
        Allocation::ZeroRange { keep_size: false },
        Allocation::CollapseRange,
        Allocation::InsertRange,
        Allocation::UnshareRange,
    ] {
        let allocate = |offset, len| volume.allocate(file, how, offset, len, context);
        refused("empty", allocate(0, 0), Errno::INVAL)?;
        for (offset, len) in [(u64::MAX, 1), (1, u64::MAX), (u64::MAX, u64::MAX)] {
            refused("range", allocate(offset, len), Errno::FBIG)?;
        }
    }
    for flags in [
        InodeFlags::from_bits_retain(!0),
        InodeFlags::VERITY,
        InodeFlags::EA_INODE,
    ] {
        ensure!(volume.set_flags(file, flags).is_err(), "{flags:?} are set");
    }
    let other = volume
        .create(ROOT, b"other", &NewInode::file(0o644))?
        .number();
    for at in [1, 1023, u64::MAX, u64::MAX - 1023] {
        let swapped = volume.swap_extents(file, at, other, 0, 1024);
        refused("swap", swapped, Errno::INVAL)?;
        let swapped = volume.swap_extents(file, 0, other, at, 1024);
        refused("swap", swapped, Errno::INVAL)?;
    }
    volume.unlink(ROOT, b"other")?;
    refused("label", volume.set_label(&[b'l'; 17]), Errno::INVAL)?;
    refused("label", volume.set_label(b"nul\0"), Errno::INVAL)?;
    refused("trim", volume.trim(u64::MAX, u64::MAX, 0), Errno::INVAL)?;
    refused("trim", volume.trim(0, 0, 0), Errno::INVAL)?;
    volume.trim(0, u64::MAX, u64::MAX)?;
    look_far(&volume, file)?;
    ensure!(volume.statfs() == before, "free space changed");
    volume.close()?;
    clean(&device)
}

/// Reading beyond everything.
fn look_far(volume: &WritableVolume, file: InodeNumber) -> Result<()> {
    let mut buffer = [0; 100];
    for offset in [5000, 1 << 40, u64::MAX - 1, u64::MAX] {
        ensure!(
            volume.read(file, &mut buffer, offset)? == 0,
            "read at {offset}"
        );
        for target in [SeekTarget::Data, SeekTarget::Hole] {
            refused("seek", volume.seek(file, offset, target), Errno::NXIO)?;
        }
    }
    for block in [u64::from(u32::MAX), 1 << 40, u64::MAX] {
        // An answer or an error.
        let _ = volume.map(file, FileBlock(block));
    }
    for cookie in [1, 3, u64::from(u32::MAX), 1 << 62, u64::MAX - 1, u64::MAX] {
        let mut count = 0;
        let _ = volume.read_dir(ROOT, cookie, &mut |_| {
            count += 1;
            ControlFlow::Continue(())
        });
        ensure!(count <= 4, "{count} names behind {cookie}");
    }
    Ok(())
}

//! Names that cannot be, and moves that cannot be made.

use super::{clean, kind, open, refused};
use anyhow::Result;
use fs_core::{InodeNumber, NewInode, RenameMode, WritableVolume, XattrSet};
use rustix::io::Errno;
use system_tests::mkfs::TOOLS;
use system_tests::skip;

const ROOT: InodeNumber = InodeNumber::ROOT;

/// Everything that takes a name, given one that is bad: errnos of making it (create, link,
/// rename to it), of unlink, of rmdir and of rename from it.
fn check(
    volume: &WritableVolume,
    file: InodeNumber,
    name: &[u8],
    errnos: [Errno; 4],
) -> Result<()> {
    let shown = name.escape_ascii();
    let [make, unlink, rmdir, rename] = errnos;
    for new in [
        NewInode::file(0o644),
        NewInode::directory(0o755),
        NewInode::symlink(b"target"),
    ] {
        let what = format!("create {:?} \"{shown}\"", new.kind);
        refused(&what, volume.create(ROOT, name, &new), make)?;
    }
    refused("link", volume.link(file, ROOT, name), make)?;
    refused("unlink", volume.unlink(ROOT, name), unlink)?;
    refused("rmdir", volume.rmdir(ROOT, name), rmdir)?;
    for mode in [
        RenameMode::Replace,
        RenameMode::NoReplace,
        RenameMode::Exchange,
        RenameMode::Whiteout,
    ] {
        let from = volume.rename(ROOT, name, ROOT, b"other", mode);
        refused("rename from", from, rename)?;
        let to = volume.rename(ROOT, b"file", ROOT, name, mode);
        refused("rename to", to, rename)?;
    }
    Ok(())
}

#[test]
fn names_that_cannot_be() -> Result<()> {
    if !skip::allowed(TOOLS) {
        return Ok(());
    }
    for name in ["ext4 1k", "ext2", "inline_data"] {
        let (device, volume) = open(&kind(name)?.image()?)?;
        let file = volume
            .create(ROOT, b"file", &NewInode::file(0o644))?
            .number();
        let before = volume.statfs();
        let same = |errno| [errno; 4];
        check(&volume, file, b"", same(Errno::INVAL))?;
        check(&volume, file, b"a/b", same(Errno::INVAL))?;
        check(&volume, file, b"/", same(Errno::INVAL))?;
        check(&volume, file, b"nul\0", same(Errno::INVAL))?;
        check(&volume, file, &[b'n'; 256], same(Errno::NAMETOOLONG))?;
        check(&volume, file, &[b'n'; 5000], same(Errno::NAMETOOLONG))?;
        let dot = [Errno::EXIST, Errno::ISDIR, Errno::INVAL, Errno::INVAL];
        check(&volume, file, b".", dot)?;
        let dots = [Errno::EXIST, Errno::ISDIR, Errno::NOTEMPTY, Errno::INVAL];
        check(&volume, file, b"..", dots)?;
        refused(
            "lookup",
            volume.lookup(ROOT, &[b'n'; 256]),
            Errno::NAMETOOLONG,
        )?;
        assert_eq!(volume.lookup(ROOT, b"")?, None);
        assert_eq!(volume.statfs(), before);
        let longest = [b'n'; 255];
        volume.create(ROOT, &longest, &NewInode::directory(0o755))?;
        volume.rename(ROOT, &longest, ROOT, &[b'm'; 255], RenameMode::Replace)?;
        volume.rmdir(ROOT, &[b'm'; 255])?;
        volume.close()?;
        clean(&device)?;
    }
    Ok(())
}

#[test]
fn names_of_attributes_that_cannot_be() -> Result<()> {
    if !skip::allowed(TOOLS) {
        return Ok(());
    }
    let (device, volume) = open(&kind("ext4 1k")?.image()?)?;
    let file = volume
        .create(ROOT, b"file", &NewInode::file(0o644))?
        .number();
    let longest = [b"user.", &[b'n'; 250][..]].concat();
    let longer = [b"user.", &[b'n'; 251][..]].concat();
    for (name, errno) in [
        (&b""[..], Errno::OPNOTSUPP),
        (b"user", Errno::OPNOTSUPP),
        (b"user.", Errno::INVAL),
        (b"user.a\0b", Errno::INVAL),
        (b"none.such", Errno::OPNOTSUPP),
        (b"system.data", Errno::OPNOTSUPP),
        (&longer, Errno::NAMETOOLONG),
    ] {
        let what = name.escape_ascii().to_string();
        refused(
            &what,
            volume.set_xattr(file, name, b"v", XattrSet::Any),
            errno,
        )?;
        refused(&what, volume.remove_xattr(file, name), errno)?;
    }
    let acl = b"system.posix_acl_access";
    for value in [&b""[..], b"\x02\0\0\0", &[1; 28]] {
        refused(
            "ACL",
            volume.set_xattr(file, acl, value, XattrSet::Any),
            Errno::INVAL,
        )?;
    }
    let too_long = vec![b'v'; (64 << 10) + 1];
    let result = volume.set_xattr(file, b"user.long", &too_long, XattrSet::Any);
    refused("65 KiB", result, Errno::NOSPC)?;
    refused(
        "remove",
        volume.remove_xattr(file, b"user.none"),
        Errno::NODATA,
    )?;
    let replaced = volume.set_xattr(file, b"user.none", b"v", XattrSet::Replace);
    refused("replace", replaced, Errno::NODATA)?;
    volume.set_xattr(file, &longest, b"v", XattrSet::Create)?;
    let again = volume.set_xattr(file, &longest, b"w", XattrSet::Create);
    refused("create", again, Errno::EXIST)?;
    assert_eq!(volume.xattr(file, &longest)?, b"v");
    volume.close()?;
    clean(&device)
}

#[test]
fn moves_that_cannot_be_made() -> Result<()> {
    if !skip::allowed(TOOLS) {
        return Ok(());
    }
    let (device, volume) = open(&kind("ext4 1k")?.image()?)?;
    let directory = NewInode::directory(0o755);
    let outer = volume.create(ROOT, b"outer", &directory)?.number();
    let middle = volume.create(outer, b"middle", &directory)?.number();
    let inner = volume.create(middle, b"inner", &directory)?.number();
    volume.create(ROOT, b"file", &NewInode::file(0o644))?;
    let all = [
        RenameMode::Replace,
        RenameMode::NoReplace,
        RenameMode::Whiteout,
    ];
    for mode in all {
        for below in [outer, middle, inner] {
            let into = volume.rename(ROOT, b"outer", below, b"new", mode);
            refused("into itself", into, Errno::INVAL)?;
        }
    }
    let swap = volume.rename(ROOT, b"outer", middle, b"inner", RenameMode::Exchange);
    refused("exchanged with its own", swap, Errno::INVAL)?;
    let swap = volume.rename(middle, b"inner", ROOT, b"outer", RenameMode::Exchange);
    refused("exchanged with that above", swap, Errno::INVAL)?;
    let over = |name: &[u8], new: &[u8]| volume.rename(ROOT, name, ROOT, new, RenameMode::Replace);
    refused(
        "over what is above",
        volume.rename(middle, b"inner", ROOT, b"outer", RenameMode::Replace),
        Errno::NOTEMPTY,
    )?;
    refused(
        "directory over file",
        over(b"outer", b"file"),
        Errno::NOTDIR,
    )?;
    refused("file over directory", over(b"file", b"outer"), Errno::ISDIR)?;
    refused("nothing", over(b"none", b"file"), Errno::NOENT)?;
    refused("not empty", volume.rmdir(ROOT, b"outer"), Errno::NOTEMPTY)?;
    refused("unlink", volume.unlink(ROOT, b"outer"), Errno::ISDIR)?;
    refused("rmdir", volume.rmdir(ROOT, b"file"), Errno::NOTDIR)?;
    refused("link", volume.link(outer, ROOT, b"again"), Errno::PERM)?;
    volume.retain(inner)?;
    volume.rmdir(middle, b"inner")?;
    let gone = volume.create(inner, b"in a removed one", &NewInode::file(0o644));
    refused("create", gone, Errno::NOENT)?;
    let gone = volume.rename(ROOT, b"file", inner, b"new", RenameMode::Replace);
    refused("rename", gone, Errno::NOENT)?;
    volume.release(inner)?;
    refused("inode", volume.inode(inner), Errno::STALE)?;
    volume.close()?;
    clean(&device)
}

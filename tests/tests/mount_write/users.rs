//! What others than root may do.

use super::log::Log;
use anyhow::{Result, anyhow};
use rustix::fs::{
    AtFlags, CWD, FallocateFlags, Gid, Mode, OFlags, Uid, chmod, chown, chownat, copy_file_range,
    fallocate, ftruncate, link, lstat, mkdir, open, rename, rmdir, stat, symlink, unlink,
};
use rustix::io::pwrite;
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use std::path::Path;

const USER: u32 = 4321;
const GROUP: u32 = 8765;
const OTHER_GROUP: u32 = 5555;

pub(super) fn script(root: &Path, log: &mut Log) -> Result<()> {
    let make = |name: &str, mode: u32, uid: u32, gid: u32| -> Result<()> {
        let path = root.join(name);
        mkdir(&path, Mode::from_raw_mode(0o755))?;
        chown(&path, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        Ok(chmod(&path, Mode::from_raw_mode(mode))?)
    };
    make("own", 0o755, USER, GROUP)?;
    make("root", 0o755, 0, 0)?;
    make("sticky", 0o1777, 0, 0)?;
    make("shared", 0o2777, 0, OTHER_GROUP)?;
    make("secret", 0o700, 0, 0)?;
    for dir in ["root", "sticky", "own"] {
        std::fs::write(root.join(dir).join("roots"), b"root's")?;
    }
    std::fs::write(root.join("program"), b"#!")?;
    chmod(root.join("program"), Mode::from_raw_mode(0o6777))?;
    std::thread::scope(|scope| {
        let user = scope.spawn(|| as_user(root, log));
        user.join()
            .map_err(|_| anyhow!("the user's thread panicked"))?
    })
}

/// Only this thread becomes the user.
fn as_user(root: &Path, log: &mut Log) -> Result<()> {
    set_thread_groups(&[Gid::from_raw(GROUP)])?;
    let gid = Gid::from_raw(GROUP);
    set_thread_res_gid(gid, gid, gid)?;
    let uid = Uid::from_raw(USER);
    set_thread_res_uid(uid, uid, uid)?;
    let at = |name: &str| root.join(name);
    let create = OFlags::CREATE | OFlags::WRONLY;
    for dir in ["own", "root", "sticky", "shared", "secret"] {
        let file = at(&format!("{dir}/mine"));
        log.done(dir, open(&file, create, Mode::from_raw_mode(0o2775)));
        let shown = lstat(&file).map(|stat| (stat.st_mode, stat.st_uid, stat.st_gid));
        log.gave("mine", shown);
        let sub = at(&format!("{dir}/sub"));
        log.done("mkdir", mkdir(&sub, Mode::from_raw_mode(0o777)));
        let shown = lstat(&sub).map(|stat| (stat.st_mode, stat.st_uid, stat.st_gid));
        log.gave("sub", shown);
        log.done("symlink", symlink("x", at(&format!("{dir}/link"))));
        let roots = at(&format!("{dir}/roots"));
        log.done("open root's", open(&roots, OFlags::WRONLY, Mode::empty()));
        log.done("chmod root's", chmod(&roots, Mode::from_raw_mode(0o777)));
        log.done("link root's", link(&roots, at("own/linked")));
        log.done("move root's", rename(&roots, at(&format!("{dir}/moved"))));
        log.done("unlink root's", unlink(&roots));
        log.done(
            "list",
            open(at(dir), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()),
        );
    }
    log.done("chown mine", chown(at("own/mine"), Some(Uid::ROOT), None));
    let group = Some(Gid::from_raw(OTHER_GROUP));
    log.done(
        "chgrp mine",
        chownat(CWD, at("own/mine"), None, group, AtFlags::empty()),
    );
    log.done("rmdir", rmdir(at("own/sub")));
    privileges(root, log)
}

/// Who writes to a program does not get what it may.
fn privileges(root: &Path, log: &mut Log) -> Result<()> {
    let path = root.join("program");
    let mode = || stat(&path).map(|stat| stat.st_mode);
    let fd = open(&path, OFlags::RDWR, Mode::empty())?;
    log.gave("before", mode());
    log.gave("write", pwrite(&fd, b"##", 0));
    log.gave("after", mode());
    let path = root.join("own/mine");
    chmod(&path, Mode::from_raw_mode(0o4755))?;
    let fd = open(&path, OFlags::RDWR, Mode::empty())?;
    log.done("truncate", ftruncate(&fd, 10));
    log.gave("after", stat(&path).map(|stat| stat.st_mode));
    let from = root.join("own/source");
    std::fs::write(&from, [5; 9000])?;
    let from = open(&from, OFlags::RDONLY, Mode::empty())?;
    let fallocate = |mode: FallocateFlags| fallocate(&fd, mode, 0, 5000);
    let keep = FallocateFlags::KEEP_SIZE;
    for way in 0..6 {
        chmod(&path, Mode::from_raw_mode(0o6755))?;
        match way {
            0 => log.done("allocate", fallocate(FallocateFlags::empty())),
            1 => log.done("keep", fallocate(keep)),
            2 => log.done("punch", fallocate(keep | FallocateFlags::PUNCH_HOLE)),
            3 => log.done("zero", fallocate(FallocateFlags::ZERO_RANGE)),
            4 => log.gave("copy", copy_file_range(&from, None, &fd, None, 5000)),
            _ => log.done("chown to nobody else", chown(&path, None, None)),
        }
        log.gave("after", stat(&path).map(|stat| stat.st_mode));
    }
    Ok(())
}

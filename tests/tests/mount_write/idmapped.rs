//! What is seen and made through an idmapped mount of the file system.

use super::log::Log;
use anyhow::{Result, anyhow};
use rustix::fs::{
    AtFlags, Gid, Mode, OFlags, Uid, chmodat, chownat, linkat, mkdirat, openat, renameat, statat,
    symlinkat, unlinkat,
};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use system_tests::idmap;

/// On disk 0 to 9999; seen as these.
const SEEN: u32 = 20_000;
const USER: u32 = 7;

pub(super) fn script(root: &Path, log: &mut Log) -> Result<()> {
    let make = |name: &str, mode: u32, owner: u32| -> Result<()> {
        let path = root.join(name);
        std::fs::create_dir(&path)?;
        std::os::unix::fs::chown(&path, Some(owner), Some(owner))?;
        Ok(rustix::fs::chmod(&path, Mode::from_raw_mode(mode))?)
    };
    make("own", 0o755, USER)?;
    make("shared", 0o2777, 0)?;
    make("sticky", 0o1777, 0)?;
    make("root", 0o755, 0)?;
    // Nobody who is mapped.
    make("foreign", 0o777, 50_000)?;
    std::fs::write(root.join("sticky/roots"), b"root's")?;
    let mapped = idmap::clone_mapped(root, 0, SEEN, 10_000)?;
    look(mapped.as_fd(), log);
    std::thread::scope(|scope| {
        let user = scope.spawn(|| as_user(mapped.as_fd(), log));
        user.join()
            .map_err(|_| anyhow!("the user's thread panicked"))?
    })?;
    // The caller, root, is nobody in the mapping.
    let made = openat(&mapped, "own/unmapped", CREATE, Mode::from_raw_mode(0o644));
    log.done("create by who is not mapped", made);
    let given = chownat(&mapped, "own/mine", Some(Uid::from_raw(SEEN + 9)), None, AT);
    log.done("chown to who is mapped", given);
    let given = chownat(&mapped, "own/mine", Some(Uid::from_raw(3)), None, AT);
    log.done("chown to who is not", given);
    look(mapped.as_fd(), log);
    Ok(())
}

const AT: AtFlags = AtFlags::SYMLINK_NOFOLLOW;
const CREATE: OFlags = OFlags::CREATE.union(OFlags::WRONLY);

/// Whose everything seems to be.
fn look(mapped: BorrowedFd<'_>, log: &mut Log) {
    for name in [
        "own",
        "shared",
        "sticky",
        "root",
        "foreign",
        "own/mine",
        "own/sub",
        "shared/mine",
        "sticky/mine",
        "foreign/mine",
    ] {
        let shown = statat(mapped, name, AT);
        log.gave(
            name,
            shown.map(|stat| (stat.st_uid, stat.st_gid, stat.st_mode)),
        );
    }
}

/// Only this thread becomes the user, as the mount shows them.
fn as_user(mapped: BorrowedFd<'_>, log: &mut Log) -> Result<()> {
    set_thread_groups(&[])?;
    let gid = Gid::from_raw(SEEN + USER);
    set_thread_res_gid(gid, gid, gid)?;
    let uid = Uid::from_raw(SEEN + USER);
    set_thread_res_uid(uid, uid, uid)?;
    let mode = Mode::from_raw_mode(0o755);
    for dir in ["own", "shared", "sticky", "root", "foreign"] {
        let at = |name: &str| format!("{dir}/{name}");
        log.done(dir, openat(mapped, at("mine"), CREATE, mode));
        log.done("mkdir", mkdirat(mapped, at("sub"), mode));
        log.done("symlink", symlinkat("x", mapped, at("link")));
        log.done(
            "chmod",
            chmodat(
                mapped,
                at("mine"),
                Mode::from_raw_mode(0o4711),
                AtFlags::empty(),
            ),
        );
        log.done(
            "link",
            linkat(mapped, at("mine"), mapped, at("second"), AtFlags::empty()),
        );
        log.done(
            "rename",
            renameat(mapped, at("second"), mapped, at("moved")),
        );
        log.done("unlink", unlinkat(mapped, at("moved"), AtFlags::empty()));
        log.done(
            "unlink root's",
            unlinkat(mapped, at("roots"), AtFlags::empty()),
        );
    }
    Ok(())
}

//! Modes, owners, times, flags.

use super::log::Log;
use anyhow::Result;
use rustix::fs::{
    AtFlags, CWD, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, Uid, chmod,
    chownat, link, lstat, mkdir, open, rename, rmdir, stat, unlink, utimensat,
};
use rustix::io::{Errno, pwrite};
use std::path::Path;
use system_tests::sys;

fn shown(path: &Path) -> Result<(u32, u32, u32), Errno> {
    lstat(path).map(|stat| (stat.st_mode, stat.st_uid, stat.st_gid))
}

pub(super) fn script(root: &Path, log: &mut Log) -> Result<()> {
    let file = root.join("file");
    std::fs::write(&file, b"content")?;
    mkdir(root.join("dir"), Mode::from_raw_mode(0o755))?;
    std::os::unix::fs::symlink("file", root.join("link"))?;
    for mode in [0, 0o644, 0o7777, 0o6755, 0o4711, 0o2640, 0o1777] {
        for name in ["file", "dir"] {
            let path = root.join(name);
            log.done("chmod", chmod(&path, Mode::from_raw_mode(mode)));
            log.gave("mode", shown(&path));
            let owner = (Some(Uid::from_raw(7)), Some(Gid::from_raw(8)));
            let outcome = chownat(CWD, &path, owner.0, owner.1, AtFlags::empty());
            log.done("chown", outcome);
            log.gave("owner", shown(&path));
            let outcome = chownat(CWD, &path, None, Some(Gid::ROOT), AtFlags::empty());
            log.done("chgrp", outcome);
            log.gave("owner", shown(&path));
        }
    }
    let big = Uid::from_raw(3_000_000_000);
    let nofollow = AtFlags::SYMLINK_NOFOLLOW;
    log.done(
        "chown the link",
        chownat(CWD, root.join("link"), Some(big), None, nofollow),
    );
    log.gave("link", shown(&root.join("link")));
    log.done(
        "chmod nothing",
        chmod(root.join("no"), Mode::from_raw_mode(0o600)),
    );
    privileges(&file, log)?;
    times(root, log)
}

/// Root keeps set-id bits when writing; they go with a new owner.
fn privileges(file: &Path, log: &mut Log) -> Result<()> {
    chmod(file, Mode::from_raw_mode(0o6755))?;
    let fd = open(file, OFlags::RDWR, Mode::empty())?;
    log.gave("write", pwrite(&fd, b"x", 0));
    log.gave("mode", shown(file));
    log.done("truncate", rustix::fs::ftruncate(&fd, 3));
    log.gave("mode", shown(file));
    Ok(())
}

fn times(root: &Path, log: &mut Log) -> Result<()> {
    let file = root.join("file");
    let given = |seconds, nanos| Timespec {
        tv_sec: seconds,
        tv_nsec: nanos,
    };
    let cases = [
        (
            given(1_000_000_000, 123_456_789),
            given(2_000_000_000, 987_654_321),
        ),
        (given(0, 0), given(1, 1)),
        (given(-1_000_000, 5), given(-2_000_000_000, 999_999_999)),
        (given(4_000_000_000, 1), given(15_000_000_000, 2)),
        (given(5, UTIME_OMIT), given(77, 0)),
        (given(88, 0), given(5, UTIME_OMIT)),
        (given(0, 1_000_000_000), given(0, 0)),
    ];
    for (accessed, modified) in cases {
        let times = Timestamps {
            last_access: accessed,
            last_modification: modified,
        };
        log.done("utimes", utimensat(CWD, &file, &times, AtFlags::empty()));
        let found = stat(&file).map(|stat| {
            [
                (stat.st_atime, stat.st_atime_nsec as i64),
                (stat.st_mtime, stat.st_mtime_nsec as i64),
            ]
        });
        log.gave("times", found);
    }
    let now = Timestamps {
        last_access: given(0, UTIME_NOW),
        last_modification: given(0, UTIME_NOW),
    };
    log.done("touch", utimensat(CWD, &file, &now, AtFlags::empty()));
    let found = stat(&file)?;
    let age = rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec - found.st_mtime;
    log.note("just now", (0..10).contains(&age));
    moving_times(root, log)
}

/// What moves which time.
fn moving_times(root: &Path, log: &mut Log) -> Result<()> {
    let old = Timestamps {
        last_access: Timespec {
            tv_sec: 1000,
            tv_nsec: 0,
        },
        last_modification: Timespec {
            tv_sec: 2000,
            tv_nsec: 0,
        },
    };
    let (dir, file) = (root.join("dir"), root.join("file"));
    let age = |log: &mut Log, call: &str| {
        for path in [&dir, &file] {
            utimensat(CWD, path, &old, AtFlags::empty()).ok();
        }
        log.note("then", call);
    };
    let moved = |log: &mut Log| {
        for path in [&dir, &file] {
            let found = stat(path).map(|stat| (stat.st_mtime != 2000, stat.st_ctime > 3000));
            log.gave("moved", found);
        }
    };
    age(log, "create in the directory");
    std::fs::write(dir.join("x"), b"")?;
    moved(log);
    age(log, "link into the directory");
    link(&file, dir.join("y"))?;
    moved(log);
    age(log, "rename in the directory");
    rename(dir.join("y"), dir.join("z"))?;
    moved(log);
    age(log, "unlink in the directory");
    unlink(dir.join("z"))?;
    moved(log);
    age(log, "chmod");
    chmod(&file, Mode::from_raw_mode(0o600))?;
    moved(log);
    age(log, "write");
    pwrite(open(&file, OFlags::WRONLY, Mode::empty())?, b"y", 0)?;
    moved(log);
    age(log, "truncate to the same size");
    let fd = open(&file, OFlags::WRONLY, Mode::empty())?;
    rustix::fs::ftruncate(&fd, stat(&file)?.st_size as u64)?;
    moved(log);
    Ok(())
}

/// Who may open what, where each open(2) is asked about.
pub(super) fn opening(root: &Path, log: &mut Log) -> Result<()> {
    for (name, flag) in [
        ("still", sys::FLAG_IMMUTABLE),
        ("growing", sys::FLAG_APPEND),
    ] {
        let path = root.join(name);
        std::fs::write(&path, b"before")?;
        let fd = open(&path, OFlags::RDONLY, Mode::empty())?;
        let old = sys::get_flags(&fd)?;
        log.done("set", sys::set_flags(&fd, old | flag));
        for flags in [
            OFlags::RDONLY,
            OFlags::WRONLY,
            OFlags::RDWR,
            OFlags::WRONLY | OFlags::APPEND,
            OFlags::RDWR | OFlags::APPEND | OFlags::CREATE,
            OFlags::WRONLY | OFlags::TRUNC,
        ] {
            let opened = open(&path, flags, Mode::from_raw_mode(0o600));
            log.note("open", opened.as_ref().map(drop));
            if let Ok(opened) = opened
                && flags.contains(OFlags::APPEND)
            {
                log.gave("append", rustix::io::write(&opened, b" and after"));
                log.done("fsync", rustix::fs::fsync(&opened));
            }
        }
        log.std("content", std::fs::read_to_string(&path));
        log.done("unset", sys::set_flags(&fd, old));
    }
    Ok(())
}

/// Flags that forbid; opening is not among what is compared, see the manual of `askopen`.
pub(super) fn flags(root: &Path, log: &mut Log) -> Result<()> {
    for (name, flag) in [
        ("still", sys::FLAG_IMMUTABLE),
        ("growing", sys::FLAG_APPEND),
    ] {
        let path = root.join(name);
        let dir = root.join(format!("{name}-dir"));
        std::fs::write(&path, b"before\n")?;
        mkdir(&dir, Mode::from_raw_mode(0o755))?;
        std::fs::write(dir.join("inside"), b"")?;
        for path in [&path, &dir] {
            let fd = open(path, OFlags::RDONLY, Mode::empty())?;
            let old = sys::get_flags(&fd)?;
            log.done("set", sys::set_flags(&fd, old | flag));
            log.gave("get", sys::get_flags(&fd).map(|flags| flags & flag));
            log.gave("xflags", sys::get_fsxattr(&fd).map(|found| found.xflags));
        }
        log.done("unlink", unlink(&path));
        log.done("rename", rename(&path, root.join("other")));
        log.done("link", link(&path, root.join("other")));
        log.done("chmod", chmod(&path, Mode::from_raw_mode(0o600)));
        let owner = Some(Uid::from_raw(7));
        log.done("chown", chownat(CWD, &path, owner, None, AtFlags::empty()));
        let cut = OFlags::WRONLY | OFlags::TRUNC;
        log.done("cut", open(&path, cut, Mode::empty()));
        log.done("unlink inside", unlink(dir.join("inside")));
        log.std("create inside", std::fs::write(dir.join("new"), b""));
        log.done("rmdir", rmdir(&dir));
        if flag == sys::FLAG_APPEND {
            let fd = open(&path, OFlags::WRONLY | OFlags::APPEND, Mode::empty())?;
            log.gave("append", rustix::io::write(&fd, b"after\n"));
            log.done("fsync", rustix::fs::fsync(&fd));
        }
        log.std("content", std::fs::read_to_string(&path));
        // What was written before, and lies in the page cache still.
        let busy = root.join(format!("{name}-busy"));
        std::fs::write(&busy, b"old")?;
        let fd = open(&busy, OFlags::RDWR, Mode::empty())?;
        log.gave("write", pwrite(&fd, &[7; 20_000], 0));
        let old = sys::get_flags(&fd)?;
        log.done("set while it is written", sys::set_flags(&fd, old | flag));
        log.done("fsync", rustix::fs::fsync(&fd));
        log.gave("size", stat(&busy).map(|stat| stat.st_size));
        log.gave("seen", sys::get_flags(&fd).map(|flags| flags & flag));
        drop(fd);
        log.std(
            "written",
            std::fs::read(&busy).map(|bytes| bytes.iter().all(|&b| b == 7)),
        );
        for path in [&path, &dir, &busy] {
            let fd = open(path, OFlags::RDONLY, Mode::empty())?;
            let mut fsx = sys::get_fsxattr(&fd)?;
            fsx.xflags &= !0x18;
            log.done("unset", sys::set_fsxattr(&fd, fsx));
        }
    }
    let fd = open(root, OFlags::RDONLY, Mode::empty())?;
    log.done("an unknown flag", sys::set_flags(&fd, 0x8000_0000));
    Ok(())
}

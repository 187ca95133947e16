//! Files without names, and what is open while its name goes.

use super::log::Log;
use anyhow::Result;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, fstat, ftruncate, linkat, open, rename, unlink};
use rustix::io::{pread, pwrite};
use std::os::fd::AsRawFd;
use std::path::Path;

pub(super) fn script(root: &Path, log: &mut Log) -> Result<()> {
    let path = root.join("file");
    std::fs::write(&path, b"content")?;
    let fd = open(&path, OFlags::RDWR, Mode::empty())?;
    log.done("unlink", unlink(&path));
    log.gave(
        "links",
        fstat(&fd).map(|stat| (stat.st_nlink, stat.st_size)),
    );
    log.gave("write", pwrite(&fd, &[3; 100_000], 7));
    let mut bytes = [0; 10];
    log.gave("read", pread(&fd, &mut bytes, 0));
    log.note("bytes", bytes);
    log.done("cut", ftruncate(&fd, 3));
    log.gave("size", fstat(&fd).map(|stat| stat.st_size));
    std::fs::write(&path, b"another")?;
    log.gave("read", pread(&fd, &mut bytes, 0));
    log.std("by name", std::fs::read(&path));
    let name = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let follow = AtFlags::SYMLINK_FOLLOW;
    let outcome = linkat(CWD, &name, CWD, root.join("back"), follow);
    log.done("link what has no name", outcome);
    drop(fd);
    replaced(root, log)?;
    unnamed(root, log)?;
    many(root, log)
}

fn replaced(root: &Path, log: &mut Log) -> Result<()> {
    let (old, new) = (root.join("old"), root.join("new"));
    std::fs::write(&old, b"old")?;
    std::fs::write(&new, b"new")?;
    let fd = open(&old, OFlags::RDONLY, Mode::empty())?;
    log.done("rename over", rename(&new, &old));
    let mut bytes = [0; 3];
    log.gave("read", pread(&fd, &mut bytes, 0));
    log.note("bytes", bytes);
    log.gave("links", fstat(&fd).map(|stat| stat.st_nlink));
    Ok(())
}

fn unnamed(root: &Path, log: &mut Log) -> Result<()> {
    let flags = OFlags::TMPFILE | OFlags::RDWR;
    for (name, exclusive) in [("linked", false), ("exclusive", true)] {
        let mut flags = flags;
        flags.set(OFlags::EXCL, exclusive);
        let fd = open(root, flags, Mode::from_raw_mode(0o640))?;
        log.gave(
            "links",
            fstat(&fd).map(|stat| (stat.st_nlink, stat.st_mode)),
        );
        log.gave("write", pwrite(&fd, b"unnamed", 0));
        let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let outcome = linkat(CWD, &path, CWD, root.join(name), AtFlags::SYMLINK_FOLLOW);
        log.done("link", outcome);
        log.gave("links", fstat(&fd).map(|stat| stat.st_nlink));
    }
    let fd = open(root, flags, Mode::from_raw_mode(0o600))?;
    log.gave("write", pwrite(&fd, &[1; 1 << 20], 0));
    drop(fd);
    let file = root.join("old");
    log.done(
        "below a file",
        open(file, flags, Mode::from_raw_mode(0o600)),
    );
    Ok(())
}

/// Many come and go; the space of all is given back.
fn many(root: &Path, log: &mut Log) -> Result<()> {
    for _ in 0..3 {
        let mut open_files = Vec::new();
        for number in 0..200 {
            let path = root.join(format!("n{number}"));
            std::fs::write(&path, vec![number as u8; 20_000])?;
            open_files.push(open(&path, OFlags::RDONLY, Mode::empty())?);
            unlink(&path)?;
        }
        let mut sum = 0;
        for fd in &open_files {
            let mut bytes = [0; 1];
            pread(fd, &mut bytes, 19_999)?;
            sum += u32::from(bytes[0]);
        }
        log.note("bytes", sum);
    }
    Ok(())
}

//! Writing, cutting, allocating, copying, seeking.

use super::log::Log;
use anyhow::Result;
use rustix::fs::{
    CWD, FallocateFlags, Mode, OFlags, SeekFrom, copy_file_range, fallocate, fdatasync, fstat,
    fsync, ftruncate, open, seek, stat,
};
use rustix::io::{Errno, pread, pwrite};
use std::os::fd::OwnedFd;
use std::path::Path;
use system_tests::sys;

fn file(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::CREATE | OFlags::RDWR;
    Ok(open(path, flags, Mode::from_raw_mode(0o644))?)
}

/// Length, and a sum over the bytes that knows their order.
fn sum(fd: &OwnedFd) -> Result<(u64, u64), Errno> {
    let size = fstat(fd)?.st_size as u64;
    let mut buffer = vec![0; 1 << 16];
    let (mut at, mut sum) = (0u64, 0u64);
    loop {
        let len = pread(fd, &mut buffer, at)?;
        if len == 0 {
            return Ok((size, sum));
        }
        for &byte in &buffer[..len] {
            sum = sum.wrapping_mul(31).wrapping_add(u64::from(byte));
        }
        at += len as u64;
    }
}

pub(super) fn script(root: &Path, log: &mut Log) -> Result<()> {
    let fd = file(&root.join("file"))?;
    let writes: &[(u64, usize)] = &[
        (0, 5),
        (5, 20),
        (100, 1),
        (50, 100),
        (4090, 12),
        (0, 4096),
        (10_000, 30_000),
        (1 << 20, 100),
        (8191, 4099),
        (1 << 33, 7),
    ];
    for &(offset, len) in writes {
        let bytes: Vec<u8> = (0..len).map(|at| (at * 7 + len) as u8).collect();
        let call = format!("write {len} at {offset}");
        log.gave(&call, pwrite(&fd, &bytes, offset));
        log.gave("size", fstat(&fd).map(|stat| stat.st_size));
    }
    log.done("cut", ftruncate(&fd, 1 << 20));
    log.gave("sum", sum(&fd));
    for size in [70_000, 4097, 150, 151, 90_000, 60, 0, 10, 3000] {
        log.done(&format!("truncate to {size}"), ftruncate(&fd, size));
        log.gave("sum", sum(&fd));
        log.gave("write", pwrite(&fd, b"tail", size + 5));
        log.gave("sum", sum(&fd));
    }
    log.done("truncate far", ftruncate(&fd, 1 << 62));
    log.done("fsync", fsync(&fd));
    log.done("fdatasync", fdatasync(&fd));
    let mut buffer = [0; 10];
    log.gave("read at the end", pread(&fd, &mut buffer, 3009));
    log.gave("read beyond", pread(&fd, &mut buffer, 1 << 40));
    appending(root, log)?;
    let reading = open(root.join("file"), OFlags::RDONLY, Mode::empty())?;
    log.gave("write what is open for reading", pwrite(&reading, b"x", 0));
    log.done("truncate it", ftruncate(&reading, 0));
    Ok(())
}

fn appending(root: &Path, log: &mut Log) -> Result<()> {
    let path = root.join("log");
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::APPEND;
    for flags in [flags, flags | OFlags::DSYNC, flags | OFlags::SYNC] {
        let fd = open(&path, flags, Mode::from_raw_mode(0o600))?;
        for line in ["one\n", "two\n", "three\n"] {
            log.gave("append", rustix::io::write(&fd, line.as_bytes()));
        }
    }
    log.std("appended", std::fs::read_to_string(&path));
    let flags = OFlags::WRONLY | OFlags::TRUNC;
    log.done("open and cut", open(&path, flags, Mode::empty()));
    log.gave("size", stat(&path).map(|stat| stat.st_size));
    Ok(())
}

pub(super) fn ranges(root: &Path, log: &mut Log) -> Result<()> {
    let fd = file(&root.join("file"))?;
    let bytes: Vec<u8> = (0..300_000u32).map(|at| (at % 251) as u8 + 1).collect();
    log.gave("write", pwrite(&fd, &bytes, 0));
    let keep = FallocateFlags::KEEP_SIZE;
    let punch = FallocateFlags::PUNCH_HOLE;
    let zero = FallocateFlags::ZERO_RANGE;
    let calls = [
        ("allocate", FallocateFlags::empty(), 290_000, 100_000),
        ("allocate beyond", keep, 400_000, 100_000),
        ("punch inside a block", punch | keep, 100, 200),
        ("punch blocks", punch | keep, 8192, 16_384),
        ("punch across", punch | keep, 40_000, 10_001),
        ("punch beyond", punch | keep, 1 << 20, 4096),
        ("punch without keeping", punch, 0, 4096),
        ("zero", zero, 60_000, 9_999),
        ("zero, growing", zero, 380_000, 20_001),
        ("zero beyond, keeping", zero | keep, 500_000, 4096),
        ("nothing", FallocateFlags::empty(), 0, 0),
        ("too far", FallocateFlags::empty(), (1 << 62) - 1, 1 << 30),
    ];
    for (call, flags, offset, len) in calls {
        log.done(call, fallocate(&fd, flags, offset, len));
        log.gave("sum", sum(&fd));
    }
    let other = OFlags::RDONLY;
    let directory = open(root, other, Mode::empty())?;
    log.done(
        "of a directory",
        fallocate(&directory, FallocateFlags::empty(), 0, 1),
    );
    seeks(root, log)?;
    copies(root, &fd, log)
}

fn seeks(root: &Path, log: &mut Log) -> Result<()> {
    let fd = file(&root.join("sparse"))?;
    log.gave("empty", seek(&fd, SeekFrom::Data(0)));
    for block in [1u64, 2, 7, 20] {
        pwrite(&fd, &[1; 4096], block * 4096)?;
    }
    ftruncate(&fd, 40 * 4096)?;
    // Without fsync(2): what is still in the cache counts.
    for block in [0, 1, 2, 3, 7, 8, 20, 21, 39, 40, 50] {
        let at = block * 4096 + 7;
        log.gave(&format!("data from {at}"), seek(&fd, SeekFrom::Data(at)));
        log.gave(&format!("hole from {at}"), seek(&fd, SeekFrom::Hole(at)));
    }
    Ok(())
}

fn copies(root: &Path, from: &OwnedFd, log: &mut Log) -> Result<()> {
    let to = file(&root.join("copy"))?;
    let calls = [
        (0, 0, 100),
        (1000, 5000, 70_000),
        (250_000, 80_000, 1 << 20),
        (1 << 30, 0, 100),
        (0, 0, 0),
    ];
    for (source, target, len) in calls {
        let (mut source, mut target) = (source, target);
        let mut copied = Ok(0);
        while let Ok(sum) = copied {
            let wanted = len - sum;
            match copy_file_range(from, Some(&mut source), &to, Some(&mut target), wanted) {
                Ok(0) => break,
                Ok(more) => copied = Ok(sum + more),
                Err(error) => copied = Err(error),
            }
        }
        log.gave("copied", copied);
        log.gave("sum", sum(&to));
    }
    let (mut source, mut target) = (10, 50);
    let outcome = copy_file_range(from, Some(&mut source), from, Some(&mut target), 1000);
    log.gave("onto itself", outcome);
    let _ = CWD;
    Ok(())
}

pub(super) fn mappings(root: &Path, log: &mut Log) -> Result<()> {
    let fd = file(&root.join("mapped"))?;
    ftruncate(&fd, 100_000)?;
    for offset in [0usize, 4000, 50_000, 99_990] {
        log.gave(
            "write through",
            sys::write_mapped(&fd, 100_000, offset, b"0123456789"),
        );
        log.gave("sum", sum(&fd));
    }
    log.gave("write beside", pwrite(&fd, b"abc", 50_005));
    let seen = sys::read_mapped(&fd, 100_000, 50_000, 10);
    log.gave("seen through", seen);
    fsync(&fd)?;
    ftruncate(&fd, 50_003)?;
    log.gave("sum", sum(&fd));
    Ok(())
}

//! One file, changed at random in every way there is, beside a copy in memory: what is read
//! must always be what the copy says, through the cache, through a mapping, and after a
//! new mount.

use super::log::OPTIONS;
use anyhow::{Context, Result, ensure};
use rustix::fs::{
    FallocateFlags, Mode, OFlags, SeekFrom, copy_file_range, fallocate, fsync, ftruncate, open,
    seek,
};
use rustix::io::{Errno, pread, pwrite};
use std::os::fd::OwnedFd;
use std::path::Path;
use system_tests::guards::{FuseMount, Server};
use system_tests::mkfs::judge::fsck;
use system_tests::rng::Rng;
use system_tests::scratch::Scratch;
use system_tests::{skip, sys};

const SIZE_MAX: u64 = 400_000;

struct File {
    fd: OwnedFd,
    model: Vec<u8>,
    rng: Rng,
}

impl File {
    fn open(path: &Path, seed: u64) -> Result<Self> {
        let flags = OFlags::CREATE | OFlags::RDWR;
        Ok(Self {
            fd: open(path, flags, Mode::from_raw_mode(0o644))?,
            model: Vec::new(),
            rng: Rng::new(seed),
        })
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.rng.below(limit.max(1))
    }

    /// A range of the file, or behind its end.
    fn range(&mut self, len_max: u64) -> (u64, u64) {
        let len = self.below(len_max) + 1;
        (self.below(SIZE_MAX - len), len)
    }

    fn bytes(&mut self, len: u64) -> Vec<u8> {
        let start = self.below(256);
        (start..start + len)
            .map(|number| (number % 253) as u8 + 1)
            .collect()
    }

    fn grow(&mut self, len: u64) {
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        if self.model.len() < len {
            self.model.resize(len, 0);
        }
    }

    fn put(&mut self, at: u64, bytes: &[u8]) {
        self.grow(at + bytes.len() as u64);
        let at = at as usize;
        self.model[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Zeros, as far as the file reaches.
    fn clear(&mut self, at: u64, len: u64) {
        let end = self.model.len().min((at + len) as usize);
        if let Some(range) = self.model.get_mut(at as usize..end) {
            range.fill(0);
        }
    }

    fn step(&mut self) -> Result<&'static str> {
        Ok(match self.below(12) {
            0..=2 => {
                let (at, len) = self.range(30_000);
                let bytes = self.bytes(len);
                let done = pwrite(&self.fd, &bytes, at)?;
                ensure!(done as u64 == len, "{done} of {len} bytes written");
                self.put(at, &bytes);
                "write"
            }
            3 => {
                let size = self.below(SIZE_MAX);
                ftruncate(&self.fd, size)?;
                self.model.resize(size as usize, 0);
                "truncate"
            }
            4 => {
                let (at, len) = self.range(60_000);
                let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                fallocate(&self.fd, flags, at, len)?;
                self.clear(at, len);
                "punch"
            }
            5 => {
                let (at, len) = self.range(60_000);
                fallocate(&self.fd, FallocateFlags::ZERO_RANGE, at, len)?;
                self.grow(at + len);
                self.clear(at, len);
                "zero"
            }
            6 => {
                let (at, len) = self.range(60_000);
                fallocate(&self.fd, FallocateFlags::empty(), at, len)?;
                self.grow(at + len);
                "allocate"
            }
            7 => self.write_mapped()?,
            8 => self.copy()?,
            9 => self.seek()?,
            10 => {
                fsync(&self.fd)?;
                "fsync"
            }
            _ => self.look()?,
        })
    }

    fn write_mapped(&mut self) -> Result<&'static str> {
        let size = self.model.len() as u64;
        if size == 0 {
            return Ok("nothing to map");
        }
        let len = self.below(size.min(9000)) + 1;
        let at = self.below(size - len + 1);
        let bytes = self.bytes(len);
        sys::write_mapped(&self.fd, size as usize, at as usize, &bytes)?;
        self.put(at, &bytes);
        Ok("write through a mapping")
    }

    fn copy(&mut self) -> Result<&'static str> {
        let size = self.model.len() as u64;
        let len = self.below(size.min(50_000));
        let from = self.below(size - len + 1);
        let to = self.below(SIZE_MAX - len);
        if len == 0 || from.abs_diff(to) < len {
            return Ok("nothing to copy");
        }
        let (mut source, mut target) = (from, to);
        while source < from + len {
            let left = (from + len - source) as usize;
            let done = copy_file_range(
                &self.fd,
                Some(&mut source),
                &self.fd,
                Some(&mut target),
                left,
            )?;
            ensure!(done > 0, "nothing more is copied");
        }
        let bytes = self.model[from as usize..(from + len) as usize].to_vec();
        self.put(to, &bytes);
        Ok("copy")
    }

    /// Where no data is said to be there are zeros.
    fn seek(&mut self) -> Result<&'static str> {
        let size = self.model.len() as u64;
        let at = self.below(size);
        let data = match seek(&self.fd, SeekFrom::Data(at)) {
            Err(Errno::NXIO) => size,
            found => found?,
        };
        let skipped = self
            .model
            .get(at as usize..data as usize)
            .unwrap_or_default();
        ensure!(
            skipped.iter().all(|&byte| byte == 0),
            "data between {at} and {data}"
        );
        Ok("seek")
    }

    fn look(&mut self) -> Result<&'static str> {
        let (at, len) = self.range(100_000);
        self.compare(at, len)?;
        Ok("read")
    }

    fn compare(&self, at: u64, len: u64) -> Result<()> {
        let mut bytes = vec![0; len as usize];
        let mut done = 0;
        while done < bytes.len() {
            match pread(&self.fd, &mut bytes[done..], at + done as u64)? {
                0 => break,
                more => done += more,
            }
        }
        let end = self.model.len().min((at + len) as usize);
        let expected = self.model.get(at as usize..end).unwrap_or_default();
        let differs = expected.iter().zip(&bytes).position(|(a, b)| a != b);
        ensure!(
            differs.is_none(),
            "byte {} is another",
            at + differs.unwrap_or(0) as u64
        );
        ensure!(
            done == expected.len(),
            "{done} bytes at {at}, not {}",
            expected.len()
        );
        Ok(())
    }
}

fn run(options: &str, mke2fs: &[&str], seed: u64) -> Result<()> {
    if !skip::allowed(skip::MOUNTS) {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let image = scratch.mke2fs("image", 32 << 20, mke2fs)?;
    let options = format!("{OPTIONS}{options}");
    let mount = || FuseMount::with(Server::Extmap, &image, &scratch.path("dir"), &options);
    let mut mounted = mount()?;
    let path = mounted.path().join("file");
    let mut file = File::open(&path, seed)?;
    let mut last: Vec<&str> = Vec::new();
    for round in 0..2500 {
        let outcome = file.step();
        last.push(outcome.with_context(|| format!("seed {seed}, step {round} after {last:?}"))?);
        if last.len() > 8 {
            last.remove(0);
        }
        if round % 500 == 499 {
            let File { fd, model, rng } = file;
            drop(fd);
            mounted.unmount()?;
            fsck(&image)?;
            mounted = mount()?;
            let fd = open(&path, OFlags::RDWR, Mode::empty())?;
            file = File { fd, model, rng };
            file.compare(0, SIZE_MAX)
                .with_context(|| format!("seed {seed}, after {round}"))?;
        }
    }
    drop(file);
    mounted.unmount()?;
    fsck(&image)
}

#[test]
fn with_the_writeback_cache() -> Result<()> {
    run("", &[], 1)
}

#[test]
fn with_small_blocks() -> Result<()> {
    run("", &["-b", "1024"], 2)
}

#[test]
fn writing_through() -> Result<()> {
    run(",writethrough", &["-b", "2048"], 3)
}

#[test]
fn with_content_in_inodes() -> Result<()> {
    run("", &["-O", "inline_data"], 4)
}

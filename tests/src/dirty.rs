//! Journals that the kernel left dirty: work on a mounted ext4, then the image
//! as it is at some moment, by a power cut or by copying under the writers.

use crate::guards::KernelMount;
use crate::matrix::View;
use crate::rng::Rng;
use crate::scratch::Scratch;
use crate::sys::{self, Shutdown};
use crate::{debugfs, patch, tool};
use anyhow::{Context, Result, ensure};
use rustix::fs::{FallocateFlags, fallocate};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const FEATURE_INCOMPAT: usize = 0x60;
const INCOMPAT_RECOVER: u32 = 0x4;

/// Files a writer of fast commits makes and commits fully, to delete them
/// later. Deleting what was created in the same epoch of fast commits is left
/// out: the kernel's replay (6.18) refuses some of its own logs then, "journal
/// recovery failed", and would be no judge.
const VICTIMS: u64 = 60;

/// Which operations the work consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Everything a user does to files.
    Mixed,
    /// Only what fast commits can record, one fsync after each step.
    FastCommits,
}

/// One writer, in its own directory.
#[derive(Debug)]
pub struct Writer {
    dir: PathBuf,
    rng: Rng,
    step: u64,
    victim: u64,
    work: Work,
}

impl Writer {
    /// A writer in the new directory `root/name`.
    pub fn new(root: &Path, name: &str, seed: u64, work: Work) -> Result<Self> {
        let dir = root.join(name);
        std::fs::create_dir(&dir)?;
        if work == Work::FastCommits {
            for number in 0..VICTIMS {
                std::fs::write(dir.join(format!("victim {number}")), b"to be deleted")?;
            }
            rustix::fs::syncfs(File::open(&dir)?)?;
        }
        Ok(Self {
            dir,
            rng: Rng::new(seed),
            step: 0,
            victim: 0,
            work,
        })
    }

    /// One operation; every few an fsync.
    pub fn step(&mut self) -> Result<()> {
        self.step += 1;
        let choice = self.rng.below(16);
        match self.work {
            Work::Mixed => self.mixed(choice)?,
            Work::FastCommits => self.fast(choice)?,
        }
        if self.work == Work::Mixed && self.step.is_multiple_of(5) {
            File::open(&self.dir)?.sync_all()?;
        }
        Ok(())
    }

    fn file(&mut self) -> PathBuf {
        let number = self.rng.below(200);
        self.dir.join(format!("file {number}"))
    }

    fn existing(&mut self) -> Result<(PathBuf, File)> {
        let path = self.file();
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)?;
        Ok((path, file))
    }

    fn mixed(&mut self, choice: u64) -> Result<()> {
        let (path, file) = self.existing()?;
        let len = usize::try_from(self.rng.below(30_000))?;
        let at = self.rng.below(200_000);
        match choice {
            0..=3 => {
                file.write_all_at(&self.rng.bytes(len), at)?;
                file.sync_all()?;
            }
            4 => file.write_all_at(&self.rng.bytes(len), at)?,
            5 => file.set_len(at)?,
            6 => fallocate(&file, FallocateFlags::KEEP_SIZE, at, 20_000).or_else(unsupported)?,
            7 => {
                let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                fallocate(&file, punch, at, 9000).or_else(unsupported)?;
            }
            8 => {
                let to = self.file();
                std::fs::rename(path, to)?;
            }
            9 | 10 => std::fs::remove_file(path)?,
            11 => {
                let link = self.dir.join(format!("link {}", self.step));
                std::fs::hard_link(path, link)?;
            }
            12 => crate::trees::xattr(&path, "user.step", self.step.to_string().as_bytes())?,
            13 => self.directories()?,
            14 => {
                let link = self.dir.join(format!("symlink {}", self.step));
                std::os::unix::fs::symlink("s".repeat(len % 900 + 1), link)?;
            }
            _ => {
                // A batch of names: directory blocks split and are revoked.
                for number in 0..20 {
                    File::create(self.dir.join(format!("batch {} {number}", self.step)))?;
                }
            }
        }
        Ok(())
    }

    /// Directories come and go: their freed blocks are revoked in the log and
    /// soon hold data.
    fn directories(&mut self) -> Result<()> {
        let dir = self.dir.join(format!("dir {}", self.step));
        std::fs::create_dir(&dir)?;
        for number in 0..30 {
            File::create(dir.join(format!("{number} {}", "n".repeat(80))))?;
        }
        File::open(&dir)?.sync_all()?;
        if !self.step.is_multiple_of(3) {
            std::fs::remove_dir_all(&dir)?;
            let bytes = self.rng.bytes(40_000);
            let data = File::create(self.dir.join(format!("data {}", self.step)))?;
            data.write_all_at(&bytes, 0)?;
            data.sync_all()?;
        }
        Ok(())
    }

    fn fast(&mut self, choice: u64) -> Result<()> {
        let (path, file) = self.existing()?;
        let len = usize::try_from(self.rng.below(20_000))?;
        let at = self.rng.below(100_000);
        match choice {
            0..=6 => file.write_all_at(&self.rng.bytes(len), at)?,
            7 => file.set_len(at)?,
            8 => std::fs::hard_link(&path, self.dir.join(format!("link {}", self.step)))?,
            9 | 10 if self.victim < VICTIMS => {
                std::fs::remove_file(self.dir.join(format!("victim {}", self.victim)))?;
                self.victim += 1;
            }
            11 => {
                let to = self.dir.join(format!("renamed {}", self.step));
                std::fs::rename(&path, to)?;
            }
            12 => {
                let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                fallocate(&file, punch, at, 9000)?;
            }
            13 => fallocate(&file, FallocateFlags::empty(), at, 30_000)?,
            14 => {
                let inner = self.dir.join(format!("dir {}", self.step));
                std::fs::create_dir(&inner)?;
                File::create(inner.join("inner"))?.sync_all()?;
            }
            _ => {
                let link = self.dir.join(format!("symlink {}", self.step));
                std::os::unix::fs::symlink("s".repeat(len % 300 + 1), link)?;
            }
        }
        file.sync_all()?;
        Ok(())
    }
}

/// Files mapped by indirect blocks know no fallocate(2).
fn unsupported(error: rustix::io::Errno) -> Result<(), rustix::io::Errno> {
    if error == rustix::io::Errno::OPNOTSUPP {
        Ok(())
    } else {
        Err(error)
    }
}

/// Cuts the power of a mounted file system; a copy of the image as it is at
/// that moment. (Unmounting writes what the journal still holds to its place,
/// even after a shutdown, and would leave nothing to replay.)
pub fn power_cut(
    scratch: &Scratch,
    image: &Path,
    mount: &KernelMount,
    how: Shutdown,
) -> Result<PathBuf> {
    let root = File::open(mount.path())?;
    sys::shutdown(&root, how).context("shutdown")?;
    let copy = scratch.copy(image, "after the power cut")?;
    ensure!(is_dirty(&copy)?, "the journal is clean: nothing is tested");
    Ok(copy)
}

/// Whether the image's journal has to be replayed.
pub fn is_dirty(image: &Path) -> Result<bool> {
    let superblock = patch::read(image, patch::SUPERBLOCK, patch::SUPERBLOCK_LEN)?;
    Ok(patch::word(&superblock, FEATURE_INCOMPAT) & INCOMPAT_RECOVER != 0)
}

/// Copies `image` while writers work on it, stopping nobody, and keeps the copy
/// if it is what a power cut could have left: dirty, and found clean by e2fsck
/// after the kernel's replay.
pub fn copy_under_writers(
    scratch: &Scratch,
    image: &Path,
    mount: &KernelMount,
    work: Work,
) -> Result<PathBuf> {
    let stop = AtomicBool::new(false);
    let mut writers = Vec::new();
    for number in 0..3u64 {
        let name = format!("writer {number}");
        writers.push(Writer::new(mount.path(), &name, 77 + number, work)?);
    }
    std::thread::scope(|scope| {
        let threads: Vec<_> = writers
            .iter_mut()
            .map(|writer| scope.spawn(|| work_until(writer, &stop)))
            .collect();
        let copy = copies(scratch, image);
        stop.store(true, Ordering::Relaxed);
        for thread in threads {
            match thread.join() {
                Ok(result) => result.context("a writer")?,
                Err(_) => anyhow::bail!("a writer panicked"),
            }
        }
        copy
    })
}

fn work_until(writer: &mut Writer, stop: &AtomicBool) -> Result<()> {
    while !stop.load(Ordering::Relaxed) {
        match writer.step() {
            // The file system is small; whoever finds it full goes on with what
            // frees space.
            Err(error) if is_full(&error) => {}
            other => other?,
        }
    }
    Ok(())
}

fn is_full(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.raw_os_error() == Some(28))
            || cause.downcast_ref::<rustix::io::Errno>() == Some(&rustix::io::Errno::NOSPC)
    })
}

fn copies(scratch: &Scratch, image: &Path) -> Result<PathBuf> {
    let mut reasons = Vec::new();
    for attempt in 0..30 {
        std::thread::sleep(Duration::from_millis(150 + 40 * attempt));
        let copy = scratch.copy(image, "copy")?;
        match check_copy(scratch, &copy) {
            Ok(()) => return Ok(copy),
            Err(error) => reasons.push(format!("{error:#}")),
        }
    }
    anyhow::bail!("no usable copy: {reasons:#?}")
}

fn check_copy(scratch: &Scratch, copy: &Path) -> Result<()> {
    ensure!(is_dirty(copy)?, "the journal is clean");
    check_replayed(scratch, copy)
}

/// An error unless e2fsck finds nothing to say after the kernel's replay.
pub fn check_replayed(scratch: &Scratch, image: &Path) -> Result<()> {
    let replayed = replay(scratch, image)?;
    let checked = tool::output("e2fsck", &["-fn".as_ref(), replayed.as_os_str()])?;
    ensure!(checked.status.success(), "{}", tool::failure(&checked));
    Ok(())
}

/// A copy of `image` whose journal the kernel has replayed.
pub fn replay(scratch: &Scratch, image: &Path) -> Result<PathBuf> {
    let replayed = scratch.copy(image, "replayed")?;
    KernelMount::new(&replayed, &scratch.path("replaying"), "rw,noatime")?.unmount()?;
    Ok(replayed)
}

/// What the kernel shows of `image` after its replay, made on a copy.
pub fn view_after_replay(scratch: &Scratch, image: &Path) -> Result<View> {
    let replayed = replay(scratch, image)?;
    ensure!(!is_dirty(&replayed)?, "the kernel did not replay");
    let depth = crate::manifest::Depth::Full;
    View::of_kernel(&replayed, &scratch.path("judge"), depth)
}

/// What the kernel shows of `image` if its journal is not replayed.
pub fn view_without_replay(scratch: &Scratch, image: &Path) -> Result<View> {
    let kernel = KernelMount::new(image, &scratch.path("judge"), "ro,noload")?;
    let view = View::of(kernel.path(), crate::manifest::Depth::Full)?;
    kernel.unmount()?;
    Ok(view)
}

/// Leaves a file as a truncation that was cut short leaves it: the new size in
/// the inode, the blocks still there, the inode on the orphan list.
pub fn plant_truncation(image: &Path, path: &str, len_bytes: u64) -> Result<()> {
    let stat = debugfs::read(image, &format!("stat {path}"))?;
    let inode = debugfs::number_after(&stat, "Inode:")?;
    let links = debugfs::number_after(&stat, "Links:")?;
    ensure!(links > 0, "{path} has no links");
    debugfs::write(
        image,
        &[
            &format!("sif {path} size {len_bytes}"),
            &format!("ssv last_orphan {inode}"),
        ],
    )
}

//! The kernel's own ext4 on a loop device: the first of the judges.

use super::{is_mounted, wait_until};
use crate::tool;
use anyhow::{Context, Result, ensure};
use rustix::mount::{UnmountFlags, unmount};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// An image mounted by the kernel.
#[derive(Debug)]
pub struct KernelMount {
    dir: PathBuf,
}

impl KernelMount {
    /// Mounts `image` at `dir` (made if need be) with `mount -t ext4 -o
    /// loop,OPTIONS`. With `ro` the loop device is read-only too, so that the
    /// image cannot change.
    pub fn new(image: &Path, dir: &Path, options: &str) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let options = format!("loop,{options}");
        let mut error = None;
        // Attaching races with everybody else's loop devices.
        for _ in 0..20 {
            let output = tool::output(
                "mount",
                &[
                    "-t".as_ref(),
                    "ext4".as_ref(),
                    "-o".as_ref(),
                    options.as_ref(),
                    image.as_os_str(),
                    dir.as_os_str(),
                ],
            )?;
            if output.status.success() {
                return Ok(Self { dir: dir.into() });
            }
            let text = tool::failure(&output);
            let racing =
                text.contains("failed to setup loop device") || text.contains("overlapping loop");
            error = Some(text);
            if !racing {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Err(anyhow::anyhow!(
            "the kernel does not mount {} with {options}: {}",
            image.display(),
            error.unwrap_or_default()
        ))
    }

    /// Read-only, of an image whose journal is clean.
    pub fn read_only(image: &Path, dir: &Path) -> Result<Self> {
        Self::new(image, dir, "ro")
    }

    /// The mounted root.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// Unmounts, and reports failure, which dropping cannot.
    pub fn unmount(self) -> Result<()> {
        let dir = self.dir.clone();
        ensure!(detach(&dir), "cannot unmount {}", dir.display());
        Ok(())
    }
}

impl Drop for KernelMount {
    fn drop(&mut self) {
        if is_mounted(&self.dir) && !detach(&self.dir) {
            let _ = unmount(&self.dir, UnmountFlags::DETACH);
        }
    }
}

/// Unmounts, waiting a while for those who still use the mount.
fn detach(dir: &Path) -> bool {
    wait_until(Duration::from_secs(5), || {
        unmount(dir, UnmountFlags::empty()).is_ok() || !is_mounted(dir)
    })
}

/// An attached loop device.
#[derive(Debug)]
pub struct LoopDevice {
    device: PathBuf,
}

impl LoopDevice {
    /// Attaches `image`; `args` are further arguments of losetup(8).
    pub fn attach(image: &Path, args: &[&str]) -> Result<Self> {
        let mut all: Vec<&std::ffi::OsStr> = vec!["--find".as_ref(), "--show".as_ref()];
        all.extend(args.iter().map(std::ffi::OsStr::new));
        all.push(image.as_os_str());
        let mut last = tool::run("losetup", &all);
        for _ in 0..20 {
            if last.is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
            last = tool::run("losetup", &all);
        }
        let device = last.context("losetup")?.trim().into();
        Ok(Self { device })
    }

    /// Its device node.
    pub fn path(&self) -> &Path {
        &self.device
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let _ = tool::output("losetup", &["-d".as_ref(), self.device.as_os_str()]);
    }
}

//! A mount under test, served from user space.

use super::{find_processes, is_mounted, pid_alive, wait_until};
use crate::program;
use crate::tool;
use anyhow::{Result, bail, ensure};
use rustix::mount::{UnmountFlags, unmount};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Who serves the mount under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// The program under test.
    Extmap,
    /// e2fsprogs' server: to compare speeds, and to try the harness.
    Fuse2fs,
    /// The kernel against itself: to try the harness; everything must be equal.
    Kernel,
    /// A loop that does nothing but the FUSE protocol: to compare speeds. Only `bench-mount`
    /// has it.
    Bare,
}

impl Server {
    /// `extmap`, unless `EXTMAP_TEST_SERVER` says `fuse2fs` or `kernel`, which
    /// tries the harness and not the program.
    pub fn chosen() -> Self {
        match std::env::var("EXTMAP_TEST_SERVER").as_deref() {
            Ok("fuse2fs") => Self::Fuse2fs,
            Ok("kernel") => Self::Kernel,
            _ => Self::Extmap,
        }
    }
}

/// A mount and its server process; both end when it is dropped.
#[derive(Debug)]
pub struct FuseMount {
    image: PathBuf,
    dir: PathBuf,
    server: Server,
    pids: Vec<u32>,
}

impl FuseMount {
    /// Mounts with the chosen server, read-only.
    pub fn new(image: &Path, dir: &Path) -> Result<Self> {
        Self::with(Server::chosen(), image, dir, "")
    }

    /// Mounts with `options` (comma-separated, may be empty), read-only unless they say `rw`.
    pub fn with(server: Server, image: &Path, dir: &Path, options: &str) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let mut mount = Self {
            image: image.into(),
            dir: dir.into(),
            server,
            pids: Vec::new(),
        };
        match server {
            Server::Extmap => mount_extmap(image, dir, options)?,
            Server::Fuse2fs => mount_fuse2fs(image, dir, options)?,
            Server::Kernel => mount_kernel(image, dir, options)?,
            Server::Bare => bail!("the bare FUSE loop serves no images"),
        }
        mount.pids = find_processes(&[image, dir]);
        ensure!(is_mounted(dir), "nothing is mounted at {}", dir.display());
        Ok(mount)
    }

    /// Takes over a mount that the test made in its own way, with its server.
    pub fn adopt(image: &Path, dir: &Path) -> Self {
        Self {
            image: image.into(),
            dir: dir.into(),
            server: Server::Extmap,
            pids: find_processes(&[image, dir]),
        }
    }

    /// The mounted root.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// The server's process, if it was found by its command line.
    pub fn pid(&self) -> Option<u32> {
        self.pids.first().copied()
    }

    /// Unmounts as a user would, and checks that the server has ended.
    pub fn unmount(self) -> Result<()> {
        match self.server {
            Server::Extmap => {
                // A process another test is just starting holds our open files
                // between its fork and its exec: the mount is busy for a moment.
                let mut tries = 0;
                loop {
                    let ended =
                        program::extmap([&"umount" as &dyn AsRef<std::ffi::OsStr>, &self.dir])?;
                    tries += 1;
                    if ended.success() {
                        break;
                    }
                    let is_busy = ended.to_string().contains("is in use");
                    ensure!(is_busy && tries < 20, "extmap umount: {ended}");
                    std::thread::sleep(Duration::from_millis(50));
                }
            }
            Server::Fuse2fs | Server::Kernel | Server::Bare => {
                tool::run("umount", &[&self.dir])?;
                let pids = self.pids.clone();
                wait_until(Duration::from_secs(10), || {
                    !pids.iter().any(|&pid| pid_alive(pid))
                });
            }
        }
        ensure!(!is_mounted(&self.dir), "still mounted after umount");
        let alive: Vec<_> = self.pids.iter().filter(|&&pid| pid_alive(pid)).collect();
        ensure!(alive.is_empty(), "the server outlived umount: {alive:?}");
        Ok(())
    }
}

impl Drop for FuseMount {
    fn drop(&mut self) {
        if is_mounted(&self.dir) && unmount(&self.dir, UnmountFlags::empty()).is_err() {
            let _ = unmount(&self.dir, UnmountFlags::DETACH);
        }
        let (image, dir) = (self.image.clone(), self.dir.clone());
        let servers = || -> Vec<u32> {
            let mut pids = find_processes(&[&image, &dir]);
            pids.retain(|&pid| pid_alive(pid));
            pids
        };
        if self.server != Server::Kernel
            && !wait_until(Duration::from_secs(5), || servers().is_empty())
        {
            for pid in servers() {
                if let Some(pid) = i32::try_from(pid)
                    .ok()
                    .and_then(rustix::process::Pid::from_raw)
                {
                    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                }
            }
        }
    }
}

/// The kernel in the place of the program under test. It cannot replay in
/// memory: a dirty image is replayed on a copy.
fn mount_kernel(image: &Path, dir: &Path, options: &str) -> Result<()> {
    let mut image = image.to_path_buf();
    let mut all = "loop,ro".to_owned();
    if options.contains("norecovery") {
        all = "loop,ro,noload".into();
    } else if crate::dirty::is_dirty(&image)? {
        let copy = image.with_extension("replayed-for-the-harness");
        std::fs::copy(&image, &copy)?;
        image = copy;
        all = "loop,noatime".into();
    }
    tool::run(
        "mount",
        &[
            "-o".as_ref(),
            all.as_ref(),
            image.as_os_str(),
            dir.as_os_str(),
        ],
    )
    .map(drop)
}

fn mount_extmap(image: &Path, dir: &Path, options: &str) -> Result<()> {
    let mut args: Vec<&std::ffi::OsStr> = vec!["mount".as_ref()];
    let mut all = options.to_owned();
    if !options.split(',').any(|option| option == "rw") {
        all = format!("ro,{options}");
    }
    args.extend([std::ffi::OsStr::new("-o"), all.as_ref()]);
    args.extend([image.as_os_str(), dir.as_os_str()]);
    let ended = program::extmap(args)?;
    if !ended.success() {
        bail!("extmap mount -o {options:?}: {ended}");
    }
    ensure!(
        ended.stdout.is_empty() && ended.stderr.is_empty(),
        "extmap mount is not silent: {ended}"
    );
    Ok(())
}

fn mount_fuse2fs(image: &Path, dir: &Path, options: &str) -> Result<()> {
    let mut all = "ro".to_owned();
    if !options.is_empty() {
        all.push(',');
        all.push_str(options);
    }
    let ended = program::run(
        "fuse2fs".as_ref(),
        [
            image.as_os_str(),
            dir.as_os_str(),
            "-o".as_ref(),
            all.as_ref(),
        ],
        program::TIMEOUT,
    )?;
    if !ended.success() {
        bail!("fuse2fs: {ended}");
    }
    ensure!(
        wait_until(Duration::from_secs(5), || is_mounted(dir)),
        "fuse2fs does not answer: {ended}"
    );
    Ok(())
}

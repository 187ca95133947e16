//! An image mounted for writing by one of the servers.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use rustix::fs::{Advice, fadvise};
use rustix::mount::{UnmountFlags, unmount};
use system_tests::guards::{
    ChildGuard, KernelMount, Server, find_processes, is_mounted, pid_alive, status_kib, wait_until,
};
use system_tests::program;
use system_tests::scratch::Scratch;
use system_tests::tool;

use crate::BARE_SERVER;

/// How long a server may take to write back what it holds.
const PATIENCE: Duration = Duration::from_secs(120);

/// See the module. Dropping it unmounts.
#[derive(Debug)]
pub(crate) struct Mounted {
    server: Server,
    image: PathBuf,
    dir: PathBuf,
    kernel: Option<KernelMount>,
    /// The bare loop's process. It ends after the unmounting.
    bare: Option<ChildGuard>,
    pids: Vec<u32>,
}

impl Mounted {
    /// A new file system of so many bytes.
    pub(crate) fn new(
        server: Server,
        scratch: &Scratch,
        len_bytes: u64,
        options: &str,
    ) -> Result<Self> {
        let image = scratch.mke2fs("image", len_bytes, &["-b", "4096"])?;
        let dir = scratch.make_dir("mounted")?;
        Self::mount(server, image, dir, options)
    }

    fn mount(server: Server, image: PathBuf, dir: PathBuf, options: &str) -> Result<Self> {
        let mut mounted = Self {
            server,
            image,
            dir,
            kernel: None,
            bare: None,
            pids: Vec::new(),
        };
        let (image, dir) = (mounted.image.as_path(), mounted.dir.as_path());
        match server {
            Server::Kernel => mounted.kernel = Some(KernelMount::new(image, dir, "rw")?),
            Server::Extmap => run("extmap", image, dir, options)?,
            Server::Fuse2fs => run("fuse2fs", image, dir, "rw")?,
            Server::Bare => mounted.bare = Some(start_bare(image, dir)?),
        }
        let is_up = wait_until(Duration::from_secs(10), || is_mounted(&mounted.dir));
        ensure!(is_up, "{server:?} does not answer");
        mounted.pids = find_processes(&[&mounted.image, &mounted.dir]);
        Ok(mounted)
    }

    /// The root.
    pub(crate) fn path(&self) -> &Path {
        &self.dir
    }

    /// Memory of the server's own at its largest, in KiB. The kernel has none; the bare
    /// loop's holds the files.
    pub(crate) fn peak_memory_kib(&self) -> Option<u64> {
        if self.server == Server::Bare {
            return None;
        }
        status_kib(*self.pids.first()?, "VmHWM")
    }

    /// Unmounts, has e2fsck judge what extmap wrote, and mounts again: the kernel knows of
    /// no file any more, but the image is in the page cache.
    /// The bare loop would forget all files: there their pages are dropped.
    pub(crate) fn again(self, options: &str) -> Result<Self> {
        if self.server == Server::Bare {
            drop_pages(&self.dir)?;
            return Ok(self);
        }
        let (server, image, dir) = (self.server, self.image.clone(), self.dir.clone());
        self.unmount()?;
        Self::mount(server, image, dir, options)
    }

    /// Unmounts, has e2fsck judge what extmap wrote, and removes the image.
    pub(crate) fn end(self) -> Result<()> {
        let image = self.image.clone();
        self.unmount()?;
        Ok(std::fs::remove_file(image)?)
    }

    fn unmount(mut self) -> Result<()> {
        if let Some(kernel) = self.kernel.take() {
            return kernel.unmount();
        }
        if self.server == Server::Extmap {
            let ended = program::extmap(["umount".as_ref(), self.dir.as_os_str()])?;
            ensure!(ended.success(), "extmap umount: {ended}");
        } else {
            tool::run("umount", &[&self.dir])?;
        }
        let has_ended = || !self.pids.iter().any(|&pid| pid_alive(pid));
        ensure!(wait_until(PATIENCE, has_ended), "the server does not end");
        if self.server == Server::Extmap {
            tool::run("e2fsck", &["-fn".as_ref(), self.image.as_os_str()])?;
        }
        Ok(())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if self.kernel.is_none() && is_mounted(&self.dir) {
            let _ = unmount(&self.dir, UnmountFlags::DETACH);
        }
    }
}

fn start_bare(image: &Path, dir: &Path) -> Result<ChildGuard> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(BARE_SERVER).args([image, dir]);
    Ok(ChildGuard(command.stdin(Stdio::null()).spawn()?))
}

/// Takes the files of a directory out of the page cache.
fn drop_pages(dir: &Path) -> Result<()> {
    for entry in dir.read_dir()? {
        let file = File::open(entry?.path())?;
        file.sync_all()?;
        fadvise(&file, 0, None, Advice::DontNeed)?;
    }
    Ok(())
}

fn run(server: &str, image: &Path, dir: &Path, options: &str) -> Result<()> {
    let mut args: Vec<&OsStr> = Vec::new();
    if !options.is_empty() {
        args.extend([OsStr::new("-o"), OsStr::new(options)]);
    }
    args.extend([image.as_os_str(), dir.as_os_str()]);
    let ended = if server == "extmap" {
        args.insert(0, "mount".as_ref());
        program::extmap(args)?
    } else {
        program::run(server.as_ref(), args, program::TIMEOUT)?
    };
    if !ended.success() {
        bail!("{server}: {ended}");
    }
    Ok(())
}

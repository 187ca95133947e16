//! A loop device over an image: for what has to be told the path of a block device.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::sys;

/// Somebody else may take the device that was free a moment ago, so often.
const TRIES_MAX: u32 = 64;

/// How an image is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attachment {
    /// The device refuses writes.
    pub read_only: bool,
    /// The device reads and writes its image without the page cache, so that nothing is kept
    /// twice.
    pub direct: bool,
}

/// A loop device that is detached when nobody uses it any more: this value, or a mount.
#[derive(Debug)]
pub struct LoopDevice {
    path: PathBuf,
    /// Keeps it attached.
    _device: File,
}

impl LoopDevice {
    /// Attaches an image, a regular file or a block device, for reading and writing. Its
    /// blocks are as large as the system's sectors, 512 bytes.
    ///
    /// # Errors
    /// If the image cannot be opened for writing, or there are no loop devices for us.
    pub fn attach(image: &Path) -> io::Result<Self> {
        Self::attach_as(image, Attachment::default())
    }

    /// [`attach`](Self::attach) in a certain way.
    ///
    /// # Errors
    /// The same; and if the file system beneath has no direct I/O, where that is asked for.
    pub fn attach_as(image: &Path, how: Attachment) -> io::Result<Self> {
        let open = |path: &Path| OpenOptions::new().read(true).write(true).open(path);
        let image = OpenOptions::new()
            .read(true)
            .write(!how.read_only)
            .open(image)?;
        let control = open(Path::new("/dev/loop-control"))?;
        let mut tries = 0;
        loop {
            let number = sys::free_loop_device(control.as_fd())?;
            let path = PathBuf::from(format!("/dev/loop{number}"));
            let device = open(&path)?;
            match sys::configure_loop_device(device.as_fd(), image.as_fd(), how) {
                Ok(()) => {
                    return Ok(Self {
                        path,
                        _device: device,
                    });
                }
                Err(Errno::BUSY) if tries < TRIES_MAX => tries += 1,
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Its path, `/dev/loopN`.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

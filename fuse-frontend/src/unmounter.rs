//! Taking a mount away.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{AtFlags, CWD, StatxFlags};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use crate::error::{Error, Result};

/// The set-user-id helpers an ordinary user unmounts by, the usual one first.
const HELPERS: [&str; 2] = ["fusermount3", "fusermount"];

/// Unmounts a session's file system, from any thread: that one and no other,
/// whatever has come to be mounted at its place.
#[derive(Debug, Clone)]
pub struct Unmounter {
    mountpoint: PathBuf,
    device: Option<MountedDevice>,
}

/// The device number of a mounted file system: no two have the same at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MountedDevice {
    pub(crate) major: u32,
    pub(crate) minor: u32,
}

impl MountedDevice {
    /// What is on top at `mountpoint`, from what the kernel knows: its server
    /// is not asked, so that the server itself can ask.
    pub(crate) fn at(mountpoint: &Path) -> io::Result<Self> {
        let flags = AtFlags::STATX_DONT_SYNC | AtFlags::NO_AUTOMOUNT;
        let stat = rustix::fs::statx(CWD, mountpoint, flags, StatxFlags::empty())?;
        Ok(Self {
            major: stat.stx_dev_major,
            minor: stat.stx_dev_minor,
        })
    }
}

impl Unmounter {
    /// For the file system just mounted at `mountpoint`.
    pub(crate) fn new(mountpoint: PathBuf) -> Self {
        let device = MountedDevice::at(&mountpoint).ok();
        Self { mountpoint, device }
    }

    /// For a session that has mounted nothing.
    pub(crate) fn of_nothing() -> Self {
        Self {
            mountpoint: PathBuf::new(),
            device: None,
        }
    }

    /// Whether our file system is what is on top at the mountpoint.
    fn is_on_top(&self) -> bool {
        self.device.is_some() && self.device == MountedDevice::at(&self.mountpoint).ok()
    }

    /// Takes the mount out of the directory tree at once. Files that are open
    /// there stay readable; [`serve`](crate::Session::serve) returns when the
    /// last of them is closed. Does nothing if it is no longer there, or if
    /// something else has been mounted over it.
    ///
    /// # Errors
    /// [`Error::Unmount`] with the system's answer.
    pub fn unmount(&self) -> Result<()> {
        if self.mountpoint.as_os_str().is_empty() {
            return Ok(());
        }
        if !self.is_on_top() {
            tracing::warn!("{}: no longer on top there", self.mountpoint.display());
            return Ok(());
        }
        let flags = UnmountFlags::DETACH | UnmountFlags::NOFOLLOW;
        let result = match rustix::mount::unmount(&self.mountpoint, flags) {
            Err(Errno::PERM) => self.unmount_by_helper(),
            other => other.map_err(io::Error::from),
        };
        result.map_err(|source| Error::Unmount {
            mountpoint: self.mountpoint.clone(),
            source,
        })
    }

    /// Takes away what an aborted connection leaves behind: a mount that
    /// answers everything with "not connected".
    pub(crate) fn remove_dead_mount(&self) {
        let is_dead = std::fs::symlink_metadata(&self.mountpoint)
            .is_err_and(|error| error.raw_os_error() == Some(libc::ENOTCONN));
        if is_dead && let Err(error) = self.unmount() {
            tracing::warn!("{error}");
        }
    }

    fn unmount_by_helper(&self) -> io::Result<()> {
        let mut outcome = Err(io::ErrorKind::NotFound.into());
        for helper in HELPERS {
            outcome = Command::new(helper)
                .args(["-u", "-z", "--"])
                .arg(&self.mountpoint)
                .stdin(Stdio::null())
                .output();
            if !matches!(&outcome, Err(error) if error.kind() == io::ErrorKind::NotFound) {
                break;
            }
        }
        let output = outcome?;
        if output.status.success() {
            return Ok(());
        }
        let message = String::from_utf8_lossy(&output.stderr);
        Err(io::Error::other(message.trim().to_owned()))
    }
}

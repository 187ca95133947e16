//! Taking a mount away.

use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use crate::error::{Error, Result};

/// The set-user-id helpers an ordinary user unmounts by, the usual one first.
const HELPERS: [&str; 2] = ["fusermount3", "fusermount"];

/// Unmounts a session's file system, from any thread.
#[derive(Debug, Clone)]
pub struct Unmounter {
    mountpoint: PathBuf,
}

impl Unmounter {
    pub(crate) fn new(mountpoint: PathBuf) -> Self {
        Self { mountpoint }
    }

    /// Takes the mount out of the directory tree at once. Files that are open
    /// there stay readable; [`serve`](crate::Session::serve) returns when the
    /// last of them is closed.
    ///
    /// # Errors
    /// [`Error::Unmount`] with the system's answer, if it is not mounted for instance.
    pub fn unmount(&self) -> Result<()> {
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

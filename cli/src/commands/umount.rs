//! `extmap umount`: takes a mount away and waits until its server has finished.
//!
//! umount(2) of a FUSE mount returns before the server has. Whoever unmounts
//! wants to move, check or throw away the image next, so this command waits
//! for the process, by a descriptor that cannot come to mean another one.

mod mount_table;

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, anyhow, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use self::mount_table::{Mount, read_mount_table};
use crate::failure::{CommandResult, Failure, complain, mount_code};

const FS_TYPES: [&str; 2] = ["fuse.extmap", "fuseblk.extmap"];
/// How long to wait for a server without a word.
const PATIENCE_SECONDS: i64 = 10;

/// Unmount a directory and wait until its server has finished
#[derive(Debug, clap::Args)]
pub(crate) struct UmountArgs {
    /// The mounted directory
    directory: PathBuf,
}

/// Runs `extmap umount`.
pub(crate) fn run(args: &UmountArgs) -> CommandResult {
    unmount_and_wait(&args.directory)
        .with_context(|| args.directory.display().to_string())
        .map_err(|error| Failure::with_code(mount_code::FAILED, error))?;
    Ok(ExitCode::SUCCESS)
}

fn unmount_and_wait(directory: &Path) -> anyhow::Result<()> {
    let directory = absolute(directory)?;
    let table = read_mount_table().context("cannot read the table of mounts")?;
    let mount = find(&table, &directory)?;
    let server = open_server(&directory);
    take_away(&directory)?;
    // While the same mount is visible elsewhere its server has to stay.
    let elsewhere = table
        .iter()
        .any(|other| other.id != mount.id && other.device == mount.device);
    match server {
        Some(server) if !elsewhere => wait_for(&server),
        _ => Ok(()),
    }
}

/// The directory's path in the mount table. A mount whose server is gone, or
/// which is another user's, can't be looked at; its parent can.
fn absolute(directory: &Path) -> anyhow::Result<PathBuf> {
    if let Ok(path) = directory.canonicalize() {
        return Ok(path);
    }
    let name = directory.file_name().context("no such directory")?;
    let parent = match directory.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    Ok(parent.canonicalize()?.join(name))
}

/// The topmost mount on a directory, if it is one of ours.
fn find<'a>(table: &'a [Mount], directory: &Path) -> anyhow::Result<&'a Mount> {
    let mount = table
        .iter()
        .rfind(|mount| mount.directory == directory.as_os_str().as_bytes())
        .ok_or_else(|| anyhow!("is not mounted"))?;
    if !FS_TYPES.contains(&mount.fs_type.as_str()) {
        bail!(
            "is a mount of type {}, not of extmap: use umount",
            mount.fs_type
        );
    }
    Ok(mount)
}

/// A descriptor of the server's process; `None` if it is dead, answers nobody
/// but its owner, or lives where its number means nothing to us.
fn open_server(directory: &Path) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(CWD, directory, flags, Mode::empty()).ok()?;
    let pid = fuse_frontend::server_pid(root.as_fd()).ok()?;
    let process = pidfd_open(
        Pid::from_raw(i32::try_from(pid).ok()?)?,
        PidfdFlags::empty(),
    )
    .ok()?;
    // In another pid namespace the number may be a stranger's. The check comes
    // after the descriptor was opened, so that both speak of one process.
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    let ours = ["extmap", "mount."].iter().any(|n| name.starts_with(n));
    ours.then_some(process)
}

fn take_away(directory: &Path) -> anyhow::Result<()> {
    match unmount(directory, UnmountFlags::NOFOLLOW) {
        Ok(()) => Ok(()),
        Err(Errno::PERM) => take_away_by_helper(directory),
        Err(Errno::BUSY) => bail!(busy()),
        Err(error) => Err(std::io::Error::from(error)).context("cannot unmount"),
    }
}

/// Users may unmount what they mounted, through the set-user-id fusermount3.
fn take_away_by_helper(directory: &Path) -> anyhow::Result<()> {
    let output = Command::new("fusermount3")
        .arg("-u")
        .arg("--")
        .arg(directory)
        .stdin(Stdio::null())
        .output()
        .context("cannot run fusermount3")?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    if words.contains("busy") {
        bail!(busy());
    }
    bail!("cannot unmount: {}", words.trim())
}

fn busy() -> &'static str {
    "is in use: close its files, leave its directories and try again"
}

/// Waits until the process has ended, and says so if that takes long.
fn wait_for(process: &OwnedFd) -> anyhow::Result<()> {
    let mut patience = Some(Timespec {
        tv_sec: PATIENCE_SECONDS,
        tv_nsec: 0,
    });
    loop {
        let mut ended = [PollFd::new(process, PollFlags::IN)];
        match poll(&mut ended, patience.as_ref()) {
            Ok(0) => {
                complain(
                    "unmounted here; waiting for the server to finish (the mount may still be in use, or be visible in another mount namespace)",
                );
                patience = None;
            }
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => {
                return Err(std::io::Error::from(error)).context("cannot wait for the server");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(id: u32, directory: &str, fs_type: &str) -> Mount {
        Mount {
            id,
            device: "0:50".into(),
            directory: directory.into(),
            fs_type: fs_type.into(),
        }
    }

    #[test]
    fn only_our_own_mounts_are_taken_away() {
        let table = [
            mount(1, "/", "ext4"),
            mount(2, "/mnt", "fuse.extmap"),
            mount(3, "/data", "fuse.extmap"),
            mount(4, "/data", "xfs"),
        ];
        assert_eq!(find(&table, Path::new("/mnt")).expect("ours").id, 2);
        let refused = |path: &str| find(&table, Path::new(path)).unwrap_err().to_string();
        assert_eq!(refused("/mnt/below"), "is not mounted");
        // Another mount lies on top of ours.
        assert!(refused("/data").contains("type xfs"));
    }
}

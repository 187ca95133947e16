//! Idmapped mounts, without a place in the tree.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use rustix::fs::CWD;
use rustix::mount::{OpenTreeFlags, open_tree};

use crate::guards::ChildGuard;
use crate::sys;

/// A clone of the mount at `path`, where `count` owners from `on_disk` on are seen as those
/// from `seen` on. Gone when it is closed.
pub fn clone_mapped(path: &Path, on_disk: u32, seen: u32, count: u32) -> Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let clone = open_tree(CWD, path, flags).context("open_tree(2)")?;
    let namespace = user_namespace(&format!("{on_disk} {seen} {count}"))?;
    sys::map_mount(clone.as_fd(), namespace.as_fd()).context("mount_setattr(2)")?;
    Ok(clone)
}

/// A user namespace with this line as its map of users and groups.
fn user_namespace(map: &str) -> Result<File> {
    let mut command = Command::new("unshare");
    // It says when it has unshared, and waits.
    command.args(["--user", "sh", "-c", "echo; exec sleep 60"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut holder = ChildGuard(command.spawn().context("unshare(1)")?);
    wait_for_line(&mut holder.0)?;
    let proc = Path::new("/proc").join(holder.0.id().to_string());
    for file in ["uid_map", "gid_map"] {
        std::fs::write(proc.join(file), map).context(file)?;
    }
    // The descriptor keeps the namespace when the process is gone.
    File::open(proc.join("ns/user")).context("ns/user")
}

fn wait_for_line(child: &mut Child) -> Result<()> {
    use std::io::Read;
    let stdout = child.stdout.as_mut().context("no standard output")?;
    let mut byte = [0];
    stdout.read_exact(&mut byte).context("unshare(1) failed")
}

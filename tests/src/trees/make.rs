//! The single steps: what std has no function for.

use crate::sys;
use anyhow::{Context, Result};
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};
use std::fs::File;
use std::path::Path;

/// Sets an extended attribute of the file itself, not of a link's target.
pub fn xattr(path: &Path, name: &str, value: &[u8]) -> Result<()> {
    rustix::fs::lsetxattr(path, name, value, XattrFlags::empty())
        .with_context(|| format!("{}: xattr {name} of {} bytes", path.display(), value.len()))
}

/// Sets access and modification time (seconds, nanoseconds).
pub fn at_time(path: &Path, accessed: (i64, i64), modified: (i64, i64)) -> Result<()> {
    let spec = |(tv_sec, tv_nsec)| Timespec { tv_sec, tv_nsec };
    let times = Timestamps {
        last_access: spec(accessed),
        last_modification: spec(modified),
    };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)
        .with_context(|| path.display().to_string())
}

/// A POSIX ACL: the owner's, one user's, one group's, the mask's and others'
/// permissions, as the attribute `name` (`system.posix_acl_access` or
/// `system.posix_acl_default`) holds it.
pub fn acl(path: &Path, name: &str, user: u32, group: u32) -> Result<()> {
    let entries: [(u16, u16, u32); 6] = [
        (0x01, 7, u32::MAX),
        (0x02, 5, user),
        (0x04, 5, u32::MAX),
        (0x08, 4, group),
        (0x10, 5, u32::MAX),
        (0x20, 1, u32::MAX),
    ];
    let mut value = 2u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        value.extend(tag.to_le_bytes());
        value.extend(permissions.to_le_bytes());
        value.extend(id.to_le_bytes());
    }
    xattr(path, name, &value)
}

/// A device node.
pub fn device(path: &Path, kind: FileType, major: u32, minor: u32) -> Result<()> {
    let device = rustix::fs::makedev(major, minor);
    rustix::fs::mknodat(CWD, path, kind, Mode::from_raw_mode(0o640), device)
        .with_context(|| format!("{}: device {major}:{minor}", path.display()))
}

/// A named pipe.
pub fn fifo(path: &Path) -> Result<()> {
    rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o622), 0)
        .with_context(|| path.display().to_string())
}

/// A socket's node.
pub fn socket(path: &Path) -> Result<()> {
    rustix::fs::mknodat(CWD, path, FileType::Socket, Mode::from_raw_mode(0o755), 0)
        .with_context(|| path.display().to_string())
}

/// Adds inode flags (`chattr +`).
pub fn flagged(path: &Path, flags: u32) -> Result<()> {
    let file = File::open(path)?;
    let old = sys::get_flags(&file)?;
    sys::set_flags(&file, old | flags).with_context(|| format!("{}: {flags:#x}", path.display()))
}

//! What statx(2) says about a file.

use std::os::fd::{AsFd, BorrowedFd};

use fs_core::{FileType, InodeFlags, Timestamp};
use rustix::fs::{
    AtFlags, CWD, Statx, StatxAttributes, StatxFlags, StatxTimestamp, makedev, statx,
};

use crate::tree::{Attributes, ScanOptions, Xattr};

/// The status of an entry; of a symbolic link itself.
pub(super) fn of_entry(directory: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<Statx> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    statx(directory, name, flags, StatxFlags::BASIC_STATS)
}

/// The status of what is open.
pub(super) fn of_open(file: impl AsFd) -> rustix::io::Result<Statx> {
    statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)
}

/// The status of what a path leads to.
pub(super) fn of_path(path: &[u8]) -> rustix::io::Result<Statx> {
    statx(CWD, path, AtFlags::empty(), StatxFlags::BASIC_STATS)
}

/// `st_dev` and `st_ino`.
pub(super) fn identity(status: &Statx) -> (u64, u64) {
    let device = makedev(status.stx_dev_major, status.stx_dev_minor);
    (device, status.stx_ino)
}

/// What kind of file it is, if Linux knows such a kind.
pub(super) fn file_type(status: &Statx) -> Option<FileType> {
    FileType::from_mode(status.stx_mode)
}

/// True if fewer blocks than the size needs are allocated.
pub(super) fn may_have_holes(status: &Statx) -> bool {
    status.stx_blocks.saturating_mul(512) < status.stx_size
}

/// Everything but the kind, with the scan's overrides.
pub(super) fn attributes(status: &Statx, xattrs: Vec<Xattr>, options: &ScanOptions) -> Attributes {
    let history = |time: StatxTimestamp| (!options.reproducible).then(|| timestamp(time));
    options.apply(Attributes {
        permissions: status.stx_mode & 0o7777,
        uid: status.stx_uid,
        gid: status.stx_gid,
        modified: timestamp(status.stx_mtime),
        accessed: history(status.stx_atime),
        changed: history(status.stx_ctime),
        flags: flags(status),
        xattrs,
    })
}

/// The flags that are the user's own: the file system sets the others.
fn flags(status: &Statx) -> Option<InodeFlags> {
    let pairs = [
        (StatxAttributes::IMMUTABLE, InodeFlags::IMMUTABLE),
        (StatxAttributes::APPEND, InodeFlags::APPEND),
        (StatxAttributes::NODUMP, InodeFlags::NODUMP),
    ];
    let mut flags = None;
    for (attribute, flag) in pairs {
        if status.stx_attributes.contains(attribute) {
            flags = Some(flags.unwrap_or(InodeFlags::empty()) | flag);
        }
    }
    flags
}

pub(super) fn timestamp(time: StatxTimestamp) -> Timestamp {
    Timestamp {
        seconds: time.tv_sec,
        nanos: time.tv_nsec,
    }
}

//! Local files as a source.
//!
//! Everything is held by a descriptor (`O_PATH`) before it is looked at, and read through
//! that descriptor: a tree that others change meanwhile never makes one file's attributes
//! another's, and nothing but regular files and directories is ever opened.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, anyhow, bail, ensure};
use fs_core::{FileType, Timestamp};
use rustix::buffer::spare_capacity;
use rustix::fs::{
    AtFlags, CWD, Dir, Mode, OFlags, SeekFrom, Statx, StatxFlags, StatxTimestamp, getxattr,
    listxattr, makedev, openat, readlinkat, seek, statx,
};
use rustix::io::Errno;

use super::source::{self, FileId, Source, Status, Xattrs};
use crate::walk::is_dot;

/// The longest list of names, and the longest value (XATTR_LIST_MAX and XATTR_SIZE_MAX in
/// Linux).
const XATTR_BYTES_MAX: usize = 64 << 10;
/// How many ranges of data are found before they are read.
const RANGES_AHEAD: usize = 4096;

/// The files of this system.
#[derive(Debug)]
pub(super) struct LocalFiles {
    /// The image that is written: it cannot be copied into itself.
    image: FileId,
}

impl LocalFiles {
    pub(super) fn new(image: FileId) -> Self {
        Self { image }
    }
}

/// An open file, and what it was when it was opened.
#[derive(Debug)]
pub(super) struct LocalContent {
    file: File,
    size_bytes: u64,
    modified: Timestamp,
    /// Ranges of data found ahead: pages that reading brings into memory can make data
    /// of preallocated space.
    ahead: VecDeque<(u64, u64)>,
    /// There are no others.
    is_all_found: bool,
}

impl Source for LocalFiles {
    type Node = OwnedFd;
    type Content = LocalContent;

    fn place(&self, path: &[u8]) -> String {
        Path::new(OsStr::from_bytes(path)).display().to_string()
    }

    fn find(&self, path: &[u8], follow: bool) -> anyhow::Result<OwnedFd> {
        let flags = match follow {
            true => OFlags::PATH | OFlags::CLOEXEC,
            false => OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        };
        openat(CWD, path, flags, Mode::empty()).map_err(in_words)
    }

    fn child(&self, directory: &OwnedFd, name: &[u8]) -> anyhow::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(directory, name, flags, Mode::empty()).map_err(in_words)
    }

    fn parent(&self, child: &OwnedFd, id: FileId) -> anyhow::Result<OwnedFd> {
        let parent = self.child(child, b"..")?;
        ensure!(
            identity(&stat(parent.as_fd())?) == id,
            "the directory was moved while it was copied"
        );
        Ok(parent)
    }

    fn status(&self, node: &OwnedFd) -> anyhow::Result<Status> {
        let status = stat(node.as_fd())?;
        let id = identity(&status);
        ensure!(id != self.image, "is the image that is written to");
        Ok(Status {
            id,
            file_type: FileType::from_mode(status.stx_mode)
                .context("is of a type that ext4 does not have")?,
            permissions: status.stx_mode & 0o7777,
            uid: status.stx_uid,
            gid: status.stx_gid,
            links: status.stx_nlink,
            size_bytes: status.stx_size,
            device: (status.stx_rdev_major, status.stx_rdev_minor),
            accessed: timestamp(status.stx_atime),
            modified: timestamp(status.stx_mtime),
        })
    }

    fn names(&self, directory: &OwnedFd) -> (Vec<Vec<u8>>, anyhow::Result<()>) {
        let mut names = Vec::new();
        let complete = list(directory.as_fd(), &mut names);
        names.sort_unstable();
        (names, complete)
    }

    fn xattrs(&self, node: &OwnedFd) -> anyhow::Result<Xattrs> {
        let path = held_path(node.as_fd());
        let mut list = Vec::with_capacity(XATTR_BYTES_MAX);
        match listxattr(&path, spare_capacity(&mut list)) {
            Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
            Ok(_) => {}
            Err(error) => return Err(in_words(error)).context("cannot list its attributes"),
        }
        let mut found = Vec::new();
        let names = list.split(|&byte| byte == 0);
        for name in names.filter(|name| !name.is_empty()) {
            let mut value = Vec::with_capacity(XATTR_BYTES_MAX);
            match getxattr(&path, name, spare_capacity(&mut value)) {
                Ok(_) => found.push((name.to_vec(), value.as_slice().to_vec())),
                // Removed since it was listed.
                Err(Errno::NODATA) => {}
                Err(error) => {
                    let name = String::from_utf8_lossy(name);
                    return Err(in_words(error))
                        .with_context(|| format!("cannot read attribute {name}"));
                }
            }
        }
        Ok(found)
    }

    fn link_target(&self, node: &OwnedFd) -> anyhow::Result<Vec<u8>> {
        let target = readlinkat(node, "", Vec::new()).map_err(in_words)?;
        Ok(target.into_bytes())
    }

    fn content(&self, node: &OwnedFd, status: &Status) -> anyhow::Result<LocalContent> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = openat(CWD, held_path(node.as_fd()), flags, Mode::empty()).map_err(in_words)?;
        Ok(LocalContent {
            file: file.into(),
            size_bytes: status.size_bytes,
            modified: status.modified,
            ahead: VecDeque::new(),
            is_all_found: false,
        })
    }
}

impl LocalContent {
    fn find_data(&self, offset: u64) -> anyhow::Result<Option<(u64, u64)>> {
        // Files in /proc have no size and content all the same.
        if self.size_bytes == 0 {
            return Ok((offset < u64::MAX).then_some((offset, u64::MAX)));
        }
        let rest = (offset < self.size_bytes).then_some((offset, self.size_bytes));
        if rest.is_none() {
            return Ok(None);
        }
        let start = match seek(&self.file, SeekFrom::Data(offset)) {
            Ok(start) if start >= self.size_bytes => return Ok(None),
            Ok(start) => start,
            Err(Errno::NXIO) => return Ok(None),
            // The file system there cannot tell.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(rest),
            Err(error) => return Err(in_words(error)),
        };
        match seek(&self.file, SeekFrom::Hole(start)) {
            Ok(end) if start < offset || end <= start => bail!("its holes make no sense"),
            Ok(end) => Ok(Some((start, end.min(self.size_bytes)))),
            Err(Errno::NXIO) => bail!("was changed while it was read"),
            Err(error) => Err(in_words(error)),
        }
    }
}

impl source::Content for LocalContent {
    fn next_data(&mut self, offset: u64) -> anyhow::Result<Option<(u64, u64)>> {
        if self.ahead.is_empty() && !self.is_all_found {
            let mut from = offset;
            while self.ahead.len() < RANGES_AHEAD {
                let Some(range) = self.find_data(from)? else {
                    self.is_all_found = true;
                    break;
                };
                from = range.1;
                self.ahead.push_back(range);
            }
        }
        Ok(self.ahead.pop_front())
    }

    fn read(&self, buffer: &mut [u8], offset: u64) -> anyhow::Result<usize> {
        loop {
            match self.file.read_at(buffer, offset) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                read => return read.context("cannot read"),
            }
        }
    }

    fn check_unchanged(&self) -> anyhow::Result<()> {
        let now = stat(self.file.as_fd())?;
        ensure!(
            now.stx_size == self.size_bytes && timestamp(now.stx_mtime) == self.modified,
            "was changed while it was read"
        );
        Ok(())
    }
}

fn list(directory: BorrowedFd<'_>, names: &mut Vec<Vec<u8>>) -> anyhow::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = openat(directory, ".", flags, Mode::empty()).map_err(in_words)?;
    for entry in Dir::new(opened).map_err(in_words)? {
        let entry = entry.map_err(in_words)?;
        let name = entry.file_name().to_bytes();
        if !is_dot(name) {
            names.push(name.to_vec());
        }
    }
    Ok(())
}

fn stat(file: BorrowedFd<'_>) -> anyhow::Result<Statx> {
    statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS).map_err(in_words)
}

fn identity(status: &Statx) -> FileId {
    FileId {
        device: makedev(status.stx_dev_major, status.stx_dev_minor),
        inode: status.stx_ino,
    }
}

fn timestamp(time: StatxTimestamp) -> Timestamp {
    Timestamp {
        seconds: time.tv_sec,
        nanos: time.tv_nsec,
    }
}

/// A path that leads to the very file of a descriptor, never through a name.
fn held_path(file: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

fn in_words(error: Errno) -> anyhow::Error {
    anyhow!(std::io::Error::from(error))
}

//! Extended attributes of anything that has a name in a directory.
//!
//! Linux has no call that takes a directory and a name and does not follow
//! symbolic links before version 6.13, and opening is no way either: symbolic
//! links and devices cannot or must not be opened. /proc/self/fd/N/NAME means the
//! same; without /proc the whole path has to do.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::buffer::spare_capacity;
use rustix::fs::{lgetxattr, llistxattr};
use rustix::io::Errno;

use crate::tree::Xattr;

/// The longest list of names, and the longest value (XATTR_LIST_MAX and
/// XATTR_SIZE_MAX in Linux).
const BYTES_MAX: usize = 65536;

/// Reads attributes of the entries of one directory.
pub(super) struct Reader {
    /// The directory with a slash behind it, then an entry.
    path: Vec<u8>,
    directory_bytes: usize,
    list: Vec<u8>,
    value: Vec<u8>,
}

impl Reader {
    /// For a directory that stays open as long as the reader is used.
    pub(super) fn new(directory: BorrowedFd<'_>, path: &Path, proc_is_mounted: bool) -> Self {
        let path = if proc_is_mounted {
            proc_path(directory)
        } else {
            let mut path = path.as_os_str().as_bytes().to_vec();
            path.push(b'/');
            path
        };
        Self {
            directory_bytes: path.len(),
            path,
            list: Vec::with_capacity(BYTES_MAX),
            value: Vec::with_capacity(BYTES_MAX),
        }
    }

    /// All attributes of an entry, sorted by name; "." is the directory itself.
    pub(super) fn read(&mut self, name: &[u8]) -> rustix::io::Result<Vec<Xattr>> {
        self.path.truncate(self.directory_bytes);
        self.path.extend_from_slice(name);
        self.list.clear();
        match llistxattr(self.path.as_slice(), spare_capacity(&mut self.list)) {
            Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
            Ok(_) => {}
            Err(error) => return Err(error),
        }
        let mut found = Vec::new();
        for name in self.list.split(|&byte| byte == 0) {
            if name.is_empty() {
                continue;
            }
            self.value.clear();
            match lgetxattr(self.path.as_slice(), name, spare_capacity(&mut self.value)) {
                Ok(_) => found.push(Xattr {
                    name: name.into(),
                    value: self.value.as_slice().into(),
                }),
                // Removed since it was listed.
                Err(Errno::NODATA) => {}
                Err(error) => return Err(error),
            }
        }
        found.sort_unstable();
        found.dedup_by(|a, b| a.name == b.name);
        found.shrink_to_fit();
        Ok(found)
    }
}

/// The directory's other name, with a slash behind it.
pub(super) fn proc_path(directory: BorrowedFd<'_>) -> Vec<u8> {
    format!("/proc/self/fd/{}/", directory.as_raw_fd()).into_bytes()
}

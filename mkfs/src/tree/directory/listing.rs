//! One directory: its own attributes and everything in it.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use fs_core::FileType;
use rustix::fs::{Access, AtFlags, RawDir, Statx, accessat, readlinkat};

use super::{Scan, failed, holes, status, xattrs};
use crate::tree::content::changed;
use crate::tree::draft::{name_fault, target_fault};
use crate::tree::open::{FILE, joined, open_quietly};
use crate::tree::{Attributes, ContentSource, DataRange, FileContent, Node, NodeKind, Xattr};
use crate::{Error, Result};

/// Bytes of names fetched at a time.
const NAMES_BUFFER_BYTES: usize = 32 << 10;

/// What a directory holds, sorted by name.
pub(super) struct Listing {
    pub(super) attributes: Attributes,
    pub(super) leaves: Vec<Leaf>,
    /// Names of the directories in it.
    pub(super) directories: Vec<Box<[u8]>>,
}

/// A file that is not a directory.
pub(super) struct Leaf {
    pub(super) name: Box<[u8]>,
    pub(super) node: Node,
    /// Its device and inode, if it has more names than this one.
    pub(super) identity: Option<(u64, u64)>,
}

impl Listing {
    /// Reads the open directory `path`.
    pub(super) fn read(scan: &Scan<'_>, directory: BorrowedFd<'_>, path: &Path) -> Result<Self> {
        let mut reader = Reader {
            scan,
            directory,
            path,
            xattrs: xattrs::Reader::new(directory, path, scan.proc_is_mounted),
        };
        let own = status::of_open(directory).map_err(failed(path))?;
        let own_xattrs = reader.xattrs.read(b".").map_err(failed(path))?;
        let names = names(directory, path)?;
        let mut listing = Self {
            attributes: status::attributes(&own, own_xattrs, scan.options),
            leaves: Vec::with_capacity(names.len()),
            directories: Vec::new(),
        };
        for name in names {
            if name.is_directory {
                listing.directories.push(name.bytes);
                continue;
            }
            match reader.leaf(&name.bytes)? {
                Some(leaf) => listing.leaves.push(leaf),
                None => listing.directories.push(name.bytes),
            }
        }
        Ok(listing)
    }
}

/// A name, and whether the directory itself says that it is a directory's.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    bytes: Box<[u8]>,
    is_directory: bool,
}

/// The names in a directory, sorted, each once: one that is changed meanwhile
/// may tell a name twice.
fn names(directory: BorrowedFd<'_>, path: &Path) -> Result<Vec<Name>> {
    let mut buffer = Vec::with_capacity(NAMES_BUFFER_BYTES);
    let mut entries = RawDir::new(directory, buffer.spare_capacity_mut());
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry.map_err(failed(path))?;
        let bytes = entry.file_name().to_bytes();
        if bytes == b"." || bytes == b".." {
            continue;
        }
        if let Some(why) = name_fault(bytes) {
            return Err(Error::BadSource {
                path: joined(path, bytes),
                why: why.to_owned(),
            });
        }
        names.push(Name {
            bytes: bytes.into(),
            is_directory: entry.file_type() == rustix::fs::FileType::Directory,
        });
    }
    names.sort_unstable();
    names.dedup_by(|a, b| a.bytes == b.bytes);
    Ok(names)
}

/// Looks at the entries of one directory.
struct Reader<'r, 's> {
    scan: &'r Scan<'s>,
    directory: BorrowedFd<'r>,
    path: &'r Path,
    xattrs: xattrs::Reader,
}

impl Reader<'_, '_> {
    /// Looks at an entry; `None` if it is a directory.
    fn leaf(&mut self, name: &[u8]) -> Result<Option<Leaf>> {
        let failed = |error| failed(&joined(self.path, name))(error);
        let found = status::of_entry(self.directory, name).map_err(failed)?;
        let kind = match status::file_type(&found) {
            Some(FileType::Directory) => return Ok(None),
            Some(FileType::Regular) => self.file(name, &found)?,
            Some(FileType::Symlink) => self.symlink(name)?,
            Some(FileType::CharDevice) => {
                NodeKind::CharDevice(found.stx_rdev_major, found.stx_rdev_minor)
            }
            Some(FileType::BlockDevice) => {
                NodeKind::BlockDevice(found.stx_rdev_major, found.stx_rdev_minor)
            }
            Some(FileType::Fifo) => NodeKind::Fifo,
            Some(FileType::Socket) => NodeKind::Socket,
            None => return Err(self.bad(name, "is of a kind ext4 does not know")),
        };
        let xattrs: Vec<Xattr> = self.xattrs.read(name).map_err(failed)?;
        let node = Node {
            kind,
            attributes: status::attributes(&found, xattrs, self.scan.options),
        };
        Ok(Some(Leaf {
            name: name.into(),
            node,
            identity: (found.stx_nlink > 1).then(|| status::identity(&found)),
        }))
    }

    fn file(&self, name: &[u8], found: &Statx) -> Result<NodeKind> {
        let identity = status::identity(found);
        let path = joined(self.path, name);
        if self.scan.options.exclude.contains(&identity) {
            return Err(self.bad(name, "is the image itself: the source tree contains it"));
        }
        let size_bytes = found.stx_size;
        if size_bytes > 0 && !self.scan.reads_everything {
            // Known now, it stops the run before the device is touched.
            accessat(self.directory, name, Access::READ_OK, AtFlags::EACCESS)
                .map_err(failed(&path))?;
        }
        let data = if status::may_have_holes(found) {
            self.data(name, found)?
        } else {
            holes::solid(size_bytes)
        };
        Ok(NodeKind::File(FileContent {
            size_bytes,
            data,
            source: ContentSource::Path {
                path: path.into(),
                identity,
                modified: status::timestamp(found.stx_mtime),
            },
        }))
    }

    /// The data of a file that may have holes.
    fn data(&self, name: &[u8], found: &Statx) -> Result<Vec<DataRange>> {
        let path = || joined(self.path, name);
        let failed = |error| failed(&path())(error);
        let file = open_quietly(self.directory, name, FILE).map_err(failed)?;
        let opened = status::of_open(&file).map_err(failed)?;
        if status::identity(&opened) != status::identity(found) || opened.stx_size != found.stx_size
        {
            return Err(changed(path()));
        }
        holes::find(file.as_fd(), found.stx_size).map_err(failed)
    }

    fn symlink(&self, name: &[u8]) -> Result<NodeKind> {
        let target = readlinkat(self.directory, name, Vec::new())
            .map_err(failed(&joined(self.path, name)))?;
        let target = target.into_bytes();
        match target_fault(&target) {
            Some(why) => Err(self.bad(name, why)),
            None => Ok(NodeKind::Symlink(target.into())),
        }
    }

    fn bad(&self, name: &[u8], why: &str) -> Error {
        Error::BadSource {
            path: joined(self.path, name),
            why: why.to_owned(),
        }
    }
}

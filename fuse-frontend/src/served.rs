//! What is served: a volume open for reading, or one open for writing.
//!
//! Both answer the same questions. One that is open for reading never changes, so its
//! answers can be kept by anybody for as long as they like; one that is open for writing
//! answers under the lock of the inode in question.

use std::ops::ControlFlow;
use std::sync::Arc;

use fs_core::{
    Activity, DirEntry, ErrorKind, FileBlock, Inode, InodeNumber, MappedExtent, MappingView,
    Result, SeekTarget, Segment, StatFs, Superblock, Volume, WritableVolume,
};
use images::BlockDevice;

/// The volume behind a mount.
#[derive(Debug)]
pub enum Served {
    /// Open for reading.
    Reading(Arc<Volume>),
    /// Open for writing; closed when the mount is gone.
    Writing(Box<WritableVolume>),
}

impl From<Volume> for Served {
    fn from(volume: Volume) -> Self {
        Self::Reading(Arc::new(volume))
    }
}

impl From<Arc<Volume>> for Served {
    fn from(volume: Arc<Volume>) -> Self {
        Self::Reading(volume)
    }
}

impl From<WritableVolume> for Served {
    fn from(volume: WritableVolume) -> Self {
        Self::Writing(Box::new(volume))
    }
}

impl Served {
    /// The volume, if it is open for writing.
    pub(crate) fn writer(&self) -> Option<&WritableVolume> {
        match self {
            Self::Reading(_) => None,
            Self::Writing(volume) => Some(volume),
        }
    }

    pub(crate) fn device(&self) -> &Arc<dyn BlockDevice> {
        match self {
            Self::Reading(volume) => volume.device(),
            Self::Writing(volume) => volume.device(),
        }
    }

    /// What was done, and how it is.
    pub(crate) fn activity(&self) -> Activity {
        match self {
            Self::Reading(volume) => Activity {
                cache: volume.cache_activity(),
                ..Activity::default()
            },
            Self::Writing(volume) => volume.activity(),
        }
    }

    pub(crate) fn superblock(&self) -> &Superblock {
        match self {
            Self::Reading(volume) => volume.superblock(),
            Self::Writing(volume) => volume.superblock(),
        }
    }

    pub(crate) fn statfs(&self) -> StatFs {
        match self {
            Self::Reading(volume) => volume.statfs(),
            Self::Writing(volume) => volume.statfs(),
        }
    }

    pub(crate) fn inode(&self, number: InodeNumber) -> Result<Arc<Inode>> {
        match self {
            Self::Reading(volume) => volume.inode(number),
            Self::Writing(volume) => volume.inode(number),
        }
    }

    /// The inode a name leads to, if there is one. Of a volume that changes it is held, as
    /// the kernel is about to know it.
    pub(crate) fn find(&self, parent: &Inode, name: &[u8]) -> Result<Option<Found>> {
        match self {
            Self::Reading(volume) => {
                let number = volume.lookup(parent, name)?;
                Ok(number.map(Found::Named))
            }
            Self::Writing(volume) => match volume.retain_child(parent.number(), name) {
                Ok(inode) => Ok(Some(Found::Held(inode))),
                Err(error) if *error.kind() == ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            },
        }
    }

    /// Visits the names behind a cookie until `visit` breaks. It may hold what they name
    /// ([`WritableVolume::retain_entry`]), and do nothing else with the volume.
    pub(crate) fn read_dir(
        &self,
        directory: &Inode,
        cookie: u64,
        visit: &mut dyn FnMut(&DirEntry<'_>) -> ControlFlow<()>,
    ) -> Result<()> {
        match self {
            Self::Reading(volume) => volume.read_dir(directory, cookie, &mut |entry| visit(&entry)),
            Self::Writing(volume) => {
                volume.read_dir(directory.number(), cookie, &mut |entry| visit(&entry))
            }
        }
    }

    pub(crate) fn read_link(&self, link: &Inode) -> Result<Vec<u8>> {
        match self {
            Self::Reading(volume) => volume.read_link(link),
            Self::Writing(volume) => volume.read_link(link.number()),
        }
    }

    /// Where the bytes of a range lie now; a hint where the volume can change.
    pub(crate) fn peek_plan(
        &self,
        file: &Inode,
        offset: u64,
        len_bytes: u64,
        segments: &mut Vec<Segment>,
    ) -> Result<()> {
        match self {
            Self::Reading(volume) => volume.read_plan(file, offset, len_bytes, segments),
            Self::Writing(volume) => {
                volume.with_read_plan(file.number(), offset, len_bytes, |plan| {
                    segments.extend_from_slice(plan);
                })
            }
        }
    }

    /// Reads up to `buffer.len()` bytes; returns how many.
    pub(crate) fn read_now(&self, file: &Inode, buffer: &mut [u8], offset: u64) -> Result<usize> {
        match self {
            Self::Reading(volume) => volume.read(file, buffer, offset),
            Self::Writing(volume) => volume.read(file.number(), buffer, offset),
        }
    }

    /// Looks at a file's map; of a volume that can change with the file locked.
    pub(crate) fn with_mapping<T>(
        &self,
        file: InodeNumber,
        look: impl FnOnce(&MappingView<'_>) -> Result<T>,
    ) -> Result<T> {
        match self {
            Self::Reading(volume) => volume.with_mapping(file, look),
            Self::Writing(volume) => volume.with_mapping(file, look),
        }
    }

    pub(crate) fn map(&self, file: &Inode, block: FileBlock) -> Result<MappedExtent> {
        match self {
            Self::Reading(volume) => volume.map(file, block),
            Self::Writing(volume) => volume.map(file.number(), block),
        }
    }

    pub(crate) fn seek(&self, file: &Inode, offset: u64, target: SeekTarget) -> Result<u64> {
        match self {
            Self::Reading(volume) => volume.seek(file, offset, target),
            Self::Writing(volume) => volume.seek(file.number(), offset, target),
        }
    }

    pub(crate) fn xattr(&self, inode: &Inode, name: &[u8]) -> Result<Vec<u8>> {
        match self {
            Self::Reading(volume) => volume.xattr(inode, name),
            Self::Writing(volume) => volume.xattr(inode.number(), name),
        }
    }

    pub(crate) fn xattr_names(&self, inode: &Inode) -> Result<Vec<Vec<u8>>> {
        match self {
            Self::Reading(volume) => volume.xattr_names(inode),
            Self::Writing(volume) => volume.xattr_names(inode.number()),
        }
    }
}

/// What a name leads to.
#[derive(Debug)]
pub(crate) enum Found {
    /// A number a directory says.
    Named(InodeNumber),
    /// An inode that is held from now on.
    Held(Arc<Inode>),
}

impl Found {
    pub(crate) fn number(&self) -> InodeNumber {
        match self {
            Self::Named(number) => *number,
            Self::Held(inode) => inode.number(),
        }
    }
}

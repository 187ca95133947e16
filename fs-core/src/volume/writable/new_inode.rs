//! What a new inode is, and bringing one into being.

use std::sync::Arc;

use crate::change::Change;
use crate::directory;
use crate::encode;
use crate::error::{Error, ErrorKind, Result};
use crate::file;
use crate::format::features::{IncompatFeatures, RoCompatFeatures};
use crate::format::inode::{self, Inode, InodeFields};
use crate::format::inode_flags::InodeFlags;
use crate::inline_edit;
use crate::mapping;
use crate::space::InodeRequest;
use crate::types::{FileType, FsBlock, InodeNumber};
use crate::xattr::{self, XattrSet};

/// Permission bits of a mode.
const PERMISSIONS: u16 = 0o7777;
/// `S_ISGID`.
const SET_GROUP_ID: u16 = 0o2000;

/// What a new inode is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewKind {
    /// An empty regular file.
    File,
    /// An empty directory.
    Directory,
    /// A symbolic link with this target, 1 byte to one block less one.
    Symlink(Vec<u8>),
    /// A character device.
    CharDevice {
        /// 12 bits.
        major: u32,
        /// 20 bits.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// 12 bits.
        major: u32,
        /// 20 bits.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

impl NewKind {
    /// The type.
    pub fn file_type(&self) -> FileType {
        match self {
            Self::File => FileType::Regular,
            Self::Directory => FileType::Directory,
            Self::Symlink(_) => FileType::Symlink,
            Self::CharDevice { .. } => FileType::CharDevice,
            Self::BlockDevice { .. } => FileType::BlockDevice,
            Self::Fifo => FileType::Fifo,
            Self::Socket => FileType::Socket,
        }
    }
}

/// A new inode. In a directory with the set-group-ID bit it gets that directory's group, a
/// new directory there the bit as well; flags that are inherited are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewInode {
    /// What it is.
    pub kind: NewKind,
    /// Permission bits, 0 to 0o7777.
    pub permissions: u16,
    /// Owner.
    pub uid: u32,
    /// Owning group.
    pub gid: u32,
    /// The blocks reserved for the superuser may be used.
    pub may_use_reserve: bool,
    /// Extended attributes it has from the start: full names and values.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl NewInode {
    /// One of root's.
    pub fn new(kind: NewKind, permissions: u16) -> Self {
        Self {
            kind,
            permissions,
            uid: 0,
            gid: 0,
            may_use_reserve: true,
            xattrs: Vec::new(),
        }
    }

    /// An empty file of root's.
    pub fn file(permissions: u16) -> Self {
        Self::new(NewKind::File, permissions)
    }

    /// An empty directory of root's.
    pub fn directory(permissions: u16) -> Self {
        Self::new(NewKind::Directory, permissions)
    }

    /// A symbolic link of root's.
    pub fn symlink(target: &[u8]) -> Self {
        Self::new(NewKind::Symlink(target.to_vec()), 0o777)
    }

    /// Fails for what no inode can be.
    pub(super) fn check(&self, block_bytes: u32) -> Result<()> {
        if self.permissions & !PERMISSIONS != 0 {
            return Err(ErrorKind::InvalidInput("permissions have 12 bits").into());
        }
        if let NewKind::Symlink(target) = &self.kind {
            if target.is_empty() || target.contains(&0) {
                let what = "a symbolic link's target has at least one byte and no NUL";
                return Err(ErrorKind::InvalidInput(what).into());
            }
            if target.len() as u64 >= u64::from(block_bytes) {
                return Err(ErrorKind::NameTooLong.into());
            }
        }
        device_area(&self.kind).map(|_| ())
    }
}

/// `i_block` of what has a device number.
fn device_area(kind: &NewKind) -> Result<Option<[u8; 60]>> {
    let (NewKind::CharDevice { major, minor } | NewKind::BlockDevice { major, minor }) = kind
    else {
        return Ok(None);
    };
    let area = inode::device_number(*major, *minor).ok_or(ErrorKind::InvalidInput(
        "device numbers have 12 bits of major and 20 of minor",
    ))?;
    Ok(Some(area))
}

/// Flags a new inode takes over from its directory (those of Linux, without the ones that
/// need features this program does not write).
fn inherited_flags(parent: InodeFlags, file_type: FileType) -> InodeFlags {
    let everywhere = InodeFlags::NODUMP | InodeFlags::NOATIME;
    let files = everywhere
        | InodeFlags::SECRM
        | InodeFlags::UNRM
        | InodeFlags::COMPR
        | InodeFlags::SYNC
        | InodeFlags::JOURNAL_DATA
        | InodeFlags::NOTAIL;
    let mask = match file_type {
        FileType::Directory => files | InodeFlags::DIRSYNC,
        FileType::Regular => files,
        _ => everywhere,
    };
    parent & mask
}

/// Takes an inode and makes it what is wanted, its content included, without a name and
/// with `links` names counted.
pub(super) fn bring_up(
    change: &mut Change<'_>,
    parent: &Inode,
    new: &NewInode,
    links: u16,
) -> Result<Arc<Inode>> {
    let file_type = new.kind.file_type();
    let number = change.allocate_inode(InodeRequest {
        parent: parent.number(),
        file_type,
    })?;
    let bytes = encoded(change, parent, new, links, number)?;
    change.edit_inode(number, |edit| {
        edit.bytes_mut().copy_from_slice(&bytes);
        Ok(())
    })?;
    match &new.kind {
        NewKind::Directory => directory::initialise(change, number, parent.number())?,
        NewKind::Symlink(target) => file::write_symlink(change, number, target)?,
        NewKind::File if has_inline(change) => {
            inline_edit::set_inline(change, number, &[])?;
        }
        _ => {}
    }
    for (name, value) in &new.xattrs {
        xattr::set(change, number, name, value, XattrSet::Any)?;
    }
    change.inode(number)
}

fn has_inline(change: &Change<'_>) -> bool {
    change
        .store()
        .superblock
        .has_incompat(IncompatFeatures::INLINE_DATA)
}

fn encoded(
    change: &Change<'_>,
    parent: &Inode,
    new: &NewInode,
    links: u16,
    number: InodeNumber,
) -> Result<Vec<u8>> {
    let superblock = &change.store().superblock;
    let file_type = new.kind.file_type();
    let mut flags = inherited_flags(parent.flags(), file_type);
    let has_map = matches!(
        file_type,
        FileType::Regular | FileType::Directory | FileType::Symlink
    );
    let is_inline = file_type == FileType::Directory && has_inline(change);
    if is_inline {
        flags |= InodeFlags::INLINE_DATA;
    } else if has_map && superblock.has_incompat(IncompatFeatures::EXTENTS) {
        flags |= InodeFlags::EXTENTS;
    }
    let block_area = match device_area(&new.kind)? {
        Some(area) => area,
        None if has_map && !is_inline => mapping::empty_map(superblock, flags),
        // Also where the content will lie in it.
        None => [0; 60],
    };
    let inherits_group = parent.mode() & SET_GROUP_ID != 0;
    let mut permissions = new.permissions;
    if inherits_group && file_type == FileType::Directory {
        permissions |= SET_GROUP_ID;
    }
    let fields = InodeFields {
        mode: file_type.mode_bits() | permissions,
        uid: new.uid,
        gid: if inherits_group {
            parent.gid()
        } else {
            new.gid
        },
        size_bytes: 0,
        links,
        blocks_512: 0,
        flags,
        generation: change.writer.generations.next(number),
        accessed: change.now,
        modified: change.now,
        changed: change.now,
        created: change.now,
        xattr_block: FsBlock(0),
        version: 0,
        block_area,
        xattr_area: &[],
    };
    let mut bytes = vec![0; usize::from(superblock.inode_bytes)];
    encode::inode(superblock, number, &fields, &mut bytes)?;
    Ok(bytes)
}

/// The most names an inode other than a directory can have (EXT4_LINK_MAX).
pub(super) const LINKS_MAX: u32 = 65_000;

/// The link count of a directory that gains a subdirectory. With dir_nlink a directory of
/// too many has 1: nobody counts any more.
pub(super) fn links_with_one_more(change: &Change<'_>, directory: &Inode) -> Result<u16> {
    let superblock = &change.store().superblock;
    let counts = u16::try_from(directory.links()).unwrap_or(u16::MAX);
    if counts == 1 {
        return Ok(1);
    }
    if directory.links() < LINKS_MAX {
        return Ok(counts + 1);
    }
    if superblock.has_ro_compat(RoCompatFeatures::DIR_NLINK)
        && directory.flags().contains(InodeFlags::INDEX)
    {
        return Ok(1);
    }
    Err(Error::from(ErrorKind::TooManyNames))
}

/// The same for one that loses a subdirectory.
pub(super) fn links_with_one_less(directory: &Inode) -> u16 {
    let counts = u16::try_from(directory.links()).unwrap_or(u16::MAX);
    if counts <= 2 { counts } else { counts - 1 }
}

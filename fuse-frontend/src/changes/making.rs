//! MKNOD, MKDIR, SYMLINK, CREATE, TMPFILE.
//!
//! What something new is like: its owner is the caller, its group the directory's if that
//! has the set-group-ID bit; its permissions are what was asked for, cut by the directory's
//! default ACL or else by the umask; security modules of the kernel add their attribute.

use std::sync::Arc;

use fs_core::acl::{self, ACCESS_ACL, DEFAULT_ACL};
use fs_core::{ErrorKind, FileType, Inode, InodeNumber, NewInode, NewKind, WriteContext};
use rustix::io::Errno;

use super::Place;
use crate::attributes;
use crate::change_requests::Change;
use crate::extensions::Extensions;
use crate::failure::Failure;
use crate::iomap;
use crate::namespace::OPEN_FLAGS;
use crate::replies::Reply;
use crate::wire::{CreateIn, CreateOut, MknodIn, OpenOut};

const TYPE: u32 = 0o17_0000;
const PERMISSIONS: u32 = 0o7777;
const SET_GROUP_ID: u16 = 0o2000;
const GROUP_EXECUTE: u16 = 0o010;

/// What is asked for.
struct Wish {
    kind: NewKind,
    mode: u32,
    umask: u32,
}

pub(super) fn make(
    place: Place<'_>,
    change: &Change<'_>,
    extensions: &Extensions<'_>,
    granted: &mut Vec<InodeNumber>,
) -> Result<Reply<'static>, Failure> {
    let (name, wish) = match change {
        Change::Mknod { arguments, name } => {
            let (mode, umask) = (arguments.mode, arguments.umask);
            let kind = node_kind(arguments)?;
            (name, Wish { kind, mode, umask })
        }
        Change::Mkdir { arguments, name } => {
            let kind = NewKind::Directory;
            let (mode, umask) = (arguments.mode, arguments.umask);
            (name, Wish { kind, mode, umask })
        }
        Change::Symlink { name, target } => {
            let kind = NewKind::Symlink(target.to_vec());
            let (mode, umask) = (0o777, 0);
            (name, Wish { kind, mode, umask })
        }
        Change::Create { arguments, name } => {
            return create(place, arguments, name, extensions, granted);
        }
        Change::TmpFile(arguments) => return tmpfile(place, arguments, extensions, granted),
        _ => return Err(Errno::INVAL.into()),
    };
    let new = new_inode(place, wish, extensions)?;
    let made = place.volume.create_retained(place.inode, name, &new)?;
    granted.push(made.number());
    Ok(Reply::Entry(attributes::entry(place.server, &made)?))
}

/// `O_EXCL` and `O_TRUNC` of open(2).
const EXCLUSIVE: u32 = 0o200;
const TRUNCATE: u32 = 0o1000;

fn create(
    place: Place<'_>,
    arguments: &CreateIn,
    name: &[u8],
    extensions: &Extensions<'_>,
    granted: &mut Vec<InodeNumber>,
) -> Result<Reply<'static>, Failure> {
    let new = new_inode(place, file_wish(arguments), extensions)?;
    let made = match place.volume.create_retained(place.inode, name, &new) {
        Err(error) if *error.kind() == ErrorKind::Exists && arguments.flags & EXCLUSIVE == 0 => {
            let found = place.volume.retain_child(place.inode, name)?;
            granted.push(found.number());
            return open_existing(place, arguments, &found);
        }
        made => made?,
    };
    granted.push(made.number());
    opened(place, &made, arguments.flags)
}

/// Somebody else was faster.
fn open_existing(
    place: Place<'_>,
    arguments: &CreateIn,
    found: &Inode,
) -> Result<Reply<'static>, Failure> {
    if found.file_type() != FileType::Regular {
        return Err(Errno::EXIST.into());
    }
    if arguments.flags & TRUNCATE != 0 {
        let context = WriteContext {
            may_use_reserve: place.may_use_reserve(found),
            clear_privileges: place.caller.uid != Some(0),
            keeps_times: false,
            kernel_moves_content: place.server.kernel_moves_content(),
        };
        place.volume.truncate_as(found.number(), 0, context)?;
    }
    opened(
        place,
        &*place.volume.inode(found.number())?,
        arguments.flags,
    )
}

fn tmpfile(
    place: Place<'_>,
    arguments: &CreateIn,
    extensions: &Extensions<'_>,
    granted: &mut Vec<InodeNumber>,
) -> Result<Reply<'static>, Failure> {
    let new = new_inode(place, file_wish(arguments), extensions)?;
    let made = place.volume.create_unnamed(place.inode, &new)?;
    granted.push(made.number());
    opened(place, &made, arguments.flags)
}

fn opened(place: Place<'_>, file: &Inode, flags: u32) -> Result<Reply<'static>, Failure> {
    // Should the answer not be taken, the file is forgotten, and its handles with it.
    let handle = match place.server.iomap() {
        Ok(iomap) => iomap::created(iomap, file, flags),
        Err(_) => 0,
    };
    Ok(Reply::Create(CreateOut {
        entry: attributes::entry(place.server, file)?,
        open: OpenOut {
            fh: handle,
            open_flags: OPEN_FLAGS,
            ..OpenOut::default()
        },
    }))
}

fn file_wish(arguments: &CreateIn) -> Wish {
    Wish {
        kind: NewKind::File,
        mode: arguments.mode,
        umask: arguments.umask,
    }
}

fn new_inode(
    place: Place<'_>,
    wish: Wish,
    extensions: &Extensions<'_>,
) -> Result<NewInode, Failure> {
    // Nobody is nobody's owner.
    let (Some(uid), Some(gid)) = (place.caller.uid, place.caller.gid) else {
        return Err(Errno::OVERFLOW.into());
    };
    let parent = place.volume.inode(place.inode)?;
    let mut permissions = u16::try_from(wish.mode & PERMISSIONS).unwrap_or_default();
    if loses_set_group(place, &parent, &wish.kind, permissions, extensions) {
        permissions &= !SET_GROUP_ID;
    }
    let mut new = NewInode {
        kind: wish.kind,
        permissions,
        uid,
        gid,
        may_use_reserve: place.is_in_reserve(uid, Some(gid)),
        xattrs: Vec::new(),
    };
    let default_acl = match kernel_inherits(place) {
        true => None,
        false => default_acl(place, &parent, &new.kind)?,
    };
    match default_acl {
        Some(acl) => inherit(&mut new, acl)?,
        // Without that agreement the kernel has applied it.
        None if place.server.agreed.has_umask && !kernel_inherits(place) => {
            new.permissions &= !u16::try_from(wish.umask & 0o777).unwrap_or_default();
        }
        None => {}
    }
    let contexts = extensions.contexts.iter();
    new.xattrs
        .extend(contexts.map(|(name, value)| (name.to_vec(), value.to_vec())));
    Ok(new)
}

/// Whether the kernel itself sees to the umask and to what is inherited from the directory:
/// where it knows that nobody else changes it. (It never knows that of the root directory.)
fn kernel_inherits(place: Place<'_>) -> bool {
    place.server.kernel_moves_content() && place.inode != InodeNumber::ROOT
}

fn default_acl(
    place: Place<'_>,
    parent: &Arc<Inode>,
    kind: &NewKind,
) -> Result<Option<Vec<u8>>, Failure> {
    if kind.file_type() == FileType::Symlink {
        return Ok(None);
    }
    match place.volume.xattr(parent.number(), DEFAULT_ACL) {
        Ok(acl) => Ok(Some(acl)),
        Err(error) if *error.kind() == ErrorKind::NoAttribute => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn inherit(new: &mut NewInode, default_acl: Vec<u8>) -> Result<(), Failure> {
    let inherited = acl::inherit(&default_acl, new.permissions).ok_or(Errno::IO)?;
    new.permissions = inherited.permissions;
    if let Some(access) = inherited.access_acl {
        new.xattrs.push((ACCESS_ACL.to_vec(), access));
    }
    if new.kind == NewKind::Directory {
        new.xattrs.push((DEFAULT_ACL.to_vec(), default_acl));
    }
    Ok(())
}

/// A program gets the directory's group, and with it the right to act as that group, only
/// from who belongs to it. Newer kernels have seen to that before they ask.
fn loses_set_group(
    place: Place<'_>,
    parent: &Inode,
    kind: &NewKind,
    permissions: u16,
    extensions: &Extensions<'_>,
) -> bool {
    let both = SET_GROUP_ID | GROUP_EXECUTE;
    let caller = place.caller;
    *kind != NewKind::Directory
        && permissions & both == both
        && parent.mode() & SET_GROUP_ID != 0
        && caller.uid != Some(0)
        && caller.gid != Some(parent.gid())
        && extensions.has_group(parent.gid()) == Some(false)
}

/// Types, in their bits of a mode.
const REGULAR: u32 = 0o10_0000;
const CHAR_DEVICE: u32 = 0o2_0000;
const BLOCK_DEVICE: u32 = 0o6_0000;
const FIFO: u32 = 0o1_0000;
const SOCKET: u32 = 0o14_0000;

fn node_kind(arguments: &MknodIn) -> Result<NewKind, Failure> {
    let (major, minor) = decode_device(arguments.rdev);
    Ok(match arguments.mode & TYPE {
        0 | REGULAR => NewKind::File,
        CHAR_DEVICE => NewKind::CharDevice { major, minor },
        BLOCK_DEVICE => NewKind::BlockDevice { major, minor },
        FIFO => NewKind::Fifo,
        SOCKET => NewKind::Socket,
        _ => return Err(Errno::INVAL.into()),
    })
}

/// A device number as the kernel's `new_encode_dev` packs it.
fn decode_device(packed: u32) -> (u32, u32) {
    let major = packed >> 8 & 0xfff;
    let minor = packed & 0xff | packed >> 12 & 0xf_ff00;
    (major, minor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers() {
        assert_eq!(decode_device(0x0801), (8, 1));
        assert_eq!(decode_device(0x1231_0345), (259, 0x12345));
    }
}

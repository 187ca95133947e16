//! SETXATTR and REMOVEXATTR.

use fs_core::acl::{ACCESS_ACL, DEFAULT_ACL};
use fs_core::{ErrorKind, FileType, XattrSet};
use rustix::io::Errno;

use super::Place;
use crate::change_requests::SetXattr;
use crate::failure::Failure;
use crate::replies::Reply;
use crate::xattrs::is_replaced;

/// Flags of setxattr(2).
const XATTR_CREATE: u32 = 1;
const XATTR_REPLACE: u32 = 2;

pub(super) fn set(place: Place<'_>, set: &SetXattr<'_>) -> Result<Reply<'static>, Failure> {
    let mode = match set.flags {
        0 => XattrSet::Any,
        XATTR_CREATE => XattrSet::Create,
        XATTR_REPLACE => XattrSet::Replace,
        _ => return Err(Errno::INVAL.into()),
    };
    if is_replaced(place.server, set.name) {
        return Err(Errno::OPNOTSUPP.into());
    }
    let (volume, inode) = (place.volume, place.inode);
    match set.name {
        ACCESS_ACL => volume.set_access_acl(inode, set.value, mode, set.clears_set_group)?,
        DEFAULT_ACL if volume.inode(inode)?.file_type() != FileType::Directory => {
            return Err(Errno::ACCESS.into());
        }
        name => volume.set_xattr(inode, name, set.value, mode)?,
    }
    Ok(Reply::Done)
}

pub(super) fn remove(place: Place<'_>, name: &[u8]) -> Result<Reply<'static>, Failure> {
    if is_replaced(place.server, name) {
        return Err(Errno::OPNOTSUPP.into());
    }
    match place.volume.remove_xattr(place.inode, name) {
        // There always is an ACL: the permission bits, if no other.
        Err(error)
            if *error.kind() == ErrorKind::NoAttribute
                && [ACCESS_ACL, DEFAULT_ACL].contains(&name) => {}
        outcome => outcome?,
    }
    Ok(Reply::Done)
}

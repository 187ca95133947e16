//! Permission bits and access ACLs, which say the same and change together.

use super::WritableVolume;
use super::names::check_names_mutable;
use crate::acl::{self, ACCESS_ACL};
use crate::change::Change;
use crate::error::{ErrorKind, Result};
use crate::format::inode::Inode;
use crate::types::{FileType, InodeNumber};
use crate::xattr::{self, XattrSet};

/// `S_ISGID`.
const SET_GROUP_ID: u16 = 0o2000;
const PERMISSIONS: u16 = 0o777;

impl WritableVolume {
    /// Sets an inode's access ACL, in the form of setxattr(2), and the permission bits it
    /// stands for. One that says no more than the bits is not kept. `clear_set_group` drops
    /// the set-group-ID bit.
    ///
    /// # Errors
    /// Those of [`set_xattr`](Self::set_xattr); `NotSupported` for a symbolic link.
    pub fn set_access_acl(
        &self,
        inode: InodeNumber,
        acl: &[u8],
        mode: XattrSet,
        clear_set_group: bool,
    ) -> Result<()> {
        self.changing(|| {
            let credits = xattr::credits(self.store()) + 4;
            self.with_inode(inode, credits, |change, found| {
                check_names_mutable(found)?;
                if found.file_type() == FileType::Symlink {
                    let what = "a symbolic link has no ACL";
                    return Err(ErrorKind::NotSupported(what).into());
                }
                // Checks it, too.
                xattr::set(change, inode, ACCESS_ACL, acl, mode)?;
                let what = ErrorKind::InvalidInput("not an ACL");
                let (bits, says_more) = acl::permissions_of(acl).ok_or(what)?;
                if !says_more {
                    xattr::remove(change, inode, ACCESS_ACL)?;
                }
                let mut permissions = found.mode() & 0o7000 | bits;
                if clear_set_group {
                    permissions &= !SET_GROUP_ID;
                }
                let now = change.now;
                change.edit_inode(inode, |edit| {
                    edit.set_mode(found.file_type().mode_bits() | permissions)?;
                    edit.set_changed(now)
                })?;
                Ok(())
            })
        })
    }
}

/// Changes an inode's access ACL, if it has one, to what its new permission bits say.
pub(super) fn follow_permissions(
    change: &mut Change<'_>,
    found: &Inode,
    permissions: u16,
) -> Result<()> {
    if found.file_type() == FileType::Symlink {
        return Ok(());
    }
    let old = match xattr::get(change.store(), found, ACCESS_ACL) {
        Err(error) if *error.kind() == ErrorKind::NoAttribute => return Ok(()),
        old => old?,
    };
    let Some(new) = acl::with_permissions(&old, permissions & PERMISSIONS) else {
        return Ok(());
    };
    xattr::set(change, found.number(), ACCESS_ACL, &new, XattrSet::Any)
}

//! What an inode states of itself: mode, owner, times, flags, attributes.

use std::sync::Arc;

use super::WritableVolume;
use super::access_acl::follow_permissions;
use super::names::check_mutable;
use crate::change::Change;
use crate::error::{Error, ErrorKind, Result};
use crate::format::inode::Inode;
use crate::format::inode_edit::InodeEdit;
use crate::format::inode_flags::InodeFlags;
use crate::types::{FileType, InodeNumber, Timestamp};
use crate::xattr::{self, XattrSet};

/// A new time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeChange {
    /// The time of the change.
    Now,
    /// This one.
    At(Timestamp),
}

/// Which attributes change, all at once. The time of change (`ctime`) becomes now unless it
/// is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AttributeChanges {
    /// Permission bits, 0 to 0o7777.
    pub permissions: Option<u16>,
    /// Owner.
    pub uid: Option<u32>,
    /// Owning group.
    pub gid: Option<u32>,
    /// Last access.
    pub accessed: Option<TimeChange>,
    /// Last change of the content.
    pub modified: Option<TimeChange>,
    /// Last change of content or attributes.
    pub changed: Option<TimeChange>,
    /// Creation, where the inode has room for it.
    pub created: Option<Timestamp>,
    /// The times are those of changes of the content that were made before: an append-only
    /// inode takes them.
    pub is_belated: bool,
}

/// Flags that FS_IOC_SETFLAGS can change (EXT4_FL_USER_MODIFIABLE in Linux), without those
/// of features this program does not write.
pub const USER_MODIFIABLE_FLAGS: InodeFlags = InodeFlags::SECRM
    .union(InodeFlags::UNRM)
    .union(InodeFlags::COMPR)
    .union(InodeFlags::SYNC)
    .union(InodeFlags::IMMUTABLE)
    .union(InodeFlags::APPEND)
    .union(InodeFlags::NODUMP)
    .union(InodeFlags::NOATIME)
    .union(InodeFlags::JOURNAL_DATA)
    .union(InodeFlags::NOTAIL)
    .union(InodeFlags::DIRSYNC)
    .union(InodeFlags::TOPDIR);

impl WritableVolume {
    /// Changes attributes; the access ACL follows the permission bits.
    ///
    /// # Errors
    /// `NotPermitted` for an immutable inode, and for an append-only one but for times set
    /// to now; `InvalidInput` for nanoseconds of a second or more.
    pub fn set_attributes(
        &self,
        inode: InodeNumber,
        changes: &AttributeChanges,
    ) -> Result<Arc<Inode>> {
        self.changing(|| {
            changes.check()?;
            let credits = match changes.permissions {
                Some(_) => 4 + xattr::credits(self.store()),
                None => 4,
            };
            self.with_inode(inode, credits, |change, found| {
                check_mutable(found)?;
                if found.flags().contains(InodeFlags::APPEND) && !changes.only_touches() {
                    let why = "an append-only inode keeps its attributes";
                    return Err(ErrorKind::NotPermitted(why).into());
                }
                if let Some(permissions) = changes.permissions {
                    follow_permissions(change, found, permissions)?;
                }
                let now = change.now;
                change.edit_inode(inode, |edit| changes.apply(edit, found, now))
            })
        })
    }

    /// Changes the flags chattr(1) changes; others stay.
    ///
    /// # Errors
    /// `NotSupported` for flags that cannot be changed (EXTENTS among them: the form of a
    /// file's map does not change) and for what is neither file nor directory, `InvalidInput` for DIRSYNC and TOPDIR on what is no
    /// directory.
    pub fn set_flags(&self, inode: InodeNumber, flags: InodeFlags) -> Result<()> {
        self.changing(|| {
            self.with_inode(inode, 4, |change, found| {
                let has_flags =
                    matches!(found.file_type(), FileType::Regular | FileType::Directory);
                if !has_flags {
                    // As Linux; e2fsck takes an immutable device for damage.
                    let what = "only files and directories have flags that can be changed";
                    return Err(ErrorKind::NotSupported(what).into());
                }
                let old = found.flags();
                let changed = (flags ^ old) & crate::USER_VISIBLE_FLAGS;
                if !USER_MODIFIABLE_FLAGS.contains(changed) {
                    let what = "these flags cannot be changed";
                    return Err(ErrorKind::NotSupported(what).into());
                }
                let for_directories = InodeFlags::DIRSYNC | InodeFlags::TOPDIR;
                if changed.intersects(for_directories) && found.file_type() != FileType::Directory {
                    let what = "only directories have these flags";
                    return Err(ErrorKind::InvalidInput(what).into());
                }
                let new = old.difference(USER_MODIFIABLE_FLAGS)
                    | flags.intersection(USER_MODIFIABLE_FLAGS);
                let now = change.now;
                change.edit_inode(inode, |edit| {
                    edit.set_flags(new)?;
                    edit.set_changed(now)
                })?;
                Ok(())
            })
        })
    }

    /// Sets the version FS_IOC_GETVERSION shows: the generation.
    ///
    /// # Errors
    /// `NotSupported` on a volume with metadata checksums, whose seeds it is part of.
    pub fn set_generation(&self, inode: InodeNumber, generation: u32) -> Result<()> {
        self.changing(|| {
            if self.store().superblock.has_metadata_csum() {
                let what = "the generation cannot change where metadata has checksums";
                return Err(ErrorKind::NotSupported(what).into());
            }
            self.with_inode(inode, 4, |change, found| {
                check_mutable(found)?;
                let now = change.now;
                change.edit_inode(inode, |edit| {
                    edit.set_generation(generation)?;
                    edit.set_changed(now)
                })?;
                Ok(())
            })
        })
    }

    /// Sets an extended attribute by its full name ("user.x"); ACLs in the form of
    /// setxattr(2).
    ///
    /// # Errors
    /// `Exists` and `NoAttribute` as the mode says, `TooLarge`, `NotSupported` for a
    /// namespace ext4 does not have, `InvalidInput`, `NotPermitted` by flags, `NoSpace`.
    pub fn set_xattr(
        &self,
        inode: InodeNumber,
        name: &[u8],
        value: &[u8],
        mode: XattrSet,
    ) -> Result<()> {
        self.change_xattrs(inode, |change| xattr::set(change, inode, name, value, mode))
    }

    /// Removes an extended attribute.
    ///
    /// # Errors
    /// `NoAttribute`, `NotPermitted` by flags.
    pub fn remove_xattr(&self, inode: InodeNumber, name: &[u8]) -> Result<()> {
        self.change_xattrs(inode, |change| xattr::remove(change, inode, name))
    }

    fn change_xattrs(
        &self,
        inode: InodeNumber,
        edit: impl Fn(&mut Change<'_>) -> Result<()>,
    ) -> Result<()> {
        self.changing(|| {
            let credits = xattr::credits(self.store()) + 4;
            self.with_inode(inode, credits, |change, found| {
                super::names::check_names_mutable(found)?;
                edit(change)?;
                let now = change.now;
                change.edit_inode(inode, |edit| edit.set_changed(now))?;
                Ok(())
            })
        })
    }

    /// Locks an inode, begins a change, runs `edit` and finishes the change.
    pub(super) fn with_inode<T>(
        &self,
        inode: InodeNumber,
        credits: usize,
        edit: impl FnOnce(&mut Change<'_>, &Inode) -> Result<T>,
    ) -> Result<T> {
        let _lock = self.shared.locks.exclusive(&[inode]);
        let found = self.usable(inode)?;
        let mut change = self.writer().begin(credits)?;
        let output = edit(&mut change, &found)?;
        change.finish();
        Ok(output)
    }

    /// The inode, if it is not one of the file system itself, nor an attribute's value.
    pub(super) fn ordinary(&self, inode: InodeNumber) -> Result<Arc<Inode>> {
        let store = self.store();
        let what = "the inodes of the file system itself cannot be changed";
        if store.superblock.is_own_inode(inode) {
            return Err(ErrorKind::NotPermitted(what).into());
        }
        let found = store.inode(inode)?;
        if found.flags().contains(InodeFlags::EA_INODE) {
            return Err(ErrorKind::NotPermitted(what).into());
        }
        Ok(found)
    }

    /// The inode, if it has a name or is held.
    pub(super) fn usable(&self, inode: InodeNumber) -> Result<Arc<Inode>> {
        let found = self.ordinary(inode)?;
        if found.links() == 0 && !self.shared.retained.is_held(inode) {
            return Err(Error::from(ErrorKind::Stale));
        }
        Ok(found)
    }
}

impl AttributeChanges {
    fn check(&self) -> Result<()> {
        if self.permissions.is_some_and(|bits| bits > 0o7777) {
            return Err(ErrorKind::InvalidInput("permissions have 12 bits").into());
        }
        let times = [self.accessed, self.modified, self.changed];
        let given = times.into_iter().flatten().filter_map(|time| match time {
            TimeChange::At(time) => Some(time),
            TimeChange::Now => None,
        });
        if given
            .chain(self.created)
            .any(|time| time.nanos > 999_999_999)
        {
            let what = "a time has less than 1,000,000,000 nanoseconds";
            return Err(ErrorKind::InvalidInput(what).into());
        }
        Ok(())
    }

    /// True if nothing changes but times, to now or belatedly.
    fn only_touches(&self) -> bool {
        let is_now = |time: Option<TimeChange>| {
            self.is_belated || time.is_none_or(|time| time == TimeChange::Now)
        };
        self.permissions.is_none()
            && self.uid.is_none()
            && self.gid.is_none()
            && self.created.is_none()
            && [self.accessed, self.modified, self.changed]
                .into_iter()
                .all(is_now)
    }

    fn apply(&self, edit: &mut InodeEdit<'_>, found: &Inode, now: Timestamp) -> Result<()> {
        let time = |change: TimeChange| match change {
            TimeChange::Now => now,
            TimeChange::At(time) => time,
        };
        if let Some(permissions) = self.permissions {
            edit.set_mode(found.file_type().mode_bits() | permissions)?;
        }
        if self.uid.is_some() || self.gid.is_some() {
            let uid = self.uid.unwrap_or(found.uid());
            edit.set_owner(uid, self.gid.unwrap_or(found.gid()))?;
        }
        if let Some(accessed) = self.accessed {
            edit.set_accessed(time(accessed))?;
        }
        if let Some(modified) = self.modified {
            edit.set_modified(time(modified))?;
        }
        if let Some(created) = self.created {
            edit.set_created(created);
        }
        edit.set_changed(self.changed.map_or(now, time))
    }
}

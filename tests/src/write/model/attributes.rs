//! Attributes, flags, extended attributes.

use super::{Model, Outcome, Predicted};
use crate::write::operation::Target;
use crate::write::tree::Kind;
use fs_core::{AttributeChanges, InodeFlags, TimeChange, USER_MODIFIABLE_FLAGS, XattrSet};
use rustix::io::Errno;

/// Fails for what cannot be an extended attribute on any volume.
pub(super) fn check_xattr(name: &[u8], value: &[u8]) -> Predicted<()> {
    check_xattr_name(name)?;
    if value.len() > 64 << 10 {
        return Err(Errno::NOSPC);
    }
    if name.starts_with(b"system.") && !is_acl(value) {
        return Err(Errno::INVAL);
    }
    Ok(())
}

fn check_xattr_name(name: &[u8]) -> Predicted<()> {
    let acls = [&b"system.posix_acl_access"[..], b"system.posix_acl_default"];
    if name.len() > 255 {
        return Err(Errno::NAMETOOLONG);
    }
    if acls.contains(&name) {
        return Ok(());
    }
    let prefixes = [&b"user."[..], b"trusted.", b"security."];
    let prefix = prefixes.iter().find(|prefix| name.starts_with(prefix));
    match prefix {
        Some(prefix) if name.len() == prefix.len() || name.contains(&0) => Err(Errno::INVAL),
        Some(_) => Ok(()),
        None => Err(Errno::OPNOTSUPP),
    }
}

/// Whether these bytes are an ACL in the form of setxattr(2): as far as operations make
/// others, a version and whole entries are the test.
fn is_acl(value: &[u8]) -> bool {
    value.starts_with(&[2, 0, 0, 0]) && value.len() >= 4 + 3 * 8 && value.len() % 8 == 4
}

/// chmod(2) on an ACL: the owner's entry, the mask (or the group's, without one), others.
fn follow_permissions(acl: &mut [u8], permissions: u16) {
    let entries = acl.get_mut(4..).unwrap_or_default();
    let has_mask = entries.chunks_exact(8).any(|entry| entry[0] == 0x10);
    for entry in entries.chunks_exact_mut(8) {
        let shift = match entry[0] {
            0x01 => 6,
            0x10 => 3,
            0x04 if !has_mask => 3,
            0x20 => 0,
            _ => continue,
        };
        entry[2] = (permissions >> shift & 7) as u8;
    }
}

impl Model {
    pub(super) fn set_attributes(
        &mut self,
        target: &Target,
        changes: &AttributeChanges,
    ) -> Predicted<Outcome> {
        let id = self.resolve(target)?;
        let times = [changes.accessed, changes.modified, changes.changed];
        let is_bad = |time: TimeChange| match time {
            TimeChange::At(time) => time.nanos > 999_999_999,
            TimeChange::Now => false,
        };
        if changes.permissions.is_some_and(|bits| bits > 0o7777)
            || times.into_iter().flatten().any(is_bad)
            || changes.created.is_some_and(|time| time.nanos > 999_999_999)
        {
            return Err(Errno::INVAL);
        }
        self.check_mutable(id)?;
        let sets_time = |time: Option<TimeChange>| matches!(time, Some(TimeChange::At(_)));
        let only_touches = changes.permissions.is_none()
            && changes.uid.is_none()
            && changes.gid.is_none()
            && changes.created.is_none()
            && !times.into_iter().any(sets_time);
        if self.has_flag(id, InodeFlags::APPEND) && !only_touches {
            return Err(Errno::PERM);
        }
        let time = |time: TimeChange| match time {
            TimeChange::Now => self.stored(id, self.now),
            TimeChange::At(time) => self.stored(id, time),
        };
        let [accessed, modified, changed] = times.map(|change| change.map(time));
        let changed = changed.unwrap_or_else(|| self.stored(id, self.now));
        let created = changes.created.map(|time| self.stored(id, time));
        let node = self.node_mut(id)?;
        node.permissions = changes.permissions.unwrap_or(node.permissions);
        if let Some(permissions) = changes.permissions
            && !matches!(node.kind, Kind::Symlink { .. })
            && let Some(acl) = node.xattrs.get_mut(&b"system.posix_acl_access"[..])
        {
            follow_permissions(acl, permissions);
        }
        node.uid = changes.uid.unwrap_or(node.uid);
        node.gid = changes.gid.unwrap_or(node.gid);
        node.accessed = accessed.unwrap_or(node.accessed);
        node.modified = modified.unwrap_or(node.modified);
        node.changed = changed;
        if node.created.is_some() {
            node.created = created.or(node.created);
        }
        Ok(Outcome::Done)
    }

    pub(super) fn set_flags(&mut self, target: &Target, flags: InodeFlags) -> Predicted<Outcome> {
        let id = self.resolve(target)?;
        let node = self.node(id)?;
        if !matches!(node.kind, Kind::File { .. } | Kind::Directory { .. }) {
            return Err(Errno::OPNOTSUPP);
        }
        let new = flags & USER_MODIFIABLE_FLAGS;
        let old = InodeFlags::from_bits_retain(node.flags.unwrap_or(0));
        let for_directories = InodeFlags::DIRSYNC | InodeFlags::TOPDIR;
        if (new ^ old).intersects(for_directories) && !node.is_directory() {
            return Err(Errno::INVAL);
        }
        self.node_mut(id)?.flags = Some(new.bits());
        self.touch(id)?;
        Ok(Outcome::Done)
    }

    pub(super) fn set_generation(
        &mut self,
        target: &Target,
        generation: u32,
    ) -> Predicted<Outcome> {
        let id = self.resolve(target)?;
        if self.traits.has_metadata_csum {
            return Err(Errno::OPNOTSUPP);
        }
        self.check_mutable(id)?;
        self.node_mut(id)?.generation = Some(generation);
        self.touch(id)?;
        Ok(Outcome::Done)
    }

    pub(super) fn set_xattr(
        &mut self,
        target: &Target,
        name: &[u8],
        value: &[u8],
        mode: XattrSet,
    ) -> Predicted<Outcome> {
        let id = self.resolve(target)?;
        self.check_names_mutable(id)?;
        check_xattr(name, value)?;
        let is_there = self.node(id)?.xattrs.contains_key(name);
        match mode {
            XattrSet::Create if is_there => return Err(Errno::EXIST),
            XattrSet::Replace if !is_there => return Err(Errno::NODATA),
            _ => {}
        }
        let xattrs = &mut self.node_mut(id)?.xattrs;
        xattrs.insert(name.to_vec(), value.to_vec());
        self.touch(id)?;
        Ok(Outcome::Done)
    }

    pub(super) fn remove_xattr(&mut self, target: &Target, name: &[u8]) -> Predicted<Outcome> {
        let id = self.resolve(target)?;
        self.check_names_mutable(id)?;
        check_xattr_name(name)?;
        if !self.node(id)?.xattrs.contains_key(name) {
            return Err(Errno::NODATA);
        }
        self.node_mut(id)?.xattrs.remove(name);
        self.touch(id)?;
        Ok(Outcome::Done)
    }
}

//! What POSIX ACLs mean for permission bits, in the form of getxattr(2) and setxattr(2).
//!
//! An ACL and the permission bits of its inode say the same thing twice: the owner's and
//! the others' entries are the bits of user and others, the mask, or the group's entry where
//! there is none, is the bits of the group. Whoever changes one changes the other.

use crate::format::acl::{Tag, entries};

/// The name of the ACL that decides who may do what.
pub const ACCESS_ACL: &[u8] = b"system.posix_acl_access";
/// The name of the ACL that a directory hands down.
pub const DEFAULT_ACL: &[u8] = b"system.posix_acl_default";

const PERMISSIONS: u16 = 0o777;

/// What something new gets from its directory's default ACL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inherited {
    /// Its permission bits.
    pub permissions: u16,
    /// Its access ACL, unless the bits say everything.
    pub access_acl: Option<Vec<u8>>,
}

/// Works out what something new, asked for with these permission bits, gets from a default
/// ACL (which replaces the umask). `None` if that is no ACL.
pub fn inherit(default_acl: &[u8], permissions: u16) -> Option<Inherited> {
    let wanted = Bits::of(permissions);
    let mut acl = default_acl.to_vec();
    let has_mask = has_mask(&acl)?;
    for (tag, mut permission) in entries(&mut acl)? {
        let granted = match wanted.of_entry(tag, has_mask) {
            Some(wanted) => permission.get() & wanted,
            None => continue,
        };
        permission.set(granted);
    }
    let (bits, says_more) = permissions_of(&acl)?;
    Some(Inherited {
        permissions: permissions & !PERMISSIONS | bits,
        access_acl: says_more.then_some(acl),
    })
}

/// The permission bits an access ACL stands for, and whether it says more than they do.
/// `None` if it is no ACL.
pub(crate) fn permissions_of(acl: &[u8]) -> Option<(u16, bool)> {
    let mut copy = acl.to_vec();
    let has_mask = has_mask(acl)?;
    let mut bits = Bits::default();
    let mut says_more = has_mask;
    for (tag, permission) in entries(&mut copy)? {
        let permission = permission.get() & 0o7;
        match tag {
            Tag::Owner => bits.user = permission,
            Tag::Mask => bits.group = permission,
            Tag::OwningGroup if !has_mask => bits.group = permission,
            Tag::OwningGroup => {}
            Tag::Others => bits.others = permission,
            Tag::User | Tag::Group => says_more = true,
        }
    }
    Some((bits.user << 6 | bits.group << 3 | bits.others, says_more))
}

/// An access ACL as it becomes when the permission bits are set. `None` if it is none.
pub(crate) fn with_permissions(acl: &[u8], permissions: u16) -> Option<Vec<u8>> {
    let wanted = Bits::of(permissions);
    let mut acl = acl.to_vec();
    let has_mask = has_mask(&acl)?;
    for (tag, mut permission) in entries(&mut acl)? {
        if let Some(wanted) = wanted.of_entry(tag, has_mask) {
            permission.set(wanted);
        }
    }
    Some(acl)
}

fn has_mask(acl: &[u8]) -> Option<bool> {
    let mut copy = acl.to_vec();
    Some(entries(&mut copy)?.any(|(tag, _)| tag == Tag::Mask))
}

/// Three bits for each of three.
#[derive(Debug, Clone, Copy, Default)]
struct Bits {
    user: u16,
    group: u16,
    others: u16,
}

impl Bits {
    fn of(permissions: u16) -> Self {
        Self {
            user: permissions >> 6 & 0o7,
            group: permissions >> 3 & 0o7,
            others: permissions & 0o7,
        }
    }

    /// Those that an entry stands for.
    fn of_entry(self, tag: Tag, has_mask: bool) -> Option<u16> {
        match tag {
            Tag::Owner => Some(self.user),
            Tag::Mask => Some(self.group),
            Tag::OwningGroup if !has_mask => Some(self.group),
            Tag::Others => Some(self.others),
            Tag::OwningGroup | Tag::User | Tag::Group => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acl(entries: &[(u16, u16)]) -> Vec<u8> {
        let mut bytes = vec![2, 0, 0, 0];
        for (tag, permission) in entries {
            bytes.extend_from_slice(&tag.to_le_bytes());
            bytes.extend_from_slice(&permission.to_le_bytes());
            bytes.extend_from_slice(&[1, 0, 0, 0]);
        }
        bytes
    }

    #[test]
    fn three_entries_are_permission_bits() {
        let minimal = acl(&[(1, 7), (4, 5), (0x20, 1)]);
        assert_eq!(permissions_of(&minimal), Some((0o751, false)));
        let inherited = inherit(&minimal, 0o2666).expect("an ACL");
        assert_eq!(inherited.permissions, 0o2640);
        assert_eq!(inherited.access_acl, None);
    }

    #[test]
    fn the_mask_is_the_group_bits() {
        let extended = acl(&[(1, 7), (2, 7), (4, 5), (0x10, 7), (0x20, 0)]);
        assert_eq!(permissions_of(&extended), Some((0o770, true)));
        let changed = with_permissions(&extended, 0o641).expect("an ACL");
        let expected = acl(&[(1, 6), (2, 7), (4, 5), (0x10, 4), (0x20, 1)]);
        assert_eq!(changed, expected);
        let inherited = inherit(&extended, 0o644).expect("an ACL");
        assert_eq!(inherited.permissions, 0o640);
        let expected = acl(&[(1, 6), (2, 7), (4, 5), (0x10, 4), (0x20, 0)]);
        assert_eq!(inherited.access_acl, Some(expected));
    }

    #[test]
    fn what_is_no_acl_is_none() {
        for bytes in [
            &b""[..],
            &[1, 0, 0, 0],
            &[2, 0, 0, 0, 1],
            &[2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0],
        ] {
            assert_eq!(permissions_of(bytes), None, "{bytes:?}");
            assert_eq!(inherit(bytes, 0o644), None, "{bytes:?}");
        }
    }
}

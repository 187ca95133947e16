//! POSIX ACLs. On disk, version 1: entries of 4 bytes, or 8 where they name a
//! user or group. In the kernel's interface, version 2: 8 bytes each
//! (ext4 on-disk layout, "POSIX ACLs"; Linux uapi `posix_acl_xattr.h`).

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::error::{Error, ErrorKind, Result};

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawEntry {
    e_tag: U16,  // 0x0
    e_perm: U16, // 0x2
}

const DISK_VERSION: u32 = 1;
const KERNEL_VERSION: u32 = 2;
const TAG_USER_OBJ: u16 = 0x01;
const TAG_USER: u16 = 0x02;
const TAG_GROUP_OBJ: u16 = 0x04;
const TAG_GROUP: u16 = 0x08;
const TAG_MASK: u16 = 0x10;
const TAG_OTHER: u16 = 0x20;
const UNDEFINED_ID: u32 = u32::MAX;

/// Turns the disk's form of an ACL into the one getxattr(2) returns.
pub(crate) fn to_kernel_form(structure: &dyn std::fmt::Display, disk: &[u8]) -> Result<Vec<u8>> {
    let bad = |expected: &dyn std::fmt::Display, found: &dyn std::fmt::Display| {
        Error::corrupt(format!("ACL of {structure}"), None, expected, found)
    };
    let (version, mut left) =
        U32::ref_from_prefix(disk).map_err(|_| bad(&"a version in 4 bytes", &disk.len()))?;
    if version.get() != DISK_VERSION {
        return Err(bad(&format_args!("version {DISK_VERSION}"), &version));
    }
    let mut kernel = KERNEL_VERSION.to_le_bytes().to_vec();
    while !left.is_empty() {
        let (entry, rest) = RawEntry::ref_from_prefix(left)
            .map_err(|_| bad(&"an entry of 4 or 8 bytes", &left.len()))?;
        left = rest;
        let id = match entry.e_tag.get() {
            TAG_USER_OBJ | TAG_GROUP_OBJ | TAG_MASK | TAG_OTHER => UNDEFINED_ID,
            TAG_USER | TAG_GROUP => {
                let (id, rest) = U32::ref_from_prefix(left)
                    .map_err(|_| bad(&"a user or group in 4 bytes", &left.len()))?;
                left = rest;
                id.get()
            }
            tag => return Err(bad(&"a tag the format defines", &format_args!("{tag:#x}"))),
        };
        kernel.extend_from_slice(entry.as_bytes());
        kernel.extend_from_slice(&id.to_le_bytes());
    }
    Ok(kernel)
}

/// An entry in the kernel's interface.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct KernelEntry {
    e_tag: U16,  // 0x0
    e_perm: U16, // 0x2
    e_id: U32,   // 0x4
}

const PERMISSIONS: u16 = 0x7;

/// Turns the form setxattr(2) takes into the disk's.
///
/// # Errors
/// `InvalidInput` if it is not an ACL of version 2 with at least one entry.
pub fn to_disk_form(kernel: &[u8]) -> Result<Vec<u8>> {
    let bad = |what| Error::from(ErrorKind::InvalidInput(what));
    let (version, entries) =
        U32::ref_from_prefix(kernel).map_err(|_| bad("an ACL starts with a version in 4 bytes"))?;
    if version.get() != KERNEL_VERSION {
        return Err(bad("an ACL is of version 2"));
    }
    let entries = <[KernelEntry]>::ref_from_bytes(entries)
        .ok()
        .filter(|entries| !entries.is_empty())
        .ok_or_else(|| bad("an ACL has one or more entries of 8 bytes"))?;
    let mut disk = DISK_VERSION.to_le_bytes().to_vec();
    for entry in entries {
        if entry.e_perm.get() & !PERMISSIONS != 0 {
            return Err(bad("an ACL entry grants reading, writing and executing"));
        }
        disk.extend_from_slice(entry.e_tag.as_bytes());
        disk.extend_from_slice(entry.e_perm.as_bytes());
        match entry.e_tag.get() {
            TAG_USER_OBJ | TAG_GROUP_OBJ | TAG_MASK | TAG_OTHER => {}
            TAG_USER | TAG_GROUP => disk.extend_from_slice(entry.e_id.as_bytes()),
            _ => return Err(bad("an ACL entry has a tag that is defined")),
        }
    }
    Ok(disk)
}

/// Whom an entry speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tag {
    Owner,
    User,
    OwningGroup,
    Group,
    Mask,
    Others,
}

impl Tag {
    fn of(tag: u16) -> Option<Self> {
        Some(match tag {
            TAG_USER_OBJ => Self::Owner,
            TAG_USER => Self::User,
            TAG_GROUP_OBJ => Self::OwningGroup,
            TAG_GROUP => Self::Group,
            TAG_MASK => Self::Mask,
            TAG_OTHER => Self::Others,
            _ => return None,
        })
    }
}

/// What an entry grants, in its ACL.
pub(crate) struct Permission<'a>(&'a mut U16);

impl Permission<'_> {
    pub(crate) fn get(&self) -> u16 {
        self.0.get()
    }

    pub(crate) fn set(&mut self, permission: u16) {
        self.0.set(permission);
    }
}

/// The entries of an ACL in the form setxattr(2) takes; `None` if it is not one, or has an
/// entry of an unknown kind.
pub(crate) fn entries(
    kernel: &mut [u8],
) -> Option<impl Iterator<Item = (Tag, Permission<'_>)> + '_> {
    let (version, entries) = kernel.split_at_mut_checked(4)?;
    if *version != KERNEL_VERSION.to_le_bytes() {
        return None;
    }
    let entries = <[KernelEntry]>::mut_from_bytes(entries).ok()?;
    let all_known = entries
        .iter()
        .all(|entry| Tag::of(entry.e_tag.get()).is_some());
    if !all_known {
        return None;
    }
    Some(entries.iter_mut().filter_map(tagged))
}

fn tagged(entry: &mut KernelEntry) -> Option<(Tag, Permission<'_>)> {
    Some((Tag::of(entry.e_tag.get())?, Permission(&mut entry.e_perm)))
}

/// Whether an ACL in the form setxattr(2) takes is complete: the owner, users, the group,
/// groups, a mask if there are users or groups, and the others, in this order.
pub(crate) fn is_complete(kernel: &[u8]) -> bool {
    let Some(entries) = kernel
        .get(4..)
        .and_then(|entries| <[KernelEntry]>::ref_from_bytes(entries).ok())
    else {
        return false;
    };
    let (mut before, mut needs_mask) = (0, false);
    for entry in entries {
        let tag = entry.e_tag.get();
        let follows = match tag {
            TAG_USER_OBJ => before == 0,
            TAG_USER | TAG_GROUP_OBJ => matches!(before, TAG_USER_OBJ | TAG_USER),
            TAG_GROUP => matches!(before, TAG_GROUP_OBJ | TAG_GROUP),
            TAG_MASK => matches!(before, TAG_GROUP_OBJ | TAG_GROUP),
            TAG_OTHER => before == TAG_MASK || before == TAG_GROUP_OBJ && !needs_mask,
            _ => false,
        };
        let names_one = matches!(tag, TAG_USER | TAG_GROUP);
        if !follows || names_one && entry.e_id.get() == UNDEFINED_ID {
            return false;
        }
        needs_mask |= names_one;
        before = tag;
    }
    before == TAG_OTHER
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_added_where_the_disk_has_none() {
        let disk = [
            1, 0, 0, 0, // version
            1, 0, 6, 0, // the owner: rw-
            2, 0, 4, 0, 0xE8, 3, 0, 0, // user 1000: r--
            0x10, 0, 4, 0, // mask
        ];
        let kernel = to_kernel_form(&"test", &disk).unwrap();
        let expected = [
            2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 0xE8, 3, 0, 0, 0x10, 0, 4, 0,
            255, 255, 255, 255,
        ];
        assert_eq!(kernel, expected);
    }

    #[test]
    fn damaged_acls_are_refused() {
        for disk in [
            &[][..],
            &[2, 0, 0, 0],
            &[1, 0, 0, 0, 1, 0],
            &[1, 0, 0, 0, 2, 0, 4, 0, 1],
            &[1, 0, 0, 0, 3, 0, 4, 0],
        ] {
            assert!(to_kernel_form(&"test", disk).unwrap_err().is_corruption());
        }
    }

    #[test]
    fn the_two_forms_are_inverses() {
        let disk = [
            1, 0, 0, 0, 1, 0, 6, 0, 2, 0, 4, 0, 0xE8, 3, 0, 0, 4, 0, 5, 0, 8, 0, 7, 0, 1, 2, 3, 4,
            0x10, 0, 4, 0, 0x20, 0, 0, 0,
        ];
        let kernel = to_kernel_form(&"test", &disk).unwrap();
        assert_eq!(to_disk_form(&kernel).unwrap(), disk);
    }

    #[test]
    fn malformed_acls_are_not_written() {
        let entry = [1, 0, 6, 0, 255, 255, 255, 255];
        let with = |version: u8, entry: &[u8]| [&[version, 0, 0, 0], entry].concat();
        assert!(to_disk_form(&with(2, &entry)).is_ok());
        for kernel in [
            vec![],
            with(2, &[]),
            with(1, &entry),
            with(2, &entry[..7]),
            with(2, &[3, 0, 6, 0, 0, 0, 0, 0]),
            with(2, &[1, 0, 8, 0, 0, 0, 0, 0]),
        ] {
            assert!(to_disk_form(&kernel).is_err(), "{kernel:?}");
        }
    }

    #[test]
    fn complete_acls_name_everybody_in_order() {
        let acl = |tags: &[u16]| {
            let mut bytes = vec![2, 0, 0, 0];
            for tag in tags {
                bytes.extend_from_slice(&tag.to_le_bytes());
                bytes.extend_from_slice(&[4, 0, 1, 0, 0, 0]);
            }
            bytes
        };
        for tags in [
            &[1, 4, 0x20][..],
            &[1, 4, 0x10, 0x20],
            &[1, 2, 2, 4, 8, 8, 0x10, 0x20],
            &[1, 4, 8, 0x10, 0x20],
        ] {
            assert!(is_complete(&acl(tags)), "{tags:?}");
        }
        for tags in [
            &[][..],
            &[1],
            &[1, 4],
            &[1, 0x20],
            &[4, 1, 0x20],
            &[1, 2, 4, 0x20],
            &[1, 4, 8, 0x20],
            &[1, 1, 4, 0x20],
            &[1, 4, 4, 0x20],
            &[1, 4, 0x20, 0x20],
            &[1, 4, 2, 0x10, 0x20],
            &[1, 4, 0x10, 0x10, 0x20],
        ] {
            assert!(!is_complete(&acl(tags)), "{tags:?}");
        }
        let mut nobody = acl(&[1, 2, 4, 0x10, 0x20]);
        nobody[16..20].fill(255);
        assert!(!is_complete(&nobody));
        assert!(!is_complete(&[2, 0, 0]));
    }
}

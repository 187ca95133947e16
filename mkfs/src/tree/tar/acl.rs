//! POSIX ACLs as text (`SCHILY.acl.access`, `SCHILY.acl.default`), and in the
//! form Linux takes them as attributes.
//!
//! GNU tar writes the text of acl_to_text(3), with names where the host that made
//! the archive knew them, whatever --numeric-owner says; star and bsdtar add the
//! number behind a name ("user:lisa:rwx:1000"). Names without numbers are refused:
//! the users of the host that runs mkfs are not those of the archive.

use super::Parsed;

/// One entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    tag: Tag,
    /// The user or group, for `Tag::User` and `Tag::Group`.
    id: u32,
    /// Read 4, write 2, execute 1.
    permissions: u16,
}

/// What an entry is about, with the numbers and in the order of
/// include/uapi/linux/posix_acl.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u16)]
enum Tag {
    UserObject = 0x01,
    User = 0x02,
    GroupObject = 0x04,
    Group = 0x08,
    Mask = 0x10,
    Other = 0x20,
}

/// The id of entries that have none (ACL_UNDEFINED_ID).
const NO_ID: u32 = u32::MAX;
/// Version of the attribute's form (include/uapi/linux/posix_acl_xattr.h).
const XATTR_VERSION: u32 = 2;

/// Reads the text; nothing for an empty one. The entries are sorted as Linux
/// demands and make a valid ACL.
///
/// # Errors
/// What is wrong with it, as half a sentence.
pub(super) fn parse(text: &[u8]) -> Parsed<Option<Vec<Entry>>> {
    let mut entries = Vec::new();
    for line in text.split(|&byte| byte == b',' || byte == b'\n') {
        let line = line.split(|&byte| byte == b'#').next().unwrap_or_default();
        let line = line.trim_ascii();
        if !line.is_empty() {
            entries.push(entry(line)?);
        }
    }
    if entries.is_empty() {
        return Ok(None);
    }
    entries.sort_unstable();
    validate(&entries)?;
    Ok(Some(entries))
}

fn entry(line: &[u8]) -> Parsed<Entry> {
    let malformed = || format!("the ACL entry {} makes no sense", line.escape_ascii());
    let parts = line.strip_prefix(b"default:").unwrap_or(line);
    let mut parts = parts.split(|&byte| byte == b':').map(<[u8]>::trim_ascii);
    let (kind, name) = (parts.next().unwrap_or_default(), parts.next());
    let (name, permissions) = match (kind, name, parts.next()) {
        (_, Some(name), Some(permissions)) => (name, permissions),
        // "mask:rwx" and "other:rwx": a form that leaves the empty name out.
        (b"m" | b"mask" | b"o" | b"other", Some(permissions), None) => (&b""[..], permissions),
        _ => return Err(malformed()),
    };
    let number = parts.next();
    if parts.next().is_some() {
        return Err(malformed());
    }
    let (tag, is_named) = match (kind, name.is_empty()) {
        (b"u" | b"user", true) => (Tag::UserObject, false),
        (b"u" | b"user", false) => (Tag::User, true),
        (b"g" | b"group", true) => (Tag::GroupObject, false),
        (b"g" | b"group", false) => (Tag::Group, true),
        (b"m" | b"mask", true) => (Tag::Mask, false),
        (b"o" | b"other", true) => (Tag::Other, false),
        _ => return Err(malformed()),
    };
    let id = match is_named {
        false => NO_ID,
        true => id(number.unwrap_or(name)).ok_or_else(|| {
            format!(
                "the ACL entry {} names a user or group without its number: make the archive with \
                 --xattrs --xattrs-include='system.*', which keeps the numbers",
                line.escape_ascii()
            )
        })?,
    };
    Ok(Entry {
        tag,
        id,
        permissions: self::permissions(permissions).ok_or_else(malformed)?,
    })
}

fn id(text: &[u8]) -> Option<u32> {
    let number = super::pax::unsigned(text)?;
    u32::try_from(number).ok().filter(|&id| id != NO_ID)
}

fn permissions(text: &[u8]) -> Option<u16> {
    text.iter().try_fold(0, |permissions, byte| {
        let bit = match byte {
            b'r' => 4,
            b'w' => 2,
            b'x' => 1,
            b'-' => 0,
            _ => return None,
        };
        Some(permissions | bit)
    })
}

/// The rules of Linux (posix_acl_valid): one entry each for the owner, the group
/// and others, at most one mask, which named entries need; no name twice.
fn validate(entries: &[Entry]) -> Parsed<()> {
    let count = |tag| entries.iter().filter(|entry| entry.tag == tag).count();
    let named = count(Tag::User) + count(Tag::Group);
    let objects = [Tag::UserObject, Tag::GroupObject, Tag::Other];
    let twice = entries
        .windows(2)
        .any(|pair| matches!(pair, [a, b] if (a.tag, a.id) == (b.tag, b.id)));
    if objects.iter().any(|&tag| count(tag) != 1) {
        Err("an ACL lacks an entry for the owner, the group or others".to_owned())
    } else if twice {
        Err("an ACL has two entries for the same user or group".to_owned())
    } else if named > 0 && count(Tag::Mask) == 0 {
        Err("an ACL has named entries but no mask".to_owned())
    } else {
        Ok(())
    }
}

/// The permission bits the access ACL stands for: with a mask, the group's bits of
/// the mode show the mask.
pub(super) fn mode_bits(entries: &[Entry]) -> u16 {
    let bits = |tag| {
        let entry = entries.iter().find(|entry| entry.tag == tag);
        entry.map(|entry| entry.permissions)
    };
    let group = bits(Tag::Mask).or(bits(Tag::GroupObject)).unwrap_or(0);
    bits(Tag::UserObject).unwrap_or(0) << 6 | group << 3 | bits(Tag::Other).unwrap_or(0)
}

/// True if the access ACL says no more than the mode does: Linux then keeps none.
pub(super) fn is_minimal(entries: &[Entry]) -> bool {
    entries.len() == 3
}

/// The value of `system.posix_acl_access` or `system.posix_acl_default`: a
/// version, then tag, permissions and id of each entry, little-endian.
pub(super) fn encode(entries: &[Entry]) -> Vec<u8> {
    let mut value = XATTR_VERSION.to_le_bytes().to_vec();
    for entry in entries {
        value.extend((entry.tag as u16).to_le_bytes());
        value.extend(entry.permissions.to_le_bytes());
        value.extend(entry.id.to_le_bytes());
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_gnu_tar_star_and_bsdtar_mean_the_same() {
        let gnu = parse(b"user::rw-\nuser:1000:r--\ngroup::r--\nmask::r--\nother::---\n");
        let star = parse(b"user::rw-,user:lisa:r--:1000,group::r--,mask::r--,other::---");
        let short = parse(b"o:-,g::r, m:r ,u:1000:r--\t#effective:r--\nu::rw");
        let entries = gnu.expect("valid").expect("not empty");
        assert_eq!(star.expect("valid").as_ref(), Some(&entries));
        assert_eq!(short.expect("valid").as_ref(), Some(&entries));
        assert_eq!(mode_bits(&entries), 0o640);
        assert!(!is_minimal(&entries));
        assert_eq!(encode(&entries).len(), 4 + 5 * 8);
        assert_eq!(parse(b"\n"), Ok(None));
    }

    #[test]
    fn what_the_kernel_would_refuse_is_refused() {
        for text in [
            "user::rw-,group::r--",
            "user::rw-,group::r--,other::r--,other::r--",
            "user::rw-,user:1:r--,group::r--,other::r--",
            "user::rw-,user:1:r--,user:1:rw-,group::r--,mask::r--,other::r--",
            "user::rwz,group::r--,other::r--",
            "user::rw-,group::r--,other:5:r--",
            "user::rw-,group::r--,other::r--,everyone::r--",
            "user::rw-,user:4294967295:r--,group::r--,mask::r--,other::r--",
            "user",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
        let named = parse(b"user::rw-,user:root:r--,group::r--,mask::r--,other::r--");
        assert!(named.expect_err("a name").contains("--xattrs-include"));
    }
}

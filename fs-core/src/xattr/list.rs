//! Attributes as lists that are changed and then written whole: nothing is moved within
//! an area, so no gap ever has to be closed.

use std::borrow::Cow;
use std::fmt::Display;

use crate::error::{Error, Result};
use crate::format::inode::Inode;
use crate::format::inode_edit::InodeEdit;
use crate::format::xattr::{self, Entry, INDEX_SYSTEM, Value, entry_hash};
use crate::format::xattr_encode::{NewValue, NewXattr, encode_inode_area, inode_room};

/// Name, behind "system.", of the attribute that holds inline data.
const INLINE_DATA: &[u8] = b"data";

/// The attributes in the tail of an inode.
///
/// # Errors
/// `Corrupt`.
pub(crate) fn of_inode(inode: &Inode) -> Result<Vec<NewXattr<'_>>> {
    let structure = format_args!("inode {}", inode.number());
    let entries = xattr::inode_entries(&structure, inode.xattr_area())?;
    of_entries(&structure, &entries, inode_room(inode.xattr_area().len()))
}

/// What was read, to be written. Entries that need more room than there is use bytes twice.
pub(super) fn of_entries<'a>(
    structure: &dyn Display,
    entries: &[Entry<'a>],
    room: usize,
) -> Result<Vec<NewXattr<'a>>> {
    let xattrs = entries.iter().map(|entry| NewXattr {
        index: entry.index,
        name: Cow::Borrowed(entry.name),
        value: match entry.value {
            Value::Here(bytes) => NewValue::Here(Cow::Borrowed(bytes)),
            Value::InInode {
                inode,
                size_bytes,
                hash,
            } => NewValue::InInode {
                inode,
                size_bytes,
                // The entry's hash is the name's combined with the value's: written again it
                // is what it was, whoever made it.
                hash: hash ^ entry_hash(entry.name, 0, false),
            },
        },
    });
    let list: Vec<NewXattr<'a>> = xattrs.collect();
    let needed = room_bytes(&list);
    if needed > room {
        let expected = format_args!("attributes of at most {room} bytes");
        return Err(Error::corrupt(structure, None, expected, needed));
    }
    Ok(list)
}

/// The attribute that holds inline data, with this value.
pub(crate) fn inline_data(value: &[u8]) -> NewXattr<'_> {
    NewXattr {
        index: INDEX_SYSTEM,
        name: Cow::Borrowed(INLINE_DATA),
        value: NewValue::Here(Cow::Borrowed(value)),
    }
}

/// Whether an attribute holds inline data.
pub(crate) fn is_inline_data(xattr: &NewXattr<'_>) -> bool {
    xattr.index == INDEX_SYSTEM && *xattr.name == *INLINE_DATA
}

/// Bytes a list takes of its area's room.
pub(crate) fn room_bytes(list: &[NewXattr<'_>]) -> usize {
    list.iter().map(NewXattr::room_bytes).sum()
}

/// Writes the tail of an inode.
///
/// # Errors
/// `Corrupt`, `InvalidInput` if the list does not fit.
pub(crate) fn write(edit: &mut InodeEdit<'_>, list: &[NewXattr<'_>]) -> Result<()> {
    if list.is_empty() {
        edit.xattr_area_mut().fill(0);
        return Ok(());
    }
    edit.ensure_extra();
    let area = edit.xattr_area_mut();
    let len = area.len();
    let bytes = encode_inode_area(list, len)?;
    if bytes.len() != len {
        let expected = format_args!("{len} bytes");
        return Err(Error::corrupt("inode's tail", None, expected, bytes.len()));
    }
    area.copy_from_slice(&bytes);
    Ok(())
}

//! Finding attributes.

use crate::error::{ErrorKind, Result};
use crate::format::acl;
use crate::format::inode::Inode;
use crate::format::xattr::{self, Entry, Value};
use crate::store::Store;
use crate::types::InodeNumber;
use crate::xattr::{block, ea_inode};

/// Longest name of an attribute Linux takes (XATTR_NAME_MAX).
pub(super) const NAME_BYTES_MAX: usize = 255;

/// Visits all entries until one yields something.
fn find_map<T>(
    store: &Store,
    inode: &Inode,
    mut visit: impl FnMut(&Entry<'_>) -> Option<T>,
) -> Result<Option<T>> {
    let owner = inode.number();
    let structure = format_args!("inode {owner}");
    for entry in xattr::inode_entries(&structure, inode.xattr_area())? {
        if let Some(found) = visit(&entry) {
            return Ok(Some(found));
        }
    }
    let Some((number, block)) = block::read(store, inode)? else {
        return Ok(None);
    };
    let structure = format_args!("xattr block of inode {owner}");
    Ok(xattr::block_entries(&structure, number, block.bytes())?
        .iter()
        .find_map(visit))
}

/// A value as it was found: bytes, or the EA inode that holds them.
enum Found {
    Bytes(Vec<u8>),
    InInode(InodeNumber, u32, u32),
}

/// The value of the attribute with this full name; ACLs in the kernel's form.
///
/// # Errors
/// `NoAttribute` if there is none, `NameTooLong`, `Corrupt`.
pub(crate) fn get(store: &Store, inode: &Inode, name: &[u8]) -> Result<Vec<u8>> {
    if name.len() > NAME_BYTES_MAX {
        return Err(ErrorKind::NameTooLong.into());
    }
    let (index, rest) = xattr::split_name(name).ok_or(ErrorKind::NoAttribute)?;
    let found = find_map(store, inode, |entry| {
        (entry.index == index && entry.name == rest).then(|| match entry.value {
            Value::Here(bytes) => Found::Bytes(bytes.to_vec()),
            Value::InInode {
                inode,
                size_bytes,
                hash,
            } => Found::InInode(inode, size_bytes, hash),
        })
    })?;
    let value = match found.ok_or(ErrorKind::NoAttribute)? {
        Found::Bytes(bytes) => bytes,
        Found::InInode(holder, size_bytes, hash) => {
            ea_inode::read(store, inode, rest, holder, size_bytes, hash)?
        }
    };
    match index {
        xattr::INDEX_ACL_ACCESS | xattr::INDEX_ACL_DEFAULT => {
            acl::to_kernel_form(&format_args!("inode {}", inode.number()), &value)
        }
        _ => Ok(value),
    }
}

/// All full names users see, in disk order.
pub(crate) fn names(store: &Store, inode: &Inode) -> Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    find_map(store, inode, |entry| {
        names.extend(xattr::full_name(entry.index, entry.name));
        None::<()>
    })?;
    Ok(names)
}

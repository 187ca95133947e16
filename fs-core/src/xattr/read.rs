//! Extended attributes of an inode, wherever they lie: in its tail, in a block
//! of their own, their values in EA inodes.

use crate::cache::{Role, RoleKind};
use crate::error::{Error, ErrorKind, Result};
use crate::file;
use crate::format::acl;
use crate::format::checksum::crc32c_raw;
use crate::format::features::IncompatFeatures;
use crate::format::inode::Inode;
use crate::format::inode_flags::InodeFlags;
use crate::format::xattr::{self, Entry, Value};
use crate::store::Store;
use crate::types::InodeNumber;

/// Longest name of an attribute Linux takes (XATTR_NAME_MAX).
const NAME_BYTES_MAX: usize = 255;

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
    let Some(number) = inode.xattr_block() else {
        return Ok(None);
    };
    let structure = format_args!("xattr block of inode {owner}");
    if !store.superblock.contains(number) {
        return Err(Error::corrupt(
            structure,
            None,
            format_args!("a block below {}", store.superblock.blocks_count),
            number,
        ));
    }
    // Inodes share these blocks, and the checksum is the volume's.
    let role = Role::of_volume(RoleKind::Xattrs);
    let block = store.cache.get(number, role, |bytes| {
        xattr::check_block(&structure, number, bytes, store.checksum_seed())
    })?;
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
            read_ea_inode(store, inode, rest, holder, size_bytes, hash)?
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

/// Reads a value of `size_bytes` from the inode `holder`, and checks that it
/// is the one meant.
fn read_ea_inode(
    store: &Store,
    owner: &Inode,
    name: &[u8],
    holder: InodeNumber,
    size_bytes: u32,
    entry_hash: u32,
) -> Result<Vec<u8>> {
    let structure = format!(
        "EA inode {holder} of xattr \"{}\" of inode {}",
        name.escape_ascii(),
        owner.number()
    );
    let bad = |expected: String, found: String| Error::corrupt(&structure, None, expected, found);
    if !store.superblock.has_incompat(IncompatFeatures::EA_INODE) {
        return Err(bad("the feature ea_inode".into(), "none".into()));
    }
    let inode = store.inode(holder).map_err(|error| match error.kind() {
        ErrorKind::Stale => bad("an inode in use".into(), "a free one".into()),
        _ => error,
    })?;
    if !inode.flags().contains(InodeFlags::EA_INODE) {
        let found = format!("{:#x}", inode.flags().bits());
        return Err(bad("the flag EA_INODE".into(), found));
    }
    if inode.size_bytes() != u64::from(size_bytes) {
        return Err(bad(
            format!("{size_bytes} bytes"),
            inode.size_bytes().to_string(),
        ));
    }
    let mut value = vec![0; size_bytes as usize];
    file::read(store, &inode, &mut value, 0)?;
    check_hash(store, owner, &inode, name, &value, entry_hash)
        .map_err(|(expected, found)| Error::bad_checksum(&structure, None, expected, found))?;
    Ok(value)
}

/// An EA inode keeps its value's CRC-32C in the seconds of its access time.
/// The inodes of Lustre's older scheme point back to their owner instead.
fn check_hash(
    store: &Store,
    owner: &Inode,
    holder: &Inode,
    name: &[u8],
    value: &[u8],
    entry_hash: u32,
) -> std::result::Result<(), (u32, u32)> {
    let stored = (holder.accessed().seconds & 0xFFFF_FFFF) as u32;
    let computed = crc32c_raw(store.superblock.checksum_seed, value);
    if computed == stored {
        let hashes = [false, true].map(|signed| xattr::entry_hash(name, computed, signed));
        let [unsigned, _] = hashes;
        return if hashes.contains(&entry_hash) {
            Ok(())
        } else {
            Err((unsigned, entry_hash))
        };
    }
    let points_back = holder.modified().seconds == i64::from(owner.number().0)
        && holder.generation() == owner.generation();
    if points_back {
        Ok(())
    } else {
        Err((computed, stored))
    }
}

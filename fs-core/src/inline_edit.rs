//! Content moved into the inode and out of it: the first 60 bytes in `i_block`, the rest
//! in the attribute `system.data`, which never leaves the inode (ext4 on-disk layout,
//! "Inline Data").
//!
//! The size is the caller's: who changes content knows it better.

use crate::change::Change;
use crate::error::{Error, Result};
use crate::format::features::IncompatFeatures;
use crate::format::inode::Inode;
use crate::format::inode_flags::InodeFlags;
use crate::format::xattr_encode::inode_room;
use crate::inline;
use crate::mapping;
use crate::store::Store;
use crate::types::{FileBlock, InodeNumber};
use crate::xattr::list;

/// Bytes of `i_block`.
const AREA_BYTES: usize = 60;

/// How many bytes of content the inode could hold beside its attributes as they are,
/// whatever its content is now; 0 if it can hold none.
pub(crate) fn inline_capacity(store: &Store, inode: &Inode) -> usize {
    match capacity(store, inode) {
        Ok(Some(bytes)) => bytes,
        Ok(None) | Err(_) => 0,
    }
}

/// `None` where not even an empty file can be inline.
fn capacity(store: &Store, inode: &Inode) -> Result<Option<usize>> {
    let superblock = &store.superblock;
    if !superblock.has_incompat(IncompatFeatures::INLINE_DATA) {
        return Ok(None);
    }
    let mut kept = list::of_inode(inode)?;
    kept.retain(|xattr| !list::is_inline_data(xattr));
    // Linux wants the attribute even if 60 bytes suffice.
    kept.push(list::inline_data(&[]));
    let room = inode_room(inode.xattr_area_bytes(superblock));
    let left = room.checked_sub(list::room_bytes(&kept));
    // Values are padded to multiples of 4.
    Ok(left.map(|left| AREA_BYTES + (left & !3)))
}

/// Makes `content` the inode's inline content, whatever it was: `i_block` and the attribute
/// are written, the flag INLINE_DATA is set and EXTENTS cleared. The inode must have no
/// blocks mapped. False, and nothing is changed, if it does not fit.
///
/// # Errors
/// `Corrupt` if the inode's attributes are damaged.
pub(crate) fn set_inline(
    change: &mut Change<'_>,
    number: InodeNumber,
    content: &[u8],
) -> Result<bool> {
    let inode = change.inode(number)?;
    let capacity = capacity(change.store(), &inode)?;
    if capacity.is_none_or(|capacity| content.len() > capacity) {
        return Ok(false);
    }
    let (first, more) = content
        .split_at_checked(AREA_BYTES)
        .unwrap_or((content, &[]));
    let mut xattrs = list::of_inode(&inode)?;
    xattrs.retain(|xattr| !list::is_inline_data(xattr));
    xattrs.push(list::inline_data(more));
    let mut flags = inode.flags();
    flags.remove(InodeFlags::EXTENTS);
    flags.insert(InodeFlags::INLINE_DATA);
    change.edit_inode(number, |edit| {
        edit.set_flags(flags)?;
        let area = edit.block_area_mut()?;
        area.fill(0);
        area.iter_mut()
            .zip(first)
            .for_each(|(to, from)| *to = *from);
        list::write(edit, &xattrs)
    })?;
    Ok(true)
}

/// Takes the inline content out of the inode and returns it, cut to the inode's size; the
/// inode has an empty block map then, of the kind the volume has.
///
/// # Errors
/// `Corrupt` if the inode's attributes are damaged or it has no inline content.
pub(crate) fn clear_inline(change: &mut Change<'_>, number: InodeNumber) -> Result<Vec<u8>> {
    let inode = change.inode(number)?;
    if !inode.has_inline_data() {
        let found = format_args!("{:#x}", inode.flags().bits());
        let structure = format_args!("flags of inode {number}");
        return Err(Error::corrupt(structure, None, "INLINE_DATA", found));
    }
    change.announce_mapping(&inode, FileBlock(0)..FileBlock(mapping::FILE_BLOCKS_MAX));
    let content = inline::content(&inode)?;
    let mut xattrs = list::of_inode(&inode)?;
    xattrs.retain(|xattr| !list::is_inline_data(xattr));
    let has_extents = change
        .store()
        .superblock
        .has_incompat(IncompatFeatures::EXTENTS);
    let mut flags = inode.flags();
    flags.remove(InodeFlags::INLINE_DATA);
    flags.set(InodeFlags::EXTENTS, has_extents);
    let empty = mapping::empty_map(&change.store().superblock, flags);
    change.edit_inode(number, |edit| {
        edit.set_flags(flags)?;
        *edit.block_area_mut()? = empty;
        list::write(edit, &xattrs)
    })?;
    Ok(content)
}

#[cfg(test)]
mod tests;

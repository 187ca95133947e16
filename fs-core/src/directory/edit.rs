//! Changing directories, whatever their form: the interface for who changes names.
//!
//! The caller holds the directory's lock exclusively. Changed are records, the directory's
//! size, its blocks and its flag INDEX; times, numbers of links and what the names name are
//! the caller's. A failure ends the change: what was done is taken back with it.

use crate::change::Change;
use crate::directory::{
    NAME_BYTES_MAX, append, blocks, check_is_listable, hash_edit, inline_edit, is_casefolded,
    is_hashed, leaf, linear_edit, list_in_place,
};
use crate::error::{ErrorKind, Result};
use crate::format::directory_records::{self as records, Record};
use crate::format::features::{CompatFeatures, IncompatFeatures};
use crate::format::inode::Inode;
use crate::format::inode_flags::InodeFlags;
use crate::mapping;
use crate::store::Store;
use crate::types::{FileBlock, FileType, InodeNumber};
use std::ops::ControlFlow;

/// Blocks of an extent tree or of indirect blocks that appending to a file may change: a
/// way down of five levels, and as many new ones.
const MAPPING_CREDITS: usize = 10;
/// Bitmap and descriptors of a group or two, and the superblock.
const SPACE_CREDITS: usize = 6;

/// Blocks one [`add`], [`remove`] or [`replace`] may change at most.
pub(crate) fn credits(store: &Store) -> usize {
    // The inode and the block that is changed.
    let own = 2;
    let index = if store.superblock.has_compat(CompatFeatures::DIR_INDEX) {
        // The way down, an index block and its half at two levels, another leaf.
        3 + 2 + 1
    } else {
        1
    };
    own + index + MAPPING_CREDITS + SPACE_CREDITS
}

/// Makes a new directory inode an empty directory. It has no blocks yet and the flags it
/// shall have; with INLINE_DATA it stays in the inode if that has room.
pub(crate) fn initialise(
    change: &mut Change<'_>,
    directory: InodeNumber,
    parent: InodeNumber,
) -> Result<()> {
    let store = change.store();
    let inode = change.inode(directory)?;
    check_is_changeable(store, &inode)?;
    if inode.has_inline_data() {
        if inline_edit::initialise(change, directory, parent)? {
            return Ok(());
        }
        let has_extents = store.superblock.has_incompat(IncompatFeatures::EXTENTS);
        let mut flags = inode.flags().difference(InodeFlags::INLINE_DATA);
        flags.set(InodeFlags::EXTENTS, has_extents);
        let map = mapping::empty_map(&store.superblock, flags);
        change.edit_inode(directory, |edit| {
            edit.set_flags(flags)?;
            *edit.block_area_mut()? = map;
            Ok(())
        })?;
    }
    let has_types = store.superblock.has_incompat(IncompatFeatures::FILETYPE);
    let own = inline_edit::own(directory, parent, has_types);
    let bytes = leaf::packed(store, &inode, FileBlock(0), own)?;
    let role = blocks::role(&inode, FileBlock(0));
    append::append(change, directory, role, bytes)?;
    Ok(())
}

/// Adds a name.
///
/// # Errors
/// `Exists`; `NoSpace`, also if the index can have no more names; `InvalidInput`,
/// `NameTooLong`; `NotSupported` and `Encrypted` for directories whose names this program
/// cannot make.
pub(crate) fn add(
    change: &mut Change<'_>,
    directory: InodeNumber,
    name: &[u8],
    target: InodeNumber,
    file_type: FileType,
) -> Result<()> {
    let store = change.store();
    let inode = change.inode(directory)?;
    check_is_changeable(store, &inode)?;
    check_name(name)?;
    let record = record(store, name, target, file_type)?;
    if inode.has_inline_data() {
        inline_edit::add(change, directory, &record)
    } else if is_hashed(store, &inode) {
        hash_edit::add(change, directory, &record)
    } else {
        linear_edit::add(change, directory, &record)
    }
}

/// Removes a name; returns what it named.
///
/// # Errors
/// `NotFound`; otherwise those of [`add`] that are not about room; `NotEmpty` for "..", as
/// Linux.
pub(crate) fn remove(
    change: &mut Change<'_>,
    directory: InodeNumber,
    name: &[u8],
) -> Result<InodeNumber> {
    let store = change.store();
    let inode = change.inode(directory)?;
    check_is_changeable(store, &inode)?;
    if name == b".." {
        return Err(ErrorKind::NotEmpty.into());
    }
    check_name(name)?;
    if inode.has_inline_data() {
        return inline_edit::remove(change, directory, name);
    }
    let (block, found) = find(store, &inode, name)?;
    leaf::edit(change, &inode, block, found.range(), |area| {
        records::remove(area, &found)
    })?;
    Ok(found.inode)
}

/// Makes a name that is there, also "..", name another inode; returns the old one.
///
/// # Errors
/// `NotFound`; otherwise those of [`remove`].
pub(crate) fn replace(
    change: &mut Change<'_>,
    directory: InodeNumber,
    name: &[u8],
    target: InodeNumber,
    file_type: FileType,
) -> Result<InodeNumber> {
    let store = change.store();
    let inode = change.inode(directory)?;
    check_is_changeable(store, &inode)?;
    if name != b".." {
        check_name(name)?;
    }
    let record = record(store, name, target, file_type)?;
    if inode.has_inline_data() {
        return inline_edit::replace(change, directory, &record);
    }
    if name == b".." && is_hashed(store, &inode) {
        return hash_edit::replace_parent(change, &inode, target, record.file_type);
    }
    let (block, found) = find(store, &inode, name)?;
    leaf::edit(change, &inode, block, found.range(), |area| {
        records::retarget(area, found.at, record.inode, record.file_type)
    })?;
    Ok(found.inode)
}

/// True if there are no names but "." and "..".
///
/// # Errors
/// `NotADirectory`, `Corrupt`.
pub(crate) fn is_empty(store: &Store, directory: &Inode) -> Result<bool> {
    check_is_listable(directory)?;
    // All blocks are looked at: what an index does not show may be there all the same.
    let found = list_in_place(store, directory, 0, &mut |entry| match entry.name {
        b"." | b".." => ControlFlow::Continue(()),
        _ => ControlFlow::Break(()),
    })?;
    Ok(found.is_continue())
}

fn find(store: &Store, directory: &Inode, name: &[u8]) -> Result<(FileBlock, records::Found)> {
    if is_hashed(store, directory) {
        hash_edit::find(store, directory, name)
    } else {
        linear_edit::find(store, directory, name)
    }
}

fn check_is_changeable(store: &Store, directory: &Inode) -> Result<()> {
    check_is_listable(directory)?;
    if is_casefolded(store, directory) {
        return Err(ErrorKind::NotSupported("changing a casefolded directory").into());
    }
    Ok(())
}

fn check_name(name: &[u8]) -> Result<()> {
    if name.len() > NAME_BYTES_MAX {
        return Err(ErrorKind::NameTooLong.into());
    }
    if matches!(name, b"" | b"." | b"..") || name.contains(&b'/') || name.contains(&0) {
        return Err(ErrorKind::InvalidInput("not a name for a file").into());
    }
    Ok(())
}

fn record<'a>(
    store: &Store,
    name: &'a [u8],
    target: InodeNumber,
    file_type: FileType,
) -> Result<Record<'a>> {
    if target.0 == 0 || target.0 > store.superblock.inodes_count {
        return Err(ErrorKind::InvalidInput("there is no such inode").into());
    }
    let has_types = store.superblock.has_incompat(IncompatFeatures::FILETYPE);
    Ok(Record {
        name,
        inode: target,
        file_type: if has_types {
            file_type.dirent_code()
        } else {
            0
        },
    })
}

//! Changing directories without an index: all blocks are searched, the first room is taken.

use crate::change::Change;
use crate::directory::{append, blocks, hash_split, is_hashed, leaf};
use crate::error::{ErrorKind, Result};
use crate::format::directory_records::{self as records, Found, Record, Scan};
use crate::format::features::CompatFeatures;
use crate::format::inode::Inode;
use crate::format::inode_flags::InodeFlags;
use crate::store::Store;
use crate::types::{FileBlock, InodeNumber};

/// Adds a name.
pub(super) fn add(change: &mut Change<'_>, number: InodeNumber, record: &Record<'_>) -> Result<()> {
    let store = change.store();
    let directory = change.inode(number)?;
    let count = blocks::count(store, &directory)?;
    let mut room = None;
    for block in (0..count).map(FileBlock) {
        let scan = scan(store, &directory, block, record.name)?;
        if scan.found.is_some() {
            return Err(ErrorKind::Exists.into());
        }
        room = room.or(scan.room.map(|at| (block, at)));
    }
    if let Some((block, at)) = room {
        leaf::edit(change, &directory, block, record.room_from(at), |area| {
            records::insert(area, at, record)
        })?;
    } else if count == 1 && can_be_hashed(store) {
        return hash_split::convert(change, number, record);
    } else {
        let block = append::next(store, &directory)?;
        let bytes = leaf::packed(store, &directory, block, [*record])?;
        append::append(change, number, blocks::role(&directory, block), bytes)?;
    }
    // Without the feature nobody reads the index: what was in it may be overwritten now.
    if directory.flags().contains(InodeFlags::INDEX) {
        let flags = directory.flags().difference(InodeFlags::INDEX);
        change.edit_inode(number, |edit| edit.set_flags(flags))?;
    }
    Ok(())
}

/// Whether directories get an index when they outgrow a block.
pub(super) fn can_be_hashed(store: &Store) -> bool {
    store.superblock.has_compat(CompatFeatures::DIR_INDEX)
        && crate::encode::name_hasher(&store.superblock).is_some()
}

fn scan(store: &Store, directory: &Inode, block: FileBlock, name: &[u8]) -> Result<Scan> {
    let loaded = blocks::load(store, directory, block)?;
    let area = blocks::records(store, directory, block, loaded.bytes());
    Ok(records::scan(area, name))
}

/// Finds a name by looking at all blocks.
///
/// # Errors
/// `NotFound`.
pub(super) fn find(store: &Store, directory: &Inode, name: &[u8]) -> Result<(FileBlock, Found)> {
    for block in (0..blocks::count(store, directory)?).map(FileBlock) {
        if let Some(found) = scan(store, directory, block, name)?.found {
            if block.0 == 0 && name != b".." && is_hashed(store, directory) {
                return Err(blocks::damaged(directory, block, "no names in the index"));
            }
            return Ok((block, found));
        }
    }
    Err(ErrorKind::NotFound.into())
}

/// What `name` names.
pub(super) fn lookup(store: &Store, directory: &Inode, name: &[u8]) -> Result<Option<InodeNumber>> {
    for block in (0..blocks::count(store, directory)?).map(FileBlock) {
        let loaded = blocks::load(store, directory, block)?;
        let area = blocks::records(store, directory, block, loaded.bytes());
        if let Some(inode) = records::find(area, name) {
            return Ok(Some(inode));
        }
    }
    Ok(None)
}

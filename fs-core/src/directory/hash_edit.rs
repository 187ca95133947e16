//! Changing hashed directories: a name goes into the leaf its hash leads to.

use crate::change::Change;
use crate::directory::hashed::{self, Tree};
use crate::directory::{blocks, hash_split, leaf, linear_edit};
use crate::error::{ErrorKind, Result};
use crate::format::directory_records::{self as records, Found, Record};
use crate::format::htree::{self, Kind};
use crate::format::inode::Inode;
use crate::store::Store;
use crate::types::{FileBlock, InodeNumber};

/// Adds a name.
pub(super) fn add(change: &mut Change<'_>, number: InodeNumber, record: &Record<'_>) -> Result<()> {
    let store = change.store();
    let directory = change.inode(number)?;
    let Some(mut tree) = Tree::open(store, &directory)? else {
        let why = "the hash of this directory's names cannot be computed";
        return Err(ErrorKind::NotSupported(why).into());
    };
    let hash = tree.hasher().hash(record.name);
    let block = tree.seek(hash)?;
    let bytes = tree.leaf(block)?;
    let area = tree.area(&bytes);
    let scan = records::scan(area, record.name);
    if scan.found.is_some() || find_further(&mut tree, hash, record.name)?.is_some() {
        return Err(ErrorKind::Exists.into());
    }
    if let Some(at) = scan.room {
        drop(bytes);
        leaf::edit(change, &directory, block, record.room_from(at), |area| {
            records::insert(area, at, record)
        })
    } else if records::used_bytes(area) + record.bytes() <= area.len() {
        // Room enough, but in pieces. Who reads on goes by hashes, not by places.
        let all = records::records(area).chain([*record]);
        leaf::rewrite(change, &directory, block, all)
    } else {
        hash_split::add(change, number, hash, record)
    }
}

/// Finds a name by its hash, or by looking at all blocks if that cannot be computed.
///
/// # Errors
/// `NotFound`.
pub(super) fn find(store: &Store, directory: &Inode, name: &[u8]) -> Result<(FileBlock, Found)> {
    let Some(mut tree) = Tree::open(store, directory)? else {
        return linear_edit::find(store, directory, name);
    };
    let hash = tree.hasher().hash(name);
    let block = tree.seek(hash)?;
    let bytes = tree.leaf(block)?;
    let found = match records::scan(tree.area(&bytes), name).found {
        Some(found) => Some((block, found)),
        None => find_further(&mut tree, hash, name)?,
    };
    found.ok_or_else(|| ErrorKind::NotFound.into())
}

/// Looks for a name in the leaves where its hash goes on.
fn find_further(tree: &mut Tree<'_>, hash: u32, name: &[u8]) -> Result<Option<(FileBlock, Found)>> {
    for _ in 0..tree.blocks_count() {
        if tree.next_hash() != Some(hash | 1) {
            return Ok(None);
        }
        let Some(block) = tree.advance()? else {
            return Ok(None);
        };
        let bytes = tree.leaf(block)?;
        if let Some(found) = records::scan(tree.area(&bytes), name).found {
            return Ok(Some((block, found)));
        }
    }
    Err(tree.damaged("every leaf once", "more leaves than blocks"))
}

/// Makes ".." name another inode; returns the old one. It stands in the root, whose
/// checksum covers it.
pub(super) fn replace_parent(
    change: &mut Change<'_>,
    directory: &Inode,
    parent: InodeNumber,
    file_type: u8,
) -> Result<InodeNumber> {
    let store = change.store();
    let root = FileBlock(0);
    let place = blocks::place(store, directory, root)?;
    change.modify(
        place,
        hashed::role(directory, Kind::Root),
        |bytes| hashed::check(store, directory, place, Kind::Root, bytes),
        |bytes| {
            let bad = || blocks::damaged(directory, root, "a record of \"..\"");
            let found = records::scan(bytes, b"..").found.ok_or_else(bad)?;
            records::retarget(bytes, found.at, parent, file_type).ok_or_else(bad)?;
            if let Some(seed) = store.seed_for(directory) {
                htree::set_checksum(bytes, Kind::Root, seed)?;
            }
            Ok(found.inode)
        },
    )
}

//! Attribute blocks: read, changed in place while one inode owns them, shared by inodes
//! with equal attributes, given back by the last.

use std::sync::Arc;

use crate::cache::{Block, Role, RoleKind};
use crate::change::Change;
use crate::error::{Error, Result};
use crate::format::inode::Inode;
use crate::format::xattr;
use crate::format::xattr_encode::{
    NewXattr, REFERENCES_MAX, block_room, encode_block, set_references,
};
use crate::store::Store;
use crate::types::FsBlock;
use crate::xattr::{ea_inode, list, sharing};

/// Inodes share these blocks, and the checksum is the volume's.
fn role() -> Role {
    Role::of_volume(RoleKind::Xattrs)
}

/// The inode's attribute block, if it has one.
///
/// # Errors
/// `Corrupt`.
pub(super) fn read(store: &Store, inode: &Inode) -> Result<Option<(FsBlock, Arc<Block>)>> {
    let Some(number) = inode.xattr_block() else {
        return Ok(None);
    };
    let structure = format_args!("xattr block of inode {}", inode.number());
    if !store.superblock.contains(number) {
        let expected = format_args!("a block below {}", store.superblock.blocks_count);
        return Err(Error::corrupt(structure, None, expected, number));
    }
    let block = store.cache.get(number, role(), |bytes| {
        xattr::check_block(&structure, number, bytes, store.checksum_seed())
    })?;
    Ok(Some((number, block)))
}

/// The attributes in a block that [`read`] returned.
///
/// # Errors
/// `Corrupt`.
pub(super) fn attributes<'b>(
    inode: &Inode,
    number: FsBlock,
    block: &'b Block,
) -> Result<Vec<NewXattr<'b>>> {
    let structure = format_args!("xattr block of inode {}", inode.number());
    let entries = xattr::block_entries(&structure, number, block.bytes())?;
    let mut list = list::of_entries(&structure, &entries, block_room(block.bytes().len()))?;
    list.sort_by(|a, b| a.sort_key().cmp(&b.sort_key()));
    if list.is_sorted_by(|a, b| a.sort_key() < b.sort_key()) {
        return Ok(list);
    }
    let expected = "each attribute once";
    Err(Error::corrupt(
        structure,
        Some(number),
        expected,
        "one twice",
    ))
}

/// A block as an owner leaves it.
struct Old<'l> {
    number: FsBlock,
    /// Owners, at least 1.
    references: u32,
    attributes: &'l [NewXattr<'l>],
}

/// Gives the inode a block with the attributes `after`, sorted, in the place of the one it
/// has, which holds `before`; none if there are none. `fresh` is the one whose EA inode has
/// been referred to on behalf of `after`. Returns the block the inode must name.
///
/// # Errors
/// `NoSpace`, `Corrupt`.
pub(super) fn replace(
    change: &mut Change<'_>,
    inode: &Inode,
    before: &[NewXattr<'_>],
    after: &[NewXattr<'_>],
    fresh: Option<&NewXattr<'_>>,
) -> Result<Option<FsBlock>> {
    sharing::lock(change);
    let old = old(change, inode, before)?;
    if after.is_empty() {
        release(change, inode, old)?;
        return Ok(None);
    }
    // The number only matters for the checksum.
    let wanted = encode_block(&change.store().superblock, FsBlock(0), 1, after)?;
    let own = old.as_ref().map(|old| old.number);
    if let Some((equal, references)) = find_equal(change, own, &wanted)? {
        count(change, equal, references + 1)?;
        // Its entries are counted already.
        if let Some(fresh) = fresh {
            ea_inode::drop_reference(change, inode, fresh)?;
        }
        release(change, inode, old)?;
        return Ok(Some(equal));
    }
    match old {
        Some(old) if old.references == 1 => rewrite(change, inode, &old, after).map(Some),
        old => {
            let number = create(change, inode, after, fresh)?;
            release(change, inode, old)?;
            Ok(Some(number))
        }
    }
}

/// The block the inode has, its count as it is under the lock.
fn old<'l>(
    change: &Change<'_>,
    inode: &Inode,
    attributes: &'l [NewXattr<'l>],
) -> Result<Option<Old<'l>>> {
    let Some((number, block)) = read(change.store(), inode)? else {
        return Ok(None);
    };
    let (references, _) = xattr::references_and_hash(block.bytes());
    if references == 0 {
        return Err(Error::corrupt(
            format_args!("xattr block of inode {}", inode.number()),
            Some(number),
            "h_refcount of 1 or more",
            0,
        ));
    }
    Ok(Some(Old {
        number,
        references,
        attributes,
    }))
}

/// A block other than `own` with the same content that can have one owner more, and how
/// many it has.
fn find_equal(
    change: &Change<'_>,
    own: Option<FsBlock>,
    wanted: &[u8],
) -> Result<Option<(FsBlock, u32)>> {
    let sharing = &change.writer.sharing;
    let (_, hash) = xattr::references_and_hash(wanted);
    let Some(number) = sharing.find(hash).filter(|&number| Some(number) != own) else {
        return Ok(None);
    };
    let store = change.store();
    let found = store.cache.get(number, role(), |bytes| {
        xattr::check_block(&"shared xattr block", number, bytes, store.checksum_seed())
    });
    let block = match found {
        Ok(block) => block,
        Err(error) if error.is_corruption() => {
            sharing.forget(number);
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let (references, _) = xattr::references_and_hash(block.bytes());
    let is_equal = xattr::block_content(block.bytes()) == xattr::block_content(wanted);
    let has_room = (1..REFERENCES_MAX).contains(&references);
    Ok((is_equal && has_room).then_some((number, references)))
}

/// Sets the number of owners.
fn count(change: &mut Change<'_>, number: FsBlock, references: u32) -> Result<()> {
    let store = change.store();
    change.modify(
        number,
        role(),
        |bytes| xattr::check_block(&"xattr block", number, bytes, store.checksum_seed()),
        |bytes| set_references(&store.superblock, number, references, bytes),
    )
}

/// Changes the block whose only owner the inode is.
fn rewrite(
    change: &mut Change<'_>,
    inode: &Inode,
    old: &Old<'_>,
    after: &[NewXattr<'_>],
) -> Result<FsBlock> {
    let store = change.store();
    let number = old.number;
    change.writer.sharing.forget(number);
    let encoded = encode_block(&store.superblock, number, 1, after)?;
    let (_, hash) = xattr::references_and_hash(&encoded);
    change.modify(
        number,
        role(),
        |bytes| xattr::check_block(&"xattr block", number, bytes, store.checksum_seed()),
        |bytes| {
            bytes.copy_from_slice(&encoded);
            Ok(())
        },
    )?;
    let gone = old.attributes.iter().filter(|old| !after.contains(old));
    for xattr in gone {
        ea_inode::drop_reference(change, inode, xattr)?;
    }
    sharing::note(change, hash, number);
    Ok(number)
}

/// Writes a new block. What it takes over from another one is referred to once more.
fn create(
    change: &mut Change<'_>,
    inode: &Inode,
    after: &[NewXattr<'_>],
    fresh: Option<&NewXattr<'_>>,
) -> Result<FsBlock> {
    let writer = change.writer;
    let goal = writer.space.goal_for(&writer.store, inode.number());
    let number = change.allocate_metadata(goal)?;
    let encoded = encode_block(&writer.store.superblock, number, 1, after)?;
    let (_, hash) = xattr::references_and_hash(&encoded);
    for xattr in after.iter().filter(|&xattr| Some(xattr) != fresh) {
        ea_inode::add_reference(change, inode, xattr)?;
    }
    change.create(number, role(), encoded.into_boxed_slice());
    sharing::note(change, hash, number);
    Ok(number)
}

/// One owner less; with the last the block goes, and what its entries refer to.
fn release(change: &mut Change<'_>, inode: &Inode, old: Option<Old<'_>>) -> Result<()> {
    let Some(old) = old else {
        return Ok(());
    };
    if old.references > 1 {
        return count(change, old.number, old.references - 1);
    }
    change.writer.sharing.forget(old.number);
    for xattr in old.attributes {
        ea_inode::drop_reference(change, inode, xattr)?;
    }
    change.free_metadata(old.number)
}

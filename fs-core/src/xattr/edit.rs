//! Setting and removing attributes: which one goes where, and the change of the inode.
//!
//! Where an attribute goes follows Linux: into the inode if it fits, else into the
//! attribute block; a value that no block could hold, or for which none of the two has
//! room, into an EA inode, if the volume has them. Everything is decided before anything is
//! changed, so what does not fit leaves all as it was.

use std::borrow::Cow;
use std::sync::Arc;

use crate::cache::Block;
use crate::change::Change;
use crate::error::{ErrorKind, Result};
use crate::format::acl;
use crate::format::features::{CompatFeatures, IncompatFeatures};
use crate::format::inode::Inode;
use crate::format::superblock::Superblock;
use crate::format::xattr::{INDEX_ACL_ACCESS, INDEX_ACL_DEFAULT, VALUE_BYTES_MAX, split_name};
use crate::format::xattr_encode::{NewValue, NewXattr, block_room, inode_room, value_hash};
use crate::store::Store;
use crate::types::{FileType, FsBlock, InodeNumber};
use crate::xattr::read::NAME_BYTES_MAX;
use crate::xattr::{block, ea_inode, list};

/// What setting an attribute demands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum XattrSet {
    /// Nothing.
    Any,
    /// There is none of this name (XATTR_CREATE).
    Create,
    /// There is one of this name (XATTR_REPLACE).
    Replace,
}

/// More is not asked for: an inode with some hundred values in EA inodes can be made, but
/// every operation would have to wait for room in the log for it.
const CREDITS_MAX: usize = 512;

/// Prefixes of names that can be set. What else ext4 knows is nobody's to change.
const PREFIXES: [&[u8]; 3] = [b"user.", b"trusted.", b"security."];

/// Where an attribute is put.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Inode,
    Block,
}

/// All attributes of an inode.
#[derive(Clone)]
struct Lists<'a> {
    in_inode: Vec<NewXattr<'a>>,
    in_block: Vec<NewXattr<'a>>,
}

impl<'a> Lists<'a> {
    fn find(&self, index: u8, name: &[u8]) -> Option<&NewXattr<'a>> {
        let is_it = |xattr: &&NewXattr<'_>| is_named(xattr, index, name);
        let in_inode = self.in_inode.iter().find(is_it);
        in_inode.or_else(|| self.in_block.iter().find(is_it))
    }

    fn remove(&mut self, index: u8, name: &[u8]) {
        self.in_inode.retain(|xattr| !is_named(xattr, index, name));
        self.in_block.retain(|xattr| !is_named(xattr, index, name));
    }

    fn insert(&mut self, xattr: NewXattr<'a>, place: Place) {
        match place {
            Place::Inode => self.in_inode.push(xattr),
            Place::Block => {
                let after = self
                    .in_block
                    .partition_point(|other| other.sort_key() < xattr.sort_key());
                self.in_block.insert(after, xattr);
            }
        }
    }

    fn all(&self) -> impl Iterator<Item = &NewXattr<'a>> {
        self.in_inode.iter().chain(&self.in_block)
    }
}

fn is_named(xattr: &NewXattr<'_>, index: u8, name: &[u8]) -> bool {
    xattr.index == index && *xattr.name == *name
}

/// Blocks that one [`set`] or [`remove`] may change, or a [`remove_all`].
pub(crate) fn credits(store: &Store) -> usize {
    let superblock = &store.superblock;
    // The inode, its old block and a new one, the superblock; bitmaps and descriptors of
    // what is taken and given back.
    let plain = 4 + 6;
    if !superblock.has_incompat(IncompatFeatures::EA_INODE) {
        return plain;
    }
    // A new EA inode with a node, and as many old ones as entries can name.
    let room = usize::from(superblock.inode_bytes) + superblock.block_bytes as usize;
    let smallest = NewXattr {
        index: INDEX_ACL_ACCESS,
        name: Cow::Borrowed(b""),
        value: NewValue::Here(Cow::Borrowed(b"")),
    };
    let entries = room / smallest.room_bytes();
    (plain + 2 + 2 * entries).min(CREDITS_MAX)
}

/// Sets the attribute with this full name, ACLs in the form setxattr(2) takes, and the
/// inode's change time. What the namespaces demand of callers and of the type of file is
/// for others to check.
///
/// # Errors
/// `Exists` and `NoAttribute` as `mode` demands; `TooLarge` if it does not fit, `NoSpace`;
/// `InvalidInput` for a name that is a bare prefix and for what is no ACL, `NameTooLong`,
/// `NotSupported` for other namespaces; `Corrupt`.
pub(crate) fn set(
    change: &mut Change<'_>,
    number: InodeNumber,
    name: &[u8],
    value: &[u8],
    mode: XattrSet,
) -> Result<()> {
    let (index, rest) = parse_name(name)?;
    let value = stored_form(index, value)?;
    let inode = change.inode(number)?;
    let store = change.store();
    let own = block::read(store, &inode)?;
    let before = read(&inode, own.as_ref())?;
    let found = before.find(index, rest);
    match (mode, found) {
        (XattrSet::Create, Some(_)) => return Err(ErrorKind::Exists.into()),
        (XattrSet::Replace, None) => return Err(ErrorKind::NoAttribute.into()),
        _ => {}
    }
    if let Some(found) = found
        && holds(store, &inode, found, &value)?
    {
        let now = change.now;
        return change
            .edit_inode(number, |edit| edit.set_changed(now))
            .map(|_| ());
    }
    let mut after = before.clone();
    after.remove(index, rest);
    let mut new = NewXattr {
        index,
        name: Cow::Borrowed(rest),
        value: NewValue::Here(Cow::Borrowed(&value)),
    };
    let (place, in_ea_inode) = find_place(&store.superblock, &inode, &after, &new)?;
    if in_ea_inode {
        new.value = ea_inode::create(change, &inode, &value)?;
    }
    after.insert(new.clone(), place);
    apply(change, &inode, &before, &after, Some(&new))
}

/// Removes the attribute with this full name, and sets the inode's change time.
///
/// # Errors
/// `NoAttribute` if there is none; those of names as for [`set`]; `Corrupt`.
pub(crate) fn remove(change: &mut Change<'_>, number: InodeNumber, name: &[u8]) -> Result<()> {
    let (index, rest) = parse_name(name)?;
    let inode = change.inode(number)?;
    let own = block::read(change.store(), &inode)?;
    let before = read(&inode, own.as_ref())?;
    if before.find(index, rest).is_none() {
        return Err(ErrorKind::NoAttribute.into());
    }
    let mut after = before.clone();
    after.remove(index, rest);
    apply(change, &inode, &before, &after, None)
}

/// Gives back what the attributes of an inode that is being deleted hold outside of it.
///
/// # Errors
/// `Corrupt`.
pub(crate) fn remove_all(change: &mut Change<'_>, number: InodeNumber) -> Result<()> {
    let inode = change.inode(number)?;
    let own = block::read(change.store(), &inode)?;
    let before = read(&inode, own.as_ref())?;
    let mut after = Lists {
        in_inode: before.in_inode.clone(),
        in_block: Vec::new(),
    };
    // What lies in the inode goes with it; inline data is content.
    after
        .in_inode
        .retain(|xattr| matches!(xattr.value, NewValue::Here(_)));
    if inode.xattr_block().is_none() && after.in_inode.len() == before.in_inode.len() {
        return Ok(());
    }
    apply(change, &inode, &before, &after, None)
}

fn read<'b>(inode: &'b Inode, own: Option<&'b (FsBlock, Arc<Block>)>) -> Result<Lists<'b>> {
    Ok(Lists {
        in_inode: list::of_inode(inode)?,
        in_block: match own {
            Some((number, block)) => block::attributes(inode, *number, block)?,
            None => Vec::new(),
        },
    })
}

/// Index and rest of a name that can be set.
fn parse_name(name: &[u8]) -> Result<(u8, &[u8])> {
    if name.len() > NAME_BYTES_MAX {
        return Err(ErrorKind::NameTooLong.into());
    }
    if PREFIXES.contains(&name) || name.contains(&0) {
        return Err(ErrorKind::InvalidInput("an attribute's name follows its prefix").into());
    }
    let (index, rest) =
        split_name(name).ok_or(ErrorKind::NotSupported("attributes of this namespace"))?;
    let is_acl = matches!(index, INDEX_ACL_ACCESS | INDEX_ACL_DEFAULT);
    if !is_acl && !PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
        return Err(ErrorKind::NotSupported("attributes of this namespace").into());
    }
    Ok((index, rest))
}

/// The value as the disk has it.
fn stored_form(index: u8, value: &[u8]) -> Result<Cow<'_, [u8]>> {
    if value.len() > VALUE_BYTES_MAX as usize {
        return Err(ErrorKind::TooLarge("an attribute's value has at most 64 KiB").into());
    }
    if !matches!(index, INDEX_ACL_ACCESS | INDEX_ACL_DEFAULT) {
        return Ok(Cow::Borrowed(value));
    }
    let stored = acl::to_disk_form(value)?;
    if !acl::is_complete(value) {
        let why = "an ACL has an owner, a group, others, and a mask where it names anybody";
        return Err(ErrorKind::InvalidInput(why).into());
    }
    Ok(Cow::Owned(stored))
}

/// Whether an attribute has this value already.
fn holds(store: &Store, owner: &Inode, xattr: &NewXattr<'_>, value: &[u8]) -> Result<bool> {
    match &xattr.value {
        NewValue::Here(bytes) => Ok(**bytes == *value),
        NewValue::InInode {
            size_bytes, hash, ..
        } => {
            let is_alike = *size_bytes as usize == value.len()
                && *hash == value_hash(&store.superblock, value);
            Ok(is_alike && ea_inode::value_of(store, owner, xattr)? == value)
        }
    }
}

/// Where an attribute goes beside those that are kept, and whether its value must go into
/// an EA inode.
fn find_place(
    superblock: &Superblock,
    inode: &Inode,
    kept: &Lists<'_>,
    new: &NewXattr<'_>,
) -> Result<(Place, bool)> {
    let in_inode = inode_room(inode.xattr_area_bytes(superblock));
    let in_block = block_room(superblock.block_bytes as usize);
    let left = [
        (
            Place::Inode,
            in_inode.checked_sub(list::room_bytes(&kept.in_inode)),
        ),
        (
            Place::Block,
            in_block.checked_sub(list::room_bytes(&kept.in_block)),
        ),
    ];
    let entry = NewXattr {
        index: new.index,
        name: Cow::Borrowed(&new.name),
        value: NewValue::Here(Cow::Borrowed(b"")),
    };
    let (with_value, alone) = (new.room_bytes(), entry.room_bytes());
    let has_ea_inodes = superblock.has_incompat(IncompatFeatures::EA_INODE) && with_value > alone;
    // With a name of 3 bytes it would fill a block by itself.
    let is_large = has_ea_inodes && with_value - alone + 20 > in_block;
    let forms = [
        (false, (!is_large).then_some(with_value)),
        (true, has_ea_inodes.then_some(alone)),
    ];
    // Without an attribute block e2fsck takes a symlink whose i_blocks count anything, the
    // EA inodes' share too, for one with its target in a block. It never looks at the
    // attribute block of a symlink that lies in its inode, and takes it for a free one.
    let needs_block = inode.is_fast_symlink(superblock);
    let has_no_block = inode.file_type() == FileType::Symlink && inode.has_inline_data();
    for (in_ea_inode, needed) in forms {
        for (place, left) in left {
            let is_avoided = match place {
                Place::Inode => in_ea_inode && needs_block,
                Place::Block => has_no_block,
            };
            if is_avoided {
                continue;
            }
            if let (Some(needed), Some(left)) = (needed, left)
                && needed <= left
            {
                return Ok((place, in_ea_inode));
            }
        }
    }
    Err(ErrorKind::TooLarge("there is no room for the attribute").into())
}

/// Makes the inode's attributes `after` instead of `before`. `new` is the one that was not
/// there; what it refers to counts it already.
fn apply(
    change: &mut Change<'_>,
    inode: &Inode,
    before: &Lists<'_>,
    after: &Lists<'_>,
    new: Option<&NewXattr<'_>>,
) -> Result<()> {
    let store = change.store();
    let blocks_512 = blocks_after(store, inode, before, after)?;
    if after.all().next().is_some() {
        note_feature(change);
    }
    let block = if before.in_block == after.in_block {
        inode.xattr_block()
    } else {
        let fresh = new.filter(|new| after.in_block.contains(new));
        block::replace(change, inode, &before.in_block, &after.in_block, fresh)?
    };
    let gone = before.in_inode.iter();
    for xattr in gone.filter(|old| !after.in_inode.contains(old)) {
        ea_inode::drop_reference(change, inode, xattr)?;
    }
    let blocks_512 = match (inode.xattr_block(), block) {
        (None, Some(_)) => blocks_512.saturating_add(block_512(store)),
        (Some(_), None) => blocks_512.saturating_sub(block_512(store)),
        _ => blocks_512,
    };
    let now = change.now;
    change.edit_inode(inode.number(), |edit| {
        if before.in_inode != after.in_inode {
            list::write(edit, &after.in_inode)?;
        }
        if block != inode.xattr_block() {
            edit.set_xattr_block(block)?;
        }
        if blocks_512 != inode.stored_blocks_512() {
            edit.set_blocks_512(blocks_512)?;
        }
        edit.set_changed(now)
    })?;
    Ok(())
}

/// What an attribute block adds to `i_blocks`.
fn block_512(store: &Store) -> u64 {
    u64::from(store.superblock.cluster_bytes / 512)
}

/// `i_blocks` with what the values in EA inodes add to it, the block left as it is.
fn blocks_after(
    store: &Store,
    inode: &Inode,
    before: &Lists<'_>,
    after: &Lists<'_>,
) -> Result<u64> {
    let mut blocks_512 = inode.stored_blocks_512();
    let in_either = |lists: &Lists<'_>, xattr: &NewXattr<'_>| {
        lists.in_inode.contains(xattr) || lists.in_block.contains(xattr)
    };
    for xattr in before.all().filter(|xattr| !in_either(after, xattr)) {
        // A damaged count is e2fsck's to mend.
        blocks_512 = blocks_512.saturating_sub(ea_inode::charge_512(store, inode, xattr)?);
    }
    for xattr in after.all().filter(|xattr| !in_either(before, xattr)) {
        blocks_512 = blocks_512.saturating_add(ea_inode::charge_512(store, inode, xattr)?);
    }
    Ok(blocks_512)
}

/// Says in the superblock that there are attributes. It stays said if the change is taken
/// back: others may rely on it by then.
fn note_feature(change: &mut Change<'_>) {
    let writer = change.writer;
    if writer.store.superblock.has_compat(CompatFeatures::EXT_ATTR) {
        return;
    }
    let bit = CompatFeatures::EXT_ATTR.bits();
    let bits = writer.superblock.snapshot().s_feature_compat.get();
    if bits & bit == 0 {
        writer.superblock.edit(&mut change.handle, |raw| {
            raw.s_feature_compat = (raw.s_feature_compat.get() | bit).into();
        });
    }
}

//! EA inodes: values too large for a block, each the content of an inode of its own
//! that no directory names (feature ea_inode).
//!
//! An EA inode keeps the CRC-32C of its content in the seconds of its access time, and how
//! many entries refer to it in the seconds of its change time (high half) and its version
//! (low half). The inodes of Lustre's older scheme have one owner and point back to it: by
//! its number in the modification time and its generation as their own. An inode's
//! `i_blocks` counts what the values of its attributes take, whoever shares them, but not
//! those of the older scheme.

use std::sync::Arc;

use crate::change::Change;
use crate::error::{Error, ErrorKind, Result};
use crate::file;
use crate::format::checksum::crc32c_raw;
use crate::format::features::IncompatFeatures;
use crate::format::inode::{self, Inode, InodeFields};
use crate::format::inode_flags::InodeFlags;
use crate::format::xattr::entry_hash;
use crate::format::xattr_encode::{NewValue, NewXattr, value_hash};
use crate::mapping::{self, Progress};
use crate::run::{ExtentState, MappedExtent};
use crate::space::{BlockRequest, BlockRun, InodeRequest, Purpose};
use crate::store::Store;
use crate::types::{FileBlock, FileType, FsBlock, InodeNumber, Timestamp};
use crate::xattr::sharing;

/// Only root may open one, if anything ever names it.
const PERMISSIONS: u16 = 0o600;
/// Removing the blocks of a value takes one step, or, if credits run out, one for each
/// of its extents.
const REMOVE_STEPS_MAX: usize = 256;

/// What is known of a value from its entry.
#[derive(Clone, Copy)]
struct Reference<'a> {
    owner: &'a Inode,
    /// Name without its prefix.
    name: &'a [u8],
    holder: InodeNumber,
    size_bytes: u32,
    entry_hash: u32,
}

impl<'a> Reference<'a> {
    /// `None` if the value lies beside the entry.
    fn of(owner: &'a Inode, xattr: &'a NewXattr<'_>) -> Option<Self> {
        match xattr.value {
            NewValue::Here(_) => None,
            NewValue::InInode {
                inode,
                size_bytes,
                hash,
            } => Some(Self {
                owner,
                name: &xattr.name,
                holder: inode,
                size_bytes,
                entry_hash: entry_hash(&xattr.name, hash, false),
            }),
        }
    }

    fn structure(&self) -> String {
        format!(
            "EA inode {} of xattr \"{}\" of inode {}",
            self.holder,
            self.name.escape_ascii(),
            self.owner.number()
        )
    }

    fn bad(&self, expected: impl std::fmt::Display, found: impl std::fmt::Display) -> Error {
        Error::corrupt(self.structure(), None, expected, found)
    }

    /// The EA inode, if it is one.
    fn find(&self, store: &Store) -> Result<Arc<Inode>> {
        if !store.superblock.has_incompat(IncompatFeatures::EA_INODE) {
            return Err(self.bad("the feature ea_inode", "none"));
        }
        let inode = store
            .inode(self.holder)
            .map_err(|error| match error.kind() {
                ErrorKind::Stale => self.bad("an inode in use", "a free one"),
                _ => error,
            })?;
        if !inode.flags().contains(InodeFlags::EA_INODE) {
            let found = format_args!("{:#x}", inode.flags().bits());
            return Err(self.bad("the flag EA_INODE", found));
        }
        if inode.size_bytes() != u64::from(self.size_bytes) {
            let expected = format_args!("{} bytes", self.size_bytes);
            return Err(self.bad(expected, inode.size_bytes()));
        }
        Ok(inode)
    }

    /// The same, and whether it is one of the older scheme.
    fn find_to_change(&self, store: &Store) -> Result<(Arc<Inode>, bool)> {
        let inode = self.find(store)?;
        let is_ordinary = self.holder.0 >= store.superblock.first_inode
            && self.holder != self.owner.number()
            && inode.file_type() == FileType::Regular
            && inode.xattr_block().is_none()
            && !inode.has_inline_data();
        if !is_ordinary {
            return Err(self.bad("a regular file with nothing but blocks", "another inode"));
        }
        let stored = stored_hash(&inode);
        let is_new = [false, true]
            .map(|signed| entry_hash(self.name, stored, signed))
            .contains(&self.entry_hash);
        if !is_new && !self.points_back(&inode) {
            let expected = entry_hash(self.name, stored, false);
            let structure = self.structure();
            return Err(Error::bad_checksum(
                structure,
                None,
                expected,
                self.entry_hash,
            ));
        }
        Ok((inode, !is_new))
    }

    /// Whether the EA inode names its owner, as in Lustre's older scheme.
    fn points_back(&self, inode: &Inode) -> bool {
        inode.modified().seconds == i64::from(self.owner.number().0)
            && inode.generation() == self.owner.generation()
    }

    fn check_hash(&self, store: &Store, inode: &Inode, value: &[u8]) -> Result<()> {
        let stored = stored_hash(inode);
        let computed = crc32c_raw(store.superblock.checksum_seed, value);
        let (expected, found) = if computed == stored {
            let hashes = [false, true].map(|signed| entry_hash(self.name, computed, signed));
            if hashes.contains(&self.entry_hash) {
                return Ok(());
            }
            (hashes[0], self.entry_hash)
        } else if self.points_back(inode) {
            return Ok(());
        } else {
            (computed, stored)
        };
        let structure = self.structure();
        Err(Error::bad_checksum(structure, None, expected, found))
    }
}

fn stored_hash(inode: &Inode) -> u32 {
    (inode.accessed().seconds & 0xFFFF_FFFF) as u32
}

/// How many entries refer to the EA inode.
fn references(inode: &Inode) -> u64 {
    let high = (inode.changed().seconds & 0xFFFF_FFFF).cast_unsigned();
    high << 32 | inode.version() & 0xFFFF_FFFF
}

/// The high half of a reference count, as a time.
fn high_half(references: u64) -> Timestamp {
    Timestamp {
        // Without an extra field the seconds are signed; here the bits count.
        seconds: i64::from(((references >> 32) as u32).cast_signed()),
        nanos: 0,
    }
}

/// Reads a value of `size_bytes` from the inode `holder`, and checks that it
/// is the one meant.
pub(super) fn read(
    store: &Store,
    owner: &Inode,
    name: &[u8],
    holder: InodeNumber,
    size_bytes: u32,
    entry_hash: u32,
) -> Result<Vec<u8>> {
    let reference = Reference {
        owner,
        name,
        holder,
        size_bytes,
        entry_hash,
    };
    let inode = reference.find(store)?;
    let mut value = vec![0; size_bytes as usize];
    file::read(store, &inode, &mut value, 0)?;
    reference.check_hash(store, &inode, &value)?;
    Ok(value)
}

/// The value of an attribute wherever it is, as it is stored.
pub(super) fn value_of(store: &Store, owner: &Inode, xattr: &NewXattr<'_>) -> Result<Vec<u8>> {
    match (&xattr.value, Reference::of(owner, xattr)) {
        (NewValue::Here(value), _) => Ok(value.to_vec()),
        (_, Some(of)) => read(
            store,
            owner,
            of.name,
            of.holder,
            of.size_bytes,
            of.entry_hash,
        ),
        (NewValue::InInode { .. }, None) => Ok(Vec::new()),
    }
}

/// What an attribute's value adds to its owner's `i_blocks`.
///
/// # Errors
/// `Corrupt`.
pub(super) fn charge_512(store: &Store, owner: &Inode, xattr: &NewXattr<'_>) -> Result<u64> {
    let Some(reference) = Reference::of(owner, xattr) else {
        return Ok(0);
    };
    let (_, is_older) = reference.find_to_change(store)?;
    if is_older {
        return Ok(0);
    }
    let cluster_bytes = u64::from(store.superblock.cluster_bytes);
    let clusters = u64::from(reference.size_bytes).div_ceil(cluster_bytes);
    Ok(clusters * (cluster_bytes / 512))
}

/// Puts a value into an EA inode that one entry refers to.
///
/// # Errors
/// `NoSpace`.
pub(super) fn create(
    change: &mut Change<'_>,
    owner: &Inode,
    value: &[u8],
) -> Result<NewValue<'static>> {
    sharing::lock(change);
    let store = change.store();
    let superblock = &store.superblock;
    let size_bytes = u32::try_from(value.len())
        .map_err(|_| Error::from(ErrorKind::TooLarge("the value is too large")))?;
    let hash = value_hash(superblock, value);
    let number = change.allocate_inode(InodeRequest {
        parent: owner.number(),
        file_type: FileType::Regular,
    })?;
    let mut flags = InodeFlags::EA_INODE;
    let has_extents = superblock.has_incompat(IncompatFeatures::EXTENTS);
    flags.set(InodeFlags::EXTENTS, has_extents);
    let fields = InodeFields {
        mode: FileType::Regular.mode_bits() | PERMISSIONS,
        uid: owner.uid(),
        gid: owner.gid(),
        size_bytes: u64::from(size_bytes),
        links: 1,
        blocks_512: 0,
        flags,
        generation: change.now.nanos ^ number.0,
        accessed: Timestamp {
            seconds: i64::from(hash.cast_signed()),
            nanos: 0,
        },
        modified: change.now,
        changed: high_half(1),
        created: change.now,
        xattr_block: FsBlock(0),
        version: 1,
        block_area: mapping::empty_map(superblock, flags),
        xattr_area: &[],
    };
    change.edit_inode(number, |edit| {
        inode::encode(superblock, number, &fields, edit.bytes_mut())
    })?;
    write(change, number, value)?;
    Ok(NewValue::InInode {
        inode: number,
        size_bytes,
        hash,
    })
}

/// Writes the content of a new EA inode: to the device first, then its map.
fn write(change: &mut Change<'_>, number: InodeNumber, value: &[u8]) -> Result<()> {
    let writer = change.writer;
    let block_bytes = writer.store.superblock.block_bytes as usize;
    let mut goal = writer.space.goal_for(&writer.store, number);
    let (mut left, mut file_block) = (value, FileBlock(0));
    while !left.is_empty() {
        let run = change.allocate(BlockRequest {
            goal,
            len_blocks: left.len().div_ceil(block_bytes) as u64,
            // It will never grow: no window is wanted.
            purpose: Purpose::Metadata,
            may_use_reserve: false,
        })?;
        let room = usize::try_from(run.len_blocks)
            .ok()
            .and_then(|blocks| blocks.checked_mul(block_bytes))
            .filter(|&room| room > 0)
            .ok_or(ErrorKind::NoSpace)?;
        let (piece, rest) = left.split_at(room.min(left.len()));
        write_run(change, run, piece, room)?;
        let mapped = MappedExtent {
            file_block,
            len_blocks: run.len_blocks,
            state: ExtentState::Written(run.start),
        };
        mapping::insert(change, number, mapped)?;
        file_block.0 += run.len_blocks;
        goal = FsBlock(run.start.0 + run.len_blocks);
        left = rest;
    }
    Ok(())
}

fn write_run(change: &Change<'_>, run: BlockRun, piece: &[u8], room: usize) -> Result<()> {
    let mut bytes = piece.to_vec();
    bytes.resize(room, 0);
    let store = change.store();
    // Space gives no runs beyond the volume's end, whose bytes 64 bits can count.
    let offset = run.start.0 * u64::from(store.superblock.block_bytes);
    store.cache.device().write_at(&bytes, offset)?;
    Ok(())
}

/// One entry more refers to the attribute's EA inode, if its value is in one.
///
/// # Errors
/// `Corrupt`; `NotSupported` for an EA inode of the older scheme, which has no count.
pub(super) fn add_reference(
    change: &mut Change<'_>,
    owner: &Inode,
    xattr: &NewXattr<'_>,
) -> Result<()> {
    let Some(reference) = Reference::of(owner, xattr) else {
        return Ok(());
    };
    sharing::lock(change);
    let (inode, is_older) = reference.find_to_change(change.store())?;
    if is_older {
        let why = "sharing an attribute value of Lustre's older scheme";
        return Err(ErrorKind::NotSupported(why).into());
    }
    let count = references(&inode)
        .checked_add(1)
        .ok_or_else(|| reference.bad("a reference count that can grow", u64::MAX))?;
    set_references(change, reference.holder, count)
}

/// One entry less refers to the attribute's EA inode, if its value is in one; with the
/// last it goes.
///
/// # Errors
/// `Corrupt`.
pub(super) fn drop_reference(
    change: &mut Change<'_>,
    owner: &Inode,
    xattr: &NewXattr<'_>,
) -> Result<()> {
    let Some(reference) = Reference::of(owner, xattr) else {
        return Ok(());
    };
    sharing::lock(change);
    let (inode, is_older) = reference.find_to_change(change.store())?;
    let count = if is_older { 1 } else { references(&inode) };
    let left = count
        .checked_sub(1)
        .ok_or_else(|| reference.bad("a reference count of 1 or more", 0))?;
    if left == 0 {
        free(change, &reference)
    } else {
        set_references(change, reference.holder, left)
    }
}

fn set_references(change: &mut Change<'_>, holder: InodeNumber, count: u64) -> Result<()> {
    change
        .edit_inode(holder, |edit| {
            edit.set_changed(high_half(count))?;
            edit.set_version(count & 0xFFFF_FFFF)
        })
        .map(|_| ())
}

/// Gives back an EA inode nothing refers to.
fn free(change: &mut Change<'_>, reference: &Reference<'_>) -> Result<()> {
    let number = reference.holder;
    let all = FileBlock(0)..FileBlock(mapping::FILE_BLOCKS_MAX);
    let is_empty = (0..REMOVE_STEPS_MAX).try_fold(false, |is_done, _| {
        let is_done = is_done
            || matches!(
                mapping::remove(change, number, all.clone())?,
                Progress::Done
            );
        Ok::<_, Error>(is_done)
    })?;
    if !is_empty {
        return Err(reference.bad("a map of few extents", "a larger one"));
    }
    let deleted_at = u32::try_from(change.now.seconds & 0xFFFF_FFFF).unwrap_or(u32::MAX);
    change.edit_inode(number, |edit| {
        edit.set_links(0)?;
        edit.set_size(0)?;
        edit.set_deleted_at(deleted_at)
    })?;
    change.free_inode(number, false)
}

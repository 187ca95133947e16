//! Writes lists of extended attributes: entries that grow up from the start,
//! values that grow down from the end, in the tail of an inode or in a block of
//! their own (ext4 on-disk layout, "Extended Attributes").
//!
//! A block's entries are sorted, which is what Linux's search relies on; those
//! in an inode need not be. Hashes of entries are those Linux writes: over
//! unsigned characters, and none for an entry in an inode whose value is there too.

use std::borrow::Cow;

use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, IntoBytes};

use crate::error::{Error, ErrorKind, Result};
use crate::format::checksum::crc32c_raw;
use crate::format::superblock::Superblock;
use crate::format::xattr::{
    ENTRY_BYTES, HEADER_BYTES, MAGIC, RawEntry, RawHeader, block_checksum, entry_hash,
};
use crate::types::{FsBlock, InodeNumber};

/// Inodes that may share one block (EXT4_XATTR_REFCOUNT_MAX in Linux).
pub const REFERENCES_MAX: u32 = 1024;
/// Four zero bytes end a list.
const END_BYTES: usize = 4;
/// An area in an inode starts with the magic number.
const AREA_HEADER_BYTES: usize = 4;

/// An attribute to be written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NewXattr<'a> {
    /// `e_name_index`: the prefix, from [`split_name`](crate::encode::split_xattr_name).
    pub index: u8,
    /// The rest of the name, at most 255 bytes.
    pub name: Cow<'a, [u8]>,
    /// The value as it is stored: ACLs in the disk's form.
    pub value: NewValue<'a>,
}

/// A value to be written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum NewValue<'a> {
    /// Beside the entries.
    Here(Cow<'a, [u8]>),
    /// The content of an EA inode.
    InInode {
        /// The EA inode.
        inode: InodeNumber,
        /// Its size.
        size_bytes: u32,
        /// [`value_hash`] of the value.
        hash: u32,
    },
}

impl NewXattr<'_> {
    /// Bytes it takes of a list's room: entry, name, and value if that is beside it.
    pub fn room_bytes(&self) -> usize {
        let value = match &self.value {
            NewValue::Here(value) => value.len().next_multiple_of(4),
            NewValue::InInode { .. } => 0,
        };
        self.entry_bytes() + value
    }

    fn entry_bytes(&self) -> usize {
        (ENTRY_BYTES + self.name.len()).next_multiple_of(4)
    }

    /// What a block's entries are sorted by.
    pub fn sort_key(&self) -> (u8, usize, &[u8]) {
        (self.index, self.name.len(), &self.name)
    }
}

/// Room for attributes behind the extra fields of an inode, in `area_bytes`.
pub fn inode_room(area_bytes: usize) -> usize {
    area_bytes.saturating_sub(AREA_HEADER_BYTES + END_BYTES)
}

/// Room for attributes in a block.
pub fn block_room(block_bytes: usize) -> usize {
    block_bytes.saturating_sub(HEADER_BYTES + END_BYTES)
}

/// The hash an EA inode keeps of its content, in the seconds of its access time.
pub fn value_hash(superblock: &Superblock, value: &[u8]) -> u32 {
    crc32c_raw(superblock.checksum_seed, value)
}

/// What follows an inode's extra fields, `area_bytes` long.
///
/// # Errors
/// `InvalidInput` if the attributes do not fit.
pub fn encode_inode_area(xattrs: &[NewXattr<'_>], area_bytes: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; area_bytes];
    // Values are counted from behind the magic number.
    let (magic, list) = bytes
        .split_at_mut_checked(AREA_HEADER_BYTES)
        .ok_or_else(does_not_fit)?;
    magic.copy_from_slice(&MAGIC.to_le_bytes());
    encode_list(xattrs, list, 0, |xattr| match xattr.value {
        NewValue::Here(_) => 0,
        NewValue::InInode { hash, .. } => entry_hash(&xattr.name, hash, false),
    })?;
    Ok(bytes)
}

/// The xattr block at `block`, shared by `references` inodes.
///
/// # Errors
/// `InvalidInput` if the attributes do not fit or are not sorted.
pub fn encode_block(
    superblock: &Superblock,
    block: FsBlock,
    references: u32,
    xattrs: &[NewXattr<'_>],
) -> Result<Vec<u8>> {
    let is_sorted = xattrs.is_sorted_by(|a, b| a.sort_key() < b.sort_key());
    if !is_sorted {
        return Err(ErrorKind::InvalidInput("attributes in a block are sorted").into());
    }
    let mut bytes = vec![0; superblock.block_bytes as usize];
    encode_list(xattrs, &mut bytes, HEADER_BYTES, hash_in_block)?;
    let header = RawHeader {
        h_magic: MAGIC.into(),
        h_refcount: references.into(),
        h_blocks: 1.into(),
        h_hash: block_hash(xattrs).into(),
        h_checksum: U32::ZERO,
        h_reserved: [U32::ZERO; 3],
    };
    put(&mut bytes, 0, header.as_bytes())?;
    if superblock.has_metadata_csum() {
        let checksum = block_checksum(superblock.checksum_seed, block, &bytes);
        let header = RawHeader {
            h_checksum: checksum.into(),
            ..header
        };
        put(&mut bytes, 0, header.as_bytes())?;
    }
    Ok(bytes)
}

/// Says in the block at `block` how many inodes own it.
///
/// # Errors
/// `Corrupt` if it has no header.
pub(crate) fn set_references(
    superblock: &Superblock,
    block: FsBlock,
    references: u32,
    bytes: &mut [u8],
) -> Result<()> {
    header_mut(block, bytes)?.h_refcount = references.into();
    if superblock.has_metadata_csum() {
        let checksum = block_checksum(superblock.checksum_seed, block, bytes);
        header_mut(block, bytes)?.h_checksum = checksum.into();
    }
    Ok(())
}

fn header_mut(block: FsBlock, bytes: &mut [u8]) -> Result<&mut RawHeader> {
    let found = bytes.len();
    match RawHeader::mut_from_prefix(bytes) {
        Ok((header, _)) => Ok(header),
        Err(_) => {
            let expected = "a header of 32 bytes";
            Err(Error::corrupt("xattr block", Some(block), expected, found))
        }
    }
}

/// Writes entries from byte `first` of `bytes` on, values from its end down.
fn encode_list(
    xattrs: &[NewXattr<'_>],
    bytes: &mut [u8],
    first: usize,
    hash: impl Fn(&NewXattr<'_>) -> u32,
) -> Result<()> {
    let room: usize = xattrs.iter().map(NewXattr::room_bytes).sum();
    let (mut at, mut values_at) = (first, bytes.len() & !3);
    if first + room + END_BYTES > values_at {
        return Err(does_not_fit());
    }
    for xattr in xattrs {
        let (mut offset, mut inum) = (0, 0);
        let size = match &xattr.value {
            NewValue::Here(value) => {
                if !value.is_empty() {
                    values_at -= value.len().next_multiple_of(4);
                    put(bytes, values_at, value)?;
                    offset = values_at;
                }
                u32::try_from(value.len()).map_err(|_| does_not_fit())?
            }
            NewValue::InInode {
                inode, size_bytes, ..
            } => {
                inum = inode.0;
                *size_bytes
            }
        };
        let raw = RawEntry {
            e_name_len: u8::try_from(xattr.name.len()).map_err(|_| does_not_fit())?,
            e_name_index: xattr.index,
            e_value_offs: u16::try_from(offset).map_err(|_| does_not_fit())?.into(),
            e_value_inum: inum.into(),
            e_value_size: size.into(),
            e_hash: hash(xattr).into(),
        };
        put(bytes, at, raw.as_bytes())?;
        put(bytes, at + ENTRY_BYTES, &xattr.name)?;
        at += xattr.entry_bytes();
    }
    Ok(())
}

/// `e_hash` in a block: the name's hash, then the value word by word, or the
/// one word an EA inode keeps of it.
fn hash_in_block(xattr: &NewXattr<'_>) -> u32 {
    match &xattr.value {
        NewValue::InInode { hash, .. } => entry_hash(&xattr.name, *hash, false),
        NewValue::Here(value) => {
            let name_hash = xattr
                .name
                .iter()
                .fold(0u32, |hash, &byte| hash.rotate_left(5) ^ u32::from(byte));
            value.chunks(4).fold(name_hash, |hash, chunk| {
                let mut word = [0; 4];
                word.iter_mut()
                    .zip(chunk)
                    .for_each(|(to, byte)| *to = *byte);
                hash.rotate_left(16) ^ u32::from_le_bytes(word)
            })
        }
    }
}

/// `h_hash`: what Linux finds blocks of equal content by; 0 forbids sharing.
fn block_hash(xattrs: &[NewXattr<'_>]) -> u32 {
    let hashes: Vec<u32> = xattrs.iter().map(hash_in_block).collect();
    if hashes.contains(&0) {
        return 0;
    }
    hashes
        .iter()
        .fold(0, |hash: u32, entry| hash.rotate_left(16) ^ entry)
}

fn put(bytes: &mut [u8], at: usize, from: &[u8]) -> Result<()> {
    bytes
        .get_mut(at..)
        .and_then(|bytes| bytes.get_mut(..from.len()))
        .ok_or_else(does_not_fit)?
        .copy_from_slice(from);
    Ok(())
}

fn does_not_fit() -> Error {
    ErrorKind::InvalidInput("the attributes do not fit").into()
}

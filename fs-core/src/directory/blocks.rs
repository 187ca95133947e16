//! Directories that fill blocks. Index blocks of hashed directories look like
//! blocks without names and are passed over, so one walk serves both kinds.
//!
//! A cookie is the byte after a record: block times block size plus offset.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::cache::{Block, Role, RoleKind};
use crate::directory::{Visit, is_hashed, lend, rules};
use crate::error::{Error, Result};
use crate::format::directory_block;
use crate::format::htree;
use crate::format::inode::Inode;
use crate::mapping;
use crate::run::ExtentState;
use crate::store::Store;
use crate::types::{FileBlock, FsBlock};

/// Visits the names behind `cookie` in the order of the blocks.
pub(super) fn list(
    store: &Store,
    directory: &Inode,
    cookie: u64,
    visit: &mut Visit<'_>,
) -> Result<ControlFlow<()>> {
    let block_bytes = u64::from(store.superblock.block_bytes);
    let blocks = count(store, directory)?;
    let mut skip_bytes = (cookie % block_bytes) as usize;
    for number in cookie / block_bytes..blocks {
        let block = load(store, directory, FileBlock(number))?;
        let area = records(store, directory, FileBlock(number), block.bytes());
        for entry in directory_block::entries(area, 0, rules(store)) {
            let entry = entry.map_err(|bad| bad.into_error(&name_of(directory), None))?;
            if entry.end <= skip_bytes {
                continue;
            }
            let next = number * block_bytes + entry.end as u64;
            if visit(lend(&entry, next)).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        skip_bytes = 0;
    }
    Ok(ControlFlow::Continue(()))
}

/// Number of blocks. No directory has more than the volume: every block holds
/// records of its own.
pub(super) fn count(store: &Store, directory: &Inode) -> Result<u64> {
    let block_bytes = u64::from(store.superblock.block_bytes);
    let size = directory.size_bytes();
    let blocks = size / block_bytes;
    if !size.is_multiple_of(block_bytes) || size == 0 || blocks > store.superblock.blocks_count {
        return Err(Error::corrupt(
            name_of(directory),
            None,
            format_args!("a size in whole blocks of {block_bytes} bytes"),
            format_args!("{size} bytes"),
        ));
    }
    Ok(blocks)
}

/// A block of the directory, its records and checksum checked.
pub(super) fn load(store: &Store, directory: &Inode, block: FileBlock) -> Result<Arc<Block>> {
    let place = place(store, directory, block)?;
    store.cache.get(place, role(directory, block), |bytes| {
        check(store, directory, block, place, bytes)
    })
}

/// What a block is read as by who looks for records.
pub(super) fn role(directory: &Inode, block: FileBlock) -> Role {
    let level = u8::from(block.0 == 0);
    Role::of_inode(RoleKind::DirectoryLeaf, directory.number(), level)
}

/// The check of [`load`].
pub(super) fn check(
    store: &Store,
    directory: &Inode,
    block: FileBlock,
    place: FsBlock,
    bytes: &[u8],
) -> Result<()> {
    let name = format_args!("directory {}", directory.number());
    if let Some(seed) = store.seed_for(directory) {
        if let Some(kind) = index_kind(store, directory, block, bytes) {
            htree::check(&name, place, bytes, kind, u8::MAX, Some(seed))?;
        } else {
            directory_block::check_checksum(&name, seed, place, bytes)?;
        }
    }
    let area = records(store, directory, block, bytes);
    directory_block::check(&name, Some(place), area, rules(store))
}

/// Where a block of the directory lies; directories have no holes.
pub(super) fn place(store: &Store, directory: &Inode, block: FileBlock) -> Result<FsBlock> {
    match mapping::map_some(store, directory, block)?.state {
        ExtentState::Written(place) => Ok(place),
        state => Err(Error::corrupt(
            format!("block {block} of {}", name_of(directory)),
            None,
            "written data",
            format_args!("{state:?}"),
        )),
    }
}

/// Whether a block of a hashed directory is one of its index.
fn index_kind(
    store: &Store,
    directory: &Inode,
    block: FileBlock,
    bytes: &[u8],
) -> Option<htree::Kind> {
    if !is_hashed(store, directory) {
        None
    } else if block.0 == 0 {
        Some(htree::Kind::Root)
    } else {
        htree::looks_like_node(bytes).then_some(htree::Kind::Node)
    }
}

/// The part of a block that holds records.
pub(super) fn records<'a>(
    store: &Store,
    directory: &Inode,
    block: FileBlock,
    bytes: &'a [u8],
) -> &'a [u8] {
    let has_tail = store.superblock.has_metadata_csum()
        && index_kind(store, directory, block, bytes).is_none();
    directory_block::records_area(bytes, has_tail)
}

/// The block cannot be what the directory's other blocks say it is.
pub(super) fn damaged(directory: &Inode, block: FileBlock, expected: &str) -> Error {
    Error::corrupt(
        format_args!("block {block} of {}", name_of(directory)),
        None,
        expected,
        "something else",
    )
}

pub(super) fn name_of(directory: &Inode) -> String {
    format!("directory {}", directory.number())
}

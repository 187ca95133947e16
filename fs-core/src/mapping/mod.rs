//! From a file's blocks to the device's: extent trees, the indirect blocks of
//! ext2 and ext3, and the patched extent lists of a fast-commit log.
//!
//! Looking up is here; [`edit`] is what changes a map.

mod around;
mod edit;
mod extent_convert;
mod extent_insert;
mod extent_node;
mod extent_path;
mod extent_remove;
mod extent_shift;
mod extent_store;
mod extents;
mod indirect;
mod indirect_edit;
mod indirect_row;
mod observer;
mod swap;
#[cfg(test)]
mod tests;

pub(crate) use around::around;
pub(crate) use edit::{
    FRESH_CREDITS, Progress, convert, credits, empty_map, insert, remove, shift_down, shift_up,
    split,
};
pub use observer::MappingObserver;
pub(crate) use swap::swap;

use crate::error::{ErrorKind, Result};
use crate::format::extent::Extent;
use crate::format::inode::Inode;
use crate::format::inode_flags::InodeFlags;
use crate::run::{MappedExtent, hole};
use crate::store::Store;
use crate::types::{FileBlock, FileType};

/// A file's blocks are numbered below this: the format has 32 bits for them.
pub(crate) const FILE_BLOCKS_MAX: u64 = crate::format::extent::FILE_BLOCKS_MAX;

/// How many looks at a map one request may cost. A map that is damaged so that
/// it refers to the same blocks again and again would cost 2^32.
pub(crate) const LOOKS_MAX: u32 = 1 << 18;

/// What is at `block`, and as far as one look goes: the answer may be followed
/// by another of the same state.
///
/// # Errors
/// `InvalidInput` if the inode has no block map (inline data, a short
/// symlink, a device node),
/// `Corrupt` for a damaged one.
pub(crate) fn map_some(store: &Store, inode: &Inode, block: FileBlock) -> Result<MappedExtent> {
    Ok(record(store, inode, block)?.starting_at(block))
}

/// The same from where the map's record of it starts.
fn record(store: &Store, inode: &Inode, block: FileBlock) -> Result<MappedExtent> {
    check_map(store, inode)?;
    if block.0 >= FILE_BLOCKS_MAX {
        return Ok(hole(block, u64::MAX - block.0));
    }
    if let Some(patched) = store.patches.extents(inode.number()) {
        return Ok(extents::whole_in_list(patched, block));
    }
    if inode.flags().contains(InodeFlags::EXTENTS) {
        extents::whole(store, inode, block)
    } else {
        indirect::whole(store, inode, block)
    }
}

fn check_map(store: &Store, inode: &Inode) -> Result<()> {
    let has_map = matches!(
        inode.file_type(),
        FileType::Regular | FileType::Directory | FileType::Symlink
    );
    if !has_map || inode.has_inline_data() || inode.is_fast_symlink(&store.superblock) {
        return Err(ErrorKind::InvalidInput("the inode has no block map").into());
    }
    Ok(())
}

/// What is at `block`, up to where the state changes or `limit` is passed; less
/// if that takes more than [`LOOKS_MAX`] looks.
pub(crate) fn map(
    store: &Store,
    inode: &Inode,
    block: FileBlock,
    limit: FileBlock,
) -> Result<MappedExtent> {
    let mut run = map_some(store, inode, block)?;
    for _ in 0..LOOKS_MAX {
        if run.end() >= limit || run.end().0 >= FILE_BLOCKS_MAX {
            break;
        }
        let next = map_some(store, inode, run.end())?;
        if !run.merge(&next) {
            break;
        }
    }
    Ok(run)
}

/// An extent of the tree as a run.
pub(crate) fn extent_run(extent: &Extent) -> MappedExtent {
    extents::mapped(extent)
}

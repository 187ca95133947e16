//! One block more at the end of a directory. Directories never shrink.

use crate::cache::Role;
use crate::change::Change;
use crate::directory::blocks;
use crate::error::{Error, ErrorKind, Result};
use crate::format::features::IncompatFeatures;
use crate::format::htree;
use crate::format::inode::Inode;
use crate::mapping;
use crate::run::{ExtentState, MappedExtent};
use crate::store::Store;
use crate::types::{FileBlock, FsBlock, InodeNumber};

/// Without large_dir `i_size_high` means something else in a directory.
const SIZE_BYTES_MAX: u64 = 0xFFFF_FFFF;

/// The block that [`append`] will make; 0 in a directory that has none yet.
pub(super) fn next(store: &Store, directory: &Inode) -> Result<FileBlock> {
    if directory.size_bytes() == 0 {
        return Ok(FileBlock(0));
    }
    let count = blocks::count(store, directory)?;
    let is_large = store.superblock.has_incompat(IncompatFeatures::LARGEDIR);
    let size = (count + 1).saturating_mul(store.superblock.block_bytes.into());
    if count > htree::BLOCK_MAX || size > SIZE_BYTES_MAX && !is_large {
        return Err(Error::from(ErrorKind::NoSpace).context("the directory cannot be longer"));
    }
    Ok(FileBlock(count))
}

/// Appends a block with this content near the one before.
pub(super) fn append(
    change: &mut Change<'_>,
    number: InodeNumber,
    role: Role,
    bytes: Box<[u8]>,
) -> Result<FileBlock> {
    let store = change.store();
    let directory = change.inode(number)?;
    let block = next(store, &directory)?;
    check_is_hole(store, &directory, block)?;
    let place = change.allocate_metadata(goal(change, &directory, block)?)?;
    change.create(place, role, bytes);
    let run = MappedExtent {
        file_block: block,
        len_blocks: 1,
        state: ExtentState::Written(place),
    };
    mapping::insert(change, number, run)?;
    let size_bytes = (block.0 + 1).saturating_mul(store.superblock.block_bytes.into());
    change.edit_inode(number, |edit| edit.set_size(size_bytes))?;
    Ok(block)
}

/// # Errors
/// `Corrupt` if the directory has a block there already, beyond its size.
fn check_is_hole(store: &Store, directory: &Inode, block: FileBlock) -> Result<()> {
    let run = mapping::map_some(store, directory, block)?;
    if run.state == ExtentState::Hole {
        return Ok(());
    }
    Err(Error::corrupt(
        format_args!("directory {}", directory.number()),
        None,
        format_args!("no blocks beyond its size of {block} blocks"),
        format_args!("{:?}", run.state),
    ))
}

fn goal(change: &Change<'_>, directory: &Inode, block: FileBlock) -> Result<FsBlock> {
    let store = change.store();
    match block.0.checked_sub(1) {
        Some(last) => {
            let last = blocks::place(store, directory, FileBlock(last))?;
            Ok(FsBlock(last.0.saturating_add(1)))
        }
        None => Ok(change.writer.space.goal_for(store, directory.number())),
    }
}

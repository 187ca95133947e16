//! The whole run around a block: what is worth remembering of a look at a map.

use crate::error::Result;
use crate::format::inode::Inode;
use crate::mapping::{FILE_BLOCKS_MAX, map_some, record};
use crate::run::{MappedExtent, hole};
use crate::store::Store;
use crate::types::FileBlock;

/// Looks that are spent on each side of a run that goes on in one record after the other.
const LOOKS_MAX: u32 = 64;

/// What is at `block`, with everything on both sides that continues it; as far as
/// [`LOOKS_MAX`] looks go.
///
/// # Errors
/// As [`map_some`].
pub(crate) fn around(store: &Store, inode: &Inode, block: FileBlock) -> Result<MappedExtent> {
    if block.0 >= FILE_BLOCKS_MAX {
        return Ok(hole(block, u64::MAX - block.0));
    }
    let mut run = record(store, inode, block)?;
    for _ in 0..LOOKS_MAX {
        if run.end().0 >= FILE_BLOCKS_MAX || !run.merge(&map_some(store, inode, run.end())?) {
            break;
        }
    }
    for _ in 0..LOOKS_MAX {
        let Some(last) = run.file_block.0.checked_sub(1) else {
            break;
        };
        let mut before = record(store, inode, FileBlock(last))?;
        if !before.merge(&run) {
            break;
        }
        run = before;
    }
    Ok(run)
}

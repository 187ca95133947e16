//! The whole run around a block: what is worth remembering of a look at a map.

use crate::error::Result;
use crate::format::inode::Inode;
use crate::format::inode_flags::InodeFlags;
use crate::mapping::extents::{self, Seen};
use crate::mapping::{FILE_BLOCKS_MAX, check_map, record};
use crate::run::{MappedExtent, hole};
use crate::store::Store;
use crate::types::FileBlock;

/// Looks that are spent on each side of a run that goes on in one record after the other.
const LOOKS_MAX: u32 = 64;

/// What is at `block`, with everything on both sides that continues it; as far as
/// [`LOOKS_MAX`] looks go, and as what lies beside it can be read.
///
/// # Errors
/// As [`map_some`](crate::mapping::map_some).
pub(crate) fn around(store: &Store, inode: &Inode, block: FileBlock) -> Result<MappedExtent> {
    if block.0 >= FILE_BLOCKS_MAX {
        return Ok(hole(block, u64::MAX - block.0));
    }
    check_map(store, inode)?;
    let Seen { mut run, window } = see(store, inode, block)?;
    // Inside of what was looked at the run is whole. Usually so are both its ends.
    let mut seen_end = window.end;
    for _ in 0..LOOKS_MAX {
        if run.end().0 < seen_end || seen_end >= FILE_BLOCKS_MAX {
            break;
        }
        let Ok(next) = see(store, inode, run.end()) else {
            break;
        };
        if !run.merge(&next.run.starting_at(run.end())) {
            break;
        }
        seen_end = next.window.end;
    }
    let mut seen_start = window.start;
    for _ in 0..LOOKS_MAX {
        if run.file_block.0 > seen_start {
            break;
        }
        let Some(last) = run.file_block.0.checked_sub(1) else {
            break;
        };
        let Ok(mut before) = see(store, inode, FileBlock(last)) else {
            break;
        };
        if !before.run.merge(&run) {
            break;
        }
        run = before.run;
        seen_start = before.window.start;
    }
    Ok(run)
}

/// One look: at a leaf of a tree of extents, at one record of another map.
fn see(store: &Store, inode: &Inode, block: FileBlock) -> Result<Seen> {
    let number = inode.number();
    if inode.flags().contains(InodeFlags::EXTENTS) && store.patches.extents(number).is_none() {
        return extents::whole_in_leaf(store, inode, block);
    }
    let run = record(store, inode, block)?;
    let window = run.file_block.0..run.end().0;
    Ok(Seen { run, window })
}

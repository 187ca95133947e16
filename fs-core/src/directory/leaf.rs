//! Changing one block of records: the records and the checksum behind them.

use std::ops::Range;

use crate::change::Change;
use crate::directory::blocks;
use crate::error::Result;
use crate::format::directory_block::{TAIL_BYTES, records_area_mut, set_checksum};
use crate::format::directory_records::{Record, pack};
use crate::format::inode::Inode;
use crate::store::Store;
use crate::types::FileBlock;

/// Changes the records of a block that is no index block, nothing of them outside
/// `touched`. `edit` returns `None` if the records are not what the caller has seen.
pub(super) fn edit<T>(
    change: &mut Change<'_>,
    directory: &Inode,
    block: FileBlock,
    touched: Range<usize>,
    edit: impl FnOnce(&mut [u8]) -> Option<T>,
) -> Result<T> {
    let store = change.store();
    let place = blocks::place(store, directory, block)?;
    let seed = store.seed_for(directory);
    let block_bytes = store.superblock.block_bytes as usize;
    let tail = block_bytes - TAIL_BYTES..block_bytes;
    let touched = touched.start..touched.end.min(tail.start);
    change.modify_pieces(
        place,
        blocks::role(directory, block),
        &[touched, tail],
        |bytes| blocks::check(store, directory, block, place, bytes),
        |bytes| {
            let output = edit(records_area_mut(bytes, seed.is_some()))
                .ok_or_else(|| blocks::damaged(directory, block, "the record found there"))?;
            if let Some(seed) = seed {
                set_checksum(seed, bytes);
            }
            Ok(output)
        },
    )
}

/// Gives a block of the directory these records, whatever it held.
pub(super) fn rewrite<'a>(
    change: &mut Change<'_>,
    directory: &Inode,
    block: FileBlock,
    records: impl IntoIterator<Item = Record<'a>>,
) -> Result<()> {
    let place = blocks::place(change.store(), directory, block)?;
    let bytes = packed(change.store(), directory, block, records)?;
    change.create(place, blocks::role(directory, block), bytes);
    Ok(())
}

/// The bytes of a block with these records.
pub(super) fn packed<'a>(
    store: &Store,
    directory: &Inode,
    block: FileBlock,
    records: impl IntoIterator<Item = Record<'a>>,
) -> Result<Box<[u8]>> {
    let mut bytes = vec![0; store.superblock.block_bytes as usize].into_boxed_slice();
    let seed = store.seed_for(directory);
    pack(records_area_mut(&mut bytes, seed.is_some()), records)
        .ok_or_else(|| blocks::damaged(directory, block, "records that fit into it"))?;
    if let Some(seed) = seed {
        set_checksum(seed, &mut bytes);
    }
    Ok(bytes)
}

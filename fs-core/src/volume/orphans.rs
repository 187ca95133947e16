//! Inodes that were unlinked while open, or being cut, when the system
//! stopped: the list that starts in the superblock, and the orphan file.
//!
//! A reader need not finish their work: unlinked inodes have no name, and what
//! lies beyond a cut file's size is never shown. They are collected to be told,
//! and the space of the unlinked ones counts as free, as it will be after the
//! next mount for writing.

use std::collections::HashSet;

use crate::cache::{Role, RoleKind};
use crate::error::{Error, Result};
use crate::format::features::RoCompatFeatures;
use crate::format::orphan;
use crate::mapping;
use crate::run::ExtentState;
use crate::store::Store;
use crate::types::{FileBlock, FsBlock, InodeNumber};

/// The largest orphan file Linux takes.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// What the unlinked among the orphans hold: blocks and inodes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Unlinked {
    pub(super) blocks: u64,
    pub(super) inodes: u64,
}

/// Sums up what the unlinked orphans hold.
pub(super) fn unlinked(store: &Store, orphans: &[InodeNumber]) -> Unlinked {
    let mut sum = Unlinked::default();
    for inode in orphans
        .iter()
        .filter_map(|&orphan| store.inode(orphan).ok())
    {
        if inode.links() == 0 {
            let bytes = inode.blocks_512().saturating_mul(512);
            let blocks = bytes / u64::from(store.superblock.block_bytes);
            sum.blocks = sum.blocks.saturating_add(blocks);
            sum.inodes += 1;
        }
    }
    sum
}

/// All orphans. What cannot be read ends its list with a warning: it costs a
/// reader nothing.
pub(super) fn collect(store: &Store) -> Vec<InodeNumber> {
    let mut found = Vec::new();
    if let Err(error) = walk_list(store, &mut found) {
        tracing::warn!("orphan list: {error}");
    }
    if store
        .superblock
        .has_ro_compat(RoCompatFeatures::ORPHAN_PRESENT)
        && let Err(error) = read_file(store, &mut found)
    {
        tracing::warn!("orphan file: {error}");
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// Each orphan's `i_dtime` is the number of the next.
fn walk_list(store: &Store, found: &mut Vec<InodeNumber>) -> Result<()> {
    let mut seen = HashSet::new();
    let mut next = InodeNumber(store.superblock.first_orphan);
    while next.0 != 0 && seen.insert(next) {
        let inode = store.inode(next)?;
        found.push(next);
        next = InodeNumber(inode.deleted_at());
    }
    Ok(())
}

fn read_file(store: &Store, found: &mut Vec<InodeNumber>) -> Result<()> {
    let file = store.inode(InodeNumber(store.superblock.orphan_file_inode))?;
    let size = file.size_bytes();
    if size > FILE_BYTES_MAX {
        return Err(Error::corrupt(
            "orphan file",
            None,
            format_args!("at most {FILE_BYTES_MAX} bytes"),
            size,
        ));
    }
    for number in 0..size / u64::from(store.superblock.block_bytes) {
        let run = mapping::map_some(store, &file, FileBlock(number))?;
        let ExtentState::Written(place) = run.state else {
            break;
        };
        found.extend(block_entries(
            store,
            file.number(),
            place,
            store.seed_for(&file),
        )?);
    }
    Ok(())
}

fn block_entries(
    store: &Store,
    owner: InodeNumber,
    place: FsBlock,
    seed: Option<u32>,
) -> Result<Vec<InodeNumber>> {
    let role = Role::of_inode(RoleKind::OrphanFile, owner, 0);
    let block = store.cache.get(place, role, |bytes| {
        orphan::entries(place, bytes, seed).map(|_| ())
    })?;
    orphan::entries(place, block.bytes(), None)
}

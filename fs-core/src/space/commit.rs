//! Commits: bitmaps and descriptors are written into the transaction, and what it freed is
//! given out again when it is durable.

use std::sync::atomic::Ordering;

use images::BlockDevice;

use crate::cache::{BlockCache, Role, RoleKind};
use crate::error::Result;
use crate::format::bitmap;
use crate::format::group_descriptor::{self, Counts};
use crate::store::Store;
use crate::transaction::{Preparation, TransactionId};
use crate::types::GroupNumber;

use super::group::{Group, GroupState, Slot};
use super::runs::RunSet;
use super::{BlockRun, Space};

impl Space {
    /// Brings bitmaps and descriptors up to date for the transaction being committed.
    pub(crate) fn prepare(
        &self,
        store: &Store,
        preparation: &mut Preparation<'_>,
        _id: TransactionId,
    ) -> Result<()> {
        let mut dirty = std::mem::take(&mut *self.dirty.lock());
        dirty.sort_unstable();
        dirty.dedup();
        for number in dirty {
            self.prepare_group(store, preparation, number)?;
        }
        Ok(())
    }

    fn prepare_group(
        &self,
        store: &Store,
        preparation: &mut Preparation<'_>,
        number: u32,
    ) -> Result<()> {
        let group = self.group(number)?;
        // Held until the descriptor agrees with the bitmaps again: whoever loads a group
        // looks at both.
        let mut locked = group.lock();
        let block_bytes = self.geometry.block_bytes as usize;
        let mut counts = counts_of(group, &locked.state, self.uses_uninit);
        let state = &mut *locked.state;
        state.is_dirty = false;
        if let Slot::Loaded(blocks) = &mut state.blocks
            && std::mem::take(&mut blocks.is_dirty)
        {
            let bits = store.superblock.clusters_per_group;
            let checksum = bitmap::checksum(&store.superblock, &blocks.used, bits);
            counts.block_bitmap_checksum = Some(checksum);
            let role = Role::of_volume(RoleKind::BlockBitmap);
            let bytes = padded(&blocks.used, block_bytes);
            preparation.replace(state.block_bitmap, role, bytes);
        }
        if let Slot::Loaded(inodes) = &mut state.inodes
            && std::mem::take(&mut inodes.is_dirty)
        {
            let checksum = bitmap::checksum(&store.superblock, &inodes.used, inodes.len);
            counts.inode_bitmap_checksum = Some(checksum);
            let role = Role::of_volume(RoleKind::InodeBitmap);
            let bytes = padded(&inodes.used, block_bytes);
            preparation.replace(state.inode_bitmap, role, bytes);
        }
        let number = GroupNumber(number);
        let (block, offset) = store.descriptor_place(number)?;
        let end = offset + usize::from(store.superblock.descriptor_bytes);
        let role = Role::of_volume(RoleKind::GroupDescriptors);
        let mut updated = Ok(());
        preparation.modify(
            block,
            role,
            |_| Ok(()),
            |bytes| {
                if let Some(bytes) = bytes.get_mut(offset..end) {
                    updated = group_descriptor::update(&store.superblock, number, &counts, bytes);
                }
            },
        )?;
        updated
    }

    /// Told when a transaction is durable: what it freed can be taken, and is discarded.
    pub(crate) fn durable(&self, cache: &BlockCache, id: TransactionId) {
        let is_durable = |&(freed_in, _): &(TransactionId, u32)| freed_in <= id;
        let mut numbers: Vec<u32> = {
            let freed = self.freed.lock();
            let durable = freed.iter().copied().filter(is_durable);
            durable.map(|(_, number)| number).collect()
        };
        numbers.sort_unstable();
        numbers.dedup();
        let mut freed: Vec<(u32, RunSet)> = Vec::new();
        for number in numbers {
            self.change_group(number, |locked| {
                locked.release_inodes(id);
                while let Some(runs) = locked.hold_freed_blocks(id) {
                    if !self.discard {
                        locked.release_blocks(&runs)?;
                        continue;
                    }
                    freed.push((number, runs));
                }
                Ok(())
            });
        }
        self.discard_runs(cache.device().as_ref(), &freed);
        for (number, runs) in freed {
            self.change_group(number, |locked| locked.release_blocks(&runs));
        }
        // Only now: who found no space waits for another commit as long as these are here.
        self.freed.lock().retain(|freed| !is_durable(freed));
    }

    /// Discards runs of groups in ascending order, neighbours across groups together.
    fn discard_runs(&self, device: &dyn BlockDevice, freed: &[(u32, RunSet)]) {
        let mut pending: Option<BlockRun> = None;
        let all = freed
            .iter()
            .flat_map(|(number, runs)| runs.iter().map(move |run| (*number, run)));
        for (number, run) in all {
            let next = self.geometry.run(number, run);
            match &mut pending {
                Some(last) if last.start.checked_add(last.len_blocks) == Some(next.start) => {
                    last.len_blocks = last.len_blocks.saturating_add(next.len_blocks);
                }
                _ => {
                    if let Some(last) = pending.replace(next) {
                        self.discard_run(device, last);
                    }
                }
            }
        }
        if let Some(last) = pending {
            self.discard_run(device, last);
        }
    }

    /// True if the device took it.
    fn discard_run(&self, device: &dyn BlockDevice, run: BlockRun) -> bool {
        let block_bytes = u64::from(self.geometry.block_bytes);
        let offset = run.start.0.saturating_mul(block_bytes);
        let discarded = device.discard(offset, run.len_blocks.saturating_mul(block_bytes));
        if let Err(error) = &discarded
            && !self.discard_failed.swap(true, Ordering::Relaxed)
        {
            tracing::warn!("blocks could not be discarded: {error}");
        }
        discarded.is_ok()
    }
}

/// What the descriptor says next; no checksum has changed yet.
fn counts_of(group: &Group, state: &GroupState, uses_uninit: bool) -> Counts {
    Counts {
        free_clusters: group.free_blocks.get(),
        free_inodes: group.free_inodes.get(),
        used_directories: group.directories.get(),
        unused_inodes: uses_uninit.then_some(state.unused_inodes),
        flags: state.flags,
        block_bitmap_checksum: None,
        inode_bitmap_checksum: None,
    }
}

/// A block with a bitmap at its start, ones behind.
fn padded(bitmap: &[u8], block_bytes: usize) -> Box<[u8]> {
    let mut bytes = bitmap.to_vec();
    bytes.resize(block_bytes, 0xFF);
    bytes.into_boxed_slice()
}

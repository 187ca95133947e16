//! Inodes that a crash must not forget: unlinked but still open, or being cut. The next who
//! opens the volume for writing finishes them.
//!
//! Two forms exist. The list runs from the superblock through the inodes' `i_dtime`; a change
//! in its middle edits the inode before. The orphan file has a slot for each; when it is
//! full the list takes over, as in Linux. Both are kept here as well, so that nothing is
//! searched for.
//!
//! One lock guards both forms. It is taken with a handle open, and only blocks of the cache
//! are edited under it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;

use parking_lot::Mutex;

use crate::cache::{Edited, Role, RoleKind};
use crate::change::Change;
use crate::error::{Error, Result};
use crate::format::features::{CompatFeatures, RoCompatFeatures};
use crate::format::inode::{DTIME, set_checksum};
use crate::format::orphan;
use crate::live_superblock::LiveSuperblock;
use crate::mapping;
use crate::run::ExtentState;
use crate::store::Store;
use crate::transaction::Handle;
use crate::types::{FileBlock, FsBlock, InodeNumber};

/// The largest orphan file Linux takes.
pub(crate) const FILE_BYTES_MAX: u64 = 8 << 20;
const NONE: InodeNumber = InodeNumber(0);

/// A place in the orphan file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slot {
    block: usize,
    index: usize,
}

/// A block of the orphan file.
#[derive(Debug)]
struct FileBlockState {
    place: FsBlock,
    /// Slots that are empty.
    free: usize,
    /// Those of them that an open change has emptied, which may yet be taken back.
    held: Vec<usize>,
}

#[derive(Debug, Default)]
struct State {
    /// The inode the superblock names.
    head: InodeNumber,
    /// Of each inode of the list the one before (0 for the head) and after (0 for the last).
    links: HashMap<InodeNumber, (InodeNumber, InodeNumber)>,
    /// Where each inode of the orphan file stands: once, unless the file is damaged.
    slots: HashMap<InodeNumber, Vec<Slot>>,
    blocks: Vec<FileBlockState>,
}

impl State {
    /// The slot an inode is taken from next.
    fn slot_of(&self, inode: InodeNumber) -> Option<Slot> {
        self.slots.get(&inode)?.last().copied()
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Orphans {
    state: Mutex<State>,
    /// The orphan file's checksum seed, if the volume has checksums.
    seed: Option<u32>,
    /// The orphan file, 0 without one.
    file: InodeNumber,
}

impl Orphans {
    /// Reads which inodes are orphans. A list that cannot be followed to its end is cut
    /// there: what follows is lost space, not lost data.
    ///
    /// # Errors
    /// `Corrupt` if there is an orphan file that cannot be used.
    pub(crate) fn load(store: &Store) -> Result<Self> {
        let mut state = State::default();
        load_list(store, &mut state);
        let superblock = &store.superblock;
        let (mut seed, mut file) = (None, NONE);
        if superblock.has_compat(CompatFeatures::ORPHAN_FILE) {
            let inode = store.inode(InodeNumber(superblock.orphan_file_inode))?;
            seed = store.seed_for(&inode);
            file = inode.number();
            load_file(store, file, inode.size_bytes(), seed, &mut state)
                .map_err(|error| error.context("orphan file"))?;
        }
        Ok(Self {
            state: Mutex::new(state),
            seed,
            file,
        })
    }

    /// All orphans, those of the list first.
    pub(crate) fn all(&self) -> Vec<InodeNumber> {
        let state = self.state.lock();
        let mut all: Vec<InodeNumber> = state.links.keys().copied().collect();
        all.sort_unstable();
        let filed = state.slots.keys().copied();
        let mut filed: Vec<InodeNumber> = filed
            .filter(|inode| !state.links.contains_key(inode))
            .collect();
        filed.sort_unstable();
        all.append(&mut filed);
        all
    }

    /// Makes an inode an orphan; nothing happens if it is one.
    pub(crate) fn add<'v>(&'v self, change: &mut Change<'v>, inode: InodeNumber) -> Result<()> {
        let writer = change.writer;
        let (store, superblock) = (&writer.store, &writer.superblock);
        let handle = &mut change.handle;
        let mut state = self.state.lock();
        if state.links.contains_key(&inode) || state.slots.contains_key(&inode) {
            return Ok(());
        }
        if let Some(slot) = free_slot(store, self.file, &state)? {
            self.set_slot(store, Some(handle), &mut state, slot, inode)?;
        } else {
            link_first(store, superblock, Some(handle), &mut state, inode)?;
        }
        drop(state);
        change.handle.on_rollback(move || {
            let mut state = self.state.lock();
            if let Err(error) = self.take_off(store, superblock, None, &mut state, inode) {
                tracing::error!("orphan {inode} could not be taken back: {error}");
            }
        });
        Ok(())
    }

    /// Makes an inode no orphan any more; nothing happens if it is none. Only in a damaged
    /// volume does it stand in more than one place.
    pub(crate) fn remove<'v>(&'v self, change: &mut Change<'v>, inode: InodeNumber) -> Result<()> {
        while self.remove_once(change, inode)? {}
        Ok(())
    }

    /// Takes an inode from one of its places; false if it has none.
    fn remove_once<'v>(&'v self, change: &mut Change<'v>, inode: InodeNumber) -> Result<bool> {
        let writer = change.writer;
        let (store, superblock) = (&writer.store, &writer.superblock);
        let mut state = self.state.lock();
        let slot = state.slot_of(inode);
        let was_orphan = self.take_off(
            store,
            superblock,
            Some(&mut change.handle),
            &mut state,
            inode,
        )?;
        let held = slot.map(|slot| self.hold(&mut state, slot));
        drop(state);
        if was_orphan {
            change.handle.on_rollback(move || {
                let mut state = self.state.lock();
                let restored = match &held {
                    Some(held) => self.set_slot(store, None, &mut state, held.slot, inode),
                    None => link_first(store, superblock, None, &mut state, inode),
                };
                drop(state);
                if let Err(error) = restored {
                    tracing::error!("orphan {inode} could not be restored: {error}");
                }
            });
        }
        Ok(was_orphan)
    }

    /// Keeps an emptied slot from being used until the change has ended.
    fn hold(&self, state: &mut State, slot: Slot) -> HeldSlot<'_> {
        if let Some(block) = state.blocks.get_mut(slot.block) {
            block.held.push(slot.index);
        }
        HeldSlot {
            orphans: self,
            slot,
        }
    }

    fn take_off(
        &self,
        store: &Store,
        superblock: &LiveSuperblock,
        handle: Option<&mut Handle<'_>>,
        state: &mut State,
        inode: InodeNumber,
    ) -> Result<bool> {
        if let Some(slot) = state.slot_of(inode) {
            self.set_slot(store, handle, state, slot, NONE)?;
            return Ok(true);
        }
        unlink(store, superblock, handle, state, inode)
    }

    /// Writes a slot of the orphan file, `NONE` to empty it.
    fn set_slot(
        &self,
        store: &Store,
        handle: Option<&mut Handle<'_>>,
        state: &mut State,
        slot: Slot,
        inode: InodeNumber,
    ) -> Result<()> {
        let Some(block) = state.blocks.get_mut(slot.block) else {
            return Ok(());
        };
        let (place, seed) = (block.place, self.seed);
        let role = Role::of_inode(RoleKind::OrphanFile, self.file, 0);
        let mut old = 0;
        edit_block(store, handle, place, role, |bytes| {
            old = orphan::entry(bytes, slot.index);
            orphan::set_entry(place, bytes, slot.index, inode, seed);
        })?;
        if let Entry::Occupied(mut slots) = state.slots.entry(InodeNumber(old)) {
            slots.get_mut().retain(|other| *other != slot);
            if slots.get().is_empty() {
                slots.remove();
            }
        }
        if inode == NONE {
            block.free += 1;
        } else {
            block.free = block.free.saturating_sub(1);
            state.slots.entry(inode).or_default().push(slot);
        }
        Ok(())
    }
}

/// A slot that a change has emptied: nobody uses it until the change ends, either way.
#[derive(Debug)]
struct HeldSlot<'o> {
    orphans: &'o Orphans,
    slot: Slot,
}

impl Drop for HeldSlot<'_> {
    fn drop(&mut self) {
        let mut state = self.orphans.state.lock();
        if let Some(block) = state.blocks.get_mut(self.slot.block) {
            block.held.retain(|&index| index != self.slot.index);
        }
    }
}

/// Changes a block in a handle, or while one is taken back: then the block is pinned and
/// among those of the transaction already.
fn edit_block(
    store: &Store,
    handle: Option<&mut Handle<'_>>,
    block: FsBlock,
    role: Role,
    edit: impl FnOnce(&mut [u8]),
) -> Result<()> {
    let accept = |_: &[u8]| Ok(());
    match handle {
        Some(handle) => handle.modify_shared(block, role, accept, |bytes| {
            edit(bytes);
            Ok(())
        }),
        None => {
            let Edited { .. } = store.cache.edit(block, role, false, accept, edit)?;
            Ok(())
        }
    }
}

/// Writes an inode's link of the list.
fn set_link(
    store: &Store,
    handle: Option<&mut Handle<'_>>,
    inode: InodeNumber,
    next: InodeNumber,
) -> Result<()> {
    let (block, offset) = store.inode_place(inode)?;
    let range: Range<usize> = offset..offset + usize::from(store.superblock.inode_bytes);
    let role = Role::of_volume(RoleKind::InodeTable);
    edit_block(store, handle, block, role, |bytes| {
        if let Some(bytes) = bytes.get_mut(range) {
            if let Some(link) = bytes.get_mut(DTIME) {
                link.copy_from_slice(&next.0.to_le_bytes());
            }
            set_checksum(&store.superblock, inode, bytes);
        }
    })?;
    store.forget_inode(inode);
    Ok(())
}

fn set_head(superblock: &LiveSuperblock, handle: Option<&mut Handle<'_>>, head: InodeNumber) {
    let edit = |raw: &mut crate::format::superblock::RawSuperblock| {
        raw.s_last_orphan = head.0.into();
    };
    match handle {
        Some(handle) => superblock.edit(handle, edit),
        None => superblock.edit_quietly(edit),
    }
}

fn link_first(
    store: &Store,
    superblock: &LiveSuperblock,
    mut handle: Option<&mut Handle<'_>>,
    state: &mut State,
    inode: InodeNumber,
) -> Result<()> {
    let next = state.head;
    set_link(store, handle.as_deref_mut(), inode, next)?;
    set_head(superblock, handle, inode);
    if let Some((before, _)) = state.links.get_mut(&next) {
        *before = inode;
    }
    state.links.insert(inode, (NONE, next));
    state.head = inode;
    Ok(())
}

/// False if it is not in the list.
fn unlink(
    store: &Store,
    superblock: &LiveSuperblock,
    mut handle: Option<&mut Handle<'_>>,
    state: &mut State,
    inode: InodeNumber,
) -> Result<bool> {
    let Some((before, after)) = state.links.get(&inode).copied() else {
        return Ok(false);
    };
    if before != NONE {
        set_link(store, handle.as_deref_mut(), before, after)?;
    }
    if let Err(error) = set_link(store, handle.as_deref_mut(), inode, NONE) {
        if before != NONE {
            // What follows must stay reachable. The block is pinned, so nothing is read.
            set_link(store, None, before, inode)?;
        }
        return Err(error);
    }
    if before == NONE {
        set_head(superblock, handle, after);
        state.head = after;
    } else if let Some((_, next)) = state.links.get_mut(&before) {
        *next = after;
    }
    if let Some((previous, _)) = state.links.get_mut(&after) {
        *previous = before;
    }
    state.links.remove(&inode);
    Ok(true)
}

fn load_list(store: &Store, state: &mut State) {
    let mut before = NONE;
    let mut next = InodeNumber(store.superblock.first_orphan);
    state.head = next;
    while next != NONE && !state.links.contains_key(&next) {
        let inode = match store.inode(next) {
            Ok(inode) => inode,
            Err(error) => {
                tracing::warn!("the orphan list is cut at inode {next}: {error}");
                break;
            }
        };
        let after = InodeNumber(inode.deleted_at());
        state.links.insert(next, (before, after));
        (before, next) = (next, after);
    }
    if next != NONE {
        // The list ends, or loops, here.
        match state.links.get_mut(&before) {
            Some((_, after)) => *after = NONE,
            None => state.head = NONE,
        }
    }
}

fn load_file(
    store: &Store,
    file: InodeNumber,
    size_bytes: u64,
    seed: Option<u32>,
    state: &mut State,
) -> Result<()> {
    if size_bytes > FILE_BYTES_MAX {
        let expected = format_args!("at most {FILE_BYTES_MAX} bytes");
        return Err(Error::corrupt("orphan file", None, expected, size_bytes));
    }
    let inode = store.inode(file)?;
    let block_bytes = u64::from(store.superblock.block_bytes);
    for number in 0..size_bytes / block_bytes {
        let run = mapping::map_some(store, &inode, FileBlock(number))?;
        let ExtentState::Written(place) = run.state else {
            let found = format_args!("{:?}", run.state);
            return Err(Error::corrupt("orphan file", None, "written data", found));
        };
        let role = Role::of_inode(RoleKind::OrphanFile, file, 0);
        let block = store.cache.get(place, role, |bytes| {
            orphan::entries(place, bytes, seed).map(|_| ())
        })?;
        let mut free = 0;
        for index in 0..orphan::capacity(block.bytes().len()) {
            match orphan::entry(block.bytes(), index) {
                0 => free += 1,
                inode => {
                    let slot = Slot {
                        block: state.blocks.len(),
                        index,
                    };
                    let slots = state.slots.entry(InodeNumber(inode));
                    slots.or_default().push(slot);
                }
            }
        }
        state.blocks.push(FileBlockState {
            place,
            free,
            held: Vec::new(),
        });
    }
    Ok(())
}

/// A slot of the orphan file that is empty, if there is one.
fn free_slot(store: &Store, file: InodeNumber, state: &State) -> Result<Option<Slot>> {
    let mut blocks = state.blocks.iter().enumerate();
    let Some((number, block)) = blocks.find(|(_, block)| block.free > block.held.len()) else {
        return Ok(None);
    };
    let role = Role::of_inode(RoleKind::OrphanFile, file, 0);
    let content = store.cache.get(block.place, role, |_| Ok(()))?;
    let index = (0..orphan::capacity(content.bytes().len()))
        .find(|index| orphan::entry(content.bytes(), *index) == 0 && !block.held.contains(index));
    Ok(index.map(|index| Slot {
        block: number,
        index,
    }))
}

/// Sets or clears the mark that the orphan file may hold inodes.
pub(crate) fn mark_present(raw: &mut crate::format::superblock::RawSuperblock, present: bool) {
    let mut bits = RoCompatFeatures::from_bits_retain(raw.s_feature_ro_compat.get());
    bits.set(RoCompatFeatures::ORPHAN_PRESENT, present);
    raw.s_feature_ro_compat = bits.bits().into();
}

#[cfg(test)]
mod tests;

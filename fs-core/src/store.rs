//! What every reader of a volume needs at hand: the superblock, the cache,
//! and what a fast-commit log says beyond the blocks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::cache::{Block, BlockCache, Role, RoleKind};
use crate::error::{Error, ErrorKind, Result};
use crate::format::features::IncompatFeatures;
use crate::format::group_descriptor::{self, GroupDescriptor};
use crate::format::inode::{self, Inode};
use crate::format::inode_edit::InodeEdit;
use crate::format::superblock::Superblock;
use crate::inode_cache::InodeCache;
use crate::patches::Patches;
use crate::transaction::Handle;
use crate::types::{FsBlock, GroupNumber, InodeNumber};
use crate::unsynced::Unsynced;

/// About what a cached inode costs, its share of the table included, but for the part of it
/// that holds attributes.
const INODE_COST_BYTES: usize = 320;
/// The part of an inode on disk that is kept in other form.
const PARSED_BYTES: usize = 160;

/// Read access to one volume's metadata.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) superblock: Superblock,
    pub(crate) cache: BlockCache,
    pub(crate) patches: Patches,
    pub(crate) unsynced: Unsynced,
    /// Block of the superblock copy in use: the descriptors follow it.
    superblock_block: FsBlock,
    inodes: InodeCache,
    /// First block of each group's inode table, which never moves; 0 where the descriptor
    /// has not been looked at.
    inode_tables: Box<[AtomicU64]>,
}

/// What an edit did to an inode's bytes.
#[derive(Debug, Clone, Copy)]
struct InodeChange {
    sets_link: bool,
    is_more_than_times: bool,
}

impl InodeChange {
    fn between(before: &[u8], after: &[u8]) -> Self {
        Self {
            sets_link: before.get(inode::DTIME) != after.get(inode::DTIME),
            is_more_than_times: inode::is_more_than_times(before, after),
        }
    }
}

impl Store {
    /// `superblock_block` is the block that holds the superblock copy in use.
    pub(crate) fn new(
        superblock: Superblock,
        superblock_block: FsBlock,
        cache: BlockCache,
        inode_cache_bytes: usize,
    ) -> Self {
        let attribute_bytes = usize::from(superblock.inode_bytes).saturating_sub(PARSED_BYTES);
        let cost_bytes = INODE_COST_BYTES + attribute_bytes;
        let groups = superblock.group_count;
        Self {
            superblock,
            cache,
            patches: Patches::default(),
            unsynced: Unsynced::new(),
            superblock_block,
            inodes: InodeCache::new(inode_cache_bytes / cost_bytes),
            inode_tables: (0..groups).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// The seed of checksums, if the volume has them, else `None`.
    pub(crate) fn checksum_seed(&self) -> Option<u32> {
        self.superblock
            .has_metadata_csum()
            .then_some(self.superblock.checksum_seed)
    }

    /// The seed of an inode's checksums, if the volume has them.
    pub(crate) fn seed_for(&self, inode: &Inode) -> Option<u32> {
        self.superblock
            .has_metadata_csum()
            .then_some(inode.checksum_seed())
    }

    /// Block and byte where a group's descriptor lies.
    pub(crate) fn descriptor_place(&self, group: GroupNumber) -> Result<(FsBlock, usize)> {
        let superblock = &self.superblock;
        let per_block = superblock.descriptors_per_block();
        let index = group.0 / per_block;
        let offset = (group.0 % per_block) as usize * usize::from(superblock.descriptor_bytes);
        let is_meta =
            superblock.has_incompat(IncompatFeatures::META_BG) && index >= superblock.first_meta_bg;
        let block = if is_meta {
            // The descriptors of a metagroup lie in its first group.
            let first = GroupNumber(index * per_block);
            superblock.group_first_block(first).and_then(|start| {
                // With 1 KiB blocks and clusters the superblock is in block 1.
                let boot_block =
                    first.0 == 0 && superblock.block_bytes == 1024 && start == FsBlock(0);
                let skip = u64::from(superblock.group_has_super(first)) + u64::from(boot_block);
                start.checked_add(skip)
            })
        } else {
            self.superblock_block.checked_add(u64::from(index) + 1)
        };
        match block.filter(|&block| superblock.contains(block)) {
            Some(block) => Ok((block, offset)),
            None => Err(Error::corrupt(
                format!("group descriptor {group}"),
                None,
                "a place in the volume",
                "one beyond its end",
            )),
        }
    }

    /// The checked descriptor of a group.
    ///
    /// # Errors
    /// `InvalidInput` for a group the volume does not have, `Corrupt` for a
    /// damaged descriptor; the others stay usable.
    pub(crate) fn group(&self, number: GroupNumber) -> Result<GroupDescriptor> {
        if number.0 >= self.superblock.group_count {
            return Err(ErrorKind::InvalidInput("there is no such block group").into());
        }
        let (block, offset) = self.descriptor_place(number)?;
        // Each descriptor is checked by itself, so that one damaged one costs one group.
        let role = Role::of_volume(RoleKind::GroupDescriptors);
        let bytes = self.cache.get(block, role, |_| Ok(()))?;
        let end = offset + usize::from(self.superblock.descriptor_bytes);
        let bytes = bytes.bytes().get(offset..end).unwrap_or(&[]);
        group_descriptor::parse(&self.superblock, number, block, bytes)
    }

    /// Block and byte where an inode lies.
    pub(crate) fn inode_place(&self, number: InodeNumber) -> Result<(FsBlock, usize)> {
        let superblock = &self.superblock;
        let (group, index) = superblock
            .inode_position(number)
            .ok_or_else(|| Error::from(ErrorKind::Stale).context(format_args!("inode {number}")))?;
        let table = self.inode_table(group)?;
        let inodes_per_block = superblock.block_bytes / u32::from(superblock.inode_bytes);
        let offset = (index % inodes_per_block) as usize * usize::from(superblock.inode_bytes);
        table
            .checked_add((index / inodes_per_block).into())
            .map(|block| (block, offset))
            .ok_or_else(|| Error::corrupt("inode table", None, "a block", "2^64"))
    }

    fn inode_table(&self, group: GroupNumber) -> Result<FsBlock> {
        let known = self.inode_tables.get(group.0 as usize);
        match known.map_or(0, |table| table.load(Ordering::Relaxed)) {
            0 => {}
            block => return Ok(FsBlock(block)),
        }
        let table = self.group(group)?.inode_table;
        if let Some(known) = known {
            known.store(table.0, Ordering::Relaxed);
        }
        Ok(table)
    }

    /// The checked inode.
    ///
    /// # Errors
    /// `Stale` if the number is out of range or not in use, `Corrupt` if damaged.
    pub(crate) fn inode(&self, number: InodeNumber) -> Result<Arc<Inode>> {
        if let Some(inode) = self.inodes.get(number) {
            return Ok(inode);
        }
        // Brings the block into the cache, so that nothing is read under the lock. Under it
        // the block is looked at again: what a writer has changed meanwhile it remembers
        // only afterwards.
        let loaded = self.load_inode(number, None)?;
        let mut set = self.inodes.lock(number);
        let (_, inode) = self.load_inode(number, Some(loaded))?;
        if let Some(set) = &mut set {
            set.put(&inode);
        }
        Ok(inode)
    }

    /// The inode, and the block it was read from; `known` is taken if that block is still
    /// the newest.
    fn load_inode(
        &self,
        number: InodeNumber,
        known: Option<(Arc<Block>, Arc<Inode>)>,
    ) -> Result<(Arc<Block>, Arc<Inode>)> {
        let (place, offset) = self.inode_place(number)?;
        // Each inode is checked by itself, so that one damaged one costs one file.
        let role = Role::of_volume(RoleKind::InodeTable);
        let block = self.cache.get(place, role, |_| Ok(()))?;
        if let Some(known) = known
            && Arc::ptr_eq(&known.0, &block)
        {
            return Ok(known);
        }
        let end = offset + usize::from(self.superblock.inode_bytes);
        let bytes = block.bytes().get(offset..end).unwrap_or(&[]);
        let inode = inode::parse(&self.superblock, number, place, bytes)?;
        Ok((block, Arc::new(inode)))
    }

    /// Changes an inode whose lock the caller holds, and returns it as it is then. If `edit`
    /// fails nothing has changed; if the handle is taken back all of it is, but for the
    /// link of the orphan list, which is others' as well, unless `edit` sets it: the time
    /// of deletion of an inode that is in no list.
    ///
    /// # Errors
    /// Those of [`inode`](Self::inode) and of `edit`.
    pub(crate) fn edit_inode<'v>(
        &'v self,
        handle: &mut Handle<'v>,
        number: InodeNumber,
        edit: impl FnOnce(&mut InodeEdit<'_>) -> Result<()>,
    ) -> Result<Arc<Inode>> {
        let (block, offset) = self.inode_place(number)?;
        let range = offset..offset + usize::from(self.superblock.inode_bytes);
        let role = Role::of_volume(RoleKind::InodeTable);
        let (before, change, parsed) = handle.modify_shared(
            block,
            role,
            |_| Ok(()),
            |bytes| {
                let found = bytes.len();
                let bytes = bytes
                    .get_mut(range.clone())
                    .ok_or_else(|| Error::corrupt("inode table", Some(block), "an inode", found))?;
                let before: Box<[u8]> = (&*bytes).into();
                let mut change = InodeEdit::new(&self.superblock, number, bytes);
                if let Err(error) = edit(&mut change) {
                    change.bytes_mut().copy_from_slice(&before);
                    return Err(error);
                }
                change.seal();
                let parsed = inode::parse_sealed(&self.superblock, number, block, bytes);
                if parsed.is_err() {
                    bytes.copy_from_slice(&before);
                }
                let change = InodeChange::between(&before, bytes);
                Ok((before, change, parsed))
            },
        )?;
        if change.is_more_than_times {
            self.unsynced.note(handle.id(), number);
        }
        let changed = Arc::new(parsed?);
        self.inodes.put(&changed);
        handle.on_rollback(move || {
            self.restore_inode(number, block, range, &before, change.sets_link);
        });
        Ok(changed)
    }

    /// Notes that an inode's map is being changed, where its bytes may stay as they are.
    pub(crate) fn note_map_change(&self, handle: &Handle<'_>, number: InodeNumber) {
        self.unsynced.note(handle.id(), number);
    }

    fn restore_inode(
        &self,
        number: InodeNumber,
        block: FsBlock,
        range: std::ops::Range<usize>,
        before: &[u8],
        restores_link: bool,
    ) {
        let role = Role::of_volume(RoleKind::InodeTable);
        // The block is pinned, so nothing is read.
        let restored = self.cache.edit(
            block,
            role,
            false,
            |_| Ok(()),
            |bytes| {
                if let Some(bytes) = bytes.get_mut(range) {
                    let link: Option<[u8; 4]> =
                        bytes.get(inode::DTIME).and_then(|b| b.try_into().ok());
                    bytes.copy_from_slice(before);
                    if !restores_link
                        && let (Some(link), Some(to)) = (link, bytes.get_mut(inode::DTIME))
                    {
                        to.copy_from_slice(&link);
                    }
                    inode::set_checksum(&self.superblock, number, bytes);
                }
            },
        );
        if let Err(error) = restored {
            tracing::error!("inode {number} could not be restored: {error}");
        }
        self.forget_inode(number);
    }

    /// Has the inode read again where it is needed next.
    pub(crate) fn forget_inode(&self, number: InodeNumber) {
        self.inodes.remove(number);
    }
}

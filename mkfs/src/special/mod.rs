//! The files with an inode number of their own, and the MMP block: planned in the
//! order in which mke2fs makes them, because the order decides where they lie.

mod bad_blocks;
mod file_map;
mod journal;
mod orphan_file;
mod resize;

use fs_core::encode::InodeFields;
use fs_core::{CompatFeatures, FsBlock, IncompatFeatures, InodeFlags, InodeNumber, Superblock};

use crate::error::{Error, Result};
use crate::request::Request;
use crate::space::{Run, Space};

use file_map::FileMap;
pub(crate) use resize::ReservedDescriptors;

/// An inode as it lies in its table.
pub(crate) type EncodedInode = (InodeNumber, Vec<u8>);

/// The special files of a volume.
#[derive(Debug, Default)]
pub(crate) struct Special {
    /// Their inodes, rising.
    pub(crate) inodes: Vec<EncodedInode>,
    /// Blocks with content of their own, in no order.
    pub(crate) blocks: Vec<(FsBlock, Vec<u8>)>,
    /// The reserved descriptor blocks, which hold what the resize inode maps.
    pub(crate) reserved_descriptors: Option<ReservedDescriptors>,
    /// What the journal consists of behind its superblock.
    pub(crate) journal_log: Vec<Run>,
    /// `s_jnl_blocks`.
    pub(crate) journal_backup: Option<[u32; 17]>,
    /// `s_mmp_block`, 0 for none.
    pub(crate) mmp_block: u64,
    /// `s_orphan_file_inum`, 0 for none.
    pub(crate) orphan_file_inode: u32,
}

/// What all the planners of special files work with.
struct Context<'a> {
    request: &'a Request,
    superblock: &'a Superblock,
    space: &'a mut Space,
}

impl Special {
    /// Takes the blocks of all special files.
    ///
    /// # Errors
    /// `DoesNotFit` if there are not enough blocks.
    pub(crate) fn place(
        request: &Request,
        superblock: &Superblock,
        space: &mut Space,
    ) -> Result<Self> {
        let mut context = Context {
            request,
            superblock,
            space,
        };
        let mut special = Self::default();
        let compat = superblock.features.compat;
        bad_blocks::place(&mut context, &mut special)?;
        if compat.contains(CompatFeatures::RESIZE_INODE) {
            resize::place(&mut context, &mut special)?;
        }
        if let Some(journal) = request.geometry.journal {
            journal::place(&mut context, journal, &mut special)?;
        }
        if superblock.features.incompat.contains(IncompatFeatures::MMP) {
            context.place_mmp(&mut special)?;
        }
        if compat.contains(CompatFeatures::ORPHAN_FILE) {
            orphan_file::place(&mut context, &mut special)?;
        }
        Ok(special)
    }
}

impl Context<'_> {
    fn has_extents(&self) -> bool {
        let incompat = self.superblock.features.incompat;
        incompat.contains(IncompatFeatures::EXTENTS)
    }

    fn block_len(&self) -> usize {
        usize::try_from(self.superblock.block_bytes).unwrap_or(usize::MAX)
    }

    /// Fails unless so many blocks are free.
    fn check_free(&self, len_blocks: u64) -> Result<()> {
        match len_blocks.checked_sub(self.space.free_blocks()) {
            None | Some(0) => Ok(()),
            Some(missing) => Err(self.does_not_fit(missing)),
        }
    }

    fn does_not_fit(&self, missing_blocks: u64) -> Error {
        let bytes = |blocks: u64| blocks.saturating_mul(self.superblock.block_bytes.into());
        let blocks = self.superblock.blocks_count;
        Error::DoesNotFit {
            needed_bytes: Some(bytes(blocks.saturating_add(missing_blocks))),
            available_bytes: bytes(blocks),
        }
    }

    /// The first free blocks from `goal` on, in as many runs as it takes.
    fn take_first(&mut self, goal: u64, len_blocks: u64) -> Result<Vec<Run>> {
        self.check_free(len_blocks)?;
        let runs = self.space.take_first(goal, len_blocks);
        runs.ok_or_else(|| self.does_not_fit(len_blocks))
    }

    /// The first free run from `goal` on, cut to `len_blocks_max`.
    fn take_run(&mut self, goal: u64, len_blocks_max: u64) -> Result<Run> {
        let run = self.space.take_run(goal, len_blocks_max);
        run.ok_or_else(|| self.does_not_fit(len_blocks_max))
    }

    /// The first free block from `goal` on.
    fn take_block(&mut self, goal: u64) -> Result<FsBlock> {
        self.take_run(goal, 1).map(|run| run.start)
    }

    fn place_mmp(&mut self, special: &mut Special) -> Result<()> {
        let block = self.take_block(0)?;
        let seconds = u64::try_from(self.request.identity.time.seconds).unwrap_or(0);
        let interval = self.request.geometry.mmp_interval_seconds;
        let bytes = fs_core::encode::mmp_block(self.superblock, seconds, interval);
        special.mmp_block = block.0;
        special.blocks.push((block, self.padded(bytes)));
        Ok(())
    }

    /// The bytes of a block that begins with these.
    fn padded(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        bytes.resize(self.block_len(), 0);
        bytes
    }

    /// A private regular file of root's.
    fn regular_inode(
        &self,
        number: InodeNumber,
        size_bytes: u64,
        map: &FileMap,
    ) -> Result<EncodedInode> {
        let fields = InodeFields {
            mode: 0o10_0600,
            links: 1,
            ..self.blank_fields(size_bytes, map)
        };
        let mut bytes = vec![0; usize::from(self.superblock.inode_bytes)];
        fs_core::encode::inode(self.superblock, number, &fields, &mut bytes)?;
        Ok((number, bytes))
    }

    fn blank_fields(&self, size_bytes: u64, map: &FileMap) -> InodeFields<'static> {
        let time = self.request.identity.time;
        let sectors = u64::from(self.superblock.block_bytes / 512);
        InodeFields {
            mode: 0,
            uid: 0,
            gid: 0,
            size_bytes,
            links: 0,
            blocks_512: map.blocks.saturating_mul(sectors),
            flags: if map.is_extents {
                InodeFlags::EXTENTS
            } else {
                InodeFlags::empty()
            },
            generation: 0,
            accessed: time,
            modified: time,
            changed: time,
            created: time,
            xattr_block: FsBlock(0),
            version: 0,
            block_area: map.block_area,
            xattr_area: &[],
        }
    }
}

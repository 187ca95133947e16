//! Which blocks and inodes are free, and which are taken next.

use crate::cache::BlockCache;
use crate::error::{ErrorKind, Result};
use crate::store::Store;
use crate::transaction::{Handle, Preparation, TransactionId};
use crate::types::{FileType, FsBlock, InodeNumber};

/// A run of blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockRun {
    /// First block.
    pub(crate) start: FsBlock,
    /// Number of blocks, at least 1.
    pub(crate) len_blocks: u64,
}

/// What blocks are wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Content of a file that may go on growing: its window of reserved blocks is used
    /// and renewed.
    Data {
        /// The file.
        inode: InodeNumber,
        /// Its length in blocks so far: the longer, the larger a window.
        len_blocks: u64,
    },
    /// Metadata: nodes, directories, attributes.
    Metadata,
}

/// A wish for blocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockRequest {
    /// Best is this block or one soon after.
    pub(crate) goal: FsBlock,
    /// So many are wanted; any number from 1 up to this may be given.
    pub(crate) len_blocks: u64,
    pub(crate) purpose: Purpose,
    /// The blocks kept for the reserved user may be used.
    pub(crate) may_use_reserve: bool,
}

/// A wish for an inode.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InodeRequest {
    /// The directory that will hold its name.
    pub(crate) parent: InodeNumber,
    pub(crate) file_type: FileType,
}

/// Free blocks and inodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FreeCounts {
    pub(crate) blocks: u64,
    pub(crate) inodes: u32,
    /// Inodes in use that are directories.
    pub(crate) directories: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Space {}

impl Space {
    /// Reads the counts of all groups; bitmaps are read when they are needed.
    pub(crate) fn open(_store: &Store, _discard: bool) -> Result<Self> {
        Ok(Self {})
    }

    /// Takes one run of blocks, as long as one can be found up to what is wanted. The
    /// blocks are marked in use with the handle's transaction; what they hold is undefined.
    ///
    /// # Errors
    /// `NoSpace`; `Corrupt` if a bitmap is damaged.
    pub(crate) fn allocate<'v>(
        &'v self,
        _store: &'v Store,
        _handle: &mut Handle<'v>,
        _request: &BlockRequest,
    ) -> Result<BlockRun> {
        Err(ErrorKind::NoSpace.into())
    }

    /// Takes exactly these blocks, which must be free.
    pub(crate) fn take<'v>(
        &'v self,
        _store: &'v Store,
        _handle: &mut Handle<'v>,
        _run: BlockRun,
    ) -> Result<()> {
        Err(ErrorKind::NoSpace.into())
    }

    /// Gives blocks back. They can be taken again once the transaction is durable.
    /// Metadata is forgotten (and revoked) by the caller.
    ///
    /// # Errors
    /// `Corrupt` if they are not in use, or lie outside the volume or in its own metadata.
    pub(crate) fn free<'v>(
        &'v self,
        _store: &'v Store,
        _handle: &mut Handle<'v>,
        _run: BlockRun,
    ) -> Result<()> {
        Err(ErrorKind::NoSpace.into())
    }

    /// Takes an inode. Its place in the table can be edited by [`Store::edit_inode`]
    /// whatever it holds.
    pub(crate) fn allocate_inode<'v>(
        &'v self,
        _store: &'v Store,
        _handle: &mut Handle<'v>,
        _request: InodeRequest,
    ) -> Result<InodeNumber> {
        Err(ErrorKind::NoSpace.into())
    }

    /// Gives an inode back; it can be taken again once the transaction is durable.
    pub(crate) fn free_inode<'v>(
        &'v self,
        _store: &'v Store,
        _handle: &mut Handle<'v>,
        _number: InodeNumber,
        _is_directory: bool,
    ) -> Result<()> {
        Err(ErrorKind::NoSpace.into())
    }

    /// Gives up the blocks reserved for a file that will not grow for now.
    pub(crate) fn end_reservation(&self, _inode: InodeNumber) {}

    /// Where blocks for an inode's content are best looked for when it has none yet.
    pub(crate) fn goal_for(&self, _store: &Store, _inode: InodeNumber) -> FsBlock {
        FsBlock(0)
    }

    /// Brings bitmaps and descriptors up to date for the transaction being committed.
    pub(crate) fn prepare(
        &self,
        _store: &Store,
        _preparation: &mut Preparation<'_>,
        _id: TransactionId,
    ) -> Result<()> {
        Ok(())
    }

    /// Told when a transaction is durable: what it freed can be taken, and is discarded.
    pub(crate) fn durable(&self, _cache: &BlockCache, _id: TransactionId) {}

    /// Free blocks and inodes, those included that were freed in a transaction that is not
    /// durable yet.
    pub(crate) fn counts(&self) -> FreeCounts {
        FreeCounts {
            blocks: 0,
            inodes: 0,
            directories: 0,
        }
    }
}

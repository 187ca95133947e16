//! Access to the log's blocks, and what its features mean for reading them.

use std::sync::Arc;

use images::BlockDevice;

use super::ring::{LogBlock, Ring};
use super::superblock::JournalSuperblock;
use crate::error::{Error, Result};
use crate::format::journal::{JournalCompat, JournalIncompat, checksum_seed};
use crate::types::FsBlock;

/// Where the log's blocks lie and how it is to be read.
pub(crate) struct LogLocation<'a> {
    /// The volume's device.
    pub(crate) device: &'a Arc<dyn BlockDevice>,
    /// Bytes of a block, of the volume and of the log.
    pub(crate) block_bytes: u32,
    /// Blocks of the volume.
    pub(crate) blocks_count: u64,
    /// Bytes of an inode of the volume: no fast commit may hold a longer one.
    pub(crate) inode_bytes: u32,
    /// The journal inode's mapping: the block of the volume that holds a block
    /// of the log. A hole is an error.
    pub(crate) map: &'a dyn Fn(u32) -> Result<FsBlock>,
    /// Blocks of the journal inode.
    pub(crate) len_blocks: u32,
}

impl LogLocation<'_> {
    /// The first block number that can't be a block's home.
    ///
    /// The volume's size is not the limit, or not alone: while a mounted
    /// volume grows, blocks beyond the old size are logged together with the
    /// superblock that says the new one.
    pub(super) fn target_limit(&self) -> u64 {
        let device_blocks = self.device.size_bytes() / u64::from(self.block_bytes.max(1));
        device_blocks.max(self.blocks_count)
    }

    /// Where a block of the log lies on the device, all of it.
    pub(super) fn home(&self, at: LogBlock) -> Result<FsBlock> {
        let home =
            (self.map)(at.0).map_err(|e| e.context(format_args!("journal block {}", at.0)))?;
        let end = home.checked_add(1).and_then(|b| self.offset(b));
        match end {
            Some(end) if end <= self.device.size_bytes() => Ok(home),
            _ => Err(Error::corrupt(
                format!("mapping of journal block {}", at.0),
                None,
                "a block of the device",
                home,
            )),
        }
    }

    /// Fills `buf` from the start of a block of the log; says where it lies.
    pub(super) fn read_block(&self, at: LogBlock, buf: &mut [u8]) -> Result<FsBlock> {
        let home = self.home(at)?;
        let offset = self.offset(home).unwrap_or(u64::MAX);
        self.device.read_at(buf, offset)?;
        Ok(home)
    }

    fn offset(&self, block: FsBlock) -> Option<u64> {
        block.0.checked_mul(u64::from(self.block_bytes))
    }
}

/// How the log's blocks are protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Checksums {
    /// Not at all: a commit block alone says that a transaction is complete.
    None,
    /// The commit block has a CRC-32 of the transaction.
    V1,
    /// CRC-32C of every block; 16 bits of a logged block's in its tag.
    V2 { seed: u32 },
    /// CRC-32C of every block.
    V3 { seed: u32 },
}

impl Checksums {
    /// The seed of v2 and v3, which protect each block.
    pub(super) fn block_seed(self) -> Option<u32> {
        match self {
            Self::V2 { seed } | Self::V3 { seed } => Some(seed),
            Self::None | Self::V1 => None,
        }
    }
}

/// A dirty log whose features are known.
pub(super) struct Log<'a> {
    pub(super) location: &'a LogLocation<'a>,
    pub(super) ring: Ring,
    pub(super) checksums: Checksums,
    /// Block numbers have 64 bits.
    pub(super) is_64bit: bool,
    /// Commit blocks may be on the device before what they complete.
    pub(super) is_async: bool,
}

impl<'a> Log<'a> {
    pub(super) fn new(
        location: &'a LogLocation<'a>,
        superblock: &JournalSuperblock,
    ) -> Result<Self> {
        superblock.check_features()?;
        let seed = checksum_seed(&superblock.uuid);
        let incompat = superblock.incompat;
        let checksums = if incompat.contains(JournalIncompat::CSUM_V3) {
            Checksums::V3 { seed }
        } else if incompat.contains(JournalIncompat::CSUM_V2) {
            Checksums::V2 { seed }
        } else if superblock.compat.contains(JournalCompat::CHECKSUM) {
            Checksums::V1
        } else {
            Checksums::None
        };
        Ok(Self {
            location,
            ring: superblock.ring(location.home(LogBlock(0))?)?,
            checksums,
            is_64bit: incompat.contains(JournalIncompat::BLOCKS_64BIT),
            is_async: incompat.contains(JournalIncompat::ASYNC_COMMIT),
        })
    }

    /// Room for one block.
    pub(super) fn block_buffer(&self) -> Vec<u8> {
        vec![0; usize::try_from(self.location.block_bytes).unwrap_or(0)]
    }
}

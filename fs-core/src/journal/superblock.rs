//! The log's superblock, validated: everything in it that decides where the
//! log lies and how it is read is in range and free of contradiction.

use std::ops::Range;

use zerocopy::FromBytes;

use super::LogLocation;
use super::ring::{LogBlock, Ring};
use crate::error::{Error, ErrorKind, Result};
use crate::format::journal::{
    BlockType, JBD2_CRC32C_CHKSUM, JBD2_DEFAULT_FAST_COMMIT_BLOCKS, JBD2_MAGIC_NUMBER,
    JBD2_MIN_JOURNAL_BLOCKS, JournalCompat, JournalIncompat, RawJournalSuperblock,
};
use crate::types::FsBlock;

/// The most blocks any tool gives a log. A greater one is refused rather than
/// walked through: it bounds the time and memory a hostile image can cost.
const MAX_LOG_BLOCKS: u32 = 10_240_000;

const STRUCTURE: &str = "journal superblock";

/// What the log says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalSuperblock {
    /// 1 (no features, no UUID) or 2.
    pub version: u8,
    /// Bytes of a block; the file system's block size.
    pub block_bytes: u32,
    /// Blocks of the log, its superblock included.
    pub len_blocks: u32,
    /// First block of the ring of transactions.
    pub first_block: u32,
    /// The oldest transaction in the ring.
    pub sequence: u32,
    /// Where that transaction begins; 0 if there is nothing to recover.
    pub start_block: u32,
    /// The error the log was aborted with, a negative errno; 0 if none.
    pub errno: i32,
    /// Compatible features, unknown ones included.
    pub compat: JournalCompat,
    /// Incompatible features, unknown ones included.
    pub incompat: JournalIncompat,
    /// Read-only compatible features; none is defined.
    pub ro_compat: u32,
    /// The UUID checksums are seeded with.
    pub uuid: [u8; 16],
    /// Checksum type, 4 for CRC-32C; `None` without checksums v2 or v3.
    pub checksum_type: Option<u8>,
    /// The superblock's own checksum, verified; `None` without checksums v2 or v3.
    pub checksum: Option<u32>,
    /// Blocks at the end of the log that fast commits use; 0 without them.
    pub fast_commit_blocks: u32,
    /// UUIDs of the file systems that share the log; of an internal log one,
    /// often zero.
    pub users: Vec<[u8; 16]>,
}

/// Reads and validates the superblock of the log at `log`. Unknown features are
/// reported, not refused: [`recover`](super::recover) refuses them.
///
/// # Errors
///
/// `Corrupt` if it contradicts the format, itself or `log`; `Unsupported` for
/// a checksum or a size nobody uses.
pub(crate) fn read_superblock(log: &LogLocation<'_>) -> Result<JournalSuperblock> {
    let mut block = vec![0; size_of::<RawJournalSuperblock>()];
    let home = log.read_block(LogBlock(0), &mut block)?;
    let (raw, _) = RawJournalSuperblock::ref_from_prefix(&block)
        .map_err(|_| Error::corrupt(STRUCTURE, Some(home), "1024 bytes", block.len()))?;
    let superblock = JournalSuperblock::validate(raw, home)?;
    superblock.check_place(log, home)?;
    Ok(superblock)
}

impl JournalSuperblock {
    /// True if there is something to recover.
    pub fn is_dirty(&self) -> bool {
        self.start_block != 0
    }

    fn validate(raw: &RawJournalSuperblock, home: FsBlock) -> Result<Self> {
        let magic = raw.s_header.h_magic.get();
        if magic != JBD2_MAGIC_NUMBER {
            let expected = format_args!("magic {JBD2_MAGIC_NUMBER:#010x}");
            return Err(corrupt(home, expected, format_args!("{magic:#010x}")));
        }
        let block_type = raw.s_header.h_blocktype.get();
        let superblock = match BlockType::from_raw(block_type) {
            Some(BlockType::SuperblockV1) => Self::static_fields(raw),
            Some(BlockType::SuperblockV2) => Self::all_fields(raw),
            _ => return Err(corrupt(home, "block type 3 or 4", block_type)),
        };
        superblock.check_checksum(raw, home)?;
        superblock.check_ranges(home)?;
        Ok(superblock)
    }

    /// The fields version 1 has.
    fn static_fields(raw: &RawJournalSuperblock) -> Self {
        Self {
            version: 1,
            block_bytes: raw.s_blocksize.get(),
            len_blocks: raw.s_maxlen.get(),
            first_block: raw.s_first.get(),
            sequence: raw.s_sequence.get(),
            start_block: raw.s_start.get(),
            errno: raw.s_errno.get().cast_signed(),
            compat: JournalCompat::empty(),
            incompat: JournalIncompat::empty(),
            ro_compat: 0,
            uuid: [0; 16],
            checksum_type: None,
            checksum: None,
            fast_commit_blocks: 0,
            users: Vec::new(),
        }
    }

    fn all_fields(raw: &RawJournalSuperblock) -> Self {
        let incompat = JournalIncompat::from_bits_retain(raw.s_feature_incompat.get());
        let has_checksum = incompat.intersects(JournalIncompat::CSUM_V2 | JournalIncompat::CSUM_V3);
        let fast_commit_blocks = match raw.s_num_fc_blks.get() {
            _ if !incompat.contains(JournalIncompat::FAST_COMMIT) => 0,
            0 => JBD2_DEFAULT_FAST_COMMIT_BLOCKS,
            blocks => blocks,
        };
        let users_count = usize::try_from(raw.s_nr_users.get()).unwrap_or(usize::MAX);
        Self {
            version: 2,
            compat: JournalCompat::from_bits_retain(raw.s_feature_compat.get()),
            incompat,
            ro_compat: raw.s_feature_ro_compat.get(),
            uuid: raw.s_uuid,
            checksum_type: has_checksum.then_some(raw.s_checksum_type),
            checksum: has_checksum.then_some(raw.s_checksum.get()),
            fast_commit_blocks,
            users: raw.s_users.iter().take(users_count).copied().collect(),
            ..Self::static_fields(raw)
        }
    }

    fn check_checksum(&self, raw: &RawJournalSuperblock, home: FsBlock) -> Result<()> {
        let (v2, v3) = (JournalIncompat::CSUM_V2, JournalIncompat::CSUM_V3);
        if self.incompat.contains(v2 | v3) {
            return Err(corrupt(
                home,
                "one version of checksums",
                "versions 2 and 3",
            ));
        }
        let (Some(kind), Some(stored)) = (self.checksum_type, self.checksum) else {
            return Ok(());
        };
        if self.compat.contains(JournalCompat::CHECKSUM) {
            let found = "version 1 and a later one";
            return Err(corrupt(home, "one version of checksums", found));
        }
        if kind != JBD2_CRC32C_CHKSUM {
            return Err(unsupported(format!("checksum type {kind} of the journal")));
        }
        let computed = raw.checksum();
        Error::check_checksum(STRUCTURE, Some(home), computed, stored)?;
        Ok(())
    }

    /// What must hold among the fields themselves.
    fn check_ranges(&self, home: FsBlock) -> Result<()> {
        if self.len_blocks > MAX_LOG_BLOCKS {
            let blocks = self.len_blocks;
            return Err(unsupported(format!("a journal of {blocks} blocks")));
        }
        if !(1..self.len_blocks).contains(&self.first_block) {
            let expected = format_args!("s_first in 1 .. s_maxlen {}", self.len_blocks);
            return Err(corrupt(home, expected, self.first_block));
        }
        if self.fast_commit_blocks >= self.len_blocks {
            let expected = format_args!("s_num_fc_blks below s_maxlen {}", self.len_blocks);
            return Err(corrupt(home, expected, self.fast_commit_blocks));
        }
        let ring = self.ring(home)?;
        if self.is_dirty() && !ring.contains(LogBlock(self.start_block)) {
            let expected = format_args!("s_start in the log ({ring:?})");
            return Err(corrupt(home, expected, self.start_block));
        }
        Ok(())
    }

    /// What must hold between the log and the volume it lies in.
    fn check_place(&self, log: &LogLocation<'_>, home: FsBlock) -> Result<()> {
        if self.block_bytes != log.block_bytes {
            let expected = format_args!("s_blocksize {}", log.block_bytes);
            return Err(corrupt(home, expected, self.block_bytes));
        }
        if self.len_blocks > log.len_blocks {
            let expected = format_args!("s_maxlen up to the inode's {}", log.len_blocks);
            return Err(corrupt(home, expected, self.len_blocks));
        }
        if u64::from(self.len_blocks) > log.target_limit() {
            let expected = format_args!("s_maxlen up to the device's {}", log.target_limit());
            return Err(corrupt(home, expected, self.len_blocks));
        }
        Ok(())
    }

    /// Fails with the names or bits of incompatible features this code does not
    /// know. Unknown read-only compatible ones are no obstacle to reading.
    pub(super) fn check_features(&self) -> Result<()> {
        let unknown = self.incompat.bits() & !JournalIncompat::all().bits();
        if unknown != 0 {
            let what = format!("incompatible journal feature {unknown:#x}");
            return Err(unsupported(what));
        }
        Ok(())
    }

    /// Blocks of the ring and of the fast commit area. The kernel gives fast
    /// commits nothing if less than [`JBD2_MIN_JOURNAL_BLOCKS`] would remain,
    /// and leaves one block unused between the two.
    fn areas(&self) -> (u32, Range<u32>) {
        match self.len_blocks.checked_sub(self.fast_commit_blocks) {
            Some(end) if self.fast_commit_blocks > 0 && end >= JBD2_MIN_JOURNAL_BLOCKS => {
                (end, end.saturating_add(1)..self.len_blocks)
            }
            _ => (self.len_blocks, 0..0),
        }
    }

    /// The blocks transactions are written to.
    pub(super) fn ring(&self, home: FsBlock) -> Result<Ring> {
        let (end, _) = self.areas();
        Ring::new(self.first_block, end).ok_or_else(|| {
            let expected = format_args!("s_first below the log's end {end}");
            corrupt(home, expected, self.first_block)
        })
    }

    /// The blocks fast commits are written to, from the first on each time.
    pub(super) fn fast_commit_area(&self) -> Range<u32> {
        self.areas().1
    }
}

fn corrupt(
    home: FsBlock,
    expected: impl std::fmt::Display,
    found: impl std::fmt::Display,
) -> Error {
    Error::corrupt(STRUCTURE, Some(home), expected, found)
}

fn unsupported(what: String) -> Error {
    ErrorKind::Unsupported(what).into()
}

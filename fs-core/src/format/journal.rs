//! The structures of a jbd2 log. Everything is big-endian.
//!
//! ```text
//! log of one file system (an inode's blocks, counted from 0)
//!
//!  0            s_first                            end of the log   s_maxlen
//!  +------------+----------------------------------+----------------+
//!  | superblock | ring: D b b b D b b R C D b C .. | fast commits   |
//!  +------------+----------------------------------+----------------+
//!
//!  D  descriptor   header, tags, 4 bytes of checksum (v2, v3) at the very end
//!  b  a block of the file system as it shall be; escaped if it looks like a header
//!  R  revoke       header with a byte count, block numbers, checksum as in D
//!  C  commit       header with checksum and time: the transaction is complete
//! ```
//!
//! Sources: the kernel's documentation of the ext4 on-disk format, "Journal
//! (jbd2)"; facts that are not there were taken from the behaviour of jbd2 and
//! e2fsprogs 1.47.

use bitflags::bitflags;
use zerocopy::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::checksum::crc32c_raw;

/// `h_magic` of every block that belongs to the log itself.
pub(crate) const JBD2_MAGIC_NUMBER: u32 = 0xC03B_3998;
/// The same, as it lies on disk; what an escaped block's first bytes were.
pub(crate) const JBD2_MAGIC_BYTES: [u8; 4] = JBD2_MAGIC_NUMBER.to_be_bytes();
/// `s_num_fc_blks` means this many blocks when it is 0.
pub(crate) const JBD2_DEFAULT_FAST_COMMIT_BLOCKS: u32 = 256;
/// The ring never gives blocks to the fast commit area below this size.
pub(crate) const JBD2_MIN_JOURNAL_BLOCKS: u32 = 1024;
/// `s_checksum_type` and `h_chksum_type`: CRC-32, big-endian (checksum v1).
pub(crate) const JBD2_CRC32_CHKSUM: u8 = 1;
/// `h_chksum_size` that goes with [`JBD2_CRC32_CHKSUM`].
pub(crate) const JBD2_CRC32_CHKSUM_SIZE: u8 = 4;
/// `s_checksum_type`: CRC-32C (checksums v2 and v3).
pub(crate) const JBD2_CRC32C_CHKSUM: u8 = 4;
/// Bytes of a file system's UUID, after a tag without [`TagFlags::SAME_UUID`].
pub(crate) const TAG_UUID_BYTES: usize = 16;

bitflags! {
    /// `s_feature_compat` of the log.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct JournalCompat: u32 {
        /// Commit blocks carry a CRC-32 of the whole transaction (checksum v1).
        const CHECKSUM = 0x1;
    }
}

bitflags! {
    /// `s_feature_incompat` of the log.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct JournalIncompat: u32 {
        /// There may be revoke blocks.
        const REVOKE = 0x1;
        /// Block numbers have 64 bits.
        const BLOCKS_64BIT = 0x2;
        /// Commit blocks are written without waiting for the transaction's blocks.
        const ASYNC_COMMIT = 0x4;
        /// CRC-32C of each block, 16 bits of it in the tag.
        const CSUM_V2 = 0x8;
        /// CRC-32C of each block, all of it in the tag.
        const CSUM_V3 = 0x10;
        /// The end of the log holds fast commits.
        const FAST_COMMIT = 0x20;
    }
}

bitflags! {
    /// `t_flags` of a tag.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) struct TagFlags: u16 {
        /// The block began with [`JBD2_MAGIC_NUMBER`]; zeros lie in the log instead.
        const ESCAPE = 0x1;
        /// The UUID of the tag before holds; none follows this tag.
        const SAME_UUID = 0x2;
        /// Not used by any implementation.
        const DELETED = 0x4;
        /// No tag follows.
        const LAST_TAG = 0x8;
    }
}

/// What a block of the log is, from `h_blocktype`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlockType {
    Descriptor,
    Commit,
    SuperblockV1,
    SuperblockV2,
    Revoke,
}

impl BlockType {
    pub(crate) fn from_raw(h_blocktype: u32) -> Option<Self> {
        match h_blocktype {
            1 => Some(Self::Descriptor),
            2 => Some(Self::Commit),
            3 => Some(Self::SuperblockV1),
            4 => Some(Self::SuperblockV2),
            5 => Some(Self::Revoke),
            _ => None,
        }
    }
}

/// First in every block of the log but the logged ones (`journal_header_s`).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct JournalHeader {
    /// 0x0: [`JBD2_MAGIC_NUMBER`].
    pub(crate) h_magic: U32,
    /// 0x4: see [`BlockType`].
    pub(crate) h_blocktype: U32,
    /// 0x8: the transaction.
    pub(crate) h_sequence: U32,
}
const _: () = assert!(size_of::<JournalHeader>() == 12);

impl JournalHeader {
    /// The header at the start of `block`, if that is a block of the log's own.
    pub(crate) fn of(block: &[u8]) -> Option<&Self> {
        let (header, _) = Self::ref_from_prefix(block).ok()?;
        (header.h_magic.get() == JBD2_MAGIC_NUMBER).then_some(header)
    }
}

/// Block 0 of the log (`journal_superblock_s`). Version 1 ends with `s_errno`.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct RawJournalSuperblock {
    /// 0x00: type 3 (version 1) or 4 (version 2).
    pub(crate) s_header: JournalHeader,
    /// 0x0C: the file system's block size.
    pub(crate) s_blocksize: U32,
    /// 0x10: blocks of the log, this one included.
    pub(crate) s_maxlen: U32,
    /// 0x14: first block of the ring.
    pub(crate) s_first: U32,
    /// 0x18: the oldest transaction in the ring.
    pub(crate) s_sequence: U32,
    /// 0x1C: where that transaction begins; 0 if there is nothing to recover.
    pub(crate) s_start: U32,
    /// 0x20: the error the log was aborted with, a negative errno.
    pub(crate) s_errno: U32,
    /// 0x24: see [`JournalCompat`].
    pub(crate) s_feature_compat: U32,
    /// 0x28: see [`JournalIncompat`].
    pub(crate) s_feature_incompat: U32,
    /// 0x2C: none is defined.
    pub(crate) s_feature_ro_compat: U32,
    /// 0x30: seed of all checksums of v2 and v3.
    pub(crate) s_uuid: [u8; 16],
    /// 0x40: file systems that share this log.
    pub(crate) s_nr_users: U32,
    /// 0x44: not used.
    pub(crate) s_dynsuper: U32,
    /// 0x48: not used.
    pub(crate) s_max_transaction: U32,
    /// 0x4C: not used.
    pub(crate) s_max_trans_data: U32,
    /// 0x50: [`JBD2_CRC32C_CHKSUM`] with checksums v2 and v3.
    pub(crate) s_checksum_type: u8,
    /// 0x51
    pub(crate) s_padding2: [u8; 3],
    /// 0x54: blocks for fast commits at the end of the log.
    pub(crate) s_num_fc_blks: U32,
    /// 0x58: where the next transaction goes; only kept while `s_start` is 0.
    pub(crate) s_head: U32,
    /// 0x5C
    pub(crate) s_padding: [U32; 40],
    /// 0xFC: CRC-32C of this structure with zeros in this place.
    pub(crate) s_checksum: U32,
    /// 0x100: UUIDs of the file systems that share this log.
    pub(crate) s_users: [[u8; 16]; 48],
}
const _: () = assert!(size_of::<RawJournalSuperblock>() == 1024);
const _: () = assert!(std::mem::offset_of!(RawJournalSuperblock, s_num_fc_blks) == 0x54);
const _: () = assert!(std::mem::offset_of!(RawJournalSuperblock, s_checksum) == 0xFC);
const _: () = assert!(std::mem::offset_of!(RawJournalSuperblock, s_users) == 0x100);

impl RawJournalSuperblock {
    /// Makes a superblock of version 1, which ends with `s_errno`, one of version 2.
    pub(crate) fn upgrade(&mut self) {
        let (header, rest) = self.as_mut_bytes().split_at_mut(0x24);
        rest.fill(0);
        if let Some(kind) = header.get_mut(4..8) {
            kind.copy_from_slice(&SUPERBLOCK_V2.to_be_bytes());
        }
        self.s_nr_users = 1.into();
    }

    /// What `s_checksum` should be.
    pub(crate) fn checksum(&self) -> u32 {
        crc32c_with_gap(!0, self.as_bytes(), std::mem::offset_of!(Self, s_checksum))
    }
}

/// What a new, empty log inside a file system states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewJournal {
    /// The file system's block size.
    pub block_bytes: u32,
    /// Blocks of the log, superblock and fast-commit area included.
    pub len_blocks: u32,
    /// Blocks at its end for fast commits.
    pub fast_commit_blocks: u32,
    /// The file system's UUID.
    pub uuid: [u8; 16],
}

/// `h_blocktype` of a superblock of version 2.
const SUPERBLOCK_V2: u32 = 4;

/// The 1024 bytes of the superblock of a new log: version 2, no features yet (the
/// first mount adds what the volume calls for, and the checksum with it), nothing
/// to recover.
pub fn encode_superblock(journal: &NewJournal) -> Vec<u8> {
    let mut raw = RawJournalSuperblock::new_zeroed();
    raw.s_header.h_magic = JBD2_MAGIC_NUMBER.into();
    raw.s_header.h_blocktype = SUPERBLOCK_V2.into();
    raw.s_blocksize = journal.block_bytes.into();
    raw.s_maxlen = journal.len_blocks.into();
    raw.s_first = 1.into();
    raw.s_sequence = 1.into();
    raw.s_nr_users = 1.into();
    raw.s_num_fc_blks = journal.fast_commit_blocks.into();
    raw.s_uuid = journal.uuid;
    raw.as_bytes().to_vec()
}

/// The part all tags but v3's begin with (`journal_block_tag_s`).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct BlockTag {
    /// 0x0: where the block belongs, low 32 bits.
    pub(crate) t_blocknr: U32,
    /// 0x4: low 16 bits of the block's checksum (v2).
    pub(crate) t_checksum: U16,
    /// 0x6: see [`TagFlags`].
    pub(crate) t_flags: U16,
    // 0x8: t_blocknr_high, with 64-bit block numbers. Checksum v2 adds two
    // bytes that nothing uses to either size.
}
const _: () = assert!(size_of::<BlockTag>() == 8);

/// A tag of checksum v3 (`journal_block_tag3_s`).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct BlockTag3 {
    /// 0x0: where the block belongs, low 32 bits.
    pub(crate) t_blocknr: U32,
    /// 0x4: high half of a 32-bit field whose low half is `t_flags`; zero.
    pub(crate) t_flags_high: U16,
    /// 0x6: see [`TagFlags`].
    pub(crate) t_flags: U16,
    /// 0x8: high 32 bits, meaningful with 64-bit block numbers only.
    pub(crate) t_blocknr_high: U32,
    /// 0xC: the block's checksum.
    pub(crate) t_checksum: U32,
}
const _: () = assert!(size_of::<BlockTag3>() == 16);

/// Last in descriptor and revoke blocks with checksums v2 and v3
/// (`jbd2_journal_block_tail`).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct BlockTail {
    /// 0x0: CRC-32C of the block with zeros in this place.
    pub(crate) t_checksum: U32,
}
const _: () = assert!(size_of::<BlockTail>() == 4);

/// First in a revoke block (`jbd2_journal_revoke_header_s`). Block numbers of 4
/// or 8 bytes follow.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct RevokeHeader {
    /// 0x0
    pub(crate) r_header: JournalHeader,
    /// 0xC: bytes in use, this header included.
    pub(crate) r_count: U32,
}
const _: () = assert!(size_of::<RevokeHeader>() == 16);

/// A commit block (`commit_header`).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct CommitHeader {
    /// 0x00
    pub(crate) h_header: JournalHeader,
    /// 0x0C: [`JBD2_CRC32_CHKSUM`] if this is a v1 checksum, else 0.
    pub(crate) h_chksum_type: u8,
    /// 0x0D: bytes of the v1 checksum, else 0.
    pub(crate) h_chksum_size: u8,
    /// 0x0E
    pub(crate) h_padding: [u8; 2],
    /// 0x10: v1: of the transaction; v2, v3: of this block. In the first word.
    pub(crate) h_chksum: [U32; 8],
    /// 0x30: seconds since 1970.
    pub(crate) h_commit_sec: U64,
    /// 0x38
    pub(crate) h_commit_nsec: U32,
}
const _: () = assert!(size_of::<CommitHeader>() == 60);
const _: () = assert!(std::mem::offset_of!(CommitHeader, h_commit_sec) == 0x30);

/// The seed of all checksums of v2 and v3.
pub(crate) fn checksum_seed(s_uuid: &[u8; 16]) -> u32 {
    crc32c_raw(!0, s_uuid)
}

/// What [`BlockTail::t_checksum`] of a descriptor or revoke block should be.
pub(crate) fn tail_checksum(seed: u32, block: &[u8]) -> u32 {
    let tail_at = block.len().saturating_sub(size_of::<BlockTail>());
    crc32c_with_gap(seed, block, tail_at)
}

/// What [`BlockTail::t_checksum`] of a descriptor or revoke block is.
pub(crate) fn tail_stored(block: &[u8]) -> u32 {
    BlockTail::ref_from_suffix(block).map_or(0, |(_, tail)| tail.t_checksum.get())
}

/// What the first word of [`CommitHeader::h_chksum`] should be with v2 and v3.
pub(crate) fn commit_checksum(seed: u32, block: &[u8]) -> u32 {
    crc32c_with_gap(seed, block, std::mem::offset_of!(CommitHeader, h_chksum))
}

/// `sizeof(struct commit_header)` where 64-bit fields are aligned.
const COMMIT_HEADER_PADDED_BYTES: usize = 64;

/// The same for a commit block of which only the header reached the device:
/// the rest, zeros when it was written, counts as zeros whatever it is. Linux
/// takes 64 bytes for the header, its structure's size with padding.
pub(crate) fn commit_checksum_of_header(seed: u32, block: &[u8]) -> u32 {
    let mut whole = vec![0; block.len()];
    for (to, from) in whole.iter_mut().zip(block).take(COMMIT_HEADER_PADDED_BYTES) {
        *to = *from;
    }
    commit_checksum(seed, &whole)
}

/// The checksum of a logged block, as it lies in the log, for its tag.
pub(crate) fn data_checksum(seed: u32, h_sequence: u32, block: &[u8]) -> u32 {
    crc32c_raw(crc32c_raw(seed, &h_sequence.to_be_bytes()), block)
}

/// CRC-32C of `bytes` with the four bytes at `gap_at` taken as zeros.
fn crc32c_with_gap(seed: u32, bytes: &[u8], gap_at: usize) -> u32 {
    let (before, rest) = bytes.split_at_checked(gap_at).unwrap_or((bytes, &[]));
    let after = rest.get(4..).unwrap_or(&[]);
    crc32c_raw(crc32c_raw(crc32c_raw(seed, before), &[0; 4]), after)
}

/// CRC-32 of polynomial 0x04C11DB7, most significant bit first, without
/// inversion: checksum v1 starts it with all ones and takes in the descriptor
/// and logged blocks of a transaction.
pub(crate) fn crc32_be(seed: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(seed, |crc, &byte| {
        let [high, ..] = crc.to_be_bytes();
        (crc << 8) ^ CRC32_BE.get(usize::from(high ^ byte)).copied().unwrap_or(0)
    })
}

static CRC32_BE: [u32; 256] = crc32_be_table();

const fn crc32_be_table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < table.len() {
        let mut crc = (byte as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            let carry = crc & 0x8000_0000 != 0;
            crc = (crc << 1) ^ if carry { 0x04C1_1DB7 } else { 0 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check values of the published catalogue of CRCs ("123456789").
    #[test]
    fn checksums_match_the_catalogue() {
        assert_eq!(crc32_be(!0, b"123456789"), 0x0376_E6E7, "CRC-32/MPEG-2");
        assert_eq!(!crc32c_raw(!0, b"123456789"), 0xE306_9283, "CRC-32C");
    }

    #[test]
    fn the_gap_counts_as_zeros() {
        let mut block = [7_u8; 64];
        let with_gap = crc32c_with_gap(5, &block, 16);
        block[16..20].fill(0);
        assert_eq!(crc32c_raw(5, &block), with_gap);
        assert_eq!(tail_checksum(5, &block), {
            block[60..].fill(0);
            crc32c_raw(5, &block)
        });
    }
}

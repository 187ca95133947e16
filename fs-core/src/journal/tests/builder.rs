//! Logs made up block by block.

use zerocopy::big_endian::{U32, U64};
use zerocopy::{FromZeros, IntoBytes};

use super::device::Bytes;
use crate::error::{Error, Result};
use crate::format::journal::{
    CommitHeader, JBD2_MAGIC_NUMBER, JournalCompat, JournalHeader, JournalIncompat,
    RawJournalSuperblock, checksum_seed, commit_checksum, crc32_be, data_checksum, tail_checksum,
};
use crate::journal::{LogLocation, Replay, ReplayedBlock, recover};
use crate::types::FsBlock;

pub(super) const BLOCK_BYTES: usize = 1024;
/// Blocks of the volume before the log, for targets.
pub(super) const HOME_BLOCKS: u32 = 64;
pub(super) const UUID: [u8; 16] = *b"0123456789abcdef";

pub(super) const ESCAPE: u16 = 1;
pub(super) const SAME_UUID: u16 = 2;

/// How the log is laid out and protected.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    pub(super) compat: JournalCompat,
    pub(super) incompat: JournalIncompat,
}

impl Layout {
    pub(super) const PLAIN: Self = Self::new(JournalCompat::empty(), JournalIncompat::empty());
    pub(super) const V1: Self = Self::new(JournalCompat::CHECKSUM, JournalIncompat::empty());
    pub(super) const V2: Self = Self::new(JournalCompat::empty(), JournalIncompat::CSUM_V2);
    pub(super) const V3: Self = Self::new(JournalCompat::empty(), JournalIncompat::CSUM_V3);

    const fn new(compat: JournalCompat, incompat: JournalIncompat) -> Self {
        Self { compat, incompat }
    }

    pub(super) const fn with(self, incompat: JournalIncompat) -> Self {
        Self::new(self.compat, self.incompat.union(incompat))
    }

    /// Every kind of tag there is.
    pub(super) fn all() -> Vec<Self> {
        [Self::PLAIN, Self::V1, Self::V2, Self::V3]
            .into_iter()
            .flat_map(|layout| [layout, layout.with(JournalIncompat::BLOCKS_64BIT)])
            .collect()
    }

    fn has_block_checksums(self) -> bool {
        self.incompat
            .intersects(JournalIncompat::CSUM_V2 | JournalIncompat::CSUM_V3)
    }

    fn is_64bit(self) -> bool {
        self.incompat.contains(JournalIncompat::BLOCKS_64BIT)
    }
}

/// A block to log: where it belongs, its bytes in the log, its tag's flags
/// (without LAST_TAG, which the builder sets).
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) target: u64,
    pub(super) data: Vec<u8>,
    pub(super) flags: u16,
}

/// A block full of `fill` that belongs to `target`.
pub(super) fn entry(target: u64, fill: u8) -> Entry {
    Entry {
        target,
        data: vec![fill; BLOCK_BYTES],
        flags: SAME_UUID,
    }
}

#[derive(Debug, Clone)]
pub(super) struct LogBuilder {
    pub(super) layout: Layout,
    pub(super) superblock: RawJournalSuperblock,
    /// Blocks of the log.
    pub(super) blocks: Vec<Vec<u8>>,
    /// Where the next block goes.
    pub(super) head: u32,
    /// End of the ring.
    pub(super) ring_end: u32,
    /// Seconds in the next commit block.
    pub(super) seconds: u64,
    /// Checksum v1 of the open transaction.
    crc32: u32,
}

impl LogBuilder {
    /// A log of `len_blocks` whose first transaction, `sequence`, will begin at
    /// block `start`.
    pub(super) fn new(layout: Layout, len_blocks: u32, start: u32, sequence: u32) -> Self {
        let mut superblock = RawJournalSuperblock::new_zeroed();
        superblock.s_header = header(4, 0);
        superblock.s_blocksize = U32::new(BLOCK_BYTES as u32);
        superblock.s_maxlen = U32::new(len_blocks);
        superblock.s_first = U32::new(1);
        superblock.s_start = U32::new(start);
        superblock.s_sequence = U32::new(sequence);
        superblock.s_feature_compat = U32::new(layout.compat.bits());
        superblock.s_feature_incompat = U32::new(layout.incompat.bits());
        superblock.s_uuid = UUID;
        superblock.s_nr_users = U32::new(1);
        if layout.has_block_checksums() {
            superblock.s_checksum_type = 4;
        }
        Self {
            layout,
            superblock,
            blocks: vec![vec![0; BLOCK_BYTES]; len_blocks as usize],
            head: start,
            ring_end: len_blocks,
            seconds: 1_000,
            crc32: !0,
        }
    }

    fn seed(&self) -> u32 {
        checksum_seed(&UUID)
    }

    /// Writes a block at the head; says where.
    pub(super) fn put(&mut self, block: Vec<u8>) -> u32 {
        let at = self.head;
        self.blocks[at as usize] = block;
        self.head = if at + 1 == self.ring_end { 1 } else { at + 1 };
        at
    }

    pub(super) fn descriptor(&mut self, tid: u32, entries: &[Entry]) -> u32 {
        let mut block = header(1, tid).as_bytes().to_vec();
        for (i, entry) in entries.iter().enumerate() {
            let last_tag = if i + 1 == entries.len() { 8 } else { 0 };
            let checksum = data_checksum(self.seed(), tid, &entry.data);
            self.tag(&mut block, entry.target, entry.flags | last_tag, checksum);
            if entry.flags & SAME_UUID == 0 {
                block.extend([0xEE; 16]);
            }
        }
        block.resize(BLOCK_BYTES, 0);
        self.seal(&mut block);
        self.crc32 = crc32_be(self.crc32, &block);
        let at = self.put(block);
        for entry in entries {
            self.crc32 = crc32_be(self.crc32, &entry.data);
            self.put(entry.data.clone());
        }
        at
    }

    fn tag(&self, block: &mut Vec<u8>, target: u64, flags: u16, checksum: u32) {
        let (low, high) = (target as u32, (target >> 32) as u32);
        block.extend(low.to_be_bytes());
        if self.layout.incompat.contains(JournalIncompat::CSUM_V3) {
            block.extend(u32::from(flags).to_be_bytes());
            block.extend(high.to_be_bytes());
            block.extend(checksum.to_be_bytes());
            return;
        }
        let is_v2 = self.layout.incompat.contains(JournalIncompat::CSUM_V2);
        let checksum = if is_v2 { checksum as u16 } else { 0 };
        block.extend(checksum.to_be_bytes());
        block.extend(flags.to_be_bytes());
        if self.layout.is_64bit() {
            block.extend(high.to_be_bytes());
        }
        if is_v2 {
            block.extend([0; 2]);
        }
    }

    pub(super) fn revoke(&mut self, tid: u32, targets: &[u64]) -> u32 {
        let mut block = header(5, tid).as_bytes().to_vec();
        block.extend([0; 4]);
        for &target in targets {
            if self.layout.is_64bit() {
                block.extend(target.to_be_bytes());
            } else {
                block.extend((target as u32).to_be_bytes());
            }
        }
        let used = block.len() as u32;
        block[12..16].copy_from_slice(&used.to_be_bytes());
        block.resize(BLOCK_BYTES, 0);
        self.seal(&mut block);
        self.put(block)
    }

    /// Ends the transaction; the next commit block is a second younger.
    pub(super) fn commit(&mut self, tid: u32) -> u32 {
        let mut commit = CommitHeader::new_zeroed();
        commit.h_header = header(2, tid);
        commit.h_commit_sec = U64::new(self.seconds);
        self.seconds += 1;
        if self.layout.compat.contains(JournalCompat::CHECKSUM) {
            (commit.h_chksum_type, commit.h_chksum_size) = (1, 4);
            commit.h_chksum[0] = U32::new(self.crc32);
        }
        self.crc32 = !0;
        let mut block = commit.as_bytes().to_vec();
        block.resize(BLOCK_BYTES, 0);
        if self.layout.has_block_checksums() {
            let checksum = commit_checksum(self.seed(), &block);
            block[16..20].copy_from_slice(&checksum.to_be_bytes());
        }
        self.put(block)
    }

    /// A whole transaction.
    pub(super) fn transaction(&mut self, tid: u32, entries: &[Entry]) {
        self.descriptor(tid, entries);
        self.commit(tid);
    }

    fn seal(&self, block: &mut [u8]) {
        if self.layout.has_block_checksums() {
            let checksum = tail_checksum(self.seed(), block);
            block[BLOCK_BYTES - 4..].copy_from_slice(&checksum.to_be_bytes());
        }
    }

    /// Computes the checksum of a changed descriptor or revoke block again.
    pub(super) fn reseal(&mut self, at: u32) {
        let mut block = std::mem::take(&mut self.blocks[at as usize]);
        self.seal(&mut block);
        self.blocks[at as usize] = block;
    }

    /// The volume: homes of zeros, then the log, its last block first.
    pub(super) fn volume(&self) -> Vec<u8> {
        let mut superblock = self.superblock.clone();
        if superblock.s_checksum.get() == 0 {
            superblock.s_checksum = U32::new(superblock.checksum());
        }
        let mut volume = vec![0; HOME_BLOCKS as usize * BLOCK_BYTES];
        for block in self.blocks[1..].iter().rev() {
            volume.extend(block);
        }
        volume.extend(superblock.as_bytes());
        volume
    }

    pub(super) fn recover(&self) -> Result<Replay> {
        recover_volume(self.volume(), self.blocks.len() as u32)
    }

    pub(super) fn error(&self) -> Error {
        self.recover().expect_err("recovery succeeded")
    }
}

fn header(h_blocktype: u32, h_sequence: u32) -> JournalHeader {
    JournalHeader {
        h_magic: U32::new(JBD2_MAGIC_NUMBER),
        h_blocktype: U32::new(h_blocktype),
        h_sequence: U32::new(h_sequence),
    }
}

/// Where the builder puts block `at` of a log of `len_blocks`.
pub(super) fn home(at: u32, len_blocks: u32) -> FsBlock {
    FsBlock(u64::from(HOME_BLOCKS) + u64::from(len_blocks - 1 - at))
}

/// Recovers the log of a volume made by [`LogBuilder::volume`].
pub(super) fn recover_volume(volume: Vec<u8>, len_blocks: u32) -> Result<Replay> {
    let blocks_count = (volume.len() / BLOCK_BYTES) as u64;
    let device = Bytes::device(volume);
    recover(&LogLocation {
        device: &device,
        block_bytes: BLOCK_BYTES as u32,
        blocks_count,
        inode_bytes: 256,
        map: &|at| {
            assert!(at < len_blocks, "block {at} is not the log's");
            Ok(home(at, len_blocks))
        },
        len_blocks,
    })
}

/// First byte of each recovered block, of a volume made by the builder.
pub(super) fn fills(log: &LogBuilder) -> Vec<(u64, u8)> {
    let volume = log.volume();
    let replay = log.recover().unwrap();
    replay
        .blocks
        .iter()
        .map(|(target, content)| (target.0, content_of(&volume, content)[BLOCK_BYTES - 1]))
        .collect()
}

pub(super) fn content_of<'a>(volume: &'a [u8], content: &'a ReplayedBlock) -> &'a [u8] {
    match content {
        ReplayedBlock::InLog(block) => {
            let offset = block.0 as usize * BLOCK_BYTES;
            &volume[offset..offset + BLOCK_BYTES]
        }
        ReplayedBlock::Bytes(bytes) => bytes,
    }
}

/// A block that begins with the log's magic number, as the log has it.
pub(super) fn escaped(target: u64, fill: u8) -> Entry {
    let mut entry = entry(target, fill);
    entry.data[..4].fill(0);
    entry.flags |= ESCAPE;
    entry
}

#[test]
fn an_empty_builder_is_a_clean_log() {
    let replay = LogBuilder::new(Layout::V3, 32, 0, 1).recover().unwrap();
    assert!(replay.blocks.is_empty() && replay.tids.is_none());
}

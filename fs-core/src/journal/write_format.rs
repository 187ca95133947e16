//! The blocks a transaction consists of in the log: revokes, descriptors, logged blocks,
//! commit. The counterpart of `descriptor`, `revoke` and `scan`.

use zerocopy::{FromZeros, IntoBytes};

use super::log::Checksums;
use crate::error::Result;
use crate::format::journal::{
    BlockTag, BlockTag3, BlockTail, CommitHeader, JBD2_CRC32_CHKSUM, JBD2_CRC32_CHKSUM_SIZE,
    JBD2_MAGIC_BYTES, JBD2_MAGIC_NUMBER, JournalHeader, RevokeHeader, TAG_UUID_BYTES, TagFlags,
    commit_checksum, crc32_be, data_checksum, tail_checksum,
};
use crate::types::{FsBlock, Timestamp};

/// `h_blocktype` of what is written.
const DESCRIPTOR: u32 = 1;
const COMMIT: u32 = 2;
const REVOKE: u32 = 5;

/// How blocks of the log are laid out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Format {
    pub(super) block_bytes: u32,
    pub(super) checksums: Checksums,
    pub(super) is_64bit: bool,
}

impl Format {
    fn tail_bytes(self) -> usize {
        self.checksums
            .block_seed()
            .map_or(0, |_| size_of::<BlockTail>())
    }

    fn tag_bytes(self) -> usize {
        let high_bytes = if self.is_64bit { 4 } else { 0 };
        match self.checksums {
            Checksums::None | Checksums::V1 => size_of::<BlockTag>() + high_bytes,
            Checksums::V2 { .. } => size_of::<BlockTag>() + high_bytes + 2,
            Checksums::V3 { .. } => size_of::<BlockTag3>(),
        }
    }

    /// Tags of one descriptor block. The UUID after the first is room every block pays.
    fn tags_per_block(self) -> usize {
        let room = (self.block_bytes as usize)
            .saturating_sub(size_of::<JournalHeader>() + TAG_UUID_BYTES + self.tail_bytes());
        (room / self.tag_bytes()).max(1)
    }

    fn record_bytes(self) -> usize {
        if self.is_64bit { 8 } else { 4 }
    }

    fn revokes_per_block(self) -> usize {
        let room = (self.block_bytes as usize)
            .saturating_sub(size_of::<RevokeHeader>() + self.tail_bytes());
        (room / self.record_bytes()).max(1)
    }

    /// Blocks a transaction takes in the log.
    pub(super) fn blocks_needed(self, blocks: usize, revokes: usize) -> u64 {
        let descriptors = blocks.div_ceil(self.tags_per_block());
        let revoke_blocks = revokes.div_ceil(self.revokes_per_block());
        (blocks + descriptors + revoke_blocks + 1) as u64
    }
}

/// Takes each block of the log in turn.
type Put<'a> = dyn FnMut(&[u8]) -> Result<()> + 'a;

/// One transaction on its way into the log.
#[derive(Debug)]
pub(super) struct TransactionBuilder {
    format: Format,
    sequence: u32,
    /// Checksum v1 so far.
    crc32: u32,
    block: Vec<u8>,
}

impl TransactionBuilder {
    pub(super) fn new(format: Format, sequence: u32) -> Self {
        Self {
            format,
            sequence,
            crc32: !0,
            block: vec![0; format.block_bytes as usize],
        }
    }

    /// Starts a block of the log's own.
    fn begin(&mut self, block_type: u32) {
        self.block.fill(0);
        let header = JournalHeader {
            h_magic: JBD2_MAGIC_NUMBER.into(),
            h_blocktype: block_type.into(),
            h_sequence: self.sequence.into(),
        };
        put_at(&mut self.block, 0, header.as_bytes());
    }

    /// Seals a descriptor or revoke block.
    fn set_tail(&mut self) {
        if let Some(seed) = self.format.checksums.block_seed() {
            let at = self.block.len().saturating_sub(size_of::<BlockTail>());
            let checksum = tail_checksum(seed, &self.block);
            put_at(&mut self.block, at, &checksum.to_be_bytes());
        }
    }

    /// The revoke blocks.
    pub(super) fn revokes(&mut self, revoked: &[FsBlock], put: &mut Put<'_>) -> Result<()> {
        let record_bytes = self.format.record_bytes();
        for some in revoked.chunks(self.format.revokes_per_block()) {
            self.begin(REVOKE);
            let mut at = size_of::<RevokeHeader>();
            for block in some {
                let number = block.0.to_be_bytes();
                let record = number.get(8 - record_bytes..).unwrap_or(&[]);
                put_at(&mut self.block, at, record);
                at += record_bytes;
            }
            // r_count follows the common header; no block has 4 GiB.
            let used = u32::try_from(at).unwrap_or(u32::MAX);
            put_at(
                &mut self.block,
                size_of::<JournalHeader>(),
                &used.to_be_bytes(),
            );
            self.set_tail();
            put(&self.block)?;
        }
        Ok(())
    }

    /// The descriptors, each followed by the blocks it describes.
    pub(super) fn blocks(&mut self, blocks: &[(FsBlock, &[u8])], put: &mut Put<'_>) -> Result<()> {
        for some in blocks.chunks(self.format.tags_per_block()) {
            self.descriptor(some);
            self.set_tail();
            self.crc32 = self.v1(&[&self.block]);
            put(&self.block)?;
            for (_, bytes) in some {
                if let Some(escaped) = escaped(bytes) {
                    self.crc32 = self.v1(&[&escaped]);
                    put(&escaped)?;
                } else {
                    self.crc32 = self.v1(&[bytes]);
                    put(bytes)?;
                }
            }
        }
        Ok(())
    }

    fn v1(&self, pieces: &[&[u8]]) -> u32 {
        match self.format.checksums {
            Checksums::V1 => pieces
                .iter()
                .fold(self.crc32, |crc, bytes| crc32_be(crc, bytes)),
            _ => self.crc32,
        }
    }

    fn descriptor(&mut self, blocks: &[(FsBlock, &[u8])]) {
        self.begin(DESCRIPTOR);
        let mut at = size_of::<JournalHeader>();
        for (index, (target, bytes)) in blocks.iter().enumerate() {
            let mut flags = TagFlags::empty();
            flags.set(TagFlags::SAME_UUID, index > 0);
            flags.set(TagFlags::LAST_TAG, index + 1 == blocks.len());
            let escaped = escaped(bytes);
            flags.set(TagFlags::ESCAPE, escaped.is_some());
            let logged = escaped.as_deref().unwrap_or(bytes);
            let tag = self.tag(*target, flags, logged);
            put_at(&mut self.block, at, &tag);
            at += tag.len();
            if index == 0 {
                at += TAG_UUID_BYTES; // Zeros: the log serves one file system.
            }
        }
    }

    fn tag(&self, target: FsBlock, flags: TagFlags, logged: &[u8]) -> Vec<u8> {
        let checksum = match self.format.checksums.block_seed() {
            Some(seed) => data_checksum(seed, self.sequence, logged),
            None => 0,
        };
        let [h0, h1, h2, h3, l0, l1, l2, l3] = target.0.to_be_bytes();
        let (high, low) = ([h0, h1, h2, h3], [l0, l1, l2, l3]);
        let [_, _, c0, c1] = checksum.to_be_bytes();
        let flags = flags.bits().to_be_bytes();
        let mut tag = Vec::with_capacity(self.format.tag_bytes());
        tag.extend_from_slice(&low);
        if let Checksums::V3 { .. } = self.format.checksums {
            tag.extend_from_slice(&[0, 0]);
            tag.extend_from_slice(&flags);
            tag.extend_from_slice(if self.format.is_64bit { &high } else { &[0; 4] });
            tag.extend_from_slice(&checksum.to_be_bytes());
        } else {
            tag.extend_from_slice(&[c0, c1]);
            tag.extend_from_slice(&flags);
            if self.format.is_64bit {
                tag.extend_from_slice(&high);
            }
            tag.resize(self.format.tag_bytes(), 0);
        }
        tag
    }

    /// The commit block.
    pub(super) fn commit(&mut self, now: Timestamp) -> Vec<u8> {
        self.begin(COMMIT);
        let mut commit = CommitHeader::new_zeroed();
        commit.h_header = JournalHeader {
            h_magic: JBD2_MAGIC_NUMBER.into(),
            h_blocktype: COMMIT.into(),
            h_sequence: self.sequence.into(),
        };
        commit.h_commit_sec = now.seconds.max(0).cast_unsigned().into();
        commit.h_commit_nsec = now.nanos.into();
        if self.format.checksums == Checksums::V1 {
            commit.h_chksum_type = JBD2_CRC32_CHKSUM;
            commit.h_chksum_size = JBD2_CRC32_CHKSUM_SIZE;
            if let Some(first) = commit.h_chksum.first_mut() {
                first.set(self.crc32);
            }
        }
        put_at(&mut self.block, 0, commit.as_bytes());
        if let Some(seed) = self.format.checksums.block_seed() {
            let checksum = commit_checksum(seed, &self.block);
            let at = std::mem::offset_of!(CommitHeader, h_chksum);
            put_at(&mut self.block, at, &checksum.to_be_bytes());
        }
        self.block.clone()
    }
}

/// A block that begins like one of the log's own goes there with zeros instead.
fn escaped(bytes: &[u8]) -> Option<Vec<u8>> {
    bytes.starts_with(&JBD2_MAGIC_BYTES).then(|| {
        let mut escaped = bytes.to_vec();
        put_at(&mut escaped, 0, &[0; 4]);
        escaped
    })
}

fn put_at(block: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = block.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

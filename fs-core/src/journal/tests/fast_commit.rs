//! Fast commits: which count, and how they end.

use zerocopy::big_endian::U32;

use super::builder::{BLOCK_BYTES, Layout, LogBuilder, entry, fills};
use crate::error::ErrorKind;
use crate::format::checksum::crc32c_raw;
use crate::format::journal::JournalIncompat;
use crate::journal::{FastCommitName, FastCommitOp};
use crate::types::InodeNumber;

const AREA_BLOCKS: u32 = 16;
const LEN_BLOCKS: u32 = 1024 + AREA_BLOCKS;
/// First block of the area; the one before it is never used.
const AREA: u32 = 1024 + 1;
/// The transaction the fast commits run ahead of.
const TID: u32 = 6;

const ADD_RANGE: u16 = 1;
const DEL_RANGE: u16 = 2;
const CREAT: u16 = 3;
const LINK: u16 = 4;
const UNLINK: u16 = 5;
const INODE: u16 = 6;
const PAD: u16 = 7;
const TAIL: u16 = 8;
const HEAD: u16 = 9;

/// A log with one transaction and room for fast commits.
pub(super) fn log() -> LogBuilder {
    let layout = Layout::V3.with(JournalIncompat::FAST_COMMIT);
    let mut log = LogBuilder::new(layout, LEN_BLOCKS, 1, TID - 1);
    log.superblock.s_num_fc_blks = U32::new(AREA_BLOCKS);
    log.transaction(TID - 1, &[entry(1, 1)]);
    log
}

/// Writes records as Linux does: padded at a block's end, checksummed at each TAIL.
pub(super) struct Area {
    pub(super) bytes: Vec<u8>,
    crc_from: usize,
    pub(super) tid: u32,
}

impl Area {
    pub(super) fn new() -> Self {
        let mut area = Self::without_head(TID);
        area.head(0, TID);
        area
    }

    fn without_head(tid: u32) -> Self {
        Self {
            bytes: Vec::new(),
            crc_from: 0,
            tid,
        }
    }

    fn head(&mut self, features: u32, tid: u32) {
        let value = [features.to_le_bytes(), tid.to_le_bytes()].concat();
        self.record(HEAD, &value);
    }

    fn left_in_block(&self) -> usize {
        BLOCK_BYTES - self.bytes.len() % BLOCK_BYTES
    }

    fn record(&mut self, tag: u16, value: &[u8]) {
        if self.left_in_block() < 4 + value.len() + 12 {
            let pad = self.left_in_block() - 4;
            self.raw(PAD, &vec![0; pad]);
        }
        self.raw(tag, value);
    }

    fn raw(&mut self, tag: u16, value: &[u8]) {
        self.bytes.extend(tag.to_le_bytes());
        self.bytes.extend((value.len() as u16).to_le_bytes());
        self.bytes.extend(value);
    }

    pub(super) fn name(&mut self, tag: u16, parent: u32, inode: u32, name: &[u8]) {
        let value = [&parent.to_le_bytes(), &inode.to_le_bytes(), name].concat();
        self.record(tag, &value);
    }

    pub(super) fn inode(&mut self, inode: u32, raw: &[u8]) {
        self.record(INODE, &[&inode.to_le_bytes(), raw].concat());
    }

    pub(super) fn tail(&mut self) {
        let value_bytes = self.left_in_block() - 4;
        self.bytes.extend(TAIL.to_le_bytes());
        self.bytes.extend((value_bytes as u16).to_le_bytes());
        self.bytes.extend(self.tid.to_le_bytes());
        let crc = crc32c_raw(0, &self.bytes[self.crc_from..]);
        self.bytes.extend(crc.to_le_bytes());
        self.bytes.resize(self.bytes.len() + value_bytes - 8, 0xAB);
        self.crc_from = self.bytes.len();
    }

    pub(super) fn write_to(&self, log: &mut LogBuilder) {
        for (i, block) in self.bytes.chunks(BLOCK_BYTES).enumerate() {
            let mut block = block.to_vec();
            block.resize(BLOCK_BYTES, 0);
            log.blocks[AREA as usize + i] = block;
        }
    }

    /// Number of operations and of fast commits a log with this area has.
    fn counts(&self) -> (usize, u32) {
        let mut log = log();
        self.write_to(&mut log);
        let replay = log.recover().unwrap();
        assert_eq!(replay.blocks.len(), 1);
        (replay.fast_commits.len(), replay.fast_commit_count)
    }
}

fn range(value: &[u32]) -> Vec<u8> {
    value.iter().flat_map(|n| n.to_le_bytes()).collect()
}

#[test]
fn every_operation_is_decoded() {
    let mut area = Area::new();
    area.record(ADD_RANGE, &range(&[12, 3, 0x0001_0002, 99]));
    area.record(DEL_RANGE, &range(&[12, 7, u32::MAX]));
    area.name(CREAT, 2, 13, b"a");
    area.name(LINK, 2, 14, &[b'n'; 255]);
    area.tail();
    area.name(UNLINK, 2, 15, b"\xFF\x00");
    area.inode(16, &[5; 160]);
    area.raw(PAD, &[1, 2, 3]);
    area.tail();
    let mut log = log();
    area.write_to(&mut log);
    let replay = log.recover().unwrap();
    let name = |inode, name: &[u8]| FastCommitName {
        parent: InodeNumber(2),
        inode: InodeNumber(inode),
        name: name.into(),
    };
    assert_eq!(
        replay.fast_commits,
        [
            FastCommitOp::AddRange {
                inode: InodeNumber(12),
                extent: [3, 0, 0, 0, 2, 0, 1, 0, 99, 0, 0, 0],
            },
            FastCommitOp::DelRange {
                inode: InodeNumber(12),
                first_block: 7,
                len_blocks: u32::MAX,
            },
            FastCommitOp::Create(name(13, b"a")),
            FastCommitOp::Link(name(14, &[b'n'; 255])),
            FastCommitOp::Unlink(name(15, b"\xFF\x00")),
            FastCommitOp::Inode {
                inode: InodeNumber(16),
                raw: [5; 160].into(),
            },
        ]
    );
    assert_eq!(replay.fast_commit_count, 2);
}

#[test]
fn a_fast_commit_spans_blocks_up_to_the_last() {
    let mut area = Area::new();
    while area.bytes.len() < (AREA_BLOCKS as usize - 2) * BLOCK_BYTES {
        area.inode(20, &[1; 256]);
    }
    area.tail();
    assert_eq!(area.bytes.len(), (AREA_BLOCKS as usize - 1) * BLOCK_BYTES);
    let (operations, commits) = area.counts();
    assert!(operations > 30 && commits == 1);
}

#[test]
fn what_follows_the_last_good_tail_does_not_count() {
    let mut good = Area::new();
    good.name(CREAT, 2, 13, b"a");
    good.tail();
    let good_bytes = good.bytes.len();

    let mut incomplete = Area::new();
    incomplete.bytes.clone_from(&good.bytes);
    incomplete.name(CREAT, 2, 14, b"b");
    assert_eq!(incomplete.counts(), (1, 1));

    good.name(CREAT, 2, 14, b"b");
    good.name(CREAT, 2, 15, b"c");
    good.tail();
    assert_eq!(good.counts(), (3, 2));
    // Any damage to the second takes all of it away.
    for at in [0, 2, 4, 8, 12, 13, 14, 15, 20, 21, 40] {
        let mut bad = Area::new();
        bad.bytes.clone_from(&good.bytes);
        if at < 39 {
            bad.bytes[good_bytes + at] ^= 0x80;
            assert_eq!(bad.counts(), (1, 1), "byte {at}");
        } else {
            bad.bytes[2 * BLOCK_BYTES - 1] ^= 0x80;
            assert_eq!(
                bad.counts(),
                (3, 2),
                "what a TAIL fills up with does not count"
            );
        }
        // Damage to the first takes everything away.
        bad.bytes[20] ^= 1;
        assert_eq!(bad.counts(), (0, 0));
    }
}

#[test]
fn another_transaction_is_left_from_an_earlier_time() {
    for tid in [TID - 1, TID + 1, 0] {
        let mut area = Area::without_head(tid);
        area.head(0, tid);
        area.name(CREAT, 2, 13, b"a");
        area.tail();
        assert_eq!(area.counts(), (0, 0));
        // Even one with features unknown today.
        let mut area = Area::without_head(tid);
        area.head(!0, tid);
        area.tail();
        assert_eq!(area.counts(), (0, 0));

        // After a good one: with a head of its own, and without.
        let mut area = Area::new();
        area.name(CREAT, 2, 13, b"a");
        area.tail();
        area.tid = tid;
        let mut with_head = Area::without_head(tid);
        with_head.bytes.clone_from(&area.bytes);
        with_head.crc_from = area.crc_from;
        with_head.head(0, tid);
        for mut area in [area, with_head] {
            area.name(CREAT, 2, 14, b"b");
            area.tail();
            assert_eq!(area.counts(), (1, 1));
        }
    }
}

#[test]
fn an_area_that_begins_without_head_is_empty() {
    let mut area = Area::without_head(TID);
    area.name(CREAT, 2, 13, b"a");
    area.tail();
    assert_eq!(area.counts(), (0, 0));
    assert_eq!(Area::without_head(TID).counts(), (0, 0));
}

#[test]
fn unknown_features_are_refused() {
    let mut area = Area::without_head(TID);
    area.head(4, TID);
    area.tail();
    let mut log = log();
    area.write_to(&mut log);
    assert_eq!(
        *log.error().kind(),
        ErrorKind::Unsupported("fast commit feature 0x4".into())
    );
}

#[test]
fn records_of_a_wrong_length_end_the_area() {
    let values: [(u16, usize); 14] = [
        (HEAD, 7),
        (HEAD, 9),
        (ADD_RANGE, 15),
        (ADD_RANGE, 17),
        (DEL_RANGE, 11),
        (DEL_RANGE, 13),
        (CREAT, 7),
        (CREAT, 8),
        (LINK, 8 + 256),
        (UNLINK, 0),
        (INODE, 4 + 127),
        (INODE, 4 + 257),
        (0, 4),
        (10, 4),
    ];
    for (tag, len) in values {
        let mut value = vec![0; len];
        if tag == HEAD {
            value[4] = TID as u8;
        }
        let mut area = Area::new();
        area.name(CREAT, 2, 13, b"a");
        area.tail();
        area.raw(tag, &value);
        area.tail();
        assert_eq!(area.counts(), (1, 1), "tag {tag} of {len}");
        let mut area = Area::new();
        area.raw(tag, &value);
        area.tail();
        assert_eq!(area.counts(), (0, 0), "tag {tag} of {len}");
    }
    for len in [0, 4, 7] {
        let mut area = Area::new();
        area.raw(TAIL, &vec![0; len]);
        assert_eq!(area.counts(), (0, 0), "TAIL of {len}");
    }
    // Beyond the block's end.
    let mut area = Area::new();
    area.name(CREAT, 2, 13, b"a");
    let length_at = area.bytes.len() - 11;
    area.tail();
    for len in [1013_u16, u16::MAX] {
        area.bytes[length_at..length_at + 2].copy_from_slice(&len.to_le_bytes());
        assert_eq!(area.counts(), (0, 0));
    }
}

#[test]
fn the_ring_ends_before_the_area() {
    let mut log = log();
    log.ring_end = 1024;
    log.head = 1022;
    log.superblock.s_start = U32::new(1022);
    log.transaction(TID - 1, &[entry(1, 1), entry(2, 2), entry(3, 3)]);
    assert_eq!(log.head, 4);
    let mut area = Area::new();
    area.name(CREAT, 2, 13, b"a");
    area.tail();
    area.write_to(&mut log);
    assert_eq!(fills(&log), [(1, 1), (2, 2), (3, 3)]);
    assert_eq!(log.recover().unwrap().fast_commit_count, 1);
    // A start between the two is none.
    log.superblock.s_start = U32::new(1024);
    assert!(log.error().is_corruption());
}

#[test]
fn without_the_feature_there_is_no_area() {
    let mut log = log();
    let mut area = Area::new();
    area.name(CREAT, 2, 13, b"a");
    area.tail();
    area.write_to(&mut log);
    log.superblock.s_feature_incompat = U32::new(JournalIncompat::CSUM_V3.bits());
    assert!(log.recover().unwrap().fast_commits.is_empty());
}

#[test]
fn fast_commits_count_without_a_full_one() {
    let mut log = log();
    log.superblock.s_start = U32::new(100);
    log.superblock.s_sequence = U32::new(TID);
    let mut area = Area::new();
    area.name(CREAT, 2, 13, b"a");
    area.tail();
    area.write_to(&mut log);
    let replay = log.recover().unwrap();
    assert_eq!((replay.transactions, replay.fast_commit_count), (0, 1));
    // But not in a clean log.
    log.superblock.s_start = U32::new(0);
    assert_eq!(log.recover().unwrap().fast_commit_count, 0);
}

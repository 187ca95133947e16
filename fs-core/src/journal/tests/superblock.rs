//! What the log's superblock may say.

use zerocopy::big_endian::U32;

use super::builder::{Layout, LogBuilder, UUID, entry, fills};
use super::device::Bytes;
use crate::error::{ErrorKind, Result};
use crate::format::journal::{JournalCompat, JournalIncompat, RawJournalSuperblock};
use crate::journal::{JournalSuperblock, LogLocation, read_superblock};
use crate::types::FsBlock;

fn log(layout: Layout) -> LogBuilder {
    let mut log = LogBuilder::new(layout, 32, 1, 5);
    log.transaction(5, &[entry(1, 1)]);
    log
}

fn read(log: &LogBuilder) -> Result<JournalSuperblock> {
    let device = Bytes::device(log.volume());
    let superblock_at = FsBlock(device.size_bytes() / 1024 - 1);
    read_superblock(&LogLocation {
        device: &device,
        block_bytes: 1024,
        blocks_count: device.size_bytes() / 1024,
        inode_bytes: 256,
        map: &|_| Ok(superblock_at),
        len_blocks: log.blocks.len() as u32,
    })
}

#[test]
fn all_fields_are_read() {
    let layout = Layout::V3.with(JournalIncompat::REVOKE | JournalIncompat::FAST_COMMIT);
    let mut log = LogBuilder::new(layout, 1400, 9, 77);
    log.superblock.s_errno = U32::new(-5_i32 as u32);
    log.superblock.s_users[0] = *b"fedcba9876543210";
    let superblock = read(&log).unwrap();
    assert_eq!(
        superblock,
        JournalSuperblock {
            version: 2,
            block_bytes: 1024,
            len_blocks: 1400,
            first_block: 1,
            sequence: 77,
            start_block: 9,
            errno: -5,
            compat: JournalCompat::empty(),
            incompat: layout.incompat,
            ro_compat: 0,
            uuid: UUID,
            checksum_type: Some(4),
            checksum: Some(log.superblock.checksum()),
            fast_commit_blocks: 256,
            users: vec![*b"fedcba9876543210"],
        }
    );
    assert!(superblock.is_dirty());
}

#[test]
fn version_1_has_no_features() {
    let mut log = log(Layout::PLAIN);
    log.superblock.s_header.h_blocktype = U32::new(3);
    log.superblock.s_feature_incompat = U32::new(!0);
    log.superblock.s_feature_compat = U32::new(!0);
    log.superblock.s_nr_users = U32::new(!0);
    assert_eq!(read(&log).unwrap().version, 1);
    assert_eq!(fills(&log), [(1, 1)]);
}

#[test]
fn unknown_features_are_refused_for_reading_only_if_incompatible() {
    let mut log = log(Layout::PLAIN);
    log.superblock.s_feature_compat = U32::new(0x8000_0000);
    log.superblock.s_feature_ro_compat = U32::new(0x1);
    assert_eq!(fills(&log), [(1, 1)]);
    log.superblock.s_feature_incompat = U32::new(0x40);
    assert_eq!(read(&log).unwrap().incompat.bits(), 0x40);
    let refused = ErrorKind::Unsupported("incompatible journal feature 0x40".into());
    assert_eq!(*log.error().kind(), refused);
    // Clean or not.
    log.superblock.s_start = U32::new(0);
    assert_eq!(*log.error().kind(), refused);
}

#[test]
fn contradictions_are_corruption() {
    type Change = fn(&mut RawJournalSuperblock);
    let changes: [(&str, Change); 14] = [
        ("magic", |s| s.s_header.h_magic = U32::new(1)),
        ("type", |s| s.s_header.h_blocktype = U32::new(5)),
        ("block size", |s| s.s_blocksize = U32::new(4096)),
        ("longer than its inode", |s| s.s_maxlen = U32::new(33)),
        ("empty", |s| s.s_maxlen = U32::new(0)),
        ("of one block", |s| s.s_maxlen = U32::new(1)),
        ("first 0", |s| s.s_first = U32::new(0)),
        ("first beyond the end", |s| s.s_first = U32::new(32)),
        ("start beyond the end", |s| s.s_start = U32::new(32)),
        ("start before first", |s| {
            s.s_start = U32::new(1);
            s.s_first = U32::new(2);
        }),
        ("start -1", |s| s.s_start = U32::new(!0)),
        ("v2 and v3", |s| s.s_feature_incompat = U32::new(0x18)),
        ("v1 and v3", |s| s.s_feature_compat = U32::new(1)),
        ("checksum", |s| s.s_checksum = U32::new(s.checksum() ^ 1)),
    ];
    for (what, change) in changes {
        let mut log = log(Layout::V3);
        change(&mut log.superblock);
        assert!(log.error().is_corruption(), "{what}");
    }
    let mut log = log(Layout::V3.with(JournalIncompat::FAST_COMMIT));
    log.superblock.s_num_fc_blks = U32::new(31);
    assert_eq!(fills(&log), [(1, 1)], "too small for fast commits");
    log.superblock.s_num_fc_blks = U32::new(32);
    assert!(log.error().is_corruption(), "all for fast commits");
}

#[test]
fn unknown_checksums_and_sizes_are_refused() {
    for kind in [0, 1, 5] {
        let mut log = log(Layout::V2);
        log.superblock.s_checksum_type = kind;
        assert!(matches!(log.error().kind(), ErrorKind::Unsupported(_)));
    }
    let mut log = log(Layout::PLAIN);
    log.superblock.s_maxlen = U32::new(10_240_001);
    assert!(matches!(log.error().kind(), ErrorKind::Unsupported(_)));
}

/// A hostile inode may claim any number of blocks.
#[test]
fn the_log_is_not_longer_than_the_device() {
    let mut log = log(Layout::PLAIN);
    log.superblock.s_maxlen = U32::new(5000);
    let device = Bytes::device(log.volume());
    let superblock = read_superblock(&LogLocation {
        device: &device,
        block_bytes: 1024,
        blocks_count: 96,
        inode_bytes: 256,
        map: &|_| Ok(FsBlock(95)),
        len_blocks: u32::MAX,
    });
    assert!(superblock.err().unwrap().is_corruption());
}

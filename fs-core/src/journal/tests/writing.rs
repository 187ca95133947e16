//! Logs written by [`LogWriter`], in every format there is; e2fsck, debugfs and Linux say
//! what they mean.

use std::collections::BTreeMap;
use std::sync::Arc;

use images::{BlockDevice, Memory};
use zerocopy::{FromBytes, IntoBytes};

use super::image::{Dirty, Scratch, tools, tools_and_mounts};
use crate::format::journal::{
    JBD2_CRC32C_CHKSUM, JBD2_MAGIC_BYTES, JournalCompat, JournalIncompat, RawJournalSuperblock,
};
use crate::journal::{LogFeatures, LogLocation, LogWriter, read_superblock};
use crate::types::{FsBlock, Timestamp};

const BLOCK_BYTES: usize = 1024;
/// Blocks from here on are free in the volumes used.
const FREE_BLOCK: u64 = 20_000;

/// A format of the log: checksums and the width of block numbers.
#[derive(Debug, Clone, Copy)]
struct Form {
    compat: JournalCompat,
    incompat: JournalIncompat,
}

impl Form {
    fn all() -> Vec<Self> {
        let none = JournalCompat::empty();
        let checksums = [
            (none, JournalIncompat::empty()),
            (JournalCompat::CHECKSUM, JournalIncompat::empty()),
            (none, JournalIncompat::CSUM_V2),
            (none, JournalIncompat::CSUM_V3),
        ];
        let widths = [JournalIncompat::empty(), JournalIncompat::BLOCKS_64BIT];
        let forms = checksums.into_iter().flat_map(|(compat, incompat)| {
            widths.map(|width| Self {
                compat,
                incompat: incompat | width,
            })
        });
        forms.collect()
    }

    fn is_64bit(self) -> bool {
        self.incompat.contains(JournalIncompat::BLOCKS_64BIT)
    }
}

/// A volume whose log is being written, and what its blocks must become.
struct Written {
    device: Arc<Memory>,
    log_blocks: Vec<u64>,
    writer: LogWriter,
    expected: BTreeMap<u64, Vec<u8>>,
    transactions: u32,
    second: i64,
}

impl Written {
    fn new(form: Form, log_mib: u32) -> Self {
        let width = if form.is_64bit() { "64bit" } else { "^64bit" };
        let size = format!("size={log_mib}");
        let features = format!("{width},^metadata_csum");
        let scratch = Scratch::new(&["-b", "1024", "-J", &size, "-O", &features]);
        let log_blocks = scratch.log_blocks();
        scratch.debugfs("feature needs_recovery\n");
        let memory = Arc::new(Memory::new(scratch.bytes()));
        let device: Arc<dyn BlockDevice> = memory.clone();
        let place = log_blocks[0] * BLOCK_BYTES as u64;
        let mut block = vec![0; 1024];
        device.read_at(&mut block, place).unwrap();
        let mut raw = RawJournalSuperblock::read_from_bytes(&block).unwrap();
        raw.s_feature_compat = form.compat.bits().into();
        raw.s_feature_incompat = form.incompat.bits().into();
        if form
            .incompat
            .intersects(JournalIncompat::CSUM_V2 | JournalIncompat::CSUM_V3)
        {
            raw.s_checksum_type = JBD2_CRC32C_CHKSUM;
            raw.s_checksum = raw.checksum().into();
        }
        device.write_at(raw.as_bytes(), place).unwrap();
        let location = LogLocation {
            device: &device,
            block_bytes: BLOCK_BYTES as u32,
            blocks_count: device.size_bytes() / BLOCK_BYTES as u64,
            inode_bytes: 256,
            map: &|at| Ok(FsBlock(log_blocks[at as usize])),
            len_blocks: log_blocks.len() as u32,
        };
        let superblock = read_superblock(&location).unwrap();
        let features = LogFeatures {
            has_checksums: false,
            is_64bit: form.is_64bit(),
            has_fast_commits: false,
        };
        let mut writer = LogWriter::new(&location, &superblock, raw, features, 77).unwrap();
        writer.restart().unwrap();
        Self {
            device: memory,
            log_blocks,
            writer,
            expected: BTreeMap::new(),
            transactions: 0,
            second: 1_700_000_000,
        }
    }

    fn append(&mut self, blocks: &[(u64, Vec<u8>)], revoked: &[u64]) {
        let logged: Vec<(FsBlock, &[u8])> = blocks
            .iter()
            .map(|(block, bytes)| (FsBlock(*block), bytes.as_slice()))
            .collect();
        let voided: Vec<FsBlock> = revoked.iter().map(|&block| FsBlock(block)).collect();
        let now = Timestamp {
            seconds: self.second,
            nanos: 5,
        };
        self.second += 1;
        self.writer.append(&logged, &voided, now).unwrap();
        self.transactions += 1;
        for block in revoked {
            self.expected.remove(block);
        }
        self.expected.extend(blocks.iter().cloned());
    }

    /// Writes all blocks home and empties the log.
    fn checkpoint(&mut self) {
        for (block, bytes) in std::mem::take(&mut self.expected) {
            self.device
                .write_at(&bytes, block * BLOCK_BYTES as u64)
                .unwrap();
        }
        self.writer.restart().unwrap();
        self.transactions = 0;
    }

    /// Has everybody replay the log.
    fn judge(&self, what: &str, by_linux: bool) {
        let dirty = Dirty::new(self.device.snapshot(), self.log_blocks.clone());
        let replay = dirty.recover().unwrap();
        assert_eq!(replay.transactions, self.transactions, "{what}");
        let ours = dirty.recovered(&replay);
        for block in FREE_BLOCK..dirty.bytes.len() as u64 / BLOCK_BYTES as u64 {
            let range = dirty.range(block);
            let expected = self
                .expected
                .get(&block)
                .map_or(&dirty.bytes[range.clone()], |b| b);
            assert!(ours[range] == *expected, "{what}: block {block}");
        }
        let said = Scratch::holding(&dirty.bytes).debugfs("logdump -a\n");
        let count = |kind: &str| said.matches(kind).count() as u32;
        assert_eq!(count("(commit block)"), self.transactions, "{what}: {said}");
        let e2fsck = Scratch::holding(&dirty.bytes);
        e2fsck.e2fsck_journal_only();
        dirty.assert_equal(&format!("{what}: e2fsck"), &ours, &e2fsck.bytes());
        if by_linux {
            let linux = Scratch::holding(&dirty.bytes).recovered_by_linux();
            let linux = linux.unwrap_or_else(|| panic!("{what}: Linux refuses the log"));
            dirty.assert_equal(&format!("{what}: Linux"), &ours, &linux);
        }
    }
}

fn block(fill: u64) -> Vec<u8> {
    let mut bytes = vec![fill as u8; BLOCK_BYTES];
    bytes[8..16].copy_from_slice(&fill.to_le_bytes());
    bytes
}

/// One that looks like a block of the log's own.
fn magic(fill: u64) -> Vec<u8> {
    let mut bytes = block(fill);
    bytes[..4].copy_from_slice(&JBD2_MAGIC_BYTES);
    bytes[4..8].copy_from_slice(&[0, 0, 0, (fill % 6) as u8]);
    bytes
}

fn blocks(from: u64, count: u64, seed: u64) -> Vec<(u64, Vec<u8>)> {
    (from..from + count)
        .map(|at| (at, block(at * 7 + seed)))
        .collect()
}

/// What a transaction can consist of.
fn fill(log: &mut Written) {
    log.append(&blocks(FREE_BLOCK, 3, 1), &[]);
    // Several descriptors, full to the last tag or not, and blocks in no order.
    log.append(&blocks(FREE_BLOCK + 100, 300, 2), &[]);
    let mut mixed = blocks(FREE_BLOCK + 1000, 124, 3);
    mixed.reverse();
    mixed[0].1 = magic(40);
    mixed[1].1 = magic(41);
    mixed[123].1 = magic(42);
    log.append(&mixed, &[]);
    // Several revoke blocks; one block is written by the transaction after.
    let revoked: Vec<u64> = (FREE_BLOCK + 90..FREE_BLOCK + 390).collect();
    log.append(&blocks(FREE_BLOCK, 1, 4), &revoked);
    log.append(
        &[(FREE_BLOCK + 150, block(5)), (FREE_BLOCK + 151, magic(6))],
        &[],
    );
    // Nothing but revokes, and one block alone.
    log.append(&[], &[FREE_BLOCK + 151, FREE_BLOCK + 1005]);
    log.append(&[(FREE_BLOCK + 1005, magic(7))], &[FREE_BLOCK + 1]);
}

#[test]
fn every_form_of_the_log() {
    if tools(&["mke2fs", "e2fsck", "debugfs"]).is_none() {
        return;
    }
    let by_linux = tools_and_mounts().is_some();
    for form in Form::all() {
        let mut log = Written::new(form, 4);
        fill(&mut log);
        log.judge(&format!("{form:?}"), by_linux);
    }
}

#[test]
fn round_the_ring() {
    if tools(&["mke2fs", "e2fsck", "debugfs"]).is_none() {
        return;
    }
    let by_linux = tools_and_mounts().is_some();
    for form in Form::all() {
        let mut log = Written::new(form, 1);
        // Twice round in all; each time the log is read where it begins near the ring's end.
        for round in 0..4 {
            fill(&mut log);
            log.append(&blocks(FREE_BLOCK + 2000, 90 + round * 40, round), &[]);
            if round % 2 == 1 {
                log.judge(&format!("{form:?} round {round}"), by_linux && round == 3);
            }
            log.checkpoint();
        }
        log.judge(&format!("{form:?} emptied"), false);
    }
}

/// To the last block, and not one more.
#[test]
fn a_log_that_is_full() {
    if tools(&["mke2fs", "e2fsck", "debugfs"]).is_none() {
        return;
    }
    let form = Form::all()[7];
    let mut log = Written::new(form, 1);
    let mut round = 0;
    while log.writer.has_room(97, 1) {
        log.append(
            &blocks(FREE_BLOCK + round * 97, 97, round),
            &[FREE_BLOCK + 3999],
        );
        round += 1;
    }
    let rest = (0..97).rev().find(|&count| log.writer.has_room(count, 0));
    let rest = rest.expect("no room for one block") as u64;
    log.append(&blocks(FREE_BLOCK + 3000, rest, 9), &[]);
    assert!(!log.writer.has_room(1, 0) && rest < 97);
    let before = log.device.snapshot();
    let one = block(1);
    let refused = log.writer.append(
        &[(FsBlock(FREE_BLOCK), &one)],
        &[],
        Timestamp {
            seconds: 1,
            nanos: 0,
        },
    );
    assert!(refused.is_err());
    assert!(log.device.snapshot() == before, "a full log was written to");
    log.judge("full", false);
}

/// What Linux refuses to use is not written to either.
#[test]
fn a_log_that_is_too_short() {
    if tools(&["mke2fs", "e2fsck", "debugfs"]).is_none() {
        return;
    }
    let log = Written::new(Form::all()[0], 1);
    let device: Arc<dyn BlockDevice> = log.device.clone();
    let location = LogLocation {
        device: &device,
        block_bytes: BLOCK_BYTES as u32,
        blocks_count: device.size_bytes() / BLOCK_BYTES as u64,
        inode_bytes: 256,
        map: &|at| Ok(FsBlock(log.log_blocks[at as usize])),
        len_blocks: log.log_blocks.len() as u32,
    };
    let mut superblock = read_superblock(&location).unwrap();
    let mut raw = RawJournalSuperblock::read_from_bytes(
        &log.device.snapshot()[log.log_blocks[0] as usize * BLOCK_BYTES..][..1024],
    )
    .unwrap();
    superblock.len_blocks -= 1;
    raw.s_maxlen = superblock.len_blocks.into();
    let features = LogFeatures {
        has_checksums: false,
        is_64bit: false,
        has_fast_commits: false,
    };
    let error = LogWriter::new(&location, &superblock, raw, features, 1).unwrap_err();
    assert!(error.to_string().contains("1022 blocks"), "{error}");
}

//! First pass: which transactions of the log are complete.
//!
//! A transaction is a run of descriptor blocks with what they describe and of
//! revoke blocks, ended by a commit block, all with one number; the next one's
//! is one more. The log ends at the first block that is not what must come
//! next. That is no damage: the last transaction was being written when the
//! lights went out, or what follows is left from an earlier round.
//!
//! With checksums, what looks complete may still not be:
//!
//! | finding, at a commit block in its place | not older than the transaction before | older |
//! |---|---|---|
//! | v2, v3: a descriptor or revoke block was bad | corruption | end of the log |
//! | the commit block's checksum is bad | corruption | end of the log |
//! | the same, commits being asynchronous | end of the log, but see below | end of the log |
//!
//! Older by the time in the commit blocks: then these blocks are leftovers that
//! happen to have the right numbers (a log is not erased when it is made).
//! Asynchronous commit blocks may reach the device before the rest of their
//! transaction, so a bad checksum is an interruption; with checksum v1 it is
//! corruption nevertheless if a commit block of the next transaction follows,
//! as that one began when this one was on the device.
//!
//! A commit block is one sector of meaning in a block of zeros. If only that
//! sector was written, it is good: its checksum holds with zeros after it.

use zerocopy::FromBytes;

use super::descriptor::{Tags, check_tail};
use super::log::{Checksums, Log};
use super::ring::{Cursor, LogBlock};
use super::tid::Tid;
use crate::error::{Error, Result};
use crate::format::journal::{
    BlockType, CommitHeader, JBD2_CRC32_CHKSUM, JBD2_CRC32_CHKSUM_SIZE, JournalHeader,
    commit_checksum, commit_checksum_of_header, crc32_be,
};
use crate::types::FsBlock;

/// A descriptor or revoke block and its transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Logged {
    pub(super) tid: Tid,
    pub(super) at: LogBlock,
}

/// What the complete transactions consist of, in the order of the log.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) descriptors: Vec<Logged>,
    pub(super) revokes: Vec<Logged>,
    /// Number of complete transactions.
    pub(super) transactions: u32,
    /// The first transaction that is not complete.
    pub(super) end_tid: Tid,
}

/// Walks the log from block `start`, where transaction `first_tid` begins.
pub(super) fn scan(log: &Log<'_>, start: LogBlock, first_tid: Tid) -> Result<Scan> {
    let cursor = log
        .ring
        .from(start)
        .ok_or_else(|| Error::corrupt("journal superblock", None, "s_start in the log", start.0))?;
    let scanner = Scanner {
        log,
        cursor,
        tid: first_tid,
        open: Transaction::default(),
        last_commit_seconds: 0,
        interrupted: None,
        data: log.block_buffer(),
        scan: Scan {
            descriptors: Vec::new(),
            revokes: Vec::new(),
            transactions: 0,
            end_tid: first_tid,
        },
    };
    scanner.run()
}

/// A transaction whose commit block has not come yet.
struct Transaction {
    descriptors: Vec<Logged>,
    revokes: Vec<Logged>,
    /// Checksum v1 so far.
    crc32: u32,
    /// The first block with a bad checksum.
    damage: Option<Error>,
}

impl Default for Transaction {
    fn default() -> Self {
        Self {
            descriptors: Vec::new(),
            revokes: Vec::new(),
            crc32: !0,
            damage: None,
        }
    }
}

struct Scanner<'a> {
    log: &'a Log<'a>,
    cursor: Cursor,
    /// The transaction that must come next.
    tid: Tid,
    open: Transaction,
    last_commit_seconds: u64,
    /// A transaction with a bad checksum v1 that may just be interrupted. The
    /// log has ended; all there is to learn is whether another commit follows.
    interrupted: Option<Error>,
    /// Room for a logged block.
    data: Vec<u8>,
    scan: Scan,
}

/// Whether the log goes on after a block.
#[derive(PartialEq, Eq)]
enum Step {
    GoOn,
    End,
}

impl Scanner<'_> {
    fn run(mut self) -> Result<Scan> {
        let mut block = self.log.block_buffer();
        while let Some(at) = self.cursor.advance() {
            let home = self.log.location.read_block(at, &mut block)?;
            let Some(header) = JournalHeader::of(&block) else {
                break;
            };
            if header.h_sequence.get() != self.tid.0 {
                break;
            }
            let logged = Logged { tid: self.tid, at };
            let step = match BlockType::from_raw(header.h_blocktype.get()) {
                Some(BlockType::Descriptor) => self.descriptor(logged, &block, home)?,
                Some(BlockType::Revoke) => self.revoke(logged, &block, home),
                Some(BlockType::Commit) => self.commit(&block, home)?,
                _ => Step::End,
            };
            if step == Step::End {
                break;
            }
        }
        Ok(self.scan)
    }

    fn descriptor(&mut self, logged: Logged, block: &[u8], home: FsBlock) -> Result<Step> {
        self.note_damage(check_tail(
            "descriptor block",
            block,
            home,
            self.log.checksums,
        ));
        let tags = Tags::new(block, self.log.checksums, self.log.is_64bit);
        if self.log.checksums == Checksums::V1 && self.interrupted.is_none() {
            self.open.crc32 = crc32_be(self.open.crc32, block);
            for _ in tags {
                let Some(at) = self.cursor.advance() else {
                    return Ok(Step::End);
                };
                self.log.location.read_block(at, &mut self.data)?;
                self.open.crc32 = crc32_be(self.open.crc32, &self.data);
            }
        } else if !u32::try_from(tags.count()).is_ok_and(|count| self.cursor.skip(count)) {
            return Ok(Step::End);
        }
        self.open.descriptors.push(logged);
        Ok(Step::GoOn)
    }

    fn revoke(&mut self, logged: Logged, block: &[u8], home: FsBlock) -> Step {
        self.note_damage(check_tail("revoke block", block, home, self.log.checksums));
        self.open.revokes.push(logged);
        Step::GoOn
    }

    fn note_damage(&mut self, check: Result<()>) {
        if let Err(damage) = check {
            self.open.damage.get_or_insert(damage);
        }
    }

    fn commit(&mut self, block: &[u8], home: FsBlock) -> Result<Step> {
        let Ok((commit, _)) = CommitHeader::ref_from_prefix(block) else {
            return Ok(Step::End);
        };
        let mut transaction = std::mem::take(&mut self.open);
        let seconds = commit.h_commit_sec.get();
        let is_older = seconds < self.last_commit_seconds;
        let tid = self.tid;
        let in_transaction = |e: Error| e.context(format_args!("journal transaction {tid}"));

        if let Some(damage) = transaction.damage {
            return if is_older {
                Ok(Step::End)
            } else {
                Err(in_transaction(damage))
            };
        }
        if let Some(interrupted) = self.interrupted.take() {
            return Err(interrupted);
        }
        if let Err(damage) = self.check_commit(commit, block, home, transaction.crc32) {
            if is_older || (self.log.is_async && self.log.checksums != Checksums::V1) {
                return Ok(Step::End);
            }
            if !self.log.is_async {
                return Err(in_transaction(damage));
            }
            self.interrupted = Some(in_transaction(damage));
        } else {
            self.scan.descriptors.append(&mut transaction.descriptors);
            self.scan.revokes.append(&mut transaction.revokes);
            self.scan.transactions = self.scan.transactions.saturating_add(1);
            self.scan.end_tid = self.tid.next();
        }
        self.last_commit_seconds = seconds;
        self.tid = self.tid.next();
        Ok(Step::GoOn)
    }

    fn check_commit(
        &self,
        commit: &CommitHeader,
        block: &[u8],
        home: FsBlock,
        crc32: u32,
    ) -> Result<()> {
        let stored = commit.h_chksum.first().map_or(0, |word| word.get());
        let kind = (commit.h_chksum_type, commit.h_chksum_size);
        let (computed, matches) = match self.log.checksums {
            Checksums::None => return Ok(()),
            Checksums::V1 => {
                // A commit block without a checksum is as good as before checksums were.
                let is_unused = kind == (0, 0) && stored == 0;
                let is_crc32 = kind == (JBD2_CRC32_CHKSUM, JBD2_CRC32_CHKSUM_SIZE);
                (crc32, is_unused || (is_crc32 && stored == crc32))
            }
            Checksums::V2 { seed } | Checksums::V3 { seed } => {
                let computed = commit_checksum(seed, block);
                let is_torn = || stored == commit_checksum_of_header(seed, block);
                (computed, stored == computed || is_torn())
            }
        };
        if matches {
            return Ok(());
        }
        Err(Error::bad_checksum(
            "commit block",
            Some(home),
            computed,
            stored,
        ))
    }
}

//! Writing the log: transactions, and the superblock that says where they begin.
//!
//! ```text
//!   tail                         head
//!    |  T7  |  T8  |     T9      |        free          |
//!           R D b b b .. 0 flush C flush
//! ```
//!
//! A transaction's blocks are on the device before its commit block is written, and that
//! before [`LogWriter::append`] returns. The flush between them also covers whatever else
//! was written before: file data that the transaction's metadata points to. Space is freed
//! only all at once, by [`LogWriter::restart`], when every block lies in its place.

use std::sync::Arc;

use images::BlockDevice;
use zerocopy::IntoBytes;

use super::log::{Checksums, LogLocation};
use super::ring::{LogBlock, Ring};
use super::superblock::JournalSuperblock;
use super::write_format::{Format, TransactionBuilder};
use crate::error::{Error, ErrorKind, Result};
use crate::format::journal::{
    JBD2_CRC32C_CHKSUM, JBD2_MIN_JOURNAL_BLOCKS, JournalCompat, JournalIncompat,
    RawJournalSuperblock, checksum_seed,
};
use crate::types::{FsBlock, Timestamp};

/// Blocks of the ring that stay free, so that a full log cannot be taken for an empty one.
const SPARE_BLOCKS: u32 = 2;
/// Bytes moved by one write.
const WRITE_BYTES_MAX: usize = 1 << 20;

/// A stretch of the log that lies in one piece.
#[derive(Debug, Clone, Copy)]
struct Piece {
    first: u32,
    len: u32,
    place: FsBlock,
}

/// What the volume's features ask of the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogFeatures {
    /// The volume has metadata checksums.
    pub(crate) has_checksums: bool,
    /// The volume has 64-bit block numbers.
    pub(crate) is_64bit: bool,
    /// There are fast commits to be followed: their area at the log's end is kept until
    /// [`LogWriter::end_fast_commits`].
    pub(crate) has_fast_commits: bool,
}

/// An open log.
#[derive(Debug)]
pub(crate) struct LogWriter {
    device: Arc<dyn BlockDevice>,
    block_bytes: u32,
    pieces: Vec<Piece>,
    ring: Ring,
    /// The ring once fast commits count no more, where they still do.
    whole_ring: Option<Ring>,
    format: Format,
    raw: RawJournalSuperblock,
    head: u32,
    used_blocks: u32,
    written_blocks: u64,
    /// The next transaction's number.
    sequence: u32,
}

impl LogWriter {
    /// Takes over a log in which there is nothing to recover; the next transaction gets
    /// the number `sequence`. Nothing is written before [`restart`](Self::restart).
    ///
    /// # Errors
    /// `Unsupported` for features of the log that are not known, `Corrupt` if its blocks
    /// do not lie in the volume.
    pub(crate) fn new(
        location: &LogLocation<'_>,
        superblock: &JournalSuperblock,
        raw: RawJournalSuperblock,
        features: LogFeatures,
        sequence: u32,
    ) -> Result<Self> {
        superblock.check_features()?;
        if superblock.ro_compat != 0 {
            let what = format!(
                "read-only-compatible journal feature {:#x}",
                superblock.ro_compat
            );
            return Err(ErrorKind::Unsupported(what).into());
        }
        let raw = with_features(raw, superblock, features);
        let format = Format {
            block_bytes: location.block_bytes,
            checksums: checksums(&raw),
            is_64bit: incompat(&raw).contains(JournalIncompat::BLOCKS_64BIT),
        };
        let home = location.home(LogBlock(0))?;
        let without_area = JournalSuperblock {
            fast_commit_blocks: 0,
            ..superblock.clone()
        };
        let whole = without_area.ring(home)?;
        let (ring, whole_ring) = if features.has_fast_commits {
            (superblock.ring(home)?, Some(whole))
        } else {
            (whole, None)
        };
        // Linux refuses the same.
        let least = JBD2_MIN_JOURNAL_BLOCKS.saturating_sub(superblock.first_block);
        if ring.len_blocks() < least {
            let what = format!("writing to a journal of {} blocks", ring.len_blocks());
            return Err(ErrorKind::Unsupported(what).into());
        }
        Ok(Self {
            device: Arc::clone(location.device),
            block_bytes: location.block_bytes,
            pieces: pieces(location, superblock.len_blocks)?,
            head: ring.first(),
            ring,
            whole_ring,
            format,
            raw,
            used_blocks: 0,
            written_blocks: 0,
            sequence,
        })
    }

    /// The runs of the volume's blocks that the log lies in.
    pub(crate) fn places(&self) -> impl Iterator<Item = (FsBlock, u64)> {
        let pieces = self.pieces.iter();
        pieces.map(|piece| (piece.place, u64::from(piece.len)))
    }

    /// Blocks of transactions the log can hold.
    pub(crate) fn capacity_blocks(&self) -> u32 {
        self.ring.len_blocks().saturating_sub(SPARE_BLOCKS)
    }

    /// Blocks that hold transactions, and blocks written since the log was opened.
    pub(crate) fn used_and_written(&self) -> (u64, u64) {
        (u64::from(self.used_blocks), self.written_blocks)
    }

    /// True if a transaction of this size fits without a [`restart`](Self::restart).
    pub(crate) fn has_room(&self, blocks: usize, revokes: usize) -> bool {
        let needed = self.format.blocks_needed(blocks, revokes);
        needed <= u64::from(self.capacity_blocks().saturating_sub(self.used_blocks))
    }

    /// Writes a transaction: `blocks` as they shall be, and the numbers of blocks whose
    /// older copies count no more. Durable when it returns.
    ///
    /// # Errors
    /// `NoSpace` if it does not fit; the device's. Then nothing of it will be recovered,
    /// and nothing more may be written to the log.
    pub(crate) fn append(
        &mut self,
        blocks: &[(FsBlock, &[u8])],
        revoked: &[FsBlock],
        now: Timestamp,
    ) -> Result<()> {
        if !self.has_room(blocks.len(), revoked.len()) {
            return Err(Error::from(ErrorKind::NoSpace).context("the journal"));
        }
        let mut builder = TransactionBuilder::new(self.format, self.sequence);
        let mut pending = Pending::default();
        builder.revokes(revoked, &mut |block| self.put(&mut pending, block))?;
        builder.blocks(blocks, &mut |block| self.put(&mut pending, block))?;
        // The commit block's place already gets what the commit block holds beyond its first
        // sector, zeros: of two sectors only one might reach the disk, and Linux mounts no
        // volume whose log ends in half a commit block.
        let place = self.offset(self.place(self.head)?);
        self.put(&mut pending, &vec![0; self.block_bytes as usize])?;
        self.write_out(&mut pending)?;
        self.device.flush()?;
        let commit = builder.commit(now);
        let sector = (self.device.logical_sector_bytes() as usize).min(commit.len());
        self.device
            .write_at(commit.get(..sector).unwrap_or(&commit), place)?;
        self.device.flush()?;
        self.sequence = self.sequence.wrapping_add(1);
        Ok(())
    }

    /// Appends one block to those to be written.
    fn put(&mut self, pending: &mut Pending, block: &[u8]) -> Result<()> {
        let place = self.place(self.head)?;
        let follows = pending.end(self.block_bytes) == Some(place);
        if !follows || pending.bytes.len() >= WRITE_BYTES_MAX {
            self.write_out(pending)?;
            pending.start = Some(place);
        }
        pending.bytes.extend_from_slice(block);
        self.head = self.ring.after(self.head);
        self.used_blocks += 1;
        self.written_blocks += 1;
        Ok(())
    }

    fn write_out(&self, pending: &mut Pending) -> Result<()> {
        if let Some(start) = pending.start.take() {
            self.device.write_at(&pending.bytes, self.offset(start))?;
            pending.bytes.clear();
        }
        Ok(())
    }

    fn offset(&self, block: FsBlock) -> u64 {
        block.0.saturating_mul(self.block_bytes.into())
    }

    fn place(&self, block: u32) -> Result<FsBlock> {
        let after = self.pieces.partition_point(|piece| piece.first <= block);
        let piece = after.checked_sub(1).and_then(|at| self.pieces.get(at));
        piece
            .filter(|piece| block - piece.first < piece.len)
            .and_then(|piece| piece.place.checked_add(u64::from(block - piece.first)))
            .ok_or_else(|| Error::corrupt("journal", None, "a mapped block", block))
    }

    /// Empties the log: everything in it lies in its place, durably. The next transaction
    /// begins at the head.
    pub(crate) fn restart(&mut self) -> Result<()> {
        self.used_blocks = 0;
        self.write_superblock(self.head)?;
        self.device.flush()?;
        Ok(())
    }

    /// Says that the fast commits of the log count no more: what they said is durable in its
    /// place, and so is everything else in the log. Transactions may use their area then.
    pub(crate) fn end_fast_commits(&mut self) -> Result<()> {
        if let Some(whole) = self.whole_ring.take() {
            self.ring = whole;
            let mut bits = incompat(&self.raw);
            bits.remove(JournalIncompat::FAST_COMMIT);
            self.raw.s_feature_incompat = bits.bits().into();
        }
        self.restart()
    }

    /// Says that there is nothing to recover. [`restart`](Self::restart) opens it again.
    pub(crate) fn close(&mut self) -> Result<()> {
        self.used_blocks = 0;
        self.write_superblock(0)?;
        self.device.flush()?;
        Ok(())
    }

    /// Notes that the log was stopped: the next who opens the volume marks it as one with
    /// errors. `errno` is positive.
    pub(crate) fn record_error(&mut self, errno: i32) -> Result<()> {
        let start = self.raw.s_start.get();
        self.raw.s_errno = (-errno).cast_unsigned().into();
        let sequence = self.raw.s_sequence;
        self.write_raw(start, sequence.get())?;
        self.device.flush()?;
        Ok(())
    }

    fn write_superblock(&mut self, start: u32) -> Result<()> {
        let sequence = self.sequence;
        self.raw.s_errno = 0.into();
        self.write_raw(start, sequence)
    }

    fn write_raw(&mut self, start: u32, sequence: u32) -> Result<()> {
        self.raw.s_start = start.into();
        self.raw.s_sequence = sequence.into();
        // Linux goes on there after a clean unmount.
        self.raw.s_head = if start == 0 { self.head } else { 0 }.into();
        if self.format.checksums.block_seed().is_some() {
            self.raw.s_checksum = self.raw.checksum().into();
        }
        let offset = self.offset(self.place(0)?);
        self.device.write_at(self.raw.as_bytes(), offset)?;
        Ok(())
    }
}

/// Blocks gathered for one write.
#[derive(Debug, Default)]
struct Pending {
    start: Option<FsBlock>,
    bytes: Vec<u8>,
}

impl Pending {
    /// The block after the last one.
    fn end(&self, block_bytes: u32) -> Option<FsBlock> {
        let blocks = self.bytes.len() as u64 / u64::from(block_bytes.max(1));
        self.start.and_then(|start| start.checked_add(blocks))
    }
}

/// Where the log's blocks lie.
fn pieces(location: &LogLocation<'_>, len_blocks: u32) -> Result<Vec<Piece>> {
    let mut pieces: Vec<Piece> = Vec::new();
    for block in 0..len_blocks {
        let place = location.home(LogBlock(block))?;
        if let Some(last) = pieces.last_mut()
            && last.place.checked_add(last.len.into()) == Some(place)
        {
            last.len += 1;
        } else {
            pieces.push(Piece {
                first: block,
                len: 1,
                place,
            });
        }
    }
    Ok(pieces)
}

fn incompat(raw: &RawJournalSuperblock) -> JournalIncompat {
    JournalIncompat::from_bits_retain(raw.s_feature_incompat.get())
}

fn checksums(raw: &RawJournalSuperblock) -> Checksums {
    let seed = checksum_seed(&raw.s_uuid);
    if incompat(raw).contains(JournalIncompat::CSUM_V3) {
        Checksums::V3 { seed }
    } else if incompat(raw).contains(JournalIncompat::CSUM_V2) {
        Checksums::V2 { seed }
    } else if JournalCompat::from_bits_retain(raw.s_feature_compat.get())
        .contains(JournalCompat::CHECKSUM)
    {
        Checksums::V1
    } else {
        Checksums::None
    }
}

/// The superblock with the features this program uses: revokes, 64-bit numbers where the
/// volume has them, checksums of version 3 unless it has an older version already, fast
/// commits only while there are some.
fn with_features(
    mut raw: RawJournalSuperblock,
    superblock: &JournalSuperblock,
    features: LogFeatures,
) -> RawJournalSuperblock {
    if superblock.version == 1 {
        // Version 1 ends with s_errno: what follows never meant anything.
        raw.upgrade();
    }
    let mut incompat = incompat(&raw) | JournalIncompat::REVOKE;
    // Commit blocks are written after what they complete.
    incompat.remove(JournalIncompat::ASYNC_COMMIT);
    if !features.has_fast_commits {
        incompat.remove(JournalIncompat::FAST_COMMIT);
    }
    if features.is_64bit {
        incompat |= JournalIncompat::BLOCKS_64BIT;
    }
    if features.has_checksums && checksums(&raw) == Checksums::None {
        incompat |= JournalIncompat::CSUM_V3;
        raw.s_checksum_type = JBD2_CRC32C_CHKSUM;
    }
    raw.s_feature_incompat = incompat.bits().into();
    raw
}

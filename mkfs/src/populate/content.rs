//! Moves the content of files to the places planned for it.
//!
//! The target is cut into jobs in rising order. Small pieces that lie next to
//! one another are gathered in one buffer and leave in one write; large ones are
//! moved by the system where it can (copy_file_range(2)). Jobs are disjoint, so
//! the result does not depend on who does which, and each thread needs one
//! buffer, however large the files.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use images::BlockDevice;
use rustix::io::Errno;

use crate::populate::source::Source;
use crate::populate::{Form, Population, mapping};
use crate::request::Writing;
use crate::{Error, FileContent, NodeKind, Progress, Result};

/// A thread's buffer, and the target bytes of a job of small pieces.
const BUFFER_BYTES: u64 = 1 << 20;
/// Target bytes of a job that is one large piece.
const LARGE_JOB_BYTES: u64 = 16 << 20;
const ZEROES: [u8; 4096] = [0; 4096];

/// Neighbouring blocks of a file with neighbouring places.
#[derive(Debug, Clone, Copy)]
struct Piece {
    /// Where they go, in bytes.
    target: u64,
    /// Where they are in the file, in bytes.
    offset: u64,
    len_bytes: u64,
    /// Index of the inode among the population's.
    slot: usize,
}

/// The pieces of all files, sorted by target, none larger than a large job.
fn pieces(population: &Population<'_>) -> Vec<Piece> {
    let block_bytes = population.rules.block_bytes();
    let mut pieces: Vec<Piece> = Vec::new();
    for (slot, inode) in population.slots.iter().enumerate() {
        if inode.form != Form::Blocks || content_of(population, slot).is_none() {
            continue;
        }
        for extent in &inode.mapping.extents {
            let mut piece = Piece {
                target: mapping::start_of(extent) * block_bytes,
                offset: extent.file_block.0 * block_bytes,
                len_bytes: extent.len_blocks * block_bytes,
                slot,
            };
            if let Some(last) = pieces.last_mut()
                && last.slot == slot
                && last.target + last.len_bytes == piece.target
                && last.offset + last.len_bytes == piece.offset
                && last.len_bytes + piece.len_bytes <= LARGE_JOB_BYTES
            {
                last.len_bytes += piece.len_bytes;
                continue;
            }
            while piece.len_bytes > LARGE_JOB_BYTES {
                pieces.push(Piece {
                    len_bytes: LARGE_JOB_BYTES,
                    ..piece
                });
                piece.target += LARGE_JOB_BYTES;
                piece.offset += LARGE_JOB_BYTES;
                piece.len_bytes -= LARGE_JOB_BYTES;
            }
            pieces.push(piece);
        }
    }
    pieces.sort_unstable_by_key(|piece| piece.target);
    pieces
}

fn content_of<'t>(population: &Population<'t>, slot: usize) -> Option<&'t FileContent> {
    let role = population.slots.get(slot)?.role;
    match population.kind(role) {
        Some(NodeKind::File(content)) => Some(content),
        _ => None,
    }
}

/// Cuts pieces into jobs: one large piece each, or as many as fill a buffer.
fn jobs(pieces: &[Piece]) -> Vec<Range<usize>> {
    let mut jobs = Vec::new();
    let (mut start, mut len_bytes) = (0, 0);
    for (index, piece) in pieces.iter().enumerate() {
        if index > start && len_bytes + piece.len_bytes > BUFFER_BYTES {
            jobs.push(start..index);
            (start, len_bytes) = (index, 0);
        }
        len_bytes += piece.len_bytes;
    }
    if start < pieces.len() {
        jobs.push(start..pieces.len());
    }
    jobs
}

/// What all threads share.
struct Work<'a, 't> {
    population: &'a Population<'t>,
    device: &'a dyn BlockDevice,
    progress: &'a dyn Progress,
    prezeroed: bool,
    pieces: &'a [Piece],
    jobs: &'a [Range<usize>],
    /// The next job nobody has taken.
    next: AtomicUsize,
    /// Somebody failed: take no more jobs.
    stop: AtomicBool,
    /// copy_file_range(2) does not work here.
    must_copy: AtomicBool,
    /// The failure of the first job that failed. Nothing is taken while it is held.
    failure: Mutex<Option<(usize, Error)>>,
}

/// Content to be written.
#[derive(Debug)]
pub(super) struct Content {
    pieces: Vec<Piece>,
}

impl Content {
    pub(super) fn new(population: &Population<'_>) -> Self {
        Self {
            pieces: pieces(population),
        }
    }

    /// Bytes that [`write`](Self::write) will write.
    pub(super) fn total_bytes(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.len_bytes).sum()
    }

    /// Writes all of it with the threads `writing` allows; the number of bytes.
    ///
    /// # Errors
    /// Of those that happen, that of the job that comes first on the device.
    pub(super) fn write(
        &self,
        population: &Population<'_>,
        device: &dyn BlockDevice,
        writing: &Writing,
        progress: &dyn Progress,
    ) -> Result<u64> {
        let jobs = jobs(&self.pieces);
        let work = Work {
            population,
            device,
            progress,
            prezeroed: writing.prezeroed,
            pieces: &self.pieces,
            jobs: &jobs,
            next: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            must_copy: AtomicBool::new(device.as_file().is_none()),
            failure: Mutex::new(None),
        };
        let threads = writing.threads.clamp(1, jobs.len().max(1));
        std::thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(|| work.run());
            }
            work.run();
        });
        let failure = work.failure.into_inner();
        match failure.unwrap_or_else(std::sync::PoisonError::into_inner) {
            Some((_, error)) => Err(error),
            None => Ok(self.total_bytes()),
        }
    }
}

impl Work<'_, '_> {
    /// Does jobs until there are none, or one fails.
    fn run(&self) {
        let mut buffer = Vec::with_capacity(BUFFER_BYTES as usize);
        while !self.stop.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = self.jobs.get(number) else {
                return;
            };
            let pieces = self.pieces.get(job.clone()).unwrap_or(&[]);
            if let Err(error) = self.job(pieces, &mut buffer) {
                self.fail(number, error);
                return;
            }
            self.progress
                .advance(pieces.iter().map(|piece| piece.len_bytes).sum());
        }
    }

    fn fail(&self, number: usize, error: Error) {
        self.stop.store(true, Ordering::Relaxed);
        let mut failure = self
            .failure
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if failure.as_ref().is_none_or(|(first, _)| number < *first) {
            *failure = Some((number, error));
        }
    }

    fn job(&self, pieces: &[Piece], buffer: &mut Vec<u8>) -> Result<()> {
        match pieces {
            [piece] if piece.len_bytes > BUFFER_BYTES => self.large(piece, buffer),
            _ => self.gather(pieces, buffer),
        }
    }

    /// Opens the file a piece belongs to.
    fn open(&self, piece: &Piece) -> Result<Source<'_>> {
        let content = content_of(self.population, piece.slot);
        Source::open(content.ok_or_else(mapping::miscounted)?)
    }

    /// Moves small pieces, neighbours in one write.
    fn gather(&self, pieces: &[Piece], buffer: &mut Vec<u8>) -> Result<()> {
        buffer.clear();
        let mut start = 0;
        let mut open: Option<(usize, Source<'_>)> = None;
        for piece in pieces {
            if start + buffer.len() as u64 != piece.target {
                self.device.write_at(buffer, start)?;
                buffer.clear();
                start = piece.target;
            }
            let filled = buffer.len();
            // No piece here is larger than the buffer.
            buffer.resize(filled + piece.len_bytes as usize, 0);
            let source = match &mut open {
                Some((slot, source)) if *slot == piece.slot => source,
                other => {
                    if let Some((_, done)) = other {
                        done.check()?;
                    }
                    &mut other.insert((piece.slot, self.open(piece)?)).1
                }
            };
            let room = buffer.get_mut(filled..).unwrap_or(&mut []);
            source.read(room, piece.offset)?;
        }
        if let Some((_, done)) = open {
            done.check()?;
        }
        self.device.write_at(buffer, start)?;
        self.device.start_writeback(start, buffer.len() as u64);
        Ok(())
    }

    /// Moves one large piece: data by the system, what surrounds it as zeros.
    fn large(&self, piece: &Piece, buffer: &mut Vec<u8>) -> Result<()> {
        let source = self.open(piece)?;
        let mut done = 0;
        while done < piece.len_bytes {
            if !self.must_copy.load(Ordering::Relaxed) {
                done += self.copy_range(&source, piece, done)?;
            }
            if done < piece.len_bytes && self.must_copy.load(Ordering::Relaxed) {
                let len = (piece.len_bytes - done).min(BUFFER_BYTES);
                buffer.resize(len as usize, 0);
                source.read(buffer, piece.offset + done)?;
                self.device.write_at(buffer, piece.target + done)?;
                done += len;
            }
        }
        source.check()?;
        // Writing to the disk goes on while the next pieces are read.
        self.device.start_writeback(piece.target, piece.len_bytes);
        Ok(())
    }

    /// Moves a piece from byte `from` on, as far as the system does it: how far.
    fn copy_range(&self, source: &Source<'_>, piece: &Piece, from: u64) -> Result<u64> {
        let mut done = from;
        for data in source.pieces(piece.offset + from, piece.len_bytes - from) {
            let at = data.offset - piece.offset;
            self.zero(piece.target + done, at - done)?;
            done = at;
            let mut moved = 0;
            while moved < data.len {
                let len = self.copy_once(
                    source,
                    data.source_offset + moved,
                    piece.target + at + moved,
                    data.len - moved,
                )?;
                moved += len;
                done += len;
                if len == 0 {
                    self.must_copy.store(true, Ordering::Relaxed);
                    return Ok(done - from);
                }
            }
        }
        self.zero(piece.target + done, piece.len_bytes - done)?;
        Ok(piece.len_bytes - from)
    }

    /// One copy_file_range(2); 0 if the system does not do it between these files.
    fn copy_once(&self, source: &Source<'_>, from: u64, to: u64, len: u64) -> Result<u64> {
        let Some(target) = self.device.as_file() else {
            return Ok(0);
        };
        let (mut from, mut to) = (from, target.base_offset + to);
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let moved = rustix::io::retry_on_intr(|| {
            rustix::fs::copy_file_range(source.fd(), Some(&mut from), target.fd, Some(&mut to), len)
        });
        match moved {
            // 0 at an early end too: then reading says so.
            Ok(moved) => Ok(moved as u64),
            Err(
                Errno::XDEV
                | Errno::INVAL
                | Errno::NOTSUP
                | Errno::NOSYS
                | Errno::PERM
                | Errno::BADF
                | Errno::TXTBSY,
            ) => Ok(0),
            Err(errno) => Err(source.failed(errno.into())),
        }
    }

    /// Zeros what lies between data, unless it is known to be zero.
    fn zero(&self, target: u64, len: u64) -> Result<()> {
        if self.prezeroed {
            return Ok(());
        }
        let mut done = 0;
        while done < len {
            let piece = ZEROES
                .len()
                .min(usize::try_from(len - done).unwrap_or(usize::MAX));
            let zeroes = ZEROES.get(..piece).unwrap_or(&ZEROES);
            self.device.write_at(zeroes, target + done)?;
            done += piece as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(target: u64, len_bytes: u64) -> Piece {
        Piece {
            target,
            offset: 0,
            len_bytes,
            slot: 0,
        }
    }

    #[test]
    fn a_job_is_a_buffer_of_small_pieces_or_one_large_one() {
        let pieces = [
            piece(0, BUFFER_BYTES / 2),
            piece(0, BUFFER_BYTES / 2),
            piece(0, 4096),
            piece(0, LARGE_JOB_BYTES),
            piece(0, 4096),
            piece(0, 4096),
        ];
        assert_eq!(jobs(&pieces), [0..2, 2..3, 3..4, 4..6]);
        assert_eq!(jobs(&[]), []);
    }
}

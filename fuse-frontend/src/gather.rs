//! A file's content as pieces for one writev(2).
//!
//! Mapped bytes go to the kernel from where they lie and are never looked at;
//! holes come from a page of zeros; what has no address is read into the
//! thread's buffer. One system call takes a limited number of pieces: when
//! only the last is left, the rest is copied into the buffer behind it.

use fs_core::Segment;
use images::{BlockDevice, Mapped};
use rustix::io::Errno;

use crate::failure::Failure;
use crate::replies::Pieces;
use crate::sys::Piece;

const ZEROS_BYTES: usize = 64 << 10;

#[repr(align(4096))]
struct Zeros([u8; ZEROS_BYTES]);

static ZEROS: Zeros = Zeros([0; ZEROS_BYTES]);

/// Collects pieces of a READ reply.
pub(crate) struct Gather<'w> {
    device: &'w dyn BlockDevice,
    pieces: Pieces<'w>,
    /// What is left of the thread's buffer.
    buffer: &'w mut [u8],
    /// Bytes the request still has room for.
    left: usize,
}

impl<'w> Gather<'w> {
    /// Collects at most `size` bytes; `buffer` must have as much room.
    pub(crate) fn new(
        device: &'w dyn BlockDevice,
        pieces: Pieces<'w>,
        buffer: &'w mut [u8],
        size: usize,
    ) -> Self {
        Self {
            device,
            pieces,
            left: size.min(buffer.len()),
            buffer,
        }
    }

    /// All segments, in order.
    pub(crate) fn collect(mut self, segments: &'w [Segment]) -> Result<Pieces<'w>, Failure> {
        for segment in segments {
            match segment {
                Segment::Device { offset, len_bytes } => self.device(*offset, *len_bytes)?,
                Segment::Zero { len_bytes } => self.zeros(*len_bytes)?,
                Segment::Inline(bytes) => self.inline(bytes)?,
            }
        }
        Ok(self.pieces)
    }

    fn device(&mut self, mut offset: u64, len_bytes: u64) -> Result<(), Failure> {
        let mut len = self.clip(len_bytes);
        while len > 0 {
            let done = if self.is_crowded() {
                self.read(offset, len)?
            } else {
                match self.device.mapped_at(offset, len as u64)? {
                    Mapped::Bytes(bytes) => self.take(Piece::of_mapping(bytes, len))?,
                    Mapped::No { len_bytes } => self.read(offset, clip(len_bytes, len))?,
                }
            };
            if done == 0 {
                return Err(Errno::IO.into());
            }
            offset += done as u64;
            len -= done;
        }
        Ok(())
    }

    fn zeros(&mut self, len_bytes: u64) -> Result<(), Failure> {
        let mut len = self.clip(len_bytes);
        if self.is_crowded() || len.div_ceil(ZEROS_BYTES) >= self.pieces.room() {
            let room = self.reserve(len)?;
            room.fill(0);
            return self.take(Piece::of_slice(room)).map(drop);
        }
        while len > 0 {
            let part = ZEROS.0.get(..len).unwrap_or(&ZEROS.0);
            len -= self.take(Piece::of_slice(part))?;
        }
        Ok(())
    }

    fn inline(&mut self, bytes: &'w [u8]) -> Result<(), Failure> {
        let len = self.clip(bytes.len() as u64);
        let Some(bytes) = bytes.get(..len) else {
            return Ok(());
        };
        if !self.is_crowded() {
            return self.take(Piece::of_slice(bytes)).map(drop);
        }
        let room = self.reserve(len)?;
        room.copy_from_slice(bytes);
        self.take(Piece::of_slice(room)).map(drop)
    }

    /// Reads into the buffer.
    fn read(&mut self, offset: u64, len: usize) -> Result<usize, Failure> {
        let room = self.reserve(len)?;
        self.device.read_at(room, offset)?;
        self.take(Piece::of_slice(room))
    }

    /// The next `len` bytes of the buffer. What is taken in a row lies in a
    /// row, so that it makes one piece.
    fn reserve(&mut self, len: usize) -> Result<&'w mut [u8], Failure> {
        let buffer = std::mem::take(&mut self.buffer);
        let (room, rest) = buffer.split_at_mut_checked(len).ok_or(Errno::IO)?;
        self.buffer = rest;
        Ok(room)
    }

    fn take(&mut self, piece: Piece<'w>) -> Result<usize, Failure> {
        let len = piece.len();
        if !self.pieces.push(piece) {
            return Err(Errno::IO.into());
        }
        self.left = self.left.saturating_sub(len);
        Ok(len)
    }

    /// True once only one more piece can be had: it and everything after it
    /// must come from the buffer.
    fn is_crowded(&self) -> bool {
        self.pieces.room() <= 1
    }

    fn clip(&self, len_bytes: u64) -> usize {
        clip(len_bytes, self.left)
    }
}

fn clip(len_bytes: u64, max: usize) -> usize {
    usize::try_from(len_bytes).map_or(max, |len| len.min(max))
}

#[cfg(test)]
#[path = "gather_tests.rs"]
mod tests;

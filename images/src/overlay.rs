//! Blocks put over another device, without touching it.
//!
//! [`Overlay`] is how a journal is replayed without writing: it reads as the
//! device beneath except for single blocks, which have bytes of their own or
//! are found elsewhere on that device. A redirected block costs a table entry,
//! not a block, and keeps its place in a mapping.
//!
//! It is built by one owner (`&mut self`) and then shared frozen, so reading
//! takes no lock. The table is ordered: one look finds the next override after
//! any offset, so long untouched runs pass through in one piece.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::device::check_range;
use crate::{BlockDevice, DeviceFile, Error, Mapped, Result};

/// A read-only device: another one with some blocks replaced.
#[derive(Debug)]
pub struct Overlay {
    inner: Arc<dyn BlockDevice>,
    block_bytes: u32,
    /// By block index. Every key's block lies inside the device, and so does
    /// every redirection's target.
    overrides: BTreeMap<u64, Override>,
}

enum Override {
    /// As many bytes as a block has.
    Own(Box<[u8]>),
    /// The block is found at this byte of the inner device.
    Redirect(u64),
}

impl std::fmt::Debug for Override {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Own(bytes) => write!(f, "Own({} bytes)", bytes.len()),
            Self::Redirect(offset) => write!(f, "Redirect({offset})"),
        }
    }
}

/// The first bytes of a range, all from one place.
enum Piece<'a> {
    /// Bytes of the overlay's own, at most to the end of their block.
    Own(&'a [u8]),
    /// A run of the inner device.
    Inner { offset: u64, len: u64 },
}

impl Piece<'_> {
    fn len(&self) -> u64 {
        match self {
            Self::Own(bytes) => bytes.len() as u64,
            Self::Inner { len, .. } => *len,
        }
    }
}

impl Overlay {
    /// An overlay over `inner` in which nothing is replaced yet, with blocks of
    /// `block_bytes` bytes, counted from the start of `inner`.
    ///
    /// # Errors
    ///
    /// [`Error::BlockSize`] unless `block_bytes` is a power of two.
    pub fn new(inner: Arc<dyn BlockDevice>, block_bytes: u32) -> Result<Self> {
        if !block_bytes.is_power_of_two() {
            return Err(Error::BlockSize { bytes: block_bytes });
        }
        Ok(Self {
            inner,
            block_bytes,
            overrides: BTreeMap::new(),
        })
    }

    /// Makes a block read as `bytes`, whatever it read as before.
    ///
    /// # Errors
    ///
    /// [`Error::BlockLength`] unless there are as many bytes as a block has,
    /// [`Error::OutOfRange`] unless the whole block lies inside the device.
    pub fn put(&mut self, block_index: u64, bytes: Box<[u8]>) -> Result<()> {
        self.check_block(block_index)?;
        if bytes.len() as u64 != u64::from(self.block_bytes) {
            return Err(Error::BlockLength {
                found: bytes.len(),
                expected: self.block_bytes,
            });
        }
        self.overrides.insert(block_index, Override::Own(bytes));
        Ok(())
    }

    /// Makes a block read as the inner device's bytes from `inner_offset` on,
    /// whatever it read as before. What this overlay replaces there does not show.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`] unless both places lie inside the device.
    pub fn redirect(&mut self, block_index: u64, inner_offset: u64) -> Result<()> {
        self.check_block(block_index)?;
        check_range(inner_offset, self.block_bytes.into(), self.size_bytes())?;
        self.overrides
            .insert(block_index, Override::Redirect(inner_offset));
        Ok(())
    }

    /// Makes a block read as the inner device's again. `false` if it did already.
    pub fn remove(&mut self, block_index: u64) -> bool {
        self.overrides.remove(&block_index).is_some()
    }

    /// Number of replaced blocks.
    pub fn len_blocks(&self) -> usize {
        self.overrides.len()
    }

    /// Whether no block is replaced.
    pub fn is_empty(&self) -> bool {
        self.overrides.is_empty()
    }

    /// Bytes of a block.
    pub fn block_bytes(&self) -> u32 {
        self.block_bytes
    }

    /// Whether a block is replaced.
    pub fn contains(&self, block_index: u64) -> bool {
        self.overrides.contains_key(&block_index)
    }

    /// Fails unless a block lies inside the device whole.
    fn check_block(&self, block_index: u64) -> Result<()> {
        let block_bytes = u64::from(self.block_bytes);
        let offset = block_index.saturating_mul(block_bytes);
        check_range(offset, block_bytes, self.size_bytes())
    }

    /// The longest piece from `offset` on, of at most `len_max` bytes. The
    /// range lies inside the device and is not empty.
    fn piece(&self, offset: u64, len_max: u64) -> Piece<'_> {
        let block_bytes = u64::from(self.block_bytes);
        let block_index = offset / block_bytes;
        let within = offset % block_bytes;
        let len_in_block = len_max.min(block_bytes - within);
        match self.overrides.range(block_index..).next() {
            Some((&next, Override::Own(bytes))) if next == block_index => {
                Piece::Own(part_of(bytes, within, len_in_block))
            }
            Some((&next, &Override::Redirect(target))) if next == block_index => Piece::Inner {
                offset: target + within,
                len: self.redirected_len(block_index, target, within, len_max),
            },
            Some((&next, _)) => Piece::Inner {
                offset,
                len: len_max.min(next * block_bytes - offset),
            },
            None => Piece::Inner {
                offset,
                len: len_max,
            },
        }
    }

    /// How far a redirected run goes: following blocks may be redirected to
    /// where the inner device's bytes simply go on.
    fn redirected_len(&self, first: u64, target: u64, within: u64, len_max: u64) -> u64 {
        let block_bytes = u64::from(self.block_bytes);
        let mut len = block_bytes - within;
        let mut previous = (first, target);
        for (&next, what) in self.overrides.range(first.saturating_add(1)..) {
            let follows = match *what {
                Override::Redirect(target) => {
                    next == previous.0 + 1 && target == previous.1 + block_bytes
                }
                Override::Own(_) => false,
            };
            if len >= len_max || !follows {
                break;
            }
            len += block_bytes;
            previous = (next, previous.1 + block_bytes);
        }
        len.min(len_max)
    }

    fn check_not_empty(&self, offset: u64, len: u64) -> Result<()> {
        let size = self.size_bytes();
        check_range(offset, len, size)?;
        if len == 0 {
            return Err(Error::OutOfRange { offset, len, size });
        }
        Ok(())
    }
}

/// `len` bytes of a block from `within` on; both lie inside it.
fn part_of(block: &[u8], within: u64, len: u64) -> &[u8] {
    let start = usize::try_from(within).unwrap_or(usize::MAX);
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    let rest = block.get(start..).unwrap_or(&[]);
    rest.get(..len).unwrap_or(rest)
}

impl BlockDevice for Overlay {
    fn size_bytes(&self) -> u64 {
        self.inner.size_bytes()
    }

    fn logical_sector_bytes(&self) -> u32 {
        self.inner.logical_sector_bytes()
    }

    fn is_read_only(&self) -> bool {
        true
    }

    fn read_at(&self, mut buf: &mut [u8], mut offset: u64) -> Result<()> {
        check_range(offset, buf.len() as u64, self.size_bytes())?;
        while !buf.is_empty() {
            let piece = self.piece(offset, buf.len() as u64);
            let piece_len = usize::try_from(piece.len()).unwrap_or(usize::MAX);
            let Some((head, tail)) = buf.split_at_mut_checked(piece_len) else {
                // A piece is never longer than what was asked for.
                return Err(Error::OutOfRange {
                    offset,
                    len: piece.len(),
                    size: self.size_bytes(),
                });
            };
            match piece {
                Piece::Own(bytes) => head.copy_from_slice(bytes),
                Piece::Inner { offset, .. } => self.inner.read_at(head, offset)?,
            }
            offset += piece_len as u64;
            buf = tail;
        }
        Ok(())
    }

    fn write_at(&self, _buf: &[u8], _offset: u64) -> Result<()> {
        Err(Error::ReadOnly)
    }

    fn write_zeroes(&self, _offset: u64, _len: u64) -> Result<()> {
        Err(Error::ReadOnly)
    }

    fn discard(&self, _offset: u64, _len: u64) -> Result<()> {
        Err(Error::ReadOnly)
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }

    fn as_file(&self) -> Option<DeviceFile<'_>> {
        if self.is_empty() {
            self.inner.as_file()
        } else {
            None
        }
    }

    fn mapped_at(&self, offset: u64, len_bytes: u64) -> Result<Mapped<'_>> {
        self.check_not_empty(offset, len_bytes)?;
        match self.piece(offset, len_bytes) {
            Piece::Own(bytes) => Ok(Mapped::No {
                len_bytes: bytes.len() as u64,
            }),
            Piece::Inner { offset, len } => self.inner.mapped_at(offset, len),
        }
    }

    fn prefetch(&self, mut offset: u64, len_bytes: u64) {
        let size = self.size_bytes();
        let end = offset.saturating_add(len_bytes).min(size);
        while offset < end {
            let piece = self.piece(offset, end - offset);
            if let Piece::Inner { offset, len } = piece {
                self.inner.prefetch(offset, len);
            }
            offset += piece.len();
        }
    }
}

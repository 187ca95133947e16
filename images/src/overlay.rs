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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Memory;

    const BLOCK: u64 = 4;

    /// Blocks 0 to 5 filled with their index, and half a block of 6.
    fn numbered() -> Vec<u8> {
        (0..26).map(|at| at / 4).collect()
    }

    fn over(bytes: Vec<u8>) -> Overlay {
        Overlay::new(Arc::new(Memory::read_only(bytes)), 4).unwrap()
    }

    fn read(overlay: &Overlay, offset: u64, len: usize) -> Vec<u8> {
        let mut buf = vec![0xee; len];
        overlay.read_at(&mut buf, offset).unwrap();
        buf
    }

    /// Lengths of the answers to a range; own bytes as negative ones.
    fn answers(overlay: &Overlay, mut offset: u64, end: u64) -> Vec<i64> {
        let mut lens = Vec::new();
        while offset < end {
            let (len, sign) = match overlay.mapped_at(offset, end - offset).unwrap() {
                Mapped::Bytes(bytes) => (bytes.len_bytes() as u64, 1),
                Mapped::No { len_bytes } => (len_bytes, -1),
            };
            lens.push(len as i64 * sign);
            offset += len;
        }
        lens
    }

    #[test]
    fn replaced_blocks_show_at_every_alignment() {
        let mut overlay = over(numbered());
        overlay.put(1, Box::new([10, 11, 12, 13])).unwrap();
        overlay.redirect(3, 1).unwrap();
        overlay.put(4, Box::new([40, 41, 42, 43])).unwrap();
        let mut expected = numbered();
        expected[4..8].copy_from_slice(&[10, 11, 12, 13]);
        expected[12..16].copy_from_slice(&[0, 0, 0, 1]);
        expected[16..20].copy_from_slice(&[40, 41, 42, 43]);
        for start in 0..=26 {
            for end in start..=26 {
                let found = read(&overlay, start as u64, end - start);
                assert_eq!(found, expected[start..end], "{start}..{end}");
            }
        }
        assert!(overlay.contains(1) && !overlay.contains(2));
        assert!(overlay.remove(1) && !overlay.remove(1));
        assert_eq!(read(&overlay, 4, 4), [1; 4]);
        assert_eq!(overlay.len_blocks(), 2);
    }

    #[test]
    fn a_redirection_ignores_other_replacements() {
        let mut overlay = over(numbered());
        overlay.put(0, Box::new([9; 4])).unwrap();
        overlay.redirect(1, 0).unwrap();
        assert_eq!(read(&overlay, 0, 8), [9, 9, 9, 9, 0, 0, 0, 0]);
        overlay.redirect(0, 8).unwrap();
        assert_eq!(read(&overlay, 0, 4), [2; 4]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut overlay = over(numbered());
        let refused = overlay.put(0, Box::new([0; 3])).unwrap_err();
        assert!(matches!(
            refused,
            Error::BlockLength {
                found: 3,
                expected: 4
            }
        ));
        // Block 6 is only half there.
        for block in [6, 7, u64::MAX / BLOCK, u64::MAX] {
            let put = overlay.put(block, Box::new([0; 4]));
            assert!(matches!(put, Err(Error::OutOfRange { .. })));
            let redirect = overlay.redirect(block, 0);
            assert!(matches!(redirect, Err(Error::OutOfRange { .. })));
        }
        overlay.redirect(0, 22).unwrap();
        for target in [23, 26, u64::MAX - 2, u64::MAX] {
            assert!(overlay.redirect(0, target).is_err());
        }
        assert_eq!(overlay.len_blocks(), 1);
        for block_bytes in [0, 3, 1000] {
            let made = Overlay::new(Arc::new(Memory::zeroed(8)), block_bytes);
            assert!(matches!(made, Err(Error::BlockSize { .. })));
        }
    }

    #[test]
    fn ranges_are_checked_and_writes_refused() {
        let mut overlay = over(numbered());
        overlay.put(5, Box::new([0; 4])).unwrap();
        let mut buf = [0; 4];
        for offset in [23, 26, 27, u64::MAX] {
            assert!(overlay.read_at(&mut buf, offset).is_err());
            assert!(overlay.mapped_at(offset, 4).is_err());
            overlay.prefetch(offset, u64::MAX);
        }
        overlay.prefetch(0, 26);
        assert!(overlay.mapped_at(0, 0).is_err());
        assert!(overlay.is_read_only());
        assert!(matches!(overlay.write_at(&buf, 0), Err(Error::ReadOnly)));
        assert!(matches!(overlay.write_zeroes(0, 1), Err(Error::ReadOnly)));
        assert!(matches!(overlay.discard(0, 1), Err(Error::ReadOnly)));
    }

    #[test]
    fn mapped_runs_are_as_long_as_they_can_be() {
        let mut overlay = over(numbered());
        assert_eq!(answers(&overlay, 1, 26), [25]);
        overlay.put(1, Box::new([0; 4])).unwrap();
        overlay.put(2, Box::new([0; 4])).unwrap();
        assert_eq!(answers(&overlay, 1, 26), [3, -4, -4, 14]);
        // Blocks 3 and 4 go on where block 3's target ends, block 5 does not.
        overlay.redirect(3, 2).unwrap();
        overlay.redirect(4, 6).unwrap();
        overlay.redirect(5, 2).unwrap();
        assert_eq!(answers(&overlay, 0, 26), [4, -4, -4, 8, 4, 2]);
        assert_eq!(answers(&overlay, 6, 19), [-2, -4, 7]);
    }

    #[test]
    fn redirected_blocks_keep_their_place_in_the_mapping() {
        let memory = Arc::new(Memory::read_only(numbered()));
        let mut overlay = Overlay::new(Arc::clone(&memory) as _, 4).unwrap();
        overlay.redirect(5, 8).unwrap();
        let Mapped::Bytes(found) = overlay.mapped_at(21, 3).unwrap() else {
            panic!("not mapped");
        };
        let Mapped::Bytes(expected) = memory.mapped_at(9, 3).unwrap() else {
            panic!("not mapped");
        };
        assert_eq!(found.address(), expected.address());
        assert_eq!(found.len_bytes(), 3);
    }
}

//! How much of a file system goes to inodes (`-i`) and to root (`-m`).

use std::str::FromStr;

use super::number;
use crate::{Error, Result};

/// Bytes for which there is an inode: 1024 to 64 MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BytesPerInode(u64);

impl BytesPerInode {
    /// The smallest block, and 1024 of the largest (mke2fs).
    const RANGE: std::ops::RangeInclusive<u64> = 1024..=1024 * 65_536;

    /// A ratio in range.
    ///
    /// # Errors
    /// `Option` out of range.
    pub fn new(bytes: u64) -> Result<Self> {
        if !Self::RANGE.contains(&bytes) {
            return Err(Error::Option(format!(
                "{bytes} bytes per inode (-i) are not possible: {} to {} are",
                Self::RANGE.start(),
                Self::RANGE.end()
            )));
        }
        Ok(Self(bytes))
    }

    pub(super) fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for BytesPerInode {
    type Err = Error;

    /// Reads a number of bytes, bare or with a suffix.
    fn from_str(text: &str) -> Result<Self> {
        number::bytes(text).and_then(Self::new)
    }
}

/// Percentage of the blocks that only root may use: 0 to 50.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReservedPercent(f64);

impl ReservedPercent {
    /// A percentage in range.
    ///
    /// # Errors
    /// `Option` out of range.
    pub fn new(percent: f64) -> Result<Self> {
        if !(0.0..=50.0).contains(&percent) {
            return Err(Error::Option(format!(
                "{percent} percent of reserved blocks (-m) are not possible: 0 to 50 are"
            )));
        }
        Ok(Self(percent))
    }

    /// Blocks that are kept, rounded as mke2fs does: in floating point, down.
    pub(super) fn of(self, blocks: u64) -> u64 {
        share(self.0, blocks)
    }
}

impl FromStr for ReservedPercent {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let percent = text
            .parse()
            .map_err(|_| Error::Option(format!("-m {text}: give a percentage from 0 to 50")))?;
        Self::new(percent)
    }
}

/// The reserved blocks of a file system that has become smaller: as large a
/// share as before, with mke2fs's rounding.
pub(super) fn rescaled(reserved: u64, blocks_before: u64, blocks: u64) -> u64 {
    share(100.0 * as_float(reserved) / as_float(blocks_before), blocks)
}

fn share(percent: f64, blocks: u64) -> u64 {
    // A float becomes an integer by cutting off, and the nearest if out of range.
    (percent * as_float(blocks) / 100.0) as u64
}

fn as_float(blocks: u64) -> f64 {
    blocks as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_out_of_range_are_refused() {
        assert_eq!("16k".parse::<BytesPerInode>().unwrap().bytes(), 16_384);
        for text in ["1023", "67108865", "x", "1p", ""] {
            assert!(text.parse::<BytesPerInode>().is_err(), "{text}");
        }
        for text in ["50.1", "-1", "NaN", "inf", "x", ""] {
            assert!(text.parse::<ReservedPercent>().is_err(), "{text}");
        }
    }

    #[test]
    fn percentages_round_down() {
        let of = |text: &str, blocks| text.parse::<ReservedPercent>().unwrap().of(blocks);
        assert_eq!(of("5", 65_536), 3276);
        assert_eq!(of("0.5", 1000), 5);
        assert_eq!(of("0", 1000), 0);
        assert_eq!(of("50", 3), 1);
        assert_eq!(rescaled(500, 10_000, 8_000), 400);
    }
}

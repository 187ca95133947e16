//! Numbers as users write them: C's integers, sizes with a suffix.

use std::str::FromStr;

use crate::{Error, Result};

/// Reads an integer as C's `strtoul` with base 0 does, which is what mke2fs
/// calls: decimal, `0x` hexadecimal, or octal after a leading 0.
pub(super) fn integer(text: &str) -> Option<u64> {
    let (digits, radix) = match text.strip_prefix("0x").or(text.strip_prefix("0X")) {
        Some(hexadecimal) => (hexadecimal, 16),
        None if text.len() > 1 && text.starts_with('0') => (text, 8),
        None => (text, 10),
    };
    // from_str_radix would take a sign.
    if !digits.starts_with(|first: char| first.is_ascii_hexdigit()) {
        return None;
    }
    u64::from_str_radix(digits, radix).ok()
}

/// An integer that fits its type, or a sentence that names the option.
pub(super) fn integer_of<T: TryFrom<u64>>(option: &str, text: &str) -> Result<T> {
    let bad = || Error::Option(format!("{option}: {text:?} is not a number in range"));
    T::try_from(integer(text).ok_or_else(bad)?).map_err(|_| bad())
}

/// A size as mke2fs takes it: a bare number counts blocks, a suffix makes it
/// bytes: `s` 512-byte sectors, `k` KiB, `m` MiB, `g` GiB, `t` TiB, in either case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// A number of blocks.
    Blocks(u64),
    /// A number of bytes.
    Bytes(u64),
}

impl Size {
    /// Whole blocks in it; what is left over is dropped, as mke2fs does.
    pub fn in_blocks(self, block_bytes: u32) -> u64 {
        match self {
            Self::Blocks(blocks) => blocks,
            Self::Bytes(bytes) => bytes.checked_div(block_bytes.into()).unwrap_or(0),
        }
    }

    /// The bytes in it.
    ///
    /// # Errors
    /// `Size` beyond 2^64 - 1 bytes.
    pub fn in_bytes(self, block_bytes: u32) -> Result<u64> {
        match self {
            Self::Blocks(blocks) => blocks.checked_mul(block_bytes.into()).ok_or_else(|| {
                Error::Size(format!(
                    "{blocks} blocks of {block_bytes} bytes are more than 2^64 bytes"
                ))
            }),
            Self::Bytes(bytes) => Ok(bytes),
        }
    }
}

impl FromStr for Size {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let shift = match text
            .chars()
            .last()
            .map(|suffix| suffix.to_ascii_lowercase())
        {
            Some('s') => 9,
            Some('k') => 10,
            Some('m') => 20,
            Some('g') => 30,
            Some('t') => 40,
            _ => 0,
        };
        let bad = || {
            Error::Size(format!(
                "{text:?} is not a size: give a number of blocks, or a number with one of the suffixes s, k, m, g, t"
            ))
        };
        if shift == 0 {
            return integer(text).map(Self::Blocks).ok_or_else(bad);
        }
        let number = text.get(..text.len() - 1).and_then(integer);
        number
            .ok_or_else(bad)?
            .checked_mul(1 << shift)
            .map(Self::Bytes)
            .ok_or_else(|| Error::Size(format!("{text:?} is more than 2^64 bytes")))
    }
}

/// A number of bytes where no block size is needed (-b, -i): bare or with a suffix.
pub(super) fn bytes(text: &str) -> Result<u64> {
    match text.parse()? {
        Size::Blocks(number) | Size::Bytes(number) => Ok(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_cs() {
        for (text, value) in [
            ("0", Some(0)),
            ("10", Some(10)),
            ("010", Some(8)),
            ("0x1F", Some(31)),
            ("08", None),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("0x", None),
            ("0x-1", None),
            ("18446744073709551616", None),
            ("1 ", None),
        ] {
            assert_eq!(integer(text), value, "{text:?}");
        }
    }

    #[test]
    fn a_bare_size_counts_blocks_and_a_suffix_makes_bytes() {
        for (text, size) in [
            ("100", Size::Blocks(100)),
            ("100s", Size::Bytes(51_200)),
            ("1K", Size::Bytes(1024)),
            ("3m", Size::Bytes(3 << 20)),
            ("2G", Size::Bytes(2 << 30)),
            ("0x10t", Size::Bytes(16 << 40)),
        ] {
            assert_eq!(text.parse::<Size>().unwrap(), size, "{text}");
        }
        assert_eq!(Size::Bytes(5000).in_blocks(4096), 1);
        assert_eq!(Size::Blocks(3).in_bytes(4096).unwrap(), 12_288);
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "k", "1kk", "1p", "-1", "1.5g", "99999999999t", "m1"] {
            assert!(text.parse::<Size>().is_err(), "{text:?}");
        }
        assert!(Size::Blocks(u64::MAX).in_bytes(1024).is_err());
    }
}

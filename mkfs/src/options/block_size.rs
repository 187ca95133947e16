//! The size of a block: `-b`.

use std::str::FromStr;

use super::number;
use crate::{Error, Result};

/// The format's limits: `s_log_block_size` is 0 to 6.
const MIN_BYTES: u32 = 1024;
const MAX_BYTES: u32 = 65_536;

/// What `-b` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockSize {
    /// This many bytes.
    Exactly(u32),
    /// What the usage type says, but at least this many bytes (`-b -4096`).
    AtLeast(u32),
}

impl FromStr for BlockSize {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.strip_prefix('-') {
            Some(least) => checked(number::bytes(least)?).map(Self::AtLeast),
            None => checked(number::bytes(text)?).map(Self::Exactly),
        }
    }
}

/// A block size the format has.
///
/// # Errors
/// `Option`: not a power of two, or out of 1024 to 65536.
pub(super) fn checked(bytes: u64) -> Result<u32> {
    u32::try_from(bytes)
        .ok()
        .filter(|size| size.is_power_of_two() && (MIN_BYTES..=MAX_BYTES).contains(size))
        .ok_or_else(|| {
            Error::Option(format!(
                "the block size {bytes} is not a power of two from {MIN_BYTES} to {MAX_BYTES}"
            ))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_two_from_1k_to_64k() {
        for (text, size) in [
            ("1024", BlockSize::Exactly(1024)),
            ("4k", BlockSize::Exactly(4096)),
            ("65536", BlockSize::Exactly(65_536)),
            ("-2048", BlockSize::AtLeast(2048)),
        ] {
            assert_eq!(text.parse::<BlockSize>().unwrap(), size);
        }
        for text in ["512", "3000", "128k", "0", "-0", "x", "", "--4096"] {
            assert!(text.parse::<BlockSize>().is_err(), "{text}");
        }
    }
}

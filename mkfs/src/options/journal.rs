//! The journal: `-J`, and how long it is.

use std::str::FromStr;

use super::number::{self, Size};
use crate::{Error, Result};

/// Fewest and most blocks of a journal, the fast-commit area included
/// (jbd2's minimum; mke2fs's maximum).
const MIN_BLOCKS: u64 = 1024;
const MAX_BLOCKS: u64 = 10_240_000;

/// One fast-commit block for so many journal blocks, unless asked otherwise
/// (libext2fs).
const JOURNAL_TO_FAST_COMMIT: u64 = 64;

/// What `-J` asks for; several lists add up, the last of a key counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JournalOptions {
    /// `size=`: length without the fast-commit area, in MiB.
    pub size_mib: Option<u32>,
    /// `fast_commit_size=`: length of the fast-commit area, in KiB.
    pub fast_commit_kib: Option<u32>,
    /// `location=`: where it begins.
    pub location: Option<Size>,
}

impl JournalOptions {
    /// Adds the keys of another list, which win.
    #[must_use]
    pub fn and(self, later: Self) -> Self {
        Self {
            size_mib: later.size_mib.or(self.size_mib),
            fast_commit_kib: later.fast_commit_kib.or(self.fast_commit_kib),
            location: later.location.or(self.location),
        }
    }
}

impl FromStr for JournalOptions {
    type Err = Error;

    fn from_str(list: &str) -> Result<Self> {
        let mut options = Self::default();
        for item in list.split(',') {
            let (key, value) = item.split_once('=').unwrap_or((item, ""));
            let option = format!("-J {key}=");
            match key {
                "size" => options.size_mib = Some(positive(&option, value)?),
                "fast_commit_size" => options.fast_commit_kib = Some(positive(&option, value)?),
                "location" => options.location = Some(value.parse()?),
                "device" => {
                    return Err(Error::Option(
                        "-J device= is not supported: extmap keeps the journal inside the file system"
                            .to_owned(),
                    ));
                }
                _ => {
                    return Err(Error::Option(format!(
                        "-J does not know {key:?}; it knows size=MiB, fast_commit_size=KiB, location=BLOCK"
                    )));
                }
            }
        }
        Ok(options)
    }
}

fn positive(option: &str, value: &str) -> Result<u32> {
    let number = number::integer_of(option, value)?;
    if number == 0 {
        return Err(Error::Option(format!("{option}0 would be no journal")));
    }
    Ok(number)
}

/// The lengths of a journal, in blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct JournalLength {
    /// All of it, the fast-commit area included.
    pub(super) blocks: u32,
    /// The fast-commit area at its end.
    pub(super) fast_commit_blocks: u32,
}

/// mke2fs 1.47's journal length for a file system of so many blocks; `None` if
/// that is too small for one.
pub(super) fn default_blocks(fs_blocks: u64) -> Option<u64> {
    const TABLE: [(u64, u64); 9] = [
        (2_048, 0),
        (32_768, 1_024),
        (262_144, 4_096),
        (524_288, 8_192),
        (4_194_304, 16_384),
        (8_388_608, 32_768),
        (16_777_216, 65_536),
        (33_554_432, 131_072),
        (u64::MAX, 262_144),
    ];
    TABLE
        .iter()
        .find(|(below, _)| fs_blocks < *below)
        .map(|&(_, blocks)| blocks)
        .filter(|&blocks| blocks > 0)
}

/// Length of the journal of a file system that is large enough for one.
///
/// # Errors
/// `Option` if the length asked for is out of the format's range or more than
/// half of the `free_blocks`.
pub(super) fn length(
    options: &JournalOptions,
    default_blocks: u64,
    block_bytes: u32,
    free_blocks: u64,
    fast_commit: bool,
) -> Result<JournalLength> {
    let block_bytes = u64::from(block_bytes);
    let mut blocks = default_blocks;
    if let Some(mib) = options.size_mib {
        blocks = (u64::from(mib) << 20) / block_bytes;
    }
    let mut fast_commit_blocks = 0;
    if fast_commit {
        fast_commit_blocks = default_blocks / JOURNAL_TO_FAST_COMMIT;
        if let Some(kib) = options.fast_commit_kib {
            fast_commit_blocks = (u64::from(kib) << 10) / block_bytes;
        }
        if fast_commit_blocks == 0 {
            return Err(Error::Option(format!(
                "the fast-commit area must be at least one block of {block_bytes} bytes long"
            )));
        }
    }
    let total = blocks + fast_commit_blocks;
    if !(MIN_BLOCKS..=MAX_BLOCKS).contains(&total) {
        return Err(Error::Option(format!(
            "a journal of {total} blocks is not possible: it must have {MIN_BLOCKS} to {MAX_BLOCKS} blocks of {block_bytes} bytes"
        )));
    }
    let asked = options.size_mib.is_some() || (fast_commit && options.fast_commit_kib.is_some());
    if asked && total > free_blocks / 2 {
        return Err(Error::Option(format!(
            "a journal of {total} blocks would take more than half of the {free_blocks} free blocks: ask for a shorter one (-J size=)"
        )));
    }
    let narrow = |blocks: u64| {
        u32::try_from(blocks)
            .map_err(|_| Error::Option(format!("a journal of {blocks} blocks is too long")))
    };
    Ok(JournalLength {
        blocks: narrow(total)?,
        fast_commit_blocks: narrow(fast_commit_blocks)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_read() {
        let options: JournalOptions = "size=4,location=5M,fast_commit_size=100".parse().unwrap();
        assert_eq!(options.size_mib, Some(4));
        assert_eq!(options.location, Some(Size::Bytes(5 << 20)));
        let options = options.and("size=8".parse().unwrap());
        assert_eq!(options.size_mib, Some(8));
        assert_eq!(options.fast_commit_kib, Some(100));
    }

    #[test]
    fn what_is_not_known_is_refused_by_name() {
        for (list, word) in [
            ("device=/dev/sdb1", "device="),
            ("speed=1", "speed"),
            ("size=5M", "5M"),
            ("size=0", "size="),
            ("size", "size="),
            ("size=-1", "-1"),
            ("", "knows"),
            ("location=x", "x"),
        ] {
            let message = list.parse::<JournalOptions>().unwrap_err().to_string();
            assert!(message.contains(word), "{list}: {message}");
        }
    }

    #[test]
    fn a_journal_grows_with_the_file_system() {
        assert_eq!(default_blocks(2047), None);
        assert_eq!(default_blocks(2048), Some(1024));
        assert_eq!(default_blocks(262_144), Some(8192));

        assert_eq!(default_blocks(1 << 44), Some(262_144));
    }

    #[test]
    fn a_length_out_of_range_is_refused() {
        let of = |list: &str, free| {
            length(&list.parse().unwrap(), 4096, 4096, free, true).map(|length| length.blocks)
        };
        assert_eq!(of("size=8", 1 << 20).unwrap(), 2048 + 64);
        assert_eq!(of("size=4,fast_commit_size=4", 1 << 20).unwrap(), 1025);
        assert!(of("size=3", 1 << 20).is_err());
        assert!(of("fast_commit_size=3", 1 << 20).is_err());
        assert!(of("size=8", 4000).is_err());
        assert!(of("size=40000", 1 << 40).is_err());
        assert!(of("size=4294967295", 1 << 50).is_err());
    }
}

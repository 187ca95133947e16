//! Who the file system is: UUID, names, creator, time.

use std::str::FromStr;

use fs_core::Timestamp;
use uuid::{NoContext, Uuid};

use crate::{Error, Result};

/// Length of `s_volume_name`.
const LABEL_MAX_BYTES: usize = 16;
/// Length of `s_last_mounted`, without the zero at its end.
const LAST_MOUNTED_MAX_BYTES: usize = 63;
/// The latest time a superblock holds: 40 bits of seconds.
const TIME_MAX_SECONDS: i64 = (1 << 40) - 1;

/// `-U`: which UUID it gets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UuidChoice {
    /// `random`: a new one (version 4).
    #[default]
    Random,
    /// `time`: a new one that begins with the time (version 7).
    Time,
    /// `clear`: zeros.
    Clear,
    /// This one.
    Given(Uuid),
}

impl FromStr for UuidChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(match text.to_ascii_lowercase().as_str() {
            "random" => Self::Random,
            "time" => Self::Time,
            "clear" | "null" => Self::Clear,
            text => Self::Given(Uuid::try_parse(text).map_err(|_| {
                Error::Option(format!("-U {text}: give a UUID, or clear, random or time"))
            })?),
        })
    }
}

impl UuidChoice {
    pub(super) fn uuid(self, time: Timestamp) -> Uuid {
        match self {
            Self::Random => Uuid::new_v4(),
            Self::Time => {
                let seconds = u64::try_from(time.seconds).unwrap_or(0);
                Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, seconds, time.nanos))
            }
            Self::Clear => Uuid::nil(),
            Self::Given(uuid) => uuid,
        }
    }
}

/// `-o`: which system the file system is made for (`s_creator_os`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CreatorOs {
    /// Linux.
    #[default]
    Linux,
    /// GNU Hurd.
    Hurd,
    /// Masix; only by its number, as in mke2fs.
    Masix,
    /// FreeBSD.
    FreeBsd,
    /// Lites and other systems that come from BSD.
    Lites,
}

impl CreatorOs {
    /// The number in the superblock.
    pub fn number(self) -> u32 {
        match self {
            Self::Linux => 0,
            Self::Hurd => 1,
            Self::Masix => 2,
            Self::FreeBsd => 3,
            Self::Lites => 4,
        }
    }
}

impl FromStr for CreatorOs {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.to_ascii_lowercase().as_str() {
            "linux" | "0" => Ok(Self::Linux),
            "hurd" | "gnu" | "1" => Ok(Self::Hurd),
            "2" => Ok(Self::Masix),
            "freebsd" | "3" => Ok(Self::FreeBsd),
            "lites" | "4" => Ok(Self::Lites),
            _ => Err(Error::Option(format!(
                "-o {text}: known are linux, hurd, freebsd, lites and the numbers 0 to 4"
            ))),
        }
    }
}

/// `-e`: what a kernel does that finds an error (`s_errors`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorsBehavior {
    /// Go on.
    Continue,
    /// Allow only reading from then on.
    RemountReadOnly,
    /// Halt the machine.
    Panic,
}

impl ErrorsBehavior {
    pub(super) fn number(self) -> u16 {
        match self {
            Self::Continue => 1,
            Self::RemountReadOnly => 2,
            Self::Panic => 3,
        }
    }
}

impl FromStr for ErrorsBehavior {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "continue" => Ok(Self::Continue),
            "remount-ro" => Ok(Self::RemountReadOnly),
            "panic" => Ok(Self::Panic),
            _ => Err(Error::Option(format!(
                "{text:?} is no behaviour on errors: known are continue, remount-ro, panic"
            ))),
        }
    }
}

/// Reads SOURCE_DATE_EPOCH: seconds since 1970, decimal.
///
/// # Errors
/// `Option` for anything else, and beyond what a superblock holds (40 bits).
pub fn source_date_epoch(text: &str) -> Result<Timestamp> {
    text.parse()
        .ok()
        .filter(|seconds| (0..=TIME_MAX_SECONDS).contains(seconds))
        .map(|seconds| Timestamp { seconds, nanos: 0 })
        .ok_or_else(|| {
            Error::Option(format!(
                "SOURCE_DATE_EPOCH={text} is not a number of seconds from 0 to {TIME_MAX_SECONDS}"
            ))
        })
}

pub(super) fn checked_label(label: &[u8]) -> Result<Vec<u8>> {
    checked_name(label, "label (-L)", LABEL_MAX_BYTES)
}

pub(super) fn checked_last_mounted(path: &[u8]) -> Result<Vec<u8>> {
    checked_name(path, "last-mounted directory (-M)", LAST_MOUNTED_MAX_BYTES)
}

fn checked_name(name: &[u8], what: &str, max: usize) -> Result<Vec<u8>> {
    let shown = String::from_utf8_lossy(name);
    if name.len() > max {
        return Err(Error::Option(format!(
            "the {what} {shown:?} has {} bytes, there is room for {max}",
            name.len()
        )));
    }
    if name.contains(&0) {
        return Err(Error::Option(format!(
            "the {what} {shown:?} holds a zero byte"
        )));
    }
    Ok(name.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids() {
        let time = Timestamp {
            seconds: 1_700_000_000,
            nanos: 0,
        };
        let uuid = |text: &str| text.parse::<UuidChoice>().unwrap().uuid(time);
        assert!(uuid("clear").is_nil());
        assert_ne!(uuid("random"), uuid("random"));
        assert_eq!(uuid("random").get_version_num(), 4);
        assert_eq!(uuid("time").get_version_num(), 7);
        let given = "6B2D5B3E-5d0f-4d7d-9f5e-0a1b2c3d4e5f";
        assert_eq!(uuid(given).to_string(), given.to_lowercase());
        assert!("6b2d".parse::<UuidChoice>().is_err());
    }

    #[test]
    fn names_that_do_not_fit_are_refused() {
        assert!(checked_label(b"sixteen bytes ok").is_ok());
        assert!(checked_label(b"seventeen bytes !").is_err());
        assert!(checked_label(b"a\0b").is_err());
        assert!(checked_last_mounted(&[b'a'; 63]).is_ok());
        assert!(checked_last_mounted(&[b'a'; 64]).is_err());
    }

    #[test]
    fn small_values() {
        assert_eq!("GNU".parse::<CreatorOs>().unwrap().number(), 1);
        assert_eq!("2".parse::<CreatorOs>().unwrap().number(), 2);
        assert!("beos".parse::<CreatorOs>().is_err());
        assert_eq!("panic".parse::<ErrorsBehavior>().unwrap().number(), 3);
        assert!("halt".parse::<ErrorsBehavior>().is_err());
        assert_eq!(source_date_epoch("12").unwrap().seconds, 12);
        for text in ["", "-1", "1.5", "1099511627776"] {
            assert!(source_date_epoch(text).is_err(), "{text}");
        }
    }
}

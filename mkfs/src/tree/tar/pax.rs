//! Extended headers of the PAX format: records that override a member's header.
//!
//! A record is `LENGTH KEYWORD=VALUE\n` (POSIX.1-2001, "pax Extended Header").
//! Keywords nobody here knows are passed over, as POSIX demands; known ones with
//! values that make no sense are refused.

use fs_core::Timestamp;

use super::sparse::PaxSparse;
use super::{Parsed, xattr};
use crate::tree::Xattr;

/// Bytes in a whole extended header, at most.
pub(super) const HEADER_BYTES_MAX: u64 = 1 << 20;

/// What extended headers say about a member; `None` leaves it to its header.
#[derive(Debug, Clone, Default)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) linkpath: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) mtime: Option<Timestamp>,
    pub(super) atime: Option<Timestamp>,
    pub(super) ctime: Option<Timestamp>,
    pub(super) dev_major: Option<u32>,
    pub(super) dev_minor: Option<u32>,
    /// In the order of the records.
    pub(super) xattrs: Vec<Xattr>,
    /// SELinux's context.
    pub(super) selinux: Option<Vec<u8>>,
    /// ACLs as text, which is not looked at if the attribute itself is there.
    pub(super) acl_access: Option<Vec<u8>>,
    pub(super) acl_default: Option<Vec<u8>>,
    pub(super) sparse: PaxSparse,
}

impl Pax {
    /// Applies the records of a header for all following members.
    ///
    /// # Errors
    /// Malformed records, and keywords that can only describe one member.
    pub(super) fn apply_global(&mut self, records: &[u8]) -> Parsed<()> {
        for_each_record(records, |keyword, value| match keyword {
            b"uid" | b"gid" | b"mtime" | b"atime" | b"ctime" | b"hdrcharset" => {
                self.record(keyword, value)
            }
            b"path" | b"linkpath" | b"size" => Err(one_member_only(keyword)),
            _ if [
                "SCHILY.",
                "LIBARCHIVE.xattr.",
                "RHT.security.",
                "GNU.sparse.",
            ]
            .iter()
            .any(|start| keyword.starts_with(start.as_bytes())) =>
            {
                Err(one_member_only(keyword))
            }
            _ => refuse_volumes(keyword),
        })
    }

    /// Applies the records of a header for the next member.
    ///
    /// # Errors
    /// Malformed records, or values that make no sense.
    pub(super) fn apply(&mut self, records: &[u8]) -> Parsed<()> {
        for_each_record(records, |keyword, value| self.record(keyword, value))
    }

    fn record(&mut self, keyword: &[u8], value: &[u8]) -> Parsed<()> {
        match keyword {
            b"path" => self.path = path(value)?,
            b"linkpath" => self.linkpath = path(value)?,
            b"size" => self.size = decimal(keyword, value)?,
            b"uid" => self.uid = decimal(keyword, value)?,
            b"gid" => self.gid = decimal(keyword, value)?,
            b"mtime" => self.mtime = time(keyword, value)?,
            b"atime" => self.atime = time(keyword, value)?,
            b"ctime" => self.ctime = time(keyword, value)?,
            b"SCHILY.devmajor" => self.dev_major = decimal(keyword, value)?,
            b"SCHILY.devminor" => self.dev_minor = decimal(keyword, value)?,
            b"SCHILY.acl.access" => self.acl_access = Some(value.to_vec()),
            b"SCHILY.acl.default" => self.acl_default = Some(value.to_vec()),
            b"RHT.security.selinux" => self.selinux = Some(value.to_vec()),
            b"hdrcharset" => charset(value)?,
            _ => return self.prefixed_record(keyword, value),
        }
        Ok(())
    }

    /// Records whose keyword begins with a known word.
    fn prefixed_record(&mut self, keyword: &[u8], value: &[u8]) -> Parsed<()> {
        if let Some(name) = keyword.strip_prefix(b"SCHILY.xattr.") {
            self.xattrs.push(xattr::from_schily(name, value)?);
        } else if let Some(name) = keyword.strip_prefix(b"LIBARCHIVE.xattr.") {
            self.xattrs.push(xattr::from_libarchive(name, value)?);
        } else if let Some(rest) = keyword.strip_prefix(b"GNU.sparse.") {
            self.sparse.record(rest, value)?;
        } else {
            refuse_volumes(keyword)?;
        }
        Ok(())
    }
}

/// The name an extended header gives, whatever else is wrong with it.
pub(super) fn path_in(records: &[u8]) -> Option<Vec<u8>> {
    let mut found = None;
    // What is behind a malformed record is lost; the caller tells of that record.
    let _ = for_each_record(records, |keyword, value| {
        if matches!(keyword, b"path" | b"GNU.sparse.name") && !value.is_empty() {
            found = Some(value.to_vec());
        }
        Ok(())
    });
    found
}

/// Splits an extended header into keywords and values.
fn for_each_record(
    mut records: &[u8],
    mut each: impl FnMut(&[u8], &[u8]) -> Parsed<()>,
) -> Parsed<()> {
    let malformed = || "has a malformed extended header".to_owned();
    while !records.is_empty() {
        let space = records
            .iter()
            .take(20)
            .position(|&byte| byte == b' ')
            .ok_or_else(malformed)?;
        let length = records.get(..space).and_then(unsigned);
        let length = length
            .and_then(|length| usize::try_from(length).ok())
            .ok_or_else(malformed)?;
        let (record, rest) = records.split_at_checked(length).ok_or_else(malformed)?;
        let record = record
            .get(space.saturating_add(1)..)
            .and_then(|record| record.strip_suffix(b"\n"))
            .ok_or_else(malformed)?;
        let equals = record.iter().position(|&byte| byte == b'=');
        let (keyword, value) = equals
            .and_then(|equals| record.split_at_checked(equals))
            .ok_or_else(malformed)?;
        if keyword.is_empty() {
            return Err(malformed());
        }
        each(keyword, value.strip_prefix(b"=").unwrap_or(value))?;
        records = rest;
    }
    Ok(())
}

fn one_member_only(keyword: &[u8]) -> String {
    format!(
        "sets {} for all members, which can only belong to one",
        String::from_utf8_lossy(keyword)
    )
}

fn refuse_volumes(keyword: &[u8]) -> Parsed<()> {
    match keyword {
        b"GNU.volume.filename" | b"GNU.volume.size" | b"GNU.volume.offset" => {
            Err("continues another archive (multi-volume), which is not supported".to_owned())
        }
        _ => Ok(()),
    }
}

/// An empty value takes back what was said before (POSIX).
fn path(value: &[u8]) -> Parsed<Option<Vec<u8>>> {
    if value.contains(&0) {
        return Err("a path in its extended header contains a NUL".to_owned());
    }
    Ok((!value.is_empty()).then(|| value.to_vec()))
}

fn charset(value: &[u8]) -> Parsed<()> {
    match value {
        b"BINARY" | b"ISO-IR 10646 2000 UTF-8" | b"" => Ok(()),
        other => Err(format!(
            "uses the character set {}, which is not supported (UTF-8 and BINARY are)",
            String::from_utf8_lossy(other)
        )),
    }
}

/// A number without a sign; nothing for an empty value.
fn decimal<T: TryFrom<u64>>(keyword: &[u8], value: &[u8]) -> Parsed<Option<T>> {
    if value.is_empty() {
        return Ok(None);
    }
    unsigned(value)
        .and_then(|number| T::try_from(number).ok())
        .map(Some)
        .ok_or_else(|| out_of_range(keyword, value))
}

fn out_of_range(keyword: &[u8], value: &[u8]) -> String {
    let shown = value.get(..40).unwrap_or(value);
    format!(
        "its {} is not a number in range: {}",
        String::from_utf8_lossy(keyword),
        shown.escape_ascii()
    )
}

/// Decimal digits and nothing else.
pub(super) fn unsigned(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, &byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

/// Seconds since 1970 with any number of decimals; what is beyond nanoseconds is
/// cut off. Times before 1970 are negative; their nanoseconds count forward.
fn time(keyword: &[u8], value: &[u8]) -> Parsed<Option<Timestamp>> {
    if value.is_empty() {
        return Ok(None);
    }
    parse_time(value)
        .map(Some)
        .ok_or_else(|| out_of_range(keyword, value))
}

fn parse_time(value: &[u8]) -> Option<Timestamp> {
    let (negative, value) = match value.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let mut parts = value.splitn(2, |&byte| byte == b'.');
    let seconds = i64::try_from(unsigned(parts.next()?)?).ok()?;
    let decimals = parts.next().unwrap_or_default();
    if !decimals.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = decimals.iter().chain(std::iter::repeat(&b'0')).take(9);
    let nanos = digits.fold(0, |nanos, &digit| nanos * 10 + u32::from(digit - b'0'));
    Some(match (negative, nanos) {
        (false, _) => Timestamp { seconds, nanos },
        (true, 0) => Timestamp {
            seconds: -seconds,
            nanos,
        },
        (true, _) => Timestamp {
            seconds: (-seconds).checked_sub(1)?,
            nanos: 1_000_000_000 - nanos,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_fractions_and_signs() {
        for (value, expected) in [
            ("12", Some((12, 0))),
            ("12.5", Some((12, 500_000_000))),
            ("12.0000000019", Some((12, 1))),
            ("-12.25", Some((-13, 750_000_000))),
            ("-0.5", Some((-1, 500_000_000))),
            ("-3", Some((-3, 0))),
            ("1e9", None),
            ("99999999999999999999", None),
        ] {
            let found = parse_time(value.as_bytes());
            let found = found.map(|time| (time.seconds, time.nanos));
            assert_eq!(found, expected, "{value}");
        }
    }

    #[test]
    fn records_state_their_own_length() {
        let mut pax = Pax::default();
        pax.apply(b"12 path=a=b\n10 uid=17\n").expect("well formed");
        assert_eq!(pax.path.as_deref(), Some(&b"a=b"[..]));
        assert_eq!(pax.uid, Some(17));
        pax.apply(b"7 uid=\n").expect("an empty value is nothing");
        assert_eq!(pax.uid, None);
        for malformed in [
            &b"12 path=a=b"[..],
            b"13 path=a=b\n",
            b"11 path=a=b\n",
            b"0 path=a\n",
            b"3 \n",
            b" 12 path=a=b\n",
            b"+2 path=a=b\n",
            b"99999999999999999999 p=a\n",
            b"10 uid=-1\n",
            b"18 uid=4294967296\n",
            b"\0\0\0",
        ] {
            assert!(
                Pax::default().apply(malformed).is_err(),
                "{}",
                malformed.escape_ascii()
            );
        }
    }
}

//! Extended attributes in PAX records: two programs, two ways to write them.

use super::Parsed;
use crate::tree::Xattr;

/// The longest name Linux takes (XATTR_NAME_MAX).
const NAME_BYTES_MAX: usize = 255;

/// `SCHILY.xattr.NAME=VALUE`, of star and GNU tar: the value's own bytes. GNU tar
/// writes "%3D" for '=' and "%25" for '%' in names, and nothing else so.
pub(super) fn from_schily(name: &[u8], value: &[u8]) -> Parsed<Xattr> {
    checked(unescape(name, |byte| matches!(byte, b'=' | b'%')), value)
}

/// `LIBARCHIVE.xattr.NAME=VALUE`, of bsdtar: names with any byte written as in
/// URLs, values in base64.
pub(super) fn from_libarchive(name: &[u8], value: &[u8]) -> Parsed<Xattr> {
    let value = base64(value)
        .ok_or_else(|| "the value of an extended attribute is not base64".to_owned())?;
    checked(unescape(name, |_| true), &value)
}

fn checked(name: Vec<u8>, value: &[u8]) -> Parsed<Xattr> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains(&0) {
        return Err(
            "the name of an extended attribute is empty, too long, or contains a NUL".to_owned(),
        );
    }
    Ok(Xattr {
        name: name.into(),
        value: value.into(),
    })
}

/// Replaces "%XX" where it stands for a byte that is `written_so`.
fn unescape(text: &[u8], written_so: impl Fn(u8) -> bool) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        let escaped = match rest {
            [b'%', high, low, ..] => hex(*high)
                .zip(hex(*low))
                .map(|(high, low)| high << 4 | low)
                .filter(|&byte| written_so(byte)),
            _ => None,
        };
        plain.push(escaped.unwrap_or(first));
        rest = match escaped {
            Some(_) => rest.get(3..).unwrap_or_default(),
            None => after,
        };
    }
    plain
}

fn hex(digit: u8) -> Option<u8> {
    u8::try_from(char::from(digit).to_digit(16)?).ok()
}

/// Base64 (RFC 4648), with or without its padding.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let padding = text.iter().rev().take_while(|&&byte| byte == b'=').count();
    let digits = text.get(..text.len().checked_sub(padding)?)?;
    if padding > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3 + 3);
    for group in digits.chunks(4) {
        let mut bits: u32 = 0;
        for position in 0..4 {
            let digit = match group.get(position) {
                Some(&digit) => base64_digit(digit)?,
                None => 0,
            };
            bits = bits << 6 | u32::from(digit);
        }
        let [_, a, b, c] = bits.to_be_bytes();
        match group.len() {
            4 => bytes.extend([a, b, c]),
            3 => bytes.extend([a, b]),
            2 => bytes.push(a),
            _ => return None,
        }
    }
    Some(bytes)
}

fn base64_digit(digit: u8) -> Option<u8> {
    Some(match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_needs_no_padding() {
        let cases: [(&[u8], Option<&[u8]>); 8] = [
            (b"", Some(b"")),
            (b"Zg==", Some(b"f")),
            (b"Zg", Some(b"f")),
            (b"Zm8", Some(b"fo")),
            (b"Zm9v", Some(b"foo")),
            (b"AP+/", Some(b"\0\xff\xbf")),
            (b"Z", None),
            (b"Z m=", None),
        ];
        for (text, expected) in cases {
            assert_eq!(base64(text).as_deref(), expected, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn names_are_unescaped_as_they_were_escaped() {
        let name = |xattr: Parsed<Xattr>| xattr.expect("valid").name;
        assert_eq!(
            *name(from_schily(b"user.a%3Db%25c%41", b"")),
            *b"user.a=b%c%41"
        );
        assert_eq!(*name(from_libarchive(b"user.%41%zz%", b"")), *b"user.A%zz%");
        assert!(from_schily(b"", b"").is_err());
        assert!(from_libarchive(b"user.%00", b"").is_err());
    }
}

//! The 512-byte header every member of an archive begins with.
//!
//! Layouts: POSIX.1-1988 ustar, and the GNU variant, which puts other fields
//! where ustar has the prefix of the name ("Basic Tar Format" and "GNU
//! extensions" in the manual of GNU tar). Archives from before ustar (v7) have
//! no magic and end after the link's name.

use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::Parsed;

/// Bytes in a block: headers are one, content is padded to whole ones.
pub(super) const BLOCK_BYTES: u64 = 512;

/// A block of an archive.
pub(super) type Block = [u8; 512];

/// The ustar header as it lies in the archive.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawHeader {
    /// 0
    name: [u8; 100],
    /// 100
    mode: [u8; 8],
    /// 108
    uid: [u8; 8],
    /// 116
    gid: [u8; 8],
    /// 124
    size: [u8; 12],
    /// 136
    mtime: [u8; 12],
    /// 148
    chksum: [u8; 8],
    /// 156
    typeflag: u8,
    /// 157
    linkname: [u8; 100],
    /// 257: "ustar\0" and "00", or "ustar  \0" (GNU)
    magic: [u8; 8],
    /// 265
    uname: [u8; 32],
    /// 297
    gname: [u8; 32],
    /// 329
    devmajor: [u8; 8],
    /// 337
    devminor: [u8; 8],
    /// 345; star uses 131 bytes of it
    prefix: [u8; 155],
    /// 500; star puts "tar\0" at 508
    pad: [u8; 12],
}

/// What GNU tar has from byte 345 on.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawGnuTail {
    /// 345: atime, ctime, offset, longnames, unused
    before: [u8; 41],
    /// 386: the first pieces of a sparse file
    sparse: [u8; 96],
    /// 482: further pieces follow in a block of their own
    isextended: u8,
    /// 483: length of the file with its holes
    realsize: [u8; 12],
    /// 495
    pad: [u8; 17],
}

/// A header, checked and understood.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) typeflag: u8,
    /// With the prefix, if there is one.
    pub(super) name: Vec<u8>,
    pub(super) linkname: Vec<u8>,
    /// The low 12 bits.
    pub(super) permissions: u16,
    pub(super) uid: i128,
    pub(super) gid: i128,
    /// Bytes of content stored behind the header.
    pub(super) size: i128,
    pub(super) mtime: i128,
    pub(super) devmajor: i128,
    pub(super) devminor: i128,
    /// Present in the GNU variant.
    pub(super) gnu_sparse: Option<GnuSparse>,
}

/// Where a header of type `S` begins to say where the data of its file lies.
#[derive(Debug)]
pub(super) struct GnuSparse {
    /// Up to four pairs of offset and length, 12 bytes each number.
    pub(super) pieces: [u8; 96],
    pub(super) is_extended: bool,
    pub(super) real_size: i128,
}

/// True for a block of zeros: two of them end an archive.
pub(super) fn is_zero(block: &Block) -> bool {
    block.iter().all(|&byte| byte == 0)
}

/// True if the checksum is right: the sum of the header's bytes, its own counted
/// as spaces. Some old programs summed signed bytes.
pub(super) fn has_valid_checksum(block: &Block) -> bool {
    let Ok(raw) = RawHeader::ref_from_bytes(block) else {
        return false;
    };
    let own: i64 = raw.chksum.iter().map(|&byte| i64::from(byte)).sum();
    let own_signed: i64 = raw.chksum.iter().map(|&byte| i64::from(byte as i8)).sum();
    let spaces = 8 * i64::from(b' ');
    let sum: i64 = block.iter().map(|&byte| i64::from(byte)).sum();
    let sum_signed: i64 = block.iter().map(|&byte| i64::from(byte as i8)).sum();
    number(&raw.chksum).is_some_and(|expected| {
        expected == i128::from(sum - own + spaces)
            || expected == i128::from(sum_signed - own_signed + spaces)
    }) && !is_zero(block)
}

impl Header {
    /// Reads a header whose checksum is right.
    pub(super) fn parse(block: &Block) -> Parsed<Self> {
        let raw = RawHeader::ref_from_bytes(block).map_err(|_| "is no header".to_owned())?;
        let field = |what: &str, bytes: &[u8]| {
            number(bytes).ok_or_else(|| format!("its {what} is not a number"))
        };
        let is_gnu = raw.magic == *b"ustar  \0";
        let is_ustar = raw.magic.starts_with(b"ustar\0");
        let has_devices = is_gnu || is_ustar;
        let device = |what: &str, bytes: &[u8]| match has_devices {
            true => field(what, bytes),
            false => Ok(0),
        };
        let mode = field("mode", &raw.mode)?;
        Ok(Self {
            typeflag: raw.typeflag,
            name: full_name(raw, is_ustar),
            linkname: text(&raw.linkname).to_vec(),
            permissions: u16::try_from(mode & 0o7777).unwrap_or(0),
            uid: field("owner", &raw.uid)?,
            gid: field("group", &raw.gid)?,
            size: field("size", &raw.size)?,
            mtime: field("modification time", &raw.mtime)?,
            devmajor: device("major device number", &raw.devmajor)?,
            devminor: device("minor device number", &raw.devminor)?,
            gnu_sparse: match is_gnu && raw.typeflag == b'S' {
                true => Some(GnuSparse::parse(block)?),
                false => None,
            },
        })
    }
}

impl GnuSparse {
    fn parse(block: &Block) -> Parsed<Self> {
        let damaged = || "its sparse header is damaged".to_owned();
        let tail = block.get(345..).ok_or_else(damaged)?;
        let tail = RawGnuTail::ref_from_bytes(tail).map_err(|_| damaged())?;
        Ok(Self {
            pieces: tail.sparse,
            is_extended: tail.isextended != 0,
            real_size: number(&tail.realsize).ok_or_else(damaged)?,
        })
    }
}

fn full_name(raw: &RawHeader, is_ustar: bool) -> Vec<u8> {
    let mut prefix: &[u8] = if is_ustar { &raw.prefix } else { &[] };
    if raw.pad.ends_with(b"tar\0") {
        // star: access and change time stand behind a shorter prefix.
        prefix = prefix.get(..131).unwrap_or(prefix);
    }
    let mut name = text(prefix).to_vec();
    if !name.is_empty() {
        name.push(b'/');
    }
    name.extend_from_slice(text(&raw.name));
    name
}

/// A text field: up to its first NUL, if it has one.
pub(super) fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|&byte| byte == 0);
    end.and_then(|end| field.get(..end)).unwrap_or(field)
}

/// A number field: octal digits between spaces and NULs, or, if the first byte's
/// high bit is set, a big-endian two's complement number in the rest (GNU's
/// base-256). An empty field is 0. `None` if it is neither.
pub(super) fn number(field: &[u8]) -> Option<i128> {
    let (&first, rest) = field.split_first()?;
    if first & 0x80 != 0 {
        // The flag is not part of the number: bit 6 is its sign.
        let negative = first & 0x40 != 0;
        let start = i128::from(first & 0x3F) - if negative { 0x40 } else { 0 };
        return rest.iter().try_fold(start, |value, &byte| {
            value.checked_mul(256)?.checked_add(i128::from(byte))
        });
    }
    let is_blank = |byte: &u8| *byte == b' ' || *byte == 0;
    let mut digits = field.iter().skip_while(|byte| is_blank(byte));
    let mut value: i128 = 0;
    for &byte in digits.by_ref() {
        match byte {
            b'0'..=b'7' => value = value.checked_mul(8)?.checked_add(i128::from(byte - b'0'))?,
            b' ' | 0 => break,
            _ => return None,
        }
    }
    // What follows the terminator is nobody's (some programs leave rubbish there).
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_base_256() {
        let cases: [(&[u8], Option<i128>); 11] = [
            (b"0000644\0", Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"77777777", Some(0o7777_7777)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"        ", Some(0)),
            (b"00006x4\0", None),
            (b"0000648\0", None),
            (b"-000644\0", None),
            (b"\x80\0\0\0\x01\0\0\x02", Some(0x0100_0002)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (b"\xbf\xff", Some(0x3FFF)),
        ];
        for (field, expected) in cases {
            assert_eq!(number(field), expected, "{}", field.escape_ascii());
        }
        assert_eq!(number(&[0xFF; 12]), Some(-1));
    }

    #[test]
    fn a_block_of_zeros_is_no_header() {
        assert!(is_zero(&[0; 512]));
        assert!(!has_valid_checksum(&[0; 512]));
    }
}

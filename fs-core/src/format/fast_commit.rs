//! The records of the fast commit area. Everything is little-endian.
//!
//! ```text
//! after a full commit          of each later one
//! HEAD, records ..., TAIL      records ..., TAIL       a block always begins a record
//! ```
//!
//! A record is `fc_tag`, `fc_len` and `fc_len` bytes of value; none crosses a
//! block's end. A TAIL's value reaches to the end of its block. Source: the
//! kernel's documentation of the ext4 on-disk format, "Fast Commits".

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// `fc_features` this code knows: none is defined.
pub(crate) const EXT4_FC_SUPPORTED_FEATURES: u32 = 0;

/// `fc_tag` of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FastCommitTag {
    AddRange,
    DelRange,
    Creat,
    Link,
    Unlink,
    Inode,
    Pad,
    Tail,
    Head,
}

impl FastCommitTag {
    pub(crate) fn from_raw(fc_tag: u16) -> Option<Self> {
        match fc_tag {
            1 => Some(Self::AddRange),
            2 => Some(Self::DelRange),
            3 => Some(Self::Creat),
            4 => Some(Self::Link),
            5 => Some(Self::Unlink),
            6 => Some(Self::Inode),
            7 => Some(Self::Pad),
            8 => Some(Self::Tail),
            9 => Some(Self::Head),
            _ => None,
        }
    }
}

/// First in every record (`ext4_fc_tl`).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct FcTagLength {
    /// 0x0: see [`FastCommitTag`].
    pub(crate) fc_tag: U16,
    /// 0x2: bytes of the value.
    pub(crate) fc_len: U16,
}
const _: () = assert!(size_of::<FcTagLength>() == 4);

/// Value of HEAD (`ext4_fc_head`).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct FcHead {
    /// 0x0: what a reader must understand.
    pub(crate) fc_features: U32,
    /// 0x4: the transaction these records run ahead of.
    pub(crate) fc_tid: U32,
}
const _: () = assert!(size_of::<FcHead>() == 8);

/// Value of ADD_RANGE (`ext4_fc_add_range`).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct FcAddRange {
    /// 0x0: the file.
    pub(crate) fc_ino: U32,
    /// 0x4: an `ext4_extent`.
    pub(crate) fc_ex: [u8; 12],
}
const _: () = assert!(size_of::<FcAddRange>() == 16);

/// Value of DEL_RANGE (`ext4_fc_del_range`).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct FcDelRange {
    /// 0x0: the file.
    pub(crate) fc_ino: U32,
    /// 0x4: its first block that is no more.
    pub(crate) fc_lblk: U32,
    /// 0x8: how many.
    pub(crate) fc_len: U32,
}
const _: () = assert!(size_of::<FcDelRange>() == 12);

/// Value of CREAT, LINK and UNLINK, before the name (`ext4_fc_dentry_info`).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct FcDentryInfo {
    /// 0x0: the directory.
    pub(crate) fc_parent_ino: U32,
    /// 0x4: what the name means.
    pub(crate) fc_ino: U32,
}
const _: () = assert!(size_of::<FcDentryInfo>() == 8);

/// Value of INODE, before the inode's bytes (`ext4_fc_inode`).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct FcInode {
    /// 0x0
    pub(crate) fc_ino: U32,
}
const _: () = assert!(size_of::<FcInode>() == 4);

/// First in the value of TAIL (`ext4_fc_tail`).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct FcTail {
    /// 0x0: the transaction these records run ahead of.
    pub(crate) fc_tid: U32,
    /// 0x4: CRC-32C, seeded with 0, of everything since the last TAIL up to here.
    pub(crate) fc_crc: U32,
}
const _: () = assert!(size_of::<FcTail>() == 8);

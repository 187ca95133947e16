//! A mapping and its types (4.2).

use crate::numbers::map::NONE;
use crate::wire::MapIo;

/// The type of a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Nothing there.
    Hole,
    /// Reserved.
    Delalloc,
    /// Written.
    Mapped,
    /// Allocated, reads as zero.
    Unwritten,
    /// In metadata.
    Inline,
    /// Leave this tree alone.
    Nocache,
    /// Look again.
    RetryCache,
    /// Writes go where reads come from.
    PureOverwrite,
}

impl Kind {
    /// By its number.
    #[must_use]
    pub fn of(number: u16) -> Option<Self> {
        Some(match number {
            0 => Self::Hole,
            1 => Self::Delalloc,
            2 => Self::Mapped,
            3 => Self::Unwritten,
            4 => Self::Inline,
            253 => Self::Nocache,
            254 => Self::RetryCache,
            255 => Self::PureOverwrite,
            _ => return None,
        })
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> u16 {
        match self {
            Self::Hole => 0,
            Self::Delalloc => 1,
            Self::Mapped => 2,
            Self::Unwritten => 3,
            Self::Inline => 4,
            Self::Nocache => 253,
            Self::RetryCache => 254,
            Self::PureOverwrite => 255,
        }
    }

    /// Whether it names a place on a device.
    #[must_use]
    pub fn has_place(self) -> bool {
        matches!(self, Self::Mapped | Self::Unwritten)
    }
}

/// A mapping whose fields have passed [`judge_mapping`](crate::judge_mapping): sums do not overflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapping {
    /// File position, bytes.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
    /// Address on the device, bytes; all ones for none.
    pub addr: u64,
    /// What is there.
    pub kind: Kind,
    /// Bits of 4.2.
    pub flags: u16,
    /// Backing id, 0 for none.
    pub dev: u32,
}

impl Mapping {
    /// A hole.
    #[must_use]
    pub fn hole(offset: u64, length: u64) -> Self {
        Self {
            offset,
            length,
            addr: NONE,
            kind: Kind::Hole,
            flags: 0,
            dev: 0,
        }
    }

    /// `None` if the type is unknown.
    #[must_use]
    pub fn of_wire(io: &MapIo) -> Option<Self> {
        Some(Self {
            offset: io.offset,
            length: io.length,
            addr: io.addr,
            kind: Kind::of(io.kind)?,
            flags: io.flags,
            dev: io.dev,
        })
    }

    /// As it is sent.
    #[must_use]
    pub fn to_wire(&self) -> MapIo {
        MapIo {
            offset: self.offset,
            length: self.length,
            addr: self.addr,
            kind: self.kind.number(),
            flags: self.flags,
            dev: self.dev,
        }
    }

    /// First byte behind it.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(self.length)
    }

    /// Whether it contains the byte at `pos`.
    #[must_use]
    pub fn covers(&self, pos: u64) -> bool {
        self.offset <= pos && pos < self.end()
    }

    /// Address of the byte at `pos`, which it contains and has a place for.
    #[must_use]
    pub fn address_of(&self, pos: u64) -> u64 {
        self.addr.wrapping_add(pos.wrapping_sub(self.offset))
    }

    /// The part from `from` to `to`, both inside.
    #[must_use]
    pub fn part(&self, from: u64, to: u64) -> Self {
        let addr = match self.addr {
            NONE => NONE,
            _ => self.address_of(from),
        };
        Self {
            offset: from,
            length: to.saturating_sub(from),
            addr,
            ..*self
        }
    }

    /// Whether `next` continues this mapping and the two become one record (5.3).
    #[must_use]
    pub fn merges_with(&self, next: &Self) -> bool {
        let alike = self.dev == next.dev && self.kind == next.kind && self.flags == next.flags;
        let adjacent = self.offset.checked_add(self.length) == Some(next.offset);
        let places = match self.kind.has_place() {
            true => self.addr.checked_add(self.length) == Some(next.addr),
            false => self.addr == NONE && next.addr == NONE,
        };
        let sum = self.length.checked_add(next.length);
        alike && adjacent && places && sum.is_some_and(|sum| sum <= 1 << 63)
    }
}

//! A newtype for every index space, so that mixing two is a compile error.

use std::fmt;

macro_rules! index {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

index! {
    /// A block of the file system, counted from its first byte, in units of
    /// the file system's block size.
    FsBlock(u64)
}
index! {
    /// A block of a file, counted from the file's first byte ("logical block").
    FileBlock(u64)
}
index! {
    /// A block group, from 0.
    GroupNumber(u32)
}
index! {
    /// An inode, from 1; 0 means "none" on disk and never appears in this type
    /// where a valid inode is promised.
    InodeNumber(u32)
}

impl FsBlock {
    /// The block `count` after this one, if that number exists.
    pub fn checked_add(self, count: u64) -> Option<Self> {
        self.0.checked_add(count).map(Self)
    }
}

impl FileBlock {
    /// The block `count` after this one, if that number exists.
    pub fn checked_add(self, count: u64) -> Option<Self> {
        self.0.checked_add(count).map(Self)
    }
}

impl InodeNumber {
    /// Holds the bad blocks of the device.
    pub const BAD_BLOCKS: Self = Self(1);
    /// The root directory.
    pub const ROOT: Self = Self(2);
    /// Reserves group descriptor blocks for growth.
    pub const RESIZE: Self = Self(7);
    /// The journal, unless the superblock says otherwise.
    pub const JOURNAL: Self = Self(8);
}

/// Seconds since 1970 (34 bits and a sign on disk) and nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp {
    /// Seconds since 1970-01-01 00:00:00 UTC; ext4 stores -2^31 ..= 15,032,385,535.
    pub seconds: i64,
    /// 0 ..= 999,999,999.
    pub nanos: u32,
}

/// What an inode or a directory entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileType {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

impl FileType {
    /// The type in the high bits of a mode (`S_IFMT`), if they name one.
    pub fn from_mode(mode: u16) -> Option<Self> {
        match mode & 0xF000 {
            0x1000 => Some(Self::Fifo),
            0x2000 => Some(Self::CharDevice),
            0x4000 => Some(Self::Directory),
            0x6000 => Some(Self::BlockDevice),
            0x8000 => Some(Self::Regular),
            0xA000 => Some(Self::Symlink),
            0xC000 => Some(Self::Socket),
            _ => None,
        }
    }

    /// The high bits of a mode for this type.
    pub fn mode_bits(self) -> u16 {
        match self {
            Self::Fifo => 0x1000,
            Self::CharDevice => 0x2000,
            Self::Directory => 0x4000,
            Self::BlockDevice => 0x6000,
            Self::Regular => 0x8000,
            Self::Symlink => 0xA000,
            Self::Socket => 0xC000,
        }
    }

    /// The `file_type` byte of a directory entry for this type.
    pub fn dirent_code(self) -> u8 {
        match self {
            Self::Regular => 1,
            Self::Directory => 2,
            Self::CharDevice => 3,
            Self::BlockDevice => 4,
            Self::Fifo => 5,
            Self::Socket => 6,
            Self::Symlink => 7,
        }
    }

    /// The type a directory entry's `file_type` byte names; `None` for 0
    /// (unknown) and for numbers the format does not define.
    pub fn from_dirent(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Regular),
            2 => Some(Self::Directory),
            3 => Some(Self::CharDevice),
            4 => Some(Self::BlockDevice),
            5 => Some(Self::Fifo),
            6 => Some(Self::Socket),
            7 => Some(Self::Symlink),
            _ => None,
        }
    }
}

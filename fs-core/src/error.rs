//! The one error type of this crate: kind, context, source.
//!
//! ```text
//! Error ── kind ───── what class of failure; decides the errno
//!       ├─ context ── where: "inode 12", "opening /lost+found"
//!       └─ source ─── the device's own error, where there is one
//! ```

use std::fmt;

use rustix::io::Errno;

use crate::types::FsBlock;

/// The result of every fallible operation of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What failed, where, and why.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    context: Option<String>,
    source: Option<images::Error>,
}

/// The class of a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// There is no ext2, ext3 or ext4 file system here.
    NotExt4 {
        /// What was found instead, as half a sentence.
        found: String,
    },
    /// A feature this program refuses, by name.
    Unsupported(String),
    /// The bytes on the device contradict the format or a checksum.
    Corrupt(Box<Corruption>),
    /// No such name, or no such xattr value.
    NotFound,
    /// No such extended attribute.
    NoAttribute,
    /// A directory was needed.
    NotADirectory,
    /// Something else than a directory was needed.
    IsADirectory,
    /// A symbolic link was needed, or an argument makes no sense; says which.
    InvalidInput(&'static str),
    /// What is said of a file's blocks does not fit its map; says why. Nothing is wrong with
    /// the volume: whoever said so is.
    NotItsMap(&'static str),
    /// A name of more than 255 bytes.
    NameTooLong,
    /// More symbolic links in one path than Linux follows (40).
    TooManyLinks,
    /// The inode number names nothing that is in use.
    Stale,
    /// The content is encrypted and no key can be given.
    Encrypted,
    /// A position at or beyond the end of the file.
    OutOfRange,
    /// The volume or the object cannot be changed.
    ReadOnly,
    /// No free blocks or inodes are left, or the caller may not use the reserve.
    NoSpace,
    /// The name or attribute exists already.
    Exists,
    /// A directory with names in it.
    NotEmpty,
    /// An inode cannot have more names.
    TooManyNames,
    /// The file cannot be that large.
    FileTooLarge,
    /// Flags of the inode forbid it; says which.
    NotPermitted(&'static str),
    /// The attribute does not fit, whatever else is removed.
    TooLarge(&'static str),
    /// Not possible for this kind of file or on this volume; says what.
    NotSupported(&'static str),
    /// Somebody else uses the volume; says who, where that is known.
    Busy(String),
    /// Writing was stopped after a failure; says which.
    Stopped(String),
    /// The volume has been closed by another user of it.
    Closed,
    /// The device failed; [`Error::source`](std::error::Error::source) has its words.
    Device,
}

/// A failed check with its inputs, so that a report alone allows the check to
/// be redone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Corruption {
    /// The structure, in the format's terms: "extent header", "group descriptor 7".
    pub structure: String,
    /// The device block it lies in, where known.
    pub block: Option<FsBlock>,
    /// What the format demands.
    pub expected: String,
    /// What the bytes say.
    pub found: String,
}

impl Error {
    /// A structure that contradicts the format.
    pub fn corrupt(
        structure: impl fmt::Display,
        block: Option<FsBlock>,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) -> Self {
        ErrorKind::Corrupt(Box::new(Corruption {
            structure: structure.to_string(),
            block,
            expected: expected.to_string(),
            found: found.to_string(),
        }))
        .into()
    }

    /// A checksum that does not match, printed in hexadecimal.
    pub fn bad_checksum(
        structure: impl fmt::Display,
        block: Option<FsBlock>,
        expected: u32,
        found: u32,
    ) -> Self {
        Self::corrupt(
            structure,
            block,
            format_args!("checksum {expected:#010x}"),
            format_args!("{found:#010x}"),
        )
    }

    /// Fails unless a stored checksum is the computed one.
    pub(crate) fn check_checksum(
        structure: impl fmt::Display,
        block: Option<FsBlock>,
        computed: u32,
        stored: u32,
    ) -> Result<()> {
        if computed == stored {
            Ok(())
        } else {
            Err(Self::bad_checksum(structure, block, computed, stored))
        }
    }

    /// Says where this happened; the outermost context comes first in the message.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.context = Some(match self.context {
            Some(inner) => format!("{context}: {inner}"),
            None => context.to_string(),
        });
        self
    }

    /// The class of the failure.
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }

    /// True if the device's content is at fault.
    pub fn is_corruption(&self) -> bool {
        matches!(self.kind, ErrorKind::Corrupt(_))
    }

    /// The errno a system call reports for this failure. The one place where
    /// errors become numbers.
    pub fn errno(&self) -> Errno {
        match &self.kind {
            ErrorKind::NotExt4 { .. } | ErrorKind::InvalidInput(_) => Errno::INVAL,
            ErrorKind::Unsupported(_) => Errno::OPNOTSUPP,
            ErrorKind::Corrupt(_) | ErrorKind::NotItsMap(_) => Errno::UCLEAN,
            ErrorKind::NotFound => Errno::NOENT,
            ErrorKind::NoAttribute => Errno::NODATA,
            ErrorKind::NotADirectory => Errno::NOTDIR,
            ErrorKind::IsADirectory => Errno::ISDIR,
            ErrorKind::NameTooLong => Errno::NAMETOOLONG,
            ErrorKind::TooManyLinks => Errno::LOOP,
            ErrorKind::Stale => Errno::STALE,
            ErrorKind::Encrypted => Errno::NOKEY,
            ErrorKind::OutOfRange => Errno::NXIO,
            ErrorKind::ReadOnly | ErrorKind::Stopped(_) | ErrorKind::Closed => Errno::ROFS,
            ErrorKind::NoSpace => Errno::NOSPC,
            ErrorKind::Exists => Errno::EXIST,
            ErrorKind::NotEmpty => Errno::NOTEMPTY,
            ErrorKind::TooManyNames => Errno::MLINK,
            ErrorKind::FileTooLarge => Errno::FBIG,
            ErrorKind::NotPermitted(_) => Errno::PERM,
            ErrorKind::TooLarge(_) => Errno::NOSPC,
            ErrorKind::NotSupported(_) => Errno::OPNOTSUPP,
            ErrorKind::Busy(_) => Errno::BUSY,
            ErrorKind::Device => Errno::IO,
        }
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self {
            kind,
            context: None,
            source: None,
        }
    }
}

impl From<images::Error> for Error {
    fn from(source: images::Error) -> Self {
        let kind = match source {
            images::Error::ReadOnly => ErrorKind::ReadOnly,
            _ => ErrorKind::Device,
        };
        Self {
            kind,
            context: None,
            source: Some(source),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(context) = &self.context {
            write!(f, "{context}: ")?;
        }
        match (&self.kind, &self.source) {
            (ErrorKind::Device | ErrorKind::ReadOnly, Some(source)) => write!(f, "{source}"),
            (kind, _) => write!(f, "{kind}"),
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotExt4 { found } => write!(f, "not an ext2, ext3 or ext4 file system: {found}"),
            Self::Unsupported(feature) => write!(f, "{feature} is not supported"),
            Self::Corrupt(corruption) => write!(f, "{corruption}"),
            Self::NotFound => f.write_str("no such file or directory"),
            Self::NoAttribute => f.write_str("no such extended attribute"),
            Self::NotADirectory => f.write_str("not a directory"),
            Self::IsADirectory => f.write_str("is a directory"),
            Self::InvalidInput(why) | Self::NotItsMap(why) => f.write_str(why),
            Self::NameTooLong => f.write_str("the name is longer than 255 bytes"),
            Self::TooManyLinks => f.write_str("more than 40 symbolic links in one path"),
            Self::Stale => f.write_str("no such inode is in use"),
            Self::Encrypted => f.write_str("the content is encrypted and there is no key"),
            Self::OutOfRange => f.write_str("the position is beyond the end of the file"),
            Self::ReadOnly => f.write_str("the file system is read-only"),
            Self::NoSpace => f.write_str("no space left on the file system"),
            Self::Exists => f.write_str("it exists already"),
            Self::NotEmpty => f.write_str("the directory is not empty"),
            Self::TooManyNames => f.write_str("the inode has as many names as it can have"),
            Self::FileTooLarge => f.write_str("the file cannot be that large"),
            Self::NotPermitted(why) | Self::TooLarge(why) | Self::NotSupported(why) => {
                f.write_str(why)
            }
            Self::Busy(who) => write!(f, "the file system is in use: {who}"),
            Self::Stopped(why) => write!(f, "writing was stopped after a failure: {why}"),
            Self::Closed => f.write_str("the volume has been closed"),
            Self::Device => f.write_str("the device failed"),
        }
    }
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "damaged {}", self.structure)?;
        if let Some(block) = self.block {
            write!(f, " in block {block}")?;
        }
        write!(f, ": expected {}, found {}", self.expected, self.found)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|e| e as _)
    }
}

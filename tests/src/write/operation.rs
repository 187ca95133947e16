//! Every operation of a writable volume, as a value: to be applied to a model and to a
//! volume, printed, shrunk, and kept.

use crate::rng::Rng;
use fs_core::{
    Allocation, AttributeChanges, InodeFlags, NewInode, NewKind, RenameMode, WriteContext, XattrSet,
};
use std::fmt;

/// Names from the root; empty for the root itself.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(pub Vec<Vec<u8>>);

impl Path {
    /// The root directory.
    pub fn root() -> Self {
        Self::default()
    }

    /// The path of a name in the directory this path leads to.
    #[must_use]
    pub fn join(&self, name: impl AsRef<[u8]>) -> Self {
        let mut names = self.0.clone();
        names.push(name.as_ref().to_vec());
        Self(names)
    }

    /// The directory and the name in it; the root has none.
    pub fn split(&self) -> Option<(&[Vec<u8>], &[u8])> {
        let (name, parent) = self.0.split_last()?;
        Some((parent, name))
    }
}

impl From<&str> for Path {
    fn from(text: &str) -> Self {
        let names = text.split('/').filter(|name| !name.is_empty());
        Self(names.map(|name| name.as_bytes().to_vec()).collect())
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for name in &self.0 {
            match name.len() {
                0..=40 => write!(f, "/{}", name.escape_ascii())?,
                len => write!(f, "/{}..{len} bytes", name[..8].escape_ascii())?,
            }
        }
        f.write_str("\"")
    }
}

/// An inode: by a name, or by the number of the hold on it (modulo the count of holds).
#[derive(Clone, PartialEq, Eq)]
pub enum Target {
    /// What a path leads to; links are not followed.
    Path(Path),
    /// What is held, in the order of holding.
    Held(usize),
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.fmt(f),
            Self::Held(number) => write!(f, "held {number}"),
        }
    }
}

impl From<&str> for Target {
    fn from(text: &str) -> Self {
        Self::Path(text.into())
    }
}

/// Bytes that a seed stands for; none of them is zero, and equal only to those of the
/// same seed and length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Data {
    /// The seed.
    pub seed: u64,
    /// How many bytes.
    pub len: usize,
}

impl Data {
    /// The bytes.
    pub fn bytes(self) -> Vec<u8> {
        Rng::new(self.seed).bytes(self.len)
    }
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Random bytes.
    Data(Data),
    /// These bytes.
    Bytes(Vec<u8>),
}

impl Value {
    /// The bytes.
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Data(data) => data.bytes(),
            Self::Bytes(bytes) => bytes.clone(),
        }
    }
}

/// What can be done to a volume.
#[derive(Debug, Clone)]
#[allow(missing_docs)] // The operations and their arguments are WritableVolume's own.
pub enum Operation {
    Create {
        at: Path,
        new: NewInode,
    },
    /// Holds what it makes.
    CreateUnnamed {
        parent: Path,
        new: NewInode,
    },
    Link {
        from: Target,
        at: Path,
    },
    Unlink {
        at: Path,
    },
    Rmdir {
        at: Path,
    },
    Rename {
        from: Path,
        to: Path,
        mode: RenameMode,
    },
    Write {
        file: Target,
        data: Data,
        offset: u64,
        context: WriteContext,
    },
    Truncate {
        file: Target,
        size: u64,
        context: WriteContext,
    },
    Allocate {
        file: Target,
        how: Allocation,
        offset: u64,
        len: u64,
        context: WriteContext,
    },
    SwapExtents {
        a: Target,
        a_offset: u64,
        b: Target,
        b_offset: u64,
        len: u64,
    },
    SetAttributes {
        target: Target,
        changes: AttributeChanges,
    },
    /// Sets those flags that can be changed; others stay.
    SetFlags {
        target: Target,
        flags: InodeFlags,
    },
    SetGeneration {
        target: Target,
        generation: u32,
    },
    SetXattr {
        target: Target,
        name: Vec<u8>,
        value: Value,
        mode: XattrSet,
    },
    RemoveXattr {
        target: Target,
        name: Vec<u8>,
    },
    Retain {
        target: Target,
    },
    /// Gives up a hold, by its number.
    Release {
        held: usize,
    },
    Sync,
    Checkpoint,
    Fsync {
        target: Target,
    },
    /// Closes the volume and opens it again, so many seconds later.
    Reopen {
        seconds: u32,
    },
}

/// Short ways to say the usual.
impl Operation {
    /// A new inode of root's.
    pub fn create(at: &str, kind: NewKind) -> Self {
        let permissions = match kind {
            NewKind::Directory => 0o755,
            NewKind::Symlink(_) => 0o777,
            _ => 0o644,
        };
        let at = at.into();
        Self::Create {
            at,
            new: NewInode::new(kind, permissions),
        }
    }

    /// An empty file.
    pub fn file(at: &str) -> Self {
        Self::create(at, NewKind::File)
    }

    /// An empty directory.
    pub fn mkdir(at: &str) -> Self {
        Self::create(at, NewKind::Directory)
    }

    /// A symbolic link.
    pub fn symlink(at: &str, target: &str) -> Self {
        Self::create(at, NewKind::Symlink(target.as_bytes().to_vec()))
    }

    /// Another name.
    pub fn link(from: &str, at: &str) -> Self {
        let (from, at) = (from.into(), at.into());
        Self::Link { from, at }
    }

    /// A name less.
    pub fn unlink(at: &str) -> Self {
        Self::Unlink { at: at.into() }
    }

    /// A directory less.
    pub fn rmdir(at: &str) -> Self {
        Self::Rmdir { at: at.into() }
    }

    /// A move.
    pub fn rename(from: &str, to: &str, mode: RenameMode) -> Self {
        let (from, to) = (from.into(), to.into());
        Self::Rename { from, to, mode }
    }

    /// Random bytes of this seed.
    pub fn write(file: &str, offset: u64, len: usize, seed: u64) -> Self {
        Self::Write {
            file: file.into(),
            data: Data { seed, len },
            offset,
            context: WriteContext::default(),
        }
    }

    /// A new size.
    pub fn truncate(file: &str, size: u64) -> Self {
        Self::Truncate {
            file: file.into(),
            size,
            context: WriteContext::default(),
        }
    }

    /// fallocate(2).
    pub fn allocate(file: &str, how: Allocation, offset: u64, len: u64) -> Self {
        Self::Allocate {
            file: file.into(),
            how,
            offset,
            len,
            context: WriteContext::default(),
        }
    }

    /// New permissions.
    pub fn chmod(target: &str, permissions: u16) -> Self {
        let changes = AttributeChanges {
            permissions: Some(permissions),
            ..AttributeChanges::default()
        };
        Self::SetAttributes {
            target: target.into(),
            changes,
        }
    }

    /// An attribute with a random value.
    pub fn set_xattr(target: &str, name: &str, len: usize, seed: u64) -> Self {
        Self::SetXattr {
            target: target.into(),
            name: name.as_bytes().to_vec(),
            value: Value::Data(Data { seed, len }),
            mode: XattrSet::Any,
        }
    }

    /// An attribute less.
    pub fn remove_xattr(target: &str, name: &str) -> Self {
        Self::RemoveXattr {
            target: target.into(),
            name: name.as_bytes().to_vec(),
        }
    }

    /// fsync(2).
    pub fn fsync(target: &str) -> Self {
        Self::Fsync {
            target: target.into(),
        }
    }
}

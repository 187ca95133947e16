//! What to put into a file system: a tree of nodes with their attributes, and
//! where the content of files can be read. The content itself is not in here.
//!
//! A tree is complete and checked: names are valid, entries sorted by bytes,
//! every node but the root is named at least once, directories exactly once.
//! Who makes one (the modules `directory` and `tar`) guarantees that.

mod content;
pub mod directory;
mod draft;
mod open;
mod options;
pub mod tar;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use fs_core::{InodeFlags, Timestamp};

pub use content::OpenContent;
pub use options::ScanOptions;

/// Index of a node in its tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

impl NodeId {
    /// The root directory.
    pub const ROOT: Self = Self(0);
}

/// A source tree.
#[derive(Debug, Clone)]
pub struct Tree {
    /// The nodes; the first is the root directory. Numbered depth first, entries
    /// in the order of their names: equal sources give equal numbers.
    pub nodes: Vec<Node>,
    /// False if there is no source at all: the root's attributes are defaults.
    pub has_root_attributes: bool,
}

/// A file of any kind, with as many names as entries point to it.
#[derive(Debug, Clone)]
pub struct Node {
    /// What it is.
    pub kind: NodeKind,
    /// Its attributes.
    pub attributes: Attributes,
}

/// What a node is.
#[derive(Debug, Clone)]
pub enum NodeKind {
    /// A directory; entries sorted by the bytes of their names, without "." and "..".
    Directory(Vec<Entry>),
    /// A regular file.
    File(FileContent),
    /// A symbolic link and its target (1 to 4095 bytes).
    Symlink(Box<[u8]>),
    /// A character device: major, minor.
    CharDevice(u32, u32),
    /// A block device: major, minor.
    BlockDevice(u32, u32),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

/// A name in a directory: 1 to 255 bytes, no '/' and NUL, not "." or "..".
#[derive(Debug, Clone)]
pub struct Entry {
    /// The name.
    pub name: Box<[u8]>,
    /// What it names.
    pub node: NodeId,
}

/// Attributes all nodes have.
#[derive(Debug, Clone, Default)]
pub struct Attributes {
    /// The low 12 bits of the mode.
    pub permissions: u16,
    /// Owner.
    pub uid: u32,
    /// Owning group.
    pub gid: u32,
    /// Last change of the content.
    pub modified: Timestamp,
    /// Last access; `None`: as `modified`.
    pub accessed: Option<Timestamp>,
    /// Last change of attributes; `None`: when the file system is made.
    pub changed: Option<Timestamp>,
    /// IMMUTABLE, APPEND and NODUMP, where the source has them.
    pub flags: Option<InodeFlags>,
    /// Extended attributes, sorted by name, each name once.
    pub xattrs: Vec<Xattr>,
}

/// An extended attribute.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Xattr {
    /// The whole name: "user.comment", "system.posix_acl_access".
    pub name: Box<[u8]>,
    /// The value; ACLs in the kernel's interface form (version 2).
    pub value: Box<[u8]>,
}

/// The content of a regular file.
#[derive(Debug, Clone)]
pub struct FileContent {
    /// Length of the file.
    pub size_bytes: u64,
    /// Where data is, in rising order, not touching or overlapping, inside
    /// `size_bytes`, none empty. What no range covers is a hole.
    pub data: Vec<DataRange>,
    /// Where to read it.
    pub source: ContentSource,
}

/// A piece of a file that is not a hole. Bounds need not be multiples of
/// anything; who allocates rounds out to blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataRange {
    /// First byte in the file.
    pub offset: u64,
    /// Number of bytes, at least 1.
    pub len: u64,
    /// Where the first byte lies in the source.
    pub source_offset: u64,
}

/// Where content is read.
#[derive(Debug, Clone)]
pub enum ContentSource {
    /// A file of its own. Whoever opens it (O_NOFOLLOW) checks that it is still
    /// the one that was looked at.
    Path {
        /// Where it is.
        path: Box<Path>,
        /// `st_dev` and `st_ino` when it was looked at.
        identity: (u64, u64),
        /// `st_mtim` when it was looked at.
        modified: Timestamp,
    },
    /// Part of an archive that stays open.
    Shared {
        /// The archive, or its spooled form.
        file: Arc<File>,
        /// The name of the archive, for messages.
        archive: Arc<Path>,
        /// The name of the member, for messages.
        member: Box<Path>,
    },
}

impl Tree {
    /// Only a root directory, with the attributes mke2fs gives it: 0755, root's.
    pub fn empty(time: Timestamp) -> Self {
        Self {
            nodes: vec![Node {
                kind: NodeKind::Directory(Vec::new()),
                attributes: Attributes {
                    permissions: 0o755,
                    modified: time,
                    ..Attributes::default()
                },
            }],
            has_root_attributes: false,
        }
    }

    /// Bytes of data in all files, holes not counted.
    pub fn content_bytes(&self) -> u64 {
        self.nodes
            .iter()
            .filter_map(|node| match &node.kind {
                NodeKind::File(content) => Some(&content.data),
                _ => None,
            })
            .flatten()
            .fold(0, |sum: u64, range| sum.saturating_add(range.len))
    }

    /// The node of a number that this tree gave out.
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(usize::try_from(id.0).ok()?)
    }
}

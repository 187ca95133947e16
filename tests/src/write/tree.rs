//! A tree of inodes in memory, and how two of them differ. Loaded from volumes and from
//! mounts, and kept by the model.

use super::content::Content;
use crate::scratch::hex;
use fs_core::Timestamp;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::{self, Debug};
use std::sync::Arc;

/// An inode of a tree. Means nothing in another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

/// What an inode is, with what only that has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File {
        /// Length in bytes.
        size: u64,
        /// What is in it; zeros behind the end.
        content: Content,
    },
    /// A directory.
    Directory {
        /// Names, without "." and "..".
        entries: Arc<BTreeMap<Vec<u8>, NodeId>>,
        /// Where ".." leads.
        parent: NodeId,
    },
    /// A symbolic link.
    Symlink(Vec<u8>),
    /// A character device, major and minor.
    CharDevice(u32, u32),
    /// A block device.
    BlockDevice(u32, u32),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

impl Kind {
    /// A word.
    pub fn name(&self) -> &'static str {
        match self {
            Self::File { .. } => "file",
            Self::Directory { .. } => "directory",
            Self::Symlink(_) => "symlink",
            Self::CharDevice(..) => "char device",
            Self::BlockDevice(..) => "block device",
            Self::Fifo => "fifo",
            Self::Socket => "socket",
        }
    }
}

/// Extended attributes by full name.
pub type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

/// An inode.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // The fields are those of inodes.
pub struct Node {
    pub kind: Kind,
    pub permissions: u16,
    pub uid: u32,
    pub gid: u32,
    pub links: u32,
    /// Those that can be changed; `None` where they cannot be known.
    pub flags: Option<u32>,
    pub accessed: Timestamp,
    pub modified: Timestamp,
    pub changed: Timestamp,
    /// `None` where there is no room for it, or it cannot be known.
    pub created: Option<Timestamp>,
    /// `None` unless it was set.
    pub generation: Option<u32>,
    pub xattrs: Xattrs,
}

impl Node {
    /// The names, of a directory.
    pub fn entries(&self) -> Option<&BTreeMap<Vec<u8>, NodeId>> {
        match &self.kind {
            Kind::Directory { entries, .. } => Some(entries),
            _ => None,
        }
    }

    /// True for directories.
    pub fn is_directory(&self) -> bool {
        matches!(self.kind, Kind::Directory { .. })
    }
}

/// Inodes and their names. Cheap to copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// All inodes, those without names too.
    pub nodes: BTreeMap<NodeId, Arc<Node>>,
    /// The root directory.
    pub root: NodeId,
}

impl Tree {
    /// What a name of a directory leads to.
    pub fn child(&self, directory: NodeId, name: &[u8]) -> Option<NodeId> {
        self.nodes.get(&directory)?.entries()?.get(name).copied()
    }

    /// What names lead to, from the root.
    pub fn find(&self, names: &[Vec<u8>]) -> Option<NodeId> {
        names
            .iter()
            .try_fold(self.root, |at, name| self.child(at, name))
    }

    /// The differences, one line each: of names, of what they lead to, of attributes and
    /// content. Empty if there is none. Nameless inodes are not compared.
    pub fn diff(&self, other: &Self, this: &str, that: &str) -> Vec<String> {
        let mut diff = Diff {
            trees: [self, other],
            names: [this, that],
            same: HashMap::new(),
            taken: HashSet::new(),
            lines: Vec::new(),
        };
        diff.pair(&[], self.root, other.root);
        diff.lines
    }
}

/// A comparison under way.
struct Diff<'a> {
    trees: [&'a Tree; 2],
    names: [&'a str; 2],
    /// Which inode of the first tree is which of the second.
    same: HashMap<NodeId, NodeId>,
    taken: HashSet<NodeId>,
    lines: Vec<String>,
}

impl Diff<'_> {
    fn pair(&mut self, path: &[u8], a: NodeId, b: NodeId) {
        let mut pending = vec![(path.to_vec(), a, b)];
        while let Some((path, a, b)) = pending.pop() {
            match self.same.get(&a) {
                None if self.taken.contains(&b) => {
                    self.say(&path, "inode", "a new one", "one with another name");
                    continue;
                }
                None => {}
                Some(known) if *known == b => continue,
                Some(_) => {
                    self.say(&path, "inode", "one with another name", "a new one");
                    continue;
                }
            }
            self.same.insert(a, b);
            self.taken.insert(b);
            let (Some(a), Some(b)) = (self.trees[0].nodes.get(&a), self.trees[1].nodes.get(&b))
            else {
                self.say(&path, "inode", "missing", "or missing");
                continue;
            };
            let (a, b) = (Arc::clone(a), Arc::clone(b));
            self.attributes(&path, &a, &b);
            let (Some(left), Some(right)) = (a.entries(), b.entries()) else {
                continue;
            };
            let all: BTreeSet<&Vec<u8>> = left.keys().chain(right.keys()).collect();
            for name in all {
                let child = [&path, &b"/"[..], name].concat();
                match (left.get(name), right.get(name)) {
                    (Some(a), Some(b)) => pending.push((child, *a, *b)),
                    (Some(_), None) => self.say(&child, "name", "there", "missing"),
                    (None, _) => self.say(&child, "name", "missing", "there"),
                }
            }
        }
    }

    fn attributes(&mut self, path: &[u8], a: &Node, b: &Node) {
        self.kinds(path, &a.kind, &b.kind);
        let octal = |permissions: u16| format!("{permissions:o}");
        self.fact(
            path,
            "permissions",
            octal(a.permissions),
            octal(b.permissions),
        );
        self.fact(path, "uid", a.uid, b.uid);
        self.fact(path, "gid", a.gid, b.gid);
        self.fact(path, "links", a.links, b.links);
        self.fact(path, "accessed", a.accessed, b.accessed);
        self.fact(path, "modified", a.modified, b.modified);
        self.fact(path, "changed", a.changed, b.changed);
        if let (Some(a), Some(b)) = (a.flags, b.flags) {
            self.fact(path, "flags", format!("{a:#x}"), format!("{b:#x}"));
        }
        if let (Some(a), Some(b)) = (a.created, b.created) {
            self.fact(path, "created", a, b);
        }
        if let (Some(a), Some(b)) = (a.generation, b.generation) {
            self.fact(path, "generation", a, b);
        }
        let names: BTreeSet<&Vec<u8>> = a.xattrs.keys().chain(b.xattrs.keys()).collect();
        for name in names {
            let what = format!("attribute {}", name.escape_ascii());
            let show = |value: Option<&Vec<u8>>| value.map_or("none".to_owned(), |v| shown(v));
            let (left, right) = (a.xattrs.get(name), b.xattrs.get(name));
            if left != right {
                self.say(path, &what, &show(left), &show(right));
            }
        }
    }

    fn kinds(&mut self, path: &[u8], a: &Kind, b: &Kind) {
        match (a, b) {
            (
                Kind::File { size, content },
                Kind::File {
                    size: other_size,
                    content: other,
                },
            ) => {
                self.fact(path, "size", size, other_size);
                if let Some((at, left, right)) = content.first_difference(other) {
                    let what = format!("byte {at}");
                    self.fact(path, &what, left, right);
                }
            }
            (Kind::Directory { .. }, Kind::Directory { .. }) => {}
            (Kind::Symlink(left), Kind::Symlink(right)) => {
                self.fact(path, "target", shown(left), shown(right));
            }
            (left, right) if left != right => {
                let text = |kind: &Kind| match kind {
                    Kind::CharDevice(..) | Kind::BlockDevice(..) => format!("{kind:?}"),
                    kind => kind.name().to_owned(),
                };
                self.say(path, "type", &text(left), &text(right));
            }
            _ => {}
        }
    }

    fn fact<T: PartialEq + Debug>(&mut self, path: &[u8], what: &str, left: T, right: T) {
        if left != right {
            self.say(path, what, &format!("{left:?}"), &format!("{right:?}"));
        }
    }

    fn say(&mut self, path: &[u8], what: &str, left: &str, right: &str) {
        let [this, that] = self.names;
        let path = match path {
            [] => "/".to_owned(),
            path => path.escape_ascii().to_string(),
        };
        let line = format!("{path}: {what}: {this} {left}, {that} {right}");
        self.lines.push(line);
    }
}

fn shown(bytes: &[u8]) -> String {
    match bytes.len() {
        0..=32 => hex(bytes),
        len => format!("{}.. of {len} bytes", hex(&bytes[..16])),
    }
}

/// Differences as one text, the first 20 of them.
pub struct Differences<'a>(pub &'a [String]);

impl fmt::Display for Differences<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} differences", self.0.len())?;
        for line in self.0.iter().take(20) {
            write!(f, "\n  {line}")?;
        }
        Ok(())
    }
}

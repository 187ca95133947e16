//! All files and directories, in memory, under one lock.
//!
//! A node stays until it has no name and the kernel has forgotten it.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::io::Errno;

use super::content::{Content, Region};
use super::directory::Directory;
use super::wire::{Attr, AttrOut, EntryOut, FUSE_ROOT_ID};

/// How long the kernel may rely on names and attributes: as with extmap.
pub(super) const VALID_SECONDS: u64 = 86_400;

pub(super) const TYPE: u32 = 0o17_0000;
pub(super) const DIRECTORY: u32 = 0o04_0000;
pub(super) const REGULAR: u32 = 0o10_0000;
pub(super) const SYMLINK: u32 = 0o12_0000;

const RENAME_NOREPLACE: u32 = 1;
const RENAME_EXCHANGE: u32 = 2;

/// See the module.
#[derive(Debug)]
pub(super) struct Nodes {
    nodes: HashMap<u64, Node>,
    last: u64,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) attr: Attr,
    pub(super) kind: Kind,
    /// How often the kernel has been told of it.
    lookups: u64,
}

#[derive(Debug)]
pub(super) enum Kind {
    Directory(Directory),
    File(Content),
    Symlink(Vec<u8>),
    Special,
}

/// A name in a directory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Name<'a> {
    pub(super) parent: u64,
    pub(super) name: &'a [u8],
}

impl Nodes {
    /// An empty root directory.
    pub(super) fn new() -> Self {
        let mut nodes = Self {
            nodes: HashMap::new(),
            last: FUSE_ROOT_ID,
        };
        let attr = Attr {
            mode: DIRECTORY | 0o755,
            ..Attr::default()
        };
        let kind = Kind::Directory(Directory::new(FUSE_ROOT_ID));
        nodes.insert(FUSE_ROOT_ID, attr, kind);
        nodes
    }

    fn insert(&mut self, number: u64, attr: Attr, kind: Kind) {
        let mut attr = Attr {
            ino: number,
            nlink: if attr.mode & TYPE == DIRECTORY { 2 } else { 1 },
            blksize: 4096,
            ..attr
        };
        let (seconds, nanos) = now();
        (attr.atime, attr.mtime, attr.ctime) = (seconds, seconds, seconds);
        (attr.atimensec, attr.mtimensec, attr.ctimensec) = (nanos, nanos, nanos);
        let node = Node {
            attr,
            kind,
            lookups: 0,
        };
        self.nodes.insert(number, node);
    }

    pub(super) fn get(&self, number: u64) -> Result<&Node, Errno> {
        self.nodes.get(&number).ok_or(Errno::STALE)
    }

    pub(super) fn get_mut(&mut self, number: u64) -> Result<&mut Node, Errno> {
        self.nodes.get_mut(&number).ok_or(Errno::STALE)
    }

    pub(super) fn directory(&self, number: u64) -> Result<&Directory, Errno> {
        match &self.get(number)?.kind {
            Kind::Directory(directory) => Ok(directory),
            _ => Err(Errno::NOTDIR),
        }
    }

    fn directory_mut(&mut self, number: u64) -> Result<&mut Directory, Errno> {
        match &mut self.get_mut(number)?.kind {
            Kind::Directory(directory) => Ok(directory),
            _ => Err(Errno::NOTDIR),
        }
    }

    /// A node's attributes.
    pub(super) fn attr(&self, number: u64) -> Result<AttrOut, Errno> {
        Ok(AttrOut {
            attr_valid: VALID_SECONDS,
            attr: self.get(number)?.attr,
            ..AttrOut::default()
        })
    }

    /// What the kernel is told of a node; it counts as a look-up.
    pub(super) fn tell(&mut self, number: u64) -> Result<EntryOut, Errno> {
        let node = self.get_mut(number)?;
        node.lookups += 1;
        Ok(EntryOut {
            nodeid: number,
            entry_valid: VALID_SECONDS,
            attr_valid: VALID_SECONDS,
            attr: node.attr,
            ..EntryOut::default()
        })
    }

    /// The node of a name; node 0 with a time lets the kernel remember that there is none.
    pub(super) fn look_up(&mut self, at: Name<'_>) -> Result<EntryOut, Errno> {
        match self.directory(at.parent)?.find(at.name) {
            Some(number) => self.tell(number),
            None => Ok(EntryOut {
                entry_valid: VALID_SECONDS,
                ..EntryOut::default()
            }),
        }
    }

    /// A new node of this name. Mode, owner and device are those in `attr`.
    pub(super) fn make(&mut self, at: Name<'_>, attr: Attr, kind: Kind) -> Result<u64, Errno> {
        if self.directory(at.parent)?.find(at.name).is_some() {
            return Err(Errno::EXIST);
        }
        self.last += 1;
        let number = self.last;
        self.insert(number, attr, kind);
        self.add_name(at, number)?;
        Ok(number)
    }

    /// One more name of a node.
    pub(super) fn link(&mut self, number: u64, at: Name<'_>) -> Result<EntryOut, Errno> {
        if self.directory(at.parent)?.find(at.name).is_some() {
            return Err(Errno::EXIST);
        }
        self.get_mut(number)?.attr.nlink += 1;
        self.add_name(at, number)?;
        self.tell(number)
    }

    /// Removes a name (`of_directory`: RMDIR), and the node if it was the last.
    pub(super) fn remove(
        &mut self,
        at: Name<'_>,
        of_directory: bool,
    ) -> Result<Option<Region>, Errno> {
        let found = self.directory(at.parent)?.find(at.name);
        let number = found.ok_or(Errno::NOENT)?;
        match &self.get(number)?.kind {
            Kind::Directory(_) if !of_directory => return Err(Errno::ISDIR),
            Kind::Directory(directory) if !directory.is_empty() => return Err(Errno::NOTEMPTY),
            Kind::Directory(_) => self.get_mut(number)?.attr.nlink = 1,
            _ if of_directory => return Err(Errno::NOTDIR),
            _ => {}
        }
        self.remove_name(at)?;
        self.get_mut(number)?.attr.nlink -= 1;
        Ok(self.drop_unused(number))
    }

    /// RENAME2.
    pub(super) fn rename(
        &mut self,
        from: Name<'_>,
        to: Name<'_>,
        flags: u32,
    ) -> Result<Option<Region>, Errno> {
        let number = self.directory(from.parent)?.find(from.name);
        let number = number.ok_or(Errno::NOENT)?;
        let replaced = self.directory(to.parent)?.find(to.name);
        let mut freed = None;
        match (flags, replaced) {
            (0, Some(other)) if other == number => return Ok(None),
            (0, Some(_)) => {
                let is_directory = matches!(self.get(number)?.kind, Kind::Directory(_));
                freed = self.remove(to, is_directory)?;
            }
            (0 | RENAME_NOREPLACE, None) => {}
            (RENAME_NOREPLACE, Some(_)) => return Err(Errno::EXIST),
            (RENAME_EXCHANGE, Some(other)) => {
                self.remove_name(to)?;
                self.remove_name(from)?;
                self.add_name(from, other)?;
                self.add_name(to, number)?;
                return Ok(None);
            }
            (RENAME_EXCHANGE, None) => return Err(Errno::NOENT),
            _ => return Err(Errno::INVAL),
        }
        self.remove_name(from)?;
        self.add_name(to, number)?;
        Ok(freed)
    }

    fn add_name(&mut self, at: Name<'_>, number: u64) -> Result<(), Errno> {
        self.directory_mut(at.parent)?.add(at.name, number);
        self.get_mut(at.parent)?.touch();
        let node = self.get_mut(number)?;
        (node.attr.ctime, node.attr.ctimensec) = now();
        if let Kind::Directory(directory) = &mut node.kind {
            directory.parent = at.parent;
            self.get_mut(at.parent)?.attr.nlink += 1;
        }
        Ok(())
    }

    fn remove_name(&mut self, at: Name<'_>) -> Result<(), Errno> {
        let number = self.directory_mut(at.parent)?.remove(at.name);
        let is_directory = matches!(
            self.get(number.ok_or(Errno::NOENT)?)?.kind,
            Kind::Directory(_)
        );
        let parent = self.get_mut(at.parent)?;
        parent.touch();
        parent.attr.nlink -= u32::from(is_directory);
        Ok(())
    }

    /// The kernel has forgotten so many look-ups of a node.
    pub(super) fn forget(&mut self, number: u64, lookups: u64) -> Option<Region> {
        let node = self.nodes.get_mut(&number)?;
        node.lookups = node.lookups.saturating_sub(lookups);
        self.drop_unused(number)
    }

    /// Returns the region that nothing lies in any more.
    fn drop_unused(&mut self, number: u64) -> Option<Region> {
        let node = self.nodes.get(&number)?;
        if node.attr.nlink > 0 || node.lookups > 0 {
            return None;
        }
        match self.nodes.remove(&number)?.kind {
            Kind::File(Content::Region(region)) => Some(region),
            _ => None,
        }
    }
}

impl Node {
    /// Its content has changed now.
    pub(super) fn touch(&mut self) {
        let (seconds, nanos) = now();
        (self.attr.mtime, self.attr.mtimensec) = (seconds, nanos);
        (self.attr.ctime, self.attr.ctimensec) = (seconds, nanos);
    }
}

/// Seconds and nanoseconds.
pub(super) fn now() -> (i64, u32) {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    (seconds, since.subsec_nanos())
}

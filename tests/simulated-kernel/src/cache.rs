//! The mapping cache of an inode: two trees and a sequence number (section 5).

use crate::mapping::{Kind, Mapping};
use crate::numbers::opflag;
use crate::personality::Variant;
use crate::tree::MappingTree;

/// What a lookup found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hit {
    /// Where the data goes, or for a read comes from.
    pub destination: Mapping,
    /// For a write elsewhere: where old data comes from.
    pub source: Option<Mapping>,
    /// The cache's number at that moment.
    pub sequence: u64,
}

/// The cache, which the first upsert creates.
#[derive(Debug, Clone)]
pub struct MappingCache {
    read: MappingTree,
    /// `None`: absent, every write is a pure overwrite.
    write: Option<MappingTree>,
    sequence: u64,
    bytes_max: u64,
}

impl Default for MappingCache {
    fn default() -> Self {
        Self {
            read: MappingTree::default(),
            write: None,
            sequence: 1,
            bytes_max: 0,
        }
    }
}

impl MappingCache {
    /// The number that every change raises.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The tree of reads.
    #[must_use]
    pub fn read_tree(&self) -> &MappingTree {
        &self.read
    }

    /// The tree of writes, if it is not absent.
    #[must_use]
    pub fn write_tree(&self) -> Option<&MappingTree> {
        self.write.as_ref()
    }

    /// What either tree counted for at most, at any time, against its limit.
    #[must_use]
    pub fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    fn note_bytes(&mut self) {
        let write = self.write.as_ref().map_or(0, MappingTree::bytes);
        self.bytes_max = self.bytes_max.max(self.read.bytes()).max(write);
    }

    /// Inserts a pair that was judged before; how many trees were emptied for their size.
    pub fn upsert(&mut self, read: Mapping, write: Mapping, limit_bytes: u64) -> u64 {
        let mut dropped = 0;
        if read.kind != Kind::Nocache {
            dropped += u64::from(self.read.upsert(read, limit_bytes));
            self.sequence += 1;
        }
        let needless = write.kind == Kind::PureOverwrite && self.write.is_none();
        if write.kind != Kind::Nocache && !needless {
            let tree = self.write.get_or_insert_default();
            dropped += u64::from(tree.upsert(write, limit_bytes));
            self.sequence += 1;
        }
        self.note_bytes();
        dropped
    }

    /// Removes ranges (start, end) of the trees. A range that is all of the file empties its
    /// tree in one step, which S does without a new number (5.6).
    pub fn invalidate(
        &mut self,
        read: Option<(u64, u64)>,
        write: Option<(u64, u64)>,
        maxbytes: u64,
        variant: Variant,
    ) {
        let mut changed = false;
        let silent = variant == Variant::S;
        let mut remove = |tree: &mut MappingTree, (start, end): (u64, u64)| {
            if start == 0 && end >= maxbytes {
                changed |= tree.clear() && !silent;
            } else {
                changed |= tree.remove(start, end);
            }
        };
        if let Some(range) = read {
            remove(&mut self.read, range);
        }
        if let (Some(range), Some(tree)) = (write, self.write.as_mut()) {
            remove(tree, range);
        }
        self.sequence += u64::from(changed);
        // Removing the middle of a record leaves two.
        self.note_bytes();
    }

    /// Drops a range of both trees, as the kernel does by itself (5.7).
    pub fn drop_range(&mut self, start: u64, end: u64) {
        let mut changed = self.read.remove(start, end);
        if let Some(tree) = self.write.as_mut() {
            changed |= tree.remove(start, end);
        }
        self.sequence += u64::from(changed);
        // Removing the middle of a record leaves two.
        self.note_bytes();
    }

    /// Looks up `pos` for an operation (5.5). `None` is a miss.
    #[must_use]
    pub fn lookup(&self, opflags: u32, pos: u64) -> Option<Hit> {
        let hit = |destination, source| {
            Some(Hit {
                destination,
                source,
                sequence: self.sequence,
            })
        };
        if opflags & opflag::WRITE_TYPE == 0 {
            return hit(self.read.lookup(pos)?, None);
        }
        let found = match &self.write {
            None => hit(self.read.lookup(pos)?, None),
            Some(tree) => match tree.lookup(pos)? {
                record if record.kind == Kind::PureOverwrite => hit(self.read.lookup(pos)?, None),
                record => hit(record, Some(self.read.lookup(pos)?)),
            },
        }?;
        let direct = opflags & (opflag::DIRECT | opflag::WRITEBACK) != 0;
        let zeroing = opflags & (opflag::ZERO | opflag::UNSHARE) != 0;
        match found.destination.kind {
            Kind::Hole if !zeroing => None,
            Kind::Delalloc if direct => None,
            _ => Some(found),
        }
    }
}

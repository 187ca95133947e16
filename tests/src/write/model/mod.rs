//! What a file system should do: POSIX and Linux's ext4, in memory.
//!
//! The model predicts of every operation whether it succeeds, with what outcome, or with
//! which errno it fails; a failed one changes nothing. The one thing it does not predict is
//! when space runs out: a volume may answer ENOSPC where the model would go on.

mod attributes;
mod content;
mod names;

use super::operation::{Operation, Path, Target};
use super::tree::{Kind, Node, NodeId, Tree};
use fs_core::{
    CompatFeatures, IncompatFeatures, InodeFlags, RoCompatFeatures, Superblock, Timestamp,
};
use rustix::io::Errno;
use std::sync::Arc;

/// Most names an inode other than a directory has, and subdirectories one without dir_nlink.
const LINKS_MAX: u32 = 65_000;

/// The largest files without extents, for blocks of 1, 2 and 4 KiB: what Linux 6.18 lets
/// ftruncate(2) do.
const INDIRECT_MAX: [u64; 3] = [17_247_252_480, 275_415_851_008, 2_196_873_666_560];

/// What a volume is like, as far as it decides what happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traits {
    /// Bytes of a block.
    pub block_bytes: u64,
    /// Files are mapped by extents.
    pub has_extents: bool,
    /// Small files lie in their inodes.
    pub has_inline_data: bool,
    /// Metadata has checksums.
    pub has_metadata_csum: bool,
    /// Directories may have any number of subdirectories.
    pub has_dir_nlink: bool,
    /// Inodes have room for the creation time and parts of seconds.
    pub has_fine_times: bool,
    /// The largest size of a file.
    pub size_max: u64,
    /// The largest size a file could have that is mapped by extents.
    pub allocated_max: u64,
}

impl Traits {
    /// Those of a volume.
    pub fn of(superblock: &Superblock) -> Self {
        let features = &superblock.features;
        let block_bytes = u64::from(superblock.block_bytes);
        let has_extents = features.incompat.contains(IncompatFeatures::EXTENTS);
        let has_huge_files = features.ro_compat.contains(RoCompatFeatures::HUGE_FILE);
        // 32 bits count a file's blocks, or its units of 512 bytes.
        let blocks = if has_huge_files {
            u64::from(u32::MAX)
        } else {
            u64::from(u32::MAX) / (block_bytes / 512)
        };
        Self {
            block_bytes,
            has_extents,
            has_inline_data: features.incompat.contains(IncompatFeatures::INLINE_DATA),
            has_metadata_csum: features.ro_compat.contains(RoCompatFeatures::METADATA_CSUM),
            has_dir_nlink: features.ro_compat.contains(RoCompatFeatures::DIR_NLINK)
                && features.compat.contains(CompatFeatures::DIR_INDEX),
            has_fine_times: superblock.inode_bytes > 128 && superblock.want_extra_isize >= 24,
            size_max: match (has_extents, block_bytes) {
                (true, _) => blocks.saturating_mul(block_bytes),
                (false, 1024) => INDIRECT_MAX[0],
                (false, 2048) => INDIRECT_MAX[1],
                (false, _) => INDIRECT_MAX[2],
            },
            allocated_max: blocks.saturating_mul(block_bytes),
        }
    }
}

/// What an operation did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is done.
    Done,
    /// It made an inode.
    Made(NodeId),
    /// It wrote so many bytes.
    Written(usize),
}

/// A volume as it should be. Cheap to copy.
#[derive(Debug, Clone)]
pub struct Model {
    /// What the volume is like.
    pub traits: Traits,
    /// The time of all changes.
    pub now: Timestamp,
    /// What is on it.
    pub tree: Tree,
    /// Inodes that are held, in the order of holding.
    pub held: Vec<NodeId>,
    next: u64,
}

/// What the model predicts.
pub type Predicted<T> = Result<T, Errno>;

impl Model {
    /// A model of a volume that holds `tree`, used at this time.
    pub fn new(traits: Traits, tree: Tree, now: Timestamp) -> Self {
        let next = tree.nodes.keys().map(|id| id.0 + 1).max().unwrap_or(0);
        Self {
            traits,
            now,
            tree,
            held: Vec::new(),
            next,
        }
    }

    /// Does an operation, or tells with which errno it fails; then nothing has changed.
    pub fn apply(&mut self, operation: &Operation) -> Predicted<Outcome> {
        match operation {
            Operation::Create { at, new } => self.create(at, new),
            Operation::CreateUnnamed { parent, new } => self.create_unnamed(parent, new),
            Operation::Link { from, at } => self.link(from, at),
            Operation::Unlink { at } => self.unlink(at),
            Operation::Rmdir { at } => self.rmdir(at),
            Operation::Rename { from, to, mode } => self.rename(from, to, *mode),
            Operation::Write {
                file,
                data,
                offset,
                context,
            } => self.write_bytes(file, &data.bytes(), *offset, *context),
            Operation::Truncate {
                file,
                size,
                context,
            } => self.truncate(file, *size, *context),
            Operation::Allocate {
                file,
                how,
                offset,
                len,
                context,
            } => self.allocate(file, *how, *offset..offset.saturating_add(*len), *context),
            Operation::SwapExtents {
                a,
                a_offset,
                b,
                b_offset,
                len,
            } => self.swap_extents((a, *a_offset), (b, *b_offset), *len),
            Operation::SetAttributes { target, changes } => self.set_attributes(target, changes),
            Operation::SetFlags { target, flags } => self.set_flags(target, *flags),
            Operation::SetGeneration { target, generation } => {
                self.set_generation(target, *generation)
            }
            Operation::SetXattr {
                target,
                name,
                value,
                mode,
            } => self.set_xattr(target, name, &value.bytes(), *mode),
            Operation::RemoveXattr { target, name } => self.remove_xattr(target, name),
            Operation::Retain { target } => {
                let node = self.resolve(target)?;
                self.held.push(node);
                Ok(Outcome::Done)
            }
            Operation::Release { held } => self.release(*held),
            Operation::Sync | Operation::Checkpoint => Ok(Outcome::Done),
            Operation::Fsync { target } => self.resolve(target).map(|_| Outcome::Done),
            Operation::Reopen { seconds } => {
                self.reopen();
                self.now.seconds += i64::from(*seconds);
                Ok(Outcome::Done)
            }
        }
    }

    /// What a crash after all changes became durable leaves, or closing: inodes without
    /// names are gone, nothing is held.
    pub fn reopen(&mut self) {
        self.held.clear();
        self.tree.nodes.retain(|_, node| node.links > 0);
    }

    /// The number of the hold this hold number means.
    pub fn hold(&self, held: usize) -> Option<usize> {
        held.checked_rem(self.held.len())
    }

    fn release(&mut self, held: usize) -> Predicted<Outcome> {
        if let Some(index) = self.hold(held) {
            let node = self.held.remove(index);
            self.end_if_unused(node);
        }
        Ok(Outcome::Done)
    }

    /// What a path leads to, the way a program goes that follows no links.
    pub fn find(&self, names: &[Vec<u8>]) -> Predicted<NodeId> {
        let mut at = self.tree.root;
        for name in names {
            at = self.child(at, name)?;
        }
        Ok(at)
    }

    fn child(&self, parent: NodeId, name: &[u8]) -> Predicted<NodeId> {
        let entries = self.node(parent)?.entries().ok_or(Errno::NOTDIR)?;
        if name.len() > 255 {
            return Err(Errno::NAMETOOLONG);
        }
        match (name, &self.node(parent)?.kind) {
            (b".", _) => Ok(parent),
            (b"..", Kind::Directory { parent, .. }) => Ok(*parent),
            _ => entries.get(name).copied().ok_or(Errno::NOENT),
        }
    }

    /// The inode an operation is about.
    pub fn resolve(&self, target: &Target) -> Predicted<NodeId> {
        match target {
            Target::Path(Path(names)) => self.find(names),
            Target::Held(number) => {
                let index = self.hold(*number).ok_or(Errno::NOENT)?;
                self.held.get(index).copied().ok_or(Errno::NOENT)
            }
        }
    }

    /// An inode.
    pub fn node(&self, id: NodeId) -> Predicted<&Node> {
        self.tree
            .nodes
            .get(&id)
            .map(|node| &**node)
            .ok_or(Errno::STALE)
    }

    /// An inode, to be changed.
    fn node_mut(&mut self, id: NodeId) -> Predicted<&mut Node> {
        let node = self.tree.nodes.get_mut(&id).ok_or(Errno::STALE)?;
        Ok(Arc::make_mut(node))
    }

    fn add(&mut self, node: Node) -> NodeId {
        let id = NodeId(self.next);
        self.next += 1;
        self.tree.nodes.insert(id, Arc::new(node));
        id
    }

    fn end_if_unused(&mut self, id: NodeId) {
        let is_nameless = self.node(id).is_ok_and(|node| node.links == 0);
        if is_nameless && !self.held.contains(&id) {
            self.tree.nodes.remove(&id);
        }
    }

    fn has_flag(&self, id: NodeId, flag: InodeFlags) -> bool {
        let flags = self.node(id).ok().and_then(|node| node.flags).unwrap_or(0);
        InodeFlags::from_bits_retain(flags).contains(flag)
    }

    fn check_mutable(&self, id: NodeId) -> Predicted<()> {
        match self.has_flag(id, InodeFlags::IMMUTABLE) {
            true => Err(Errno::PERM),
            false => Ok(()),
        }
    }

    /// Immutable and append-only inodes keep their names and attributes.
    fn check_names_mutable(&self, id: NodeId) -> Predicted<()> {
        self.check_mutable(id)?;
        match self.has_flag(id, InodeFlags::APPEND) {
            true => Err(Errno::PERM),
            false => Ok(()),
        }
    }

    /// A time as an inode keeps it.
    fn stored(&self, id: NodeId, time: Timestamp) -> Timestamp {
        let is_fine = self.node(id).is_ok_and(|node| node.created.is_some());
        self.traits.stored(is_fine, time)
    }
}

impl Traits {
    /// A time as inodes keep it that have room for parts of seconds and two bits more, or
    /// that have not: the nearest that there is.
    fn stored(&self, is_fine: bool, time: Timestamp) -> Timestamp {
        let max = i64::from(i32::MAX) + if is_fine { 3 << 32 } else { 0 };
        let seconds = time.seconds.clamp(i32::MIN.into(), max);
        let nanos = if is_fine && seconds == time.seconds {
            time.nanos
        } else {
            0
        };
        Timestamp { seconds, nanos }
    }
}

//! Puts a tree into a volume under construction.
//!
//! ```text
//!  begin        numbers, forms, attributes; blocks of "/" and "lost+found"
//!  place_rest   blocks of directories, links and attributes, then of files
//!  inodes       ─┐ encoded from the plan each time, so that a plan
//!  write_blocks ─┘ holds places but no content
//! ```
//!
//! Everything but the content is decided by the first two, by one thread, from
//! the tree and the superblock alone: equal trees give equal bytes. Directories
//! lie together, in front of the files, whose content follows in the tree's order.

mod allocator;
mod attributes;
mod content;
mod directory;
mod extents;
mod form;
mod hashed;
mod indirect;
mod inline;
mod inode;
mod mapping;
mod metadata;
mod numbering;
mod rules;
mod source;
#[cfg(test)]
mod tests;

use fs_core::{FileType, FsBlock, InodeNumber, Superblock};

use images::BlockDevice;

use crate::populate::allocator::Allocator;
use crate::populate::attributes::Attributes;
use crate::populate::content::Content;
use crate::populate::mapping::Mapping;
use crate::populate::numbering::{LOST_AND_FOUND, Numbering};
use crate::populate::rules::Rules;
use crate::request::{Identity, Writing};
use crate::space::Space;
use crate::{Error, NodeId, NodeKind, Progress, Result, Stage, Tree};

/// A file from this size on makes the volume one with large_file.
const LARGE_FILE_BYTES: u64 = 1 << 31;

/// What an inode of the population is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// A node of the tree.
    Node(NodeId),
    /// "lost+found" of a tree that has none.
    LostAndFound,
    /// The value of an attribute, by its index.
    Value(usize),
}

/// Where the content of an inode is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// In blocks, if there is any.
    Blocks,
    /// A directory with a hash tree, in blocks.
    Hashed,
    /// In `i_block` and the attribute `system.data`.
    Inline,
    /// In `i_block` alone: short links, and files that have no content.
    Bare,
}

/// An inode of the population.
#[derive(Debug)]
struct Slot {
    number: InodeNumber,
    role: Role,
    form: Form,
    mapping: Mapping,
}

/// A tree, placed.
#[derive(Debug)]
pub(crate) struct Population<'t> {
    rules: Rules<'t>,
    identity: &'t Identity,
    tree: &'t Tree,
    numbering: Numbering,
    attributes: Attributes<'t>,
    /// Sorted by number: "/", "lost+found", the other nodes, EA inodes.
    slots: Vec<Slot>,
    allocator: Allocator,
}

impl<'t> Population<'t> {
    /// Numbers the tree's inodes from `first_tree_inode` on ("/" is 2, "lost+found"
    /// 11), decides where attributes go, and takes the blocks of these two.
    ///
    /// # Errors
    /// `BadSource` with what the format or the features do not allow,
    /// `TooFewInodes`, `DoesNotFit` (its sizes left to the caller).
    pub(crate) fn begin(
        superblock: &'t Superblock,
        identity: &'t Identity,
        tree: &'t Tree,
        first_tree_inode: InodeNumber,
        space: &mut Space,
    ) -> Result<Self> {
        let rules = Rules { superblock };
        let numbering = Numbering::new(tree, first_tree_inode, rules)?;
        let mut population = Self {
            rules,
            identity,
            tree,
            attributes: Attributes::new(InodeNumber(numbering.next)),
            numbering,
            slots: Vec::new(),
            allocator: Allocator::new(rules),
        };
        population.add_slots()?;
        let last = population.last_inode();
        if last.0 > superblock.inodes_count {
            return Err(Error::TooFewInodes {
                needed: last.0.into(),
                available: superblock.inodes_count.into(),
            });
        }
        for index in 0..population.slots.len().min(2) {
            population.place_slot(index, space)?;
        }
        Ok(population)
    }

    /// Takes the blocks of all the other inodes, and those of attributes.
    ///
    /// # Errors
    /// `DoesNotFit` (its sizes left to the caller), `BadSource`.
    pub(crate) fn place_rest(&mut self, space: &mut Space) -> Result<()> {
        let is_file = |population: &Self, index: usize| {
            let slot = population.slots.get(index);
            slot.is_some_and(|slot| population.file_type(slot.role) == FileType::Regular)
        };
        for index in 2..self.slots.len() {
            if !is_file(self, index) {
                self.place_slot(index, space)?;
            }
        }
        for block in &mut self.attributes.blocks {
            let runs = self.allocator.clusters(space, 1)?;
            block.place = runs.first().map_or(FsBlock(0), |run| run.start);
        }
        for index in 2..self.slots.len() {
            if is_file(self, index) {
                self.place_slot(index, space)?;
            }
        }
        Ok(())
    }

    /// The last inode: all from 1 to this one are in use.
    pub(crate) fn last_inode(&self) -> InodeNumber {
        // There is always "lost+found"; an orphan file may stand behind it.
        let behind = InodeNumber(self.numbering.next.saturating_sub(1));
        self.slots
            .last()
            .map_or(behind, |slot| slot.number.max(behind))
    }

    /// The directories, in rising order.
    pub(crate) fn directories(&self) -> impl Iterator<Item = InodeNumber> + '_ {
        self.slots
            .iter()
            .filter(|slot| self.file_type(slot.role) == FileType::Directory)
            .map(|slot| slot.number)
    }

    /// True if a file is so large that the superblock must have large_file.
    pub(crate) fn needs_large_file(&self) -> bool {
        self.tree.nodes.iter().any(|node| {
            matches!(&node.kind, NodeKind::File(content) if content.size_bytes >= LARGE_FILE_BYTES)
        })
    }

    /// The inodes, encoded, in rising order: 2, 11, those of the tree.
    ///
    /// # Errors
    /// `Source` and `BadSource` if a file that is kept in its inode cannot be read.
    pub(crate) fn inodes(&self) -> impl Iterator<Item = Result<(InodeNumber, Vec<u8>)>> + '_ {
        self.slots
            .iter()
            .map(|slot| Ok((slot.number, inode::encode(self, slot)?)))
    }

    /// Writes directories, links, extent nodes, attributes and the content of files,
    /// the latter with `writing.threads` threads: how many bytes.
    ///
    /// # Errors
    /// `Device`; `Source` and `BadSource` with the file that cannot be read or is
    /// no longer the one that was planned.
    pub(crate) fn write_blocks(
        &self,
        device: &dyn BlockDevice,
        writing: &Writing,
        progress: &dyn Progress,
    ) -> Result<u64> {
        let content = Content::new(self);
        progress.begin(
            Stage::Content,
            metadata::total_bytes(self) + content.total_bytes(),
        );
        let metadata_bytes = metadata::write(self, device, progress)?;
        let content_bytes = content.write(self, device, writing, progress)?;
        Ok(metadata_bytes + content_bytes)
    }

    fn add_slots(&mut self) -> Result<()> {
        let lost_and_found = self
            .numbering
            .lost_and_found
            .map_or(Role::LostAndFound, Role::Node);
        self.add_slot(InodeNumber::ROOT, Role::Node(NodeId::ROOT))?;
        self.add_slot(LOST_AND_FOUND, lost_and_found)?;
        for id in (1..)
            .map(NodeId)
            .take(self.tree.nodes.len().saturating_sub(1))
        {
            if Some(id) != self.numbering.lost_and_found {
                let number = self.numbering.number(id)?;
                self.add_slot(number, Role::Node(id))?;
            }
        }
        for index in 0..self.attributes.values.len() {
            let number = self.attributes.value_inode(index);
            let number = number.ok_or(Error::TooFewInodes {
                needed: self.slots.len() as u64 + index as u64,
                available: self.rules.superblock.inodes_count.into(),
            })?;
            self.add_slot(number, Role::Value(index))?;
        }
        Ok(())
    }

    fn add_slot(&mut self, number: InodeNumber, role: Role) -> Result<()> {
        let (form, taken_bytes) = self.form(number, role)?;
        if let Role::Node(node) = role {
            self.attributes
                .add(self.rules, self.tree, node, taken_bytes)?;
        }
        self.slots.push(Slot {
            number,
            role,
            form,
            mapping: Mapping::default(),
        });
        Ok(())
    }

    fn kind(&self, role: Role) -> Option<&'t NodeKind> {
        match role {
            Role::Node(id) => self.tree.node(id).map(|node| &node.kind),
            Role::LostAndFound | Role::Value(_) => None,
        }
    }

    fn file_type(&self, role: Role) -> FileType {
        match role {
            Role::LostAndFound => FileType::Directory,
            Role::Node(_) | Role::Value(_) => self
                .kind(role)
                .map_or(FileType::Regular, numbering::file_type),
        }
    }
}

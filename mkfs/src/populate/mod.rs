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

use fs_core::{
    FileType, FsBlock, IncompatFeatures, InodeNumber, RoCompatFeatures, Superblock, encode,
};

use images::BlockDevice;

use crate::populate::allocator::Allocator;
use crate::populate::attributes::Attributes;
use crate::populate::content::Content;
use crate::populate::directory::{Layout, Listing, Name};
use crate::populate::mapping::{FileRange, Mapping};
use crate::populate::numbering::{LOST_AND_FOUND, LOST_AND_FOUND_NAME, Numbering, refuse};
use crate::populate::rules::Rules;
use crate::request::{Identity, Writing};
use crate::space::Space;
use crate::{Error, NodeId, NodeKind, Progress, Result, Stage, Tree};

/// Longest target of a symbolic link that lies in the inode.
const FAST_SYMLINK_BYTES_MAX: usize = 59;
/// Longest directory without large_dir, which gives sizes their high half.
const DIRECTORY_BYTES_MAX: u64 = i32::MAX as u64;
/// A file from this size on makes the volume one with large_file.
const LARGE_FILE_BYTES: u64 = 1 << 31;
/// mke2fs makes "lost+found" this long, if that is 2 to 12 blocks.
const LOST_AND_FOUND_BYTES: usize = 16 << 10;

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

    /// How an inode's content is kept, and the room this takes among its attributes.
    fn form(&self, number: InodeNumber, role: Role) -> Result<(Form, usize)> {
        let (Role::Node(id), Some(kind)) = (role, self.kind(role)) else {
            return Ok((Form::Blocks, 0));
        };
        let rules = self.rules;
        match kind {
            NodeKind::Directory(_) if number <= LOST_AND_FOUND => Ok((Form::Blocks, 0)),
            NodeKind::Directory(_) => {
                let content = self.inline_directory(number, id)?;
                Ok(content.map_or((Form::Blocks, 0), |content| {
                    (Form::Inline, inline::room_bytes(content.len()))
                }))
            }
            NodeKind::File(content) if content.size_bytes > rules.file_bytes_max() => Err(refuse(
                self.tree,
                id,
                format!(
                    "its {} bytes are more than the {} a file can have here",
                    content.size_bytes,
                    rules.file_bytes_max()
                ),
            )),
            NodeKind::File(content) if inline::holds_file(rules, content.size_bytes) => {
                let size = usize::try_from(content.size_bytes).unwrap_or(usize::MAX);
                Ok((Form::Inline, inline::room_bytes(size)))
            }
            NodeKind::File(_) => Ok((Form::Blocks, 0)),
            NodeKind::Symlink(target) if target.len() <= FAST_SYMLINK_BYTES_MAX => {
                Ok((Form::Bare, 0))
            }
            NodeKind::Symlink(target) if target.len() >= rules.block_len() => Err(refuse(
                self.tree,
                id,
                format!(
                    "its target has {} bytes, it must be shorter than a block",
                    target.len()
                ),
            )),
            NodeKind::Symlink(_) => Ok((Form::Blocks, 0)),
            &NodeKind::CharDevice(major, minor) | &NodeKind::BlockDevice(major, minor)
                if encode::device_number(major, minor).is_none() =>
            {
                let why = format!("ext4 cannot store the device number {major}:{minor}");
                Err(refuse(self.tree, id, why))
            }
            _ => Ok((Form::Bare, 0)),
        }
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

    /// A directory's content if it fits the inode.
    fn inline_directory(&self, number: InodeNumber, node: NodeId) -> Result<Option<Vec<u8>>> {
        if !self.rules.has_incompat(IncompatFeatures::INLINE_DATA) {
            return Ok(None);
        }
        let listing = self.listing(number, Role::Node(node))?;
        inline::directory(self.rules, listing.parent, &listing.names)
    }

    /// The names of a directory.
    fn listing(&self, number: InodeNumber, role: Role) -> Result<Listing<'t>> {
        let (mut names, mut parent) = (Vec::new(), InodeNumber::ROOT);
        if let (Role::Node(id), Some(NodeKind::Directory(entries))) = (role, self.kind(role)) {
            parent = self.numbering.parent(id);
            names.reserve_exact(entries.len() + 1);
            for entry in entries {
                names.push(Name {
                    name: &entry.name,
                    inode: self.numbering.number(entry.node)?,
                    file_type: self.file_type(Role::Node(entry.node)),
                });
            }
        }
        if number == InodeNumber::ROOT && self.numbering.lost_and_found.is_none() {
            let at = names.partition_point(|name| name.name < LOST_AND_FOUND_NAME);
            names.insert(
                at,
                Name {
                    name: LOST_AND_FOUND_NAME,
                    inode: LOST_AND_FOUND,
                    file_type: FileType::Directory,
                },
            );
        }
        let blocks_min = if number == LOST_AND_FOUND {
            self.lost_and_found_blocks()
        } else {
            1
        };
        Ok(Listing {
            inode: number,
            parent,
            names,
            blocks_min,
        })
    }

    /// As many as mke2fs makes, which loses one where it starts inline.
    fn lost_and_found_blocks(&self) -> usize {
        let blocks = (LOST_AND_FOUND_BYTES / self.rules.block_len()).clamp(2, 12);
        blocks - usize::from(self.rules.has_incompat(IncompatFeatures::INLINE_DATA))
    }

    fn place_slot(&mut self, index: usize, space: &mut Space) -> Result<()> {
        let Some(slot) = self.slots.get(index) else {
            return Ok(());
        };
        let (number, role, mut form) = (slot.number, slot.role, slot.form);
        if matches!(form, Form::Inline | Form::Bare) {
            return Ok(());
        }
        let block_bytes = self.rules.block_bytes();
        let whole = |len_blocks: u64| {
            vec![FileRange {
                start: 0,
                len_blocks,
            }]
        };
        let ranges = match (role, self.kind(role)) {
            (Role::Value(value), _) => {
                let value = self.attributes.values.get(value);
                whole(
                    value
                        .map_or(0, |value| value.bytes.len() as u64)
                        .div_ceil(block_bytes),
                )
            }
            (_, Some(NodeKind::File(content))) => mapping::file_ranges(&content.data, block_bytes),
            (_, Some(NodeKind::Symlink(_))) => whole(1),
            _ => {
                let layout = Layout::new(self.rules, &self.listing(number, role)?)?
                    .ok_or_else(|| self.too_many_names(role))?;
                if layout.is_hashed() {
                    form = Form::Hashed;
                }
                let blocks = layout.blocks() as u64;
                self.check_directory_size(role, blocks)?;
                whole(blocks)
            }
        };
        let mapping = mapping::place(self.rules, &ranges, &mut self.allocator, space)?;
        if let Some(slot) = self.slots.get_mut(index) {
            slot.form = form;
            slot.mapping = mapping;
        }
        Ok(())
    }

    fn too_many_names(&self, role: Role) -> Error {
        let node = match role {
            Role::Node(node) => node,
            Role::LostAndFound | Role::Value(_) => NodeId::ROOT,
        };
        let why = if self.rules.has_incompat(IncompatFeatures::LARGEDIR) {
            "its names are too many for a hash tree; blocks of another size or no dir_index allow more"
        } else {
            "its names are too many for a hash tree of two levels; the feature large_dir allows three"
        };
        refuse(self.tree, node, why)
    }

    fn check_directory_size(&self, role: Role, blocks: u64) -> Result<()> {
        let size_bytes = blocks.saturating_mul(self.rules.block_bytes());
        let is_large = size_bytes > DIRECTORY_BYTES_MAX;
        let node = match role {
            Role::Node(node) if is_large => node,
            _ => return Ok(()),
        };
        if !self.rules.has_incompat(IncompatFeatures::LARGEDIR) {
            let why = format!(
                "a directory of {size_bytes} bytes, more than {DIRECTORY_BYTES_MAX}, needs the feature large_dir"
            );
            return Err(refuse(self.tree, node, why));
        }
        let has_large_file = self.rules.has_ro_compat(RoCompatFeatures::LARGE_FILE);
        if has_large_file {
            return Ok(());
        }
        let why = format!("a directory of {size_bytes} bytes needs the feature large_file");
        Err(refuse(self.tree, node, why))
    }
}

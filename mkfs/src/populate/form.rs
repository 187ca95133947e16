//! What becomes of each inode's content: where it is kept, how many blocks it
//! needs, and what the format cannot hold.

use fs_core::{FileType, IncompatFeatures, InodeNumber, RoCompatFeatures, encode};

use crate::populate::directory::{Layout, Listing, Name};
use crate::populate::mapping::{self, FileRange};
use crate::populate::numbering::{LOST_AND_FOUND, LOST_AND_FOUND_NAME, refuse};
use crate::populate::{Form, Population, Role, inline};
use crate::space::Space;
use crate::{Error, NodeId, NodeKind, Result};

/// Longest target of a symbolic link that lies in the inode.
const FAST_SYMLINK_BYTES_MAX: usize = 59;
/// Longest directory without large_dir, which gives sizes their high half.
const DIRECTORY_BYTES_MAX: u64 = i32::MAX as u64;
/// mke2fs makes "lost+found" this long, if that is 2 to 12 blocks.
const LOST_AND_FOUND_BYTES: usize = 16 << 10;

impl<'t> Population<'t> {
    /// How an inode's content is kept, and the room this takes among its attributes.
    pub(super) fn form(&self, number: InodeNumber, role: Role) -> Result<(Form, usize)> {
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
                    "its target has {} bytes, it must be shorter than a block of {}{}",
                    target.len(),
                    rules.block_bytes(),
                    rules.larger_blocks()
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

    /// A directory's content if it fits the inode.
    pub(super) fn inline_directory(
        &self,
        number: InodeNumber,
        node: NodeId,
    ) -> Result<Option<Vec<u8>>> {
        if !self.rules.has_incompat(IncompatFeatures::INLINE_DATA) {
            return Ok(None);
        }
        let listing = self.listing(number, Role::Node(node))?;
        inline::directory(self.rules, listing.parent, &listing.names)
    }

    /// The names of a directory.
    pub(super) fn listing(&self, number: InodeNumber, role: Role) -> Result<Listing<'t>> {
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

    pub(super) fn place_slot(&mut self, index: usize, space: &mut Space) -> Result<()> {
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

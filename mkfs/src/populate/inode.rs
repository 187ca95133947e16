//! The inodes of a population, encoded.

use fs_core::encode::{self, InodeFields};
use fs_core::{FileType, FsBlock, InodeFlags, Timestamp};

use crate::populate::attributes::Holder;
use crate::populate::{Form, Population, Role, Slot, inline, mapping, source};
use crate::{Attributes, NodeId, NodeKind, Result};

/// Flags of the source that directories and files keep.
const KEPT_FLAGS: InodeFlags = InodeFlags::IMMUTABLE
    .union(InodeFlags::APPEND)
    .union(InodeFlags::NODUMP);
/// Flags that anything else keeps; e2fsck objects to the others there.
const KEPT_FLAGS_SPECIAL: InodeFlags = InodeFlags::NODUMP;
/// Permissions of "lost+found" and of EA inodes.
const LOST_AND_FOUND_PERMISSIONS: u16 = 0o700;
const VALUE_PERMISSIONS: u16 = 0o600;
/// Permissions of a root directory without a source.
const ROOT_PERMISSIONS: u16 = 0o755;

/// An inode, as many bytes as the volume's inodes have.
pub(super) fn encode(population: &Population<'_>, slot: &Slot) -> Result<Vec<u8>> {
    let rules = population.rules;
    let content = content(population, slot)?;
    let none = Holder::default();
    let holder = holder(population, slot).unwrap_or(&none);
    let mut xattrs = holder.in_inode.clone();
    if let Some(data) = &content.inline {
        xattrs.insert(0, inline::xattr(data));
    }
    let area = if xattrs.is_empty() {
        Vec::new()
    } else {
        encode::xattr_inode_area(&xattrs, rules.xattr_area_bytes())?
    };
    let block = holder
        .block
        .and_then(|index| population.attributes.blocks.get(index));
    let xattr_blocks = block.map_or(0, |_| rules.cluster_blocks());
    let blocks = slot.mapping.taken_blocks + xattr_blocks + holder.value_blocks;
    let fields = InodeFields {
        size_bytes: content.size_bytes,
        blocks_512: blocks * (rules.block_bytes() / 512),
        xattr_block: block.map_or(FsBlock(0), |block| block.place),
        block_area: content.area,
        xattr_area: &area,
        ..fields(population, slot)
    };
    let mut bytes = vec![0; usize::from(rules.superblock.inode_bytes)];
    encode::inode(rules.superblock, slot.number, &fields, &mut bytes)?;
    Ok(bytes)
}

fn holder<'p, 't>(population: &'p Population<'t>, slot: &Slot) -> Option<&'p Holder<'t>> {
    match slot.role {
        Role::Node(node) => population.attributes.holder(node),
        Role::LostAndFound | Role::Value(_) => None,
    }
}

/// The parts of an inode that come from its content.
struct Content {
    size_bytes: u64,
    area: [u8; inline::AREA_BYTES],
    /// The value of `system.data`, if there is one.
    inline: Option<Vec<u8>>,
}

fn content(population: &Population<'_>, slot: &Slot) -> Result<Content> {
    match slot.form {
        Form::Blocks | Form::Hashed => Ok(Content {
            size_bytes: size_bytes(population, slot),
            area: mapping::encode(population.rules, slot.number, &slot.mapping, &mut |_, _| {
                Ok(())
            })?,
            inline: None,
        }),
        Form::Inline => {
            let bytes = inline_bytes(population, slot)?;
            let (area, rest) = inline::split(&bytes);
            Ok(Content {
                size_bytes: bytes.len() as u64,
                area,
                inline: Some(rest.to_vec()),
            })
        }
        Form::Bare => Ok(bare(population, slot)),
    }
}

/// Length of content that lies in blocks.
fn size_bytes(population: &Population<'_>, slot: &Slot) -> u64 {
    match (slot.role, population.kind(slot.role)) {
        (Role::Value(value), _) => {
            let value = population.attributes.values.get(value);
            value.map_or(0, |value| value.bytes.len() as u64)
        }
        (_, Some(NodeKind::File(content))) => content.size_bytes,
        (_, Some(NodeKind::Symlink(target))) => target.len() as u64,
        _ => {
            let last = slot.mapping.extents.last();
            last.map_or(0, |extent| extent.end().0 * population.rules.block_bytes())
        }
    }
}

/// Content that is kept in the inode.
fn inline_bytes(population: &Population<'_>, slot: &Slot) -> Result<Vec<u8>> {
    match (slot.role, population.kind(slot.role)) {
        (_, Some(NodeKind::File(content))) => source::read_whole(content),
        (Role::Node(node), _) => {
            let content = population.inline_directory(slot.number, node)?;
            Ok(content.unwrap_or_default())
        }
        _ => Ok(Vec::new()),
    }
}

/// Content that `i_block` holds alone.
fn bare(population: &Population<'_>, slot: &Slot) -> Content {
    let (size_bytes, area) = match population.kind(slot.role) {
        Some(NodeKind::Symlink(target)) => (target.len() as u64, inline::split(target).0),
        Some(&NodeKind::CharDevice(major, minor) | &NodeKind::BlockDevice(major, minor)) => {
            // Numbers that do not fit were refused before anything was placed.
            let area = encode::device_number(major, minor).unwrap_or([0; inline::AREA_BYTES]);
            (0, area)
        }
        _ => (0, [0; inline::AREA_BYTES]),
    };
    Content {
        size_bytes,
        area,
        inline: None,
    }
}

/// The parts of an inode that come from its attributes.
fn fields(population: &Population<'_>, slot: &Slot) -> InodeFields<'static> {
    let time = population.identity.time;
    let default = Attributes {
        modified: time,
        ..Attributes::default()
    };
    let (attributes, links) = match slot.role {
        Role::Node(node) => (
            attributes(population, node),
            population.numbering.links(node),
        ),
        Role::LostAndFound => (
            Attributes {
                permissions: LOST_AND_FOUND_PERMISSIONS,
                ..default
            },
            2,
        ),
        Role::Value(index) => return value_fields(population, index),
    };
    let file_type = population.file_type(slot.role);
    InodeFields {
        mode: file_type.mode_bits() | attributes.permissions & 0o7777,
        uid: attributes.uid,
        gid: attributes.gid,
        links,
        flags: flags(population, slot, attributes.flags),
        accessed: attributes.accessed.unwrap_or(attributes.modified),
        modified: attributes.modified,
        changed: attributes.changed.unwrap_or(time),
        created: time,
        ..empty()
    }
}

/// A node's attributes without the extended ones; the root's may be told otherwise.
fn attributes(population: &Population<'_>, node: NodeId) -> Attributes {
    let of_node = population.tree.node(node).map(|node| &node.attributes);
    let own = of_node.map_or_else(Attributes::default, |own| Attributes {
        xattrs: Vec::new(),
        ..*own
    });
    if node != NodeId::ROOT {
        return own;
    }
    let identity = population.identity;
    let own = if population.tree.has_root_attributes {
        own
    } else {
        Attributes {
            permissions: ROOT_PERMISSIONS,
            modified: identity.time,
            ..Attributes::default()
        }
    };
    let (uid, gid) = identity.root_owner.unwrap_or((own.uid, own.gid));
    Attributes {
        permissions: identity.root_permissions.unwrap_or(own.permissions),
        uid,
        gid,
        ..own
    }
}

fn flags(population: &Population<'_>, slot: &Slot, own: Option<InodeFlags>) -> InodeFlags {
    let file_type = population.file_type(slot.role);
    let kept = match file_type {
        FileType::Directory | FileType::Regular => KEPT_FLAGS,
        _ => KEPT_FLAGS_SPECIAL,
    };
    let mut flags = own.unwrap_or(InodeFlags::empty()) & kept;
    match slot.form {
        Form::Blocks => flags.set(InodeFlags::EXTENTS, population.rules.has_extents()),
        Form::Hashed => {
            flags.set(InodeFlags::EXTENTS, population.rules.has_extents());
            flags |= InodeFlags::INDEX;
        }
        Form::Inline => flags |= InodeFlags::INLINE_DATA,
        Form::Bare => {}
    }
    flags
}

/// An EA inode keeps the hash of its content in the access time, and its
/// reference count in the change time (high half) and the version (low half).
fn value_fields(population: &Population<'_>, index: usize) -> InodeFields<'static> {
    let value = population.attributes.values.get(index);
    let hash = value.map_or(0, |value| {
        encode::xattr_value_hash(population.rules.superblock, &value.bytes)
    });
    let references = value.map_or(0, |value| value.references);
    let (uid, gid) = value.map_or((0, 0), |value| value.owner);
    let seconds = |seconds: u32| Timestamp {
        seconds: seconds.cast_signed().into(),
        nanos: 0,
    };
    let time = population.identity.time;
    let mut flags = InodeFlags::EA_INODE;
    flags.set(InodeFlags::EXTENTS, population.rules.has_extents());
    InodeFields {
        mode: FileType::Regular.mode_bits() | VALUE_PERMISSIONS,
        uid,
        gid,
        links: 1,
        flags,
        accessed: seconds(hash),
        // A count is far below 2^32: there are not that many inodes.
        changed: seconds(0),
        modified: time,
        created: time,
        version: references,
        ..empty()
    }
}

fn empty() -> InodeFields<'static> {
    InodeFields {
        mode: 0,
        uid: 0,
        gid: 0,
        size_bytes: 0,
        links: 0,
        blocks_512: 0,
        flags: InodeFlags::empty(),
        generation: 0,
        accessed: Timestamp::default(),
        modified: Timestamp::default(),
        changed: Timestamp::default(),
        created: Timestamp::default(),
        xattr_block: FsBlock(0),
        version: 0,
        block_area: [0; inline::AREA_BYTES],
        xattr_area: &[],
    }
}

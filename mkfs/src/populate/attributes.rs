//! Where extended attributes go: into the inode as long as there is room, then
//! into one block, which nodes with equal lists share; values too large for that
//! into EA inodes, one for all equal values.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use fs_core::encode::{self, NewXattr, NewXattrValue};
use fs_core::{CompatFeatures, FsBlock, IncompatFeatures, InodeNumber};

use crate::populate::numbering::refuse;
use crate::populate::rules::Rules;
use crate::{NodeId, NodeKind, Result, Tree, Xattr};

/// The attributes of one node.
#[derive(Debug, Default)]
pub(super) struct Holder<'t> {
    /// In the inode.
    pub(super) in_inode: Vec<NewXattr<'t>>,
    /// Index of its block.
    pub(super) block: Option<usize>,
    /// Blocks of the EA inodes it uses, which its own count includes.
    pub(super) value_blocks: u64,
}

/// A block of attributes.
#[derive(Debug)]
pub(super) struct AttributeBlock<'t> {
    pub(super) xattrs: Arc<[NewXattr<'t>]>,
    /// Inodes that share it.
    pub(super) references: u32,
    /// Where it lies, once placed.
    pub(super) place: FsBlock,
}

/// The content of an EA inode.
#[derive(Debug)]
pub(super) struct Value<'t> {
    pub(super) bytes: Cow<'t, [u8]>,
    /// Entries that use it, a shared block's counted once.
    pub(super) references: u64,
    /// Owner of the first node that uses it.
    pub(super) owner: (u32, u32),
}

/// The attributes of all nodes.
#[derive(Debug)]
pub(super) struct Attributes<'t> {
    holders: BTreeMap<NodeId, Holder<'t>>,
    pub(super) blocks: Vec<AttributeBlock<'t>>,
    pub(super) values: Vec<Value<'t>>,
    /// Blocks with room for another reference, by content.
    shared: HashMap<Arc<[NewXattr<'t>]>, usize>,
    /// EA inodes by content.
    by_value: HashMap<Cow<'t, [u8]>, usize>,
    /// Number of the first EA inode.
    first_value: InodeNumber,
}

/// A list of attributes divided between its places.
struct Division<'t> {
    in_inode: Vec<NewXattr<'t>>,
    in_block: Vec<NewXattr<'t>>,
}

impl<'t> Attributes<'t> {
    /// No attributes yet; EA inodes will be numbered from `first_value` on.
    pub(super) fn new(first_value: InodeNumber) -> Self {
        Self {
            holders: BTreeMap::new(),
            blocks: Vec::new(),
            values: Vec::new(),
            shared: HashMap::new(),
            by_value: HashMap::new(),
            first_value,
        }
    }

    /// The attributes of a node; `None` if it has none.
    pub(super) fn holder(&self, node: NodeId) -> Option<&Holder<'t>> {
        self.holders.get(&node)
    }

    /// Finds places for a node's attributes; `taken_bytes` of the room in its
    /// inode are needed for other things.
    ///
    /// # Errors
    /// `BadSource` with the attribute that the format or the features do not allow.
    pub(super) fn add(
        &mut self,
        rules: Rules<'_>,
        tree: &'t Tree,
        node: NodeId,
        taken_bytes: usize,
    ) -> Result<()> {
        let xattrs = tree
            .node(node)
            .map_or(&[][..], |node| &node.attributes.xattrs);
        if xattrs.is_empty() {
            return Ok(());
        }
        if !rules.has_compat(CompatFeatures::EXT_ATTR) {
            let why = "extended attributes need the feature ext_attr";
            return Err(refuse(tree, node, why));
        }
        let is_link = matches!(
            tree.node(node).map(|node| &node.kind),
            Some(NodeKind::Symlink(_))
        );
        let mut new = xattrs
            .iter()
            .map(|xattr| new_xattr(tree, node, xattr))
            .collect::<Result<Vec<_>>>()?;
        new.sort_by(|a, b| a.sort_key().cmp(&b.sort_key()));
        let room = encode::xattr_inode_room(rules.xattr_area_bytes()).saturating_sub(taken_bytes);
        loop {
            let division = divide(&new, room, is_link);
            let needed: usize = division.in_block.iter().map(NewXattr::room_bytes).sum();
            let block_room = encode::xattr_block_room(rules.block_len());
            if needed <= block_room {
                return self.keep(rules, tree, node, division);
            }
            if !rules.has_incompat(IncompatFeatures::EA_INODE) {
                let why = format!(
                    "its extended attributes need {needed} bytes outside the inode, a block has room for {block_room}; the feature ea_inode takes more{}",
                    rules.larger_blocks()
                );
                return Err(refuse(tree, node, why));
            }
            self.move_largest(rules, &mut new).ok_or_else(|| {
                let why = format!(
                    "the names of its extended attributes alone need {needed} bytes, a block has room for {block_room}{}",
                    rules.larger_blocks()
                );
                refuse(tree, node, why)
            })?;
        }
    }

    /// Moves the largest value of a list into an EA inode; `None` if all are there.
    fn move_largest(&mut self, rules: Rules<'_>, xattrs: &mut [NewXattr<'t>]) -> Option<()> {
        let size = |xattr: &NewXattr<'_>| match &xattr.value {
            NewXattrValue::Here(value) => value.len(),
            NewXattrValue::InInode { .. } => 0,
        };
        let at = (0..xattrs.len())
            .rev()
            .max_by_key(|&at| xattrs.get(at).map_or(0, size))?;
        let xattr = xattrs.get_mut(at).filter(|xattr| size(xattr) > 0)?;
        let NewXattrValue::Here(bytes) = &xattr.value else {
            return None;
        };
        let hash = encode::xattr_value_hash(rules.superblock, bytes);
        let size_bytes = u32::try_from(bytes.len()).ok()?;
        let next = self.values.len();
        let index = *self.by_value.entry(bytes.clone()).or_insert(next);
        if index == next {
            self.values.push(Value {
                bytes: bytes.clone(),
                references: 0,
                owner: (0, 0),
            });
        }
        let inode = self.value_inode(index)?;
        xattr.value = NewXattrValue::InInode {
            inode,
            size_bytes,
            hash,
        };
        Some(())
    }

    /// The number of an EA inode.
    pub(super) fn value_inode(&self, index: usize) -> Option<InodeNumber> {
        let index = u32::try_from(index).ok()?;
        self.first_value.0.checked_add(index).map(InodeNumber)
    }

    fn keep(
        &mut self,
        rules: Rules<'_>,
        tree: &'t Tree,
        node: NodeId,
        division: Division<'t>,
    ) -> Result<()> {
        let owner = tree
            .node(node)
            .map_or((0, 0), |node| (node.attributes.uid, node.attributes.gid));
        let all = division.in_inode.iter().chain(&division.in_block);
        let value_blocks = all
            .filter_map(value_size)
            .map(|size_bytes| rules.cluster_blocks_for(size_bytes.into()));
        let value_blocks = value_blocks.sum();
        self.refer(&division.in_inode, owner);
        let block = (!division.in_block.is_empty()).then(|| {
            let xattrs: Arc<[NewXattr<'t>]> = division.in_block.into();
            self.share(xattrs, owner)
        });
        let holder = Holder {
            in_inode: division.in_inode,
            block,
            value_blocks,
        };
        self.holders.insert(node, holder);
        Ok(())
    }

    /// A block with this content, one that is there already if it may be.
    fn share(&mut self, xattrs: Arc<[NewXattr<'t>]>, owner: (u32, u32)) -> usize {
        if let Some(&index) = self.shared.get(&xattrs)
            && let Some(block) = self.blocks.get_mut(index)
            && block.references < encode::XATTR_BLOCK_REFERENCES_MAX
        {
            block.references += 1;
            return index;
        }
        self.refer(&xattrs, owner);
        let index = self.blocks.len();
        self.shared.insert(Arc::clone(&xattrs), index);
        self.blocks.push(AttributeBlock {
            xattrs,
            references: 1,
            place: FsBlock(0),
        });
        index
    }

    /// Counts the references of a list that is written once.
    fn refer(&mut self, xattrs: &[NewXattr<'_>], owner: (u32, u32)) {
        for xattr in xattrs {
            let NewXattrValue::InInode { inode, .. } = xattr.value else {
                continue;
            };
            let index = inode.0.saturating_sub(self.first_value.0) as usize;
            if let Some(value) = self.values.get_mut(index) {
                if value.references == 0 {
                    value.owner = owner;
                }
                value.references += 1;
            }
        }
    }
}

fn value_size(xattr: &NewXattr<'_>) -> Option<u32> {
    match xattr.value {
        NewXattrValue::Here(_) => None,
        NewXattrValue::InInode { size_bytes, .. } => Some(size_bytes),
    }
}

/// Each to the inode while there is room, the others to the block. A symbolic
/// link's EA inodes are always named in the block: without one, e2fsck takes a
/// link with a block count for one whose target lies in blocks.
fn divide<'t>(xattrs: &[NewXattr<'t>], room: usize, is_link: bool) -> Division<'t> {
    let mut left = room;
    let (in_inode, in_block) = xattrs.iter().cloned().partition(|xattr| {
        let len = xattr.room_bytes();
        let fits = len <= left && !(is_link && value_size(xattr).is_some());
        if fits {
            left -= len;
        }
        fits
    });
    Division { in_inode, in_block }
}

/// The stored form of an attribute.
fn new_xattr<'t>(tree: &Tree, node: NodeId, xattr: &'t Xattr) -> Result<NewXattr<'t>> {
    let refuse = |why: String| {
        let name = xattr.name.escape_ascii();
        refuse(
            tree,
            node,
            format!("the extended attribute \"{name}\" {why}"),
        )
    };
    let (index, name) = encode::split_xattr_name(&xattr.name)
        .filter(|(_, name)| name.len() <= usize::from(u8::MAX))
        .ok_or_else(|| refuse("has a name ext4 cannot store".into()))?;
    if xattr.value.len() > encode::XATTR_VALUE_BYTES_MAX as usize {
        return Err(refuse(format!(
            "has {} bytes, Linux allows {}",
            xattr.value.len(),
            encode::XATTR_VALUE_BYTES_MAX
        )));
    }
    let value = match index {
        encode::INDEX_ACL_ACCESS | encode::INDEX_ACL_DEFAULT => {
            let disk = encode::acl_to_disk_form(&xattr.value)
                .map_err(|error| refuse(format!("is malformed: {error}")))?;
            Cow::Owned(disk)
        }
        _ => Cow::Borrowed(&*xattr.value),
    };
    Ok(NewXattr {
        index,
        name: Cow::Borrowed(name),
        value: NewXattrValue::Here(value),
    })
}

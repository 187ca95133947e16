//! A tree that is still being put together, and what makes it a valid one.
//!
//! Sources find nodes in whatever order suits them. [`Draft::finish`] sorts the
//! entries and numbers the nodes anew, so that the tree depends only on what was
//! found, never on the order.

use std::collections::HashMap;
use std::path::Path;

use super::{Entry, Node, NodeId, NodeKind, Tree};
use crate::{Error, Result};

/// The longest name of ext4 and of Linux, in bytes.
pub(super) const NAME_BYTES_MAX: usize = 255;
/// The longest target of a symbolic link: PATH_MAX without its NUL.
pub(super) const TARGET_BYTES_MAX: usize = 4095;

/// Nodes in any order; the first is the root directory.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) nodes: Vec<Node>,
    /// Nodes that are the same file if what they map to is equal; the first of
    /// them in the order of the tree stays.
    pub(super) same: HashMap<NodeId, (u64, u64)>,
}

/// A directory whose entries are being numbered.
struct Open {
    number: NodeId,
    left: std::vec::IntoIter<Entry>,
    done: Vec<Entry>,
}

impl Draft {
    /// Adds a node and says by which number entries can name it.
    ///
    /// # Errors
    /// `None` if there are more nodes than numbers.
    pub(super) fn push(&mut self, node: Node) -> Option<NodeId> {
        let id = u32::try_from(self.nodes.len()).ok()?;
        self.nodes.push(node);
        Some(NodeId(id))
    }

    /// Sorts, numbers depth first, merges hard links and leaves out what no entry
    /// names.
    ///
    /// # Errors
    /// `BadSource` if entries do not make a tree.
    pub(super) fn finish(self, source: &Path, has_root_attributes: bool) -> Result<Tree> {
        let bad = |why: &str| Error::BadSource {
            path: source.to_owned(),
            why: why.to_owned(),
        };
        let mut numbering = Numbering {
            numbers: vec![None; self.nodes.len()],
            nodes: Vec::with_capacity(self.nodes.len()),
            drafted: self.nodes.into_iter().map(Some).collect(),
            same: self.same,
            by_identity: HashMap::new(),
            stack: Vec::new(),
        };
        numbering
            .number(NodeId::ROOT)
            .ok_or_else(|| bad("there is no root directory"))?;
        while let Some(open) = numbering.stack.last_mut() {
            if let Some(mut entry) = open.left.next() {
                let (depth, name) = (numbering.stack.len(), entry.name);
                entry.node = numbering
                    .number(entry.node)
                    .ok_or_else(|| bad("a directory has two names"))?;
                entry.name = name;
                if let Some(open) = numbering.stack.get_mut(depth - 1) {
                    open.done.push(entry);
                }
            } else if let Some(open) = numbering.stack.pop()
                && let Some(node) = numbering.nodes.get_mut(open.number.0 as usize)
            {
                node.kind = NodeKind::Directory(open.done);
            }
        }
        Ok(Tree {
            nodes: numbering.nodes,
            has_root_attributes,
        })
    }
}

/// The state of [`Draft::finish`].
struct Numbering {
    /// The nodes not yet moved, by their drafted numbers.
    drafted: Vec<Option<Node>>,
    /// The final numbers of those that were.
    numbers: Vec<Option<NodeId>>,
    nodes: Vec<Node>,
    same: HashMap<NodeId, (u64, u64)>,
    by_identity: HashMap<(u64, u64), NodeId>,
    /// The directories from the root to where numbering is.
    stack: Vec<Open>,
}

impl Numbering {
    /// The final number of a drafted node that an entry names. `None` if the node
    /// does not exist or is a directory that has a name already.
    fn number(&mut self, drafted: NodeId) -> Option<NodeId> {
        let index = usize::try_from(drafted.0).ok()?;
        if let Some(number) = *self.numbers.get(index)? {
            let node = self.nodes.get(usize::try_from(number.0).ok()?)?;
            return (!matches!(node.kind, NodeKind::Directory(_))).then_some(number);
        }
        let identity = self.same.get(&drafted);
        if let Some(&number) = identity.and_then(|identity| self.by_identity.get(identity)) {
            self.numbers.get_mut(index)?.replace(number);
            return Some(number);
        }
        let number = NodeId(u32::try_from(self.nodes.len()).ok()?);
        if let Some(&identity) = identity {
            self.by_identity.insert(identity, number);
        }
        self.numbers.get_mut(index)?.replace(number);
        let mut node = self.drafted.get_mut(index)?.take()?;
        if let NodeKind::Directory(entries) = &mut node.kind {
            let mut entries = std::mem::take(entries);
            entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
            self.stack.push(Open {
                number,
                done: Vec::with_capacity(entries.len()),
                left: entries.into_iter(),
            });
        }
        self.nodes.push(node);
        Some(number)
    }
}

/// What is wrong with a name of a directory entry, as half a sentence.
pub(super) fn name_fault(name: &[u8]) -> Option<&'static str> {
    if name.is_empty() {
        Some("a name is empty")
    } else if name.len() > NAME_BYTES_MAX {
        Some("a name is longer than 255 bytes")
    } else if name.contains(&b'/') || name.contains(&0) {
        Some("a name contains a slash or a NUL")
    } else if name == b"." || name == b".." {
        Some("a name is \".\" or \"..\"")
    } else {
        None
    }
}

/// What is wrong with the target of a symbolic link, as half a sentence.
pub(super) fn target_fault(target: &[u8]) -> Option<&'static str> {
    if target.is_empty() {
        Some("the target of a symbolic link is empty")
    } else if target.len() > TARGET_BYTES_MAX {
        Some("the target of a symbolic link is longer than 4095 bytes")
    } else if target.contains(&0) {
        Some("the target of a symbolic link contains a NUL")
    } else {
        None
    }
}

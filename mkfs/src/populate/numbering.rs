//! Which node gets which inode number, how many names it has, and where ".."
//! of a directory leads.

use std::path::PathBuf;

use fs_core::{FileType, InodeNumber, RoCompatFeatures};

use crate::populate::rules::Rules;
use crate::{Error, NodeId, NodeKind, Result, Tree};

/// The directory e2fsck puts lost files into: always the first inode after the
/// reserved ones, and in every volume.
pub(super) const LOST_AND_FOUND: InodeNumber = InodeNumber(11);
pub(super) const LOST_AND_FOUND_NAME: &[u8] = b"lost+found";
/// Most names Linux gives a file (EXT4_LINK_MAX).
const LINKS_MAX: u32 = 65_000;

/// Numbers, links and parents, all by node.
#[derive(Debug)]
pub(super) struct Numbering {
    numbers: Vec<u32>,
    links: Vec<u32>,
    /// Of directories only; 0 for the rest.
    parents: Vec<u32>,
    /// The tree's own "lost+found".
    pub(super) lost_and_found: Option<NodeId>,
    /// First number no node has.
    pub(super) next: u32,
}

/// The type of a node.
pub(super) fn file_type(kind: &NodeKind) -> FileType {
    match kind {
        NodeKind::Directory(_) => FileType::Directory,
        NodeKind::File(_) => FileType::Regular,
        NodeKind::Symlink(_) => FileType::Symlink,
        NodeKind::CharDevice(..) => FileType::CharDevice,
        NodeKind::BlockDevice(..) => FileType::BlockDevice,
        NodeKind::Fifo => FileType::Fifo,
        NodeKind::Socket => FileType::Socket,
    }
}

/// A refusal that names a file by its path in the tree.
pub(super) fn refuse(tree: &Tree, node: NodeId, why: impl Into<String>) -> Error {
    Error::BadSource {
        path: path_of(tree, node),
        why: why.into(),
    }
}

/// A path of a node, from the tree's root. For messages only: it searches the tree.
fn path_of(tree: &Tree, node: NodeId) -> PathBuf {
    let mut names = Vec::new();
    let mut at = node;
    // A tree is not deeper than it has nodes.
    for _ in 0..tree.nodes.len() {
        let above = (0..).zip(&tree.nodes).find_map(|(id, parent)| {
            let NodeKind::Directory(entries) = &parent.kind else {
                return None;
            };
            let entry = entries.iter().find(|entry| entry.node == at)?;
            Some((NodeId(id), &entry.name))
        });
        let Some((parent, name)) = above.filter(|_| at != NodeId::ROOT) else {
            break;
        };
        names.push(String::from_utf8_lossy(name).into_owned());
        at = parent;
    }
    names.reverse();
    PathBuf::from(format!("/{}", names.join("/")))
}

/// What a tree that breaks its promises is told.
fn broken() -> Error {
    Error::BadSource {
        path: PathBuf::from("/"),
        why: "the tree has too many nodes, or names one it does not have".into(),
    }
}

fn index(node: NodeId) -> usize {
    node.0 as usize
}

impl Numbering {
    /// Numbers the nodes in their order, from `first` on.
    ///
    /// # Errors
    /// `BadSource` for a "lost+found" that is no directory, and for more links
    /// than the format counts.
    pub(super) fn new(tree: &Tree, first: InodeNumber, rules: Rules<'_>) -> Result<Self> {
        let lost_and_found = own_lost_and_found(tree)?;
        let count = tree.nodes.len();
        let mut numbering = Self {
            numbers: Vec::with_capacity(count),
            links: vec![0; count],
            parents: vec![0; count],
            lost_and_found,
            next: first.0,
        };
        for id in 0..u32::try_from(count).map_err(|_| broken())? {
            let number = match NodeId(id) {
                NodeId::ROOT => InodeNumber::ROOT.0,
                node if Some(node) == lost_and_found => LOST_AND_FOUND.0,
                _ => {
                    let number = numbering.next;
                    numbering.next = number.checked_add(1).ok_or_else(broken)?;
                    number
                }
            };
            numbering.numbers.push(number);
        }
        numbering.count_links(tree)?;
        numbering.check_links(tree, rules)?;
        Ok(numbering)
    }

    fn count_links(&mut self, tree: &Tree) -> Result<()> {
        if let Some(root) = self.parents.first_mut() {
            *root = InodeNumber::ROOT.0;
        }
        // "." and the name, or in the root ".."; and ".." in each subdirectory.
        if let Some(root) = self.links.first_mut() {
            *root = 2 + u32::from(self.lost_and_found.is_none());
        }
        for (own, node) in tree.nodes.iter().enumerate() {
            let NodeKind::Directory(entries) = &node.kind else {
                continue;
            };
            for entry in entries {
                let child = tree.node(entry.node).ok_or_else(broken)?;
                let number = self.numbers.get(own).copied();
                let links = self.links.get_mut(index(entry.node));
                let parent = self.parents.get_mut(index(entry.node));
                let (Some(number), Some(links), Some(parent)) = (number, links, parent) else {
                    return Err(broken());
                };
                if matches!(child.kind, NodeKind::Directory(_)) {
                    *links += 2;
                    *parent = number;
                    *self.links.get_mut(own).ok_or_else(broken)? += 1;
                } else {
                    *links += 1;
                }
            }
        }
        Ok(())
    }

    fn check_links(&mut self, tree: &Tree, rules: Rules<'_>) -> Result<()> {
        let many_subdirectories = rules.has_ro_compat(RoCompatFeatures::DIR_NLINK);
        for ((id, node), links) in (0..).zip(&tree.nodes).zip(&mut self.links) {
            let is_directory = matches!(node.kind, NodeKind::Directory(_));
            if *links <= LINKS_MAX {
                continue;
            }
            if is_directory && many_subdirectories {
                // Linux stores 1 one subdirectory earlier; e2fsck wants what can be counted.
                *links = 1;
            } else {
                let why = if is_directory {
                    format!("{} subdirectories need the feature dir_nlink", *links - 2)
                } else {
                    format!("{links} names are more than the {LINKS_MAX} a file can have")
                };
                return Err(refuse(tree, NodeId(id), why));
            }
        }
        Ok(())
    }

    /// The number of a node of the tree.
    pub(super) fn number(&self, node: NodeId) -> Result<InodeNumber> {
        let number = self.numbers.get(index(node)).ok_or_else(broken)?;
        Ok(InodeNumber(*number))
    }

    /// `i_links_count`: 1 for a directory with too many subdirectories to count.
    pub(super) fn links(&self, node: NodeId) -> u16 {
        let links = self.links.get(index(node)).copied();
        links
            .and_then(|links| u16::try_from(links).ok())
            .unwrap_or(1)
    }

    /// The directory that names this directory; the root names itself.
    pub(super) fn parent(&self, node: NodeId) -> InodeNumber {
        self.parents
            .get(index(node))
            .map_or(InodeNumber::ROOT, |&parent| InodeNumber(parent))
    }
}

/// The node that the tree's root calls "lost+found".
fn own_lost_and_found(tree: &Tree) -> Result<Option<NodeId>> {
    let Some(NodeKind::Directory(entries)) = tree.node(NodeId::ROOT).map(|root| &root.kind) else {
        return Err(broken());
    };
    let Some(entry) = entries
        .iter()
        .find(|entry| *entry.name == *LOST_AND_FOUND_NAME)
    else {
        return Ok(None);
    };
    match tree.node(entry.node).map(|node| &node.kind) {
        Some(NodeKind::Directory(_)) => Ok(Some(entry.node)),
        _ => Err(refuse(
            tree,
            entry.node,
            "the name is reserved for the directory e2fsck puts lost files into",
        )),
    }
}

//! Members become nodes: the rules for names.
//!
//! They are those of `tar -x` into an empty directory, made strict: a member can
//! replace another one, but never lie outside the tree or pass through anything
//! but a directory.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::Parsed;
use super::member::{Member, MemberKind};
use super::members::shown;
use crate::tree::draft::{Draft, name_fault};
use crate::tree::{Attributes, Entry, Node, NodeId, NodeKind, ScanOptions};

/// The longest path, in bytes.
const PATH_BYTES_MAX: usize = 64 << 10;
/// Directories the archive does not contain but needs, at most. Without a limit a
/// few bytes of path could ask for a directory each.
const IMPLIED_MAX: u32 = 1 << 20;

/// Puts members in their places.
pub(super) struct Builder<'o> {
    options: &'o ScanOptions,
    /// What members became; the first is the root. Never shrinks: what was replaced
    /// stays until the end.
    slots: Vec<Slot>,
    has_root_attributes: bool,
    implied: u32,
}

#[derive(Debug)]
enum Slot {
    Directory {
        attributes: Attributes,
        entries: BTreeMap<Box<[u8]>, usize>,
    },
    Leaf(Node),
    /// A hard link to a member that has not come yet.
    Link {
        path: Vec<u8>,
        target: Vec<u8>,
    },
}

/// The slot of the root.
const ROOT: usize = 0;

impl<'o> Builder<'o> {
    pub(super) fn new(options: &'o ScanOptions) -> Self {
        Self {
            options,
            slots: vec![implied_directory(options)],
            has_root_attributes: false,
            implied: 0,
        }
    }

    /// True if a member "." has come.
    pub(super) fn has_root_attributes(&self) -> bool {
        self.has_root_attributes
    }

    /// Takes a member.
    ///
    /// # Errors
    /// Why it has no place, as half a sentence.
    pub(super) fn add(&mut self, member: Member) -> Parsed<()> {
        let path = components(&member.path)?;
        let attributes = self.options.apply(member.attributes);
        let Some((name, parents)) = path.split_last() else {
            return self.describe_root(&member.kind, attributes);
        };
        let parent = self.walk_or_make(parents)?;
        let existing = self.entry(parent, name);
        let slot = match member.kind {
            MemberKind::Directory => {
                if let Some(Slot::Directory {
                    attributes: old, ..
                }) = existing.and_then(|slot| self.slots.get_mut(slot))
                {
                    *old = attributes;
                    return Ok(());
                }
                Slot::Directory {
                    attributes,
                    entries: BTreeMap::new(),
                }
            }
            MemberKind::Leaf(kind) => Slot::Leaf(Node { kind, attributes }),
            MemberKind::HardLink(target) => match self.find(&target_components(&target)?) {
                Some(target) => return self.link(parent, name, target),
                None => Slot::Link {
                    path: member.path.clone(),
                    target,
                },
            },
        };
        self.make_room(existing)?;
        let slot = self.push(slot);
        self.name(parent, name, slot);
        Ok(())
    }

    /// The draft of the tree.
    ///
    /// # Errors
    /// The path of a hard link whose target never came, and what to say of it.
    pub(super) fn finish(self) -> Result<Draft, (Vec<u8>, String)> {
        let resolved = self.resolve_links()?;
        let mut draft = Draft::default();
        for slot in self.slots {
            let node = match slot {
                Slot::Leaf(node) => node,
                Slot::Directory {
                    attributes,
                    entries,
                } => Node {
                    kind: NodeKind::Directory(
                        entries
                            .into_iter()
                            .filter_map(|(name, slot)| {
                                let slot = resolved.get(&slot).copied().unwrap_or(slot);
                                let node = NodeId(u32::try_from(slot).ok()?);
                                Some(Entry { name, node })
                            })
                            .collect(),
                    ),
                    attributes,
                },
                // No entry names it, so the tree will not have it.
                Slot::Link { .. } => Node {
                    kind: NodeKind::Fifo,
                    attributes: Attributes::default(),
                },
            };
            if draft.push(node).is_none() {
                return Err((
                    Vec::new(),
                    "there are more members than ext4 can number".into(),
                ));
            }
        }
        Ok(draft)
    }

    fn describe_root(&mut self, kind: &MemberKind, attributes: Attributes) -> Parsed<()> {
        let Some(Slot::Directory {
            attributes: root, ..
        }) = self.slots.get_mut(ROOT)
        else {
            return Err("there is no root".to_owned());
        };
        if !matches!(kind, MemberKind::Directory) {
            return Err("is the root of the tree, but not a directory".to_owned());
        }
        *root = attributes;
        self.has_root_attributes = true;
        Ok(())
    }

    /// The directory of a path; those that are missing are made.
    fn walk_or_make(&mut self, path: &[&[u8]]) -> Parsed<usize> {
        let mut at = ROOT;
        for &name in path {
            let Some(next) = self.entry(at, name) else {
                if self.implied >= IMPLIED_MAX {
                    return Err("more than a million directories are missing".to_owned());
                }
                self.implied += 1;
                let slot = self.push(implied_directory(self.options));
                self.name(at, name, slot);
                at = slot;
                continue;
            };
            let why = match self.slots.get(next) {
                Some(Slot::Directory { .. }) => {
                    at = next;
                    continue;
                }
                Some(Slot::Leaf(node)) if matches!(node.kind, NodeKind::Symlink(_)) => {
                    "a symbolic link"
                }
                _ => "not a directory",
            };
            return Err(format!("lies under {}, which is {why}", shown(name)));
        }
        Ok(at)
    }

    /// Gives a member that is there another name.
    fn link(&mut self, parent: usize, name: &[u8], target: usize) -> Parsed<()> {
        if matches!(self.slots.get(target), Some(Slot::Directory { .. })) {
            return Err("is a hard link to a directory".to_owned());
        }
        let existing = self.entry(parent, name);
        if existing != Some(target) {
            self.make_room(existing)?;
            self.name(parent, name, target);
        }
        Ok(())
    }

    /// Checks that what a name stood for so far can be let go.
    fn make_room(&self, existing: Option<usize>) -> Parsed<()> {
        match existing.and_then(|slot| self.slots.get(slot)) {
            Some(Slot::Directory { entries, .. }) if !entries.is_empty() => {
                Err("would replace a directory that is not empty".to_owned())
            }
            _ => Ok(()),
        }
    }

    fn push(&mut self, slot: Slot) -> usize {
        self.slots.push(slot);
        self.slots.len() - 1
    }

    /// What a directory has under a name.
    fn entry(&self, directory: usize, name: &[u8]) -> Option<usize> {
        match self.slots.get(directory)? {
            Slot::Directory { entries, .. } => entries.get(name).copied(),
            _ => None,
        }
    }

    fn name(&mut self, directory: usize, name: &[u8], slot: usize) {
        if let Some(Slot::Directory { entries, .. }) = self.slots.get_mut(directory) {
            entries.insert(name.into(), slot);
        }
    }

    /// What a path leads to, through directories only.
    fn find(&self, path: &[&[u8]]) -> Option<usize> {
        path.iter().try_fold(ROOT, |at, name| self.entry(at, name))
    }

    /// What each link that came before its target means in the end.
    fn resolve_links(&self) -> Result<HashMap<usize, usize>, (Vec<u8>, String)> {
        let mut resolved = HashMap::new();
        let mut named = BTreeSet::new();
        for slot in &self.slots {
            if let Slot::Directory { entries, .. } = slot {
                named.extend(entries.values().copied().filter(|&slot| self.is_link(slot)));
            }
        }
        for &link in &named {
            let mut chain = HashSet::new();
            let mut at = link;
            while let (None, Some(Slot::Link { path, target })) =
                (resolved.get(&at), self.slots.get(at))
            {
                let next = components(target)
                    .ok()
                    .and_then(|target| self.find(&target));
                let missing = || {
                    let target = shown(target);
                    (
                        path.clone(),
                        format!("is a hard link to {target}, which is missing"),
                    )
                };
                if !chain.insert(at) {
                    return Err(missing());
                }
                at = next.ok_or_else(missing)?;
                if matches!(self.slots.get(at), Some(Slot::Directory { .. })) {
                    return Err((path.clone(), "is a hard link to a directory".to_owned()));
                }
            }
            let end = resolved.get(&at).copied().unwrap_or(at);
            resolved.extend(chain.into_iter().map(|link| (link, end)));
        }
        Ok(resolved)
    }

    fn is_link(&self, slot: usize) -> bool {
        matches!(self.slots.get(slot), Some(Slot::Link { .. }))
    }
}

fn implied_directory(options: &ScanOptions) -> Slot {
    Slot::Directory {
        attributes: options.apply(Attributes {
            permissions: 0o755,
            modified: options.undescribed_mtime,
            ..Attributes::default()
        }),
        entries: BTreeMap::new(),
    }
}

/// The names the target of a hard link consists of.
fn target_components(target: &[u8]) -> Parsed<Vec<&[u8]>> {
    components(target).map_err(|why| format!("is a hard link whose target {} {why}", shown(target)))
}

/// The names a path consists of; none for the root itself.
fn components(path: &[u8]) -> Parsed<Vec<&[u8]>> {
    let why = if path.is_empty() {
        "has no name"
    } else if path.starts_with(b"/") {
        "has an absolute path, which is not taken in"
    } else if path.len() > PATH_BYTES_MAX {
        "has a path longer than 64 KiB"
    } else {
        let names = path.split(|&byte| byte == b'/');
        let names = names.filter(|name| !name.is_empty() && *name != b".");
        let names: Vec<_> = names.collect();
        match names.iter().find_map(|name| match *name {
            b".." => Some("has \"..\" in its path, which is not taken in"),
            name => name_fault(name),
        }) {
            Some(why) => why,
            None => return Ok(names),
        }
    };
    Err(why.to_owned())
}

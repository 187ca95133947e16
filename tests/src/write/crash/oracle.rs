//! What a crash may leave: the state after some operations, in the order they came.
//!
//! Names and attributes are journalled, so the tree found after recovery must be that after
//! exactly the first `k` operations, for some `k` no smaller than what had been made durable
//! and no larger than what had begun. Content goes to its place before the names and
//! attributes that come with it, so each byte of a file may be what the state after `k`
//! operations says, or what an operation begun later puts there; never anything else, and
//! never what the blocks held before they were the file's.

use std::ops::RangeInclusive;

use super::tree::{Node, Tree};
use super::volume::STALE;

/// What counts as a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Exactly that after so many operations.
    Exact,
    /// The same, but a file whose content the next operation changes may be halfway: it
    /// takes several changes, and each was made durable.
    ContentHalfway,
    /// Without a journal: what was durable and was not changed since is there.
    Durable,
}

/// The number of operations whose result the tree is.
///
/// # Errors
/// The differences from every state allowed.
pub fn find_state(
    found: &Tree,
    states: &[Tree],
    allowed: RangeInclusive<usize>,
    rule: Rule,
) -> Result<usize, String> {
    let last = *allowed.end();
    let mut complaints = Vec::new();
    if let Some(complaint) = stale_bytes(found) {
        return Err(complaint);
    }
    if rule == Rule::Durable {
        let states = states.get(allowed.clone()).unwrap_or(&[]);
        return match lost(found, states) {
            None => Ok(*allowed.start()),
            Some(complaint) => Err(complaint),
        };
    }
    // Latest first: mostly everything that was begun is there, or nothing is.
    for k in allowed.rev() {
        let halfway = match rule {
            Rule::ContentHalfway if k < last => states.get(k + 1),
            _ => None,
        };
        match difference(found, states, k, last, halfway) {
            None => return Ok(k),
            Some(complaint) => complaints.push(format!("not state {k}: {complaint}")),
        }
    }
    Err(complaints.join("\n"))
}

/// Why the tree is not the state after `k` operations; `None` if it is. Files that differ
/// from `halfway` may be on their way there.
fn difference(
    found: &Tree,
    states: &[Tree],
    k: usize,
    last: usize,
    halfway: Option<&Tree>,
) -> Option<String> {
    let expected = states.get(k)?;
    if let Some(difference) = names_difference(found, expected) {
        return Some(difference);
    }
    for (number, node) in &expected.nodes {
        let Some(seen) = found.nodes.get(number) else {
            return Some(format!("inode {number} is not there"));
        };
        let next = halfway.and_then(|next| same_inode(next, *number, node));
        if let Some(next) = next.filter(|next| *next != node) {
            if !is_halfway(seen, node, next) {
                return Some(format!(
                    "inode {number} is neither old, nor new, nor halfway"
                ));
            }
            continue;
        }
        if seen.attributes != node.attributes {
            return Some(format!(
                "inode {number}: {:?} instead of {:?}",
                seen.attributes, node.attributes
            ));
        }
        if seen.content == node.content {
            continue;
        }
        let later: Vec<&Node> = (k + 1..=last)
            .map_while(|state| same_inode(states.get(state)?, *number, node))
            .collect();
        if let Some(at) = unexplained_byte(&seen.content, node, &later) {
            return Some(format!(
                "inode {number}, byte {at}: {:#04x} instead of {:#04x}",
                seen.content.get(at).copied().unwrap_or(0),
                byte(node, at),
            ));
        }
    }
    None
}

/// The inode in a later state, if it is the same use of the number.
fn same_inode<'a>(state: &'a Tree, number: u32, node: &Node) -> Option<&'a Node> {
    let later = state.nodes.get(&number)?;
    (later.attributes.generation == node.attributes.generation).then_some(later)
}

/// True if a file may be on its way from one state to the next: what is no content is old or
/// new as a whole, and the content is made of both.
fn is_halfway(seen: &Node, old: &Node, new: &Node) -> bool {
    let plain = |node: &Node| {
        let mut attributes = node.attributes.clone();
        attributes.size_bytes = 0;
        attributes.times.0 = fs_core::Timestamp::default();
        attributes.times.1 = fs_core::Timestamp::default();
        attributes
    };
    let is_old_or_new = plain(seen) == plain(old) || plain(seen) == plain(new);
    // Blocks may be anywhere: each is a block of the old or of the new content, but for what
    // the operation zeroes at the edges.
    let is_known =
        |byte: &u8| *byte == 0 || old.content.contains(byte) || new.content.contains(byte);
    is_old_or_new && seen.content.iter().all(is_known)
}

fn byte(node: &Node, at: usize) -> u8 {
    node.content.get(at).copied().unwrap_or(0)
}

/// The first byte that neither the state nor a later one explains.
fn unexplained_byte(seen: &[u8], node: &Node, later: &[&Node]) -> Option<usize> {
    seen.iter().enumerate().position(|(at, &value)| {
        byte(node, at) != value && later.iter().all(|later| byte(later, at) != value)
    })
}

fn names_difference(found: &Tree, expected: &Tree) -> Option<String> {
    if found.names == expected.names {
        return None;
    }
    let show = |tree: &Tree| {
        let names = tree.names.iter();
        names
            .map(|(path, inode)| format!("{}={inode}", String::from_utf8_lossy(path)))
            .collect::<Vec<_>>()
            .join(" ")
    };
    Some(format!(
        "names [{}] instead of [{}]",
        show(found),
        show(expected)
    ))
}

/// A file that shows what free blocks held.
fn stale_bytes(found: &Tree) -> Option<String> {
    let (number, _) = found.nodes.iter().find(|(_, node)| {
        let windows = node.content.windows(16);
        windows
            .into_iter()
            .any(|window| window.iter().all(|&byte| byte == STALE))
    })?;
    Some(format!("inode {number} shows what free blocks held"))
}

/// The names that lead to an inode.
fn names_of(tree: &Tree, number: u32) -> Vec<&[u8]> {
    let names = tree.names.iter().filter(|(_, inode)| **inode == number);
    names.map(|(path, _)| path.as_slice()).collect()
}

/// What was the same in all these states, the first of them durable, and is not there.
fn lost(found: &Tree, states: &[Tree]) -> Option<String> {
    let (first, later) = states.split_first()?;
    for (path, number) in &first.names {
        let shown = String::from_utf8_lossy(path);
        // e2fsck puts there what an interrupted change left without a name.
        if shown == "/lost+found" {
            continue;
        }
        if later
            .iter()
            .any(|state| state.names.get(path) != Some(number))
        {
            continue;
        }
        if found.names.get(path) != Some(number) {
            return Some(format!("{shown} is gone"));
        }
        let old = first.nodes.get(number)?;
        if later
            .iter()
            .any(|state| state.nodes.get(number) != Some(old))
        {
            continue;
        }
        let Some(seen) = found.nodes.get(number) else {
            return Some(format!("{shown} leads nowhere"));
        };
        // What has moved may be in both places, and e2fsck counts both.
        let has_moved = later
            .iter()
            .any(|state| names_of(state, *number) != names_of(first, *number));
        let mut expected = old.clone();
        if has_moved {
            expected.attributes.links = seen.attributes.links;
        }
        if *seen != expected {
            return Some(format!("{shown} is {seen:?} instead of {old:?}"));
        }
    }
    None
}

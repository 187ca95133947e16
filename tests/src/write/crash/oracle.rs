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

/// Why the tree is not the state after `k` operations; `None` if it is.
fn difference(found: &Tree, states: &[Tree], k: usize, last: usize) -> Option<String> {
    let expected = states.get(k)?;
    if let Some(difference) = names_difference(found, expected) {
        return Some(difference);
    }
    for (number, node) in &expected.nodes {
        let Some(seen) = found.nodes.get(number) else {
            return Some(format!("inode {number} is not there"));
        };
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

/// The number of operations whose result the tree is.
///
/// # Errors
/// The differences from every state allowed.
pub fn find_state(
    found: &Tree,
    states: &[Tree],
    allowed: RangeInclusive<usize>,
) -> Result<usize, String> {
    let last = *allowed.end();
    let mut complaints = Vec::new();
    // Latest first: mostly everything that was begun is there, or nothing is.
    for k in allowed.rev() {
        match difference(found, states, k, last) {
            None => return Ok(k),
            Some(complaint) => complaints.push(format!("not state {k}: {complaint}")),
        }
    }
    Err(complaints.join("\n"))
}

//! Looking up in an extent tree.

use std::ops::Range;
use std::sync::Arc;

use crate::cache::{Block, Role, RoleKind};
use crate::error::{Error, Result};
use crate::format::extent::{self, Extent, Node, RawExtent, RawIndex};
use crate::format::inode::Inode;
use crate::mapping::FILE_BLOCKS_MAX;
use crate::run::{ExtentState, MappedExtent, hole};
use crate::store::Store;
use crate::types::{FileBlock, FsBlock};

/// A run, and the range of file blocks whose records were looked at for it.
pub(super) struct Seen {
    pub(super) run: MappedExtent,
    pub(super) window: Range<u64>,
}

/// What a node says of a block: an answer, or where to look next.
enum Step {
    Found(Seen),
    Descend {
        child: FsBlock,
        depth: u16,
        window: Range<u64>,
    },
}

/// How a leaf's entries answer for a block, given the range the leaf answers for.
type InLeaf = fn(&[RawExtent], &Range<u64>, FileBlock) -> MappedExtent;

/// Finds the extent or hole around `block`, from its start.
pub(super) fn whole(store: &Store, inode: &Inode, block: FileBlock) -> Result<MappedExtent> {
    find(store, inode, block, in_leaf).map(|seen| seen.run)
}

/// The same with what continues it on both sides in the same leaf.
pub(super) fn whole_in_leaf(store: &Store, inode: &Inode, block: FileBlock) -> Result<Seen> {
    find(store, inode, block, merged_in_leaf)
}

fn find(store: &Store, inode: &Inode, block: FileBlock, in_leaf: InLeaf) -> Result<Seen> {
    let number = inode.number();
    let name = format_args!("extent tree root of inode {number}");
    let root = inode.block_area();
    inode.check_root(|root| extent::check(&store.superblock, &name, None, root, None))?;
    let whole = 0..FILE_BLOCKS_MAX;
    let mut step = look(&name, None, extent::view(root), whole, block, in_leaf)?;
    // The depth falls by one a level, checked against each node's own word.
    loop {
        let (child, depth, window) = match step {
            Step::Found(seen) => return Ok(seen),
            Step::Descend {
                child,
                depth,
                window,
            } => (child, depth, window),
        };
        let structure = format_args!("extent node of inode {number}");
        let node = load(store, inode, child, depth)?;
        step = look(
            &structure,
            Some(child),
            extent::view(node.bytes()),
            window,
            block,
            in_leaf,
        )?;
    }
}

/// A checked node below the root.
pub(super) fn load(store: &Store, inode: &Inode, block: FsBlock, depth: u16) -> Result<Arc<Block>> {
    store.cache.get(block, role(inode, depth), |bytes| {
        let structure = format_args!("extent node of inode {}", inode.number());
        extent::check(
            &store.superblock,
            &structure,
            Some(block),
            bytes,
            Some(depth),
        )?;
        match store.seed_for(inode) {
            Some(seed) => extent::check_checksum(&structure, seed, block, bytes),
            None => Ok(()),
        }
    })
}

/// What a node below the root is in the cache.
pub(super) fn role(inode: &Inode, depth: u16) -> Role {
    Role::of_inode(RoleKind::ExtentNode, inode.number(), depth.min(255) as u8)
}

/// One level. `window` is the range of file blocks the node answers for.
fn look(
    structure: &dyn std::fmt::Display,
    at: Option<FsBlock>,
    node: Option<Node<'_>>,
    window: Range<u64>,
    block: FileBlock,
    in_leaf: InLeaf,
) -> Result<Step> {
    match node {
        Some(node) => {
            check_window(structure, at, &window, &node)?;
            Ok(match node {
                Node::Leaf(entries) => {
                    let run = in_leaf(entries, &window, block);
                    Step::Found(Seen { run, window })
                }
                Node::Index { depth, entries } => in_index(entries, depth, window, block),
            })
        }
        None => Err(Error::corrupt(structure, at, "an extent node", "none")),
    }
}

/// A child may not speak for blocks its parent gave to others.
pub(super) fn check_window(
    structure: &dyn std::fmt::Display,
    at: Option<FsBlock>,
    window: &Range<u64>,
    node: &Node<'_>,
) -> Result<()> {
    let (first, end) = match node {
        Node::Leaf(entries) => (
            entries.first().map(RawExtent::first),
            entries.last().map(RawExtent::end),
        ),
        Node::Index { entries, .. } => (
            entries.first().map(RawIndex::key),
            entries.last().map(|index| index.key() + 1),
        ),
    };
    let inside =
        first.is_none_or(|first| first >= window.start) && end.is_none_or(|end| end <= window.end);
    if inside {
        return Ok(());
    }
    Err(Error::corrupt(
        structure,
        at,
        format_args!("file blocks {} to {}", window.start, window.end - 1),
        format_args!(
            "file blocks {} to {}",
            first.unwrap_or(0),
            end.unwrap_or(1).saturating_sub(1)
        ),
    ))
}

fn in_leaf(entries: &[RawExtent], window: &Range<u64>, block: FileBlock) -> MappedExtent {
    let after = entries.partition_point(|entry| entry.first() <= block.0);
    let before = after.checked_sub(1).and_then(|index| entries.get(index));
    if let Some(extent) = before.map(RawExtent::typed)
        && block.0 < extent.end()
    {
        return mapped(&extent);
    }
    let start = before.map_or(window.start, RawExtent::end);
    let end = entries.get(after).map_or(window.end, RawExtent::first);
    hole(FileBlock(start), end - start)
}

fn merged_in_leaf(entries: &[RawExtent], window: &Range<u64>, block: FileBlock) -> MappedExtent {
    let mut run = in_leaf(entries, window, block);
    if run.state == ExtentState::Hole {
        return run;
    }
    let after = entries.partition_point(|entry| entry.first() <= block.0);
    let (before, behind) = entries.split_at(after);
    let all = |entry: &RawExtent| mapped(&entry.typed());
    behind.iter().map(all).all(|next| run.merge(&next));
    // The last of them is the one with the block.
    for mut earlier in before.iter().rev().skip(1).map(all) {
        if !earlier.merge(&run) {
            break;
        }
        run = earlier;
    }
    run
}

fn in_index(entries: &[RawIndex], depth: u16, window: Range<u64>, block: FileBlock) -> Step {
    let key = RawIndex::key;
    let after = entries.partition_point(|entry| key(entry) <= block.0);
    let Some(index) = after.checked_sub(1).and_then(|at| entries.get(at)) else {
        // Before the first key there is nothing.
        let end = entries.first().map_or(window.end, key);
        let run = hole(FileBlock(window.start), end - window.start);
        let window = window.start..end;
        return Step::Found(Seen { run, window });
    };
    let end = entries.get(after).map_or(window.end, key);
    Step::Descend {
        child: index.leaf(),
        depth: depth - 1,
        window: key(index)..end,
    }
}

pub(super) fn mapped(extent: &Extent) -> MappedExtent {
    MappedExtent {
        file_block: extent.file_block,
        len_blocks: extent.len_blocks,
        state: if extent.unwritten {
            ExtentState::Unwritten(extent.start)
        } else {
            ExtentState::Written(extent.start)
        },
    }
}

/// The same in a sorted list without holes recorded.
pub(super) fn whole_in_list(list: &[MappedExtent], block: FileBlock) -> MappedExtent {
    let after = list.partition_point(|extent| extent.file_block <= block);
    match after.checked_sub(1).and_then(|index| list.get(index)) {
        Some(extent) if block < extent.end() => *extent,
        before => {
            let start = before.map_or(0, |before| before.end().0);
            let end = list
                .get(after)
                .map_or(FILE_BLOCKS_MAX, |next| next.file_block.0);
            hole(FileBlock(start), end.saturating_sub(start).max(1))
        }
    }
}

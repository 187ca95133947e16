//! Looking up in a hashed directory: down the index to the one leaf that can
//! hold the name, and on to the next leaves while the hash goes on there.

use std::sync::Arc;

use crate::cache::{Block, Role, RoleKind};
use crate::directory::{blocks, rules};
use crate::error::{Error, Result};
use crate::format::directory_block;
use crate::format::features::{IncompatFeatures, RoCompatFeatures};
use crate::format::hash::Hasher;
use crate::format::htree::{self, Kind};
use crate::format::inode::Inode;
use crate::store::Store;
use crate::types::{FileBlock, InodeNumber};

/// Index levels below the root, without and with large_dir.
const LEVELS_MAX: u8 = 1;
const LEVELS_MAX_LARGE: u8 = 2;

/// One index block on the way down, and the pair taken there.
struct Step {
    node: Arc<Block>,
    kind: Kind,
    taken: usize,
}

/// What `name` names. The outer `None` says that the index cannot answer (a
/// hash this program cannot compute, or a name the index does not cover).
pub(super) fn lookup(
    store: &Store,
    directory: &Inode,
    name: &[u8],
) -> Result<Option<Option<InodeNumber>>> {
    if name == b"." || name == b".." {
        return Ok(None); // They stand in the root, not in the index.
    }
    let root = load(store, directory, FileBlock(0), Kind::Root)?;
    let Some(info) = htree::root_info(root.bytes()) else {
        return Ok(None);
    };
    let superblock = &store.superblock;
    let unsigned = superblock.hash_is_unsigned();
    let Some(hasher) = Hasher::new(info.hash_version, unsigned, superblock.hash_seed) else {
        return Ok(None);
    };
    let hash = hasher.hash(name);
    let mut path = vec![take(root, Kind::Root, hash)];
    let mut leaf = descend(
        store,
        directory,
        &mut path,
        info.indirect_levels,
        Some(hash),
    )?;
    // No leaf has two pairs, so a walk over more leaves than the directory has
    // blocks goes in circles.
    for _ in 0..blocks::count(store, directory)? {
        if let Some(inode) = search(store, directory, leaf, name)? {
            return Ok(Some(Some(inode)));
        }
        if !advance(&mut path, hash) {
            return Ok(Some(None));
        }
        leaf = descend(store, directory, &mut path, info.indirect_levels, None)?;
    }
    Err(Error::corrupt(
        format_args!("hash tree of {}", blocks::name_of(directory)),
        None,
        "every leaf once",
        "more leaves than blocks",
    ))
}

fn levels_max(store: &Store) -> u8 {
    if store.superblock.has_incompat(IncompatFeatures::LARGEDIR) {
        LEVELS_MAX_LARGE
    } else {
        LEVELS_MAX
    }
}

fn load(store: &Store, directory: &Inode, block: FileBlock, kind: Kind) -> Result<Arc<Block>> {
    let place = blocks::place(store, directory, block)?;
    let level = u8::from(kind == Kind::Root);
    let role = Role::of_inode(RoleKind::DirectoryIndex, directory.number(), level);
    store.cache.get(place, role, |bytes| {
        let name = format!("hash tree of directory {}", directory.number());
        let seed = store.seed_for(directory);
        htree::check(&name, place, bytes, kind, levels_max(store), seed)
    })
}

/// Takes the last pair whose hash is not above `hash`.
fn take(node: Arc<Block>, kind: Kind, hash: u32) -> Step {
    let pairs = htree::pairs(node.bytes(), kind).get(1..).unwrap_or(&[]);
    let taken = pairs.partition_point(|pair| pair.hash.get() <= hash);
    Step { node, kind, taken }
}

impl Step {
    fn pair(&self) -> Option<&htree::RawIndexEntry> {
        htree::pairs(self.node.bytes(), self.kind).get(self.taken)
    }
}

/// Follows the pairs down from the end of `path` to a leaf; by `hash`, or
/// along the left edge.
fn descend(
    store: &Store,
    directory: &Inode,
    path: &mut Vec<Step>,
    levels: u8,
    hash: Option<u32>,
) -> Result<FileBlock> {
    let blocks_count = blocks::count(store, directory)?;
    loop {
        let Some(pair) = path.last().and_then(Step::pair) else {
            return Err(Error::corrupt(
                blocks::name_of(directory),
                None,
                "an index pair",
                "none",
            ));
        };
        let block = pair.file_block();
        if block.0 == 0 || block.0 >= blocks_count {
            return Err(Error::corrupt(
                format!("hash tree of {}", blocks::name_of(directory)),
                None,
                format_args!("blocks 1 to {}", blocks_count.saturating_sub(1)),
                block,
            ));
        }
        if path.len() > usize::from(levels) {
            return Ok(block);
        }
        let node = load(store, directory, block, Kind::Node)?;
        path.push(take(node, Kind::Node, hash.unwrap_or(0)));
    }
}

/// Moves to the next leaf's pair if names of this hash go on there, which the
/// lowest bit of that pair's hash says.
fn advance(path: &mut Vec<Step>, hash: u32) -> bool {
    while let Some(step) = path.last_mut() {
        step.taken += 1;
        match step.pair() {
            Some(pair) => return pair.hash.get() == hash | 1,
            None => {
                path.pop();
            }
        }
    }
    false
}

fn search(
    store: &Store,
    directory: &Inode,
    leaf: FileBlock,
    name: &[u8],
) -> Result<Option<InodeNumber>> {
    let block = blocks::load(store, directory, leaf)?;
    let has_tail = store
        .superblock
        .has_ro_compat(RoCompatFeatures::METADATA_CSUM);
    let area = directory_block::records_area(block.bytes(), has_tail);
    for entry in directory_block::entries(area, 0, rules(store)) {
        let entry = entry.map_err(|bad| bad.into_error(&blocks::name_of(directory), None))?;
        if entry.name == name {
            return Ok(Some(entry.inode));
        }
    }
    Ok(None)
}

//! Looking up in a hashed directory: down the index to the one leaf that can
//! hold the name, and on to the next leaves while the hash goes on there.

use std::sync::Arc;

use crate::cache::{Block, Role, RoleKind};
use crate::directory::blocks;
use crate::error::{Error, Result};
use crate::format::directory_block;
use crate::format::directory_records;
use crate::format::features::IncompatFeatures;
use crate::format::hash::Hasher;
use crate::format::htree::{self, Kind};
use crate::format::inode::Inode;
use crate::store::Store;
use crate::types::{FileBlock, FsBlock, InodeNumber};

/// Index levels below the root, without and with large_dir.
const LEVELS_MAX: u8 = 1;
const LEVELS_MAX_LARGE: u8 = 2;

/// One index block on the way down, and the pair taken there.
pub(super) struct Step {
    pub(super) block: FileBlock,
    pub(super) node: Arc<Block>,
    pub(super) kind: Kind,
    pub(super) taken: usize,
}

impl Step {
    fn new(block: FileBlock, node: Arc<Block>, kind: Kind, hash: Option<u32>) -> Self {
        let mut step = Self {
            block,
            node,
            kind,
            taken: 0,
        };
        step.take(hash);
        step
    }

    /// Takes the last pair whose hash is not above `hash`, or the first one.
    fn take(&mut self, hash: Option<u32>) {
        self.taken = hash.map_or(0, |hash| {
            let pairs = self.pairs().get(1..).unwrap_or(&[]);
            pairs.partition_point(|pair| pair.hash.get() <= hash)
        });
    }

    pub(super) fn pairs(&self) -> &[htree::RawIndexEntry] {
        htree::pairs(self.node.bytes(), self.kind)
    }
}

/// The index of a hashed directory, and the way to one of its leaves.
pub(super) struct Tree<'a> {
    store: &'a Store,
    directory: &'a Inode,
    hasher: Hasher,
    levels: u8,
    blocks_count: u64,
    /// From the root down.
    path: Vec<Step>,
}

impl<'a> Tree<'a> {
    /// Reads the root. `None` if it names a hash this program cannot compute.
    pub(super) fn open(store: &'a Store, directory: &'a Inode) -> Result<Option<Self>> {
        let root = load(store, directory, FileBlock(0), Kind::Root)?;
        let Some(info) = htree::root_info(root.bytes()) else {
            return Ok(None);
        };
        let superblock = &store.superblock;
        let unsigned = superblock.hash_is_unsigned();
        let Some(hasher) = Hasher::new(info.hash_version, unsigned, superblock.hash_seed) else {
            return Ok(None);
        };
        let mut path = Vec::with_capacity(usize::from(LEVELS_MAX_LARGE) + 1);
        path.push(Step::new(FileBlock(0), root, Kind::Root, None));
        Ok(Some(Self {
            store,
            directory,
            hasher,
            levels: info.indirect_levels,
            blocks_count: blocks::count(store, directory)?,
            path,
        }))
    }

    /// The hash function the root names.
    pub(super) fn hasher(&self) -> &Hasher {
        &self.hasher
    }

    /// The index blocks on the way to the leaf, the root first.
    pub(super) fn path(&self) -> &[Step] {
        &self.path
    }

    /// The directory's length: no leaf has two pairs, so a walk over more leaves goes in
    /// circles.
    pub(super) fn blocks_count(&self) -> u64 {
        self.blocks_count
    }

    /// True if the index has as many levels as it may have.
    pub(super) fn is_highest(&self) -> bool {
        self.levels >= levels_max(self.store)
    }

    /// Index levels below the root.
    pub(super) fn levels(&self) -> u8 {
        self.levels
    }

    /// Goes to the first leaf that can hold names of this hash.
    pub(super) fn seek(&mut self, hash: u32) -> Result<FileBlock> {
        self.path.truncate(1);
        if let Some(root) = self.path.last_mut() {
            root.take(Some(hash));
        }
        self.descend(Some(hash))
    }

    /// The hash in the next leaf's pair. Its lowest bit says that names of the hash before
    /// go on there.
    pub(super) fn next_hash(&self) -> Option<u32> {
        let next = |step: &Step| step.pairs().get(step.taken + 1).map(|pair| pair.hash.get());
        self.path.iter().rev().find_map(next)
    }

    /// The hash in the pair of this leaf; 0 for the first one.
    pub(super) fn hash(&self) -> u32 {
        let taken = |step: &Step| {
            let pair = step.pairs().get(step.taken)?;
            (step.taken > 0).then_some(pair.hash.get())
        };
        self.path.iter().rev().find_map(taken).unwrap_or(0)
    }

    /// Goes to the next leaf, if there is one.
    pub(super) fn advance(&mut self) -> Result<Option<FileBlock>> {
        while let Some(step) = self.path.last_mut() {
            step.taken += 1;
            if step.taken < step.pairs().len() {
                return self.descend(None).map(Some);
            }
            self.path.pop();
        }
        Ok(None)
    }

    /// Follows the pairs down from the end of the path to a leaf; by `hash`, or along the
    /// left edge.
    fn descend(&mut self, hash: Option<u32>) -> Result<FileBlock> {
        loop {
            let pair = self
                .path
                .last()
                .and_then(|step| step.pairs().get(step.taken));
            let Some(block) = pair.map(htree::RawIndexEntry::file_block) else {
                return Err(self.damaged("an index pair", "none"));
            };
            if block.0 == 0 || block.0 >= self.blocks_count {
                let expected = format_args!("blocks 1 to {}", self.blocks_count.saturating_sub(1));
                return Err(self.damaged(expected, block));
            }
            if self.path.len() > usize::from(self.levels) {
                return Ok(block);
            }
            let node = load(self.store, self.directory, block, Kind::Node)?;
            self.path.push(Step::new(block, node, Kind::Node, hash));
        }
    }

    /// The index contradicts itself.
    pub(super) fn damaged(
        &self,
        expected: impl std::fmt::Display,
        found: impl std::fmt::Display,
    ) -> Error {
        let structure = format_args!("hash tree of {}", blocks::name_of(self.directory));
        Error::corrupt(structure, None, expected, found)
    }

    /// A leaf, checked not to be an index block.
    pub(super) fn leaf(&self, block: FileBlock) -> Result<Arc<Block>> {
        let leaf = blocks::load(self.store, self.directory, block)?;
        let has_tail = self.store.superblock.has_metadata_csum();
        if has_tail && htree::looks_like_node(leaf.bytes()) {
            return Err(self.damaged("a leaf", format_args!("an index block, {block}")));
        }
        Ok(leaf)
    }

    /// The part of a leaf that holds records.
    pub(super) fn area<'b>(&self, leaf: &'b Block) -> &'b [u8] {
        directory_block::records_area(leaf.bytes(), self.store.superblock.has_metadata_csum())
    }
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
    let Some(mut tree) = Tree::open(store, directory)? else {
        return Ok(None);
    };
    let hash = tree.hasher.hash(name);
    let mut leaf = tree.seek(hash)?;
    for _ in 0..tree.blocks_count {
        let block = tree.leaf(leaf)?;
        if let Some(inode) = directory_records::find(tree.area(&block), name) {
            return Ok(Some(Some(inode)));
        }
        if tree.next_hash() != Some(hash | 1) {
            return Ok(Some(None));
        }
        match tree.advance()? {
            Some(next) => leaf = next,
            None => return Ok(Some(None)),
        }
    }
    Err(tree.damaged("every leaf once", "more leaves than blocks"))
}

fn levels_max(store: &Store) -> u8 {
    if store.superblock.has_incompat(IncompatFeatures::LARGEDIR) {
        LEVELS_MAX_LARGE
    } else {
        LEVELS_MAX
    }
}

/// What an index block is read as.
pub(super) fn role(directory: &Inode, kind: Kind) -> Role {
    let level = u8::from(kind == Kind::Root);
    Role::of_inode(RoleKind::DirectoryIndex, directory.number(), level)
}

/// The check of an index block.
pub(super) fn check(
    store: &Store,
    directory: &Inode,
    place: FsBlock,
    kind: Kind,
    bytes: &[u8],
) -> Result<()> {
    let name = format_args!("hash tree of directory {}", directory.number());
    let seed = store.seed_for(directory);
    htree::check(&name, place, bytes, kind, levels_max(store), seed)
}

fn load(store: &Store, directory: &Inode, block: FileBlock, kind: Kind) -> Result<Arc<Block>> {
    let place = blocks::place(store, directory, block)?;
    store.cache.get(place, role(directory, kind), |bytes| {
        check(store, directory, place, kind, bytes)
    })
}

//! Growing hashed directories: a linear directory gets an index, a full leaf is split in
//! two, a full index block too, and when the root is full the tree gets a level more.
//!
//! A leaf is split at half of its bytes in the order of the hashes. If one hash lies on
//! both sides, the new pair has its lowest bit set, and who looks for a name of that hash
//! goes on to the new leaf.

use crate::change::Change;
use crate::directory::hashed::{self, Step, Tree};
use crate::directory::{append, blocks, leaf};
use crate::error::{Error, ErrorKind, Result};
use crate::format::directory_records::{self as records, Record};
use crate::format::features::IncompatFeatures;
use crate::format::hash::Hasher;
use crate::format::htree::{self, Kind, RootFields};
use crate::format::inode::Inode;
use crate::format::inode_flags::InodeFlags;
use crate::store::Store;
use crate::types::{FileBlock, InodeNumber};

/// One index block is split in each round, from the root down.
const ROUNDS_MAX: u32 = 8;

/// Records in the order of their hashes, in two halves.
struct Halves<'a> {
    records: Vec<(u32, Record<'a>)>,
    cut: usize,
}

impl<'a> Halves<'a> {
    fn new(hasher: &Hasher, records: impl IntoIterator<Item = Record<'a>>) -> Self {
        let mut records: Vec<_> = records
            .into_iter()
            .map(|record| (hasher.hash(record.name), record))
            .collect();
        records.sort_by_key(|(hash, _)| *hash);
        let cut = cut(records.iter().map(|(_, record)| record.bytes()));
        Self { records, cut }
    }

    fn low(&self) -> impl Iterator<Item = Record<'a>> {
        self.records
            .iter()
            .take(self.cut)
            .map(|(_, record)| *record)
    }

    fn high(&self) -> impl Iterator<Item = Record<'a>> {
        self.records
            .iter()
            .skip(self.cut)
            .map(|(_, record)| *record)
    }

    /// The hash of the upper half's pair.
    fn hash(&self) -> u32 {
        let at = |index: usize| self.records.get(index).map_or(0, |(hash, _)| *hash);
        let first = at(self.cut);
        first | u32::from(self.cut > 0 && at(self.cut - 1) == first)
    }

    /// Lowest and highest hash.
    fn range(&self) -> Option<(u32, u32)> {
        Some((self.records.first()?.0, self.records.last()?.0))
    }
}

/// How many of these sizes make the first half: the more even, the better.
fn cut(sizes: impl Iterator<Item = usize> + Clone) -> usize {
    let total: usize = sizes.clone().sum();
    let mut before = 0;
    sizes
        .take_while(|size| {
            let is_low = before + size / 2 < total / 2;
            before += size;
            is_low
        })
        .count()
}

/// Turns a directory of one block, which is full, into a hashed one, and adds a name.
pub(super) fn convert(
    change: &mut Change<'_>,
    number: InodeNumber,
    record: &Record<'_>,
) -> Result<()> {
    let store = change.store();
    let superblock = &store.superblock;
    let directory = change.inode(number)?;
    let root = FileBlock(0);
    let loaded = blocks::load(store, &directory, root)?;
    let mut names = records::records(blocks::records(store, &directory, root, loaded.bytes()));
    let parent = match (names.next(), names.next()) {
        (Some(own), Some(parent)) if own.name == b"." && parent.name == b".." => parent.inode,
        _ => return Err(blocks::damaged(&directory, root, "\".\" and \"..\" first")),
    };
    let hasher = crate::encode::name_hasher(superblock).ok_or(ErrorKind::NotSupported(
        "the hash of directories cannot be computed",
    ))?;
    let halves = Halves::new(&hasher, names.chain([*record]));
    let low = append_leaf(change, number, halves.low())?;
    let high = append_leaf(change, number, halves.high())?;
    let fields = RootFields {
        directory: number,
        parent,
        has_types: superblock.has_incompat(IncompatFeatures::FILETYPE),
        hash_version: superblock.default_hash_version,
        indirect_levels: 0,
    };
    let bytes = htree::encode_root(
        &fields,
        &[(0, low), (halves.hash(), high)],
        superblock.block_bytes as usize,
        store.seed_for(&directory),
    )?;
    let directory = change.inode(number)?;
    let place = blocks::place(store, &directory, root)?;
    let role = hashed::role(&directory, Kind::Root);
    change.create(place, role, bytes.into_boxed_slice());
    let flags = directory.flags() | InodeFlags::INDEX;
    change.edit_inode(number, |edit| edit.set_flags(flags))?;
    Ok(())
}

fn append_leaf<'a>(
    change: &mut Change<'_>,
    number: InodeNumber,
    records: impl IntoIterator<Item = Record<'a>>,
) -> Result<FileBlock> {
    let directory = change.inode(number)?;
    let block = append::next(change.store(), &directory)?;
    let bytes = leaf::packed(change.store(), &directory, block, records)?;
    append::append(change, number, blocks::role(&directory, block), bytes)
}

/// Adds a name of this hash whose leaf is full.
pub(super) fn add(
    change: &mut Change<'_>,
    number: InodeNumber,
    hash: u32,
    record: &Record<'_>,
) -> Result<()> {
    let store = change.store();
    for _ in 0..ROUNDS_MAX {
        let directory = change.inode(number)?;
        let (tree, block) = seek(store, &directory, hash)?;
        if has_room(store, tree.path().last()) {
            return split_leaf(change, &tree, block, &directory, record);
        }
        grow_index(change, &tree, &directory)?;
    }
    Err(Error::corrupt(
        format_args!("hash tree of directory {number}"),
        None,
        "room after splits",
        "none",
    ))
}

fn seek<'a>(store: &'a Store, directory: &'a Inode, hash: u32) -> Result<(Tree<'a>, FileBlock)> {
    let mut tree = Tree::open(store, directory)?
        .ok_or_else(|| blocks::damaged(directory, FileBlock(0), "a hash tree root"))?;
    let block = tree.seek(hash)?;
    Ok((tree, block))
}

fn has_room(store: &Store, step: Option<&Step>) -> bool {
    let block_bytes = store.superblock.block_bytes as usize;
    let has_checksum = store.superblock.has_metadata_csum();
    step.is_some_and(|step| {
        step.pairs().len() < htree::capacity(step.kind, block_bytes, has_checksum)
    })
}

fn split_leaf(
    change: &mut Change<'_>,
    tree: &Tree<'_>,
    block: FileBlock,
    directory: &Inode,
    record: &Record<'_>,
) -> Result<()> {
    let bytes = tree.leaf(block)?;
    let names = records::records(tree.area(&bytes)).chain([*record]);
    let halves = Halves::new(tree.hasher(), names);
    let bounds = (tree.hash() & !1)
        ..=tree
            .next_hash()
            .map_or(u32::MAX, |next| next.saturating_sub(1));
    if let Some((lowest, highest)) = halves.range()
        && !(bounds.contains(&lowest) && bounds.contains(&highest))
    {
        return Err(tree.damaged(
            format_args!("hashes from {:#x} to {:#x}", bounds.start(), bounds.end()),
            format_args!("{lowest:#x} to {highest:#x} in block {block}"),
        ));
    }
    let high = append_leaf(change, directory.number(), halves.high())?;
    leaf::rewrite(change, directory, block, halves.low())?;
    let Some(step) = tree.path().last() else {
        return Err(tree.damaged("a root", "none"));
    };
    insert_pair(change, directory, step, halves.hash(), high)
}

/// Makes the index one block larger on the way to a leaf.
fn grow_index(change: &mut Change<'_>, tree: &Tree<'_>, directory: &Inode) -> Result<()> {
    let path = tree.path();
    let store = change.store();
    let pairs = path.windows(2).rev().find_map(|pair| match pair {
        [above, below] if has_room(store, Some(above)) => Some((above, below)),
        _ => None,
    });
    match (pairs, path.first()) {
        (Some((above, below)), _) => split_node(change, directory, above, below),
        (None, Some(root)) if !tree.is_highest() => {
            add_level(change, directory, root, tree.levels())
        }
        _ => Err(Error::from(ErrorKind::NoSpace).context("the directory's index is full")),
    }
}

/// Moves the upper half of the pairs of `below` to a new block beside it.
fn split_node(
    change: &mut Change<'_>,
    directory: &Inode,
    above: &Step,
    below: &Step,
) -> Result<()> {
    let pairs = decoded(below);
    let (low, high) = pairs.split_at_checked(pairs.len() / 2).unwrap_or_default();
    let Some((hash, _)) = high.first() else {
        return Err(blocks::damaged(directory, below.block, "pairs"));
    };
    let new = append_node(change, directory, high)?;
    set_pairs(change, directory, below, low, None)?;
    insert_pair(change, directory, above, *hash, new)
}

/// Moves all pairs of the root to a new block below it.
fn add_level(change: &mut Change<'_>, directory: &Inode, root: &Step, levels: u8) -> Result<()> {
    let new = append_node(change, directory, &decoded(root))?;
    set_pairs(change, directory, root, &[(0, new)], Some(levels + 1))
}

fn append_node(
    change: &mut Change<'_>,
    directory: &Inode,
    pairs: &[(u32, FileBlock)],
) -> Result<FileBlock> {
    let store = change.store();
    let block_bytes = store.superblock.block_bytes as usize;
    let bytes = htree::encode_node(pairs, block_bytes, store.seed_for(directory))?;
    let role = hashed::role(directory, Kind::Node);
    append::append(change, directory.number(), role, bytes.into_boxed_slice())
}

/// Inserts a pair behind the one taken.
fn insert_pair(
    change: &mut Change<'_>,
    directory: &Inode,
    step: &Step,
    hash: u32,
    child: FileBlock,
) -> Result<()> {
    let mut pairs = decoded(step);
    let at = (step.taken + 1).min(pairs.len());
    pairs.insert(at, (hash, child));
    set_pairs(change, directory, step, &pairs, None)
}

fn set_pairs(
    change: &mut Change<'_>,
    directory: &Inode,
    step: &Step,
    pairs: &[(u32, FileBlock)],
    levels: Option<u8>,
) -> Result<()> {
    let store = change.store();
    let place = blocks::place(store, directory, step.block)?;
    change.modify(
        place,
        hashed::role(directory, step.kind),
        |bytes| hashed::check(store, directory, place, step.kind, bytes),
        |bytes| {
            if let Some(levels) = levels {
                htree::set_levels(bytes, levels);
            }
            htree::set_pairs(bytes, step.kind, pairs, store.seed_for(directory))
        },
    )
}

/// The pairs of an index block; the hash of the first means nothing.
fn decoded(step: &Step) -> Vec<(u32, FileBlock)> {
    let pairs = step.pairs().iter();
    pairs.map(|p| (p.hash.get(), p.file_block())).collect()
}

//! Listing in the order of the hashes, so that a reader finds its place again whatever
//! happened to the blocks in between: a name's cookie depends on the name alone. Names
//! that are there from the first call to the last are seen exactly once, whether leaves
//! are split, or the directory moves from its inode to a block or gets an index.
//!
//! A cookie has, from the top: a zero, 31 bits of the hash (its lowest bit is always 0), 24
//! bits that tell names of one hash apart, and the name's rank among those that are equal
//! in all of this. Only that rank may change while a reader pauses, and names that differ
//! in nothing but the rank have to be sought with effort. 1 stands behind ".", 2 behind
//! "..".
//!
//! Which directories are listed so is decided as Linux does it: those with an index, and
//! those of one block or none, which may get one.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::cache::Block;
use crate::directory::hashed::Tree;
use crate::directory::{
    DirEntry, Visit, blocks, inline, is_casefolded, is_hashed, linear_edit, rules,
};
use crate::encode::name_hasher;
use crate::error::Result;
use crate::format::directory_block::{self, Entry};
use crate::format::hash::Hasher;
use crate::format::inode::Inode;
use crate::store::Store;
use crate::types::{FileBlock, FileType, InodeNumber};

const BEHIND_DOT: u64 = 1;
const BEHIND_DOT_DOT: u64 = 2;
/// The first rank.
const RANK: u64 = 3;
const RANK_MAX: u64 = 0xFF;
/// Names of one hash fill so many bytes of leaves at most.
const CHAIN_BYTES_MAX: u64 = 64 << 20;

/// How a directory's names are ordered.
pub(super) enum Order<'a> {
    /// By hash, the directory having at most one block.
    Small(Hasher),
    /// By hash, through the index.
    Indexed(Box<Tree<'a>>),
    /// By place.
    Linear,
}

/// Says how a directory is listed.
pub(super) fn of<'a>(store: &'a Store, directory: &'a Inode) -> Result<Order<'a>> {
    if is_casefolded(store, directory) {
        return Ok(Order::Linear);
    }
    if is_hashed(store, directory) {
        return match Tree::open(store, directory) {
            Ok(Some(tree)) => Ok(Order::Indexed(Box::new(tree))),
            Ok(None) => Ok(Order::Linear),
            // The blocks can be read all the same.
            Err(error) if error.is_corruption() => Ok(Order::Linear),
            Err(error) => Err(error),
        };
    }
    let block_bytes = u64::from(store.superblock.block_bytes);
    let is_small = directory.has_inline_data() || directory.size_bytes() == block_bytes;
    let hasher = name_hasher(&store.superblock);
    match hasher.filter(|_| is_small && linear_edit::can_be_hashed(store)) {
        Some(hasher) => Ok(Order::Small(hasher)),
        None => Ok(Order::Linear),
    }
}

/// A name and what it is ordered by.
struct Keyed<'a> {
    key: u64,
    name: &'a [u8],
    inode: InodeNumber,
    file_type: Option<FileType>,
}

impl<'a> Keyed<'a> {
    fn new(hasher: &Hasher, entry: &Entry<'a>) -> Self {
        let key = match entry.name {
            b"." => BEHIND_DOT,
            b".." => BEHIND_DOT_DOT,
            name => {
                let (hash, minor) = hasher.hash_and_minor(name);
                u64::from(hash >> 1) << 32 | u64::from(minor & !0xFF)
            }
        };
        Self {
            key,
            name: entry.name,
            inode: entry.inode,
            file_type: entry.file_type,
        }
    }

    fn own(name: &'static [u8], inode: InodeNumber, key: u64) -> Self {
        Self {
            key,
            name,
            inode,
            file_type: Some(FileType::Directory),
        }
    }

    fn is_own(&self) -> bool {
        self.key == BEHIND_DOT || self.key == BEHIND_DOT_DOT
    }
}

/// Visits the names behind `cookie` of a directory of at most one block.
pub(super) fn list_small(
    store: &Store,
    directory: &Inode,
    hasher: &Hasher,
    cookie: u64,
    visit: &mut Visit<'_>,
) -> Result<ControlFlow<()>> {
    let mut names = Vec::new();
    if directory.has_inline_data() {
        let parts = inline::parts(store, directory)?;
        names.push(Keyed::own(b".", directory.number(), BEHIND_DOT));
        names.push(Keyed::own(b"..", parts.parent, BEHIND_DOT_DOT));
        for area in parts.areas {
            collect(store, directory, hasher, area, &mut names)?;
        }
        return Ok(visit_sorted(&mut names, cookie, visit));
    }
    let block = blocks::load(store, directory, FileBlock(0))?;
    let area = blocks::records(store, directory, FileBlock(0), block.bytes());
    collect(store, directory, hasher, area, &mut names)?;
    Ok(visit_sorted(&mut names, cookie, visit))
}

/// Visits the names behind `cookie` of a directory with an index.
pub(super) fn list_indexed(
    store: &Store,
    directory: &Inode,
    tree: &mut Tree<'_>,
    cookie: u64,
    visit: &mut Visit<'_>,
) -> Result<ControlFlow<()>> {
    let hasher = *tree.hasher();
    if cookie < BEHIND_DOT_DOT {
        let root = blocks::load(store, directory, FileBlock(0))?;
        let area = blocks::records(store, directory, FileBlock(0), root.bytes());
        let mut names = Vec::new();
        collect(store, directory, &hasher, area, &mut names)?;
        names.retain(Keyed::is_own);
        if visit_sorted(&mut names, cookie, visit).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    let hash = u32::try_from(cookie >> 32).unwrap_or(u32::MAX >> 1) << 1;
    let mut leaf = Some(tree.seek(hash)?);
    let mut walked = 0;
    while let Some(first) = leaf {
        let mut chain = vec![tree.leaf(first)?];
        leaf = follow_chain(tree, &mut chain)?;
        walked += chain.len() as u64;
        if walked > tree.blocks_count() {
            return Err(tree.damaged("every leaf once", "more leaves than blocks"));
        }
        let mut names = Vec::new();
        for block in &chain {
            collect(store, directory, &hasher, tree.area(block), &mut names)?;
        }
        if visit_sorted(&mut names, cookie, visit).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Adds the leaves in which the last hash of the ones before goes on; returns the first
/// one that is no such leaf.
fn follow_chain(tree: &mut Tree<'_>, chain: &mut Vec<Arc<Block>>) -> Result<Option<FileBlock>> {
    let mut bytes = 0;
    while tree.next_hash().is_some_and(|next| next & 1 == 1) {
        let Some(block) = tree.advance()? else {
            return Ok(None);
        };
        let leaf = tree.leaf(block)?;
        bytes += leaf.bytes().len() as u64;
        if bytes > CHAIN_BYTES_MAX || chain.len() as u64 > tree.blocks_count() {
            return Err(tree.damaged(
                "names of one hash in a few leaves",
                format_args!("{} leaves", chain.len()),
            ));
        }
        chain.push(leaf);
    }
    tree.advance()
}

fn collect<'a>(
    store: &Store,
    directory: &Inode,
    hasher: &Hasher,
    area: &'a [u8],
    names: &mut Vec<Keyed<'a>>,
) -> Result<()> {
    for entry in directory_block::entries(area, 0, rules(store)) {
        let entry = entry.map_err(|bad| bad.into_error(&blocks::name_of(directory), None))?;
        names.push(Keyed::new(hasher, &entry));
    }
    Ok(())
}

/// Sorts the names and visits those behind `cookie`.
fn visit_sorted(names: &mut [Keyed<'_>], cookie: u64, visit: &mut Visit<'_>) -> ControlFlow<()> {
    names.sort_unstable_by(|a, b| (a.key, a.name).cmp(&(b.key, b.name)));
    let (mut last, mut rank) = (None, RANK);
    for named in names.iter() {
        rank = if last == Some(named.key) {
            (rank + 1).min(RANK_MAX)
        } else {
            RANK
        };
        last = Some(named.key);
        let next_cookie = if named.is_own() {
            named.key
        } else {
            named.key | rank
        };
        if next_cookie <= cookie {
            continue;
        }
        visit(DirEntry {
            name: named.name,
            inode: named.inode,
            file_type: named.file_type,
            next_cookie,
        })?;
    }
    ControlFlow::Continue(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names that differ in nothing a cookie holds are told apart by their rank.
    #[test]
    fn names_of_one_key_have_cookies_of_their_own() {
        let named = |name| Keyed {
            key: 5 << 32 | 7 << 8,
            name,
            inode: InodeNumber(12),
            file_type: None,
        };
        let mut names = [named(b"c"), named(b"a"), named(b"b")];
        let mut cookie = 0;
        let mut seen = Vec::new();
        for _ in 0..3 {
            let stopped = visit_sorted(&mut names, cookie, &mut |entry| {
                seen.extend_from_slice(entry.name);
                cookie = entry.next_cookie;
                ControlFlow::Break(())
            });
            assert!(stopped.is_break());
        }
        assert_eq!(seen, b"abc");
        assert!(visit_sorted(&mut names, cookie, &mut |_| ControlFlow::Break(())).is_continue());
    }
}

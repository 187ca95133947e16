//! Directories: listing, looking up and changing names, whatever their form.

mod append;
mod blocks;
mod edit;
mod hash_edit;
mod hash_split;
mod hashed;
mod inline;
mod inline_edit;
mod leaf;
mod linear_edit;
mod order;
#[cfg(test)]
mod tests;

pub(crate) use edit::{add, credits, initialise, is_empty, remove, replace};

use std::ops::ControlFlow;

use crate::error::{Error, ErrorKind, Result};
use crate::format::directory_block::{Entry, Rules};
use crate::format::features::{CompatFeatures, IncompatFeatures};
use crate::format::inode::Inode;
use crate::format::inode_flags::InodeFlags;
use crate::store::Store;
use crate::types::{FileType, InodeNumber};
use order::Order;

/// The longest name ext4 can store.
pub(crate) const NAME_BYTES_MAX: usize = 255;

/// Cookies of names a fast-commit log added start here, far above any offset.
const ADDED_COOKIE: u64 = 1 << 60;

/// One name of a directory, lent to the visitor of a listing.
#[derive(Debug, Clone, Copy)]
pub struct DirEntry<'a> {
    /// The name: 1 to 255 bytes without '/' and NUL.
    pub name: &'a [u8],
    /// What it names. Checked for range only.
    pub inode: InodeNumber,
    /// What the record says the inode is; `None` where the volume records no types.
    pub file_type: Option<FileType>,
    /// Start a listing here to go on after this entry. Never 0.
    pub next_cookie: u64,
}

/// What a listing calls for each name.
pub(crate) type Visit<'v> = dyn FnMut(DirEntry<'_>) -> ControlFlow<()> + 'v;

fn check_is_listable(directory: &Inode) -> Result<()> {
    if directory.file_type() != FileType::Directory {
        return Err(ErrorKind::NotADirectory.into());
    }
    if directory.flags().contains(InodeFlags::ENCRYPT) {
        let error = Error::from(ErrorKind::Encrypted);
        return Err(error.context(format_args!("inode {}", directory.number())));
    }
    Ok(())
}

fn rules(store: &Store) -> Rules {
    Rules {
        inodes_count: store.superblock.inodes_count,
        has_types: store.superblock.has_incompat(IncompatFeatures::FILETYPE),
    }
}

/// Visits the names behind `cookie` (0: all) until `visit` breaks.
pub(crate) fn list(
    store: &Store,
    directory: &Inode,
    cookie: u64,
    visit: &mut Visit<'_>,
) -> Result<()> {
    check_is_listable(directory)?;
    if store.patches.names(directory.number()).is_some() {
        // Nothing changes while there are patches.
        return list_in_place(store, directory, cookie, visit).map(|_| ());
    }
    match order::of(store, directory)? {
        Order::Linear => list_records(store, directory, cookie, visit),
        Order::Small(hasher) => order::list_small(store, directory, &hasher, cookie, visit),
        Order::Indexed(mut tree) => order::list_indexed(store, directory, &mut tree, cookie, visit),
    }
    .map(|_| ())
}

/// The same in the order of the records.
fn list_in_place(
    store: &Store,
    directory: &Inode,
    cookie: u64,
    visit: &mut Visit<'_>,
) -> Result<ControlFlow<()>> {
    let Some(patch) = store.patches.names(directory.number()) else {
        return list_records(store, directory, cookie, visit);
    };
    if cookie < ADDED_COOKIE && !patch.is_new {
        let mut unless_hidden = |entry: DirEntry<'_>| {
            if patch.hidden.contains(entry.name) {
                ControlFlow::Continue(())
            } else {
                visit(entry)
            }
        };
        if list_records(store, directory, cookie, &mut unless_hidden)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    let skip = usize::try_from(cookie.saturating_sub(ADDED_COOKIE)).unwrap_or(usize::MAX);
    let added = patch.added.iter().zip(ADDED_COOKIE + 1..).skip(skip);
    for ((name, inode), next_cookie) in added {
        let entry = DirEntry {
            name,
            inode: *inode,
            file_type: None,
            next_cookie,
        };
        if visit(entry).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

fn list_records(
    store: &Store,
    directory: &Inode,
    cookie: u64,
    visit: &mut Visit<'_>,
) -> Result<ControlFlow<()>> {
    if directory.has_inline_data() {
        inline::list(store, directory, cookie, visit)
    } else {
        blocks::list(store, directory, cookie, visit)
    }
}

/// What `name` names, if anything.
///
/// # Errors
/// `NotADirectory`, `NameTooLong`, `Encrypted`, `Corrupt`.
pub(crate) fn lookup(store: &Store, directory: &Inode, name: &[u8]) -> Result<Option<InodeNumber>> {
    check_is_listable(directory)?;
    if name.len() > NAME_BYTES_MAX {
        return Err(ErrorKind::NameTooLong.into());
    }
    let found = match lookup_patched(store, directory, name) {
        Some(answer) => answer,
        None => lookup_records(store, directory, name)?,
    };
    match found {
        Some(inode) => check_is_ordinary(store, directory, name, inode).map(|()| Some(inode)),
        None => Ok(None),
    }
}

/// `None` if a fast-commit log says nothing of this name.
fn lookup_patched(store: &Store, directory: &Inode, name: &[u8]) -> Option<Option<InodeNumber>> {
    let patch = store.patches.names(directory.number())?;
    match patch.find(name) {
        Some(inode) => Some(Some(inode)),
        None => (patch.is_new || patch.hidden.contains(name)).then_some(None),
    }
}

fn lookup_records(store: &Store, directory: &Inode, name: &[u8]) -> Result<Option<InodeNumber>> {
    if is_casefolded(store, directory) {
        return lookup_folded(store, directory, name);
    }
    if is_hashed(store, directory)
        && let Some(answer) = hashed::lookup(store, directory, name)?
    {
        return Ok(answer);
    }
    if directory.has_inline_data() {
        lookup_linear(store, directory, |candidate| candidate == name)
    } else {
        linear_edit::lookup(store, directory, name)
    }
}

fn is_hashed(store: &Store, directory: &Inode) -> bool {
    store.superblock.has_compat(CompatFeatures::DIR_INDEX)
        && directory.flags().contains(InodeFlags::INDEX)
        && !directory.has_inline_data()
}

fn is_casefolded(store: &Store, directory: &Inode) -> bool {
    store.superblock.has_incompat(IncompatFeatures::CASEFOLD)
        && directory.flags().contains(InodeFlags::CASEFOLD)
}

fn lookup_linear(
    store: &Store,
    directory: &Inode,
    matches: impl Fn(&[u8]) -> bool,
) -> Result<Option<InodeNumber>> {
    let mut found = None;
    let _ = list_records(store, directory, 0, &mut |entry| {
        if matches(entry.name) {
            found = Some(entry.inode);
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })?;
    Ok(found)
}

/// In a casefolded directory names match if they are equal after Unicode
/// normalisation (NFD) and full case folding; names that are not UTF-8 match
/// only themselves. The hashes there are of folded names, made with tables of
/// one Unicode version, so the records are compared one by one.
fn lookup_folded(store: &Store, directory: &Inode, name: &[u8]) -> Result<Option<InodeNumber>> {
    if let Some(exact) = lookup_linear(store, directory, |candidate| candidate == name)? {
        return Ok(Some(exact));
    }
    let Some(folded) = fold(name) else {
        return Ok(None);
    };
    lookup_linear(store, directory, |candidate| {
        fold(candidate).is_some_and(|candidate| candidate == folded)
    })
}

fn fold(name: &[u8]) -> Option<String> {
    use caseless::Caseless;
    use unicode_normalization::UnicodeNormalization;
    let name = std::str::from_utf8(name).ok()?;
    Some(name.nfd().default_case_fold().nfd().collect())
}

/// Names may lead to ordinary inodes and the root, not to the journal and its like.
fn check_is_ordinary(
    store: &Store,
    directory: &Inode,
    name: &[u8],
    inode: InodeNumber,
) -> Result<()> {
    if inode == InodeNumber::ROOT || inode.0 >= store.superblock.first_inode {
        return Ok(());
    }
    Err(Error::corrupt(
        format!(
            "entry \"{}\" of directory {}",
            name.escape_ascii(),
            directory.number()
        ),
        None,
        format_args!("inode {} or later", store.superblock.first_inode),
        inode,
    ))
}

fn lend<'a>(entry: &Entry<'a>, next_cookie: u64) -> DirEntry<'a> {
    DirEntry {
        name: entry.name,
        inode: entry.inode,
        file_type: entry.file_type,
        next_cookie,
    }
}

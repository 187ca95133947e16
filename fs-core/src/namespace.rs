//! Paths: from the root to an inode, symbolic links followed inside the image.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::directory;
use crate::error::{Error, ErrorKind, Result};
use crate::file;
use crate::format::inode::Inode;
use crate::store::Store;
use crate::types::{FileType, InodeNumber};

/// Linux follows at most this many symbolic links in one path.
const LINKS_MAX: u32 = 40;
/// Longest path Linux takes (PATH_MAX).
const PATH_BYTES_MAX: usize = 4096;

/// The inode a name of a directory leads to.
///
/// # Errors
/// `NotFound`; `Corrupt` if the name leads to an inode that is not in use.
pub(crate) fn child(store: &Store, directory: &Inode, name: &[u8]) -> Result<Arc<Inode>> {
    let number = directory::lookup(store, directory, name)?.ok_or(ErrorKind::NotFound)?;
    let free = || {
        Error::corrupt(
            format_args!(
                "entry \"{}\" of directory {}",
                name.escape_ascii(),
                directory.number()
            ),
            None,
            "an inode in use",
            format_args!("inode {number}, which is free"),
        )
    };
    match store.inode(number) {
        Ok(inode) if inode.links() == 0 => Err(free()),
        Err(error) if matches!(error.kind(), ErrorKind::Stale) => Err(free()),
        other => other,
    }
}

/// Walks `path` from the root. Empty components are passed over; ".." of the
/// root is the root. `follow` resolves a symbolic link at the end as well.
pub(crate) fn resolve(store: &Store, path: &[u8], follow: bool) -> Result<Arc<Inode>> {
    let inode = |number: InodeNumber| store.inode(number);
    resolve_with(
        inode(InodeNumber::ROOT)?,
        path,
        follow,
        &|parent, name| child(store, inode(parent)?.as_ref(), name),
        &|link| file::read_link(store, inode(link)?.as_ref()),
    )
}

/// Finds what a name of a directory leads to.
type LookUp<'a> = dyn Fn(InodeNumber, &[u8]) -> Result<Arc<Inode>> + 'a;
/// Reads a symbolic link's target.
type ReadLink<'a> = dyn Fn(InodeNumber) -> Result<Vec<u8>> + 'a;

/// The same with the means to look up a name and to read a link given, for who must lock
/// what is looked at.
pub(crate) fn resolve_with(
    root: Arc<Inode>,
    path: &[u8],
    follow: bool,
    child: &LookUp<'_>,
    read_link: &ReadLink<'_>,
) -> Result<Arc<Inode>> {
    let mut at = Arc::clone(&root);
    // Parents of `at`; the way back for "..".
    let mut parents: Vec<Arc<Inode>> = Vec::new();
    let mut left: VecDeque<Vec<u8>> = components(path)?;
    let mut links = 0;
    while let Some(name) = left.pop_front() {
        if name == b".." {
            at = parents.pop().unwrap_or_else(|| Arc::clone(&root));
            continue;
        }
        let next = child(at.number(), &name)?;
        let is_last = left.is_empty();
        if next.file_type() != FileType::Symlink || is_last && !follow {
            parents.push(std::mem::replace(&mut at, next));
            continue;
        }
        links += 1;
        if links > LINKS_MAX {
            return Err(ErrorKind::TooManyLinks.into());
        }
        let target = read_link(next.number())?;
        if target.starts_with(b"/") {
            parents.clear();
            at = Arc::clone(&root);
        }
        let mut following = components(&target)?;
        following.append(&mut left);
        left = following;
    }
    Ok(at)
}

fn components(path: &[u8]) -> Result<VecDeque<Vec<u8>>> {
    if path.len() > PATH_BYTES_MAX {
        return Err(ErrorKind::NameTooLong.into());
    }
    Ok(path
        .split(|&byte| byte == b'/')
        .filter(|name| !name.is_empty() && *name != b".")
        .map(<[u8]>::to_vec)
        .collect())
}

//! Directories small enough for the inode: the parent's number in the first 4
//! bytes of `i_block`, records in the other 56, more records in `system.data`
//! (ext4 on-disk layout, "Inline Directories"). "." and ".." have no records.
//!
//! Cookies, where names are listed in the order of their records: 1 behind ".", 2 behind
//! "..", then 4 plus the byte after a record, the two areas counted as one.

use std::ops::ControlFlow;

use zerocopy::FromBytes;
use zerocopy::little_endian::U32;

use crate::directory::{DirEntry, Visit, blocks, lend, rules};
use crate::error::{Error, Result};
use crate::format::directory_block;
use crate::format::inode::Inode;
use crate::inline;
use crate::store::Store;
use crate::types::{FileType, InodeNumber};

const BEHIND_DOT: u64 = 1;
const BEHIND_DOT_DOT: u64 = 2;
const RECORDS: u64 = 4;

/// What an inline directory consists of.
pub(super) struct Parts<'a> {
    pub(super) parent: InodeNumber,
    /// Both pieces hold records; unchecked.
    pub(super) areas: [&'a [u8]; 2],
}

/// Takes an inline directory apart.
pub(super) fn parts<'a>(store: &Store, directory: &'a Inode) -> Result<Parts<'a>> {
    let data = inline::find(directory)?;
    let (parent, first_area) = U32::ref_from_prefix(data.block_area.as_slice())
        .map_err(|_| Error::corrupt(blocks::name_of(directory), None, "60 bytes", "less"))?;
    let parent = InodeNumber(parent.get());
    if parent.0 == 0 || parent.0 > store.superblock.inodes_count {
        return Err(Error::corrupt(
            format!("parent of {}", blocks::name_of(directory)),
            None,
            format_args!("an inode up to {}", store.superblock.inodes_count),
            parent,
        ));
    }
    Ok(Parts {
        parent,
        areas: [first_area, data.more],
    })
}

/// Visits the names behind `cookie`.
pub(super) fn list(
    store: &Store,
    directory: &Inode,
    cookie: u64,
    visit: &mut Visit<'_>,
) -> Result<ControlFlow<()>> {
    let parts = parts(store, directory)?;
    for (name, inode, next_cookie) in [
        (&b"."[..], directory.number(), BEHIND_DOT),
        (&b".."[..], parts.parent, BEHIND_DOT_DOT),
    ] {
        let entry = DirEntry {
            name,
            inode,
            file_type: Some(FileType::Directory),
            next_cookie,
        };
        if next_cookie > cookie && visit(entry).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    let mut start = RECORDS;
    for area in parts.areas {
        for entry in directory_block::entries(area, 0, rules(store)) {
            let entry = entry.map_err(|bad| bad.into_error(&blocks::name_of(directory), None))?;
            let next = start + entry.end as u64;
            if next > cookie && visit(lend(&entry, next)).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        start += area.len() as u64;
    }
    Ok(ControlFlow::Continue(()))
}

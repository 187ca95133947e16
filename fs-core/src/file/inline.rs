//! Files whose content lies in the inode: changed there while it fits, moved to blocks when
//! it does not. A file never moves back, but for an inline one that becomes empty: it stays.

use std::sync::Arc;

use super::edit::{FileEdit, write_fresh};
use crate::change::Change;
use crate::error::{ErrorKind, Result};
use crate::format::inode::Inode;
use crate::inline;
use crate::inline_edit;
use crate::mapping;
use crate::run::{ExtentState, MappedExtent};
use crate::types::FileBlock;

/// Writes into the inode; false, and nothing is changed, if the content does not fit.
pub(super) fn write(file: &FileEdit<'_>, inode: &Inode, data: &[u8], offset: u64) -> Result<bool> {
    let end = offset.saturating_add(data.len() as u64);
    let Some(mut content) = resized(file, inode, end.max(inode.size_bytes()))? else {
        return Ok(false);
    };
    // The content is at least as long as `end`, which is memory.
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    if let Some(place) = content
        .get_mut(start..)
        .and_then(|rest| rest.get_mut(..data.len()))
    {
        place.copy_from_slice(data);
    }
    put(file, inode, &content)
}

/// Makes the content longer or shorter; false, and nothing is changed, if it does not fit.
pub(super) fn resize(file: &FileEdit<'_>, inode: &Inode, size: u64) -> Result<bool> {
    match resized(file, inode, size)? {
        Some(content) => put(file, inode, &content),
        None => Ok(false),
    }
}

fn resized(file: &FileEdit<'_>, inode: &Inode, size: u64) -> Result<Option<Vec<u8>>> {
    let capacity = inline_edit::inline_capacity(file.store(), inode);
    let Some(size) = usize::try_from(size).ok().filter(|&size| size <= capacity) else {
        return Ok(None);
    };
    let mut content = inline::content(inode)?;
    content.resize(size, 0);
    Ok(Some(content))
}

fn put(file: &FileEdit<'_>, inode: &Inode, content: &[u8]) -> Result<bool> {
    file.change(file.run_credits(inode), |change| {
        if !inline_edit::set_inline(change, file.number, content)? {
            return Ok(false);
        }
        file.stamp(change, Some(content.len() as u64))?;
        Ok(true)
    })
}

/// The inode with its content in blocks, where it was inline.
pub(super) fn to_blocks(file: &FileEdit<'_>, inode: Arc<Inode>) -> Result<Arc<Inode>> {
    if !inode.has_inline_data() {
        return Ok(inode);
    }
    file.change(file.run_credits(&inode), |change| {
        move_to_block(file, change, &inode)?;
        change.inode(file.number)
    })
}

/// Content in an inode is shorter than a block.
fn move_to_block<'w>(file: &FileEdit<'w>, change: &mut Change<'w>, inode: &Inode) -> Result<()> {
    let mut content = inline_edit::clear_inline(change, file.number)?;
    content.truncate(usize::try_from(inode.size_bytes()).unwrap_or(usize::MAX));
    if content.is_empty() {
        return Ok(());
    }
    if content.len() as u64 > file.block_bytes {
        return Err(
            ErrorKind::NotSupported("content in an inode that is longer than a block").into(),
        );
    }
    let as_it_is = change.inode(file.number)?;
    let run = file.take(change, &as_it_is, FileBlock(0), 1)?;
    write_fresh(file.store(), run.start, 0, &content)?;
    let run = MappedExtent {
        file_block: FileBlock(0),
        len_blocks: 1,
        state: ExtentState::Written(run.start),
    };
    mapping::insert(change, file.number, run)
}

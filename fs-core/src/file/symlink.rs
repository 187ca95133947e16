//! Targets of symbolic links: reading one, and giving a new link its own.
//!
//! A target of less than 60 bytes lies in `i_block`; a longer one in one block, which ends
//! with a NUL. Not in the inode, as inline data: Linux no longer does that, and e2fsck takes
//! the attribute block of such a link for a free one.

use super::edit::write_fresh;
use super::read::read;
use crate::change::Change;
use crate::error::{Error, ErrorKind, Result};
use crate::format::features::IncompatFeatures;
use crate::format::inode::Inode;
use crate::format::inode_flags::InodeFlags;
use crate::mapping;
use crate::run::{ExtentState, MappedExtent};
use crate::space::{BlockRequest, Purpose};
use crate::store::Store;
use crate::types::{FileBlock, FileType, InodeNumber};

/// The target of a symbolic link.
pub(crate) fn read_link(store: &Store, link: &Inode) -> Result<Vec<u8>> {
    if link.file_type() != FileType::Symlink {
        return Err(ErrorKind::InvalidInput("not a symbolic link").into());
    }
    if link.flags().contains(InodeFlags::ENCRYPT) {
        return Err(ErrorKind::Encrypted.into());
    }
    let bad = |expected: String, found: String| {
        Error::corrupt(
            format!("symbolic link in inode {}", link.number()),
            None,
            expected,
            found,
        )
    };
    let is_fast = link.is_fast_symlink(&store.superblock);
    // A NUL follows the target where it is stored in blocks or in i_block.
    let max = if is_fast {
        link.block_area().len() as u64 - 1
    } else {
        u64::from(store.superblock.block_bytes)
    };
    let size = link.size_bytes();
    if !(1..=max).contains(&size) {
        return Err(bad(
            format!("a target of 1 to {max} bytes"),
            format!("{size}"),
        ));
    }
    let mut target = vec![0; usize::try_from(size).unwrap_or(0)];
    if is_fast {
        if let Some(bytes) = link.block_area().get(..target.len()) {
            target.copy_from_slice(bytes);
        }
    } else {
        read(store, link, &mut target, 0)?;
    }
    if target.contains(&0) {
        return Err(bad(
            "a target without NUL".into(),
            format!("\"{}\"", target.escape_ascii()),
        ));
    }
    Ok(target)
}

/// Gives a new symbolic link its target; sets size, flags and `i_block`. The content of a
/// block is on the device when this returns.
///
/// # Errors
/// `InvalidInput` for an empty target or one with a NUL in it, `NameTooLong` if it does not
/// fit into a block with a NUL behind it, `NoSpace`.
pub(crate) fn write_symlink(
    change: &mut Change<'_>,
    link: InodeNumber,
    target: &[u8],
) -> Result<()> {
    if target.is_empty() || target.contains(&0) {
        return Err(ErrorKind::InvalidInput("a target is bytes other than NUL").into());
    }
    let superblock = &change.store().superblock;
    if target.len() as u64 >= u64::from(superblock.block_bytes) {
        return Err(ErrorKind::NameTooLong.into());
    }
    let size_bytes = target.len() as u64;
    let map_flags = InodeFlags::EXTENTS | InodeFlags::INLINE_DATA;
    let flags = change.inode(link)?.flags().difference(map_flags);
    let mut area = [0; 60];
    // A NUL follows in `i_block`, too.
    if let Some(place) = area
        .get_mut(..target.len())
        .filter(|place| place.len() < 60)
    {
        place.copy_from_slice(target);
        change.edit_inode(link, |edit| {
            edit.set_flags(flags)?;
            edit.set_size(size_bytes)?;
            *edit.block_area_mut()? = area;
            Ok(())
        })?;
        return Ok(());
    }
    write_block(change, link, target, flags)
}

fn write_block(
    change: &mut Change<'_>,
    link: InodeNumber,
    target: &[u8],
    flags: InodeFlags,
) -> Result<()> {
    let store = change.store();
    let mut flags = flags;
    let has_extents = store.superblock.has_incompat(IncompatFeatures::EXTENTS);
    flags.set(InodeFlags::EXTENTS, has_extents);
    let area = mapping::empty_map(&store.superblock, flags);
    change.edit_inode(link, |edit| {
        edit.set_flags(flags)?;
        edit.set_size(target.len() as u64)?;
        *edit.block_area_mut()? = area;
        Ok(())
    })?;
    let run = change.allocate(BlockRequest {
        goal: change.writer.space.goal_for(store, link),
        len_blocks: 1,
        purpose: Purpose::Data {
            inode: link,
            len_blocks: 0,
        },
        may_use_reserve: false,
    })?;
    write_fresh(store, run.start, 0, target)?;
    let run = MappedExtent {
        file_block: FileBlock(0),
        len_blocks: 1,
        state: ExtentState::Written(run.start),
    };
    mapping::insert(change, link, run)
}

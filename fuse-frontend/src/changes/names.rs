//! UNLINK, RMDIR, RENAME, LINK.

use fs_core::{InodeNumber, RenameMode};
use rustix::io::Errno;

use super::Place;
use crate::attributes;
use crate::change_requests::Rename;
use crate::failure::Failure;
use crate::replies::Reply;
use crate::server::number_of;

pub(super) fn unlink(place: Place<'_>, name: &[u8]) -> Result<Reply<'static>, Failure> {
    place.volume.unlink(place.inode, name)?;
    Ok(Reply::Done)
}

pub(super) fn rmdir(place: Place<'_>, name: &[u8]) -> Result<Reply<'static>, Failure> {
    place.volume.rmdir(place.inode, name)?;
    Ok(Reply::Done)
}

/// Flags of renameat2(2).
const RENAME_NOREPLACE: u32 = 1;
const RENAME_EXCHANGE: u32 = 2;
const RENAME_WHITEOUT: u32 = 4;
const RENAME_WHITEOUT_NOREPLACE: u32 = RENAME_WHITEOUT | RENAME_NOREPLACE;

pub(super) fn rename(place: Place<'_>, rename: &Rename<'_>) -> Result<Reply<'static>, Failure> {
    let mode = match rename.flags {
        0 => RenameMode::Replace,
        RENAME_NOREPLACE => RenameMode::NoReplace,
        RENAME_EXCHANGE => RenameMode::Exchange,
        RENAME_WHITEOUT => RenameMode::Whiteout,
        RENAME_WHITEOUT_NOREPLACE => RenameMode::WhiteoutNoReplace,
        _ => return Err(Errno::INVAL.into()),
    };
    let new_parent = number_of(rename.new_parent)?;
    let (name, new_name) = (rename.name, rename.new_name);
    place
        .volume
        .rename(place.inode, name, new_parent, new_name, mode)?;
    Ok(Reply::Done)
}

pub(super) fn link(
    place: Place<'_>,
    node: u64,
    name: &[u8],
    granted: &mut Vec<InodeNumber>,
) -> Result<Reply<'static>, Failure> {
    let inode = number_of(node)?;
    // The reply counts as a look-up.
    place.volume.retain(inode)?;
    granted.push(inode);
    place.volume.link(inode, place.inode, name)?;
    let inode = place.volume.inode(inode)?;
    Ok(Reply::Entry(attributes::entry(place.server, &inode)?))
}

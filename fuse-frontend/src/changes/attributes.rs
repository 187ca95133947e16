//! SETATTR.

use fs_core::{
    AttributeChanges, ErrorKind, FileType, Inode, InodeNumber, TimeChange, Timestamp,
    WritableVolume, WriteContext,
};
use rustix::io::Errno;

use super::Place;
use crate::attributes;
use crate::failure::Failure;
use crate::replies::Reply;
use crate::wire::{AttrOut, SetattrIn, fattr};

const SET_USER_ID: u16 = 0o4000;
const SET_GROUP_ID: u16 = 0o2000;
const GROUP_EXECUTE: u16 = 0o010;
const PERMISSIONS: u32 = 0o7777;

/// What a program may do besides what its user may.
const CAPABILITY: &[u8] = b"security.capability";

pub(super) fn set(place: Place<'_>, arguments: &SetattrIn) -> Result<Reply<'static>, Failure> {
    let has = |bits: u32| arguments.valid & bits != 0;
    let volume = place.volume;
    if let (true, Ok(iomap)) = (has(fattr::SIZE), place.server.iomap()) {
        iomap.resized(place.inode);
    }
    if has(fattr::SIZE) {
        let context = WriteContext {
            may_use_reserve: place.may_use_reserve(&*volume.inode(place.inode)?),
            clear_privileges: has(fattr::KILL_SUIDGID),
            keeps_times: false,
            kernel_moves_content: place.server.kernel_moves_content(),
        };
        volume.truncate_as(place.inode, arguments.size, context)?;
    }
    if has(fattr::SIZE | fattr::UID | fattr::GID) {
        drop_capability(volume, place.inode)?;
    }
    let found = volume.inode(place.inode)?;
    let mut changes = changes(arguments)?;
    let ends_privileges = ends_privileges(place, arguments.valid);
    if ends_privileges || has(fattr::UID | fattr::GID) && !has(fattr::MODE) {
        changes.permissions = without_privileges(&found);
    }
    // The kernel's own account of what it wrote before.
    let flushed = fattr::MTIME | fattr::CTIME;
    let said = arguments.valid & !(fattr::FH | fattr::LOCKOWNER);
    changes.is_belated = match place.server.kernel_moves_content() {
        true => said & !fattr::ATIME == flushed,
        false => place.server.agreed.writeback && said == flushed,
    };
    let inode = if changes == AttributeChanges::default() {
        found
    } else {
        volume.set_attributes(place.inode, &changes)?
    };
    Ok(Reply::Attr(AttrOut {
        attr_valid: place.server.valid_seconds,
        attr: attributes::attr(place.server, &inode)?,
        ..AttrOut::default()
    }))
}

/// Where the kernel would take set-id bits away, after fallocate(2) or copy_file_range(2) by
/// who may not keep them, it has the server do that: by a SETATTR that sets nothing. One of
/// nothing but the time of change is chown(2) without an owner, which takes them from all.
///
/// Where the kernel owns the times it says what becomes of the mode, and a time alone is a time.
fn ends_privileges(place: Place<'_>, valid: u32) -> bool {
    if place.server.kernel_moves_content() {
        return false;
    }
    match valid & !(fattr::FH | fattr::LOCKOWNER) {
        0 => !place.caller.is_superuser(),
        fattr::CTIME => true,
        _ => false,
    }
}

fn changes(arguments: &SetattrIn) -> Result<AttributeChanges, Failure> {
    let has = |bits: u32| arguments.valid & bits != 0;
    let time = |bit, now, seconds, nanos| {
        let given = if has(now) {
            TimeChange::Now
        } else {
            TimeChange::At(Timestamp { seconds, nanos })
        };
        has(bit).then_some(given)
    };
    let owner = |bit, id: u32| match has(bit) {
        // The number that means nobody.
        true if id == u32::MAX => Err(Failure::from(Errno::OVERFLOW)),
        given => Ok(given.then_some(id)),
    };
    let mode = u16::try_from(arguments.mode & PERMISSIONS).unwrap_or_default();
    Ok(AttributeChanges {
        permissions: has(fattr::MODE).then_some(mode),
        uid: owner(fattr::UID, arguments.uid)?,
        gid: owner(fattr::GID, arguments.gid)?,
        accessed: time(
            fattr::ATIME,
            fattr::ATIME_NOW,
            arguments.atime,
            arguments.atimensec,
        ),
        modified: time(
            fattr::MTIME,
            fattr::MTIME_NOW,
            arguments.mtime,
            arguments.mtimensec,
        ),
        changed: time(fattr::CTIME, 0, arguments.ctime, arguments.ctimensec),
        created: None,
        is_belated: false,
    })
}

/// A new owner does not get what the old one allowed everybody; `None` if nothing changes.
fn without_privileges(inode: &Inode) -> Option<u16> {
    if inode.file_type() == FileType::Directory {
        return None;
    }
    let mode = inode.mode() & 0o7777;
    let mut left = mode & !SET_USER_ID;
    if mode & GROUP_EXECUTE != 0 {
        left &= !SET_GROUP_ID;
    }
    (left != mode).then_some(left)
}

/// Changed content, or another's file, is no longer what the capabilities were given to.
pub(super) fn drop_capability(volume: &WritableVolume, inode: InodeNumber) -> Result<(), Failure> {
    match volume.xattr(inode, CAPABILITY) {
        Err(error) if *error.kind() == ErrorKind::NoAttribute => Ok(()),
        Err(error) => Err(error.into()),
        Ok(_) => Ok(volume.remove_xattr(inode, CAPABILITY)?),
    }
}

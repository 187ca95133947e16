//! WRITE and FALLOCATE.

use fs_core::{Allocation, Inode, InodeFlags, WriteContext};
use rustix::io::Errno;

use super::Place;
use super::attributes::drop_capability;
use crate::failure::Failure;
use crate::replies::Reply;
use crate::wire::{FallocateIn, WriteIn, write_flag};

/// `O_DSYNC` of open(2).
const DSYNC: u32 = 0o1_0000;
/// What `O_SYNC` has besides.
const SYNC: u32 = 0o400_0000;

/// Writes; returns how many bytes.
pub(super) fn write(place: Place<'_>, arguments: &WriteIn, data: &[u8]) -> Result<u32, Failure> {
    let is_cached = arguments.write_flags & write_flag::CACHE != 0;
    let inode = place.volume.inode(place.inode)?;
    let mut context = WriteContext {
        may_use_reserve: place.may_use_reserve(&inode),
        clear_privileges: arguments.write_flags & write_flag::KILL_SUIDGID != 0,
        // Only what lies in the inode is written by who otherwise moves content itself, and
        // its times come later.
        keeps_times: place.server.kernel_moves_content(),
        kernel_moves_content: false,
    };
    let len = if is_cached {
        // Who wrote this is forgotten; whose file it is stands for them.
        context.may_use_reserve = place.is_in_reserve(inode.uid(), None);
        // And when; that comes with a SETATTR of its own.
        context.keeps_times = true;
        write_cached(place, &inode, data, arguments.offset, context)?
    } else {
        drop_capability(place.volume, place.inode)?;
        let (volume, number) = (place.volume, place.inode);
        volume.write_as(number, data, arguments.offset, context)?
    };
    let opened_with = if is_cached { 0 } else { arguments.flags };
    if opened_with & SYNC != 0 || inode.flags().contains(InodeFlags::SYNC) {
        place.volume.sync()?;
    } else if opened_with & DSYNC != 0 {
        place.volume.fdatasync(place.inode)?;
    }
    u32::try_from(len).map_err(|_| Errno::OVERFLOW.into())
}

/// Writes all, or fails: of a page that was written in part the kernel would take all for
/// written.
fn write_cached(
    place: Place<'_>,
    inode: &Inode,
    data: &[u8],
    offset: u64,
    context: WriteContext,
) -> Result<usize, Failure> {
    let mut done = skip_unchanged(place, inode, data, offset)?;
    while let Some(rest) = data.get(done..).filter(|rest| !rest.is_empty()) {
        let at = offset.checked_add(done as u64).ok_or(Errno::FBIG)?;
        match place.volume.write_as(place.inode, rest, at, context)? {
            0 => return Err(Errno::IO.into()),
            len => done += len,
        }
    }
    Ok(done)
}

/// Pages are written whole, also where a file that can only be appended to has grown in the
/// middle of one. What is there already must be the same then, and is skipped.
fn skip_unchanged(
    place: Place<'_>,
    inode: &Inode,
    data: &[u8],
    offset: u64,
) -> Result<usize, Failure> {
    if !inode.flags().contains(InodeFlags::APPEND) {
        return Ok(0);
    }
    let old_len = inode.size_bytes().saturating_sub(offset);
    let old_len = usize::try_from(old_len).map_or(data.len(), |len| len.min(data.len()));
    let mut old = vec![0; old_len];
    let len = place.volume.read(place.inode, &mut old, offset)?;
    if old.get(..len) != data.get(..len) {
        return Err(Errno::PERM.into());
    }
    Ok(len)
}

/// `FALLOC_FL_` flags.
const KEEP_SIZE: u32 = 0x1;
const PUNCH_HOLE: u32 = 0x2;
const COLLAPSE_RANGE: u32 = 0x8;
const ZERO_RANGE: u32 = 0x10;
const INSERT_RANGE: u32 = 0x20;
const UNSHARE_RANGE: u32 = 0x40;

pub(super) fn fallocate(
    place: Place<'_>,
    arguments: &FallocateIn,
) -> Result<Reply<'static>, Failure> {
    let keep_size = arguments.mode & KEEP_SIZE != 0;
    let how = match arguments.mode & !KEEP_SIZE {
        0 => Allocation::Allocate { keep_size },
        PUNCH_HOLE if keep_size => Allocation::PunchHole,
        ZERO_RANGE => Allocation::ZeroRange { keep_size },
        COLLAPSE_RANGE if !keep_size => Allocation::CollapseRange,
        INSERT_RANGE if !keep_size => Allocation::InsertRange,
        UNSHARE_RANGE => Allocation::UnshareRange,
        _ => return Err(Errno::OPNOTSUPP.into()),
    };
    let context = WriteContext {
        may_use_reserve: place.may_use_reserve(&*place.volume.inode(place.inode)?),
        clear_privileges: false,
        keeps_times: false,
        kernel_moves_content: place.server.kernel_moves_content(),
    };
    let (offset, len) = (arguments.offset, arguments.length);
    place
        .volume
        .allocate(place.inode, how, offset, len, context)?;
    let keeps_beyond = keep_size && arguments.mode & PUNCH_HOLE == 0;
    if let (true, Ok(iomap)) = (keeps_beyond, place.server.iomap()) {
        iomap.keeps_ahead(place.inode, offset.saturating_add(len));
    }
    Ok(Reply::Done)
}

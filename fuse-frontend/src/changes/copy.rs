//! COPY_FILE_RANGE: from file to file, without the caller seeing the bytes.

use std::ops::Range;

use fs_core::WriteContext;
use rustix::io::Errno;

use super::Place;
use super::attributes::drop_capability;
use crate::failure::Failure;
use crate::server::number_of;
use crate::wire::CopyIn;

/// The most one request copies, in bytes: then the caller may be interrupted.
const BYTES_MAX: u64 = 16 << 20;

/// Copies; returns how many bytes.
pub(super) fn copy(
    place: Place<'_>,
    arguments: &CopyIn,
    buffer: &mut [u8],
) -> Result<u32, Failure> {
    if place.server.kernel_moves_content() {
        // The kernel does it by itself, through its cache; of blocks that are copied in part
        // we could not know what it is writing there meanwhile.
        return Err(Errno::OPNOTSUPP.into());
    }
    if arguments.flags != 0 {
        return Err(Errno::INVAL.into());
    }
    let target = number_of(arguments.nodeid_out)?;
    let wanted = arguments.len.min(BYTES_MAX);
    drop_capability(place.volume, target)?;
    let context = WriteContext {
        may_use_reserve: place.may_use_reserve(&*place.volume.inode(target)?),
        // The kernel has seen to that, where it was needed.
        clear_privileges: false,
        keeps_times: false,
        kernel_moves_content: false,
    };
    let mut done = 0;
    while done < wanted {
        match step(place, arguments, buffer, done..wanted, context) {
            Ok(0) => break,
            Ok(len) => done += len,
            Err(_) if done > 0 => break,
            Err(failure) => return Err(failure),
        }
    }
    u32::try_from(done).map_err(|_| Errno::OVERFLOW.into())
}

fn step(
    place: Place<'_>,
    arguments: &CopyIn,
    buffer: &mut [u8],
    left: Range<u64>,
    context: WriteContext,
) -> Result<u64, Failure> {
    let from = arguments.off_in.checked_add(left.start);
    let to = arguments.off_out.checked_add(left.start);
    let (from, to) = (from.ok_or(Errno::OVERFLOW)?, to.ok_or(Errno::FBIG)?);
    let wanted = left.end - left.start;
    let room = usize::try_from(wanted).map_or(buffer.len(), |len| len.min(buffer.len()));
    let room = buffer.get_mut(..room).unwrap_or_default();
    let len = place.volume.read(place.inode, room, from)?;
    let bytes = room.get(..len).unwrap_or_default();
    if bytes.is_empty() {
        return Ok(0);
    }
    let target = number_of(arguments.nodeid_out)?;
    let written = place.volume.write_as(target, bytes, to, context)?;
    Ok(written as u64)
}

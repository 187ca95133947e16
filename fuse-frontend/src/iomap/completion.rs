//! IOEND and END: what the kernel has written.

use fs_core::{ErrorKind, InodeNumber, WriteCompletion};
use rustix::io::Errno;

use super::Iomap;
use crate::failure::Failure;
use crate::replies::Reply;
use crate::server::{Server, number_of};
use crate::wire::{EndIn, InHeader, IoendIn, IoendOut, ioend_flag, iomap_flag, iomap_op};

/// Content has been written, or could not be.
///
/// The size is raised by what was written whether the kernel thinks that it grows or not: it
/// may have taken a size we told it in between for the one that is recorded.
pub(crate) fn ioend(
    server: &Server,
    iomap: &Iomap,
    header: &InHeader,
    done: &IoendIn,
) -> Result<Reply<'static>, Failure> {
    let file = number_of(header.nodeid)?;
    if done.flags & !ioend_flag::KNOWN != 0 || done.attr_ino != u64::from(file.0) {
        return Err(Errno::INVAL.into());
    }
    let is = |flag| done.flags & flag != 0;
    if is(ioend_flag::SWAPOFF) {
        iomap.files.end_swap_file(file);
    }
    if done.error != 0 || done.written == 0 {
        // Nothing is there that was not before.
        let newsize = server.volume.inode(file)?.size_bytes();
        return Ok(Reply::Ioend(IoendOut { newsize }));
    }
    let volume = server.writer()?;
    if is(ioend_flag::SHARED) {
        // No mapping of ours said so.
        return Err(Errno::UCLEAN.into());
    }
    let completion = WriteCompletion {
        offset: done.pos,
        len_bytes: done.written,
        converts: is(ioend_flag::UNWRITTEN),
    };
    // When the kernel has heard our answer, it drops the mappings of what was written. The
    // rest of the run is worth pushing: the next IOEND's push, or the next open, fills the gap.
    let newsize = volume.complete_write(file, completion, |view| {
        if !view.is_inline() {
            let run = view.around(iomap.geometry.block_of(done.pos));
            // What was written is recorded, whatever is found beside it.
            if let Err(error) = run.and_then(|run| iomap.push(view, &run)) {
                tracing::debug!("nothing pushed after an IOEND of inode {file}: {error}");
            }
            iomap.dropped_by_kernel(file);
        }
        Ok(view.inode().size_bytes())
    })?;
    Ok(Reply::Ioend(IoendOut { newsize }))
}

/// An operation is over. Nothing was held for it; but if it made the file longer, IOEND may
/// stay away: in the last block, which is written already, for one.
pub(crate) fn end(
    server: &Server,
    iomap: &Iomap,
    header: &InHeader,
    ended: &EndIn,
) -> Result<Reply<'static>, Failure> {
    let file = number_of(header.nodeid)?;
    if ended.opflags & !iomap_op::KNOWN != 0 || ended.attr_ino != u64::from(file.0) {
        return Err(Errno::INVAL.into());
    }
    let written = u64::try_from(ended.written).unwrap_or(0);
    if ended.map.flags & iomap_flag::SIZE_CHANGED != 0 && written > 0 {
        let size = ended.pos.checked_add(written);
        let size = size.filter(|&size| size <= iomap.geometry.max_bytes);
        // Only of files that are there something is remembered.
        server.volume.inode(file)?;
        iomap.files.grown(file, size.ok_or(Errno::INVAL)?);
    }
    Ok(Reply::Done)
}

/// Records the size the kernel has spoken of, unless an IOEND is still owed for what lies there.
/// To be called when the kernel has written its pages back, or will never do so.
pub(crate) fn settle_size(server: &Server, iomap: &Iomap, file: InodeNumber) {
    if iomap.files.grown_to(file).is_none() {
        return;
    }
    let Some(_thawed) = iomap.freezer().thawed() else {
        return; // It is remembered.
    };
    let Some(volume) = server.volume.writer() else {
        return;
    };
    // What was said may be void by the time the file is locked: it may be cut.
    let size = || iomap.files.grown_to(file);
    let raised = |size| iomap.files.recorded(file, size);
    match volume.raise_size(file, size, raised) {
        Err(error) if *error.kind() == ErrorKind::Stale => iomap.files.resized(file),
        Err(error) => server.complaints.report(&error),
        Ok(()) => {}
    }
}

/// The same for all files.
pub(crate) fn settle_all_sizes(server: &Server, iomap: &Iomap) {
    for file in iomap.files.all_grown() {
        settle_size(server, iomap, file);
    }
}

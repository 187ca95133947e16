//! IOEND and END: what the kernel has written.

use fs_core::{ExtentState, InodeNumber, WriteCompletion, WriteContext};
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
        iomap.files.set_swap_file(file, false);
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
            let run = view.around(iomap.geometry.block_of(done.pos))?;
            iomap.push(view, &run)?;
            iomap.dropped_by_kernel(file);
        }
        Ok(view.inode().size_bytes())
    })?;
    Ok(Reply::Ioend(IoendOut { newsize }))
}

/// An operation is over. Nothing was held for it; but if it made the file longer, IOEND may
/// stay away: in the last block, which is written already, for one.
pub(crate) fn end(
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
        let size = ended.pos.checked_add(written).ok_or(Errno::INVAL)?;
        iomap.files.grown(file, size);
    }
    Ok(Reply::Done)
}

/// Records the size the kernel has spoken of, if what lies there has been written. To be called
/// when the kernel has written its pages back, or will never do so.
pub(crate) fn settle_size(server: &Server, iomap: &Iomap, file: InodeNumber) {
    let Some(size) = iomap.files.grown_to(file) else {
        return;
    };
    if iomap.freezer().is_frozen() {
        return; // It is remembered.
    }
    if let Err(error) = raise_size(server, iomap, file, size) {
        server.complaints.report(&error);
    }
}

/// The same for all files.
pub(crate) fn settle_all_sizes(server: &Server, iomap: &Iomap) {
    for file in iomap.files.all_grown() {
        settle_size(server, iomap, file);
    }
}

fn raise_size(server: &Server, iomap: &Iomap, file: InodeNumber, size: u64) -> fs_core::Result<()> {
    let Some(volume) = server.volume.writer() else {
        return Ok(());
    };
    let last = size.saturating_sub(1);
    let state = volume.with_mapping(file, |view| {
        let recorded = view.inode().size_bytes();
        if view.is_inline() || recorded >= size {
            iomap.files.recorded(file, size.max(recorded));
            return Ok(None);
        }
        let run = view.around(iomap.geometry.block_of(last))?;
        Ok(Some(run.state))
    })?;
    match state {
        // An unwritten block has an IOEND to come.
        None | Some(ExtentState::Unwritten(_)) => return Ok(()),
        Some(ExtentState::Written(_)) => {
            let completion = WriteCompletion {
                offset: last,
                len_bytes: 1,
                converts: false,
            };
            volume.complete_write(file, completion, |_| Ok(()))?;
        }
        // It has been punched out since.
        Some(ExtentState::Hole) => {
            let context = WriteContext {
                keeps_times: true,
                kernel_moves_content: true,
                ..WriteContext::default()
            };
            volume.truncate_as(file, size, context)?;
        }
    }
    iomap.files.recorded(file, size);
    Ok(())
}

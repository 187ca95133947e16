//! READ, LSEEK, BMAP.

use fs_core::{ExtentState, FileBlock, FileType, Inode, SeekTarget, Segment};
use rustix::io::Errno;

use crate::failure::Failure;
use crate::gather::Gather;
use crate::iomap::Iomap;
use crate::negotiate::REQUEST_BYTES_MAX;
use crate::replies::{Pieces, Reply, Sent};
use crate::scratch::Scratch;
use crate::served::Served;
use crate::server::Server;
use crate::wire::{BmapIn, BmapOut, LseekIn, LseekOut, ReadIn, whence};

/// Reads and sends. Where the bytes of a volume that can change lie they stay only as long as
/// the file is locked, so they are sent meanwhile: the way to the kernel waits for nobody.
pub(crate) fn read(
    server: &Server,
    nodeid: u64,
    arguments: &ReadIn,
    scratch: &mut Scratch,
    send: impl FnOnce(Reply<'_>) -> Sent,
) -> Result<Sent, Failure> {
    let size = usize::try_from(arguments.size).map_err(|_| Errno::INVAL)?;
    if size > REQUEST_BYTES_MAX {
        return Err(Errno::INVAL.into());
    }
    let file = server.inode(nodeid)?;
    if file.file_type() == FileType::Directory {
        return Err(Errno::ISDIR.into());
    }
    if let Ok(iomap) = server.iomap()
        && file.has_inline_data()
    {
        return Ok(send(Reply::Bytes(
            inline_content(server, iomap, &file, arguments)?.into(),
        )));
    }
    announce(server, &file, arguments, &mut scratch.segments);
    let memory = std::mem::take(&mut scratch.pieces);
    let buffer = scratch.data.bytes_mut();
    let device = server.volume.device().as_ref();
    let (offset, len) = (arguments.offset, u64::from(arguments.size));
    let gather_and_send = |segments: &[Segment]| {
        let gather = Gather::new(device, Pieces::reusing(memory), buffer, size);
        Ok(send(Reply::Pieces(gather.collect(segments)?)))
    };
    match &server.volume {
        Served::Reading(volume) => {
            let segments = &mut scratch.segments;
            segments.clear();
            volume.read_plan(&file, offset, len, segments)?;
            gather_and_send(segments)
        }
        Served::Writing(volume) => {
            volume.with_read_plan(file.number(), offset, len, gather_and_send)?
        }
    }
}

/// What a file that lies in its inode has at a place, with zeros behind it as a block has: the
/// kernel fills a page with it, and takes an empty answer for a failure.
fn inline_content(
    server: &Server,
    iomap: &Iomap,
    file: &Inode,
    arguments: &ReadIn,
) -> Result<Vec<u8>, Failure> {
    let room = u64::from(iomap.block_bytes()).saturating_sub(arguments.offset);
    let len = usize::try_from(room.min(arguments.size.into())).map_err(|_| Errno::INVAL)?;
    let mut content = vec![0; len];
    server
        .volume
        .read_now(file, &mut content, arguments.offset)?;
    Ok(content)
}

/// Tells the device what a sequential reader will want next. A hint: errors
/// will come again with the read itself.
fn announce(server: &Server, file: &Inode, arguments: &ReadIn, segments: &mut Vec<Segment>) {
    let len = u64::from(arguments.size);
    let note = server.read_ahead.note(file.number(), arguments.offset, len);
    let Some((offset, len)) = note else {
        return;
    };
    segments.clear();
    if server
        .volume
        .peek_plan(file, offset, len, segments)
        .is_err()
    {
        return;
    }
    for segment in segments.iter() {
        if let Segment::Device { offset, len_bytes } = segment {
            server.volume.device().prefetch(*offset, *len_bytes);
        }
    }
}

pub(crate) fn lseek(
    server: &Server,
    nodeid: u64,
    arguments: &LseekIn,
) -> Result<Reply<'static>, Failure> {
    let target = match arguments.whence {
        whence::SEEK_DATA => SeekTarget::Data,
        whence::SEEK_HOLE => SeekTarget::Hole,
        _ => return Err(Errno::INVAL.into()),
    };
    let file = server.inode(nodeid)?;
    let offset = server.volume.seek(&file, arguments.offset, target)?;
    Ok(Reply::Lseek(LseekOut { offset }))
}

/// Where a block of a file lies on the device, in blocks of the size asked in.
/// (Only a mount with a block device as its source is asked.)
pub(crate) fn bmap(
    server: &Server,
    nodeid: u64,
    arguments: &BmapIn,
) -> Result<Reply<'static>, Failure> {
    let file = server.inode(nodeid)?;
    let asked_bytes = u64::from(arguments.blocksize);
    let block_bytes = u64::from(server.volume.superblock().block_bytes);
    if asked_bytes == 0 || block_bytes == 0 {
        return Err(Errno::INVAL.into());
    }
    let offset = arguments
        .block
        .checked_mul(asked_bytes)
        .ok_or(Errno::INVAL)?;
    let block = FileBlock(offset / block_bytes);
    let extent = server.volume.map(&file, block)?;
    let block = match extent.state {
        ExtentState::Written(start) => block
            .0
            .checked_sub(extent.file_block.0)
            .and_then(|skipped| start.0.checked_add(skipped))
            .and_then(|device_block| device_block.checked_mul(block_bytes))
            .and_then(|bytes| bytes.checked_add(offset % block_bytes))
            .map(|bytes| bytes / asked_bytes)
            .ok_or(Errno::OVERFLOW)?,
        ExtentState::Hole | ExtentState::Unwritten(_) => 0,
    };
    Ok(Reply::Bmap(BmapOut { block }))
}

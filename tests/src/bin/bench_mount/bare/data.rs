//! READ and WRITE.

use rustix::io::Errno;

use super::Server;
use super::content::{Content, IN_MEMORY_MAX};
use super::nodes::{Kind, Node};
use super::requests::Request;
use super::wire::{ReadIn, WriteIn, WriteOut, write_flag};

/// Reads to the start of `data`; returns how many bytes.
pub(super) fn read(
    server: &Server,
    request: &Request<'_>,
    data: &mut [u8],
) -> Result<usize, Errno> {
    let (arguments, _) = request.first::<ReadIn>()?;
    let nodes = server.nodes.lock();
    let node = nodes.get(request.header.nodeid)?;
    let left = node.attr.size.saturating_sub(arguments.offset);
    let len = left.min(u64::from(arguments.size)) as usize;
    let data = data.get_mut(..len).ok_or(Errno::INVAL)?;
    match &node.kind {
        Kind::File(Content::Memory(bytes)) => {
            let start = bytes.len().min(arguments.offset as usize);
            let (_, found) = bytes.split_at(start);
            let (there, hole) = data.split_at_mut(found.len().min(len));
            there.copy_from_slice(found.get(..there.len()).unwrap_or_default());
            hole.fill(0);
        }
        &Kind::File(Content::Region(region)) => {
            drop(nodes);
            server.store.read(region, data, arguments.offset)?;
        }
        _ => return Err(Errno::INVAL),
    }
    Ok(len)
}

/// Writes all.
pub(super) fn write(server: &Server, request: &Request<'_>) -> Result<WriteOut, Errno> {
    let (arguments, data) = request.first::<WriteIn>()?;
    let (offset, len) = (arguments.offset, data.len() as u64);
    let end = offset.checked_add(len).ok_or(Errno::FBIG)?;
    let mut nodes = server.nodes.lock();
    let node = nodes.get_mut(request.header.nodeid)?;
    if arguments.write_flags & write_flag::CACHE == 0 {
        // Otherwise the kernel knows the time, and tells.
        node.touch();
    }
    node.set_size(end.max(node.attr.size));
    let Kind::File(content) = &mut node.kind else {
        return Err(Errno::INVAL);
    };
    let region = match content {
        Content::Memory(bytes) if end <= IN_MEMORY_MAX => {
            let (start, end) = (offset as usize, end as usize);
            bytes.resize(end.max(bytes.len()), 0);
            let room = bytes.get_mut(start..end).ok_or(Errno::INVAL)?;
            room.copy_from_slice(data);
            None
        }
        Content::Memory(bytes) => {
            let region = server.store.take();
            server.store.write(region, bytes, 0)?;
            *content = Content::Region(region);
            Some(region)
        }
        Content::Region(region) => Some(*region),
    };
    drop(nodes);
    if let Some(region) = region {
        server.store.write(region, data, offset)?;
    }
    let size = arguments.size;
    Ok(WriteOut { size, padding: 0 })
}

impl Node {
    /// The size, and as many blocks.
    pub(super) fn set_size(&mut self, size: u64) {
        self.attr.size = size;
        self.attr.blocks = size.div_ceil(4096) * 8;
    }
}

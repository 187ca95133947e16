//! READDIR and READDIRPLUS.

use rustix::io::Errno;
use zerocopy::IntoBytes;

use super::directory::DOTS;
use super::nodes::Nodes;
use super::wire::{DIRENT_ALIGN, Dirent, EntryOut, ReadIn};

/// What one record says.
struct Record<'a> {
    cookie: u64,
    name: &'a [u8],
    node: u64,
}

/// Fills `reply` with records, each with its node's attributes if `plus`.
pub(super) fn read(
    nodes: &mut Nodes,
    number: u64,
    arguments: &ReadIn,
    plus: bool,
    reply: &mut Vec<u8>,
) -> Result<(), Errno> {
    let directory = nodes.directory(number)?;
    let dots = [(1, &b"."[..], number), (DOTS, b"..", directory.parent)];
    let dots = dots
        .into_iter()
        .filter(|(cookie, ..)| *cookie > arguments.offset);
    let entries = directory.after(arguments.offset.max(DOTS));
    let limit = arguments.size as usize;
    let mut told = Vec::new();
    for (cookie, name, node) in dots.chain(entries) {
        let record = Record { cookie, name, node };
        let start = reply.len();
        let kind = nodes.get(node)?.attr.mode >> 12;
        if !append(reply, &record, kind, plus, limit) {
            break;
        }
        // Nothing is said of where one is already.
        if plus && cookie > DOTS {
            told.push((start, node));
        }
    }
    for (start, node) in told {
        let entry = nodes.tell(node)?;
        let room = reply.get_mut(start..start + size_of::<EntryOut>());
        room.ok_or(Errno::IO)?.copy_from_slice(entry.as_bytes());
    }
    Ok(())
}

/// False if there is no room.
fn append(reply: &mut Vec<u8>, record: &Record<'_>, kind: u32, plus: bool, limit: usize) -> bool {
    let plus_len = if plus { size_of::<EntryOut>() } else { 0 };
    let len = plus_len + size_of::<Dirent>() + record.name.len();
    let end = reply.len() + len.next_multiple_of(DIRENT_ALIGN);
    if end > limit {
        return false;
    }
    let dirent = Dirent {
        ino: record.node,
        off: record.cookie,
        namelen: record.name.len() as u32,
        kind,
    };
    reply.resize(reply.len() + plus_len, 0);
    reply.extend_from_slice(dirent.as_bytes());
    reply.extend_from_slice(record.name);
    reply.resize(end, 0);
    true
}

//! LOOKUP, READLINK, OPEN, OPENDIR.

use std::borrow::Cow;

use fs_core::{Error, ErrorKind, Inode, InodeNumber, Volume};
use rustix::io::Errno;
use std::sync::Arc;

use crate::attributes;
use crate::failure::Failure;
use crate::replies::Reply;
use crate::server::Server;
use crate::wire::{EntryOut, OpenOut, fopen};

/// Longest target the kernel has room for (a page less its NUL).
const LINK_BYTES_MAX: usize = 4095;

pub(crate) fn lookup(server: &Server, parent: u64, name: &[u8]) -> Result<Reply<'static>, Failure> {
    let parent = server.inode(parent)?;
    let Some(number) = find(server, &parent, name)? else {
        // Node 0 with a time: the kernel may remember that there is none.
        return Ok(Reply::Entry(EntryOut {
            entry_valid: server.valid_seconds,
            ..EntryOut::default()
        }));
    };
    let child = named_inode(&server.volume, &parent, number)?;
    Ok(Reply::Entry(attributes::entry(server, &child)?))
}

/// The inode a name stands for. "." is asked of any node, not only of
/// directories, by who has nothing but a file handle (NFS).
fn find(server: &Server, parent: &Inode, name: &[u8]) -> Result<Option<InodeNumber>, Failure> {
    if name == b"." {
        return Ok(Some(parent.number()));
    }
    let found = server.volume.lookup(parent, name)?;
    if found == Some(InodeNumber::ROOT) && name != b".." {
        let error = Error::corrupt(
            format!("directory {}", parent.number()),
            None,
            "no name for the root directory",
            String::from_utf8_lossy(name),
        );
        return Err(error.into());
    }
    Ok(found)
}

/// An inode a directory names: that it is not in use is damage there, not the
/// caller's mistake.
pub(crate) fn named_inode(
    volume: &Volume,
    directory: &Inode,
    number: InodeNumber,
) -> Result<Arc<Inode>, Error> {
    volume.inode(number).map_err(|error| match error.kind() {
        ErrorKind::Stale => Error::corrupt(
            format!("directory {}", directory.number()),
            None,
            "names of inodes in use",
            format_args!("inode {number}"),
        ),
        _ => error,
    })
}

pub(crate) fn readlink(server: &Server, nodeid: u64) -> Result<Reply<'static>, Failure> {
    let link = server.inode(nodeid)?;
    let target = server.volume.read_link(&link)?;
    if target.len() > LINK_BYTES_MAX {
        return Err(Errno::NAMETOOLONG.into());
    }
    Ok(Reply::Bytes(Cow::Owned(target)))
}

/// "Not implemented" means to a kernel that knows the rule: open files without
/// asking, and cache them as if every open had been answered with the flags below.
pub(crate) fn open(server: &Server) -> Result<Reply<'static>, Failure> {
    if server.agreed.no_open {
        return Err(Errno::NOSYS.into());
    }
    Ok(opened(fopen::KEEP_CACHE | fopen::NOFLUSH))
}

pub(crate) fn opendir(server: &Server) -> Result<Reply<'static>, Failure> {
    if server.agreed.no_opendir {
        return Err(Errno::NOSYS.into());
    }
    Ok(opened(fopen::KEEP_CACHE | fopen::CACHE_DIR))
}

fn opened(open_flags: u32) -> Reply<'static> {
    Reply::Open(OpenOut {
        open_flags,
        ..OpenOut::default()
    })
}

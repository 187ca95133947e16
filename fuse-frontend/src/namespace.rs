//! LOOKUP, READLINK, OPEN, OPENDIR.

use std::borrow::Cow;

use fs_core::{Error, ErrorKind, FileType, Inode, InodeFlags, InodeNumber};
use rustix::io::Errno;
use std::sync::Arc;

use crate::attributes;
use crate::failure::Failure;
use crate::iomap;
use crate::replies::Reply;
use crate::served::{Found, Served};
use crate::server::{Server, number_of};
use crate::wire::{EntryOut, OpenOut, fopen};

/// Longest target the kernel has room for (a page less its NUL).
const LINK_BYTES_MAX: usize = 4095;

pub(crate) fn lookup(
    server: &Server,
    parent: u64,
    name: &[u8],
    granted: &mut Vec<InodeNumber>,
) -> Result<Reply<'static>, Failure> {
    let parent = server.inode(parent)?;
    let child = match find(server, &parent, name)? {
        // Node 0 with a time: the kernel may remember that there is none.
        None => {
            return Ok(Reply::Entry(EntryOut {
                entry_valid: server.valid_seconds,
                ..EntryOut::default()
            }));
        }
        Some(Found::Named(number)) => named_inode(&server.volume, &parent, number)?,
        Some(Found::Held(inode)) => {
            granted.push(inode.number());
            inode
        }
    };
    Ok(Reply::Entry(attributes::entry(server, &child)?))
}

/// The inode a name stands for. "." is asked of any node, not only of
/// directories, by who has nothing but a file handle (NFS).
fn find(server: &Server, parent: &Inode, name: &[u8]) -> Result<Option<Found>, Failure> {
    if name == b"." {
        return itself(server, parent).map(Some);
    }
    let found = server.volume.find(parent, name)?;
    let number = found.as_ref().map(Found::number);
    if number == Some(InodeNumber::ROOT) && name != b".." {
        if let Some(Found::Held(_)) = found {
            server.forget(InodeNumber::ROOT, 1);
        }
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

fn itself(server: &Server, inode: &Inode) -> Result<Found, Failure> {
    let Some(volume) = server.volume.writer() else {
        return Ok(Found::Named(inode.number()));
    };
    volume.retain(inode.number())?;
    Ok(Found::Held(volume.inode(inode.number())?))
}

/// An inode a directory names: that it is not in use is damage there, not the
/// caller's mistake.
pub(crate) fn named_inode(
    volume: &Served,
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
pub(crate) fn open(
    server: &Server,
    nodeid: u64,
    flags: u32,
    held: &mut Option<(InodeNumber, u64)>,
) -> Result<Reply<'static>, Failure> {
    if server.agreed.no_open {
        return Err(Errno::NOSYS.into());
    }
    if server.volume.writer().is_some() {
        let file = server.inode(nodeid)?;
        let writes = flags & ACCESS_MODE != READ_ONLY;
        let is_kept = |flag| file.flags().contains(flag) && file.file_type() == FileType::Regular;
        let is_refused = writes && is_kept(InodeFlags::IMMUTABLE)
            || writes && flags & APPEND == 0 && is_kept(InodeFlags::APPEND);
        if is_refused {
            return Err(Errno::PERM.into());
        }
    }
    let Ok(iomap) = server.iomap() else {
        return Ok(opened(OPEN_FLAGS, 0));
    };
    let file = server.inode(nodeid)?;
    let handle = iomap::opened(server, iomap, &file, flags);
    *held = Some((file.number(), handle));
    Ok(opened(OPEN_FLAGS, handle))
}

/// The kernel has closed what was opened with this handle.
pub(crate) fn release(server: &Server, nodeid: u64, handle: u64) {
    if let Ok(file) = number_of(nodeid) {
        close(server, file, handle);
    }
}

/// A handle is gone, or has never been taken.
pub(crate) fn close(server: &Server, file: InodeNumber, handle: u64) {
    if let Ok(iomap) = server.iomap() {
        iomap::released(server, iomap, file, handle);
    }
}

/// How files are opened: as the kernel does it where it does not ask.
pub(crate) const OPEN_FLAGS: u32 =
    fopen::KEEP_CACHE | fopen::NOFLUSH | fopen::PARALLEL_DIRECT_WRITES;

/// `O_ACCMODE`, `O_RDONLY` and `O_APPEND` of open(2).
const ACCESS_MODE: u32 = 0o3;
const READ_ONLY: u32 = 0;
const APPEND: u32 = 0o2000;

pub(crate) fn opendir(server: &Server) -> Result<Reply<'static>, Failure> {
    if server.agreed.no_opendir {
        return Err(Errno::NOSYS.into());
    }
    Ok(opened(fopen::KEEP_CACHE | fopen::CACHE_DIR, 0))
}

fn opened(open_flags: u32, fh: u64) -> Reply<'static> {
    Reply::Open(OpenOut {
        fh,
        open_flags,
        ..OpenOut::default()
    })
}

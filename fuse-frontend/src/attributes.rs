//! GETATTR, STATX, ACCESS and STATFS, and how an inode becomes attributes.

use fs_core::{Error, FileType, Inode, InodeFlags, Timestamp};
use rustix::io::Errno;

use crate::failure::Failure;
use crate::iomap::Iomap;
use crate::replies::Reply;
use crate::server::Server;
use crate::wire::{
    Attr, AttrOut, EntryOut, StatfsOut, Statx, StatxOut, SxTime, W_OK, X_OK, statx_mask,
};

pub(crate) fn getattr(server: &Server, nodeid: u64) -> Result<Reply<'static>, Failure> {
    let inode = server.inode(nodeid)?;
    Ok(Reply::Attr(AttrOut {
        attr_valid: server.valid_seconds,
        attr: attr(server, &inode)?,
        ..AttrOut::default()
    }))
}

pub(crate) fn statx(server: &Server, nodeid: u64) -> Result<Reply<'static>, Failure> {
    let inode = server.inode(nodeid)?;
    let attr = attr(server, &inode)?;
    let btime = inode.created();
    let (rdev_major, rdev_minor) = inode.device_number().unwrap_or_default();
    let atomic_bytes = match inode.file_type() {
        FileType::Regular => server.iomap().map_or(0, Iomap::atomic_write_bytes),
        _ => 0,
    };
    let stat = Statx {
        mask: statx_mask::BASIC_STATS | btime.map_or(0, |_| statx_mask::BTIME),
        blksize: attr.blksize,
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        mode: server.presentation.mode(&inode),
        ino: attr.ino,
        size: attr.size,
        blocks: attr.blocks,
        atime: sx_time(inode.accessed()),
        btime: sx_time(btime.unwrap_or_default()),
        ctime: sx_time(inode.changed()),
        mtime: sx_time(inode.modified()),
        rdev_major,
        rdev_minor,
        atomic_write_unit_min: atomic_bytes,
        atomic_write_unit_max: atomic_bytes,
        atomic_write_segments_max: u32::from(atomic_bytes > 0),
        ..Statx::default()
    };
    Ok(Reply::Statx(StatxOut {
        attr_valid: server.valid_seconds,
        stat,
        ..StatxOut::default()
    }))
}

/// Execute permission of owner, group and others.
const EXECUTE_BITS: u16 = 0o111;

/// Only asked where the kernel does not check permissions: there everything is
/// allowed but writing to what cannot be written, and executing what nobody may execute.
pub(crate) fn access(server: &Server, nodeid: u64, mask: u32) -> Result<Reply<'static>, Failure> {
    let inode = server.inode(nodeid)?;
    if mask & W_OK != 0 {
        server.writer()?;
        if inode.flags().contains(InodeFlags::IMMUTABLE) {
            return Err(Errno::PERM.into());
        }
    }
    let is_executable = inode.file_type() == FileType::Directory
        || server.presentation.mode(&inode) & EXECUTE_BITS != 0;
    if mask & X_OK != 0 && !is_executable {
        return Err(Errno::ACCESS.into());
    }
    Ok(Reply::Done)
}

pub(crate) fn statfs(server: &Server) -> Reply<'static> {
    let numbers = server.volume.statfs();
    Reply::StatFs(StatfsOut {
        blocks: numbers.blocks,
        bfree: numbers.blocks_free,
        bavail: numbers.blocks_available,
        files: numbers.inodes,
        ffree: numbers.inodes_free,
        bsize: numbers.block_bytes,
        namelen: numbers.name_len_max,
        frsize: numbers.block_bytes,
        ..StatfsOut::default()
    })
}

/// A name's node with its attributes, for LOOKUP and READDIRPLUS.
pub(crate) fn entry(server: &Server, inode: &Inode) -> Result<EntryOut, Failure> {
    let nodeid = crate::node::node_of(inode.number());
    let generation = match nodeid {
        // The kernel insists on this one.
        crate::wire::FUSE_ROOT_ID => 0,
        _ => u64::from(inode.generation()),
    };
    Ok(EntryOut {
        nodeid,
        generation,
        entry_valid: server.valid_seconds,
        attr_valid: server.valid_seconds,
        attr: attr(server, inode)?,
        ..EntryOut::default()
    })
}

pub(crate) fn attr(server: &Server, inode: &Inode) -> Result<Attr, Failure> {
    let size = inode.size_bytes();
    if i64::try_from(size).is_err() {
        return Err(impossible_size(inode).into());
    }
    let show = &server.presentation;
    Ok(Attr {
        ino: u64::from(inode.number().0),
        size,
        blocks: inode.blocks_512(),
        atime: inode.accessed().seconds,
        mtime: inode.modified().seconds,
        ctime: inode.changed().seconds,
        atimensec: inode.accessed().nanos,
        mtimensec: inode.modified().nanos,
        ctimensec: inode.changed().nanos,
        mode: u32::from(show.mode(inode)),
        nlink: inode.links(),
        uid: show.uid(inode),
        gid: show.gid(inode),
        rdev: inode.device_number().map_or(0, encode_device),
        blksize: server.volume.superblock().block_bytes,
        flags: server.iomap().map_or(0, |iomap| iomap.attr_flags(inode)),
    })
}

fn impossible_size(inode: &Inode) -> Error {
    Error::corrupt(
        format!("inode {}", inode.number()),
        None,
        format_args!("a size of at most {} bytes", i64::MAX),
        inode.size_bytes(),
    )
}

fn sx_time(time: Timestamp) -> SxTime {
    SxTime {
        tv_sec: time.seconds,
        tv_nsec: time.nanos,
        ..SxTime::default()
    }
}

/// A device number as the kernel's `new_encode_dev` packs it.
fn encode_device((major, minor): (u32, u32)) -> u32 {
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers() {
        assert_eq!(encode_device((8, 1)), 0x0801);
        assert_eq!(encode_device((259, 0x12345)), 0x1231_0345);
    }
}

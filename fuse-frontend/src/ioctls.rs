//! IOCTL: inode flags, generation, project, label, and the server's status.
//!
//! A reply has exactly the size of the structure in question, not that of the
//! command's number: some numbers say "long" where everybody passes an int.

use fs_core::{Inode, InodeFlags, USER_VISIBLE_FLAGS};
use rustix::io::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::changes;
use crate::control;
use crate::control::{EXTMAP_IOC_SERVER, EXTMAP_IOC_STATUS, Identity};
use crate::failure::Failure;
use crate::replies::Reply;
use crate::server::Server;
use crate::status::Status;
use crate::wire::{InHeader, IoctlIn, IoctlOut};

const FS_IOC_GETFLAGS: u32 = 0x8008_6601;
const FS_IOC32_GETFLAGS: u32 = 0x8004_6601;
const FS_IOC_GETVERSION: u32 = 0x8008_7601;
const FS_IOC32_GETVERSION: u32 = 0x8004_7601;
const EXT4_IOC_GETVERSION: u32 = 0x8008_6603;
const EXT4_IOC32_GETVERSION: u32 = 0x8004_6603;
const FS_IOC_FSGETXATTR: u32 = 0x801c_581f;
const FS_IOC_GETFSLABEL: u32 = 0x8100_9431;
const FS_IOC_GETFSUUID: u32 = 0x8011_1500;

/// Commands that change a file or the file system. Of a volume open for writing
/// `changes::ioctl` does them, but for MIGRATE.
const WRITING: [u32; 8] = [
    0x4008_6602, // FS_IOC_SETFLAGS
    0x4004_6602, // FS_IOC32_SETFLAGS
    0x401c_5820, // FS_IOC_FSSETXATTR
    0x4008_7602, // FS_IOC_SETVERSION
    0x4008_6604, // EXT4_IOC_SETVERSION
    0x4100_9432, // FS_IOC_SETFSLABEL
    0x0000_6609, // EXT4_IOC_MIGRATE
    0xc018_5879, // FITRIM
];

const LABEL_BYTES: usize = 256;

/// `struct fsxattr`
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct FsXattr {
    pub(crate) fsx_xflags: u32,
    pub(crate) fsx_extsize: u32,
    pub(crate) fsx_nextents: u32,
    pub(crate) fsx_projid: u32,
    pub(crate) fsx_cowextsize: u32,
    pub(crate) fsx_pad: [u8; 8],
}
const _: () = assert!(size_of::<FsXattr>() == 28);

/// `struct fsuuid2`
#[derive(Debug, Clone, Copy, IntoBytes, Immutable)]
#[repr(C)]
struct FsUuid2 {
    len: u8,
    uuid: [u8; 16],
}
const _: () = assert!(size_of::<FsUuid2>() == 17);

pub(crate) fn ioctl(
    server: &Server,
    header: &InHeader,
    arguments: &IoctlIn,
    given: &[u8],
) -> Result<Reply<'static>, Failure> {
    let nodeid = header.nodeid;
    if WRITING.contains(&arguments.cmd)
        && let Some(answer) = changes::ioctl(server, header, arguments, given)?
    {
        return reply(arguments, answer);
    }
    let data = match arguments.cmd {
        FS_IOC_GETFLAGS | FS_IOC32_GETFLAGS => {
            let flags = server.inode(nodeid)?.flags() & USER_VISIBLE_FLAGS;
            flags.bits().to_ne_bytes().to_vec()
        }
        FS_IOC_GETVERSION | FS_IOC32_GETVERSION | EXT4_IOC_GETVERSION | EXT4_IOC32_GETVERSION => {
            let generation = server.inode(nodeid)?.generation();
            generation.to_ne_bytes().to_vec()
        }
        FS_IOC_FSGETXATTR => bytes_of(&fsxattr(&*server.inode(nodeid)?)),
        FS_IOC_GETFSLABEL => match server.new_label.lock().as_ref() {
            Some(new) => label(new),
            None => label(&server.volume.superblock().label),
        },
        FS_IOC_GETFSUUID => bytes_of(&FsUuid2 {
            len: 16,
            uuid: *server.volume.superblock().uuid.as_bytes(),
        }),
        EXTMAP_IOC_SERVER => bytes_of(&Identity::of_this_process()),
        EXTMAP_IOC_STATUS => control::status_bytes(&Status::of(server)),
        _ => return Err(Errno::NOTTY.into()),
    };
    reply(arguments, data)
}

fn reply(arguments: &IoctlIn, data: Vec<u8>) -> Result<Reply<'static>, Failure> {
    if usize::try_from(arguments.out_size).is_ok_and(|room| room < data.len()) {
        return Err(Errno::INVAL.into());
    }
    Ok(Reply::Ioctl(IoctlOut::default(), data))
}

fn bytes_of<T: IntoBytes + Immutable>(value: &T) -> Vec<u8> {
    value.as_bytes().to_vec()
}

fn label(label: &[u8]) -> Vec<u8> {
    let mut bytes = label.to_vec();
    // The last byte stays 0.
    bytes.truncate(LABEL_BYTES - 1);
    bytes.resize(LABEL_BYTES, 0);
    bytes
}

fn fsxattr(inode: &Inode) -> FsXattr {
    FsXattr {
        fsx_xflags: xflags(inode.flags()),
        fsx_projid: inode.project_id(),
        ..FsXattr::default()
    }
}

/// `FS_XFLAG_` bits and the inode flags they mirror.
pub(crate) const XFLAGS: [(u32, InodeFlags); 7] = [
    (0x0000_0008, InodeFlags::IMMUTABLE),
    (0x0000_0010, InodeFlags::APPEND),
    (0x0000_0020, InodeFlags::SYNC),
    (0x0000_0040, InodeFlags::NOATIME),
    (0x0000_0080, InodeFlags::NODUMP),
    (0x0000_0200, InodeFlags::PROJINHERIT),
    (0x0000_8000, InodeFlags::DAX),
];

fn xflags(flags: InodeFlags) -> u32 {
    XFLAGS
        .iter()
        .filter(|(_, flag)| flags.contains(*flag))
        .fold(0, |bits, (bit, _)| bits | bit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_end_with_nul() {
        assert_eq!(label(b"disk")[..5], *b"disk\0");
        let long = label(&[b'x'; 300]);
        assert_eq!((long.len(), long[254], long[255]), (256, b'x', 0));
    }

    #[test]
    fn xflags_mirror_flags() {
        let flags = InodeFlags::IMMUTABLE | InodeFlags::NOATIME | InodeFlags::EXTENTS;
        assert_eq!(xflags(flags), 0x48);
    }
}

//! IOCTL, as far as it changes something.

use fs_core::{ErrorKind, InodeFlags};
use rustix::io::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::caller::Caller;
use crate::failure::Failure;
use crate::ioctls::{FsXattr, XFLAGS};
use crate::server::{Server, number_of};
use crate::wire::{InHeader, IoctlIn};

const FS_IOC_SETFLAGS: u32 = 0x4008_6602;
const FS_IOC32_SETFLAGS: u32 = 0x4004_6602;
const FS_IOC_FSSETXATTR: u32 = 0x401c_5820;
const FS_IOC_SETVERSION: u32 = 0x4008_7602;
const EXT4_IOC_SETVERSION: u32 = 0x4008_6604;
const FS_IOC_SETFSLABEL: u32 = 0x4100_9432;
const FITRIM: u32 = 0xc018_5879;

/// Longest label, without a NUL.
const LABEL_BYTES_MAX: usize = 16;

/// `struct fstrim_range`, in bytes.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct FstrimRange {
    start: u64,
    len: u64,
    minlen: u64,
}

/// Whether a command sets a file's flags.
pub(crate) fn sets_flags(cmd: u32) -> bool {
    matches!(cmd, FS_IOC_SETFLAGS | FS_IOC32_SETFLAGS | FS_IOC_FSSETXATTR)
}

/// What the caller gets back; `None` if this command changes nothing.
pub(crate) fn ioctl(
    server: &Server,
    header: &InHeader,
    arguments: &IoctlIn,
    data: &[u8],
) -> Result<Option<Vec<u8>>, Failure> {
    let volume = server.writer()?;
    let caller = Caller::of(header);
    let inode = number_of(header.nodeid)?;
    let mut answer = Vec::new();
    match arguments.cmd {
        FS_IOC_SETFLAGS | FS_IOC32_SETFLAGS => {
            let flags = InodeFlags::from_bits_retain(number(data)?);
            volume.set_flags(inode, flags)?;
        }
        FS_IOC_FSSETXATTR => {
            let (wanted, _) = FsXattr::read_from_prefix(data).map_err(|_| Errno::INVAL)?;
            let found = volume.inode(inode)?;
            volume.set_flags(inode, flags_of(&wanted, found.flags(), found.project_id())?)?;
        }
        FS_IOC_SETVERSION | EXT4_IOC_SETVERSION => {
            let owner = volume.inode(inode)?.uid();
            let uid = caller.acting_uid();
            if uid != Some(0) && uid != Some(owner) {
                return Err(Errno::PERM.into());
            }
            let outcome = volume.set_generation(inode, number(data)?);
            outcome.map_err(|error| match error.kind() {
                // As Linux says it.
                ErrorKind::NotSupported(_) => Failure::from(Errno::NOTTY),
                _ => error.into(),
            })?;
        }
        FS_IOC_SETFSLABEL => {
            check_superuser(caller)?;
            let label = data.split(|&byte| byte == 0).next().unwrap_or_default();
            if label.len() > LABEL_BYTES_MAX {
                return Err(Errno::INVAL.into());
            }
            volume.set_label(label)?;
            *server.new_label.lock() = Some(label.to_vec());
        }
        FITRIM => {
            check_superuser(caller)?;
            let (mut range, _) = FstrimRange::read_from_prefix(data).map_err(|_| Errno::INVAL)?;
            range.len = volume.trim(range.start, range.len, range.minlen)?;
            answer = range.as_bytes().to_vec();
        }
        _ => return Ok(None),
    }
    if server.is_sync {
        volume.sync()?;
    }
    Ok(Some(answer))
}

fn check_superuser(caller: Caller) -> Result<(), Failure> {
    if caller.is_superuser() {
        return Ok(());
    }
    Err(Errno::PERM.into())
}

/// An int: what everybody passes, whatever the command's number says.
fn number(data: &[u8]) -> Result<u32, Failure> {
    let (number, _) = u32::read_from_prefix(data).map_err(|_| Errno::INVAL)?;
    Ok(number)
}

/// An inode's flags with those that have a double among the `FS_XFLAG_` set as wanted.
fn flags_of(wanted: &FsXattr, old: InodeFlags, project: u32) -> Result<InodeFlags, Failure> {
    let known = XFLAGS.iter().fold(0, |bits, (bit, _)| bits | bit);
    let is_possible = wanted.fsx_xflags & !known == 0
        && wanted.fsx_projid == project
        && wanted.fsx_extsize == 0
        && wanted.fsx_cowextsize == 0;
    if !is_possible {
        return Err(Errno::OPNOTSUPP.into());
    }
    let mut flags = old;
    for (bit, flag) in XFLAGS {
        flags.set(flag, wanted.fsx_xflags & bit != 0);
    }
    Ok(flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xflags_become_flags_and_others_stay() {
        let wanted = FsXattr {
            fsx_xflags: 0x8,
            ..FsXattr::default()
        };
        let old = InodeFlags::EXTENTS | InodeFlags::NODUMP;
        let flags = flags_of(&wanted, old, 0).expect("known flags");
        assert_eq!(flags, InodeFlags::EXTENTS | InodeFlags::IMMUTABLE);
        assert!(flags_of(&wanted, old, 7).is_err(), "another project");
        let unknown = FsXattr {
            fsx_xflags: 0x8000_0000,
            ..wanted
        };
        assert!(flags_of(&unknown, old, 0).is_err());
    }
}

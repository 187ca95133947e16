//! The ioctls the oracles compare, on an open file. The only file of this crate
//! with `unsafe`: rustix checks the calls, but an opcode's argument type is
//! ours to know.

#![allow(unsafe_code)]
// Naming an opcode's type and calling with it rest on the same claim.
#![allow(clippy::multiple_unsafe_ops_per_block)]

use rustix::io;
use rustix::ioctl::{Getter, Opcode, Setter, ioctl, opcode};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::os::fd::{AsFd, AsRawFd};

const FS_IOC_GETFLAGS: Opcode = opcode::read::<usize>(b'f', 1);
const FS_IOC_SETFLAGS: Opcode = opcode::write::<usize>(b'f', 2);
const FS_IOC_GETVERSION: Opcode = opcode::read::<usize>(b'v', 1);
const FS_IOC_FSGETXATTR: Opcode = opcode::read::<FsXattr>(b'X', 31);
const FS_IOC_FSSETXATTR: Opcode = opcode::write::<FsXattr>(b'X', 32);
const FS_IOC_GETFSLABEL: Opcode = opcode::read::<[u8; 256]>(0x94, 49);
const FUSE_DEV_IOC_CLONE: Opcode = opcode::read::<u32>(229, 0);
const EXT4_IOC_SHUTDOWN: Opcode = opcode::read::<u32>(b'X', 125);

/// `FS_IMMUTABLE_FL`.
pub const FLAG_IMMUTABLE: u32 = 0x10;
/// `FS_APPEND_FL`.
pub const FLAG_APPEND: u32 = 0x20;
/// `FS_NODUMP_FL`.
pub const FLAG_NODUMP: u32 = 0x40;
/// `FS_NOATIME_FL`.
pub const FLAG_NOATIME: u32 = 0x80;

/// `struct fsxattr` of linux/fs.h.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FsXattr {
    /// Flags in the `FS_XFLAG_` numbering.
    pub xflags: u32,
    /// Extent size hint, bytes.
    pub extsize: u32,
    /// Extents of the file, where the file system counts them.
    pub nextents: u32,
    /// Project identifier.
    pub projid: u32,
    /// Copy-on-write extent size hint, bytes.
    pub cowextsize: u32,
    /// Unused.
    pub pad: [u8; 8],
}

/// What `lsattr` shows.
pub fn get_flags(file: impl AsFd) -> io::Result<u32> {
    // SAFETY: the kernel writes 32 bits whatever the opcode's size says; a u32
    // is what every caller of FS_IOC_GETFLAGS passes.
    unsafe { ioctl(file, Getter::<FS_IOC_GETFLAGS, u32>::new()) }
}

/// What `chattr` sets.
pub fn set_flags(file: impl AsFd, flags: u32) -> io::Result<()> {
    // SAFETY: the kernel reads 32 bits for this opcode.
    unsafe { ioctl(file, Setter::<FS_IOC_SETFLAGS, u32>::new(flags)) }
}

/// The inode's generation number (`lsattr -v`).
pub fn get_version(file: impl AsFd) -> io::Result<u32> {
    // SAFETY: the kernel writes 32 bits for this opcode.
    unsafe { ioctl(file, Getter::<FS_IOC_GETVERSION, u32>::new()) }
}

/// Extended flags and the project identifier.
pub fn get_fsxattr(file: impl AsFd) -> io::Result<FsXattr> {
    // SAFETY: `FsXattr` has the layout the kernel writes.
    unsafe { ioctl(file, Getter::<FS_IOC_FSGETXATTR, FsXattr>::new()) }
}

/// Sets extended flags and the project identifier.
pub fn set_fsxattr(file: impl AsFd, value: FsXattr) -> io::Result<()> {
    // SAFETY: `FsXattr` has the layout the kernel reads.
    unsafe { ioctl(file, Setter::<FS_IOC_FSSETXATTR, FsXattr>::new(value)) }
}

/// The file system's label, without its padding.
pub fn get_label(file: impl AsFd) -> io::Result<Vec<u8>> {
    // SAFETY: the kernel writes FSLABEL_MAX (256) bytes.
    let label = unsafe { ioctl(file, Getter::<FS_IOC_GETFSLABEL, [u8; 256]>::new()) }?;
    Ok(label.into_iter().take_while(|&byte| byte != 0).collect())
}

/// Makes `fresh`, a newly opened `/dev/fuse`, a second descriptor of the connection behind
/// `session`.
pub fn clone_fuse_connection(fresh: impl AsFd, session: impl AsFd) -> io::Result<()> {
    let number = session.as_fd().as_raw_fd() as u32;
    // SAFETY: the kernel reads 32 bits for this opcode (its direction bits say otherwise).
    unsafe { ioctl(fresh, Setter::<FUSE_DEV_IOC_CLONE, u32>::new(number)) }
}

/// Writes `bytes` through a shared mapping of a file's first `len` bytes.
pub fn write_mapped(file: impl AsFd, len: usize, offset: usize, bytes: &[u8]) -> io::Result<()> {
    with_mapping(file, len, |address| {
        let Some(room) = len.checked_sub(offset).filter(|room| *room >= bytes.len()) else {
            return Err(io::Errno::INVAL);
        };
        // SAFETY: `offset` and what follows for `bytes.len()` lie in the mapping, of which
        // `room` bytes are left there.
        let target = unsafe { address.cast::<u8>().add(offset) };
        debug_assert!(room >= bytes.len());
        // SAFETY: as above; `bytes` is not part of the mapping.
        unsafe { target.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        Ok(())
    })
}

/// Reads through a shared mapping of a file's first `len` bytes.
pub fn read_mapped(
    file: impl AsFd,
    len: usize,
    offset: usize,
    count: usize,
) -> io::Result<Vec<u8>> {
    with_mapping(file, len, |address| {
        if len.checked_sub(offset).is_none_or(|room| room < count) {
            return Err(io::Errno::INVAL);
        }
        let mut bytes = vec![0; count];
        // SAFETY: the range lies in the mapping.
        let source = unsafe { address.cast::<u8>().add(offset) };
        // SAFETY: as above; `bytes` is not part of the mapping.
        unsafe { source.copy_to_nonoverlapping(bytes.as_mut_ptr(), count) };
        Ok(bytes)
    })
}

fn with_mapping<T>(
    file: impl AsFd,
    len: usize,
    act: impl FnOnce(*mut std::ffi::c_void) -> io::Result<T>,
) -> io::Result<T> {
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: the kernel chooses the address, so nothing of ours is there.
    let address = unsafe {
        mmap(
            std::ptr::null_mut(),
            len,
            protection,
            MapFlags::SHARED,
            file,
            0,
        )
    }?;
    let outcome = act(address);
    // SAFETY: nothing of the mapping is used any more.
    unsafe { munmap(address, len) }?;
    outcome
}

/// How [`shutdown`] treats the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// The running transaction is committed first, then nothing is written.
    FlushLog,
    /// Nothing more is written: a power cut.
    NoFlush,
}

/// Stops a mounted ext4 as a power cut would: from here on the kernel writes
/// nothing to the device, and the journal stays as it is.
pub fn shutdown(file: impl AsFd, how: Shutdown) -> io::Result<()> {
    let flags: u32 = match how {
        Shutdown::FlushLog => 1,
        Shutdown::NoFlush => 2,
    };
    // SAFETY: the kernel reads 32 bits for this opcode (its direction bits are
    // a historical mistake).
    unsafe { ioctl(file, Setter::<EXT4_IOC_SHUTDOWN, u32>::new(flags)) }
}

/// Gives a detached mount the owners of a user namespace: mount_setattr(2) with
/// `MOUNT_ATTR_IDMAP`.
pub fn map_mount(mount: impl AsFd, namespace: impl AsFd) -> std::io::Result<()> {
    /// `struct mount_attr` of linux/mount.h.
    #[repr(C)]
    struct MountAttr {
        attr_set: u64,
        attr_clr: u64,
        propagation: u64,
        userns_fd: u64,
    }
    const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;
    let attr = MountAttr {
        attr_set: MOUNT_ATTR_IDMAP,
        attr_clr: 0,
        propagation: 0,
        userns_fd: namespace.as_fd().as_raw_fd() as u64,
    };
    // SAFETY: the kernel reads an empty string and `attr`, whose size it is told.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            std::ptr::from_ref(&attr),
            size_of::<MountAttr>(),
        )
    };
    match answer {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

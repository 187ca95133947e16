//! The FUSE protocol as it lies in messages: structures, opcodes and flags.
//!
//! Field names are the kernel's (`include/uapi/linux/fuse.h`, protocol 7.45);
//! the offset stands beside each field. Everything is in the machine's own
//! byte order. Sizes are asserted, so that a change of a structure cannot pass
//! unnoticed.

use std::mem::size_of;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

macro_rules! wire {
    ($($(#[$doc:meta])* $name:ident[$size:literal] { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, KnownLayout, Immutable)]
            #[repr(C)]
            pub(crate) struct $name { $($(#[$field_doc])* pub(crate) $field: $type,)* }
            const _: () = assert!(size_of::<$name>() == $size);
        )*
    };
}

mod changes;
mod init;
mod iomap;
pub(crate) mod opcode;
mod replies;
mod requests;

pub(crate) use changes::*;
pub(crate) use init::*;
pub(crate) use iomap::*;
pub(crate) use replies::*;
pub(crate) use requests::*;

/// The node number of the root directory.
pub(crate) const FUSE_ROOT_ID: u64 = 1;

/// Flags of `fuse_open_out.open_flags`.
pub(crate) mod fopen {
    /// Keep cached pages over the open.
    pub(crate) const KEEP_CACHE: u32 = 1 << 1;
    /// Keep the directory's entries cached.
    pub(crate) const CACHE_DIR: u32 = 1 << 3;
    /// Send no FLUSH at close.
    pub(crate) const NOFLUSH: u32 = 1 << 5;
    /// Several direct writes at a time, as long as the file does not grow.
    pub(crate) const PARALLEL_DIRECT_WRITES: u32 = 1 << 6;
}

/// Bits of `FuseStatx.mask`: those of statx(2).
pub(crate) mod statx_mask {
    /// Everything stat(2) knows.
    pub(crate) const BASIC_STATS: u32 = 0x7ff;
    /// The creation time.
    pub(crate) const BTIME: u32 = 0x800;
}

/// `fuse_lseek_in.whence`, as lseek(2) has it.
pub(crate) mod whence {
    pub(crate) const SEEK_DATA: u32 = 3;
    pub(crate) const SEEK_HOLE: u32 = 4;
}

/// `fuse_access_in.mask`: the right to write.
pub(crate) const W_OK: u32 = 2;
/// access(2): executing.
pub(crate) const X_OK: u32 = 1;

wire! {
    /// `fuse_in_header`: starts every request.
    InHeader[40] {
        /// @0 of the whole message.
        len: u32,
        /// @4 one of [`opcode`].
        opcode: u32,
        /// @8 names the request in its reply.
        unique: u64,
        /// @16
        nodeid: u64,
        /// @24 of the caller.
        uid: u32,
        /// @28
        gid: u32,
        /// @32
        pid: u32,
        /// @36 length of extensions at the end, in units of 8 bytes.
        total_extlen: u16,
        /// @38
        padding: u16,
    }
    /// `fuse_out_header`: starts every reply.
    OutHeader[16] {
        /// @0 of the whole reply.
        len: u32,
        /// @4 0 or a negative errno.
        error: i32,
        /// @8 the request's.
        unique: u64,
    }
}

/// Directory records start at multiples of this many bytes.
pub(crate) const DIRENT_ALIGN: usize = 8;

/// Where the fields the kernel looks at must lie.
mod offsets {
    use super::{Attr, Dirent, EntryOut, InHeader, IoctlIn, OutHeader, ReadIn, Statx, StatxOut};
    use std::mem::offset_of;

    const _: () = assert!(offset_of!(InHeader, unique) == 8);
    const _: () = assert!(offset_of!(InHeader, nodeid) == 16);
    const _: () = assert!(offset_of!(InHeader, total_extlen) == 36);
    const _: () = assert!(offset_of!(OutHeader, unique) == 8);
    const _: () = assert!(offset_of!(ReadIn, size) == 16);
    const _: () = assert!(offset_of!(IoctlIn, cmd) == 12);
    const _: () = assert!(offset_of!(IoctlIn, out_size) == 28);
    const _: () = assert!(offset_of!(Attr, mode) == 60);
    const _: () = assert!(offset_of!(Attr, flags) == 84);
    const _: () = assert!(offset_of!(EntryOut, attr) == 40);
    const _: () = assert!(offset_of!(Statx, ino) == 32);
    const _: () = assert!(offset_of!(Statx, atime) == 64);
    const _: () = assert!(offset_of!(Statx, rdev_major) == 128);
    const _: () = assert!(offset_of!(StatxOut, stat) == 32);
    const _: () = assert!(offset_of!(Dirent, namelen) == 16);
}

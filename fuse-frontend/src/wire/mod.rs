//! The FUSE protocol as it lies in messages: structures, opcodes and flags.
//!
//! Field names are the kernel's (`include/uapi/linux/fuse.h`, protocol 7.45);
//! the offset stands beside each field. Everything is in the machine's own
//! byte order. Sizes are asserted, so that a change of a structure cannot pass
//! unnoticed.

use std::mem::size_of;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The node number of the root directory.
pub(crate) const FUSE_ROOT_ID: u64 = 1;

/// What a request asks for (`fuse_in_header.opcode`).
pub(crate) mod opcode {
    pub(crate) const LOOKUP: u32 = 1;
    pub(crate) const FORGET: u32 = 2;
    pub(crate) const GETATTR: u32 = 3;
    pub(crate) const SETATTR: u32 = 4;
    pub(crate) const READLINK: u32 = 5;
    pub(crate) const SYMLINK: u32 = 6;
    pub(crate) const MKNOD: u32 = 8;
    pub(crate) const MKDIR: u32 = 9;
    pub(crate) const UNLINK: u32 = 10;
    pub(crate) const RMDIR: u32 = 11;
    pub(crate) const RENAME: u32 = 12;
    pub(crate) const LINK: u32 = 13;
    pub(crate) const OPEN: u32 = 14;
    pub(crate) const READ: u32 = 15;
    pub(crate) const WRITE: u32 = 16;
    pub(crate) const STATFS: u32 = 17;
    pub(crate) const RELEASE: u32 = 18;
    pub(crate) const FSYNC: u32 = 20;
    pub(crate) const SETXATTR: u32 = 21;
    pub(crate) const GETXATTR: u32 = 22;
    pub(crate) const LISTXATTR: u32 = 23;
    pub(crate) const REMOVEXATTR: u32 = 24;
    pub(crate) const FLUSH: u32 = 25;
    pub(crate) const INIT: u32 = 26;
    pub(crate) const OPENDIR: u32 = 27;
    pub(crate) const READDIR: u32 = 28;
    pub(crate) const RELEASEDIR: u32 = 29;
    pub(crate) const FSYNCDIR: u32 = 30;
    pub(crate) const GETLK: u32 = 31;
    pub(crate) const SETLK: u32 = 32;
    pub(crate) const SETLKW: u32 = 33;
    pub(crate) const ACCESS: u32 = 34;
    pub(crate) const CREATE: u32 = 35;
    pub(crate) const INTERRUPT: u32 = 36;
    pub(crate) const BMAP: u32 = 37;
    pub(crate) const DESTROY: u32 = 38;
    pub(crate) const IOCTL: u32 = 39;
    pub(crate) const POLL: u32 = 40;
    pub(crate) const NOTIFY_REPLY: u32 = 41;
    pub(crate) const BATCH_FORGET: u32 = 42;
    pub(crate) const FALLOCATE: u32 = 43;
    pub(crate) const READDIRPLUS: u32 = 44;
    pub(crate) const RENAME2: u32 = 45;
    pub(crate) const LSEEK: u32 = 46;
    pub(crate) const COPY_FILE_RANGE: u32 = 47;
    pub(crate) const SYNCFS: u32 = 50;
    pub(crate) const TMPFILE: u32 = 51;
    pub(crate) const STATX: u32 = 52;
    pub(crate) const COPY_FILE_RANGE_64: u32 = 53;
}

/// Flags of `fuse_open_out.open_flags`.
pub(crate) mod fopen {
    /// Keep cached pages over the open.
    pub(crate) const KEEP_CACHE: u32 = 1 << 1;
    /// Keep the directory's entries cached.
    pub(crate) const CACHE_DIR: u32 = 1 << 3;
    /// Send no FLUSH at close.
    pub(crate) const NOFLUSH: u32 = 1 << 5;
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

// ---- headers ----

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

// ---- requests ----

wire! {
    /// `fuse_statx_in`
    StatxIn[24] {
        /// @0
        getattr_flags: u32,
        /// @4
        reserved: u32,
        /// @8
        fh: u64,
        /// @16
        sx_flags: u32,
        /// @20
        sx_mask: u32,
    }
    /// `fuse_getattr_in`
    GetattrIn[16] {
        /// @0
        getattr_flags: u32,
        /// @4
        dummy: u32,
        /// @8
        fh: u64,
    }
    /// `fuse_open_in`, of OPEN and OPENDIR.
    OpenIn[8] {
        /// @0
        flags: u32,
        /// @4
        open_flags: u32,
    }
    /// `fuse_read_in`, of READ, READDIR and READDIRPLUS.
    ReadIn[40] {
        /// @0
        fh: u64,
        /// @8 bytes; in a directory the cookie to continue after.
        offset: u64,
        /// @16 bytes.
        size: u32,
        /// @20
        read_flags: u32,
        /// @24
        lock_owner: u64,
        /// @32
        flags: u32,
        /// @36
        padding: u32,
    }
    /// `fuse_getxattr_in`, of GETXATTR and LISTXATTR.
    GetxattrIn[8] {
        /// @0 bytes the caller has room for; 0 asks for the size.
        size: u32,
        /// @4
        padding: u32,
    }
    /// `fuse_access_in`
    AccessIn[8] {
        /// @0
        mask: u32,
        /// @4
        padding: u32,
    }
    /// `fuse_lseek_in`
    LseekIn[24] {
        /// @0
        fh: u64,
        /// @8
        offset: u64,
        /// @16 one of [`whence`].
        whence: u32,
        /// @20
        padding: u32,
    }
    /// `fuse_bmap_in`
    BmapIn[16] {
        /// @0 block of the file, in units of `blocksize`.
        block: u64,
        /// @8 bytes.
        blocksize: u32,
        /// @12
        padding: u32,
    }
    /// `fuse_ioctl_in`
    IoctlIn[32] {
        /// @0
        fh: u64,
        /// @8
        flags: u32,
        /// @12
        cmd: u32,
        /// @16
        arg: u64,
        /// @24 bytes that follow.
        in_size: u32,
        /// @28 bytes the caller has room for.
        out_size: u32,
    }
    /// `fuse_forget_in`
    ForgetIn[8] {
        /// @0
        nlookup: u64,
    }
    /// `fuse_batch_forget_in`; `count` times [`ForgetOne`] follow.
    BatchForgetIn[8] {
        /// @0
        count: u32,
        /// @4
        dummy: u32,
    }
    /// `fuse_forget_one`
    ForgetOne[16] {
        /// @0
        nodeid: u64,
        /// @8
        nlookup: u64,
    }
    /// `fuse_interrupt_in`
    InterruptIn[8] {
        /// @0 the request nobody waits for any more.
        unique: u64,
    }
}

// ---- replies ----

wire! {
    /// `fuse_attr`
    Attr[88] {
        /// @0
        ino: u64,
        /// @8 bytes.
        size: u64,
        /// @16 units of 512 bytes.
        blocks: u64,
        /// @24 seconds, signed.
        atime: i64,
        /// @32
        mtime: i64,
        /// @40
        ctime: i64,
        /// @48
        atimensec: u32,
        /// @52
        mtimensec: u32,
        /// @56
        ctimensec: u32,
        /// @60
        mode: u32,
        /// @64
        nlink: u32,
        /// @68
        uid: u32,
        /// @72
        gid: u32,
        /// @76 as `new_encode_dev` packs it.
        rdev: u32,
        /// @80 bytes.
        blksize: u32,
        /// @84
        flags: u32,
    }
    /// `fuse_entry_out`
    EntryOut[128] {
        /// @0 0: there is no such name (LOOKUP), or nothing is said of it (READDIRPLUS).
        nodeid: u64,
        /// @8
        generation: u64,
        /// @16 seconds.
        entry_valid: u64,
        /// @24 seconds.
        attr_valid: u64,
        /// @32
        entry_valid_nsec: u32,
        /// @36
        attr_valid_nsec: u32,
        /// @40
        attr: Attr,
    }
    /// `fuse_attr_out`
    AttrOut[104] {
        /// @0 seconds.
        attr_valid: u64,
        /// @8
        attr_valid_nsec: u32,
        /// @12
        dummy: u32,
        /// @16
        attr: Attr,
    }
    /// `fuse_sx_time`
    SxTime[16] {
        /// @0 seconds.
        tv_sec: i64,
        /// @8
        tv_nsec: u32,
        /// @12
        __reserved: i32,
    }
    /// `fuse_statx`
    Statx[256] {
        /// @0 which of these fields count; bits of [`statx_mask`].
        mask: u32,
        /// @4 bytes.
        blksize: u32,
        /// @8
        attributes: u64,
        /// @16
        nlink: u32,
        /// @20
        uid: u32,
        /// @24
        gid: u32,
        /// @28
        mode: u16,
        /// @30
        __spare0: u16,
        /// @32
        ino: u64,
        /// @40 bytes.
        size: u64,
        /// @48 units of 512 bytes.
        blocks: u64,
        /// @56
        attributes_mask: u64,
        /// @64
        atime: SxTime,
        /// @80
        btime: SxTime,
        /// @96
        ctime: SxTime,
        /// @112
        mtime: SxTime,
        /// @128
        rdev_major: u32,
        /// @132
        rdev_minor: u32,
        /// @136
        dev_major: u32,
        /// @140
        dev_minor: u32,
        /// @144
        __spare2: [u64; 14],
    }
    /// `fuse_statx_out`
    StatxOut[288] {
        /// @0 seconds.
        attr_valid: u64,
        /// @8
        attr_valid_nsec: u32,
        /// @12
        flags: u32,
        /// @16
        spare: [u64; 2],
        /// @32
        stat: Statx,
    }
    /// `fuse_open_out`
    OpenOut[16] {
        /// @0
        fh: u64,
        /// @8 bits of [`fopen`].
        open_flags: u32,
        /// @12
        backing_id: i32,
    }
    /// `fuse_kstatfs`, the whole of `fuse_statfs_out`.
    StatfsOut[80] {
        /// @0
        blocks: u64,
        /// @8
        bfree: u64,
        /// @16
        bavail: u64,
        /// @24
        files: u64,
        /// @32
        ffree: u64,
        /// @40 bytes.
        bsize: u32,
        /// @44 bytes.
        namelen: u32,
        /// @48 bytes; the unit of the block counts.
        frsize: u32,
        /// @52
        padding: u32,
        /// @56
        spare: [u32; 6],
    }
    /// `fuse_getxattr_out`
    GetxattrOut[8] {
        /// @0 bytes.
        size: u32,
        /// @4
        padding: u32,
    }
    /// `fuse_lseek_out`
    LseekOut[8] {
        /// @0
        offset: u64,
    }
    /// `fuse_bmap_out`
    BmapOut[8] {
        /// @0 block of the device; 0 for a hole.
        block: u64,
    }
    /// `fuse_ioctl_out`; the data follow.
    IoctlOut[16] {
        /// @0 what ioctl(2) returns.
        result: i32,
        /// @4
        flags: u32,
        /// @8
        in_iovs: u32,
        /// @12
        out_iovs: u32,
    }
    /// `fuse_dirent`; the name follows, padded to [`DIRENT_ALIGN`].
    Dirent[24] {
        /// @0
        ino: u64,
        /// @8 the cookie to continue after this entry.
        off: u64,
        /// @16 bytes, without padding.
        namelen: u32,
        /// @20 a `DT_` number.
        kind: u32,
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

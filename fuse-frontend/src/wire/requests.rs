//! What follows the header of a request that only reads.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

wire! {
    /// `fuse_release_in`
    ReleaseIn[24] {
        /// @0 as OPEN gave it.
        fh: u64,
        /// @8 of open(2).
        flags: u32,
        /// @12
        release_flags: u32,
        /// @16
        lock_owner: u64,
    }
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
        /// @16 one of [`whence`](super::whence).
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

//! What follows the header of a request that changes something.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bits of `SetattrIn.valid`.
pub(crate) mod fattr {
    pub(crate) const MODE: u32 = 1 << 0;
    pub(crate) const UID: u32 = 1 << 1;
    pub(crate) const GID: u32 = 1 << 2;
    pub(crate) const SIZE: u32 = 1 << 3;
    pub(crate) const ATIME: u32 = 1 << 4;
    pub(crate) const MTIME: u32 = 1 << 5;
    /// `fh` counts.
    pub(crate) const FH: u32 = 1 << 6;
    pub(crate) const ATIME_NOW: u32 = 1 << 7;
    pub(crate) const MTIME_NOW: u32 = 1 << 8;
    /// `lock_owner` counts.
    pub(crate) const LOCKOWNER: u32 = 1 << 9;
    pub(crate) const CTIME: u32 = 1 << 10;
    /// The set-id bits go with a change of the size.
    pub(crate) const KILL_SUIDGID: u32 = 1 << 11;
}

/// Bits of `FsyncIn.fsync_flags`.
pub(crate) mod fsync_flag {
    /// Times can wait: fdatasync(2).
    pub(crate) const DATA_ONLY: u32 = 1 << 0;
}

/// Bits of `WriteIn.write_flags`.
pub(crate) mod write_flag {
    /// From the page cache: who wrote it, and when, is not known any more.
    pub(crate) const CACHE: u32 = 1 << 0;
    /// The set-id bits go.
    pub(crate) const KILL_SUIDGID: u32 = 1 << 2;
}

/// `fuse_setxattr_in.setxattr_flags`: the set-group-ID bit goes with an access ACL.
pub(crate) const SETXATTR_ACL_KILL_SGID: u32 = 1 << 0;

/// `fuse_ext_header.kind`: groups; smaller numbers are counts of security contexts.
pub(crate) const EXT_GROUPS: u32 = 32;

wire! {
    /// `fuse_setattr_in`
    SetattrIn[88] {
        /// @0 bits of [`fattr`].
        valid: u32,
        /// @4
        padding: u32,
        /// @8
        fh: u64,
        /// @16 bytes.
        size: u64,
        /// @24
        lock_owner: u64,
        /// @32 seconds, signed.
        atime: i64,
        /// @40
        mtime: i64,
        /// @48
        ctime: i64,
        /// @56
        atimensec: u32,
        /// @60
        mtimensec: u32,
        /// @64
        ctimensec: u32,
        /// @68
        mode: u32,
        /// @72
        unused4: u32,
        /// @76
        uid: u32,
        /// @80
        gid: u32,
        /// @84
        unused5: u32,
    }
    /// `fuse_mknod_in`; the name follows.
    MknodIn[16] {
        /// @0
        mode: u32,
        /// @4 as `new_encode_dev` packs it.
        rdev: u32,
        /// @8
        umask: u32,
        /// @12
        padding: u32,
    }
    /// `fuse_mkdir_in`; the name follows.
    MkdirIn[8] {
        /// @0
        mode: u32,
        /// @4
        umask: u32,
    }
    /// `fuse_create_in`, of CREATE and TMPFILE; the name follows.
    CreateIn[16] {
        /// @0 of open(2).
        flags: u32,
        /// @4
        mode: u32,
        /// @8
        umask: u32,
        /// @12
        open_flags: u32,
    }
    /// `fuse_rename_in`; two names follow.
    RenameIn[8] {
        /// @0
        newdir: u64,
    }
    /// `fuse_rename2_in`; two names follow.
    Rename2In[16] {
        /// @0
        newdir: u64,
        /// @8 of renameat2(2).
        flags: u32,
        /// @12
        padding: u32,
    }
    /// `fuse_link_in`; the name follows.
    LinkIn[8] {
        /// @0
        oldnodeid: u64,
    }
    /// `fuse_write_in`; the bytes follow.
    WriteIn[40] {
        /// @0
        fh: u64,
        /// @8 bytes.
        offset: u64,
        /// @16 bytes.
        size: u32,
        /// @20 bits of [`write_flag`].
        write_flags: u32,
        /// @24
        lock_owner: u64,
        /// @32 of open(2).
        flags: u32,
        /// @36
        padding: u32,
    }
    /// `fuse_flush_in`
    FlushIn[24] {
        /// @0
        fh: u64,
        /// @8
        unused: u32,
        /// @12
        padding: u32,
        /// @16
        lock_owner: u64,
    }
    /// `fuse_fsync_in`, of FSYNC and FSYNCDIR.
    FsyncIn[16] {
        /// @0
        fh: u64,
        /// @8
        fsync_flags: u32,
        /// @12
        padding: u32,
    }
    /// `fuse_syncfs_in`
    SyncfsIn[8] {
        /// @0
        padding: u64,
    }
    /// The first half of `fuse_setxattr_in`, all there is without SETXATTR_EXT; the name and
    /// the value follow.
    SetxattrIn[8] {
        /// @0 bytes of the value.
        size: u32,
        /// @4 of setxattr(2).
        flags: u32,
    }
    /// The second half of `fuse_setxattr_in`.
    SetxattrExt[8] {
        /// @0 of the whole: @8
        setxattr_flags: u32,
        /// @4
        padding: u32,
    }
    /// `fuse_fallocate_in`
    FallocateIn[32] {
        /// @0
        fh: u64,
        /// @8 bytes.
        offset: u64,
        /// @16 bytes.
        length: u64,
        /// @24 of fallocate(2).
        mode: u32,
        /// @28
        padding: u32,
    }
    /// `fuse_copy_file_range_in`
    CopyIn[56] {
        /// @0
        fh_in: u64,
        /// @8 bytes.
        off_in: u64,
        /// @16
        nodeid_out: u64,
        /// @24
        fh_out: u64,
        /// @32 bytes.
        off_out: u64,
        /// @40 bytes.
        len: u64,
        /// @48
        flags: u64,
    }
    /// `fuse_ext_header`: starts each extension of a request.
    ExtHeader[8] {
        /// @0 bytes, this header included.
        size: u32,
        /// @4 [`EXT_GROUPS`], or how many security contexts there are (`fuse_secctx_header`).
        kind: u32,
    }
    /// `fuse_secctx`; a name with its NUL and the value follow.
    Secctx[8] {
        /// @0 bytes of the value.
        size: u32,
        /// @4
        padding: u32,
    }
}

wire! {
    /// `fuse_write_out`, and what COPY_FILE_RANGE answers.
    WriteOut[8] {
        /// @0 bytes.
        size: u32,
        /// @4
        padding: u32,
    }
    /// What COPY_FILE_RANGE_64 answers.
    CopyOut[8] {
        /// @0
        bytes_copied: u64,
    }
    /// What CREATE and TMPFILE answer.
    CreateOut[144] {
        /// @0
        entry: super::EntryOut,
        /// @128
        open: super::OpenOut,
    }
}

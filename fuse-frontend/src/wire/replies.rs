//! What follows the header of a reply.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `fuse_out_header.error` of a notice: a node's pages are outdated.
pub(crate) const NOTIFY_INVAL_INODE: i32 = 2;

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
        /// @0 which of these fields count; bits of [`statx_mask`](super::statx_mask).
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
        __spare2: [u32; 6],
        /// @168 bytes; of kernels with iomap, as the two behind it.
        atomic_write_unit_min: u32,
        /// @172 bytes.
        atomic_write_unit_max: u32,
        /// @176
        atomic_write_segments_max: u32,
        /// @180
        __spare3: [u32; 19],
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
        /// @8 bits of [`fopen`](super::fopen).
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
    /// `fuse_dirent`; the name follows, padded to [`DIRENT_ALIGN`](super::DIRENT_ALIGN).
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
    /// `fuse_notify_inval_inode_out`, of a notice nobody asked for.
    InvalInodeOut[24] {
        /// @0 a node.
        ino: u64,
        /// @8 first byte; negative for attributes only.
        off: i64,
        /// @16 bytes; 0 to the end.
        len: i64,
    }
}

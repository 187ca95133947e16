//! The protocol's numbers (sections 1 to 5 and 10), each under its name.

/// Major version of the protocol.
pub const MAJOR: u32 = 7;
/// The minor version that goes with iomap ("magic").
pub const MINOR_IOMAP: u32 = 99;
/// `FUSE_ATOMIC_O_TRUNC`: OPEN truncates.
pub const INIT_ATOMIC_O_TRUNC: u64 = 1 << 3;
/// `FUSE_INIT_EXT`: `flags2` counts.
pub const INIT_EXT: u64 = 1 << 30;
/// `FUSE_IOMAP`, bit 43 of the 64-bit flags.
pub const INIT_IOMAP: u64 = 1 << 43;

/// Opcodes of requests.
pub mod op {
    /// LOOKUP.
    pub const LOOKUP: u32 = 1;
    /// FORGET, without a reply.
    pub const FORGET: u32 = 2;
    /// GETATTR.
    pub const GETATTR: u32 = 3;
    /// SETATTR.
    pub const SETATTR: u32 = 4;
    /// READLINK.
    pub const READLINK: u32 = 5;
    /// SYMLINK.
    pub const SYMLINK: u32 = 6;
    /// MKNOD.
    pub const MKNOD: u32 = 8;
    /// MKDIR.
    pub const MKDIR: u32 = 9;
    /// UNLINK.
    pub const UNLINK: u32 = 10;
    /// RMDIR.
    pub const RMDIR: u32 = 11;
    /// RENAME.
    pub const RENAME: u32 = 12;
    /// LINK.
    pub const LINK: u32 = 13;
    /// OPEN.
    pub const OPEN: u32 = 14;
    /// READ.
    pub const READ: u32 = 15;
    /// WRITE.
    pub const WRITE: u32 = 16;
    /// STATFS.
    pub const STATFS: u32 = 17;
    /// RELEASE.
    pub const RELEASE: u32 = 18;
    /// FSYNC.
    pub const FSYNC: u32 = 20;
    /// SETXATTR.
    pub const SETXATTR: u32 = 21;
    /// GETXATTR.
    pub const GETXATTR: u32 = 22;
    /// LISTXATTR.
    pub const LISTXATTR: u32 = 23;
    /// REMOVEXATTR.
    pub const REMOVEXATTR: u32 = 24;
    /// FLUSH.
    pub const FLUSH: u32 = 25;
    /// INIT.
    pub const INIT: u32 = 26;
    /// OPENDIR.
    pub const OPENDIR: u32 = 27;
    /// READDIR.
    pub const READDIR: u32 = 28;
    /// RELEASEDIR.
    pub const RELEASEDIR: u32 = 29;
    /// CREATE.
    pub const CREATE: u32 = 35;
    /// DESTROY.
    pub const DESTROY: u32 = 38;
    /// FALLOCATE.
    pub const FALLOCATE: u32 = 43;
    /// READDIRPLUS.
    pub const READDIRPLUS: u32 = 44;
    /// RENAME2.
    pub const RENAME2: u32 = 45;
    /// SYNCFS.
    pub const SYNCFS: u32 = 50;
    /// TMPFILE.
    pub const TMPFILE: u32 = 51;
    /// `FUSE_FREEZE_FS`.
    pub const FREEZE_FS: u32 = 4089;
    /// `FUSE_UNFREEZE_FS`.
    pub const UNFREEZE_FS: u32 = 4090;
    /// `FUSE_SHUTDOWN_FS`.
    pub const SHUTDOWN_FS: u32 = 4091;
    /// `FUSE_IOMAP_CONFIG`.
    pub const IOMAP_CONFIG: u32 = 4092;
    /// `FUSE_IOMAP_IOEND`.
    pub const IOMAP_IOEND: u32 = 4093;
    /// `FUSE_IOMAP_BEGIN`.
    pub const IOMAP_BEGIN: u32 = 4094;
    /// `FUSE_IOMAP_END`.
    pub const IOMAP_END: u32 = 4095;
}

/// Codes of notifications.
pub mod notify {
    /// `INVAL_INODE`.
    pub const INVAL_INODE: i32 = 2;
    /// `INVAL_ENTRY`.
    pub const INVAL_ENTRY: i32 = 3;
    /// STORE.
    pub const STORE: i32 = 4;
    /// RETRIEVE.
    pub const RETRIEVE: i32 = 5;
    /// DELETE.
    pub const DELETE: i32 = 6;
    /// `FUSE_NOTIFY_IOMAP_DEV_INVAL`.
    pub const IOMAP_DEV_INVAL: i32 = 99;
    /// `FUSE_NOTIFY_IOMAP_UPSERT_MAPPINGS`.
    pub const IOMAP_UPSERT: i32 = 100;
    /// `FUSE_NOTIFY_IOMAP_INVAL_MAPPINGS`.
    pub const IOMAP_INVAL: i32 = 101;
}

/// Device ioctls, in the generic encoding.
pub mod ioctl {
    /// `FUSE_DEV_IOC_BACKING_OPEN`.
    pub const BACKING_OPEN: u32 = 0x4010_e501;
    /// `FUSE_DEV_IOC_BACKING_CLOSE`.
    pub const BACKING_CLOSE: u32 = 0x4004_e502;
    /// `FUSE_DEV_IOC_SYNC_INIT`.
    pub const SYNC_INIT: u32 = 0x0000_e503;
    /// `FUSE_DEV_IOC_IOMAP_SUPPORT`.
    pub const IOMAP_SUPPORT: u32 = 0x8010_e563;
    /// `FUSE_DEV_IOC_SET_NOFS`.
    pub const SET_NOFS: u32 = 0x4004_e564;
    /// `FUSE_DEV_IOC_ADD_IOMAP`.
    pub const ADD_IOMAP: u32 = 0x0000_e565;
    /// `FUSE_DEV_IOC_IOMAP_SET_BLOCKSIZE`.
    pub const SET_BLOCKSIZE: u32 = 0x4008_e566;
}

/// `FUSE_DEV_IOC_IOMAP_SUPPORT`: basic file I/O and untorn writes, always together.
pub const SUPPORT_BITS: u64 = 3;

/// Bits of `fuse_attr.flags` (3.1).
pub mod attr {
    /// Only this mount changes the file.
    pub const EXCLUSIVE: u32 = 1 << 2;
    /// The kernel does the I/O.
    pub const IOMAP: u32 = 1 << 3;
    /// Untorn direct writes of one block.
    pub const ATOMIC: u32 = 1 << 4;
}

/// Bits a mapping carries (4.2).
pub mod map {
    /// Freshly allocated.
    pub const NEW: u16 = 1 << 0;
    /// A commit must precede reachability.
    pub const DIRTY: u16 = 1 << 1;
    /// Copy-on-write target.
    pub const SHARED: u16 = 1 << 2;
    /// The address is chosen at submission: never legal in practice.
    pub const ANON_WRITE: u16 = 1 << 5;
    /// One untorn bio.
    pub const ATOMIC_BIO: u16 = 1 << 6;
    /// END is wanted.
    pub const WANT_END: u16 = 1 << 7;
    /// From the kernel, in END: the size grew.
    pub const SIZE_CHANGED: u16 = 1 << 8;
    /// From the kernel, in END: found stale.
    pub const STALE: u16 = 1 << 9;
    /// All a server may send.
    pub const FROM_SERVER: u16 = 0xff;
    /// "No address", "no end".
    pub const NONE: u64 = u64::MAX;
}

/// Operation flags of BEGIN and END (4.3).
pub mod opflag {
    /// A write.
    pub const WRITE: u32 = 1 << 0;
    /// Zeroing.
    pub const ZERO: u32 = 1 << 1;
    /// Asks only.
    pub const REPORT: u32 = 1 << 2;
    /// A page fault.
    pub const FAULT: u32 = 1 << 3;
    /// `O_DIRECT`.
    pub const DIRECT: u32 = 1 << 4;
    /// A direct overwrite that must not allocate.
    pub const OVERWRITE_ONLY: u32 = 1 << 6;
    /// Unshare blocks.
    pub const UNSHARE: u32 = 1 << 7;
    /// `RWF_ATOMIC`.
    pub const ATOMIC: u32 = 1 << 9;
    /// swapon.
    pub const SWAPFILE: u32 = 1 << 30;
    /// Writeback of the page cache.
    pub const WRITEBACK: u32 = 1 << 31;
    /// The operations that write.
    pub const WRITE_TYPE: u32 = WRITE | ZERO | UNSHARE | WRITEBACK;
}

/// Flags of IOEND (4.8).
pub mod ioend {
    /// Data went to a copy-on-write target.
    pub const SHARED: u32 = 1 << 0;
    /// Convert to written.
    pub const UNWRITTEN: u32 = 1 << 1;
    /// Of direct I/O.
    pub const DIRECT: u32 = 1 << 3;
    /// Past the size on disk.
    pub const APPEND: u32 = 1 << 4;
    /// Of writeback.
    pub const WRITEBACK: u32 = 1 << 5;
    /// A swap file was released.
    pub const SWAPOFF: u32 = 1 << 6;
}

/// `valid` bits of SETATTR.
pub mod setattr {
    /// The mode.
    pub const MODE: u32 = 1 << 0;
    /// The owner.
    pub const UID: u32 = 1 << 1;
    /// The group.
    pub const GID: u32 = 1 << 2;
    /// The size.
    pub const SIZE: u32 = 1 << 3;
    /// The access time.
    pub const ATIME: u32 = 1 << 4;
    /// The modification time.
    pub const MTIME: u32 = 1 << 5;
    /// `fh` counts.
    pub const FH: u32 = 1 << 6;
    /// `lock_owner` counts.
    pub const LOCKOWNER: u32 = 1 << 9;
    /// The change time.
    pub const CTIME: u32 = 1 << 10;
}

/// Modes of fallocate(2).
pub mod fallocate {
    /// The size stays.
    pub const KEEP_SIZE: u32 = 1;
    /// Blocks are freed.
    pub const PUNCH_HOLE: u32 = 2;
    /// The range reads as zero.
    pub const ZERO_RANGE: u32 = 16;
}

/// Flags of an OPEN reply.
pub mod fopen {
    /// No page cache.
    pub const DIRECT_IO: u32 = 1 << 0;
    /// Keep the page cache.
    pub const KEEP_CACHE: u32 = 1 << 1;
    /// Not seekable.
    pub const NONSEEKABLE: u32 = 1 << 2;
    /// A stream.
    pub const STREAM: u32 = 1 << 4;
    /// To another file.
    pub const PASSTHROUGH: u32 = 1 << 7;
}

/// Bits of the CONFIG reply: which fields count (1.7).
pub mod config {
    /// `s_id`.
    pub const SID: u64 = 1 << 0;
    /// `s_uuid`.
    pub const UUID: u64 = 1 << 1;
    /// `s_blocksize`.
    pub const BLOCKSIZE: u64 = 1 << 2;
    /// `s_max_links`.
    pub const MAX_LINKS: u64 = 1 << 3;
    /// The times' fields.
    pub const TIME: u64 = 1 << 4;
    /// `s_maxbytes`.
    pub const MAXBYTES: u64 = 1 << 5;
    /// `cache_maxbytes`.
    pub const CACHE_MAXBYTES: u64 = 1 << 6;
    /// All of them.
    pub const ALL: u64 = 0x7f;
}

//! FUSE iomap: structures, opcodes, ioctls, flags.
//!
//! The interface is experimental and not in Linux: it is that of kernels whose FUSE says it has
//! minor version [`IOMAP_MINOR`]. Should numbers move, they move in this file alone.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The minor version of kernels with FUSE iomap, and of our INIT reply to them.
pub(crate) const IOMAP_MINOR: u32 = 99;

/// FUSE_IOMAP of the INIT flags. Linux 7.3 means something else by this bit.
pub(crate) const INIT_IOMAP: u64 = 1 << 43;

/// Ioctls of `/dev/fuse`, in the generic encoding (x86, arm, riscv).
pub(crate) mod device_ioctl {
    /// Registers a device: [`BackingMap`](super::BackingMap) in, its id out.
    pub(crate) const BACKING_OPEN: u32 = 0x4010_e501;
    /// Whether iomap can be had: fills [`IomapSupport`](super::IomapSupport).
    pub(crate) const IOMAP_SUPPORT: u32 = 0x8010_e563;
    /// The calling thread's memory may not be reclaimed through the file system it serves.
    pub(crate) const SET_NOFS: u32 = 0x4004_e564;
    /// The block size of a registered device: [`BackingBlockSize`](super::BackingBlockSize) in.
    pub(crate) const SET_BLOCK_SIZE: u32 = 0x4008_e566;
}

/// Bits of `fuse_iomap_support.flags`.
pub(crate) mod support {
    /// The kernel can move file data.
    pub(crate) const FILE_IO: u64 = 1 << 0;
}

/// `fuse_backing_map.flags`: the device is for iomap.
pub(crate) const BACKING_TYPE_IOMAP: u32 = 1;

/// Bits of `fuse_attr.flags`.
pub(crate) mod attr_flag {
    /// Only this mount changes the file: the kernel owns size and times.
    pub(crate) const EXCLUSIVE: u32 = 1 << 2;
    /// The kernel moves the content.
    pub(crate) const IOMAP: u32 = 1 << 3;
    /// Direct writes of one block are not torn.
    pub(crate) const ATOMIC: u32 = 1 << 4;
    pub(crate) const SYNC: u32 = 1 << 5;
    pub(crate) const IMMUTABLE: u32 = 1 << 6;
    pub(crate) const APPEND: u32 = 1 << 7;
}

/// Bits of `fuse_iomap_config_out.flags`: which fields count.
pub(crate) mod config_flag {
    pub(crate) const SID: u64 = 1 << 0;
    pub(crate) const UUID: u64 = 1 << 1;
    pub(crate) const BLOCKSIZE: u64 = 1 << 2;
    pub(crate) const MAX_LINKS: u64 = 1 << 3;
    pub(crate) const TIME: u64 = 1 << 4;
    pub(crate) const MAXBYTES: u64 = 1 << 5;
    pub(crate) const CACHE_MAXBYTES: u64 = 1 << 6;
}

/// Bits of `opflags` of BEGIN and END: what the kernel is about to do.
pub(crate) mod iomap_op {
    pub(crate) const WRITE: u32 = 1 << 0;
    /// Zeroing inside blocks; never a reason to allocate.
    pub(crate) const ZERO: u32 = 1 << 1;
    /// Somebody wants to know where data lies.
    pub(crate) const REPORT: u32 = 1 << 2;
    pub(crate) const FAULT: u32 = 1 << 3;
    pub(crate) const DIRECT: u32 = 1 << 4;
    pub(crate) const NOWAIT: u32 = 1 << 5;
    /// A direct write that must find written blocks.
    pub(crate) const OVERWRITE_ONLY: u32 = 1 << 6;
    pub(crate) const UNSHARE: u32 = 1 << 7;
    pub(crate) const DAX: u32 = 1 << 8;
    pub(crate) const ATOMIC: u32 = 1 << 9;
    pub(crate) const DONTCACHE: u32 = 1 << 10;
    pub(crate) const SWAPFILE: u32 = 1 << 30;
    pub(crate) const WRITEBACK: u32 = 1 << 31;
    /// Content of blocks is about to change.
    pub(crate) const ANY_WRITE: u32 = WRITE | ZERO | UNSHARE | WRITEBACK;
    /// All there are.
    pub(crate) const KNOWN: u32 = ANY_WRITE
        | REPORT
        | FAULT
        | DIRECT
        | NOWAIT
        | OVERWRITE_ONLY
        | DAX
        | ATOMIC
        | DONTCACHE
        | SWAPFILE;
}

/// `fuse_iomap_io.type`.
pub(crate) mod iomap_type {
    pub(crate) const HOLE: u16 = 0;
    pub(crate) const MAPPED: u16 = 2;
    pub(crate) const UNWRITTEN: u16 = 3;
    /// The content is fetched with READ.
    pub(crate) const INLINE: u16 = 4;
    /// In an upsert: this tree stays as it is.
    pub(crate) const NOCACHE: u16 = 253;
    /// In a BEGIN reply: look into the cache again.
    pub(crate) const RETRY_CACHE: u16 = 254;
    /// As the write mapping: writes go where reads come from.
    pub(crate) const PURE_OVERWRITE: u16 = 255;
}

/// `fuse_iomap_io.flags`.
pub(crate) mod iomap_flag {
    /// What a crash needs to find the data may not be durable.
    pub(crate) const DIRTY: u16 = 1 << 1;
    /// The file has no extents: what is one run may be many records.
    pub(crate) const MERGED: u16 = 1 << 3;
    /// The write is to be one that is not torn.
    pub(crate) const ATOMIC_BIO: u16 = 1 << 6;
    /// In END: the operation made the file longer.
    pub(crate) const SIZE_CHANGED: u16 = 1 << 8;
}

/// `fuse_iomap_io.addr` of what has no place on a device.
pub(crate) const NO_ADDRESS: u64 = u64::MAX;

/// `fuse_iomap_ioend_in.flags`.
pub(crate) mod ioend_flag {
    pub(crate) const SHARED: u32 = 1 << 0;
    pub(crate) const UNWRITTEN: u32 = 1 << 1;
    pub(crate) const BOUNDARY: u32 = 1 << 2;
    pub(crate) const DIRECT: u32 = 1 << 3;
    pub(crate) const APPEND: u32 = 1 << 4;
    pub(crate) const WRITEBACK: u32 = 1 << 5;
    /// A swap file is released.
    pub(crate) const SWAPOFF: u32 = 1 << 6;
    /// All there are.
    pub(crate) const KNOWN: u32 =
        SHARED | UNWRITTEN | BOUNDARY | DIRECT | APPEND | WRITEBACK | SWAPOFF;
}

/// `fuse_out_header.error` of notices about mappings.
pub(crate) const NOTIFY_UPSERT_MAPPINGS: i32 = 100;
/// Mappings are taken back.
pub(crate) const NOTIFY_INVAL_MAPPINGS: i32 = 101;

wire! {
    /// `fuse_iomap_support`
    IomapSupport[16] {
        /// @0 bits of [`support`].
        flags: u64,
        /// @8
        padding: u64,
    }
    /// `fuse_backing_map`
    BackingMap[16] {
        /// @0 a descriptor of the caller's.
        fd: i32,
        /// @4 [`BACKING_TYPE_IOMAP`].
        flags: u32,
        /// @8
        padding: u64,
    }
    /// `fuse_iomap_backing_info`
    BackingBlockSize[8] {
        /// @0
        backing_id: u32,
        /// @4 bytes.
        blocksize: u32,
    }
    /// `fuse_iomap_config_in`; may end after any field.
    ConfigIn[64] {
        /// @0 bits of [`config_flag`] the kernel knows.
        flags: u64,
        /// @8 largest file it can have, bytes.
        maxbytes: i64,
        /// @16 bytes of one tree of mappings.
        cache_maxbytes: u32,
        /// @20
        zero: u32,
        /// @24
        padding: [u64; 5],
    }
    /// `fuse_iomap_config_out`
    ConfigOut[104] {
        /// @0 bits of [`config_flag`].
        flags: u64,
        /// @8 a name for people.
        s_id: [u8; 32],
        /// @40
        s_uuid: [u8; 16],
        /// @56
        s_uuid_len: u8,
        /// @57
        s_pad: [u8; 3],
        /// @60 bytes.
        s_blocksize: u32,
        /// @64
        s_max_links: u32,
        /// @68 nanoseconds.
        s_time_gran: u32,
        /// @72 seconds.
        s_time_min: i64,
        /// @80 seconds.
        s_time_max: i64,
        /// @88 bytes.
        s_maxbytes: i64,
        /// @96 bytes.
        cache_maxbytes: u32,
        /// @100
        padding: u32,
    }
    /// `fuse_iomap_io`: a mapping.
    IomapIo[32] {
        /// @0 byte of the file.
        offset: u64,
        /// @8 bytes.
        length: u64,
        /// @16 byte of the device, or [`NO_ADDRESS`].
        addr: u64,
        /// @24 one of [`iomap_type`]; the kernel's `type`.
        kind: u16,
        /// @26 bits of [`iomap_flag`].
        flags: u16,
        /// @28 id of a registered device, 0 for none.
        dev: u32,
    }
    /// `fuse_iomap_begin_in`
    BeginIn[32] {
        /// @0 bits of [`iomap_op`].
        opflags: u32,
        /// @4
        reserved: u32,
        /// @8
        attr_ino: u64,
        /// @16 byte of the file.
        pos: u64,
        /// @24 bytes.
        count: u64,
    }
    /// `fuse_iomap_begin_out`
    BeginOut[64] {
        /// @0
        read: IomapIo,
        /// @32
        write: IomapIo,
    }
    /// `fuse_iomap_end_in`
    EndIn[72] {
        /// @0 bits of [`iomap_op`].
        opflags: u32,
        /// @4
        reserved: u32,
        /// @8
        attr_ino: u64,
        /// @16 byte of the file.
        pos: u64,
        /// @24 bytes.
        count: u64,
        /// @32 bytes, or a negative errno.
        written: i64,
        /// @40 the mapping that was used.
        map: IomapIo,
    }
    /// `fuse_iomap_ioend_in`
    IoendIn[48] {
        /// @0 bits of [`ioend_flag`].
        flags: u32,
        /// @4 0 or a negative errno.
        error: i32,
        /// @8
        attr_ino: u64,
        /// @16 byte of the file.
        pos: u64,
        /// @24 kernels disagree on its unit.
        new_addr: u64,
        /// @32 bytes.
        written: u64,
        /// @40
        dev: u32,
        /// @44
        pad: u32,
    }
    /// `fuse_iomap_ioend_out`
    IoendOut[8] {
        /// @0 the size that is recorded now, bytes.
        newsize: u64,
    }
    /// `fuse_iomap_upsert_mappings_out`
    UpsertMappings[80] {
        /// @0
        nodeid: u64,
        /// @8
        attr_ino: u64,
        /// @16
        read: IomapIo,
        /// @48
        write: IomapIo,
    }
    /// `fuse_iomap_inval_mappings_out`
    InvalMappings[48] {
        /// @0
        nodeid: u64,
        /// @8
        attr_ino: u64,
        /// @16 byte of the file; ranges are whole blocks.
        read_offset: u64,
        /// @24 bytes, 0 for none.
        read_length: u64,
        /// @32
        write_offset: u64,
        /// @40
        write_length: u64,
    }
    /// `fuse_freeze_fs_in`
    FreezeIn[8] {
        /// @0 files that are open and have no name.
        unlinked: u64,
    }
    /// `fuse_shutdown_fs_in`
    ShutdownIn[8] {
        /// @0
        flags: u64,
    }
}

//! The messages' bytes (sections 1, 2, 4, 5 and 10), host-endian.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Defines wire structures: what all of them derive, and their size checked.
macro_rules! wire {
    ($($(#[$doc:meta])* $name:ident ($size:literal) { $($(#[$fdoc:meta])* $field:ident: $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
        #[repr(C)]
        #[allow(missing_docs, reason = "fields have the protocol's names")]
        pub struct $name { $($(#[$fdoc])* pub $field: $type,)* }
        const _: () = assert!(size_of::<$name>() == $size);
    )*};
}

wire! {
    /// `fuse_in_header`.
    InHeader (40) {
        len: u32, opcode: u32, unique: u64, nodeid: u64, uid: u32, gid: u32, pid: u32,
        total_extlen: u16, padding: u16,
    }
    /// `fuse_out_header`.
    OutHeader (16) { len: u32, error: i32, unique: u64, }
    /// `fuse_init_in`.
    InitIn (64) {
        major: u32, minor: u32, max_readahead: u32, flags: u32, flags2: u32, unused: [u32; 11],
    }
    /// `fuse_init_out`.
    InitOut (64) {
        major: u32, minor: u32, max_readahead: u32, flags: u32, max_background: u16,
        congestion_threshold: u16, max_write: u32, time_gran: u32, max_pages: u16,
        map_alignment: u16, flags2: u32, max_stack_depth: u32, request_timeout: u16,
        unused: [u16; 11],
    }
    /// `fuse_iomap_config_in`.
    ConfigIn (64) {
        flags: u64, maxbytes: i64, cache_maxbytes: u32, zero: u32, padding: [u64; 5],
    }
    /// `fuse_iomap_config_out`.
    ConfigOut (104) {
        flags: u64, s_id: [u8; 32], s_uuid: [u8; 16], s_uuid_len: u8, s_pad: [u8; 3],
        s_blocksize: u32, s_max_links: u32, s_time_gran: u32, s_time_min: i64, s_time_max: i64,
        s_maxbytes: i64, cache_maxbytes: u32, tail: u32,
    }
    /// `fuse_backing_map`.
    BackingMap (16) { fd: i32, flags: u32, padding: u64, }
    /// `fuse_iomap_backing_info`.
    BackingInfo (8) { backing_id: u32, blocksize: u32, }
    /// `fuse_iomap_support`.
    Support (16) { flags: u64, padding: u64, }
    /// `fuse_iomap_io`: a mapping.
    MapIo (32) { offset: u64, length: u64, addr: u64, kind: u16, flags: u16, dev: u32, }
    /// `fuse_iomap_begin_in`.
    BeginIn (32) { opflags: u32, reserved: u32, attr_ino: u64, pos: u64, count: u64, }
    /// `fuse_iomap_begin_out`.
    BeginOut (64) { read: MapIo, write: MapIo, }
    /// `fuse_iomap_end_in`.
    EndIn (72) {
        opflags: u32, reserved: u32, attr_ino: u64, pos: u64, count: u64, written: i64, map: MapIo,
    }
    /// `fuse_iomap_ioend_in`.
    IoendIn (48) {
        flags: u32, error: i32, attr_ino: u64, pos: u64, new_addr: u64, written: u64, dev: u32,
        pad: u32,
    }
    /// `fuse_iomap_ioend_out`.
    IoendOut (8) { newsize: u64, }
    /// Payload of `IOMAP_DEV_INVAL`.
    DevInval (24) { dev: u32, reserved: u32, offset: u64, length: u64, }
    /// Payload of `IOMAP_UPSERT_MAPPINGS`.
    Upsert (80) { nodeid: u64, attr_ino: u64, read: MapIo, write: MapIo, }
    /// Payload of `IOMAP_INVAL_MAPPINGS`.
    Inval (48) {
        nodeid: u64, attr_ino: u64, read_offset: u64, read_length: u64, write_offset: u64,
        write_length: u64,
    }
    /// Payload of `INVAL_INODE`.
    InvalInode (24) { ino: u64, off: i64, len: i64, }
    /// `fuse_attr`.
    Attr (88) {
        ino: u64, size: u64, blocks: u64, atime: u64, mtime: u64, ctime: u64, atimensec: u32,
        mtimensec: u32, ctimensec: u32, mode: u32, nlink: u32, uid: u32, gid: u32, rdev: u32,
        blksize: u32, flags: u32,
    }
    /// `fuse_entry_out`.
    EntryOut (128) {
        nodeid: u64, generation: u64, entry_valid: u64, attr_valid: u64, entry_valid_nsec: u32,
        attr_valid_nsec: u32, attr: Attr,
    }
    /// `fuse_attr_out`.
    AttrOut (104) { attr_valid: u64, attr_valid_nsec: u32, dummy: u32, attr: Attr, }
    /// `fuse_getattr_in`.
    GetattrIn (16) { getattr_flags: u32, dummy: u32, fh: u64, }
    /// `fuse_setattr_in`.
    SetattrIn (88) {
        valid: u32, padding: u32, fh: u64, size: u64, lock_owner: u64, atime: u64, mtime: u64,
        ctime: u64, atimensec: u32, mtimensec: u32, ctimensec: u32, mode: u32, unused4: u32,
        uid: u32, gid: u32, unused5: u32,
    }
    /// `fuse_open_in`.
    OpenIn (8) { flags: u32, open_flags: u32, }
    /// `fuse_create_in`.
    CreateIn (16) { flags: u32, mode: u32, umask: u32, open_flags: u32, }
    /// `fuse_open_out`.
    OpenOut (16) { fh: u64, open_flags: u32, backing_id: i32, }
    /// What CREATE is answered with.
    CreateOut (144) { entry: EntryOut, open: OpenOut, }
    /// `fuse_release_in`.
    ReleaseIn (24) { fh: u64, flags: u32, release_flags: u32, lock_owner: u64, }
    /// `fuse_flush_in`.
    FlushIn (24) { fh: u64, unused: u32, padding: u32, lock_owner: u64, }
    /// `fuse_fsync_in`.
    FsyncIn (16) { fh: u64, fsync_flags: u32, padding: u32, }
    /// `fuse_forget_in`.
    ForgetIn (8) { nlookup: u64, }
    /// `fuse_read_in`.
    ReadIn (40) {
        fh: u64, offset: u64, size: u32, read_flags: u32, lock_owner: u64, flags: u32,
        padding: u32,
    }
    /// `fuse_write_in`.
    WriteIn (40) {
        fh: u64, offset: u64, size: u32, write_flags: u32, lock_owner: u64, flags: u32,
        padding: u32,
    }
    /// `fuse_write_out`.
    WriteOut (8) { size: u32, padding: u32, }
    /// `fuse_fallocate_in`.
    FallocateIn (32) { fh: u64, offset: u64, length: u64, mode: u32, padding: u32, }
    /// `fuse_mknod_in`.
    MknodIn (16) { mode: u32, rdev: u32, umask: u32, padding: u32, }
    /// `fuse_mkdir_in`.
    MkdirIn (8) { mode: u32, umask: u32, }
    /// `fuse_rename_in`.
    RenameIn (8) { newdir: u64, }
    /// `fuse_rename2_in`.
    Rename2In (16) { newdir: u64, flags: u32, padding: u32, }
    /// `fuse_link_in`.
    LinkIn (8) { oldnodeid: u64, }
    /// `fuse_setxattr_in` without its extension.
    SetxattrIn (8) { size: u32, flags: u32, }
    /// `fuse_getxattr_in`; of LISTXATTR too.
    GetxattrIn (8) { size: u32, padding: u32, }
    /// `fuse_getxattr_out`, the answer to a question of size 0.
    GetxattrOut (8) { size: u32, padding: u32, }
    /// `fuse_statfs_out`.
    StatfsOut (80) {
        blocks: u64, bfree: u64, bavail: u64, files: u64, ffree: u64, bsize: u32, namelen: u32,
        frsize: u32, padding: u32, spare: [u32; 6],
    }
    /// `fuse_dirent`, before the name.
    Dirent (24) { ino: u64, off: u64, namelen: u32, kind: u32, }
}

//! INIT, for connections whose handshake is ours.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bits of the INIT flags.
pub(crate) mod init_flag {
    pub(crate) const ASYNC_READ: u64 = 1 << 0;
    pub(crate) const EXPORT_SUPPORT: u64 = 1 << 4;
    pub(crate) const BIG_WRITES: u64 = 1 << 5;
    pub(crate) const DONT_MASK: u64 = 1 << 6;
    pub(crate) const HAS_IOCTL_DIR: u64 = 1 << 11;
    pub(crate) const DO_READDIRPLUS: u64 = 1 << 13;
    pub(crate) const ASYNC_DIO: u64 = 1 << 15;
    pub(crate) const PARALLEL_DIROPS: u64 = 1 << 18;
    pub(crate) const POSIX_ACL: u64 = 1 << 20;
    pub(crate) const MAX_PAGES: u64 = 1 << 22;
    pub(crate) const CACHE_SYMLINKS: u64 = 1 << 23;
    pub(crate) const NO_OPENDIR_SUPPORT: u64 = 1 << 24;
    pub(crate) const EXPLICIT_INVAL_DATA: u64 = 1 << 25;
    pub(crate) const SETXATTR_EXT: u64 = 1 << 29;
    /// `flags2` counts.
    pub(crate) const INIT_EXT: u64 = 1 << 30;
    pub(crate) const SECURITY_CTX: u64 = 1 << 32;
    pub(crate) const CREATE_SUPP_GROUP: u64 = 1 << 34;
    pub(crate) const ALLOW_IDMAP: u64 = 1 << 40;
}

wire! {
    /// `fuse_init_in`
    InitIn[64] {
        /// @0
        major: u32,
        /// @4
        minor: u32,
        /// @8 bytes.
        max_readahead: u32,
        /// @12 the lower half of the flags.
        flags: u32,
        /// @16 the upper half.
        flags2: u32,
        /// @20
        unused: [u32; 11],
    }
    /// `fuse_init_out`
    InitOut[64] {
        /// @0
        major: u32,
        /// @4
        minor: u32,
        /// @8 bytes.
        max_readahead: u32,
        /// @12
        flags: u32,
        /// @16
        max_background: u16,
        /// @18
        congestion_threshold: u16,
        /// @20 bytes.
        max_write: u32,
        /// @24 nanoseconds.
        time_gran: u32,
        /// @28
        max_pages: u16,
        /// @30
        map_alignment: u16,
        /// @32
        flags2: u32,
        /// @36
        max_stack_depth: u32,
        /// @40 seconds.
        request_timeout: u16,
        /// @42
        unused: [u16; 11],
    }
}

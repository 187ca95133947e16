//! The kernel moves the content: FUSE iomap.
//!
//! ```text
//!  open(2) ──> OPEN ───────────> begin::opened ──> push: the file's mappings, ahead of need
//!  read(2), write(2)
//!    mapping in the kernel's cache?  yes: I/O on the device, nobody asks us
//!    no ──> BEGIN ─────────────> begin ──> fs-core: look, or allocate unwritten blocks
//!                                  └─────> push: what was found, then "look again"
//!  written into unwritten, or beyond the end
//!       ──> IOEND ─────────────> completion ──> fs-core: written, size
//!  truncate(2), fallocate(2)
//!       ──> SETATTR, FALLOCATE ─> fs-core ──> push, as observer: mappings taken back
//! ```
//!
//! `wire::iomap` has the numbers; `connection` the ways to the kernel; `support`, `handshake`,
//! `config` and `devices` the beginning; `geometry` turns extents into mappings; `policy` says
//! how much, and why; `files` remembers what was pushed and who has a file open.
//!
//! What is pushed for a file is pushed with the file's lock held, so that what is taken back
//! is taken back after it.

mod begin;
mod completion;
mod config;
mod connection;
mod devices;
mod files;
mod freeze;
mod geometry;
mod handshake;
mod mount;
mod policy;
mod push;
mod support;
mod tallies;

use std::os::fd::OwnedFd;
use std::sync::Arc;

use fs_core::{BlocksAhead, Inode, InodeFlags, Superblock};
use zerocopy::IntoBytes;

pub(crate) use self::begin::{begin, created, forgotten, opened, released};
pub(crate) use self::completion::{end, ioend, settle_all_sizes, settle_size};
use self::connection::FuseDevice;
pub use self::connection::{Connection, ConnectionCalls};
use self::devices::Devices;
use self::files::Files;
pub(crate) use self::freeze::{Freezer, shut_down};
use self::geometry::Geometry;
pub(crate) use self::handshake::{Wish, shake_hands};
pub(crate) use self::mount::mount;
use self::policy::Policy;
pub use self::support::iomap_support;
pub(crate) use self::support::query;
pub use self::tallies::IomapStatus;
use self::tallies::Tallies;
use crate::wire::{attr_flag, device_ioctl};

/// What all threads of a mount with iomap share.
#[derive(Debug)]
pub(crate) struct Iomap {
    calls: Arc<dyn ConnectionCalls>,
    devices: Devices,
    geometry: Geometry,
    policy: Policy,
    files: Files,
    tallies: Tallies,
    freezer: Freezer,
}

/// The calls of a descriptor of `/dev/fuse`.
pub(crate) fn calls_of(descriptor: OwnedFd) -> Arc<dyn ConnectionCalls> {
    Arc::new(FuseDevice(descriptor))
}

impl Iomap {
    fn new(
        calls: Arc<dyn ConnectionCalls>,
        devices: Devices,
        geometry: Geometry,
        tree_bytes: u32,
        ahead: BlocksAhead,
    ) -> Self {
        Self {
            calls,
            devices,
            geometry,
            policy: Policy::new(tree_bytes),
            files: Files::new(ahead),
            tallies: Tallies::default(),
            freezer: Freezer::default(),
        }
    }

    /// With a device nobody has registered.
    pub(crate) fn for_measuring(calls: Arc<dyn ConnectionCalls>, superblock: &Superblock) -> Self {
        let geometry = Geometry::of(superblock, 0);
        Self::new(
            calls,
            Devices::imaginary(),
            geometry,
            config::TREE_BYTES_DEFAULT,
            BlocksAhead::default(),
        )
    }

    /// To be called by each thread that serves: the kernel may have it write pages back, and
    /// must not have it wait for that.
    pub(crate) fn enter_thread(&self) {
        let mut on = 1u32;
        let outcome = self.calls.ioctl(device_ioctl::SET_NOFS, on.as_mut_bytes());
        if let Err(error) = outcome {
            tracing::warn!("reclaim may wait for this server: SET_NOFS: {error}");
        }
    }

    /// `fuse_attr.flags` of an inode.
    pub(crate) fn attr_flags(&self, inode: &Inode) -> u32 {
        let mut flags = attr_flag::EXCLUSIVE | attr_flag::IOMAP;
        if self.devices.main().is_atomic {
            flags |= attr_flag::ATOMIC;
        }
        for (ours, theirs) in [
            (InodeFlags::SYNC, attr_flag::SYNC),
            (InodeFlags::IMMUTABLE, attr_flag::IMMUTABLE),
            (InodeFlags::APPEND, attr_flag::APPEND),
        ] {
            if inode.flags().contains(ours) {
                flags |= theirs;
            }
        }
        flags
    }

    /// Bytes of the largest write that is not torn, 0 if the device promises none.
    pub(crate) fn atomic_write_bytes(&self) -> u32 {
        match self.devices.main().is_atomic {
            true => self.geometry.block_bytes,
            false => 0,
        }
    }

    /// Longest content of an inode that READ may be asked for, in bytes.
    pub(crate) fn block_bytes(&self) -> u32 {
        self.geometry.block_bytes
    }

    /// Before a file is forgotten in part: for [`forgotten`].
    pub(crate) fn touches(&self, inode: fs_core::InodeNumber) -> Option<u64> {
        self.files.touches(inode)
    }

    /// A file was given another size.
    pub(crate) fn resized(&self, inode: fs_core::InodeNumber) {
        self.files.resized(inode);
    }

    /// Somebody wants what lies before `end`, in bytes, to stay, behind the file's end or not.
    pub(crate) fn keeps_ahead(&self, inode: fs_core::InodeNumber, end: u64) {
        self.files.keep_ahead(inode, self.geometry.block_from(end));
    }

    /// Whether a file's blocks must stay where they are.
    pub(crate) fn is_swap_file(&self, inode: fs_core::InodeNumber) -> bool {
        self.files.is_swap_file(inode)
    }

    pub(crate) fn freezer(&self) -> &Freezer {
        &self.freezer
    }

    /// What was sent, and what the kernel refused.
    pub(crate) fn status(&self) -> IomapStatus {
        self.tallies.status()
    }
}

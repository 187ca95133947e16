//! What all threads of a session share.

use std::sync::Arc;
use std::time::Instant;

use fs_core::{Inode, InodeNumber, WritableVolume};
use parking_lot::Mutex;
use rustix::io::Errno;

use crate::complaints::Complaints;
use crate::counters::Counters;
use crate::failure::Failure;
use crate::gate::Gate;
use crate::iomap::{self, Freezer, Iomap};
use crate::negotiate::Agreed;
use crate::node;
use crate::options::{Access, MountOptions};
use crate::presentation::Presentation;
use crate::read_ahead::ReadAhead;
use crate::served::Served;

/// How long the kernel may keep attributes and names, in seconds: a day. A
/// volume open for reading never changes, one open for writing only by the
/// kernel's own requests.
const VALID_SECONDS: u64 = 86_400;

/// What a server tells of its mount, besides what it counts.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) image: String,
    /// Why a mount that may have been meant for writing is for reading.
    pub(crate) why_read_only: Option<String>,
    /// The mount is one of a block device, so umount(2) waits.
    pub(crate) is_on_block_device: bool,
    /// Why the kernel does not move the content of files; `None` where it does.
    pub(crate) why_no_iomap: Option<String>,
    pub(crate) started: Instant,
}

/// What kind of mount it became.
#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) is_on_block_device: bool,
    /// Or why the kernel does not move content.
    pub(crate) iomap: Result<Arc<Iomap>, String>,
}

#[cfg(test)]
impl Kind {
    /// A mount whose content goes through the server.
    pub(crate) fn plain() -> Self {
        Self {
            is_on_block_device: false,
            iomap: Err("not asked for".to_owned()),
        }
    }
}

/// A mounted volume and how it is shown.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) volume: Served,
    pub(crate) presentation: Presentation,
    pub(crate) gate: Gate,
    pub(crate) agreed: Agreed,
    /// How long names and attributes may be kept, in seconds.
    pub(crate) valid_seconds: u64,
    pub(crate) complaints: Complaints,
    pub(crate) counters: Counters,
    pub(crate) setting: Setting,
    pub(crate) read_ahead: ReadAhead,
    /// The label, if it was changed. Held for a few instructions.
    pub(crate) new_label: Mutex<Option<Vec<u8>>>,
    /// Every change is made durable at once.
    pub(crate) is_sync: bool,
    /// The kernel moves the content of files.
    iomap: Option<Arc<Iomap>>,
}

impl Server {
    pub(crate) fn new(
        volume: Served,
        options: &MountOptions,
        agreed: Agreed,
        threads: usize,
        kind: Kind,
    ) -> Self {
        // What the kernel keeps, it shows without asking. Where we decide who
        // may see something, it must ask each time.
        let valid_seconds = match options.access {
            Access::Root => 0,
            Access::Owner | Access::Other => VALID_SECONDS,
        };
        Self {
            volume,
            presentation: Presentation {
                uid: options.uid,
                gid: options.gid,
                umask: options.umask,
            },
            gate: Gate::new(options.access),
            agreed,
            valid_seconds,
            complaints: Complaints::new(),
            counters: Counters::new(threads),
            setting: Setting {
                image: options.fs_name.clone(),
                why_read_only: options.why_read_only.clone(),
                is_on_block_device: kind.is_on_block_device,
                why_no_iomap: kind.iomap.as_ref().err().cloned(),
                started: Instant::now(),
            },
            read_ahead: ReadAhead::new(),
            new_label: Mutex::new(None),
            is_sync: options.sync,
            iomap: kind.iomap.ok(),
        }
    }

    /// The inode behind a node number of a request.
    pub(crate) fn inode(&self, nodeid: u64) -> Result<Arc<Inode>, Failure> {
        Ok(self.volume.inode(number_of(nodeid)?)?)
    }

    /// The volume, to change it.
    pub(crate) fn writer(&self) -> Result<&WritableVolume, Failure> {
        self.volume.writer().ok_or_else(|| Errno::ROFS.into())
    }

    /// The kernel's way of moving content; `NOSYS` on mounts that do without.
    pub(crate) fn iomap(&self) -> Result<&Iomap, Failure> {
        self.iomap.as_deref().ok_or_else(|| Errno::NOSYS.into())
    }

    /// Whether the kernel moves the content of files, and with it owns sizes and times.
    pub(crate) fn kernel_moves_content(&self) -> bool {
        self.iomap.is_some()
    }

    /// Whether the blocks kept for the superuser may be used by this user.
    pub(crate) fn is_in_reserve(&self, uid: u32, gid: Option<u32>) -> bool {
        let superblock = self.volume.superblock();
        let group = u32::from(superblock.default_reserved_gid);
        uid == 0
            || uid == u32::from(superblock.default_reserved_uid)
            || group != 0 && gid == Some(group)
    }

    /// Ends the use of the volume: all is durable then, and it is marked as clean.
    pub(crate) fn close(self) -> crate::Result<()> {
        match self.volume {
            Served::Reading(_) => Ok(()),
            Served::Writing(volume) => volume.close().map_err(crate::Error::Close),
        }
    }

    /// Gives up inodes that were held for a reply nobody has got.
    pub(crate) fn take_back(&self, granted: &mut Vec<InodeNumber>) {
        for inode in granted.drain(..) {
            self.forget(inode, 1);
        }
    }

    /// The kernel's FORGET: [`forget`](Self::forget), unless nothing may be written now.
    pub(crate) fn forget_or_defer(&self, inode: InodeNumber, times: u64) {
        let freezer = self.iomap.as_ref().map(|iomap| iomap.freezer());
        let _passed = freezer.map(Freezer::pass);
        if freezer.is_some_and(|freezer| freezer.defer(inode, times)) {
            return;
        }
        self.forget(inode, times);
    }

    /// Counts that the kernel knows an inode so many times less.
    pub(crate) fn forget(&self, inode: InodeNumber, times: u64) {
        let touches = self.iomap.as_ref().and_then(|iomap| {
            iomap::settle_size(self, iomap, inode);
            iomap.touches(inode)
        });
        let is_unknown = match self.volume.writer() {
            // Nobody counts: all that is lost is the memory of what was pushed.
            None => true,
            Some(volume) => volume.release_many(inode, times).unwrap_or_else(|error| {
                self.complaints.report(&error);
                false
            }),
        };
        if let Some(iomap) = self.iomap.as_ref().filter(|_| is_unknown) {
            iomap::forgotten(self, iomap, inode, touches);
        }
    }
}

/// The inode number behind a node number of a request.
pub(crate) fn number_of(nodeid: u64) -> Result<InodeNumber, Failure> {
    Ok(node::inode_of(nodeid).ok_or(Errno::STALE)?)
}

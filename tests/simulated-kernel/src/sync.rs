//! fsync(2), time flushes, sync(2), freezing (4.10).

use std::sync::Arc;

use rustix::io::Errno;
use zerocopy::IntoBytes;

use crate::inode::Inode;
use crate::kernel::{Kernel, Shared};
use crate::numbers::{op, setattr};
use crate::request::Expect;
use crate::wire::{FsyncIn, SetattrIn};

/// The root's node.
const ROOT: u64 = 1;

impl Kernel {
    /// fsync(2): data, recorded error, times, FSYNC; in this order.
    ///
    /// # Errors
    /// An error of writing back since the last fsync, or the server's.
    pub fn fsync(&self, nodeid: u64, fh: u64) -> Result<(), Errno> {
        let shared = &self.shared;
        let inode = shared.iomap_inode(nodeid)?;
        let _ = shared.write_back(&inode, 0, u64::MAX);
        if let Some(errno) = inode.state.lock().error.take() {
            return Err(errno);
        }
        shared.flush_times(&inode)?;
        if shared.is_off(op::FSYNC) {
            return Ok(());
        }
        let request = FsyncIn {
            fh,
            ..FsyncIn::default()
        };
        let body = [request.as_bytes()];
        match shared.call(op::FSYNC, nodeid, &body, Expect::Exactly(0), &[]) {
            Err(Errno::NOSYS) => {
                shared.switch_off(op::FSYNC);
                Ok(())
            }
            other => other.map(drop),
        }
    }

    /// sync(2): all files, then SYNCFS.
    ///
    /// # Errors
    /// The first error.
    pub fn sync(&self) -> Result<(), Errno> {
        let shared = &self.shared;
        let inodes: Vec<Arc<Inode>> = shared.inodes.lock().values().cloned().collect();
        let mut outcome = Ok(());
        for inode in inodes.iter().filter(|inode| inode.is_iomap()) {
            let _stays = inode.life.read();
            let now = shared.inode(inode.nodeid);
            if !now.is_ok_and(|now| Arc::ptr_eq(&now, inode)) {
                continue;
            }
            outcome = outcome.and(shared.write_back(inode, 0, u64::MAX));
            outcome = outcome.and(shared.flush_times(inode));
        }
        if shared.is_off(op::SYNCFS) {
            return outcome;
        }
        let body: &[&[u8]] = &[&[0; 8]];
        match shared.call(op::SYNCFS, ROOT, body, Expect::Exactly(0), &[]) {
            Err(Errno::NOSYS) => shared.switch_off(op::SYNCFS),
            other => outcome = outcome.and(other.map(drop)),
        }
        outcome
    }

    /// Freezes (`true`) or thaws the file system.
    ///
    /// # Errors
    /// EOPNOTSUPP if the server has no freezing; its own.
    pub fn freeze(&self, freeze: bool) -> Result<(), Errno> {
        let none_unlinked: &[&[u8]] = &[&[0; 8]];
        let expect = Expect::Exactly(0);
        let outcome = match freeze {
            true => {
                self.sync()?;
                self.shared
                    .call(op::FREEZE_FS, ROOT, none_unlinked, expect, &[])
            }
            false => self.shared.call(op::UNFREEZE_FS, ROOT, &[], expect, &[]),
        };
        match outcome {
            Err(Errno::NOSYS) if freeze => Err(Errno::OPNOTSUPP),
            Err(Errno::NOSYS) => Ok(()),
            other => other.map(drop),
        }
    }
}

impl Shared {
    /// Dirty times are sent; of the reply only the error counts.
    pub(crate) fn flush_times(&self, inode: &Inode) -> Result<(), Errno> {
        if !std::mem::take(&mut inode.state.lock().times_dirty) {
            return Ok(());
        }
        let request = SetattrIn {
            valid: setattr::ATIME | setattr::MTIME | setattr::CTIME,
            ..SetattrIn::default()
        };
        self.setattr(inode, &request, &[]).map(drop)
    }
}

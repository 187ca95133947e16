//! chmod(2), chown(2), utimensat(2) and statfs(2) (4.10).

use rustix::io::Errno;
use zerocopy::FromBytes;

use crate::kernel::Kernel;
use crate::numbers::{op, setattr};
use crate::request::{Expect, Lock};
use crate::wire::{Attr, SetattrIn, StatfsOut};

const LOCKS: &[Lock] = &[Lock::RwsemExclusive];

impl Kernel {
    /// chmod(2): permission bits.
    ///
    /// # Errors
    /// As for [`change_attributes`](Self::change_attributes).
    pub fn chmod(&self, nodeid: u64, mode: u32) -> Result<Attr, Errno> {
        self.change_attributes(
            nodeid,
            SetattrIn {
                valid: setattr::MODE,
                mode,
                ..SetattrIn::default()
            },
        )
    }

    /// chown(2).
    ///
    /// # Errors
    /// As for [`change_attributes`](Self::change_attributes).
    pub fn chown(&self, nodeid: u64, uid: u32, gid: u32) -> Result<Attr, Errno> {
        self.change_attributes(
            nodeid,
            SetattrIn {
                valid: setattr::UID | setattr::GID,
                uid,
                gid,
                ..SetattrIn::default()
            },
        )
    }

    /// utimensat(2) with explicit times, in seconds and nanoseconds.
    ///
    /// # Errors
    /// As for [`change_attributes`](Self::change_attributes).
    pub fn utimens(
        &self,
        nodeid: u64,
        (atime, atimensec): (u64, u32),
        (mtime, mtimensec): (u64, u32),
    ) -> Result<Attr, Errno> {
        self.change_attributes(
            nodeid,
            SetattrIn {
                valid: setattr::ATIME | setattr::MTIME,
                atime,
                atimensec,
                mtime,
                mtimensec,
                ..SetattrIn::default()
            },
        )
    }

    /// SETATTR of anything but the size. On an iomap inode all dirty data and times are
    /// written before, while `i_rwsem` is held.
    ///
    /// # Errors
    /// Those of writing back; the server's; ESTALE if the node is not in core, as the root.
    pub fn change_attributes(&self, nodeid: u64, request: SetattrIn) -> Result<Attr, Errno> {
        let shared = &self.shared;
        let inode = shared.inode(nodeid)?;
        let _guard = inode.rwsem.write();
        if inode.is_iomap() {
            shared.write_back(&inode, 0, u64::MAX)?;
            shared.flush_times(&inode)?;
        }
        let request = SetattrIn {
            valid: request.valid & !setattr::SIZE,
            ..request
        };
        let reply = shared.setattr(&inode, &request, LOCKS)?;
        Ok(reply.attr)
    }

    /// statfs(2).
    ///
    /// # Errors
    /// The server's.
    pub fn statfs(&self, nodeid: u64) -> Result<StatfsOut, Errno> {
        let expect = Expect::Exactly(size_of::<StatfsOut>());
        let body = self.shared.call(op::STATFS, nodeid, &[], expect, &[])?;
        StatfsOut::read_from_bytes(&body).map_err(|_| Errno::IO)
    }
}

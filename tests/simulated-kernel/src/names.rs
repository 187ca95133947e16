//! Names, handles and attributes; how an inode comes into core and leaves it (section 3).

use rustix::io::Errno;
use zerocopy::{FromBytes, IntoBytes};

use crate::inode::Inode;
use crate::kernel::Kernel;
use crate::numbers::{fopen, op};
use crate::request::{Expect, Lock};
use crate::wire::{Attr, AttrOut, FlushIn, ForgetIn, GetattrIn, OpenIn, OpenOut, ReleaseIn};

pub(crate) const DIRECTORY_LOCKS: &[Lock] = &[Lock::Directory];
/// `O_TRUNC`.
const O_TRUNC: u32 = 0o1000;

/// A name's node.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// Its number.
    pub nodeid: u64,
    /// Attributes as they were answered.
    pub attr: Attr,
}

/// An open file.
#[derive(Debug, Clone, Copy)]
pub struct OpenFile {
    /// Its node.
    pub nodeid: u64,
    /// The server's handle.
    pub fh: u64,
}

impl Kernel {
    /// LOOKUP of a name. The node is in core until it is [forgotten](Self::forget).
    ///
    /// # Errors
    /// ENOENT (also for an entry with node 0), the server's.
    pub fn lookup(&self, parent: u64, name: &str) -> Result<Entry, Errno> {
        let body: [&[u8]; 1] = [&zero_ended(name)];
        self.shared.enter_name(op::LOOKUP, parent, &body)
    }

    /// CREATE of a regular file, open afterwards.
    ///
    /// # Errors
    /// The server's.
    pub fn create(
        &self,
        parent: u64,
        name: &str,
        mode: u32,
        flags: u32,
    ) -> Result<(Entry, OpenFile), Errno> {
        self.make_open(op::CREATE, parent, name, mode, flags)
    }

    /// OPEN, with open(2)'s flags.
    ///
    /// # Errors
    /// EINVAL for reply flags an iomap inode cannot have; the server's.
    pub fn open(&self, nodeid: u64, flags: u32) -> Result<OpenFile, Errno> {
        let shared = &self.shared;
        if flags & O_TRUNC != 0 && !shared.link.lock().truncates_in_open {
            let file = self.open(nodeid, flags & !O_TRUNC)?;
            self.truncate(nodeid, 0)?;
            return Ok(file);
        }
        let inode = shared.inode(nodeid)?;
        let truncates = flags & O_TRUNC != 0;
        let _guard = truncates.then(|| inode.rwsem.write());
        let locks: &[Lock] = match truncates {
            true => &[Lock::RwsemExclusive],
            false => &[],
        };
        let request = OpenIn {
            flags,
            open_flags: 0,
        };
        let expect = Expect::Exactly(size_of::<OpenOut>());
        let body = shared.call(op::OPEN, nodeid, &[request.as_bytes()], expect, locks)?;
        let reply = OpenOut::read_from_bytes(&body).map_err(|_| Errno::IO)?;
        shared.check_open(&inode, &reply)?;
        if truncates {
            let _waits = inode.writeback.lock();
            inode.pages.lock().drop_range(0, u64::MAX);
            let mut state = inode.state.lock();
            (state.size, state.disk_size, state.told_size) = (0, 0, 0);
            drop(state);
            inode.drop_mappings(0, u64::MAX);
        } else if reply.open_flags & fopen::KEEP_CACHE == 0 && inode.is_iomap() {
            shared.write_back(&inode, 0, u64::MAX)?;
            inode.pages.lock().drop_clean();
        }
        let fh = reply.fh;
        Ok(OpenFile { nodeid, fh })
    }

    /// close(2) of the last descriptor: data and times are written, FLUSH, RELEASE.
    ///
    /// # Errors
    /// Those of writing and of FLUSH.
    pub fn close(&self, file: OpenFile) -> Result<(), Errno> {
        let shared = &self.shared;
        let inode = shared.inode(file.nodeid)?;
        let mut outcome = Ok(());
        if inode.is_iomap() {
            outcome = shared.write_back(&inode, 0, u64::MAX);
            outcome = outcome.and(shared.flush_times(&inode));
        }
        let flush = FlushIn {
            fh: file.fh,
            ..FlushIn::default()
        };
        let flushed = shared.call(
            op::FLUSH,
            file.nodeid,
            &[flush.as_bytes()],
            Expect::Exactly(0),
            &[],
        );
        if flushed != Err(Errno::NOSYS) {
            outcome = outcome.and(flushed.map(drop));
        }
        self.release(file).and(outcome)
    }

    /// RELEASE without writing anything: pages are written back later.
    ///
    /// # Errors
    /// The connection's; the server's answer is ignored.
    pub fn release(&self, file: OpenFile) -> Result<(), Errno> {
        let request = ReleaseIn {
            fh: file.fh,
            ..ReleaseIn::default()
        };
        let body = [request.as_bytes()];
        let expect = Expect::Exactly(0);
        match self
            .shared
            .call(op::RELEASE, file.nodeid, &body, expect, &[])
        {
            Err(Errno::NOTCONN) => Err(Errno::NOTCONN),
            _ => Ok(()),
        }
    }

    /// UNLINK.
    ///
    /// # Errors
    /// The server's.
    pub fn unlink(&self, parent: u64, name: &str) -> Result<(), Errno> {
        let name = zero_ended(name);
        let expect = Expect::Exactly(0);
        self.shared
            .call(op::UNLINK, parent, &[&name], expect, DIRECTORY_LOCKS)
            .map(drop)
    }

    /// GETATTR. Size and times in the answer do not change what applications see.
    ///
    /// # Errors
    /// The server's.
    pub fn getattr(&self, nodeid: u64) -> Result<Attr, Errno> {
        let request = GetattrIn::default();
        let expect = Expect::Exactly(size_of::<AttrOut>());
        let tellings = |inode: &Inode| inode.state.lock().tellings;
        let before = self.shared.inode(nodeid).ok().as_deref().map(tellings);
        let body = [request.as_bytes()];
        let body = self.shared.call(op::GETATTR, nodeid, &body, expect, &[])?;
        let reply = AttrOut::read_from_bytes(&body).map_err(|_| Errno::IO)?;
        if let Ok(inode) = self.shared.inode(nodeid) {
            match before == Some(tellings(&inode)) {
                true => inode.told(reply.attr.size),
                // Overtaken by a newer word, which is what the server can be held to; but the
                // kernel believes it (3.4, "Race to know").
                false => inode.state.lock().disk_size = reply.attr.size,
            }
            if self.shared.settings.personality.getattr_loses_append {
                let mut state = inode.state.lock();
                state.disk_size = state.disk_size.max(state.size);
            }
            self.shared.check_attr(&inode, &reply.attr);
        }
        Ok(reply.attr)
    }

    /// The size applications see.
    ///
    /// # Errors
    /// ESTALE if the node is not in core.
    pub fn size(&self, nodeid: u64) -> Result<u64, Errno> {
        Ok(self.shared.inode(nodeid)?.size())
    }

    /// The inode leaves core: dirty pages are written, its mappings are gone, FORGET.
    ///
    /// # Errors
    /// Those of writing back; ESTALE if it was not in core.
    pub fn forget(&self, nodeid: u64) -> Result<(), Errno> {
        let shared = &self.shared;
        let inode = shared.inode(nodeid)?;
        let _waits = inode.life.write();
        let mut outcome = Ok(());
        if inode.is_iomap() {
            outcome = shared.write_back(&inode, 0, u64::MAX);
            outcome = outcome.and(shared.flush_times(&inode));
        }
        shared.inodes.lock().remove(&nodeid);
        let request = ForgetIn {
            nlookup: inode.state.lock().lookups,
        };
        let body = [request.as_bytes()];
        shared.call(op::FORGET, nodeid, &body, Expect::Nothing, &[])?;
        outcome
    }

    /// All mappings of a node are dropped, as those of too large a tree are.
    ///
    /// # Errors
    /// ESTALE if the node is not in core.
    pub fn drop_mappings(&self, nodeid: u64) -> Result<(), Errno> {
        self.shared.inode(nodeid)?.drop_mappings(0, u64::MAX);
        Ok(())
    }

    /// The mapping cache of a node as it is; `None` before the first upsert.
    ///
    /// # Errors
    /// ESTALE if the node is not in core.
    pub fn mapping_cache(&self, nodeid: u64) -> Result<Option<crate::MappingCache>, Errno> {
        Ok(self.shared.inode(nodeid)?.cache.lock().clone())
    }
}

pub(crate) fn zero_ended(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.push(0);
    bytes
}

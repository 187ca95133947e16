//! Changes of directories: new nodes, links, names that move and go.

use rustix::io::Errno;
use zerocopy::{FromBytes, IntoBytes};

use crate::instantiate::REGULAR;
use crate::kernel::{Kernel, Shared};
use crate::names::{DIRECTORY_LOCKS, Entry, OpenFile, zero_ended};
use crate::numbers::op;
use crate::request::Expect;
use crate::wire::{CreateIn, CreateOut, EntryOut, LinkIn, MkdirIn, MknodIn, Rename2In, RenameIn};

/// The umask of the application. The mode in a request is final, whether the directory is
/// EXCLUSIVE or not, because `FUSE_DONT_MASK` is never offered; the umask is filled in all the
/// same, and a server that applies what it finds there changes nothing more (3.4).
pub(crate) const UMASK: u32 = 0o022;
/// Longest target of a symbolic link.
const TARGET_BYTES_MAX: usize = 4096;

impl Kernel {
    /// MKDIR.
    ///
    /// # Errors
    /// The server's.
    pub fn mkdir(&self, parent: u64, name: &str, mode: u32) -> Result<Entry, Errno> {
        let request = MkdirIn {
            mode: mode & !UMASK,
            umask: UMASK,
        };
        let body = [request.as_bytes(), &zero_ended(name)];
        self.shared.enter_name(op::MKDIR, parent, &body)
    }

    /// MKNOD; `mode` has the type's bits, none means a regular file.
    ///
    /// # Errors
    /// The server's.
    pub fn mknod(&self, parent: u64, name: &str, mode: u32, rdev: u32) -> Result<Entry, Errno> {
        let request = MknodIn {
            mode: mode & !UMASK,
            rdev,
            umask: UMASK,
            padding: 0,
        };
        let body = [request.as_bytes(), &zero_ended(name)];
        self.shared.enter_name(op::MKNOD, parent, &body)
    }

    /// SYMLINK.
    ///
    /// # Errors
    /// The server's.
    pub fn symlink(&self, parent: u64, name: &str, target: &str) -> Result<Entry, Errno> {
        let body: [&[u8]; 2] = [&zero_ended(name), &zero_ended(target)];
        self.shared.enter_name(op::SYMLINK, parent, &body)
    }

    /// READLINK.
    ///
    /// # Errors
    /// The server's.
    pub fn readlink(&self, nodeid: u64) -> Result<Vec<u8>, Errno> {
        let expect = Expect::AtMost(TARGET_BYTES_MAX);
        self.shared.call(op::READLINK, nodeid, &[], expect, &[])
    }

    /// LINK: one more name for a node, also for one made by [`tmpfile`](Self::tmpfile).
    ///
    /// # Errors
    /// The server's; EIO if it answers with another node.
    pub fn link(&self, nodeid: u64, parent: u64, name: &str) -> Result<Entry, Errno> {
        let request = LinkIn { oldnodeid: nodeid };
        let body = [request.as_bytes(), &zero_ended(name)];
        let entry = self.shared.enter_name(op::LINK, parent, &body)?;
        match entry.nodeid == nodeid {
            true => Ok(entry),
            false => Err(Errno::IO),
        }
    }

    /// TMPFILE: a regular file without a name, open.
    ///
    /// # Errors
    /// The server's.
    pub fn tmpfile(&self, parent: u64, mode: u32, flags: u32) -> Result<(Entry, OpenFile), Errno> {
        // A name comes with it that the server must ignore (10.4).
        self.make_open(op::TMPFILE, parent, "/", mode, flags)
    }

    /// RMDIR.
    ///
    /// # Errors
    /// The server's.
    pub fn rmdir(&self, parent: u64, name: &str) -> Result<(), Errno> {
        let body: [&[u8]; 1] = [&zero_ended(name)];
        self.shared.change_names(op::RMDIR, parent, &body)
    }

    /// renameat2(2): RENAME, or RENAME2 if there are flags.
    ///
    /// # Errors
    /// The server's; EINVAL where it does not know RENAME2.
    pub fn rename(
        &self,
        (parent, name): (u64, &str),
        (newdir, newname): (u64, &str),
        flags: u32,
    ) -> Result<(), Errno> {
        let (name, newname) = (zero_ended(name), zero_ended(newname));
        if flags == 0 {
            let request = RenameIn { newdir };
            let body = [request.as_bytes(), &name, &newname];
            return self.shared.change_names(op::RENAME, parent, &body);
        }
        let request = Rename2In {
            newdir,
            flags,
            padding: 0,
        };
        let body = [request.as_bytes(), &name, &newname];
        match self.shared.change_names(op::RENAME2, parent, &body) {
            Err(Errno::NOSYS) => Err(Errno::INVAL),
            other => other,
        }
    }

    /// CREATE or TMPFILE.
    pub(crate) fn make_open(
        &self,
        opcode: u32,
        parent: u64,
        name: &str,
        mode: u32,
        flags: u32,
    ) -> Result<(Entry, OpenFile), Errno> {
        let request = CreateIn {
            flags,
            mode: REGULAR | mode & !UMASK,
            umask: UMASK,
            open_flags: 0,
        };
        let body = [request.as_bytes(), &zero_ended(name)];
        let expect = Expect::Exactly(size_of::<CreateOut>());
        let shared = &self.shared;
        let body = shared.call(opcode, parent, &body, expect, DIRECTORY_LOCKS)?;
        let reply = CreateOut::read_from_bytes(&body).map_err(|_| Errno::IO)?;
        let entry = shared.instantiate(&reply.entry)?;
        let inode = shared.inode(entry.nodeid)?;
        shared.check_open(&inode, &reply.open)?;
        let file = OpenFile {
            nodeid: entry.nodeid,
            fh: reply.open.fh,
        };
        Ok((entry, file))
    }
}

impl Shared {
    /// A request that is answered with an entry.
    pub(crate) fn enter_name(
        &self,
        opcode: u32,
        parent: u64,
        body: &[&[u8]],
    ) -> Result<Entry, Errno> {
        let expect = Expect::Exactly(size_of::<EntryOut>());
        let body = self.call(opcode, parent, body, expect, DIRECTORY_LOCKS)?;
        let reply = EntryOut::read_from_bytes(&body).map_err(|_| Errno::IO)?;
        self.instantiate(&reply)
    }

    fn change_names(&self, opcode: u32, parent: u64, body: &[&[u8]]) -> Result<(), Errno> {
        self.call(opcode, parent, body, Expect::Exactly(0), DIRECTORY_LOCKS)
            .map(drop)
    }
}

//! Extended attributes.

use rustix::io::Errno;
use zerocopy::{FromBytes, IntoBytes};

use crate::kernel::{Kernel, Shared};
use crate::names::zero_ended;
use crate::numbers::op;
use crate::request::{Expect, Lock};
use crate::wire::{GetxattrIn, GetxattrOut, SetxattrIn};

const LOCKS: &[Lock] = &[Lock::RwsemExclusive];

impl Kernel {
    /// setxattr(2), in the short form: `FUSE_SETXATTR_EXT` is not offered.
    ///
    /// # Errors
    /// The server's; E2BIG for a value no request can carry.
    pub fn setxattr(&self, nodeid: u64, name: &str, value: &[u8], flags: u32) -> Result<(), Errno> {
        // The root is never looked up, so it is not in core.
        let inode = self.shared.inode(nodeid).ok();
        let _guard = inode.as_ref().map(|inode| inode.rwsem.write());
        let size = u32::try_from(value.len()).map_err(|_| Errno::TOOBIG)?;
        let request = SetxattrIn { size, flags };
        let body = [request.as_bytes(), &zero_ended(name), value];
        let shared = &self.shared;
        let outcome = shared.call(op::SETXATTR, nodeid, &body, Expect::Exactly(0), LOCKS);
        outcome.map(drop).map_err(unsupported)
    }

    /// removexattr(2).
    ///
    /// # Errors
    /// The server's.
    pub fn removexattr(&self, nodeid: u64, name: &str) -> Result<(), Errno> {
        // The root is never looked up, so it is not in core.
        let inode = self.shared.inode(nodeid).ok();
        let _guard = inode.as_ref().map(|inode| inode.rwsem.write());
        let body: [&[u8]; 1] = [&zero_ended(name)];
        let shared = &self.shared;
        let outcome = shared.call(op::REMOVEXATTR, nodeid, &body, Expect::Exactly(0), LOCKS);
        outcome.map(drop).map_err(unsupported)
    }

    /// getxattr(2) of a whole value: asks for the size, then for the value.
    ///
    /// # Errors
    /// ENODATA, the server's.
    pub fn getxattr(&self, nodeid: u64, name: &str) -> Result<Vec<u8>, Errno> {
        let name = zero_ended(name);
        self.shared.sized(op::GETXATTR, nodeid, &name)
    }

    /// listxattr(2): names, each with its NUL.
    ///
    /// # Errors
    /// The server's.
    pub fn listxattr(&self, nodeid: u64) -> Result<Vec<u8>, Errno> {
        self.shared.sized(op::LISTXATTR, nodeid, &[])
    }
}

impl Shared {
    fn sized(&self, opcode: u32, nodeid: u64, name: &[u8]) -> Result<Vec<u8>, Errno> {
        let mut request = GetxattrIn::default();
        let expect = Expect::Exactly(size_of::<GetxattrOut>());
        let answer = self
            .call(opcode, nodeid, &[request.as_bytes(), name], expect, &[])
            .map_err(unsupported)?;
        let answer = GetxattrOut::read_from_bytes(&answer).map_err(|_| Errno::IO)?;
        if answer.size == 0 {
            return Ok(Vec::new());
        }
        request.size = answer.size;
        let expect = Expect::AtMost(answer.size as usize);
        self.call(opcode, nodeid, &[request.as_bytes(), name], expect, &[])
            .map_err(unsupported)
    }
}

/// What applications see where a server knows no extended attributes.
fn unsupported(errno: Errno) -> Errno {
    match errno {
        Errno::NOSYS => Errno::OPNOTSUPP,
        other => other,
    }
}

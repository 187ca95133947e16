//! Listing directories: READDIR, and READDIRPLUS, whose entries bring inodes into core.

use rustix::io::Errno;
use zerocopy::{FromBytes, IntoBytes};

use crate::kernel::Kernel;
use crate::names::DIRECTORY_LOCKS;
use crate::numbers::op;
use crate::request::Expect;
use crate::wire::{Dirent, EntryOut, OpenIn, OpenOut, ReadIn, ReleaseIn};

/// What one request asks for.
const LISTING_BYTES: u32 = 4096;
/// Requests after which a listing counts as endless.
const REQUESTS_MAX: u32 = 1 << 16;

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// As the directory has it.
    pub name: Vec<u8>,
    /// Inode number.
    pub ino: u64,
    /// Type, as in `d_type`.
    pub kind: u32,
    /// The node that READDIRPLUS brought into core; to be forgotten like one looked up.
    pub nodeid: Option<u64>,
}

impl Kernel {
    /// A directory's entries: OPENDIR, READDIR or READDIRPLUS until empty, RELEASEDIR.
    ///
    /// # Errors
    /// The server's; EIO for entries that are no entries, or that never end.
    pub fn list(&self, nodeid: u64, plus: bool) -> Result<Vec<Listed>, Errno> {
        let shared = &self.shared;
        let expect = Expect::Exactly(size_of::<OpenOut>());
        let request = OpenIn::default();
        let body = shared.call(op::OPENDIR, nodeid, &[request.as_bytes()], expect, &[])?;
        let opened = OpenOut::read_from_bytes(&body).map_err(|_| Errno::IO)?;
        let listed = self.list_open(nodeid, opened.fh, plus);
        let request = ReleaseIn {
            fh: opened.fh,
            ..ReleaseIn::default()
        };
        let body = [request.as_bytes()];
        // As on close(2), nobody looks at the answer.
        let _ = shared.call(op::RELEASEDIR, nodeid, &body, Expect::Exactly(0), &[]);
        listed
    }

    fn list_open(&self, nodeid: u64, fh: u64, plus: bool) -> Result<Vec<Listed>, Errno> {
        let opcode = if plus { op::READDIRPLUS } else { op::READDIR };
        let mut all = Vec::new();
        let mut offset = 0;
        for _ in 0..REQUESTS_MAX {
            let request = ReadIn {
                fh,
                offset,
                size: LISTING_BYTES,
                ..ReadIn::default()
            };
            let expect = Expect::AtMost(LISTING_BYTES as usize);
            let body = [request.as_bytes()];
            let body = self
                .shared
                .call(opcode, nodeid, &body, expect, DIRECTORY_LOCKS)?;
            if body.is_empty() {
                return Ok(all);
            }
            offset = self.take_entries(&body, plus, &mut all)?;
        }
        Err(Errno::IO)
    }

    /// Takes the entries of one answer; where the next request goes on.
    fn take_entries(
        &self,
        mut rest: &[u8],
        plus: bool,
        all: &mut Vec<Listed>,
    ) -> Result<u64, Errno> {
        let mut next = None;
        while !rest.is_empty() {
            let mut entry = None;
            if plus {
                let (reply, behind) = EntryOut::read_from_prefix(rest).map_err(|_| Errno::IO)?;
                (entry, rest) = (Some(reply), behind);
            }
            let (head, behind) = Dirent::read_from_prefix(rest).map_err(|_| Errno::IO)?;
            let len = head.namelen as usize;
            let name = behind.get(..len).ok_or(Errno::IO)?;
            if name.is_empty() || name.contains(&b'/') {
                return Err(Errno::IO);
            }
            // Only the last entry's padding may be missing from an answer.
            rest = behind.get(len.next_multiple_of(8)..).unwrap_or_default();
            // A lookup of "." or ".." is not counted, and node 0 is none.
            let is_node = name != b"." && name != b"..";
            let entry = entry.filter(|reply| is_node && reply.nodeid != 0);
            let entry = entry
                .map(|reply| self.shared.instantiate(&reply))
                .transpose()?;
            all.push(Listed {
                name: name.to_vec(),
                ino: head.ino,
                kind: head.kind,
                nodeid: entry.map(|entry| entry.nodeid),
            });
            next = Some(head.off);
        }
        next.ok_or(Errno::IO)
    }
}

//! Questions about the layout: SEEK_HOLE and SEEK_DATA, swapon (4.10).

use rustix::io::Errno;

use crate::inode::Inode;
use crate::kernel::Kernel;
use crate::mapping::{Kind, Mapping};
use crate::numbers::{ioend, map, opflag};
use crate::request::Lock;
use crate::wire::IoendIn;

/// What lseek(2) looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whence {
    /// `SEEK_DATA`.
    Data,
    /// `SEEK_HOLE`.
    Hole,
}

impl Kernel {
    /// lseek(2).
    ///
    /// # Errors
    /// ENXIO at or behind the end, or if there is no more data; the server's.
    pub fn seek(&self, nodeid: u64, pos: u64, whence: Whence) -> Result<u64, Errno> {
        let inode = self.shared.iomap_inode(nodeid)?;
        // What is written back between the answer and the look at the cache could be missed.
        let _no_writeback = inode.writeback.lock();
        let size = inode.size();
        if pos >= size {
            return Err(Errno::NXIO);
        }
        let mut at = pos;
        while at < size {
            let mapping = self.report(&inode, at, size - at, 0)?;
            let upto = mapping.end().min(size);
            let data = match mapping.kind {
                Kind::Hole => None,
                Kind::Unwritten => cached_data(&inode, at, upto),
                _ => Some((at, upto)),
            };
            match (whence, data) {
                (Whence::Data, Some((start, _))) => return Ok(start.max(at)),
                (Whence::Hole, None) => return Ok(at),
                (Whence::Hole, Some((start, _))) if start > at => return Ok(at),
                (Whence::Hole, Some((_, end))) => at = end,
                (Whence::Data, None) => at = upto,
            }
        }
        match whence {
            Whence::Data => Err(Errno::NXIO),
            Whence::Hole => Ok(size),
        }
    }

    /// swapon(2): the places of a file that must have no holes.
    ///
    /// # Errors
    /// EINVAL for a file with holes, after an IOEND that says so.
    pub fn swapon(&self, nodeid: u64) -> Result<Vec<Mapping>, Errno> {
        let inode = self.shared.iomap_inode(nodeid)?;
        self.shared.write_back(&inode, 0, u64::MAX)?;
        let size = inode.size();
        let mut places = Vec::new();
        let mut at = 0;
        while at < size {
            let mapping = self.report(&inode, at, size - at, opflag::SWAPFILE)?;
            if !mapping.kind.has_place() {
                self.swapoff(nodeid)?;
                return Err(Errno::INVAL);
            }
            places.push(mapping);
            at = mapping.end();
        }
        Ok(places)
    }

    /// swapoff(2).
    ///
    /// # Errors
    /// The server's.
    pub fn swapoff(&self, nodeid: u64) -> Result<(), Errno> {
        let inode = self.shared.iomap_inode(nodeid)?;
        let done = IoendIn {
            flags: ioend::SWAPOFF,
            new_addr: map::NONE,
            ..IoendIn::default()
        };
        self.shared.ioend(&inode, done, &[])
    }

    fn report(&self, inode: &Inode, pos: u64, count: u64, more: u32) -> Result<Mapping, Errno> {
        let opflags = opflag::REPORT | more;
        let locks: &[Lock] = &[];
        let located = self.shared.locate(inode, opflags, pos, count, locks)?;
        Ok(located.destination)
    }
}

/// The first run of cached folios inside unwritten space: data that has no place yet.
fn cached_data(inode: &Inode, from: u64, to: u64) -> Option<(u64, u64)> {
    let block = inode.block_bytes;
    let pages = inode.pages.lock();
    let mut dirty = pages
        .dirty(from / block, to.div_ceil(block))
        .into_iter()
        .peekable();
    let first = dirty.next()?;
    let mut end = first + 1;
    while dirty.next_if_eq(&end).is_some() {
        end += 1;
    }
    Some((first * block, (end * block).min(to)))
}

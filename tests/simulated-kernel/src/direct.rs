//! Direct reads and writes (4.10): data moves between application and device.

use rustix::io::Errno;

use crate::completion::Step;
use crate::inode::Inode;
use crate::kernel::{Kernel, Shared};
use crate::locate::Located;
use crate::mapping::Kind;
use crate::numbers::{attr, ioend, map, opflag};
use crate::request::Lock;
use crate::wire::IoendIn;

/// Logical sector of devices; direct I/O is in multiples of it.
const SECTOR_BYTES: u64 = 512;
const READ_LOCKS: &[Lock] = &[Lock::RwsemShared];
const WRITE_LOCKS: &[Lock] = &[Lock::RwsemExclusive];

impl Kernel {
    /// pread(2) with `O_DIRECT`; shorter at the end of the file.
    ///
    /// # Errors
    /// EINVAL for a range that is not of whole sectors; the server's and the device's errors.
    pub fn read_direct(&self, nodeid: u64, pos: u64, len: u64) -> Result<Vec<u8>, Errno> {
        check_sectors(pos, len)?;
        let inode = self.shared.iomap_inode(nodeid)?;
        let guard = inode.rwsem.read();
        let end = pos.saturating_add(len).min(inode.size());
        if pos >= end {
            return Ok(Vec::new());
        }
        self.shared.write_back(&inode, pos, end)?;
        let mut bytes = vec![0; (end - pos) as usize];
        match self.shared.read_mapped(&inode, pos, &mut bytes) {
            Err(Errno::NOSYS | Errno::NOTBLK) => {
                drop(guard);
                self.read(nodeid, pos, len)
            }
            Err(errno) => Err(errno),
            Ok(()) => Ok(bytes),
        }
    }

    /// pwrite(2) with `O_DIRECT`.
    ///
    /// # Errors
    /// As for reading.
    pub fn write_direct(&self, nodeid: u64, pos: u64, bytes: &[u8]) -> Result<(), Errno> {
        check_sectors(pos, bytes.len() as u64)?;
        let inode = self.shared.iomap_inode(nodeid)?;
        let guard = inode.rwsem.write();
        let outcome = self.shared.write_direct(&inode, pos, bytes, 0);
        drop(guard);
        match outcome {
            Err(Errno::NOSYS | Errno::NOTBLK) => {
                self.write(nodeid, pos, bytes)?;
                self.write_back(nodeid)
            }
            other => other,
        }
    }

    /// pwritev2(2) with `RWF_ATOMIC` and `O_DIRECT`: one block.
    ///
    /// # Errors
    /// EOPNOTSUPP for a file without the ATOMIC attribute, EINVAL for anything but one whole
    /// block, EIO where the answer is no place for an untorn write (L).
    pub fn write_atomic(&self, nodeid: u64, pos: u64, bytes: &[u8]) -> Result<(), Errno> {
        let inode = self.shared.iomap_inode(nodeid)?;
        if inode.attr_flags & attr::ATOMIC == 0 {
            return Err(Errno::OPNOTSUPP);
        }
        let block = inode.block_bytes;
        if bytes.len() as u64 != block || !pos.is_multiple_of(block) {
            return Err(Errno::INVAL);
        }
        let _guard = inode.rwsem.write();
        let more = opflag::ATOMIC;
        self.shared.write_direct(&inode, pos, bytes, more)
    }
}

impl Shared {
    fn read_mapped(&self, inode: &Inode, pos: u64, bytes: &mut [u8]) -> Result<(), Errno> {
        let end = pos + bytes.len() as u64;
        let mut at = pos;
        while at < end {
            let located = self.locate(inode, opflag::DIRECT, at, end - at, READ_LOCKS)?;
            let mapping = located.destination;
            let upto = mapping.end().min(end);
            let range = (at - pos) as usize..(upto - pos) as usize;
            let piece = bytes.get_mut(range).ok_or(Errno::IO)?;
            match mapping.kind {
                Kind::Mapped => {
                    let device = self.device(&mapping)?;
                    device.read_file(inode.nodeid, mapping.address_of(at), piece)?;
                }
                Kind::Inline => {
                    let content = self.read_inline(inode, &mapping, at, upto - at, READ_LOCKS)?;
                    piece.copy_from_slice(&content);
                }
                Kind::Delalloc => return Err(Errno::IO),
                _ => piece.fill(0),
            }
            let step = Step {
                opflags: opflag::DIRECT,
                pos: at,
                count: upto - at,
                written: upto - at,
                grew: false,
            };
            self.end(inode, step, &located, READ_LOCKS)?;
            at = upto;
        }
        Ok(())
    }

    fn write_direct(&self, inode: &Inode, pos: u64, bytes: &[u8], more: u32) -> Result<(), Errno> {
        let end = pos.checked_add(bytes.len() as u64).ok_or(Errno::FBIG)?;
        let size = inode.size();
        if pos > size {
            let locks = &[Lock::RwsemExclusive, Lock::InvalidateExclusive];
            let guard = inode.invalidate.write();
            self.zero_range(inode, size, pos, locks)?;
            drop(guard);
            self.write_back(inode, size, pos)?;
        }
        self.write_back_and_drop(inode, pos, end)?;
        inode.state.lock().times_dirty = true;
        let mut flags = ioend::DIRECT;
        let mut at = pos;
        let mut outcome = Ok(());
        while at < end && outcome.is_ok() {
            let opflags = opflag::WRITE | opflag::DIRECT | more;
            let located = match self.locate(inode, opflags, at, end - at, WRITE_LOCKS) {
                Ok(located) => located,
                Err(errno) => {
                    outcome = Err(errno);
                    break;
                }
            };
            let upto = located.end().min(end);
            let range = (at - pos) as usize..(upto - pos) as usize;
            let piece = bytes.get(range).ok_or(Errno::IO)?;
            let written = self.write_piece(inode, &located, at, piece, &mut flags);
            let step = Step {
                opflags,
                pos: at,
                count: upto - at,
                written: if written.is_ok() { upto - at } else { 0 },
                grew: false,
            };
            let inline = located.destination.kind == Kind::Inline;
            let ended = match inline && written.is_ok() {
                true => Ok(()),
                false => self.end(inode, step, &located, WRITE_LOCKS),
            };
            outcome = written.and(ended);
            if outcome.is_ok() {
                at = upto;
            }
        }
        self.complete_direct(inode, pos, at - pos, flags, outcome)
    }

    /// IOEND of what was written, or of the failure.
    fn complete_direct(
        &self,
        inode: &Inode,
        pos: u64,
        written: u64,
        flags: u32,
        outcome: Result<(), Errno>,
    ) -> Result<(), Errno> {
        let error = match outcome {
            // A BEGIN that failed before any I/O has no completion.
            Err(errno) if written == 0 && errno != Errno::IO => return Err(errno),
            Err(errno) => -errno.raw_os_error(),
            Ok(()) => 0,
        };
        let done = IoendIn {
            flags,
            error,
            pos,
            new_addr: map::NONE,
            written,
            ..IoendIn::default()
        };
        let completed = self.ioend(inode, done, WRITE_LOCKS);
        outcome.and(completed)
    }

    /// Bytes go to their place, zeroes around them where the block is new.
    fn write_piece(
        &self,
        inode: &Inode,
        located: &Located,
        at: u64,
        piece: &[u8],
        flags: &mut u32,
    ) -> Result<(), Errno> {
        let mapping = located.destination;
        match mapping.kind {
            Kind::Mapped | Kind::Unwritten => {}
            Kind::Inline => return self.write_inline(inode, at, piece, WRITE_LOCKS),
            _ => return Err(Errno::IO),
        }
        if mapping.kind == Kind::Unwritten {
            *flags |= ioend::UNWRITTEN;
        }
        if mapping.flags & map::SHARED != 0 {
            *flags |= ioend::SHARED;
        }
        let device = self.device(&mapping)?;
        let fresh = mapping.kind == Kind::Unwritten || mapping.flags & map::NEW != 0;
        let end = at + piece.len() as u64;
        let head = inode.block_start(at);
        if fresh && head < at {
            let zeroes = vec![0; (at - head) as usize];
            device.write_file(inode.nodeid, mapping.address_of(head), &zeroes)?;
        }
        device.write_file(inode.nodeid, mapping.address_of(at), piece)?;
        let tail = end.next_multiple_of(inode.block_bytes);
        if end < tail && (fresh || end >= inode.size()) {
            let zeroes = vec![0; (tail - end) as usize];
            device.write_file(inode.nodeid, mapping.address_of(end), &zeroes)?;
        }
        Ok(())
    }

    /// An inode of which the kernel does the I/O.
    pub(crate) fn iomap_inode(&self, nodeid: u64) -> Result<std::sync::Arc<Inode>, Errno> {
        let inode = self.inode(nodeid)?;
        match inode.is_iomap() {
            true => Ok(inode),
            // READ and WRITE with a handle are not simulated.
            false => Err(Errno::OPNOTSUPP),
        }
    }
}

fn check_sectors(pos: u64, len: u64) -> Result<(), Errno> {
    match pos.is_multiple_of(SECTOR_BYTES) && len.is_multiple_of(SECTOR_BYTES) {
        true => Ok(()),
        false => Err(Errno::INVAL),
    }
}

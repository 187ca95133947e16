//! truncate(2) and fallocate(2) (4.10).

use rustix::io::Errno;
use zerocopy::{FromBytes, IntoBytes};

use crate::inode::Inode;
use crate::kernel::{Kernel, Shared};
use crate::numbers::{fallocate, op, setattr};
use crate::request::{Expect, Lock};
use crate::rule::Rule;
use crate::wire::{AttrOut, FallocateIn, SetattrIn};

const LOCKS: &[Lock] = &[Lock::RwsemExclusive, Lock::InvalidateExclusive];

impl Kernel {
    /// truncate(2).
    ///
    /// # Errors
    /// The server's; the size the application sees has changed all the same.
    pub fn truncate(&self, nodeid: u64, size: u64) -> Result<(), Errno> {
        let shared = &self.shared;
        let inode = shared.iomap_inode(nodeid)?;
        let _guard = inode.rwsem.write();
        let _mappings = inode.invalidate.write();
        let old = inode.size();
        let block = inode.block_bytes;
        if size < old {
            let edge = size.next_multiple_of(block).min(old);
            shared.zero_range(&inode, size, edge, LOCKS)?;
        } else {
            shared.zero_range(&inode, old, size, LOCKS)?;
        }
        {
            let mut pages = inode.pages.lock();
            let mut state = inode.state.lock();
            state.size_in_transit = old;
            state.size = size;
            drop(state);
            pages.drop_range(size.div_ceil(block), u64::MAX);
            let within = (size % block) as usize;
            if let Some(folio) = pages.folios.get_mut(&(size / block))
                && let Some(tail) = folio.bytes.get_mut(within..)
            {
                tail.fill(0);
            }
        }
        shared.write_back(&inode, 0, u64::MAX)?;
        let request = SetattrIn {
            valid: setattr::SIZE | setattr::MTIME | setattr::CTIME | setattr::LOCKOWNER,
            size,
            ..SetattrIn::default()
        };
        let reply = shared.setattr(&inode, &request, LOCKS)?;
        inode.state.lock().size_in_transit = 0;
        let answered = reply.attr.size;
        if answered != size {
            let detail = format!("asked for {size}, answered {answered}");
            shared.record.violation(Rule::SetattrSize, detail);
            inode.state.lock().size = answered;
            let first = answered.min(size) / block;
            inode.pages.lock().drop_range(first, u64::MAX);
        }
        inode.drop_mappings(answered, u64::MAX);
        Ok(())
    }

    /// fallocate(2).
    ///
    /// # Errors
    /// EOPNOTSUPP for modes that are never asked for; the server's.
    pub fn fallocate(
        &self,
        nodeid: u64,
        fh: u64,
        mode: u32,
        pos: u64,
        len: u64,
    ) -> Result<(), Errno> {
        let known = fallocate::KEEP_SIZE | fallocate::PUNCH_HOLE | fallocate::ZERO_RANGE;
        let cuts = mode & fallocate::PUNCH_HOLE != 0;
        if mode & !known != 0 || cuts && mode & fallocate::KEEP_SIZE == 0 {
            return Err(Errno::OPNOTSUPP);
        }
        let end = pos.checked_add(len).filter(|_| len > 0);
        let end = end.ok_or(Errno::INVAL)?;
        let shared = &self.shared;
        let inode = shared.iomap_inode(nodeid)?;
        if shared.is_off(op::FALLOCATE) {
            return Err(Errno::OPNOTSUPP);
        }
        {
            let _guard = inode.rwsem.write();
            let _mappings = inode.invalidate.write();
            shared.fallocate(&inode, fh, mode, pos, end)?;
        }
        inode.state.lock().times_dirty = true;
        shared.flush_times(&inode)
    }
}

impl Shared {
    fn fallocate(
        &self,
        inode: &Inode,
        fh: u64,
        mode: u32,
        pos: u64,
        end: u64,
    ) -> Result<(), Errno> {
        let zeroes = mode & (fallocate::PUNCH_HOLE | fallocate::ZERO_RANGE) != 0;
        let old = inode.size();
        self.write_back_and_drop(inode, inode.block_start(pos), end)?;
        let request = FallocateIn {
            fh,
            offset: pos,
            length: end - pos,
            mode,
            padding: 0,
        };
        inode.state.lock().size_in_transit = end;
        let body = [request.as_bytes()];
        let expect = Expect::Exactly(0);
        match self.call(op::FALLOCATE, inode.nodeid, &body, expect, LOCKS) {
            Err(Errno::NOSYS) => {
                self.switch_off(op::FALLOCATE);
                return Err(Errno::OPNOTSUPP);
            }
            other => other?,
        };
        inode.drop_mappings(pos, end);
        if zeroes {
            self.zero_edges(inode, pos, end.min(old))?;
        }
        if mode & fallocate::KEEP_SIZE == 0 && end > old {
            self.zero_range(inode, old, end, LOCKS)?;
            inode.state.lock().size = end;
            self.write_back(inode, inode.block_start(old), end)?;
            inode.told(end);
        }
        inode.state.lock().size_in_transit = 0;
        Ok(())
    }

    /// The parts of blocks at the edges of a range, which the server does not touch.
    fn zero_edges(&self, inode: &Inode, pos: u64, end: u64) -> Result<(), Errno> {
        let head = pos.next_multiple_of(inode.block_bytes).min(end);
        if pos < head {
            self.zero_range(inode, pos, head, LOCKS)?;
        }
        let tail = inode.block_start(end).max(head);
        if tail < end {
            self.zero_range(inode, tail, end, LOCKS)?;
        }
        Ok(())
    }

    /// SETATTR; the disk size becomes the reply's.
    pub(crate) fn setattr(
        &self,
        inode: &Inode,
        request: &SetattrIn,
        locks: &[Lock],
    ) -> Result<AttrOut, Errno> {
        let expect = Expect::Exactly(size_of::<AttrOut>());
        let body = [request.as_bytes()];
        let body = self.call(op::SETATTR, inode.nodeid, &body, expect, locks)?;
        let reply = AttrOut::read_from_bytes(&body).map_err(|_| Errno::IO)?;
        if request.valid & setattr::SIZE != 0 {
            inode.told(reply.attr.size);
        }
        self.check_attr(inode, &reply.attr);
        Ok(reply)
    }
}

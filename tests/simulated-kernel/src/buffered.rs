//! Buffered reads and writes, page faults, and zeroing through the page cache (4.10).

use std::collections::btree_map::Entry;

use rustix::io::Errno;

use crate::completion::Step;
use crate::inode::Inode;
use crate::kernel::{Kernel, Shared};
use crate::locate::Located;
use crate::mapping::{Kind, Mapping};
use crate::numbers::{map, opflag};
use crate::pages::{Folio, Pages};
use crate::request::Lock;

/// Times a write fetches a stale mapping again.
const STALE_MAX: usize = 64;
const READ_LOCKS: &[Lock] = &[Lock::RwsemShared, Lock::InvalidateShared, Lock::Folio];
const FAULT_LOCKS: &[Lock] = &[Lock::InvalidateShared, Lock::Folio];
const WRITE_LOCKS: &[Lock] = &[Lock::RwsemExclusive];

impl Kernel {
    /// pread(2) through the page cache; shorter at the end of the file.
    ///
    /// # Errors
    /// The server's and the device's.
    pub fn read(&self, nodeid: u64, pos: u64, len: u64) -> Result<Vec<u8>, Errno> {
        let inode = self.shared.iomap_inode(nodeid)?;
        let _guard = inode.rwsem.read();
        let _mappings = inode.invalidate.read();
        self.shared.read_folios(&inode, pos, len, READ_LOCKS)
    }

    /// A read through a shared memory mapping.
    ///
    /// # Errors
    /// As for reading; a program would get SIGBUS.
    pub fn map_read(&self, nodeid: u64, pos: u64, len: u64) -> Result<Vec<u8>, Errno> {
        let inode = self.shared.iomap_inode(nodeid)?;
        let _mappings = inode.invalidate.read();
        self.shared.read_folios(&inode, pos, len, FAULT_LOCKS)
    }

    /// pwrite(2) through the page cache.
    ///
    /// # Errors
    /// The server's, in BEGIN, END and for inline files WRITE.
    pub fn write(&self, nodeid: u64, pos: u64, bytes: &[u8]) -> Result<(), Errno> {
        let inode = self.shared.iomap_inode(nodeid)?;
        let _guard = inode.rwsem.write();
        let size = inode.size();
        if pos > size {
            let locks = &[Lock::RwsemExclusive, Lock::InvalidateExclusive];
            let _mappings = inode.invalidate.write();
            self.shared.zero_range(&inode, size, pos, locks)?;
        }
        inode.state.lock().times_dirty = true;
        let opflags = opflag::WRITE;
        self.shared
            .write_folios(&inode, opflags, pos, bytes, WRITE_LOCKS)
    }

    /// A write through a shared memory mapping, inside the file: page_mkwrite and a store.
    ///
    /// # Errors
    /// EFAULT behind the end of the file (SIGBUS); else as for writing.
    pub fn map_write(&self, nodeid: u64, pos: u64, bytes: &[u8]) -> Result<(), Errno> {
        let inode = self.shared.iomap_inode(nodeid)?;
        let _mappings = inode.invalidate.read();
        if pos.saturating_add(bytes.len() as u64) > inode.size() {
            return Err(Errno::FAULT);
        }
        inode.state.lock().times_dirty = true;
        let opflags = opflag::WRITE | opflag::FAULT;
        self.shared
            .write_folios(&inode, opflags, pos, bytes, FAULT_LOCKS)
    }
}

impl Shared {
    fn read_folios(
        &self,
        inode: &Inode,
        pos: u64,
        len: u64,
        locks: &[Lock],
    ) -> Result<Vec<u8>, Errno> {
        let end = pos.saturating_add(len).min(inode.size());
        let mut bytes = Vec::new();
        let mut at = pos;
        let mut pages = inode.pages.lock();
        while at < end {
            let start = inode.block_start(at);
            let number = start / inode.block_bytes;
            if let Entry::Vacant(slot) = pages.folios.entry(number) {
                let located = self.locate(inode, 0, start, inode.block_bytes, locks)?;
                let bytes = self.load(inode, &located.destination, start, locks)?;
                let folio = Folio {
                    bytes,
                    dirty: false,
                };
                slot.insert(folio);
            }
            let upto = (start + inode.block_bytes).min(end);
            let range = (at - start) as usize..(upto - start) as usize;
            let folio = pages.folios.get(&number);
            let piece = folio.and_then(|folio| folio.bytes.get(range));
            bytes.extend_from_slice(piece.ok_or(Errno::IO)?);
            at = upto;
        }
        Ok(bytes)
    }

    /// What a folio is filled with.
    fn load(
        &self,
        inode: &Inode,
        mapping: &Mapping,
        start: u64,
        locks: &[Lock],
    ) -> Result<Vec<u8>, Errno> {
        let mut bytes = vec![0; inode.block_bytes as usize];
        let on_disk = mapping.kind == Kind::Mapped && mapping.flags & map::NEW == 0;
        if mapping.kind == Kind::Inline {
            return self.read_inline(inode, mapping, start, inode.block_bytes, locks);
        }
        if on_disk && start < inode.size() {
            let device = self.device(mapping)?;
            device.read_file(inode.nodeid, mapping.address_of(start), &mut bytes)?;
        }
        Ok(bytes)
    }

    fn write_folios(
        &self,
        inode: &Inode,
        opflags: u32,
        pos: u64,
        bytes: &[u8],
        locks: &[Lock],
    ) -> Result<(), Errno> {
        let end = pos.checked_add(bytes.len() as u64).ok_or(Errno::FBIG)?;
        let mut at = pos;
        let mut stale = 0;
        while at < end {
            // A fault has locked its folio when it asks; a write locks it afterwards.
            let faulting = opflags & opflag::FAULT != 0;
            let locked = faulting.then(|| inode.pages.lock());
            let located = self.locate(inode, opflags, at, end - at, locks)?;
            let mut pages = locked.unwrap_or_else(|| inode.pages.lock());
            if self.is_stale(inode, &located) {
                stale += 1;
                if stale > STALE_MAX {
                    return Err(Errno::IO);
                }
                continue;
            }
            let upto = located.end().min(end);
            let range = (at - pos) as usize..(upto - pos) as usize;
            let piece = bytes.get(range).ok_or(Errno::IO)?;
            let copied = self.copy_in(inode, &located, &mut pages, at, piece, locks);
            // Before anybody can write the folio back, who would cut it at the size.
            let grew = copied.is_ok() && grow(inode, upto);
            drop(pages);
            let step = Step {
                opflags,
                pos: at,
                count: upto - at,
                written: if copied.is_ok() { upto - at } else { 0 },
                grew,
            };
            let inline = located.destination.kind == Kind::Inline;
            if !inline || copied.is_err() {
                let ended = self.end(inode, step, &located, locks);
                copied.and(ended)?;
            }
            at = upto;
        }
        Ok(())
    }

    /// Bytes into folios, which become dirty; those of an inline file go to the server at once.
    fn copy_in(
        &self,
        inode: &Inode,
        located: &Located,
        pages: &mut Pages,
        at: u64,
        piece: &[u8],
        locks: &[Lock],
    ) -> Result<(), Errno> {
        let end = at + piece.len() as u64;
        let inline = located.destination.kind == Kind::Inline;
        let mut from = at;
        while from < end {
            let start = inode.block_start(from);
            let number = start / inode.block_bytes;
            let upto = (start + inode.block_bytes).min(end);
            if let Entry::Vacant(slot) = pages.folios.entry(number) {
                let whole = from == start && upto == start + inode.block_bytes;
                let bytes = match whole {
                    true => vec![0; inode.block_bytes as usize],
                    false => self.load(inode, located.old(), start, locks)?,
                };
                let folio = Folio {
                    bytes,
                    dirty: false,
                };
                slot.insert(folio);
            }
            let folio = pages.folios.get_mut(&number).ok_or(Errno::IO)?;
            let target = (from - start) as usize..(upto - start) as usize;
            let target = folio.bytes.get_mut(target).ok_or(Errno::IO)?;
            let source = piece.get((from - at) as usize..(upto - at) as usize);
            target.copy_from_slice(source.ok_or(Errno::IO)?);
            folio.dirty |= !inline;
            from = upto;
        }
        match inline {
            true => self.write_inline(inode, at, piece, locks),
            false => Ok(()),
        }
    }

    /// Zeroes a range through the page cache: holes stay, and unwritten space of which nothing
    /// is dirty (4.5).
    pub(crate) fn zero_range(
        &self,
        inode: &Inode,
        from: u64,
        to: u64,
        locks: &[Lock],
    ) -> Result<(), Errno> {
        let block = inode.block_bytes;
        let dirty = inode.pages.lock().dirty(from / block, to.div_ceil(block));
        let mut may_flush = !dirty.is_empty();
        let mut at = from;
        let mut stale = 0;
        while at < to {
            let located = self.locate(inode, opflag::ZERO, at, to - at, locks)?;
            let upto = located.end().min(to);
            let kind = located.destination.kind;
            if kind == Kind::Unwritten && may_flush {
                may_flush = false;
                self.write_back(inode, at, to)?;
                continue;
            }
            if !matches!(kind, Kind::Hole | Kind::Unwritten) {
                let mut pages = inode.pages.lock();
                if self.is_stale(inode, &located) && stale < STALE_MAX {
                    stale += 1;
                    continue;
                }
                let zeroes = vec![0; (upto - at) as usize];
                self.copy_in(inode, &located, &mut pages, at, &zeroes, locks)?;
            }
            at = upto;
        }
        Ok(())
    }
}

/// Raises `i_size`; whether it grew.
fn grow(inode: &Inode, end: u64) -> bool {
    let mut state = inode.state.lock();
    let grew = end > state.size;
    state.size = state.size.max(end);
    grew
}

//! Writeback of the page cache: at any moment, without `i_rwsem` (4.8, 4.10, 11 no. 8).

use rustix::io::Errno;

use crate::inode::Inode;
use crate::kernel::{Kernel, Shared};
use crate::locate::Located;
use crate::mapping::{Kind, Mapping};
use crate::numbers::{ioend, map, opflag};
use crate::pages::Pages;
use crate::request::Lock;
use crate::wire::IoendIn;

const FOLIO_LOCKS: &[Lock] = &[Lock::Folio];
const SECTOR_BYTES: u64 = 512;

impl Kernel {
    /// All dirty folios of a file are written, and completed.
    ///
    /// # Errors
    /// The first; it also waits for the next fsync.
    pub fn write_back(&self, nodeid: u64) -> Result<(), Errno> {
        let inode = self.shared.iomap_inode(nodeid)?;
        self.shared.write_back(&inode, 0, u64::MAX)
    }

    /// Clean folios of a file are dropped, as under memory pressure.
    ///
    /// # Errors
    /// ESTALE if the node is not in core.
    pub fn drop_pages(&self, nodeid: u64) -> Result<(), Errno> {
        let inode = self.shared.inode(nodeid)?;
        let _waits = inode.writeback.lock();
        inode.pages.lock().drop_clean();
        Ok(())
    }
}

impl Shared {
    /// Writes the dirty folios that touch a range and waits for the IOENDs.
    pub(crate) fn write_back(&self, inode: &Inode, from: u64, to: u64) -> Result<(), Errno> {
        let _one_at_a_time = inode.writeback.lock();
        self.write_back_locked(inode, from, to)
    }

    /// The same, and the folios are dropped before anybody dirties them anew.
    pub(crate) fn write_back_and_drop(
        &self,
        inode: &Inode,
        from: u64,
        to: u64,
    ) -> Result<(), Errno> {
        let _one_at_a_time = inode.writeback.lock();
        self.write_back_locked(inode, from, to)?;
        let block = inode.block_bytes;
        let mut pages = inode.pages.lock();
        pages.drop_range(from / block, to.div_ceil(block));
        Ok(())
    }

    fn write_back_locked(&self, inode: &Inode, from: u64, to: u64) -> Result<(), Errno> {
        let mut done: Vec<IoendIn> = Vec::new();
        let mut pages = inode.pages.lock();
        let numbers = pages.dirty(from / inode.block_bytes, to.div_ceil(inode.block_bytes));
        let mut located: Option<Located> = None;
        for number in numbers {
            let start = number * inode.block_bytes;
            if start >= inode.size() {
                // Waits for the size that is being set.
                continue;
            }
            let written = self.write_folio(inode, &mut pages, number, &mut located);
            let step = match written {
                Ok(None) => continue,
                Ok(Some(mapping)) => completion(self, inode, start, &mapping),
                Err(errno) => {
                    pages.folios.remove(&number);
                    located = None;
                    IoendIn {
                        error: -errno.raw_os_error(),
                        pos: start,
                        new_addr: map::NONE,
                        written: inode.block_bytes,
                        ..IoendIn::default()
                    }
                }
            };
            match done.last_mut() {
                Some(last) if continues(last, &step) => last.written += step.written,
                _ => done.push(step),
            }
        }
        drop(pages);
        let mut outcome = Ok(());
        for step in done {
            let ended = self.ioend(inode, step, &[]);
            let failed = match step.error {
                0 => ended,
                error => Err(Errno::from_raw_os_error(-error)),
            };
            if let Err(errno) = failed {
                inode.state.lock().error.get_or_insert(errno);
                outcome = outcome.and(Err(errno));
            }
        }
        outcome
    }

    /// One folio to its place. `None`: a hole was answered, and the data is lost.
    fn write_folio(
        &self,
        inode: &Inode,
        pages: &mut Pages,
        number: u64,
        located: &mut Option<Located>,
    ) -> Result<Option<Mapping>, Errno> {
        let start = number * inode.block_bytes;
        let usable = located
            .filter(|located| located.destination.covers(start) && !self.is_stale(inode, located));
        let found = match usable {
            Some(found) => found,
            None => {
                let count = inode.block_bytes.min(inode.size() - start);
                self.locate(inode, opflag::WRITEBACK, start, count, FOLIO_LOCKS)?
            }
        };
        *located = Some(found);
        let mapping = found.destination;
        let folio = pages.folios.get_mut(&number).ok_or(Errno::IO)?;
        match mapping.kind {
            Kind::Hole => {
                folio.dirty = false;
                return Ok(None);
            }
            kind if !kind.has_place() => return Err(Errno::IO),
            _ => {}
        }
        let kept = (inode.size() - start).min(inode.block_bytes) as usize;
        if let Some(tail) = folio.bytes.get_mut(kept..) {
            tail.fill(0);
        }
        let device = self.device(&mapping)?;
        device.write_file(inode.nodeid, mapping.address_of(start), &folio.bytes)?;
        folio.dirty = false;
        Ok(Some(mapping))
    }
}

/// The IOEND of one folio.
fn completion(shared: &Shared, inode: &Inode, start: u64, mapping: &Mapping) -> IoendIn {
    let mut flags = ioend::WRITEBACK;
    if mapping.kind == Kind::Unwritten {
        flags |= ioend::UNWRITTEN;
    }
    if mapping.flags & map::SHARED != 0 {
        flags |= ioend::SHARED;
    }
    let address = mapping.address_of(start);
    let unit = match shared.settings.personality.sector_new_addr {
        true => SECTOR_BYTES,
        false => 1,
    };
    IoendIn {
        flags,
        pos: start,
        new_addr: address / unit,
        written: inode.block_bytes.min(inode.size() - start),
        dev: shared.backing.lock().first_alike(mapping.dev),
        ..IoendIn::default()
    }
}

/// Whether two completions become one.
fn continues(last: &IoendIn, next: &IoendIn) -> bool {
    last.flags == next.flags
        && last.error == next.error
        && last.dev == next.dev
        && last.pos + last.written == next.pos
}

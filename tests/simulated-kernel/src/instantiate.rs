//! How an entry reply becomes an inode in core, and what must not change afterwards (3.1 to 3.3).

use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use rustix::io::Errno;

use crate::inode::{Inode, State};
use crate::kernel::Shared;
use crate::names::Entry;
use crate::numbers::{MINOR_IOMAP, attr, fopen};
use crate::pages::Pages;
use crate::rule::Rule;
use crate::wire::{Attr, EntryOut, OpenOut};

const TYPE_BITS: u32 = 0o170_000;
pub(crate) const REGULAR: u32 = 0o100_000;

impl Shared {
    /// An entry reply: the inode comes into core, or is there and compared.
    pub(crate) fn instantiate(&self, reply: &EntryOut) -> Result<Entry, Errno> {
        let entry = Entry {
            nodeid: reply.nodeid,
            attr: reply.attr,
        };
        if reply.nodeid == 0 {
            return Err(Errno::NOENT);
        }
        let fresh = self.make_inode(&reply.attr, reply.nodeid);
        let inode = {
            let mut inodes = self.inodes.lock();
            let slot = inodes.entry(reply.nodeid);
            Arc::clone(slot.or_insert_with(|| Arc::new(fresh)))
        };
        inode.state.lock().lookups += 1;
        inode.told(reply.attr.size);
        self.check_attr(&inode, &reply.attr);
        Ok(entry)
    }

    fn make_inode(&self, attr: &Attr, nodeid: u64) -> Inode {
        let link = self.link.lock();
        let regular = attr.mode & TYPE_BITS == REGULAR;
        let exclusive = attr.flags & attr::EXCLUSIVE != 0 && link.minor >= MINOR_IOMAP;
        let wanted = attr.flags & attr::IOMAP != 0;
        let detail = || format!("node {nodeid}, flags {:#x}", attr.flags);
        if link.iomap && wanted && !exclusive {
            self.record.violation(Rule::IomapNotExclusive, detail());
        }
        if link.iomap && regular && !wanted {
            self.record.violation(Rule::NotIomap, detail());
        }
        let block_bytes = match attr.blksize {
            0 => link.geometry.block_bytes,
            size => size.into(),
        };
        let state = State {
            size: attr.size,
            ..State::default()
        };
        Inode {
            nodeid,
            attr_ino: attr.ino,
            attr_flags: attr.flags,
            iomap: link.iomap && regular && exclusive && wanted,
            block_bytes,
            life: RwLock::new(()),
            rwsem: RwLock::new(()),
            invalidate: RwLock::new(()),
            writeback: Mutex::new(()),
            pages: Mutex::new(Pages::default()),
            state: Mutex::new(state),
            cache: Mutex::new(None),
        }
    }

    /// Attributes that must not change.
    pub(crate) fn check_attr(&self, inode: &Inode, attr: &Attr) {
        let constant = attr::EXCLUSIVE | attr::IOMAP | attr::ATOMIC;
        let detail = || format!("node {}: {attr:?}", inode.nodeid);
        if (attr.flags ^ inode.attr_flags) & constant != 0 {
            self.record.violation(Rule::AttrFlagsChanged, detail());
        }
        if attr.ino != inode.attr_ino {
            self.record.violation(Rule::AttrInoChanged, detail());
        }
    }

    pub(crate) fn check_open(&self, inode: &Inode, reply: &OpenOut) -> Result<(), Errno> {
        let refused = fopen::PASSTHROUGH | fopen::STREAM | fopen::NONSEEKABLE;
        if inode.is_iomap() && reply.open_flags & refused != 0 {
            let detail = format!("node {}: {reply:?}", inode.nodeid);
            self.record.violation(Rule::OpenFlags, detail);
            self.record.refused(Rule::OpenFlags);
            return Err(Errno::INVAL);
        }
        Ok(())
    }
}

//! END and IOEND (4.7, 4.8), and inline data (4.9).

use rustix::io::Errno;
use zerocopy::{FromBytes, IntoBytes};

use crate::counters::add;
use crate::inode::Inode;
use crate::kernel::Shared;
use crate::locate::{Located, wants_end};
use crate::mapping::Mapping;
use crate::numbers::{ioend, map, op, opflag};
use crate::personality::Variant;
use crate::request::{Expect, Lock};
use crate::rule::Rule;
use crate::wire::{EndIn, IoendIn, IoendOut, ReadIn, WriteIn, WriteOut};

/// One step of an operation that is over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    pub(crate) opflags: u32,
    pub(crate) pos: u64,
    pub(crate) count: u64,
    pub(crate) written: u64,
    pub(crate) grew: bool,
}

impl Shared {
    /// END, if the step calls for one.
    pub(crate) fn end(
        &self,
        inode: &Inode,
        step: Step,
        located: &Located,
        locks: &[Lock],
    ) -> Result<(), Errno> {
        let writes = step.opflags & opflag::WRITE_TYPE != 0;
        let due = writes && (step.grew || step.written < step.count);
        if !due && !wants_end(self, &located.destination) || self.is_off(op::IOMAP_END) {
            return Ok(());
        }
        let mut map = located.destination.to_wire();
        map.dev = self.backing.lock().first_alike(map.dev);
        if step.grew {
            map.flags |= map::SIZE_CHANGED;
        }
        if self.is_stale(inode, located) {
            map.flags |= map::STALE;
        }
        let request = EndIn {
            opflags: step.opflags,
            attr_ino: inode.attr_ino,
            pos: step.pos,
            count: step.count,
            written: step.written as i64,
            map,
            ..EndIn::default()
        };
        let body = [request.as_bytes()];
        match self.call(
            op::IOMAP_END,
            inode.nodeid,
            &body,
            Expect::Exactly(0),
            locks,
        ) {
            Err(Errno::NOSYS) => {
                self.switch_off(op::IOMAP_END);
                Ok(())
            }
            other => other.map(drop),
        }
    }

    /// The end of I/O: IOEND if one is due, and what follows of it.
    pub(crate) fn ioend(
        &self,
        inode: &Inode,
        mut done: IoendIn,
        locks: &[Lock],
    ) -> Result<(), Errno> {
        let end = done.pos.saturating_add(done.written);
        let (disk_size, told_size) = {
            let state = inode.state.lock();
            (state.disk_size, state.told_size)
        };
        if done.written > 0 && end > disk_size {
            done.flags |= ioend::APPEND;
        }
        done.attr_ino = inode.attr_ino;
        let reasons = ioend::SHARED | ioend::UNWRITTEN | ioend::APPEND;
        let swapoff = done.flags & ioend::SWAPOFF != 0;
        let due = done.error != 0 || swapoff || done.written > 0 && done.flags & reasons != 0;
        let off = self.is_off(op::IOMAP_IOEND);
        let still = swapoff && self.settings.personality.variant == Variant::L;
        if due && (!off || still) {
            self.ask_ioend(inode, &done, told_size, locks)?;
        }
        if done.error != 0 || swapoff {
            return Ok(());
        }
        if done.flags & ioend::DIRECT != 0 {
            let mut state = inode.state.lock();
            state.size = state.size.max(end);
        }
        if due || self.settings.personality.overwrites_drop_mappings {
            inode.drop_mappings(done.pos, end);
        }
        Ok(())
    }

    fn ask_ioend(
        &self,
        inode: &Inode,
        done: &IoendIn,
        told_size: u64,
        locks: &[Lock],
    ) -> Result<(), Errno> {
        let expect = Expect::Exactly(size_of::<IoendOut>());
        let body = [done.as_bytes()];
        let reply = self.call(op::IOMAP_IOEND, inode.nodeid, &body, expect, locks);
        let body = match reply {
            Err(Errno::NOSYS) => {
                self.record
                    .violation(Rule::IoendEnosys, format!("{done:?}"));
                self.switch_off(op::IOMAP_IOEND);
                return Ok(());
            }
            // The server's error does not replace that of the I/O.
            Err(_) if done.error != 0 => return Ok(()),
            Err(errno) => {
                add(&self.record.counter.failed_completions, 1);
                let writeback = done.flags & ioend::WRITEBACK != 0;
                let lost = writeback && self.settings.personality.loses_writeback_errors;
                return if lost { Ok(()) } else { Err(errno) };
            }
            Ok(body) => body,
        };
        let reply = IoendOut::read_from_bytes(&body).map_err(|_| Errno::IO)?;
        self.judge_newsize(inode, done, told_size, reply.newsize);
        if done.error == 0 && done.flags & ioend::SWAPOFF == 0 {
            let mut state = inode.state.lock();
            state.told_size = reply.newsize;
            state.disk_size = match self.settings.personality.takes_newsize_as_is {
                true => reply.newsize,
                false => state.disk_size.max(reply.newsize),
            };
        }
        Ok(())
    }

    /// Number 20 of section 9.
    fn judge_newsize(&self, inode: &Inode, done: &IoendIn, told_size: u64, newsize: u64) {
        let end = done.pos.saturating_add(done.written);
        let swapoff = done.flags & ioend::SWAPOFF != 0;
        let rule = match done.error {
            0 if newsize < told_size => Rule::NewsizeShrinks,
            0 if newsize < end && !swapoff => Rule::NewsizeTooSmall,
            0 => return,
            _ => {
                let state = inode.state.lock();
                let most = state.size.max(state.size_in_transit).max(told_size);
                match newsize > most {
                    true => Rule::NewsizeOnError,
                    false => return,
                }
            }
        };
        let detail = format!("newsize {newsize}, told before {told_size}, {done:?}");
        self.record.violation(rule, detail);
    }

    pub(crate) fn is_off(&self, opcode: u32) -> bool {
        self.link.lock().switched_off.contains(&opcode)
    }

    pub(crate) fn switch_off(&self, opcode: u32) {
        self.link.lock().switched_off.push(opcode);
    }

    /// Content of an inline file from `pos` on, filled up with zeroes to `count`.
    pub(crate) fn read_inline(
        &self,
        inode: &Inode,
        mapping: &Mapping,
        pos: u64,
        count: u64,
        locks: &[Lock],
    ) -> Result<Vec<u8>, Errno> {
        let whole = self.settings.personality.variant == Variant::L;
        if whole && mapping.length > inode.block_bytes {
            return Err(Errno::NOMEM);
        }
        let (offset, size) = match whole {
            true => (mapping.offset, mapping.length),
            false => (pos, count),
        };
        let request = ReadIn {
            offset,
            size: size as u32,
            ..ReadIn::default()
        };
        let expect = Expect::AtMost(size as usize);
        let body = [request.as_bytes()];
        let reply = self.call(op::READ, inode.nodeid, &body, expect, locks);
        let mut content = match reply {
            Err(Errno::NOSYS) => return Err(Errno::IO),
            Ok(content) if content.is_empty() => return Err(Errno::IO),
            other => other?,
        };
        content.resize(size as usize, 0);
        let skipped = (pos - offset) as usize;
        let content = content.get(skipped..skipped + count as usize);
        content.map(<[u8]>::to_vec).ok_or(Errno::IO)
    }

    /// Sends content of an inline file.
    pub(crate) fn write_inline(
        &self,
        inode: &Inode,
        pos: u64,
        bytes: &[u8],
        locks: &[Lock],
    ) -> Result<(), Errno> {
        let continues = self.settings.personality.variant == Variant::L;
        let mut done = 0;
        while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
            let request = WriteIn {
                offset: pos + done as u64,
                size: rest.len() as u32,
                ..WriteIn::default()
            };
            let expect = Expect::Exactly(size_of::<WriteOut>());
            let body = [request.as_bytes(), rest];
            let body = self.call(op::WRITE, inode.nodeid, &body, expect, locks)?;
            let reply = WriteOut::read_from_bytes(&body).map_err(|_| Errno::IO)?;
            let size = reply.size as usize;
            if size == 0 || size > rest.len() || size < rest.len() && !continues {
                return Err(Errno::IO);
            }
            done += size;
        }
        let end = pos + bytes.len() as u64;
        let mut state = inode.state.lock();
        state.disk_size = state.disk_size.max(end);
        state.told_size = state.told_size.max(end);
        drop(state);
        inode.drop_mappings(pos, end);
        Ok(())
    }
}

//! Where data of a file is: the cache, or BEGIN and how its reply is judged (4.4, 4.5, 5.5).

use std::sync::Arc;

use rustix::io::Errno;
use zerocopy::{FromBytes, IntoBytes};

use crate::backing::Access;
use crate::cache::Hit;
use crate::conformance::begin_fault;
use crate::counters::add;
use crate::device::SimDevice;
use crate::inode::Inode;
use crate::judge::{errno_of, judge_pair};
use crate::kernel::Shared;
use crate::mapping::{Kind, Mapping};
use crate::numbers::{map, op, opflag};
use crate::personality::Variant;
use crate::request::{Expect, Lock};
use crate::rule::Rule;
use crate::wire::{BeginIn, BeginOut};

/// BEGINs for one position before the server is said to spin.
const ATTEMPTS_MAX: usize = 16;

/// A mapping in use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Located {
    /// Where data goes, or for a read comes from.
    pub(crate) destination: Mapping,
    /// Where old data comes from if that is elsewhere.
    pub(crate) source: Option<Mapping>,
    /// The cache's number; 0 for a reply's own mapping, which is never stale (5.6).
    pub(crate) sequence: u64,
}

impl Located {
    /// Where old content is read from.
    pub(crate) fn old(&self) -> &Mapping {
        match &self.source {
            Some(source) if source.kind != Kind::Hole => source,
            _ => &self.destination,
        }
    }

    /// How far it can be used from a position.
    pub(crate) fn end(&self) -> u64 {
        let source = self.source.map_or(u64::MAX, |source| source.end());
        self.destination.end().min(source)
    }

    fn cached(hit: Hit) -> Self {
        Self {
            destination: hit.destination,
            source: hit.source,
            sequence: hit.sequence,
        }
    }
}

/// What a reply amounts to.
enum Answer {
    Use(Located),
    LookAgain,
}

impl Shared {
    /// Finds the mapping at `pos` for an operation.
    pub(crate) fn locate(
        &self,
        inode: &Inode,
        opflags: u32,
        pos: u64,
        count: u64,
        locks: &[Lock],
    ) -> Result<Located, Errno> {
        let cacheable = opflags & (opflag::ATOMIC | opflag::SWAPFILE) == 0;
        if cacheable && let Some(located) = lookup(inode, opflags, pos) {
            add(&self.record.counter.cache_hits, 1);
            return self.admit(inode, opflags, located);
        }
        for _ in 0..ATTEMPTS_MAX {
            match self.begin(inode, opflags, pos, count, locks)? {
                Answer::Use(located) => return self.admit(inode, opflags, located),
                Answer::LookAgain => {}
            }
            if self.strikes(self.settings.chaos.evict_permille) {
                inode.drop_mappings(pos, pos + 1);
            }
            if let Some(located) = lookup(inode, opflags, pos) {
                return self.admit(inode, opflags, located);
            }
            // Whoever writes back has no signals to look after.
            let can_be_interrupted = opflags & opflag::WRITEBACK == 0;
            if can_be_interrupted && self.strikes(self.settings.chaos.interrupt_permille) {
                return Err(Errno::INTR);
            }
        }
        let detail = format!("node {}, {opflags:#x} at {pos}", inode.nodeid);
        self.record.violation(Rule::RetryLimit, detail);
        Err(Errno::IO)
    }

    /// Whether a mapping must be fetched again.
    pub(crate) fn is_stale(&self, inode: &Inode, located: &Located) -> bool {
        let cache = inode.cache.lock();
        let current = cache.as_ref().map_or(0, |cache| cache.sequence());
        located.sequence != 0 && located.sequence != current
    }

    fn begin(
        &self,
        inode: &Inode,
        opflags: u32,
        pos: u64,
        count: u64,
        locks: &[Lock],
    ) -> Result<Answer, Errno> {
        self.record.counter.begin(opflags);
        let request = BeginIn {
            opflags,
            reserved: 0,
            attr_ino: inode.attr_ino,
            pos,
            count,
        };
        let expect = Expect::Exactly(size_of::<BeginOut>());
        let body = [request.as_bytes()];
        let body = self.call(op::IOMAP_BEGIN, inode.nodeid, &body, expect, locks)?;
        let reply = BeginOut::read_from_bytes(&body).map_err(|_| Errno::IO)?;
        let has_cache = inode.cache.lock().is_some();
        let context = inode.context(self, has_cache);
        let detail = || format!("BEGIN {opflags:#x} at {pos}: {reply:?}");
        let judged = judge_pair(&context, &reply, opflags, pos);
        if let Some(rule) = begin_fault(&context, &reply, opflags, pos) {
            let rule = judged.err().unwrap_or(rule);
            self.record.violation(rule, detail());
        }
        let (read, write) = judged.map_err(|rule| {
            self.record.refused(rule);
            errno_of(rule)
        })?;
        let strict = context.variant == Variant::L;
        if read.kind == Kind::RetryCache || strict && write.kind == Kind::RetryCache {
            return Ok(Answer::LookAgain);
        }
        Ok(Answer::Use(chosen(opflags, read, write)))
    }

    /// Rule 13: the devices of what is about to be used.
    fn admit(&self, inode: &Inode, opflags: u32, located: Located) -> Result<Located, Errno> {
        self.delay();
        if opflags & opflag::REPORT != 0 {
            return Ok(located);
        }
        let writes = opflags & opflag::WRITE_TYPE != 0;
        self.admit_device(inode, &located.destination, writes)?;
        if let Some(source) = &located.source {
            self.admit_device(inode, source, false)?;
        }
        Ok(located)
    }

    fn admit_device(&self, inode: &Inode, mapping: &Mapping, writes: bool) -> Result<(), Errno> {
        if !mapping.kind.has_place() {
            return Ok(());
        }
        let detail = || format!("node {}: {mapping:?}", inode.nodeid);
        let Some(backing) = self.backing.lock().get(mapping.dev).cloned() else {
            self.record.violation(Rule::UnknownDevice, detail());
            self.record.refused(Rule::UnknownDevice);
            return Err(errno_of(Rule::UnknownDevice));
        };
        let suits = match backing.access {
            Access::ReadWrite => true,
            Access::Read => !writes,
            Access::Write => false,
        };
        let strict = self.settings.personality.variant == Variant::L;
        if !suits {
            self.record.violation(Rule::DeviceMode, detail());
            if strict {
                self.record.refused(Rule::DeviceMode);
                return Err(errno_of(Rule::DeviceMode));
            }
        }
        if mapping.addr.saturating_add(mapping.length) > backing.device.size() {
            self.record.violation(Rule::BeyondDevice, detail());
        }
        Ok(())
    }

    /// The device of a mapping that has a place.
    pub(crate) fn device(&self, mapping: &Mapping) -> Result<Arc<SimDevice>, Errno> {
        let backing = self.backing.lock();
        let backing = backing.get(mapping.dev).ok_or(Errno::IO)?;
        Ok(Arc::clone(&backing.device))
    }
}

fn lookup(inode: &Inode, opflags: u32, pos: u64) -> Option<Located> {
    let cache = inode.cache.lock();
    cache.as_ref()?.lookup(opflags, pos).map(Located::cached)
}

/// What of a legal pair is used for what.
fn chosen(opflags: u32, read: Mapping, write: Mapping) -> Located {
    let writes = opflags & opflag::WRITE_TYPE != 0;
    let (destination, source) = match write.kind {
        _ if !writes => (read, None),
        Kind::PureOverwrite => (read, None),
        // S does not look at it, and is left with nothing.
        Kind::RetryCache => (Mapping::hole(write.offset, write.length), Some(read)),
        _ => (write, Some(read)),
    };
    Located {
        destination,
        source,
        sequence: 0,
    }
}

/// Whether the server's wish for an END counts.
pub(crate) fn wants_end(shared: &Shared, mapping: &Mapping) -> bool {
    mapping.flags & map::WANT_END != 0 && !shared.settings.personality.loses_want_end
}

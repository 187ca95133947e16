//! Notifications: upserts, invalidations, and those a server must not send (2.4, 5.3, 5.4, 6.2).

use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use zerocopy::FromBytes;

use crate::conformance::upsert_fault;
use crate::counters::add;
use crate::inode::Inode;
use crate::judge::{Context, judge_mapping};
use crate::kernel::Shared;
use crate::mapping::{Kind, Mapping};
use crate::numbers::{map, notify};
use crate::personality::Variant;
use crate::rule::Rule;
use crate::wire::{DevInval, Inval, InvalInode, MapIo, OutHeader, Upsert};

/// How long a notification waits for folios before that counts as a deadlock.
const FOLIO_WAIT_MAX: Duration = Duration::from_secs(2);

/// Fixed part of an INVAL_ENTRY and of a DELETE; the name's length stands 8 bytes before its end.
const INVAL_ENTRY_BYTES: usize = 16;
const DELETE_BYTES: usize = 24;
/// Longest name.
const NAME_BYTES_MAX: usize = 1024;

/// A refusal: the errno, and the rule unless a conformant server may meet it too.
type Refusal = (Errno, Option<Rule>);

fn broken(errno: Errno, rule: Rule) -> Refusal {
    (errno, Some(rule))
}

impl Shared {
    pub(crate) fn notify(&self, message: &[u8]) -> Result<(), Errno> {
        let outcome = self.notify_judged(message);
        outcome.map_err(|(errno, rule)| {
            if let Some(rule) = rule {
                self.record.refused(rule);
                let detail = format!("notification of {} bytes: {errno:?}", message.len());
                self.record.violation(rule, detail);
            }
            errno
        })
    }

    fn notify_judged(&self, message: &[u8]) -> Result<(), Refusal> {
        let length = broken(Errno::INVAL, Rule::NotifyLength);
        let (header, payload) = OutHeader::ref_from_prefix(message).map_err(|_| length)?;
        if header.len as usize != message.len() || header.unique != 0 {
            return Err(length);
        }
        let iomap_code = (notify::IOMAP_DEV_INVAL..=notify::IOMAP_INVAL).contains(&header.error);
        if iomap_code && !(self.settings.knows_iomap && self.settings.compiled_in) {
            return Err(broken(Errno::NOSYS, Rule::NotifyWithoutIomap));
        }
        match header.error {
            notify::IOMAP_UPSERT => self.upsert(&whole(payload)?),
            notify::IOMAP_INVAL => self.inval_mappings(&whole(payload)?),
            notify::IOMAP_DEV_INVAL => self.dev_inval(&whole(payload)?),
            notify::INVAL_INODE => self.inval_inode(&whole(payload)?),
            notify::INVAL_ENTRY => check_name(payload, INVAL_ENTRY_BYTES),
            notify::DELETE => check_name(payload, DELETE_BYTES),
            notify::STORE | notify::RETRIEVE => self.store(payload),
            _ => Err(broken(Errno::INVAL, Rule::NotifyUnknown)),
        }
    }

    /// Checks 2 to 6 of 5.3, which INVAL_MAPPINGS has too.
    fn target(&self, nodeid: u64, attr_ino: u64) -> Result<Arc<Inode>, Refusal> {
        if !self.link.lock().iomap {
            return Err(broken(Errno::INVAL, Rule::NotifyWithoutIomap));
        }
        let inode = self.inode(nodeid);
        let inode = inode.map_err(|errno| broken(errno, Rule::NodeUnknown))?;
        if inode.attr_ino != attr_ino {
            return Err(broken(Errno::INVAL, Rule::ForeignAttrIno));
        }
        if inode.state.lock().is_bad {
            return Err((Errno::IO, None));
        }
        if !inode.is_iomap() {
            match self.settings.personality.variant {
                Variant::L => return Err(broken(Errno::INVAL, Rule::NodeWithoutIomap)),
                Variant::S => {
                    let detail = format!("node {nodeid}");
                    self.record.violation(Rule::NodeWithoutIomap, detail);
                }
            }
        }
        Ok(inode)
    }

    fn upsert(&self, upsert: &Upsert) -> Result<(), Refusal> {
        let outcome = self.upsert_judged(upsert);
        if let Err((errno, _)) = outcome {
            self.record.counter.upsert_refused(errno);
        }
        outcome
    }

    fn upsert_judged(&self, upsert: &Upsert) -> Result<(), Refusal> {
        let inode = self.target(upsert.nodeid, upsert.attr_ino)?;
        let mut cache = inode.cache.lock();
        let context = inode.context(self, cache.is_some());
        if let Some(rule) = upsert_fault(&context, upsert) {
            // Where the kernel refuses it too, it is recorded once, there.
            let refused = self.upsert_mapping(&context, &upsert.read, false);
            let refused = refused.and(self.upsert_mapping(&context, &upsert.write, true));
            if refused.is_ok() {
                self.record.violation(rule, format!("{upsert:?}"));
            }
        }
        let read = self.upsert_mapping(&context, &upsert.read, false)?;
        let write = self.upsert_mapping(&context, &upsert.write, true)?;
        if let Some(errno) = self.upsert_errors.lock().pop() {
            return Err((errno, None));
        }
        let limit = self.link.lock().geometry.tree_bytes_max;
        let cache = cache.get_or_insert_default();
        let dropped = cache.upsert(read, write, limit.into());
        add(&self.record.counter.trees_dropped, dropped);
        add(&self.record.counter.upserts, 1);
        Ok(())
    }

    /// Checks 7 to 15 of 5.3 for one mapping.
    fn upsert_mapping(
        &self,
        context: &Context,
        io: &MapIo,
        is_write: bool,
    ) -> Result<Mapping, Refusal> {
        let corrupt = |rule| broken(Errno::UCLEAN, rule);
        // An upsert creates the cache, and RETRY_CACHE has check 8.
        let context = Context {
            has_cache: true,
            ..*context
        };
        let mapping = judge_mapping(&context, io, is_write).map_err(corrupt)?;
        match mapping.kind {
            Kind::RetryCache => return Err(corrupt(Rule::RetryInUpsert)),
            Kind::Nocache => return Ok(mapping),
            Kind::PureOverwrite if mapping.dev != 0 || mapping.addr != map::NONE => {
                return Err(corrupt(Rule::SpecialFields));
            }
            kind if !kind.has_place() => return Ok(mapping),
            _ => {}
        }
        let backing = self.backing.lock().get(mapping.dev).cloned();
        let backing = backing.ok_or(corrupt(Rule::UnknownDevice))?;
        let size = backing.device.size();
        if size == 0 {
            return Err((Errno::INVAL, None));
        }
        let end = mapping.addr.checked_add(mapping.length);
        match end.is_some_and(|end| end <= size) {
            true => Ok(mapping),
            false => Err(corrupt(Rule::BeyondDevice)),
        }
    }

    fn inval_mappings(&self, inval: &Inval) -> Result<(), Refusal> {
        let inode = self.target(inval.nodeid, inval.attr_ino)?;
        let mut cache = inode.cache.lock();
        let context = inode.context(self, cache.is_some());
        let write = self.inval_range(&context, inval.write_offset, inval.write_length)?;
        let read = self.inval_range(&context, inval.read_offset, inval.read_length)?;
        if let Some(cache) = cache.as_mut() {
            cache.invalidate(read, write, context.maxbytes, context.variant);
        }
        add(&self.record.counter.invalidations, 1);
        Ok(())
    }

    /// The range (start, end) to remove, if any.
    fn inval_range(
        &self,
        context: &Context,
        offset: u64,
        length: u64,
    ) -> Result<Option<(u64, u64)>, Refusal> {
        let corrupt = |rule| Err(broken(Errno::UCLEAN, rule));
        let to_end = length == map::NONE;
        let block = context.block_bytes;
        match length {
            0 => return Ok(None),
            _ if offset >= context.maxbytes => return corrupt(Rule::InvalBeyondMaxbytes),
            _ if !offset.is_multiple_of(block) => return corrupt(Rule::InvalAlignment),
            _ if !to_end && !length.is_multiple_of(block) => return corrupt(Rule::InvalAlignment),
            _ => {}
        }
        let end = match offset.checked_add(length) {
            _ if to_end => u64::MAX,
            Some(end) => end,
            None if !self.settings.personality.unchecked_inval => {
                return corrupt(Rule::InvalOverflow);
            }
            None => {
                let detail = format!("{offset} + {length}");
                self.record.violation(Rule::InvalOverflow, detail);
                offset.wrapping_add(length)
            }
        };
        Ok(Some((offset, end)))
    }

    fn dev_inval(&self, inval: &DevInval) -> Result<(), Refusal> {
        let fault = |errno| broken(errno, Rule::DevInval);
        if !self.link.lock().iomap {
            return Err(broken(Errno::INVAL, Rule::NotifyWithoutIomap));
        }
        if inval.dev == 0 || inval.reserved != 0 {
            return Err(fault(Errno::INVAL));
        }
        let backing = self.backing.lock().get(inval.dev).cloned();
        let backing = backing.ok_or(fault(Errno::NODEV))?;
        let end = inval.offset.checked_add(inval.length);
        let wraps = end.is_none_or(|end| end > i64::MAX as u64);
        if inval.offset >= backing.device.size() || wraps {
            return Err(fault(Errno::INVAL));
        }
        if inval.length == 0 {
            // L does nothing, S what it likes.
            self.record
                .violation(Rule::DevInval, format!("{inval:?}: no length"));
        }
        Ok(())
    }

    /// Clean folios go; whoever holds a folio is waited for.
    fn inval_inode(&self, inval: &InvalInode) -> Result<(), Refusal> {
        let inode = self.inode(inval.ino).map_err(|_| (Errno::NOENT, None))?;
        if inval.off < 0 {
            return Ok(());
        }
        let Some(mut pages) = inode.pages.try_lock_for(FOLIO_WAIT_MAX) else {
            return Err(broken(Errno::DEADLK, Rule::NotifyDeadlock));
        };
        pages.drop_clean();
        Ok(())
    }

    fn store(&self, payload: &[u8]) -> Result<(), Refusal> {
        let nodeid = u64::read_from_prefix(payload).map(|(nodeid, _)| nodeid);
        let nodeid = nodeid.map_err(|_| broken(Errno::INVAL, Rule::NotifyLength))?;
        let inode = self.inode(nodeid).map_err(|_| (Errno::NOENT, None))?;
        match inode.is_iomap() {
            true => Err(broken(Errno::OPNOTSUPP, Rule::StoreOnIomap)),
            false => Ok(()),
        }
    }
}

/// The payload, if it is exactly as long as it should be.
fn whole<T: FromBytes>(payload: &[u8]) -> Result<T, Refusal> {
    T::read_from_bytes(payload).map_err(|_| broken(Errno::INVAL, Rule::NotifyLength))
}

/// The length rules of 10.2. Names are looked up anew at each call here, so that there is no
/// name to drop.
fn check_name(payload: &[u8], fixed: usize) -> Result<(), Refusal> {
    let length = broken(Errno::INVAL, Rule::NotifyLength);
    let (head, name) = payload.split_at_checked(fixed).ok_or(length)?;
    let namelen = head.get(fixed - 8..).ok_or(length)?;
    let (namelen, _) = u32::read_from_prefix(namelen).map_err(|_| length)?;
    let namelen = namelen as usize;
    if namelen > NAME_BYTES_MAX {
        return Err(broken(Errno::NAMETOOLONG, Rule::NotifyLength));
    }
    match name.split_last() {
        Some((0, name)) if name.len() == namelen => Ok(()),
        _ => Err(length),
    }
}

//! What a conformant server never answers (section 9), whichever kernel asks: stricter than
//! what either variant refuses.

use crate::judge::{Context, judge_mapping, judge_pair};
use crate::mapping::{Kind, Mapping};
use crate::numbers::{map, opflag};
use crate::personality::Variant;
use crate::rule::Rule;
use crate::wire::{BeginOut, MapIo, Upsert};

/// The rule a BEGIN reply breaks, if any.
pub(crate) fn begin_fault(
    context: &Context,
    reply: &BeginOut,
    opflags: u32,
    pos: u64,
) -> Option<Rule> {
    let strict = Context {
        variant: Variant::L,
        ..*context
    };
    let (read, write) = match judge_pair(&strict, reply, opflags, pos) {
        Ok(pair) => pair,
        Err(rule) => return Some(rule),
    };
    if let Some(rule) = flag_fault(&reply.read).or_else(|| flag_fault(&reply.write)) {
        return Some(rule);
    }
    if read.kind == Kind::RetryCache {
        return None;
    }
    let destination = match write.kind {
        Kind::PureOverwrite => &read,
        Kind::RetryCache => return Some(Rule::RetryOnlyInWrite),
        _ => &write,
    };
    match opflags & opflag::WRITE_TYPE {
        0 => use_fault(opflags, &read),
        _ => use_fault(opflags, destination),
    }
}

fn flag_fault(io: &MapIo) -> Option<Rule> {
    (io.flags & map::ANON_WRITE != 0).then_some(Rule::AnonWrite)
}

/// Number 15: answers that cannot be used for what was asked.
fn use_fault(opflags: u32, mapping: &Mapping) -> Option<Rule> {
    let direct = opflags & opflag::DIRECT != 0;
    let writeback = opflags & opflag::WRITEBACK != 0;
    let direct_write = direct && opflags & opflag::WRITE != 0;
    match mapping.kind {
        Kind::Hole if writeback || direct_write => Some(Rule::HoleForWrite),
        Kind::Delalloc if writeback || direct => Some(Rule::DelallocForIo),
        Kind::Inline if writeback => Some(Rule::InlineForWriteback),
        _ => None,
    }
}

/// The rule an upsert breaks by its mappings alone, if any.
pub(crate) fn upsert_fault(context: &Context, upsert: &Upsert) -> Option<Rule> {
    let strict = Context {
        variant: Variant::L,
        ..*context
    };
    for (io, is_write) in [(&upsert.read, false), (&upsert.write, true)] {
        match judge_mapping(&strict, io, is_write) {
            Err(rule) => return Some(rule),
            Ok(mapping) if mapping.kind == Kind::RetryCache => return Some(Rule::RetryInUpsert),
            Ok(_) => {}
        }
        if let Some(rule) = flag_fault(io) {
            return Some(rule);
        }
    }
    None
}

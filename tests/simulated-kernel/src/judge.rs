//! How the kernel judges mappings, in the documented order (4.5). Pure.

use rustix::io::Errno;

use crate::mapping::{Kind, Mapping};
use crate::numbers::map::NONE;
use crate::numbers::{map, opflag};
use crate::personality::Variant;
use crate::rule::Rule;
use crate::wire::{BeginOut, MapIo};

/// What a mapping is judged by.
#[derive(Debug, Clone, Copy)]
pub struct Context {
    /// Whose checks.
    pub variant: Variant,
    /// Block size of the inode.
    pub block_bytes: u64,
    /// `s_maxbytes`.
    pub maxbytes: u64,
    /// Whether an upsert has created the inode's mapping cache.
    pub has_cache: bool,
}

/// Rules 1 to 8 of 4.5 for one mapping, in their order.
///
/// # Errors
/// The first rule that is broken.
pub fn judge_mapping(context: &Context, io: &MapIo, is_write: bool) -> Result<Mapping, Rule> {
    let mapping = Mapping::of_wire(io).ok_or(Rule::MappingType)?;
    if mapping.kind == Kind::RetryCache && !context.has_cache {
        return Err(Rule::RetryWithoutCache);
    }
    let only_looked_at = matches!(mapping.kind, Kind::RetryCache | Kind::Nocache);
    if only_looked_at && context.variant == Variant::S {
        return Ok(mapping);
    }
    if mapping.flags & !map::FROM_SERVER != 0 {
        return Err(Rule::MappingFlags);
    }
    judge_range(context, &mapping)?;
    judge_place(context, &mapping, is_write)?;
    if mapping.addr != NONE && mapping.addr.checked_add(mapping.length).is_none() {
        return Err(Rule::AddressOverflow);
    }
    Ok(mapping)
}

/// Rule 5.
fn judge_range(context: &Context, mapping: &Mapping) -> Result<(), Rule> {
    if mapping.length == 0 {
        return Err(Rule::MappingLength);
    }
    let block = context.block_bytes.max(1);
    if !mapping.offset.is_multiple_of(block) || !mapping.length.is_multiple_of(block) {
        return Err(Rule::MappingAlignment);
    }
    if mapping.offset.checked_add(mapping.length).is_none() {
        return Err(Rule::MappingOverflow);
    }
    if mapping.offset >= context.maxbytes {
        return Err(Rule::MappingBeyondMaxbytes);
    }
    Ok(())
}

/// Rules 6 and 7, and what L demands of the special types.
fn judge_place(context: &Context, mapping: &Mapping, is_write: bool) -> Result<(), Rule> {
    let placeless = mapping.dev == 0 && mapping.addr == NONE;
    match mapping.kind {
        Kind::Mapped | Kind::Unwritten if mapping.dev == 0 => Err(Rule::DeviceMissing),
        Kind::Mapped | Kind::Unwritten if mapping.addr == NONE => Err(Rule::AddressMissing),
        Kind::Hole | Kind::Delalloc | Kind::Inline if !placeless => Err(Rule::PlaceGiven),
        Kind::PureOverwrite if !is_write => Err(Rule::PureOverwriteAsRead),
        Kind::PureOverwrite | Kind::RetryCache | Kind::Nocache
            if context.variant == Variant::L && (!placeless || mapping.flags != 0) =>
        {
            Err(Rule::SpecialFields)
        }
        _ => Ok(()),
    }
}

/// Rules 1 to 12 of 4.5 for both mappings of a BEGIN reply, in their order.
///
/// # Errors
/// The first rule that is broken.
pub fn judge_pair(
    context: &Context,
    reply: &BeginOut,
    opflags: u32,
    pos: u64,
) -> Result<(Mapping, Mapping), Rule> {
    let read = judge_mapping(context, &reply.read, false)?;
    let write = judge_mapping(context, &reply.write, true)?;
    if read.kind == Kind::Nocache || write.kind == Kind::Nocache {
        return Err(Rule::NocacheInReply);
    }
    if !read.covers(pos) || !write.covers(pos) {
        return Err(Rule::PositionNotCovered);
    }
    if context.variant == Variant::S {
        return Ok((read, write));
    }
    let uncacheable = opflags & (opflag::ATOMIC | opflag::SWAPFILE) != 0;
    // L tests the read mapping twice (8.2 wart 10).
    if uncacheable && read.kind == Kind::RetryCache {
        return Err(Rule::RetryUncacheable);
    }
    let destination = match write.kind {
        Kind::PureOverwrite => &read,
        _ => &write,
    };
    let untorn = destination.kind.has_place() && destination.flags & map::ATOMIC_BIO != 0;
    let writes = opflags & opflag::WRITE_TYPE != 0;
    if opflags & opflag::ATOMIC != 0 && writes && !untorn {
        return Err(Rule::AtomicReply);
    }
    Ok((read, write))
}

/// What the application gets.
pub(crate) fn errno_of(rule: Rule) -> Errno {
    match rule {
        Rule::AtomicReply => Errno::IO,
        Rule::DeviceMode => Errno::ACCESS,
        _ => Errno::UCLEAN,
    }
}

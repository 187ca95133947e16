//! BEGIN: where the kernel is to read or write. OPEN and RELEASE, as far as mappings go.
//!
//! Whoever asks gets the whole run around the byte in question. It is pushed into the kernel's
//! cache and the answer is "look again": what stands in the cache the kernel checks once more
//! before it relies on it, what comes with an answer it does not. Only what may not be cached
//! (reports, content in the inode, untorn writes) or could not be pushed is answered directly,
//! where that is safe.

use fs_core::{
    ErrorKind, ExtentState, FileBlock, FileType, Inode, InodeFlags, InodeNumber, MappedExtent,
    MappingView, WriteContext, WritePreparation,
};
use rustix::io::Errno;

use super::completion::settle_size;
use super::geometry::beside;
use super::tallies::count;
use super::{Iomap, policy};
use crate::caller::Caller;
use crate::failure::Failure;
use crate::replies::Reply;
use crate::server::{Server, number_of};
use crate::wire::{BeginIn, BeginOut, InHeader, IomapIo, iomap_flag, iomap_op, iomap_type};

/// The most one question is answered with new blocks for, in bytes.
const ALLOCATED_BYTES_MAX: u64 = 128 << 20;

/// `O_ACCMODE`, `O_RDONLY` and `O_TRUNC` of open(2).
const ACCESS_MODE: u32 = 0o3;
const READ_ONLY: u32 = 0;
const TRUNCATE: u32 = 0o1000;

/// Handles of files that are open for writing; others are 0.
const WRITER: u64 = 1;

/// A question, checked.
#[derive(Debug, Clone, Copy)]
struct Question {
    file: InodeNumber,
    op: u32,
    pos: u64,
    /// Bytes, at least 1.
    count: u64,
}

impl Question {
    fn check(file: InodeNumber, ask: &BeginIn) -> Result<Self, Failure> {
        let is_sound = ask.opflags & !iomap_op::KNOWN == 0
            && ask.attr_ino == u64::from(file.0)
            && ask.count > 0
            // Where swap goes is never cached.
            && (ask.opflags & iomap_op::SWAPFILE == 0 || ask.opflags & iomap_op::REPORT != 0)
            && ask
                .pos
                .checked_add(ask.count)
                .is_some_and(|end| i64::try_from(end).is_ok());
        match is_sound {
            true => Ok(Self {
                file,
                op: ask.opflags,
                pos: ask.pos,
                count: ask.count,
            }),
            false => Err(Errno::INVAL.into()),
        }
    }

    fn is(&self, op: u32) -> bool {
        self.op & op != 0
    }

    /// Whether blocks have to be there afterwards.
    fn fills_holes(&self) -> bool {
        self.is(iomap_op::WRITE | iomap_op::WRITEBACK)
            && !self.is(iomap_op::UNSHARE | iomap_op::ZERO | iomap_op::REPORT)
    }

    /// Whether the kernel locks its pages only after the answer. What it takes for unwritten
    /// then may have been written back meanwhile by somebody else, and it would fill the rest
    /// of a page with zeros. (A page fault has the page locked already.)
    fn copies_later(&self) -> bool {
        let locked = iomap_op::FAULT | iomap_op::WRITEBACK | iomap_op::DIRECT | iomap_op::ZERO;
        self.is(iomap_op::WRITE) && !self.is(locked)
    }

    /// Whether content in the inode is changed there, by WRITE.
    fn can_be_inline(&self, view: &MappingView<'_>) -> bool {
        let only_by_write = iomap_op::DIRECT | iomap_op::FAULT | iomap_op::WRITEBACK;
        !self.is(only_by_write) && self.pos + self.count <= view.inline_capacity_bytes()
    }
}

pub(crate) fn begin(
    server: &Server,
    iomap: &Iomap,
    header: &InHeader,
    ask: &BeginIn,
) -> Result<Reply<'static>, Failure> {
    let question = Question::check(number_of(header.nodeid)?, ask)?;
    if question.pos >= iomap.geometry.max_bytes {
        // No mapping may begin there.
        return Err(Errno::FBIG.into());
    }
    if question.is(iomap_op::ANY_WRITE) {
        server.writer()?;
    }
    let answer = match question.is(iomap_op::REPORT) {
        true => report(server, iomap, question)?,
        false => match look(server, iomap, question)? {
            Found::Answer(answer) => answer,
            Found::Hole { size } => fill(server, iomap, header, question, size)?,
            Found::NotWritten => return Err(Errno::AGAIN.into()),
            Found::Unsafe => return Err(Errno::NOMEM.into()),
        },
    };
    Ok(Reply::Begin(answer))
}

/// What a look says.
enum Found {
    Answer(BeginOut),
    /// Blocks are needed first, in a file of so many bytes.
    Hole {
        size: u64,
    },
    /// Only written blocks would do.
    NotWritten,
    /// The kernel would not take the mapping into its cache, and could not be told in time when
    /// it changes.
    Unsafe,
}

/// What is there, for who wants to know it: nothing changes, and nothing is pushed.
fn report(server: &Server, iomap: &Iomap, question: Question) -> Result<BeginOut, Failure> {
    let swaps = question.is(iomap_op::SWAPFILE);
    if swaps {
        // From here on the kernel relies on what it is told, without a file system.
        if let Some(volume) = server.volume.writer() {
            volume.fdatasync(question.file)?;
        }
    }
    let answer = server.volume.with_mapping(question.file, |view| {
        check_file(view.inode())?;
        if swaps {
            iomap.files.set_swap_file(question.file);
        }
        if view.is_inline() {
            return Ok(plain(iomap.geometry.inline_mapping(question.pos)));
        }
        let run = view.around(iomap.geometry.block_of(question.pos))?;
        let mut mapping = iomap.mapping(view, &run);
        if swaps {
            mapping.flags &= !iomap_flag::DIRTY;
        }
        Ok(plain(mapping))
    })?;
    Ok(answer)
}

fn look(server: &Server, iomap: &Iomap, question: Question) -> Result<Found, Failure> {
    let found = server.volume.with_mapping(question.file, |view| {
        check_file(view.inode())?;
        let size = view.inode().size_bytes();
        if view.is_inline() {
            return Ok(look_inline(iomap, view, question));
        }
        let run = view.around(iomap.geometry.block_of(question.pos))?;
        let is_written = matches!(run.state, ExtentState::Written(_));
        if question.is(iomap_op::OVERWRITE_ONLY) && !is_written {
            return Ok(Found::NotWritten);
        }
        if question.fills_holes() && run.state == ExtentState::Hole {
            return Ok(Found::Hole { size });
        }
        grant(iomap, view, question, &run)
    })?;
    Ok(found)
}

fn look_inline(iomap: &Iomap, view: &MappingView<'_>, question: Question) -> Found {
    if question.is(iomap_op::ZERO) {
        // Behind the end an inode holds zeros, and SETATTR sees to what is cut off: there is
        // nothing for the kernel to do.
        let mapping = iomap.geometry.inline_mapping(question.pos);
        return Found::Answer(plain(beside(&mapping, iomap_type::HOLE)));
    }
    if question.fills_holes() && !question.can_be_inline(view) {
        let size = view.inode().size_bytes();
        return Found::Hole { size };
    }
    Found::Answer(plain(iomap.geometry.inline_mapping(question.pos)))
}

/// Allocates, and grants what was allocated.
fn fill(
    server: &Server,
    iomap: &Iomap,
    header: &InHeader,
    question: Question,
    size: u64,
) -> Result<BeginOut, Failure> {
    let volume = server.writer()?;
    let len_bytes = question.count.min(ALLOCATED_BYTES_MAX);
    let end = question.pos.saturating_add(len_bytes);
    let grows = end > size && question.is(iomap_op::WRITE) && !question.is(iomap_op::FAULT);
    let ahead_bytes = match grows {
        true => {
            let free = iomap
                .geometry
                .bytes_of(server.volume.statfs().blocks_available);
            let reserve = server.volume.superblock().reserved_blocks;
            let all = policy::all_ahead_bytes(free, iomap.geometry.bytes_of(reserve));
            let others = iomap.files.ahead_of_others(question.file);
            let left = all.saturating_sub(iomap.geometry.bytes_of(others));
            policy::ahead_bytes(end, free).min(left)
        }
        false => 0,
    };
    let preparation = WritePreparation {
        offset: question.pos,
        len_bytes,
        ahead_bytes,
    };
    let context = context(server, header, question)?;
    let answer = volume.prepare_write(question.file, preparation, context, |view| {
        // Without extents what lies behind the size is written, and must not stay.
        let everything = (!view.has_extents()).then_some(FileBlock(0)..FileBlock(0));
        if let Some(ahead) = view.ahead().or(everything) {
            let blocks = ahead.end.0 - ahead.start.0;
            iomap
                .files
                .allocated_ahead(question.file, ahead.start, blocks);
        }
        let run = view.around(iomap.geometry.block_of(question.pos))?;
        grant(iomap, view, question, &run)
    })?;
    match answer {
        Found::Answer(answer) => Ok(answer),
        _ => Err(Errno::NOMEM.into()),
    }
}

fn context(
    server: &Server,
    header: &InHeader,
    question: Question,
) -> Result<WriteContext, Failure> {
    let caller = Caller::of(header);
    // Who wrote what is written back is forgotten; whose file it is stands for them.
    let (uid, gid) = match question.is(iomap_op::WRITEBACK) {
        true => (None, None),
        false => (caller.uid, caller.gid),
    };
    let uid = match uid {
        Some(uid) => uid,
        None => server.volume.inode(question.file)?.uid(),
    };
    Ok(WriteContext {
        may_use_reserve: server.is_in_reserve(uid, gid),
        keeps_times: true,
        kernel_moves_content: true,
        ..WriteContext::default()
    })
}

fn grant(
    iomap: &Iomap,
    view: &MappingView<'_>,
    question: Question,
    run: &MappedExtent,
) -> fs_core::Result<Found> {
    let mut mapping = iomap.mapping(view, run);
    if question.is(iomap_op::ATOMIC) {
        if !iomap.devices.main().is_atomic {
            return Err(ErrorKind::NotSupported("untorn writes on this device").into());
        }
        mapping.flags |= iomap_flag::ATOMIC_BIO;
        return Ok(Found::Answer(plain(mapping)));
    }
    let is_unsafe = question.copies_later() && matches!(run.state, ExtentState::Unwritten(_));
    let is_there = match question.is(iomap_op::ANY_WRITE) {
        true if is_unsafe => iomap.push_hard(view, run)?,
        true => iomap.push(view, run)?,
        false => {
            let last = iomap.last_push(question.file, run);
            iomap.push_ahead(view, run, iomap.policy.at_miss(last))?
        }
    };
    if is_there {
        return Ok(Found::Answer(BeginOut {
            read: beside(&mapping, iomap_type::RETRY_CACHE),
            write: beside(&mapping, iomap_type::PURE_OVERWRITE),
        }));
    }
    if is_unsafe {
        return Ok(Found::Unsafe);
    }
    if question.is(iomap_op::WRITEBACK) {
        mapping = iomap.geometry.cut(mapping, question.pos, question.count);
    }
    count(&iomap.tallies.of(question.file).plain_answers);
    Ok(Found::Answer(plain(mapping)))
}

fn plain(mapping: IomapIo) -> BeginOut {
    BeginOut {
        read: mapping,
        write: beside(&mapping, iomap_type::PURE_OVERWRITE),
    }
}

/// Only content of regular files is asked for, and of those that can be read.
fn check_file(inode: &Inode) -> fs_core::Result<()> {
    if inode.file_type() != FileType::Regular {
        return Err(ErrorKind::InvalidInput("not a regular file").into());
    }
    if inode.flags().contains(InodeFlags::ENCRYPT) {
        return Err(ErrorKind::Encrypted.into());
    }
    Ok(())
}

/// A file is opened: what the kernel lacks of its mappings is pushed. Returns the handle.
pub(crate) fn opened(server: &Server, iomap: &Iomap, file: &Inode, flags: u32) -> u64 {
    let writes = flags & ACCESS_MODE != READ_ONLY;
    let lacks_mappings = iomap.files.opened(file.number(), writes);
    let is_kept = flags & TRUNCATE == 0 && file.file_type() == FileType::Regular;
    if lacks_mappings && is_kept {
        let pushed = server.volume.with_mapping(file.number(), |view| {
            check_file(view.inode())?;
            iomap.push_all(view)
        });
        // Whoever reads the file will be told.
        if let Err(error) = pushed {
            tracing::debug!("mappings of inode {} not pushed: {error}", file.number());
        }
    }
    if writes {
        // Blocks ahead may just be taken from it, since there was no writer left. The kernel
        // must not write into them before it has heard so.
        let _ = server.volume.inode(file.number());
    }
    handle(writes)
}

/// A file is made and opened: the kernel does not know it yet, and nothing can be pushed.
pub(crate) fn created(iomap: &Iomap, file: &Inode, flags: u32) -> u64 {
    let writes = flags & ACCESS_MODE != READ_ONLY;
    iomap.files.opened(file.number(), writes);
    handle(writes)
}

fn handle(writes: bool) -> u64 {
    match writes {
        true => WRITER,
        false => 0,
    }
}

/// A handle is gone; with the last one for writing, what was allocated ahead.
pub(crate) fn released(server: &Server, iomap: &Iomap, file: InodeNumber, handle: u64) {
    settle_size(server, iomap, file);
    iomap.files.released(file, handle & WRITER != 0);
    give_back_ahead(server, iomap, file);
}

/// The kernel no longer knew a file: nor do we. What its last writer has left, because nothing
/// could be written then, is given back.
pub(crate) fn forgotten(server: &Server, iomap: &Iomap, file: InodeNumber, touches: Option<u64>) {
    let (Some(from), Some(volume)) = (iomap.files.forget(file, touches), server.volume.writer())
    else {
        return;
    };
    // It may be open again by now; then its end takes this along.
    let unused = || match iomap.files.is_written(file) {
        true => {
            iomap.files.allocated_ahead(file, from, 0);
            None
        }
        false => Some(from),
    };
    match volume.trim_preallocation(file, unused) {
        Err(error) if *error.kind() == ErrorKind::Stale => {} // It was removed.
        Err(error) => server.complaints.report(&error),
        Ok(()) => {}
    }
}

/// Gives back what was allocated ahead, if nobody is left to use it. While nothing may be written
/// that has to wait until the file is forgotten.
fn give_back_ahead(server: &Server, iomap: &Iomap, file: InodeNumber) {
    if !iomap.files.holds_unused(file) {
        return;
    }
    let (Some(_thawed), Some(volume)) = (iomap.freezer().thawed(), server.volume.writer()) else {
        return;
    };
    // Somebody may open the file meanwhile: that counts until the file is locked.
    if let Err(error) = volume.trim_preallocation(file, || iomap.files.take_ahead(file)) {
        server.complaints.report(&error);
    }
}

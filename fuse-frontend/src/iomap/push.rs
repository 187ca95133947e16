//! Mappings to the kernel, and back from it.
//!
//! Both are one write(2) whose effect is there when it returns, and which waits for nobody but
//! who looks at the same mappings: they may be sent while the file is locked here. For one file
//! they are, always, so that they arrive in the order of what happened.

use std::ops::Range;

use fs_core::{FileBlock, InodeNumber, MappedExtent, MappingObserver, MappingView, Result};
use rustix::io::Errno;
use zerocopy::{Immutable, IntoBytes};

use super::Iomap;
use super::files::FileState;
use super::geometry::beside;
use super::tallies::count;
use crate::node::node_of;
use crate::wire::{
    InvalMappings, IomapIo, NOTIFY_INVAL_MAPPINGS, NOTIFY_UPSERT_MAPPINGS, OutHeader,
    UpsertMappings, iomap_type,
};

/// Longest notice in bytes.
const NOTICE_BYTES_MAX: usize = size_of::<OutHeader>() + size_of::<UpsertMappings>();
/// `FUSE_IOMAP_INVAL_TO_EOF`: a range without an end.
const TO_EOF: u64 = u64::MAX;

/// How often a mapping is pushed that is needed.
const PUSHES_MAX: u32 = 3;

/// What a push has come to.
struct Pushed {
    /// Whether the kernel has the run that was asked for.
    is_there: bool,
    /// Where it ended.
    end: FileBlock,
    /// Whether the kernel lacks mappings now, if that can be said.
    lacks_some: Option<bool>,
}

impl Iomap {
    /// Pushes one run. False if the kernel would not have it.
    pub(super) fn push(&self, view: &MappingView<'_>, run: &MappedExtent) -> Result<bool> {
        let pushed = self.push_to(view, run, 1)?;
        if let Some(lacks_some) = pushed.lacks_some {
            let file = view.inode().number();
            self.files.with(file, |state| state.lacks_some = lacks_some);
        }
        Ok(pushed.is_there)
    }

    /// The same where there is no other way: what is refused for want of memory may be taken
    /// a moment later.
    pub(super) fn push_hard(&self, view: &MappingView<'_>, run: &MappedExtent) -> Result<bool> {
        for _ in 0..PUSHES_MAX {
            if self.push(view, run)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Pushes `first`, and of what follows it inside the file as much as makes `most` together.
    fn push_to(&self, view: &MappingView<'_>, first: &MappedExtent, most: u32) -> Result<Pushed> {
        let file = view.inode().number();
        let end = self.geometry.block_from(view.inode().size_bytes());
        let mut following = Vec::new();
        let mut at = first.end();
        while at < end && (following.len() as u64).saturating_add(1) < u64::from(most) {
            // Damage there is who reads there's to meet.
            let Ok(run) = view.around(at) else {
                break;
            };
            at = run.end();
            following.push(self.mapping(view, &run));
        }
        let records = u32::try_from(following.len()).unwrap_or(u32::MAX);
        self.make_room(file, records.saturating_add(1));
        let mut is_whole = at >= end;
        for mapping in &following {
            if self.upsert(file, mapping).is_err() {
                is_whole = false;
                break;
            }
            count(&self.tallies.of(file).upserts_ahead);
        }
        // What was asked for comes last: what makes room for others cannot push it out.
        let asked = self.mapping(view, first);
        let is_there = self.upsert(file, &asked).is_ok();
        if !is_there {
            // What was pushed for this range before may be of blocks that were not there yet.
            self.take_back(
                file,
                asked.offset..asked.offset.saturating_add(asked.length),
            );
        }
        Ok(Pushed {
            is_there,
            end: at,
            lacks_some: (is_whole && first.file_block == FileBlock(0)).then_some(!is_there),
        })
    }

    /// [`push`](Self::push) for a reader, who may go on behind it.
    pub(super) fn push_ahead(
        &self,
        view: &MappingView<'_>,
        first: &MappedExtent,
        most: u32,
    ) -> Result<bool> {
        let pushed = self.push_to(view, first, most)?;
        self.files.with(view.inode().number(), |state| {
            (state.pushed_end, state.last_push) = (pushed.end, most);
            state.lacks_some = pushed.lacks_some.unwrap_or(state.lacks_some);
        });
        Ok(pushed.is_there)
    }

    /// Pushes a file's mappings from the start, for who has just opened it.
    pub(super) fn push_all(&self, view: &MappingView<'_>) -> Result<()> {
        if view.is_inline() || view.inode().size_bytes() == 0 {
            return Ok(());
        }
        let first = view.around(FileBlock(0))?;
        let is_there = self.push_ahead(view, &first, self.policy.at_open())?;
        if is_there {
            let file = view.inode().number();
            count(&self.tallies.of(file).upserts_ahead);
        }
        Ok(())
    }

    /// How many mappings the last push was of, if a miss in this run is that of a reader who
    /// came to where it ended.
    pub(super) fn last_push(&self, file: InodeNumber, run: &MappedExtent) -> Option<u32> {
        let state = self
            .files
            .with(file, |state| (state.pushed_end, state.last_push));
        state
            .filter(|(end, last)| *last > 0 && *end == run.file_block)
            .map(|(_, last)| last)
    }

    /// The kernel itself drops the mappings of a range that was written, when it hears of it.
    pub(super) fn dropped_by_kernel(&self, file: InodeNumber) {
        self.files.with(file, |state| {
            state.lacks_some = true;
            // What is left on both sides may be two.
            state.records = state.records.saturating_add(1);
        });
    }

    pub(super) fn mapping(&self, view: &MappingView<'_>, run: &MappedExtent) -> IomapIo {
        let device = self.devices.main();
        self.geometry.mapping(run, device, view.has_extents())
    }

    /// Has the kernel's tree hold no more than it can, and counts what is about to be pushed.
    fn make_room(&self, file: InodeNumber, records: u32) {
        let most = self.policy.tree_records_max;
        let add = |state: &mut FileState| {
            let sum = state.records.saturating_add(records);
            let fits = sum <= most;
            if fits {
                state.records = sum;
            }
            fits
        };
        if self.files.with(file, add) == Some(false) {
            self.take_back(file, 0..TO_EOF);
            self.files.with(file, add);
        }
    }

    fn upsert(&self, file: InodeNumber, read: &IomapIo) -> std::result::Result<(), Errno> {
        let notice = UpsertMappings {
            nodeid: node_of(file),
            attr_ino: u64::from(file.0),
            read: *read,
            // Writes go where reads come from, as long as nothing is shared.
            write: beside(read, iomap_type::NOCACHE),
        };
        self.notify(NOTIFY_UPSERT_MAPPINGS, &notice)?;
        count(&self.tallies.of(file).upserts);
        Ok(())
    }

    /// Takes mappings back: bytes, whole blocks, to the end of all if that is [`TO_EOF`].
    fn take_back(&self, file: InodeNumber, bytes: Range<u64>) {
        let block = u64::from(self.geometry.block_bytes);
        if bytes.is_empty() || bytes.start >= self.geometry.max_bytes {
            return;
        }
        if bytes.start == 0 && bytes.end >= self.geometry.max_bytes {
            self.files.with(file, |state| state.records = 0);
            // In two parts: where all is dropped at once, kernels forget to say so to who is
            // using a mapping at that moment.
            self.invalidate(file, 0, block);
            self.invalidate(file, block, TO_EOF);
        } else if bytes.end >= self.geometry.max_bytes {
            self.invalidate(file, bytes.start, TO_EOF);
        } else {
            self.invalidate(file, bytes.start, bytes.end - bytes.start);
        }
        self.files.with(file, |state| state.lacks_some = true);
    }

    fn invalidate(&self, file: InodeNumber, offset: u64, length: u64) {
        let notice = InvalMappings {
            nodeid: node_of(file),
            attr_ino: u64::from(file.0),
            read_offset: offset,
            read_length: length,
            write_offset: 0,
            write_length: 0,
        };
        // A file the kernel has forgotten has no mappings either.
        if self.notify(NOTIFY_INVAL_MAPPINGS, &notice).is_ok() {
            count(&self.tallies.of(file).invalidations);
        }
    }

    fn notify<T: IntoBytes + Immutable>(
        &self,
        code: i32,
        body: &T,
    ) -> std::result::Result<(), Errno> {
        let header = OutHeader {
            len: u32::try_from(size_of::<OutHeader>() + size_of::<T>()).unwrap_or(u32::MAX),
            error: code,
            unique: 0,
        };
        let mut message = [0; NOTICE_BYTES_MAX];
        let (head, rest) = message.split_at_mut(size_of::<OutHeader>());
        let is_whole = header.write_to(head).is_ok() && body.write_to_prefix(rest).is_ok();
        debug_assert!(is_whole);
        let len = size_of::<OutHeader>() + size_of::<T>();
        let outcome = self.calls.notify(message.get(..len).unwrap_or(&message));
        outcome.map_err(|error| {
            let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
            tracing::debug!(code, "the kernel refused a notice: {error}");
            self.tallies.refused(errno);
            errno
        })
    }
}

impl MappingObserver for Iomap {
    fn changing(&self, file: InodeNumber, blocks: Range<FileBlock>) {
        if !self.files.was_pushed(file) {
            return;
        }
        let (start, len) = self.geometry.byte_range(&blocks);
        self.take_back(file, start..start.saturating_add(len));
    }
}

//! What is remembered of each file the kernel knows: who has it open, and what was pushed.

use std::collections::HashMap;

use crossbeam_utils::CachePadded;
use foldhash::fast::RandomState;
use fs_core::{BlocksAhead, FileBlock, InodeNumber};
use parking_lot::Mutex;

/// Threads rarely meet in one of this many tables.
const SHARDS: usize = 16;

/// The files of one table.
type Table = HashMap<InodeNumber, FileState, RandomState>;

/// One file.
#[derive(Debug, Default)]
pub(super) struct FileState {
    /// How often somebody has had to do with it.
    touches: u64,
    /// How often it is open for writing.
    writers: u32,
    /// Mappings the kernel's tree holds at most.
    pub(super) records: u32,
    /// Where the last push for a reader ended, and how many mappings it was of.
    pub(super) pushed_end: FileBlock,
    pub(super) last_push: u32,
    /// The kernel has dropped mappings since it was given all.
    pub(super) lacks_some: bool,
    /// How long the kernel has said that it is, having written to it; 0 if it has not.
    grown_to: u64,
    /// From here on blocks behind the end were allocated by nobody's wish.
    ahead_from: Option<FileBlock>,
    /// How many at the last time; those before are in use by now.
    blocks_ahead: u64,
    is_swap_file: bool,
}

/// All files. Entries go when the kernel forgets a file, so there are never more of them than
/// the kernel has inodes.
#[derive(Debug)]
pub(super) struct Files {
    shards: [CachePadded<Mutex<Table>>; SHARDS],
    /// What all files hold.
    ahead: BlocksAhead,
}

impl Files {
    pub(super) fn new(ahead: BlocksAhead) -> Self {
        Self {
            ahead,
            shards: std::array::from_fn(|_| CachePadded::new(Mutex::default())),
        }
    }

    /// Looks at a file's state, or changes it. Nothing else is locked meanwhile.
    pub(super) fn with<T>(
        &self,
        file: InodeNumber,
        act: impl FnOnce(&mut FileState) -> T,
    ) -> Option<T> {
        let mut shard = self.shard(file)?.lock();
        let state = shard.entry(file).or_default();
        state.touches = state.touches.wrapping_add(1);
        Some(act(state))
    }

    /// Looks at what is known of a file, if anything is.
    fn known<T>(&self, file: InodeNumber, act: impl FnOnce(&mut FileState) -> T) -> Option<T> {
        let mut shard = self.shard(file)?.lock();
        shard.get_mut(&file).map(act)
    }

    /// Somebody opens a file. True if the kernel lacks mappings of it.
    pub(super) fn opened(&self, file: InodeNumber, writes: bool) -> bool {
        let opened = self.with(file, |state| {
            state.writers = state.writers.saturating_add(u32::from(writes));
            state.records == 0 || state.lacks_some
        });
        opened.unwrap_or(true)
    }

    /// The opposite.
    pub(super) fn released(&self, file: InodeNumber, writes: bool) {
        self.known(file, |state| {
            state.writers = state.writers.saturating_sub(u32::from(writes));
        });
    }

    /// Where blocks that were allocated ahead begin, if nobody is left to use them; it is said
    /// once.
    pub(super) fn take_ahead(&self, file: InodeNumber) -> Option<FileBlock> {
        self.known(file, |state| match state.writers {
            0 => self.no_longer_ahead(state),
            _ => None,
        })?
    }

    /// Blocks from here on, so many of them, were allocated ahead.
    pub(super) fn allocated_ahead(&self, file: InodeNumber, from: FileBlock, blocks: u64) {
        self.with(file, |state| {
            let before = self.no_longer_ahead(state).unwrap_or(from);
            state.ahead_from = Some(before.min(from));
            state.blocks_ahead = blocks;
            self.ahead.add(blocks);
        });
    }

    /// Somebody wants the blocks before this one to stay.
    pub(super) fn keep_ahead(&self, file: InodeNumber, end: FileBlock) {
        self.known(file, |state| {
            let Some(from) = state.ahead_from.filter(|&from| from < end) else {
                return;
            };
            let kept = (end.0 - from.0).min(state.blocks_ahead);
            state.ahead_from = Some(end);
            state.blocks_ahead -= kept;
            self.ahead.remove(kept);
        });
    }

    /// Whether blocks were allocated ahead that nobody is left to use.
    pub(super) fn holds_unused(&self, file: InodeNumber) -> bool {
        let holds = self.known(file, |state| {
            state.writers == 0 && state.ahead_from.is_some()
        });
        holds.unwrap_or(false)
    }

    /// Blocks all files but this one hold ahead.
    pub(super) fn ahead_of_others(&self, file: InodeNumber) -> u64 {
        let own = self.known(file, |state| state.blocks_ahead).unwrap_or(0);
        self.ahead.count().saturating_sub(own)
    }

    fn no_longer_ahead(&self, state: &mut FileState) -> Option<FileBlock> {
        self.ahead.remove(std::mem::take(&mut state.blocks_ahead));
        state.ahead_from.take()
    }

    /// The kernel has made a file this long at least.
    pub(super) fn grown(&self, file: InodeNumber, size: u64) {
        self.with(file, |state| state.grown_to = state.grown_to.max(size));
    }

    /// A file has another size, whatever was said before.
    pub(super) fn resized(&self, file: InodeNumber) {
        self.known(file, |state| state.grown_to = 0);
    }

    /// How long the kernel has said a file to be, if that may not be recorded yet.
    pub(super) fn grown_to(&self, file: InodeNumber) -> Option<u64> {
        let grown_to = self.known(file, |state| state.grown_to)?;
        (grown_to > 0).then_some(grown_to)
    }

    /// A size is recorded.
    pub(super) fn recorded(&self, file: InodeNumber, size: u64) {
        self.known(file, |state| {
            if state.grown_to <= size {
                state.grown_to = 0;
            }
        });
    }

    /// Files the kernel has made longer.
    pub(super) fn all_grown(&self) -> Vec<InodeNumber> {
        let grown = |shard: &CachePadded<Mutex<Table>>| {
            let shard = shard.lock();
            let grown = shard.iter().filter(|(_, state)| state.grown_to > 0);
            grown.map(|(file, _)| *file).collect::<Vec<_>>()
        };
        self.shards.iter().flat_map(grown).collect()
    }

    /// Whether mappings of a file may lie in the kernel's cache.
    pub(super) fn was_pushed(&self, file: InodeNumber) -> bool {
        self.known(file, |state| state.records > 0).unwrap_or(false)
    }

    pub(super) fn set_swap_file(&self, file: InodeNumber) {
        self.with(file, |state| state.is_swap_file = true);
    }

    pub(super) fn end_swap_file(&self, file: InodeNumber) {
        self.known(file, |state| state.is_swap_file = false);
    }

    pub(super) fn is_swap_file(&self, file: InodeNumber) -> bool {
        self.known(file, |state| state.is_swap_file)
            .unwrap_or(false)
    }

    /// To be asked before the kernel's knowledge of a file is counted down, and given to
    /// [`forget`](Self::forget).
    pub(super) fn touches(&self, file: InodeNumber) -> Option<u64> {
        self.known(file, |state| state.touches)
    }

    /// The kernel no longer knew a file: what is known of it goes, unless the kernel has come to
    /// know it again since. Returns where blocks begin that are still allocated ahead.
    pub(super) fn forget(&self, file: InodeNumber, touches: Option<u64>) -> Option<FileBlock> {
        let mut shard = self.shard(file)?.lock();
        if shard.get(&file).map(|state| state.touches) != touches {
            return None;
        }
        self.no_longer_ahead(&mut shard.remove(&file)?)
    }

    /// Whether somebody has a file open for writing.
    pub(super) fn is_written(&self, file: InodeNumber) -> bool {
        self.known(file, |state| state.writers > 0).unwrap_or(false)
    }

    fn shard(&self, file: InodeNumber) -> Option<&Mutex<Table>> {
        let shard = self.shards.get(file.0 as usize % SHARDS)?;
        Some(shard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: InodeNumber = InodeNumber(12);

    #[test]
    fn what_was_allocated_ahead_is_given_back_by_the_last_writer() {
        let ahead = BlocksAhead::default();
        let files = Files::new(ahead.clone());
        assert!(files.opened(FILE, true));
        files.opened(FILE, true);
        files.opened(FILE, false);
        files.allocated_ahead(FILE, FileBlock(9), 5);
        files.allocated_ahead(FILE, FileBlock(20), 7);
        assert_eq!((ahead.count(), files.ahead_of_others(FILE)), (7, 0));
        assert_eq!(files.ahead_of_others(InodeNumber(13)), 7);
        files.released(FILE, true);
        assert!(!files.holds_unused(FILE));
        assert_eq!(files.take_ahead(FILE), None);
        files.released(FILE, true);
        assert!(files.holds_unused(FILE));
        assert_eq!(files.take_ahead(FILE), Some(FileBlock(9)));
        assert_eq!(ahead.count(), 0);
        assert!(!files.holds_unused(FILE));
        // More often than it was opened, and unknown files: nothing happens.
        files.released(FILE, true);
        files.released(InodeNumber(13), true);
        assert!(!files.holds_unused(InodeNumber(13)));
        assert_eq!(files.take_ahead(InodeNumber(13)), None);
    }

    #[test]
    fn what_somebody_wants_stays() {
        let files = Files::new(BlocksAhead::default());
        files.opened(FILE, true);
        files.allocated_ahead(FILE, FileBlock(9), 5);
        // Nothing that lies before it is touched by that.
        files.keep_ahead(FILE, FileBlock(9));
        assert_eq!(files.ahead.count(), 5);
        files.keep_ahead(FILE, FileBlock(11));
        assert_eq!(files.ahead.count(), 3);
        files.released(FILE, true);
        assert_eq!(files.take_ahead(FILE), Some(FileBlock(11)));
        assert_eq!(files.ahead.count(), 0);
        files.allocated_ahead(FILE, FileBlock(9), 5);
        let left = files.forget(FILE, files.touches(FILE));
        assert_eq!((left, files.ahead.count()), (Some(FileBlock(9)), 0));
    }

    #[test]
    fn a_forgotten_file_is_as_new() {
        let files = Files::new(BlocksAhead::default());
        files.with(FILE, |state| state.records = 3);
        assert!(files.was_pushed(FILE) && !files.opened(FILE, false));
        let before = files.touches(FILE);
        // Opened again meanwhile.
        files.opened(FILE, false);
        files.forget(FILE, before);
        assert!(files.was_pushed(FILE));
        files.forget(FILE, files.touches(FILE));
        assert!(!files.was_pushed(FILE) && files.opened(FILE, false));
    }
}

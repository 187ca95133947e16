//! One operation's part of a transaction.

use std::collections::HashSet;
use std::ops::Range;

use foldhash::fast::RandomState;

use super::{TransactionId, Transactions};
use crate::cache::{Before, BlockCache, Role};
use crate::error::Result;
use crate::types::FsBlock;

/// How one change is taken back.
enum Undo<'v> {
    Block(FsBlock, Before),
    Pieces(FsBlock, Role, Vec<(usize, Box<[u8]>)>),
    Unrevoke(FsBlock),
    Call(Box<dyn FnOnce() + 'v>),
}

/// Changes of one operation. Dropped without [`finish`](Self::finish) it takes all of them
/// back, the last first.
pub(crate) struct Handle<'v> {
    transactions: &'v Transactions,
    cache: &'v BlockCache,
    id: TransactionId,
    credits: usize,
    /// Blocks this handle was the first to change in the transaction.
    first_changed: Vec<FsBlock>,
    revoked: Vec<FsBlock>,
    prepared_blocks: usize,
    /// Blocks whose content before this handle is in `undo`.
    kept: HashSet<FsBlock, RandomState>,
    undo: Vec<Undo<'v>>,
    is_dirty: bool,
}

impl<'v> Handle<'v> {
    pub(super) fn new(
        transactions: &'v Transactions,
        cache: &'v BlockCache,
        id: TransactionId,
        credits: usize,
    ) -> Self {
        Self {
            transactions,
            cache,
            id,
            credits,
            first_changed: Vec::new(),
            revoked: Vec::new(),
            prepared_blocks: 0,
            kept: HashSet::default(),
            undo: Vec::new(),
            is_dirty: false,
        }
    }

    /// The transaction joined.
    pub(crate) fn id(&self) -> TransactionId {
        self.id
    }

    /// Blocks this handle may still change.
    pub(crate) fn credits_left(&self) -> usize {
        self.credits
            .saturating_sub(self.first_changed.len() + self.prepared_blocks)
    }

    /// Changes a block that one inode owns, whose lock the caller holds. A failure of
    /// `edit` must end the operation: the block is restored with all others.
    ///
    /// # Errors
    /// Those of [`BlockCache::get`] and of `edit`.
    pub(crate) fn modify<T>(
        &mut self,
        number: FsBlock,
        role: Role,
        check: impl Fn(&[u8]) -> Result<()>,
        edit: impl FnOnce(&mut [u8]) -> Result<T>,
    ) -> Result<T> {
        let keep = !self.kept.contains(&number);
        let edited = self.cache.edit(number, role, keep, check, edit)?;
        self.note(number, edited.is_first_change);
        if let Some(before) = edited.before {
            self.kept.insert(number);
            self.undo.push(Undo::Block(number, before));
        }
        edited.output
    }

    /// [`modify`](Self::modify) where `edit` changes nothing but these pieces: only they are
    /// kept, so that the block need not be copied.
    ///
    /// # Errors
    /// Those of [`modify`](Self::modify).
    pub(crate) fn modify_pieces<T>(
        &mut self,
        number: FsBlock,
        role: Role,
        pieces: &[Range<usize>],
        check: impl Fn(&[u8]) -> Result<()>,
        edit: impl FnOnce(&mut [u8]) -> Result<T>,
    ) -> Result<T> {
        let edited = self.cache.edit(number, role, false, check, |bytes| {
            let before = pieces.iter().filter_map(|piece| {
                let bytes = bytes.get(piece.clone())?;
                Some((piece.start, bytes.into()))
            });
            (before.collect(), edit(bytes))
        })?;
        self.note(number, edited.is_first_change);
        let (before, output) = edited.output;
        self.undo.push(Undo::Pieces(number, role, before));
        output
    }

    /// Changes a block that other operations may change at the same time (inode tables,
    /// shared attribute blocks): it is not restored as a whole. Whoever calls registers
    /// with [`on_rollback`](Self::on_rollback) how the change is taken back; if `edit`
    /// fails it must not have changed anything.
    ///
    /// # Errors
    /// Those of [`BlockCache::get`] and of `edit`.
    pub(crate) fn modify_shared<T>(
        &mut self,
        number: FsBlock,
        role: Role,
        check: impl Fn(&[u8]) -> Result<()>,
        edit: impl FnOnce(&mut [u8]) -> Result<T>,
    ) -> Result<T> {
        let edited = self.cache.edit(number, role, false, check, edit)?;
        self.note(number, edited.is_first_change);
        edited.output
    }

    /// Gives a newly allocated block its content.
    pub(crate) fn create(&mut self, number: FsBlock, role: Role, bytes: Box<[u8]>) {
        let (is_first_change, before) = self.cache.replace(number, role, bytes);
        self.note(number, is_first_change);
        if self.kept.insert(number) {
            self.undo.push(Undo::Block(number, before));
        }
    }

    /// The same for a block that other operations use as well: it stays if this handle is
    /// taken back.
    pub(crate) fn create_shared(&mut self, number: FsBlock, role: Role, bytes: Box<[u8]>) {
        let (is_first_change, _) = self.cache.replace(number, role, bytes);
        self.note(number, is_first_change);
    }

    /// Drops a metadata block that is being freed and has older copies of it in the log
    /// voided.
    pub(crate) fn forget(&mut self, number: FsBlock) {
        let before = self.cache.forget(number);
        if self.kept.insert(number) {
            self.undo.push(Undo::Block(number, before));
        }
        self.revoked.push(number);
        self.undo.push(Undo::Unrevoke(number));
        self.is_dirty = true;
    }

    /// Registers how a change that is not a block's is taken back. Called after the change.
    pub(crate) fn on_rollback(&mut self, undo: impl FnOnce() + 'v) {
        self.is_dirty = true;
        self.undo.push(Undo::Call(Box::new(undo)));
    }

    /// Counts blocks that the commit will change on behalf of this handle.
    pub(crate) fn expect_prepared(&mut self, blocks: usize) {
        self.prepared_blocks += blocks;
        self.is_dirty = true;
    }

    fn note(&mut self, number: FsBlock, is_first_change: bool) {
        self.is_dirty = true;
        if is_first_change {
            self.first_changed.push(number);
        }
    }

    /// Makes the changes part of the transaction.
    pub(crate) fn finish(mut self) -> TransactionId {
        self.undo.clear();
        self.id
    }

    fn restore_pieces(&mut self, number: FsBlock, role: Role, pieces: &[(usize, Box<[u8]>)]) {
        // The block is pinned, so nothing is read.
        let restored = self.cache.edit(
            number,
            role,
            false,
            |_| Ok(()),
            |bytes| {
                for (start, before) in pieces {
                    if let Some(place) = bytes.get_mut(*start..start + before.len()) {
                        place.copy_from_slice(before);
                    }
                }
            },
        );
        match restored {
            Ok(edited) => self.note(number, edited.is_first_change),
            Err(error) => tracing::error!("block {number} could not be restored: {error}"),
        }
    }

    fn roll_back(&mut self) {
        while let Some(undo) = self.undo.pop() {
            match undo {
                Undo::Block(number, before) => {
                    if self.cache.restore(number, before) {
                        self.first_changed.push(number);
                    }
                }
                Undo::Pieces(number, role, pieces) => self.restore_pieces(number, role, &pieces),
                Undo::Unrevoke(number) => {
                    if let Some(at) = self.revoked.iter().rposition(|&other| other == number) {
                        self.revoked.swap_remove(at);
                    }
                }
                Undo::Call(undo) => undo(),
            }
        }
    }
}

impl Drop for Handle<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // A block may be half changed, and what would undo that not registered.
            self.transactions.stop("a change ended in a panic");
        }
        self.roll_back();
        let mut running = self.transactions.running.lock();
        // What was restored may still count as changed: then it is written as it was.
        running.blocks.append(&mut self.first_changed);
        running.revoked.extend(self.revoked.drain(..));
        running.prepared_blocks += self.prepared_blocks;
        running.credits_blocks = running.credits_blocks.saturating_sub(self.credits);
        running.is_dirty |= self.is_dirty;
        running.open_handles = running.open_handles.saturating_sub(1);
        if running.open_handles == 0 && running.is_closed {
            self.transactions.changed.notify_all();
        }
    }
}

//! Taking blocks and giving them back.

use crate::error::{Error, ErrorKind, Result};
use crate::store::Store;
use crate::transaction::{Handle, TransactionId};

use super::group::Locked;
use super::runs::Run;
use super::{BlockRequest, BlockRun, BlocksAhead, Purpose, Space};

/// A wish in terms of groups.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish {
    pub(super) group: u32,
    /// Block of that group.
    pub(super) goal: u32,
    /// Blocks wanted, no more than a group has.
    pub(super) len: u32,
}

impl Space {
    /// Takes one run of blocks, as long as one can be found up to what is wanted. The
    /// blocks are marked in use with the handle's transaction; what they hold is undefined.
    ///
    /// # Errors
    /// `NoSpace`; `Corrupt` if a bitmap is damaged.
    pub(crate) fn allocate<'v>(
        &'v self,
        store: &'v Store,
        handle: &mut Handle<'v>,
        request: &BlockRequest,
    ) -> Result<BlockRun> {
        let wish = self.wish(request)?;
        match request.purpose {
            Purpose::Metadata => self.take_near(store, handle, wish),
            Purpose::Data { inode, len_blocks } => {
                self.take_data(store, handle, wish, inode, len_blocks)
            }
        }
    }

    /// What is left of a request after the reserve.
    fn wish(&self, request: &BlockRequest) -> Result<Wish> {
        let reserve = match request.may_use_reserve {
            true => 0,
            false => self.reserved_blocks.saturating_sub(self.ahead.count()),
        };
        let usable = self.counts().blocks.saturating_sub(reserve);
        let per_group = u64::from(self.geometry.blocks_per_group);
        let len = request.len_blocks.min(usable).min(per_group);
        if len == 0 {
            return Err(ErrorKind::NoSpace.into());
        }
        let (group, goal) = self.geometry.locate(request.goal).unwrap_or_default();
        Ok(Wish {
            group,
            goal,
            len: u32::try_from(len).unwrap_or(u32::MAX),
        })
    }

    /// Blocks that files hold ahead of need.
    pub(crate) fn ahead(&self) -> &BlocksAhead {
        &self.ahead
    }

    /// Takes a run that can be taken.
    pub(super) fn take_run<'v>(
        &'v self,
        handle: &mut Handle<'v>,
        number: u32,
        mut locked: Locked<'_>,
        run: Run,
    ) -> Result<BlockRun> {
        let prepared = locked.take_blocks(run)?;
        drop(locked);
        Ok(self.note_taken(handle, number, run, prepared))
    }

    /// What there is to do once a run is marked in use.
    pub(super) fn note_taken<'v>(
        &'v self,
        handle: &mut Handle<'v>,
        number: u32,
        run: Run,
        prepared_blocks: usize,
    ) -> BlockRun {
        self.totals.sub(run.len, 0);
        self.note_dirty(handle, number, prepared_blocks);
        handle.on_rollback(move || {
            self.totals.add(run.len, 0);
            self.change_group(number, |locked| locked.untake_blocks(run));
        });
        self.geometry.run(number, run)
    }

    /// Takes exactly these blocks, also those that this very handle has given back.
    ///
    /// # Errors
    /// `Corrupt` if some are in use; the handle must be given up then.
    pub(crate) fn take_again<'v>(
        &'v self,
        store: &'v Store,
        handle: &mut Handle<'v>,
        run: BlockRun,
    ) -> Result<()> {
        for part in self.geometry.parts(run)? {
            // One by one: this is for the few blocks of a log's last seconds.
            for start in part.run.start..part.run.end() {
                let one = Run { start, len: 1 };
                let mut locked = self.lock_blocks(store, part.group)?;
                if locked.has_available(one)? {
                    self.take_run(handle, part.group, locked, one)?;
                } else {
                    locked.unfree_blocks(one, handle.id())?;
                    drop(locked);
                    self.totals.sub(1, 0);
                    let (group, id) = (part.group, handle.id());
                    handle.on_rollback(move || {
                        self.totals.add(1, 0);
                        self.change_group(group, |locked| locked.free_blocks(one, id).map(|_| ()));
                    });
                }
            }
        }
        Ok(())
    }

    /// Gives blocks back. They can be taken again once the transaction is durable.
    /// Metadata is forgotten (and revoked) by the caller.
    ///
    /// # Errors
    /// `Corrupt` if they are not in use, or lie outside the volume or in its own metadata;
    /// the handle must be given up then.
    pub(crate) fn free<'v>(
        &'v self,
        store: &'v Store,
        handle: &mut Handle<'v>,
        run: BlockRun,
    ) -> Result<()> {
        let parts = self.geometry.parts(run)?;
        self.check_content(run)?;
        for part in parts {
            let place = |error: Error| {
                let start = self.geometry.block(part.group, part.run.start);
                error.context(format_args!("{} blocks from {start}", part.run.len))
            };
            self.free_part(store, handle, part.group, part.run)
                .map_err(place)?;
        }
        Ok(())
    }

    /// # Errors
    /// `Corrupt` if any of these blocks is one of the format's own, which no file can have.
    pub(crate) fn check_content(&self, run: BlockRun) -> Result<()> {
        if !self.fixed.overlap(run.start, run.len_blocks) {
            return Ok(());
        }
        Err(Error::corrupt(
            "run of a file's blocks",
            Some(run.start),
            "none of the file system's own",
            format_args!("{} blocks with such", run.len_blocks),
        ))
    }

    fn free_part<'v>(
        &'v self,
        store: &'v Store,
        handle: &mut Handle<'v>,
        number: u32,
        run: Run,
    ) -> Result<()> {
        let id = handle.id();
        let mut locked = self.lock_blocks(store, number)?;
        let prepared = locked.free_blocks(run, id)?;
        let is_news = locked.state.note_freed(id);
        drop(locked);
        self.totals.add(run.len, 0);
        self.note_dirty(handle, number, prepared);
        self.note_freed(id, number, is_news);
        handle.on_rollback(move || {
            self.totals.sub(run.len, 0);
            self.change_group(number, |locked| locked.unfree_blocks(run, id));
        });
        Ok(())
    }

    /// Has a group looked at when a transaction is durable.
    pub(super) fn note_freed(&self, id: TransactionId, number: u32, is_news: bool) {
        if is_news {
            self.freed.lock().push((id, number));
        }
    }

    /// Changes a group that is loaded because it is dirty or blocks of it are held.
    pub(super) fn change_group(
        &self,
        number: u32,
        change: impl FnOnce(&mut Locked<'_>) -> Result<()>,
    ) {
        let changed = self
            .group(number)
            .and_then(|group| change(&mut group.lock()));
        if let Err(error) = changed {
            tracing::error!("group {number} could not be changed: {error}");
        }
    }
}

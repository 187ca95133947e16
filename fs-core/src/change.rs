//! A change in the making: what every operation that changes the volume needs at hand.
//!
//! [`Writer`] is a volume open for writing without its names; [`Change`] is one operation's
//! handle on the running transaction. Both lend what lies below: [`Store`] to read,
//! [`Handle`] to change blocks and inodes, [`Space`] to take and give back.

use crate::cache::{BlockCache, Role};
use crate::clock::Clock;
use crate::error::Result;
use crate::format::inode::Inode;
use crate::format::inode_edit::InodeEdit;
use crate::format::superblock::RawSuperblock;
use crate::generations::Generations;
use crate::live_superblock::LiveSuperblock;
use crate::mapping::MappingObserver;
use crate::orphans::Orphans;
use crate::space::{BlockRequest, BlockRun, InodeRequest, Space};
use crate::store::Store;
use crate::transaction::{Handle, Joined, Preparation, TransactionId, Transactions};
use crate::types::{FileBlock, FileType, FsBlock, InodeNumber, Timestamp};
use crate::xattr::Sharing;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use images::Metered;

/// Parts of a volume open for writing.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) store: Store,
    pub(crate) space: Space,
    pub(crate) superblock: LiveSuperblock,
    pub(crate) orphans: Orphans,
    pub(crate) sharing: Sharing,
    pub(crate) transactions: Transactions,
    pub(crate) clock: Clock,
    pub(crate) generations: Generations,
    /// Counts what is written.
    pub(crate) meter: Arc<Metered>,
    /// What of that the superblock accounts for already.
    pub(crate) accounted_bytes: AtomicU64,
    /// Each change is a transaction of its own.
    pub(crate) commits_each_change: bool,
    /// Who wants to know of changes of maps.
    pub(crate) mapping_observer: OnceLock<Arc<dyn MappingObserver>>,
}

impl Writer {
    pub(crate) fn announce_mapping(&self, file: InodeNumber, blocks: Range<FileBlock>) {
        if let Some(observer) = self.mapping_observer.get()
            && !blocks.is_empty()
        {
            observer.changing(file, blocks);
        }
    }

    /// Begins a change of up to `credits` blocks. Inode locks are taken before; nothing is
    /// waited for while the change is open.
    ///
    /// # Errors
    /// `Stopped`.
    pub(crate) fn begin(&self, credits: usize) -> Result<Change<'_>> {
        self.begin_alone(credits.min(self.transactions.credits_max()))
    }

    /// The same for more credits than one of many operations gets.
    pub(crate) fn begin_alone(&self, credits: usize) -> Result<Change<'_>> {
        if self.commits_each_change {
            self.commit_pending()?;
        }
        loop {
            match self.transactions.join(&self.store.cache, credits)? {
                Joined::Handle(handle) => {
                    return Ok(Change {
                        writer: self,
                        handle,
                        now: self.clock.now(),
                        may_use_reserve: false,
                        announces_mappings: true,
                    });
                }
                Joined::Full(id) => self.commit(id)?,
            }
        }
    }

    /// Makes everything up to a transaction durable.
    pub(crate) fn commit(&self, wanted: TransactionId) -> Result<()> {
        self.transactions.commit(
            &self.store.cache,
            wanted,
            &|preparation, id| self.prepare(preparation, id),
            &|id| self.space.durable(&self.store.cache, id),
        )
    }

    fn prepare(&self, preparation: &mut Preparation<'_>, id: TransactionId) -> Result<()> {
        self.space.prepare(&self.store, preparation, id)?;
        let counts = self.space.counts();
        let now = self.clock.now();
        let new_kib = self.take_written_kib();
        self.superblock.prepare(preparation, |raw| {
            set_free_counts(raw, counts.blocks, counts.inodes);
            set_written_at(raw, now);
            raw.s_kbytes_written = raw.s_kbytes_written.get().saturating_add(new_kib).into();
        })
    }

    /// Whole KiB written since the last call.
    fn take_written_kib(&self) -> u64 {
        let accounted = self.accounted_bytes.load(Ordering::Relaxed);
        let new_kib = self.meter.written_bytes().saturating_sub(accounted) / 1024;
        self.accounted_bytes
            .fetch_add(new_kib * 1024, Ordering::Relaxed);
        new_kib
    }

    /// Commits what has changed since the last commit, if anything has.
    pub(crate) fn commit_pending(&self) -> Result<()> {
        self.commit(self.transactions.pending())
    }

    /// Makes everything durable that has been finished before the call.
    pub(crate) fn sync(&self) -> Result<()> {
        let (wanted, is_idle) = self.transactions.pending_or_idle();
        self.commit(wanted)?;
        if is_idle {
            // Nothing but content may have changed since the last commit began: overwritten
            // blocks, which it need not have covered.
            self.flush()?;
        }
        Ok(())
    }

    /// Makes the content of an inode durable, with what is needed to read it: nothing is
    /// committed for the sake of times.
    pub(crate) fn sync_content(&self, inode: InodeNumber) -> Result<()> {
        let Some(changed_by) = self.store.unsynced.changed_by(inode) else {
            return self.flush();
        };
        let will_flush = self.transactions.is_running(changed_by);
        self.commit(changed_by)?;
        if !will_flush {
            // A commit under way need not cover what was written meanwhile.
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        self.transactions.check_alive()?;
        self.store.cache.device().flush()?;
        Ok(())
    }
}

fn set_free_counts(raw: &mut RawSuperblock, blocks: u64, inodes: u32) {
    let (low, high) = (blocks & 0xFFFF_FFFF, blocks >> 32);
    raw.s_free_blocks_count_lo = u32::try_from(low).unwrap_or(u32::MAX).into();
    if high != 0 || raw.s_free_blocks_count_hi.get() != 0 {
        raw.s_free_blocks_count_hi = u32::try_from(high).unwrap_or(u32::MAX).into();
    }
    raw.s_free_inodes_count = inodes.into();
}

fn set_written_at(raw: &mut RawSuperblock, now: Timestamp) {
    let seconds = now.seconds.max(0).cast_unsigned();
    raw.s_wtime = u32::try_from(seconds & 0xFFFF_FFFF).unwrap_or(0).into();
    raw.s_wtime_hi = u8::try_from(seconds >> 32 & 0xFF).unwrap_or(0);
}

/// See the module. Dropped without [`finish`](Self::finish) everything is as before.
pub(crate) struct Change<'v> {
    pub(crate) writer: &'v Writer,
    pub(crate) handle: Handle<'v>,
    /// The time of this change.
    pub(crate) now: Timestamp,
    /// The blocks kept for the reserved user may be used.
    pub(crate) may_use_reserve: bool,
    /// The observer of maps is told. Not where the caller tells others of the new map itself.
    pub(crate) announces_mappings: bool,
}

impl<'v> Change<'v> {
    /// Tells who wants to know that a part of a file's map is about to change.
    pub(crate) fn announce_mapping(&self, file: &Inode, blocks: Range<FileBlock>) {
        if self.announces_mappings && file.file_type() == FileType::Regular {
            self.writer.announce_mapping(file.number(), blocks);
        }
    }

    /// What is read and how.
    pub(crate) fn store(&self) -> &'v Store {
        &self.writer.store
    }

    /// The metadata cache.
    pub(crate) fn cache(&self) -> &'v BlockCache {
        &self.writer.store.cache
    }

    /// Changes a block that an inode owns whose lock is held; see [`Handle::modify`].
    pub(crate) fn modify<T>(
        &mut self,
        number: FsBlock,
        role: Role,
        check: impl Fn(&[u8]) -> Result<()>,
        edit: impl FnOnce(&mut [u8]) -> Result<T>,
    ) -> Result<T> {
        self.handle.modify(number, role, check, edit)
    }

    /// The same where nothing but these pieces of the block change; see
    /// [`Handle::modify_pieces`].
    pub(crate) fn modify_pieces<T>(
        &mut self,
        number: FsBlock,
        role: Role,
        pieces: &[Range<usize>],
        check: impl Fn(&[u8]) -> Result<()>,
        edit: impl FnOnce(&mut [u8]) -> Result<T>,
    ) -> Result<T> {
        self.handle.modify_pieces(number, role, pieces, check, edit)
    }

    /// Gives a newly allocated metadata block its content.
    pub(crate) fn create(&mut self, number: FsBlock, role: Role, bytes: Box<[u8]>) {
        self.handle.create(number, role, bytes);
    }

    /// The inode as it is.
    pub(crate) fn inode(&self, number: InodeNumber) -> Result<Arc<Inode>> {
        self.writer.store.inode(number)
    }

    /// Changes an inode whose lock is held; see [`Store::edit_inode`].
    pub(crate) fn edit_inode(
        &mut self,
        number: InodeNumber,
        edit: impl FnOnce(&mut InodeEdit<'_>) -> Result<()>,
    ) -> Result<Arc<Inode>> {
        self.writer.store.edit_inode(&mut self.handle, number, edit)
    }

    /// Takes a run of blocks; see [`Space::allocate`].
    pub(crate) fn allocate(&mut self, request: BlockRequest) -> Result<BlockRun> {
        let request = BlockRequest {
            may_use_reserve: request.may_use_reserve || self.may_use_reserve,
            ..request
        };
        let writer = self.writer;
        writer
            .space
            .allocate(&writer.store, &mut self.handle, &request)
    }

    /// Takes one metadata block near `goal`.
    pub(crate) fn allocate_metadata(&mut self, goal: FsBlock) -> Result<FsBlock> {
        let request = BlockRequest {
            goal,
            len_blocks: 1,
            purpose: crate::space::Purpose::Metadata,
            may_use_reserve: false,
        };
        self.allocate(request).map(|run| run.start)
    }

    /// Gives back blocks of content that was never journalled.
    pub(crate) fn free_data(&mut self, run: BlockRun) -> Result<()> {
        let writer = self.writer;
        writer.space.free(&writer.store, &mut self.handle, run)
    }

    /// Gives back a metadata block: what the log holds of it counts no more.
    pub(crate) fn free_metadata(&mut self, block: FsBlock) -> Result<()> {
        self.free_data(BlockRun {
            start: block,
            len_blocks: 1,
        })?;
        self.handle.forget(block);
        Ok(())
    }

    /// Takes exactly these blocks, also those this change has given back.
    pub(crate) fn take_again(&mut self, run: BlockRun) -> Result<()> {
        let writer = self.writer;
        let space = &writer.space;
        space.take_again(&writer.store, &mut self.handle, run)
    }

    /// Takes exactly this inode.
    pub(crate) fn take_inode(&mut self, number: InodeNumber, is_directory: bool) -> Result<()> {
        let writer = self.writer;
        let space = &writer.space;
        space.take_inode_number(&writer.store, &mut self.handle, number, is_directory)
    }

    /// Has an inode that is in use begin anew, as a directory or none.
    pub(crate) fn retake_inode(
        &mut self,
        number: InodeNumber,
        was_directory: bool,
        is_directory: bool,
    ) -> Result<()> {
        let writer = self.writer;
        let (store, handle) = (&writer.store, &mut self.handle);
        writer
            .space
            .retake_inode(store, handle, number, was_directory, is_directory)
    }

    /// Takes an inode; see [`Space::allocate_inode`].
    pub(crate) fn allocate_inode(&mut self, request: InodeRequest) -> Result<InodeNumber> {
        let writer = self.writer;
        writer
            .space
            .allocate_inode(&writer.store, &mut self.handle, request)
    }

    /// Gives an inode back.
    pub(crate) fn free_inode(&mut self, number: InodeNumber, is_directory: bool) -> Result<()> {
        let writer = self.writer;
        writer
            .space
            .free_inode(&writer.store, &mut self.handle, number, is_directory)
    }

    /// Has an inode finished after a crash; see [`Orphans`].
    pub(crate) fn add_orphan(&mut self, inode: InodeNumber) -> Result<()> {
        self.writer.orphans.add(self, inode)
    }

    /// The inode needs nothing after a crash any more.
    pub(crate) fn remove_orphan(&mut self, inode: InodeNumber) -> Result<()> {
        self.writer.orphans.remove(self, inode)
    }

    /// Makes the change part of the transaction.
    pub(crate) fn finish(self) -> TransactionId {
        self.handle.finish()
    }
}

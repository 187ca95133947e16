//! Opening a volume whose journal was not emptied, without writing: the log's
//! blocks are laid over the device, fast commits become patches.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use images::{BlockDevice, Overlay};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use crate::cache::BlockCache;
use crate::error::{Error, ErrorKind, Result};
use crate::format::extent::{Extent, RawExtent};
use crate::format::features::{CompatFeatures, IncompatFeatures};
use crate::format::inode::{self, BASE_BYTES, BLOCK_AREA, RawInode};
use crate::format::inode_flags::InodeFlags;
use crate::format::superblock::Superblock;
use crate::journal::{
    self, FastCommitName, FastCommitOp, JournalSuperblock, LogLocation, Replay, ReplayedBlock,
};
use crate::mapping;
use crate::patches::{PatchBuilder, Patches};
use crate::run::{ExtentState, MappedExtent};
use crate::store::Store;
use crate::types::{FileBlock, FileType, FsBlock, InodeNumber};
use crate::volume::open::{self, Opened};
use crate::volume::{OpenOptions, Recovery, RecoveryReport};

/// Makes the store of a volume, its journal replayed in memory if need be.
pub(super) fn recover(
    device: Arc<dyn BlockDevice>,
    opened: Opened,
    options: &OpenOptions,
) -> Result<(Store, RecoveryReport)> {
    let needs_recovery = opened.superblock.has_incompat(IncompatFeatures::RECOVER);
    let mut report = RecoveryReport {
        journal_was_dirty: needs_recovery,
        ..RecoveryReport::default()
    };
    let at = opened.offset_bytes;
    let store = store(Arc::clone(&device), opened, options);
    if !needs_recovery || options.recovery == Recovery::None {
        return Ok((store, report));
    }
    let replay = replay(&store).map_err(|error| {
        error.context("the journal cannot be replayed (norecovery shows the device as it lies)")
    })?;
    tracing::info!(
        "journal: {} transactions {:?}, {} blocks, {} revoked, {} fast commits",
        replay.transactions,
        replay.tids,
        replay.blocks.len(),
        replay.revoked_blocks,
        replay.fast_commit_count
    );
    report.transactions_replayed = replay.transactions;
    report.blocks_replayed = replay.blocks.len() as u64;
    report.fast_commits_replayed = replay.fast_commit_count;
    let device = lay_over(device, &store.superblock, &replay)?;
    // The superblock itself may be among the replayed blocks.
    let opened = open::read(&device, at)?;
    let store = self::store(Arc::clone(&device), opened, options);
    if replay.fast_commits.is_empty() {
        return Ok((store, report));
    }
    let store = apply_fast_commits(device, store, at, options, &replay.fast_commits)
        .map_err(|error| error.context("the journal's fast commits cannot be replayed"))?;
    Ok((store, report))
}

pub(super) fn store(device: Arc<dyn BlockDevice>, opened: Opened, options: &OpenOptions) -> Store {
    let block = opened.block();
    // Inodes are an eighth of the metadata a walk touches.
    let inode_cache_bytes = options.cache_bytes / 4;
    let block_cache_bytes = options.cache_bytes - inode_cache_bytes;
    let cache = BlockCache::new(device, opened.superblock.block_bytes, block_cache_bytes);
    Store::new(opened.superblock, block, cache, inode_cache_bytes)
}

/// Calls `read` with the place of the internal journal.
pub(super) fn with_log<T>(
    store: &Store,
    read: impl FnOnce(&LogLocation<'_>) -> Result<T>,
) -> Result<T> {
    let superblock = &store.superblock;
    let inode = store
        .inode(InodeNumber(superblock.journal_inode))
        .map_err(|error| error.context("journal inode"))?;
    if inode.file_type() != FileType::Regular {
        return Err(Error::corrupt(
            "journal inode",
            None,
            "a regular file",
            format_args!("mode {:#o}", inode.mode()),
        ));
    }
    let len_blocks = inode.size_bytes() / u64::from(superblock.block_bytes);
    let map = |block: u32| {
        let block = FileBlock(block.into());
        match mapping::map_some(store, &inode, block)?.state {
            ExtentState::Written(place) => Ok(place),
            state => Err(Error::corrupt(
                format!("block {block} of the journal"),
                None,
                "written data",
                format_args!("{state:?}"),
            )),
        }
    };
    read(&LogLocation {
        device: store.cache.device(),
        block_bytes: superblock.block_bytes,
        blocks_count: superblock.blocks_count,
        inode_bytes: superblock.inode_bytes.into(),
        map: &map,
        len_blocks: u32::try_from(len_blocks).unwrap_or(u32::MAX),
    })
}

/// The superblock of the internal journal, if there is one.
pub(super) fn journal_superblock(store: &Store) -> Result<Option<JournalSuperblock>> {
    let superblock = &store.superblock;
    if !superblock.has_compat(CompatFeatures::HAS_JOURNAL) || superblock.journal_inode == 0 {
        return Ok(None);
    }
    with_log(store, journal::read_superblock).map(Some)
}

pub(super) fn replay(store: &Store) -> Result<Replay> {
    if store.superblock.journal_inode == 0 {
        return Err(ErrorKind::Unsupported("recovery from an external journal".into()).into());
    }
    with_log(store, journal::recover)
}

/// Lays the replayed blocks over the device.
fn lay_over(
    device: Arc<dyn BlockDevice>,
    superblock: &Superblock,
    replay: &Replay,
) -> Result<Arc<dyn BlockDevice>> {
    if replay.blocks.is_empty() {
        return Ok(device);
    }
    let mut overlay = Overlay::new(device, superblock.block_bytes)?;
    for (target, content) in &replay.blocks {
        match content {
            ReplayedBlock::InLog(FsBlock(place)) => {
                let offset = place.saturating_mul(superblock.block_bytes.into());
                overlay.redirect(target.0, offset)?;
            }
            ReplayedBlock::Bytes(bytes) => overlay.put(target.0, bytes.clone())?,
        }
    }
    Ok(Arc::new(overlay))
}

/// Files that fast commits touch have at most this many extents together: what
/// is written in the 5 seconds between two full commits is far less, and a made-up
/// log could name the same large tree again and again.
const EXTENTS_COPIED_MAX: usize = 4 << 20;

/// What fast commits change, collected before it is laid over the device.
struct Changes<'a> {
    store: &'a Store,
    inodes: HashMap<InodeNumber, Vec<u8>>,
    patches: PatchBuilder,
    /// Extents taken over from the device so far.
    extents_copied: usize,
}

/// What fast commits make of a volume.
pub(super) struct FastCommits {
    /// Whole inodes, without a right checksum.
    pub(super) inodes: HashMap<InodeNumber, Vec<u8>>,
    pub(super) patches: Patches,
}

/// Follows the operations of fast commits, changing nothing.
pub(super) fn collect_fast_commits(
    store: &Store,
    operations: &[FastCommitOp],
) -> Result<FastCommits> {
    let mut changes = Changes {
        store,
        inodes: HashMap::new(),
        patches: PatchBuilder::default(),
        extents_copied: 0,
    };
    for operation in operations {
        changes.apply(operation)?;
    }
    Ok(FastCommits {
        inodes: changes.inodes,
        patches: changes.patches.finish(),
    })
}

fn apply_fast_commits(
    device: Arc<dyn BlockDevice>,
    store: Store,
    superblock_at: u64,
    options: &OpenOptions,
    operations: &[FastCommitOp],
) -> Result<Store> {
    let FastCommits { inodes, patches } = collect_fast_commits(&store, operations)?;
    let overlay = inode_overlay(device, &store, inodes)?;
    let device: Arc<dyn BlockDevice> = Arc::new(overlay);
    let opened = open::read(&device, superblock_at)?;
    let mut store = self::store(device, opened, options);
    store.patches = patches;
    Ok(store)
}

/// An overlay with the inode table blocks that hold changed inodes.
fn inode_overlay(
    device: Arc<dyn BlockDevice>,
    store: &Store,
    inodes: HashMap<InodeNumber, Vec<u8>>,
) -> Result<Overlay> {
    let block_bytes = store.superblock.block_bytes as usize;
    let mut blocks: HashMap<FsBlock, Box<[u8]>> = HashMap::new();
    for (number, mut raw) in inodes {
        inode::set_checksum(&store.superblock, number, &mut raw);
        let (block, offset) = store.inode_place(number)?;
        let bytes = match blocks.entry(block) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(free) => {
                let mut bytes = vec![0; block_bytes].into_boxed_slice();
                device.read_at(&mut bytes, block.0.saturating_mul(block_bytes as u64))?;
                free.insert(bytes)
            }
        };
        let place = bytes.get_mut(offset..offset + raw.len());
        if let Some(place) = place {
            place.copy_from_slice(&raw);
        }
    }
    let mut overlay = Overlay::new(device, store.superblock.block_bytes)?;
    for (block, bytes) in blocks {
        overlay.put(block.0, bytes)?;
    }
    Ok(overlay)
}

impl Changes<'_> {
    fn apply(&mut self, operation: &FastCommitOp) -> Result<()> {
        match operation {
            FastCommitOp::Inode { inode, raw } => self.replace_inode(*inode, raw),
            FastCommitOp::AddRange { inode, extent } => {
                let extent = RawExtent::read_from_bytes(extent)
                    .map_err(|_| Error::corrupt("fast-commit extent", None, "12 bytes", "less"))?
                    .typed();
                self.add_range(*inode, &extent)
            }
            FastCommitOp::DelRange {
                inode,
                first_block,
                len_blocks,
            } => {
                let first = u64::from(*first_block);
                self.unmap(*inode, first, first + u64::from(*len_blocks))
            }
            FastCommitOp::Create(name) => self.create(name),
            FastCommitOp::Link(name) => {
                self.patches.add_name(name.parent, &name.name, name.inode);
                self.set_links(name.inode, |links| links.saturating_add(1))
            }
            FastCommitOp::Unlink(name) => self.unlink(name),
        }
    }

    /// The inode's bytes with all changes so far.
    fn raw_inode(&self, number: InodeNumber) -> Result<Vec<u8>> {
        if let Some(raw) = self.inodes.get(&number) {
            return Ok(raw.clone());
        }
        let (block, offset) = self.store.inode_place(number)?;
        let superblock = &self.store.superblock;
        let mut raw = vec![0; usize::from(superblock.inode_bytes)];
        let at = block
            .0
            .saturating_mul(superblock.block_bytes.into())
            .saturating_add(offset as u64);
        self.store.cache.device().read_at(&mut raw, at)?;
        Ok(raw)
    }

    /// The log holds the whole inode, but its mapping is told by ranges: the
    /// mapping area counts only where it holds something else.
    fn replace_inode(&mut self, number: InodeNumber, logged: &[u8]) -> Result<()> {
        let mut raw = self.raw_inode(number)?;
        let old_area = raw.get(BLOCK_AREA).map(<[u8]>::to_vec);
        let len = logged.len().min(raw.len());
        if len < BASE_BYTES {
            return Err(Error::corrupt(
                "fast-commit inode",
                None,
                "128 or more bytes",
                len,
            ));
        }
        if let (Some(to), Some(from)) = (raw.get_mut(..len), logged.get(..len)) {
            to.copy_from_slice(from);
        }
        let Ok((inode, _)) = RawInode::mut_from_prefix(&mut raw) else {
            return Ok(());
        };
        let flags = InodeFlags::from_bits_retain(inode.i_flags.get());
        let is_mapped = matches!(
            FileType::from_mode(inode.i_mode.get()),
            Some(FileType::Regular | FileType::Directory)
        );
        let keeps_old_map = flags.contains(InodeFlags::EXTENTS)
            || is_mapped && !flags.contains(InodeFlags::INLINE_DATA);
        if keeps_old_map && let Some(old) = old_area {
            inode.i_block.copy_from_slice(&old);
            if flags.contains(InodeFlags::EXTENTS) {
                ensure_root(&mut inode.i_block);
            }
        }
        self.inodes.insert(number, raw);
        Ok(())
    }

    /// Who loses the last name loses the content too: the number may be used
    /// again in the same log, and must not bring the old blocks with it.
    fn unlink(&mut self, name: &FastCommitName) -> Result<()> {
        self.patches.remove_name(name.parent, &name.name);
        let raw = self.raw_inode(name.inode)?;
        let is_directory = RawInode::ref_from_prefix(&raw).is_ok_and(|(inode, _)| {
            FileType::from_mode(inode.i_mode.get()) == Some(FileType::Directory)
        });
        // A directory has one name, and its own "." goes with it.
        self.set_links(name.inode, |links| match is_directory {
            true => 0,
            false => links.saturating_sub(1),
        })?;
        let raw = self.raw_inode(name.inode)?;
        let is_gone =
            RawInode::ref_from_prefix(&raw).is_ok_and(|(inode, _)| inode.i_links_count.get() == 0);
        if is_gone {
            self.patches.set_extents(name.inode, Vec::new());
        }
        Ok(())
    }

    fn set_links(&mut self, number: InodeNumber, change: impl Fn(u16) -> u16) -> Result<()> {
        let mut raw = self.raw_inode(number)?;
        if let Ok((inode, _)) = RawInode::mut_from_prefix(&mut raw) {
            let links = change(inode.i_links_count.get());
            inode.i_links_count.set(links);
        }
        self.inodes.insert(number, raw);
        Ok(())
    }

    /// A new directory's first block is not in the log: it holds just "." and "..".
    fn create(&mut self, name: &FastCommitName) -> Result<()> {
        let raw = self.raw_inode(name.inode)?;
        let mode = RawInode::ref_from_prefix(&raw).map_or(0, |(inode, _)| inode.i_mode.get());
        if FileType::from_mode(mode) == Some(FileType::Directory) {
            self.patches.new_directory(name.inode, name.parent);
        }
        self.patches.add_name(name.parent, &name.name, name.inode);
        Ok(())
    }

    fn add_range(&mut self, number: InodeNumber, extent: &Extent) -> Result<()> {
        let superblock = &self.store.superblock;
        if extent.len_blocks == 0 || !superblock.contains_run(extent.start, extent.len_blocks) {
            return Err(Error::corrupt(
                format!("fast-commit extent of inode {number}"),
                None,
                format_args!("blocks below {}", superblock.blocks_count),
                format_args!("{} blocks at block {}", extent.len_blocks, extent.start),
            ));
        }
        self.unmap(number, extent.file_block.0, extent.end())?;
        self.patches.insert(number, mapping::extent_run(extent));
        Ok(())
    }

    /// Makes `start .. end` of a file a hole.
    fn unmap(&mut self, number: InodeNumber, start: u64, end: u64) -> Result<()> {
        if !self.patches.has_extents(number) {
            let extents = self.extents_on_device(number)?;
            self.patches.set_extents(number, extents);
        }
        self.patches.unmap(number, FileBlock(start), FileBlock(end));
        Ok(())
    }

    /// All extents of a file as the blocks on the device have them. An inode
    /// that was free when the last transaction ended has none.
    fn extents_on_device(&mut self, number: InodeNumber) -> Result<Vec<MappedExtent>> {
        let inode = match self.store.inode(number) {
            Ok(inode) => inode,
            Err(error) if matches!(error.kind(), ErrorKind::Stale) || error.is_corruption() => {
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        };
        let mut extents = Vec::new();
        let mut at = FileBlock(0);
        while at.0 < mapping::FILE_BLOCKS_MAX {
            let run = match mapping::map_some(self.store, &inode, at) {
                Ok(run) => run,
                Err(error) if matches!(error.kind(), ErrorKind::InvalidInput(_)) => break,
                Err(error) => return Err(error),
            };
            at = run.end();
            if run.state != ExtentState::Hole {
                extents.push(run);
                self.extents_copied += 1;
            }
            if self.extents_copied > EXTENTS_COPIED_MAX {
                let what =
                    format!("fast commits on files of more than {EXTENTS_COPIED_MAX} extents");
                return Err(ErrorKind::Unsupported(what).into());
            }
        }
        Ok(extents)
    }
}

/// Gives an inode that had no extent tree an empty one.
fn ensure_root(area: &mut [u8; 60]) {
    use crate::format::extent::RawHeader;
    let room = ((area.len() / size_of::<RawExtent>()) - 1) as u16;
    let Ok((header, _)) = RawHeader::mut_from_prefix(area.as_mut_slice()) else {
        return;
    };
    if header.eh_magic.get() != crate::format::extent::MAGIC {
        header.zero();
        header.eh_magic.set(crate::format::extent::MAGIC);
        header.eh_max.set(room);
        debug_assert_eq!(header.as_bytes().len(), size_of::<RawExtent>());
    }
}

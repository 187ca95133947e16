//! Fast commits written back: what the end of a log says beyond its blocks becomes ordinary
//! changes of the volume, all of them in its first transaction.
//!
//! That transaction has the number at which the log's complete ones end. Until it is
//! durable the fast commits still count, and a crash has them followed again; after that
//! their number is a past one, and they do not.

use std::collections::HashMap;

use crate::change::{Change, Writer};
use crate::directory;
use crate::error::{ErrorKind, Result};
use crate::format::inode::{BLOCK_AREA, Inode, RawInode};
use crate::format::inode_flags::InodeFlags;
use crate::journal::FastCommitOp;
use crate::mapping::{self, Progress};
use crate::patches::{NamePatch, Patches};
use crate::run::{ExtentState, MappedExtent};
use crate::space::BlockRun;
use crate::types::{FileBlock, FileType, InodeNumber};
use crate::volume::recovery::{self, FastCommits};
use crate::xattr;
use zerocopy::FromBytes;

/// Blocks one transaction may change here: it is alone, and the log is empty.
const CREDITS: usize = 1 << 20;

/// Does what the operations say. The volume is otherwise idle, and its log empty.
///
/// # Errors
/// `Corrupt` if they contradict the volume, `NoSpace`; then nothing has changed.
pub(super) fn write_back(writer: &Writer, operations: &[FastCommitOp]) -> Result<()> {
    let FastCommits { inodes, patches } =
        recovery::collect_fast_commits(&writer.store, operations)?;
    let mut change = writer.begin_alone(CREDITS)?;
    let mut work = WriteBack {
        change: &mut change,
        inodes: &inodes,
        patches: &patches,
        removed_directories: HashMap::new(),
        old_types: HashMap::new(),
    };
    work.unmap_old()?;
    work.write_inodes()?;
    work.map_new()?;
    work.remove_names()?;
    work.add_names()?;
    work.count_subdirectories()?;
    work.settle_inodes()?;
    change.finish();
    writer.sync()?;
    writer.transactions.end_fast_commits(&writer.store.cache)
}

struct WriteBack<'c, 'v> {
    change: &'c mut Change<'v>,
    inodes: &'c HashMap<InodeNumber, Vec<u8>>,
    patches: &'c Patches,
    /// How many subdirectories a directory has lost.
    removed_directories: HashMap<InodeNumber, u32>,
    /// What the inodes of the log were before: a number may have been used again.
    old_types: HashMap<InodeNumber, FileType>,
}

/// In the order of their numbers, so that results repeat.
fn sorted<T>(items: impl Iterator<Item = (InodeNumber, T)>) -> Vec<(InodeNumber, T)> {
    let mut items: Vec<(InodeNumber, T)> = items.collect();
    items.sort_by_key(|(number, _)| *number);
    items
}

impl WriteBack<'_, '_> {
    /// The inode as it lies on the device, if it is in use there.
    fn on_device(&self, number: InodeNumber) -> Result<Option<std::sync::Arc<Inode>>> {
        match self.change.inode(number) {
            Ok(inode) if inode.links() > 0 => Ok(Some(inode)),
            Ok(_) => Ok(None),
            Err(error) if matches!(error.kind(), ErrorKind::Stale) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Takes away what the old maps have and the new ones have not.
    fn unmap_old(&mut self) -> Result<()> {
        for (number, new) in sorted(self.patches.mapped()) {
            let Some(inode) = self.on_device(number)? else {
                continue;
            };
            for run in self.runs_of(&inode)? {
                for piece in without(&run, new) {
                    self.unmap(number, piece)?;
                }
            }
        }
        Ok(())
    }

    fn unmap(&mut self, number: InodeNumber, piece: MappedExtent) -> Result<()> {
        let mut end = piece.end();
        while let Progress::Until(left) =
            mapping::remove(self.change, number, piece.file_block..end)?
        {
            if left >= end {
                return Err(ErrorKind::NoSpace.into());
            }
            end = left;
        }
        Ok(())
    }

    fn runs_of(&self, inode: &Inode) -> Result<Vec<MappedExtent>> {
        let mut runs = Vec::new();
        let mut at = FileBlock(0);
        while at.0 < mapping::FILE_BLOCKS_MAX {
            let run = match mapping::map_some(self.change.store(), inode, at) {
                Ok(run) => run,
                Err(error) if matches!(error.kind(), ErrorKind::InvalidInput(_)) => break,
                Err(error) => return Err(error),
            };
            at = run.end();
            if run.state != ExtentState::Hole {
                runs.push(run);
            }
        }
        Ok(runs)
    }

    /// Writes the logged inodes, but for their maps, which follow.
    fn write_inodes(&mut self) -> Result<()> {
        for (number, logged) in sorted(self.inodes.iter().map(|(n, raw)| (*n, raw))) {
            let old = self.on_device(number)?;
            if let Some(old) = &old {
                self.old_types.insert(number, old.file_type());
            }
            let Ok((raw, _)) = RawInode::read_from_prefix(logged) else {
                continue;
            };
            if old.is_none() {
                if raw.i_links_count.get() == 0 {
                    continue; // Came and went within the log.
                }
                let is_directory =
                    FileType::from_mode(raw.i_mode.get()) == Some(FileType::Directory);
                self.change.take_inode(number, is_directory)?;
            }
            let old_blocks_512 = old.as_ref().map_or(0, |old| old.blocks_512());
            let old_area = old.as_ref().map(|old| *old.block_area());
            let is_mapped = self.patches.extents(number).is_some();
            if let Some(old) = &old {
                self.check_reuse(old, &raw)?;
            }
            self.change.edit_inode(number, |edit| {
                let bytes = edit.bytes_mut();
                let len = bytes.len().min(logged.len());
                if let (Some(to), Some(from)) = (bytes.get_mut(..len), logged.get(..len)) {
                    to.copy_from_slice(from);
                }
                if is_mapped {
                    if let (Some(area), Some(old)) = (bytes.get_mut(BLOCK_AREA), old_area) {
                        area.copy_from_slice(&old);
                    }
                    edit.set_blocks_512(old_blocks_512)?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// A number that was used again within the log must not bring what belonged to the old
    /// inode.
    fn check_reuse(&mut self, old: &Inode, new: &RawInode) -> Result<()> {
        if old.generation() == new.i_generation.get() {
            return Ok(());
        }
        xattr::remove_all(self.change, old.number())?;
        let was_directory = old.file_type() == FileType::Directory;
        let is_directory = FileType::from_mode(new.i_mode.get()) == Some(FileType::Directory);
        if was_directory != is_directory {
            self.change
                .retake_inode(old.number(), was_directory, is_directory)?;
        }
        Ok(())
    }

    /// Maps what the new maps have and the old ones had not. The block of a new directory
    /// is not among it: it gets a fresh one with its names.
    fn map_new(&mut self) -> Result<()> {
        for (number, new) in sorted(self.patches.mapped()) {
            let is_new_directory = self.patches.names(number).is_some_and(|patch| patch.is_new);
            let Some(inode) = self.on_device(number)? else {
                continue;
            };
            if is_new_directory {
                continue;
            }
            let old = self.runs_of(&inode)?;
            for run in new {
                for piece in without(run, &old) {
                    let (ExtentState::Written(start) | ExtentState::Unwritten(start)) = piece.state
                    else {
                        continue;
                    };
                    self.change.take_again(BlockRun {
                        start,
                        len_blocks: piece.len_blocks,
                    })?;
                    mapping::insert(self.change, number, piece)?;
                }
            }
        }
        Ok(())
    }

    fn remove_names(&mut self) -> Result<()> {
        for (directory, patch) in sorted(self.patches.named()) {
            if patch.is_new || self.on_device(directory)?.is_none() {
                continue;
            }
            let mut hidden: Vec<&Vec<u8>> = patch.hidden.iter().collect();
            hidden.sort_unstable();
            for name in hidden {
                match directory::remove(self.change, directory, name) {
                    Ok(target) => self.note_removed(directory, target),
                    Err(error) if matches!(error.kind(), ErrorKind::NotFound) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    fn note_removed(&mut self, directory: InodeNumber, target: InodeNumber) {
        let is_now = || {
            self.change
                .inode(target)
                .ok()
                .map(|inode| inode.file_type())
        };
        let was = self.old_types.get(&target).copied().or_else(is_now);
        if was == Some(FileType::Directory) {
            *self.removed_directories.entry(directory).or_insert(0) += 1;
        }
    }

    /// The log holds no inode of a directory because of what came or went in it: its links
    /// are counted anew. (Linux's replay leaves that to e2fsck.)
    fn count_subdirectories(&mut self) -> Result<()> {
        for (directory, patch) in sorted(self.patches.named()) {
            let Some(inode) = self.on_device(directory)? else {
                continue;
            };
            let mut links = if patch.is_new { 2 } else { inode.links() };
            if links < 2 {
                continue; // More than can be counted.
            }
            for (name, target) in &patch.added {
                let is_own = matches!(name.as_slice(), b"." | b"..");
                let target = if is_own {
                    None
                } else {
                    self.on_device(*target)?
                };
                let is_directory =
                    target.is_some_and(|target| target.file_type() == FileType::Directory);
                links = links.saturating_add(is_directory.into());
            }
            let removed = self.removed_directories.get(&directory);
            let links = links.saturating_sub(removed.copied().unwrap_or(0)).max(2);
            if links != inode.links() {
                let links = u16::try_from(links).unwrap_or(1);
                self.change
                    .edit_inode(directory, |edit| edit.set_links(links))?;
            }
        }
        Ok(())
    }

    fn add_names(&mut self) -> Result<()> {
        for (directory, patch) in sorted(self.patches.named()) {
            if self.on_device(directory)?.is_none() {
                continue;
            }
            if patch.is_new {
                self.begin_directory(directory, patch)?;
            }
            for (name, target) in &patch.added {
                if matches!(name.as_slice(), b"." | b"..") {
                    continue;
                }
                let Some(inode) = self.on_device(*target)? else {
                    continue;
                };
                directory::add(self.change, directory, name, *target, inode.file_type())?;
            }
        }
        Ok(())
    }

    /// Gives a new directory its first names; its map in the log is given up.
    fn begin_directory(&mut self, directory: InodeNumber, patch: &NamePatch) -> Result<()> {
        let parent = patch.find(b"..").unwrap_or(InodeNumber::ROOT);
        let superblock = &self.change.store().superblock;
        let flags = self.change.inode(directory)?.flags();
        let flags = flags.difference(InodeFlags::INDEX);
        let map = mapping::empty_map(superblock, flags);
        self.change.edit_inode(directory, |edit| {
            edit.set_size(0)?;
            edit.set_blocks_512(0)?;
            edit.set_flags(flags)?;
            *edit.block_area_mut()? = map;
            Ok(())
        })?;
        directory::initialise(self.change, directory, parent)
    }

    /// Who has no name left ends like any other orphan.
    fn settle_inodes(&mut self) -> Result<()> {
        for (number, logged) in sorted(self.inodes.iter().map(|(n, raw)| (*n, raw))) {
            let links =
                RawInode::ref_from_prefix(logged).map_or(1, |(raw, _)| raw.i_links_count.get());
            let is_used = self.change.inode(number).is_ok();
            if links == 0 && is_used {
                self.change.add_orphan(number)?;
            }
        }
        Ok(())
    }
}

/// The pieces of `run` that none of `others` (sorted) has at the same place in the same
/// state.
fn without(run: &MappedExtent, others: &[MappedExtent]) -> Vec<MappedExtent> {
    let mut pieces = Vec::new();
    let mut at = run.file_block;
    for other in others {
        if other.end() <= at {
            continue;
        }
        if other.file_block >= run.end() {
            break;
        }
        let start = at.max(other.file_block);
        let same = run.starting_at(start).state == other.starting_at(start).state;
        if !same {
            continue;
        }
        if start > at {
            let mut piece = run.starting_at(at);
            piece.len_blocks = start.0 - at.0;
            pieces.push(piece);
        }
        at = other.end().min(run.end());
    }
    if at < run.end() {
        pieces.push(run.starting_at(at));
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::FsBlock;

    fn run(file_block: u64, len_blocks: u64, start: u64) -> MappedExtent {
        MappedExtent {
            file_block: FileBlock(file_block),
            len_blocks,
            state: ExtentState::Written(FsBlock(start)),
        }
    }

    #[test]
    fn what_both_have_is_left_alone() {
        let whole = run(10, 10, 100);
        assert_eq!(without(&whole, &[]), [whole]);
        assert_eq!(without(&whole, &[run(0, 40, 90)]), []);
        assert_eq!(
            without(&whole, &[run(12, 3, 102)]),
            [run(10, 2, 100), run(15, 5, 105)]
        );
        assert_eq!(without(&whole, &[run(12, 3, 500)]), [whole]);
        assert_eq!(
            without(&whole, &[run(0, 11, 90), run(19, 1, 109)]),
            [run(11, 8, 101)]
        );
    }
}

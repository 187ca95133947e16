//! The end of an inode: its last name is gone and nobody holds it.

use super::WritableVolume;
use crate::change::{Change, Writer};
use crate::error::Result;
use crate::file;
use crate::format::inode::Inode;
use crate::mapping::{self, Progress};
use crate::types::{FileBlock, FileType, InodeNumber};
use crate::xattr;

/// What is left to do for an inode after a name was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Removal {
    /// Nothing: it has names left, is held, or has ended already.
    Nothing,
    /// It is an orphan that nobody holds: it must be ended.
    Orphan,
}

/// Credits that suffice to remove the map of an ordinary file within the change that
/// removes its name.
const CREDITS_TO_END_AT_ONCE: usize = 24;

impl WritableVolume {
    /// Counts one name less; ends the inode at once if that was the last and it is small.
    pub(super) fn drop_name(&self, change: &mut Change<'_>, target: &Inode) -> Result<Removal> {
        let links = u16::try_from(target.links().saturating_sub(1)).unwrap_or(u16::MAX);
        if links == 0 {
            return self.drop_last(change, target);
        }
        set_links(change, target.number(), links)?;
        Ok(Removal::Nothing)
    }

    /// The same for an empty directory, whose own "." counts as a name.
    pub(super) fn drop_directory(
        &self,
        change: &mut Change<'_>,
        target: &Inode,
    ) -> Result<Removal> {
        self.drop_last(change, target)
    }

    fn drop_last(&self, change: &mut Change<'_>, target: &Inode) -> Result<Removal> {
        let number = target.number();
        if self.shared.retained.is_held(number) {
            set_links(change, number, 0)?;
            change.add_orphan(number)?;
            return Ok(Removal::Nothing);
        }
        if change.handle.credits_left() >= CREDITS_TO_END_AT_ONCE
            && is_small(change, target)
            && end(change, number)? == Progress::Done
        {
            self.writer().space.end_reservation(number);
            return Ok(Removal::Nothing);
        }
        set_links(change, number, 0)?;
        change.add_orphan(number)?;
        Ok(Removal::Orphan)
    }

    /// Does what [`Removal`] says; the inode's lock is held.
    pub(super) fn finish_removal(&self, number: InodeNumber, removal: Removal) -> Result<()> {
        match removal {
            Removal::Nothing => Ok(()),
            Removal::Orphan => {
                self.writer().space.end_reservation(number);
                delete(self.writer(), number)
            }
        }
    }
}

fn set_links(change: &mut Change<'_>, number: InodeNumber, links: u16) -> Result<()> {
    let now = change.now;
    change.edit_inode(number, |edit| {
        edit.set_links(links)?;
        edit.set_changed(now)
    })?;
    Ok(())
}

/// Whether all of an inode's content goes in one step: its blocks lie in few groups.
fn is_small(change: &Change<'_>, target: &Inode) -> bool {
    let group_bytes = u64::from(change.store().superblock.blocks_per_group)
        .saturating_mul(change.store().superblock.block_bytes.into());
    target.blocks_512().saturating_mul(512) <= group_bytes
}

/// Ends an orphan without names in as many changes as it takes.
pub(super) fn delete(writer: &Writer, number: InodeNumber) -> Result<()> {
    let inode = writer.store.inode(number)?;
    if has_map(writer, &inode) {
        let mut change = writer.begin(16)?;
        change.edit_inode(number, |edit| edit.set_size(0))?;
        change.finish();
        file::truncate_to_size(writer, number)?;
    }
    let credits = xattr::credits(&writer.store) + CREDITS_TO_END_AT_ONCE;
    let mut change = writer.begin(credits)?;
    // Nobody knows it any more.
    change.announces_mappings = false;
    change.remove_orphan(number)?;
    end(&mut change, number)?;
    change.finish();
    Ok(())
}

fn has_map(writer: &Writer, inode: &Inode) -> bool {
    let is_mapped = matches!(
        inode.file_type(),
        FileType::Regular | FileType::Directory | FileType::Symlink
    );
    is_mapped && !inode.has_inline_data() && !inode.is_fast_symlink(&writer.store.superblock)
}

/// Removes content and attributes and gives the inode back, all in this change.
/// `Until` if the content is too much for it: then some of it is left.
fn end(change: &mut Change<'_>, number: InodeNumber) -> Result<Progress> {
    let inode = change.inode(number)?;
    if has_map(change.writer, &inode) {
        let all = FileBlock(0)..FileBlock(mapping::FILE_BLOCKS_MAX);
        if let until @ Progress::Until(_) = mapping::remove(change, number, all)? {
            return Ok(until);
        }
    }
    xattr::remove_all(change, number)?;
    let now = change.now;
    let deleted_at = u32::try_from(change.now.seconds & 0xFFFF_FFFF)
        .unwrap_or(1)
        .max(1);
    change.edit_inode(number, |edit| {
        edit.set_size(0)?;
        edit.set_links(0)?;
        edit.set_changed(now)?;
        edit.set_deleted_at(deleted_at)
    })?;
    change.free_inode(number, inode.file_type() == FileType::Directory)?;
    change.store().forget_inode(number);
    Ok(Progress::Done)
}

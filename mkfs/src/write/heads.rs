//! Copies of the superblock and the descriptors.

use fs_core::encode::RawSuperblock;
use fs_core::{FsBlock, GroupNumber, Superblock};

use super::writer::Writer;
use crate::error::Result;
use crate::layout::{Head, group_numbers, group_run};
use crate::plan::{Plan, offset_bytes};

/// Where the primary superblock lies, whatever the block size.
pub(super) const PRIMARY_OFFSET_BYTES: u64 = 1024;
/// `s_state` without the mark of a clean file system: no backup is taken for one.
const STATE_OF_BACKUPS: u16 = 0;

/// What all copies are made from: one buffer that is written once a group.
pub(super) struct Heads {
    superblock: RawSuperblock,
    /// A block of zeros, then all descriptors.
    bytes: Vec<u8>,
    block_len: usize,
}

impl Heads {
    /// `bytes` are a block of zeros, then the descriptors of all groups.
    pub(super) fn new(plan: &Plan<'_>, superblock: RawSuperblock, bytes: Vec<u8>) -> Self {
        Self {
            superblock,
            bytes,
            block_len: usize::try_from(plan.superblock.block_bytes).unwrap_or(0),
        }
    }

    /// Writes what a group starts with, but zeros in place of a backup's superblock:
    /// with its descriptors they are one write, and whatever backup lay there is gone.
    /// Of the first group only the descriptors.
    pub(super) fn put(
        &self,
        plan: &Plan<'_>,
        group: GroupNumber,
        writer: &mut Writer<'_>,
    ) -> Result<()> {
        let head = Head::of(plan.superblock, group);
        let block = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        // The descriptors begin behind the block of zeros.
        let start = (block(head.descriptors.start) + 1) * self.block_len;
        let end = (block(head.descriptors.end) + 1) * self.block_len;
        let offset = |at: u64| offset_bytes(plan.superblock, FsBlock(at));
        let is_backup = head.has_superblock && group.0 != 0;
        if is_backup && head.descriptors.start == 0 && !head.descriptors.is_empty() {
            let whole = self.bytes.get(..end).unwrap_or(&[]);
            return writer.put(offset(head.start), whole);
        }
        if is_backup {
            let zeros = self.bytes.get(..self.block_len).unwrap_or(&[]);
            writer.put(offset(head.start), zeros)?;
        }
        let descriptors = self.bytes.get(start..end).unwrap_or(&[]);
        writer.put(offset(head.descriptors_start()), descriptors)
    }

    /// Writes all backups of the superblock, each of which is enough to find the file
    /// system: everything else must be durable.
    pub(super) fn put_backups(&self, plan: &Plan<'_>, writer: &mut Writer<'_>) -> Result<()> {
        let mut block = vec![0; self.block_len];
        for (group, start) in backups(plan.superblock) {
            let backup = self.backup(group);
            for (to, from) in block.iter_mut().zip(backup.bytes()) {
                *to = *from;
            }
            writer.put(offset_bytes(plan.superblock, start), &block)?;
        }
        Ok(())
    }

    /// The primary superblock, which makes a file system of it all.
    pub(super) fn primary(&self) -> &RawSuperblock {
        &self.superblock
    }

    fn backup(&self, group: GroupNumber) -> RawSuperblock {
        let mut backup = self.superblock.clone();
        // 16 bits; later groups all say the highest number.
        backup.s_block_group_nr = u16::try_from(group.0).unwrap_or(u16::MAX).into();
        backup.s_state = STATE_OF_BACKUPS.into();
        backup.seal();
        backup
    }
}

/// The groups with a backup of the superblock, and the block where it lies.
pub(super) fn backups(superblock: &Superblock) -> impl Iterator<Item = (GroupNumber, FsBlock)> {
    group_numbers(superblock)
        .filter(|group| group.0 != 0 && superblock.group_has_super(*group))
        .map(|group| (group, group_run(superblock, group).start))
}

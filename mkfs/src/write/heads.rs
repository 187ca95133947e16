//! Copies of the superblock and the descriptors.

use fs_core::encode::RawSuperblock;
use fs_core::{FsBlock, GroupNumber};

use super::writer::Writer;
use crate::error::Result;
use crate::layout::Head;
use crate::plan::{Plan, offset_bytes};

/// Where the primary superblock lies, whatever the block size.
pub(super) const PRIMARY_OFFSET_BYTES: u64 = 1024;
/// `s_state` without the mark of a clean file system: no backup is taken for one.
const STATE_OF_BACKUPS: u16 = 0;

/// What all copies are made from: one buffer that is written once a group.
pub(super) struct Heads {
    superblock: RawSuperblock,
    /// A block for the superblock, then all descriptors.
    bytes: Vec<u8>,
    block_len: usize,
}

impl Heads {
    pub(super) fn new(plan: &Plan<'_>, superblock: RawSuperblock, descriptors: &[u8]) -> Self {
        let block_len = usize::try_from(plan.superblock.block_bytes).unwrap_or(0);
        let mut bytes = Vec::with_capacity(block_len + descriptors.len());
        bytes.resize(block_len, 0);
        bytes.extend_from_slice(descriptors);
        Self {
            superblock,
            bytes,
            block_len,
        }
    }

    /// Writes what a group starts with; of the first group only the descriptors.
    pub(super) fn put(
        &mut self,
        plan: &Plan<'_>,
        group: GroupNumber,
        writer: &mut Writer<'_>,
    ) -> Result<()> {
        let head = Head::of(plan.superblock, group);
        let is_backup = head.has_superblock && group.0 != 0;
        if is_backup {
            self.set_backup(group);
        }
        let block = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        // The descriptors begin behind the superblock's block.
        let start = (block(head.descriptors.start) + 1) * self.block_len;
        let end = (block(head.descriptors.end) + 1) * self.block_len;
        let offset = |at: u64| offset_bytes(plan.superblock, FsBlock(at));
        if is_backup && (head.descriptors.start == 0 || head.descriptors.is_empty()) {
            let end = if head.descriptors.is_empty() {
                self.block_len
            } else {
                end
            };
            let whole = self.bytes.get(..end).unwrap_or(&[]);
            return writer.put(offset(head.start), whole);
        }
        if is_backup {
            let superblock = self.bytes.get(..self.block_len).unwrap_or(&[]);
            writer.put(offset(head.start), superblock)?;
        }
        let descriptors = self.bytes.get(start..end).unwrap_or(&[]);
        writer.put(offset(head.descriptors_start()), descriptors)
    }

    /// The primary superblock, which makes a file system of it all.
    pub(super) fn primary(&self) -> &RawSuperblock {
        &self.superblock
    }

    fn set_backup(&mut self, group: GroupNumber) {
        let mut backup = self.superblock.clone();
        // 16 bits; later groups all say the highest number.
        backup.s_block_group_nr = u16::try_from(group.0).unwrap_or(u16::MAX).into();
        backup.s_state = STATE_OF_BACKUPS.into();
        backup.seal();
        for (to, from) in self.bytes.iter_mut().zip(backup.bytes()) {
            *to = *from;
        }
    }
}

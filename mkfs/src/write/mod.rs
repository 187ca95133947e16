//! Brings a plan to a device.
//!
//! ```text
//!  1  destroy old signatures                     flush
//!     discard, destroy what reappeared           flush
//!  2  descriptors, bitmaps, zeroed tables, special files: rising
//!  3  inodes in use; directories and content     flush
//!  4  the backups of the superblock              flush
//!  5  the primary superblock                     flush
//! ```
//!
//! Whatever interrupts it, there is no valid superblock, neither the primary nor a
//! backup that repair would find, before everything that it describes is durable.
//! Where the device is known to read as zeros, zeros are not written.

mod heads;
mod inode_tables;
mod signatures;
mod writer;

use fs_core::{FsBlock, GroupNumber};
use images::BlockDevice;

use self::heads::{Heads, PRIMARY_OFFSET_BYTES};
use self::writer::Writer;
use crate::error::{Error, Result};
use crate::groups::has_group_checksums;
use crate::layout::group_run;
use crate::plan::{Plan, offset_bytes};
use crate::progress::{Progress, Stage};
use crate::report::Report;
use crate::superblock::compose;

/// Something that is written at a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Item {
    Head(GroupNumber),
    ReservedDescriptor,
    BlockBitmap(GroupNumber),
    /// With so many inodes in use.
    InodeBitmap(u32),
    /// Unused inodes of a group, this many blocks.
    UnusedInodes(u64),
    /// A block of `Special::blocks`, by its index.
    Special(usize),
    /// Empty blocks of the journal.
    JournalLog(u64),
}

impl Plan<'_> {
    /// Makes the file system on `device`, whose old content is lost.
    ///
    /// # Errors
    /// `Size` if the device is smaller than the file system, `Device` if it fails,
    /// and what reading the tree's content can fail with. The device then holds no
    /// valid file system.
    pub fn write(&self, device: &dyn BlockDevice, progress: &dyn Progress) -> Result<Report> {
        let len = offset_bytes(self.superblock, FsBlock(self.superblock.blocks_count));
        if len > device.size_bytes() {
            return Err(Error::Size(format!(
                "the device has {} bytes, the file system {len}",
                device.size_bytes()
            )));
        }
        let writing = &self.request.writing;
        let is_known_zero = || writing.prezeroed || device.is_hole(0, len);
        let mut zeros_are_there = is_known_zero();
        let mut writer = Writer::new(device, zeros_are_there);
        signatures::destroy(device, self.superblock)?;
        if writing.discard && !zeros_are_there {
            signatures::discard(device, len, progress);
            zeros_are_there = is_known_zero();
            writer.zeros_are_there = zeros_are_there;
            // What was discarded may read as anything.
            signatures::destroy(device, self.superblock)?;
        }
        // Without checksums the kernel takes no part: all is zeroed, but, as mke2fs
        // has it, only marked so if it was asked for.
        let tables_are_zero = zeros_are_there || !writing.lazy_itable_init;
        let is_lazy = writing.lazy_itable_init && has_group_checksums(self.superblock);
        let zeroes_tables = !zeros_are_there && !is_lazy;
        let superblock = compose(self.request, &self.counts());
        let heads = Heads::new(self, superblock, self.descriptors(tables_are_zero)?);
        self.put_items(&mut writer, &heads, zeroes_tables, progress)?;
        inode_tables::put(self, &mut writer)?;
        writer.finish()?;
        let content_bytes = self.population.write_blocks(device, writing, progress)?;
        device.flush()?;
        heads.put_backups(self, &mut writer)?;
        writer.finish()?;
        device.flush()?;
        let primary = heads.primary().bytes();
        device.write_at(primary, PRIMARY_OFFSET_BYTES)?;
        device.flush()?;
        Ok(self.report(writer.bytes_written() + content_bytes + primary.len() as u64))
    }

    /// Writes everything but inodes in use and what they map, in rising order.
    fn put_items(
        &self,
        writer: &mut Writer<'_>,
        heads: &Heads,
        zeroes_tables: bool,
        progress: &dyn Progress,
    ) -> Result<()> {
        let mut items = self.items(zeroes_tables, !writer.zeros_are_there);
        items.sort_unstable_by_key(|(block, _)| *block);
        progress.begin(Stage::Tables, items.len() as u64);
        let block_len = usize::try_from(self.superblock.block_bytes).unwrap_or(0);
        let mut buffer = vec![0; block_len];
        for (block, item) in items {
            let offset = offset_bytes(self.superblock, block);
            match item {
                Item::Head(group) => heads.put(self, group, writer)?,
                Item::ReservedDescriptor => {
                    self.reserved_descriptor(block, &mut buffer);
                    writer.put(offset, &buffer)?;
                }
                Item::BlockBitmap(group) => {
                    self.block_bitmap(group, &mut buffer);
                    writer.put(offset, &buffer)?;
                }
                Item::InodeBitmap(used_inodes) => {
                    self.inode_bitmap(used_inodes, &mut buffer);
                    writer.put(offset, &buffer)?;
                }
                Item::UnusedInodes(len_blocks) | Item::JournalLog(len_blocks) => {
                    let len = offset_bytes(self.superblock, FsBlock(len_blocks));
                    writer.put_zeros(offset, len)?;
                }
                Item::Special(index) => {
                    if let Some((_, bytes)) = self.special.blocks.get(index) {
                        writer.put(offset, bytes)?;
                    }
                }
            }
            progress.advance(1);
        }
        Ok(())
    }

    /// What there is to write, in no order.
    fn items(&self, zeroes_tables: bool, zeroes_are_missing: bool) -> Vec<(FsBlock, Item)> {
        let mut items = Vec::new();
        let groups = self.layout.groups().zip(self.layout.head_blocks());
        for (((group, tables), head_blocks), state) in groups.zip(&self.states) {
            if head_blocks > 0 {
                let start = group_run(self.superblock, group).start;
                items.push((start, Item::Head(group)));
            }
            if !state.block_uninit {
                items.push((tables.block_bitmap, Item::BlockBitmap(group)));
            }
            if !state.inode_uninit {
                items.push((tables.inode_bitmap, Item::InodeBitmap(state.used_inodes)));
            }
            let (start, len_blocks) =
                inode_tables::unused_part(self, tables.inode_table, state.used_inodes);
            if zeroes_tables && len_blocks > 0 {
                push_zeros(&mut items, start, len_blocks);
            }
        }
        if let Some(reserved) = &self.special.reserved_descriptors {
            let blocks = reserved.run.start.0..reserved.run.end();
            items.extend(blocks.map(|block| (FsBlock(block), Item::ReservedDescriptor)));
        }
        let blocks = self.special.blocks.iter().enumerate();
        items.extend(blocks.map(|(index, (block, _))| (*block, Item::Special(index))));
        if zeroes_are_missing && !self.request.writing.lazy_journal_init {
            let log = self.special.journal_log.iter();
            items.extend(log.map(|run| (run.start, Item::JournalLog(run.len_blocks))));
        }
        items
    }

    fn reserved_descriptor(&self, block: FsBlock, buffer: &mut [u8]) {
        let reserved = self.special.reserved_descriptors.as_ref();
        let content = reserved.map_or(Vec::new(), |reserved| reserved.content(block));
        buffer.fill(0);
        for (to, from) in buffer.iter_mut().zip(content) {
            *to = from;
        }
    }

    fn report(&self, bytes_written: u64) -> Report {
        let superblock = self.superblock;
        let journal_start = self.special.journal_log.first();
        Report {
            bytes_written,
            block_bytes: superblock.block_bytes,
            blocks: superblock.blocks_count,
            free_blocks: self.free_blocks(),
            inodes: superblock.inodes_count,
            free_inodes: self.free_inodes(),
            groups: superblock.group_count,
            backup_superblocks: crate::layout::backup_count(superblock),
            journal_blocks: self.request.geometry.journal.map_or(0, |j| j.blocks),
            journal_start: journal_start.map_or(0, |run| run.start.0.saturating_sub(1)),
            overhead_blocks: self.counts().overhead_blocks,
        }
    }
}

/// Appends zeros, joined with the zeros before them if they touch: the tables of a
/// flex group are one range.
fn push_zeros(items: &mut Vec<(FsBlock, Item)>, start: FsBlock, len_blocks: u64) {
    if let Some((before, Item::UnusedInodes(before_len))) = items.last_mut()
        && before.0 + *before_len == start.0
    {
        *before_len += len_blocks;
    } else {
        items.push((start, Item::UnusedInodes(len_blocks)));
    }
}

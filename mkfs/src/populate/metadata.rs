//! Writes what a population keeps in blocks besides the content of files:
//! directories, long links, extent nodes, attributes.
//!
//! Blocks come in the order in which they were placed, which is a rising one as
//! long as the volume has room, so that neighbours leave in one write.

use fs_core::{FsBlock, encode};
use images::BlockDevice;

use crate::populate::directory::Layout;
use crate::populate::rules::Rules;
use crate::populate::{Form, Population, Role, Slot, mapping};
use crate::{NodeKind, Progress, Result};

/// Most bytes of one write.
const WRITE_BYTES: usize = 1 << 20;

/// Joins neighbouring blocks.
struct BlockWriter<'a> {
    device: &'a dyn BlockDevice,
    progress: &'a dyn Progress,
    block_bytes: u64,
    /// Where `buffer` belongs.
    start: u64,
    buffer: Vec<u8>,
    written_bytes: u64,
}

impl BlockWriter<'_> {
    fn push(&mut self, block: FsBlock, bytes: &[u8]) -> Result<()> {
        let end = self.start + self.buffer.len() as u64 / self.block_bytes;
        if block.0 != end || self.buffer.len() >= WRITE_BYTES {
            self.flush()?;
            self.start = block.0;
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        if !self.buffer.is_empty() {
            let offset = self.start * self.block_bytes;
            self.device.write_at(&self.buffer, offset)?;
            let len = self.buffer.len() as u64;
            self.written_bytes += len;
            self.progress.advance(len);
            self.buffer.clear();
        }
        Ok(())
    }
}

/// Bytes that [`write`] will write.
pub(super) fn total_bytes(population: &Population<'_>) -> u64 {
    let blocks = |slot: &Slot| {
        let data = match population.kind(slot.role) {
            Some(NodeKind::File(_)) => 0,
            _ => slot.mapping.extents.iter().map(|e| e.len_blocks).sum(),
        };
        data + slot.mapping.nodes.len() as u64
    };
    let of_slots: u64 = population.slots.iter().map(blocks).sum();
    (of_slots + population.attributes.blocks.len() as u64) * population.rules.block_bytes()
}

/// Writes all of it; the number of bytes.
pub(super) fn write(
    population: &Population<'_>,
    device: &dyn BlockDevice,
    progress: &dyn Progress,
) -> Result<u64> {
    let rules = population.rules;
    let mut writer = BlockWriter {
        device,
        progress,
        block_bytes: rules.block_bytes(),
        start: 0,
        buffer: Vec::with_capacity(WRITE_BYTES),
        written_bytes: 0,
    };
    let is_file = |slot: &&Slot| {
        matches!(slot.role, Role::Value(_))
            || matches!(population.kind(slot.role), Some(NodeKind::File(_)))
    };
    for slot in population.slots.iter().filter(|slot| !is_file(slot)) {
        write_slot(population, slot, &mut writer)?;
    }
    for block in &population.attributes.blocks {
        let bytes = encode::xattr_block(
            rules.superblock,
            block.place,
            block.references,
            &block.xattrs,
        )?;
        writer.push(block.place, &bytes)?;
    }
    for slot in population.slots.iter().filter(is_file) {
        write_slot(population, slot, &mut writer)?;
    }
    writer.flush()?;
    Ok(writer.written_bytes)
}

/// Writes an inode's blocks, but for the content of files of the tree.
fn write_slot(
    population: &Population<'_>,
    slot: &Slot,
    writer: &mut BlockWriter<'_>,
) -> Result<()> {
    let rules = population.rules;
    if !matches!(slot.form, Form::Blocks | Form::Hashed) {
        return Ok(());
    }
    match (slot.role, population.kind(slot.role)) {
        (_, Some(NodeKind::File(_))) => {}
        (Role::Value(index), _) => {
            if let Some(value) = population.attributes.values.get(index) {
                write_bytes(rules, slot, &value.bytes, writer)?;
            }
        }
        (_, Some(NodeKind::Symlink(target))) => write_bytes(rules, slot, target, writer)?,
        _ => {
            let listing = population.listing(slot.number, slot.role)?;
            let layout = Layout::new(rules, &listing)?.ok_or_else(mapping::miscounted)?;
            let mut places = slot.mapping.device_blocks();
            layout.encode(rules, &listing, &mut |bytes| {
                let place = places.next().ok_or_else(mapping::miscounted)?;
                writer.push(place, &bytes)
            })?;
        }
    }
    if !slot.mapping.nodes.is_empty() {
        mapping::encode(rules, slot.number, &slot.mapping, &mut |block, bytes| {
            writer.push(block, &bytes)
        })?;
    }
    Ok(())
}

/// Writes content that is in memory, the last block filled up with zeros.
fn write_bytes(
    rules: Rules<'_>,
    slot: &Slot,
    content: &[u8],
    writer: &mut BlockWriter<'_>,
) -> Result<()> {
    let pieces = content.chunks(rules.block_len());
    for (place, piece) in slot.mapping.device_blocks().zip(pieces) {
        let mut block = piece.to_vec();
        block.resize(rules.block_len(), 0);
        writer.push(place, &block)?;
    }
    Ok(())
}

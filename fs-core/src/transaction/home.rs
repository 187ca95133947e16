//! Writing metadata blocks to their places.

use std::sync::Arc;

use images::BlockDevice;

use crate::cache::Block;
use crate::error::Result;
use crate::types::FsBlock;

/// Bytes moved by one write.
const WRITE_BYTES_MAX: usize = 1 << 20;

/// Writes blocks, sorted by number, neighbours together. Durable after the next flush.
pub(super) fn write_home<'a>(
    device: &dyn BlockDevice,
    blocks: impl Iterator<Item = (FsBlock, &'a Arc<Block>)>,
) -> Result<()> {
    let mut start = FsBlock(0);
    let mut bytes: Vec<u8> = Vec::new();
    let mut next = None;
    let mut block_bytes = 0;
    for (number, block) in blocks {
        if next != Some(number) || bytes.len() >= WRITE_BYTES_MAX {
            write(device, start, block_bytes, &bytes)?;
            bytes.clear();
            start = number;
        }
        block_bytes = block.bytes().len() as u64;
        bytes.extend_from_slice(block.bytes());
        next = number.checked_add(1);
    }
    write(device, start, block_bytes, &bytes)
}

fn write(device: &dyn BlockDevice, start: FsBlock, block_bytes: u64, bytes: &[u8]) -> Result<()> {
    if !bytes.is_empty() {
        device.write_at(bytes, start.0.saturating_mul(block_bytes))?;
    }
    Ok(())
}

//! What lay on the device before: gone before anything new is there.

use fs_core::Superblock;
use images::BlockDevice;

use super::writer::Writer;
use crate::error::Result;
use crate::progress::{Progress, Stage};

/// Signatures of file systems and RAID lie within this many bytes of either end.
const SIGNATURES_BYTES: u64 = 64 << 10;
/// A BSD disk label lies in the first 512 bytes, its magic number (in either byte
/// order) at byte 64. mke2fs spares it and the boot code around it; so do we.
const BSD_LABEL_MAGIC: [[u8; 4]; 2] = [[0x57, 0x45, 0x56, 0x82], [0x82, 0x56, 0x45, 0x57]];
const BSD_LABEL_OFFSET_BYTES: u64 = 64;
/// The boot block: everything before the primary superblock.
const BOOT_BYTES: u64 = 1024;
/// What a device writes whole, at least.
const SECTOR_BYTES: u64 = 512;
/// A device is discarded in pieces of this size, so that progress can be told.
const DISCARDED_BYTES: u64 = 2 << 30;

/// Discards the first `size` bytes. A device that cannot is as it was: nothing
/// depends on it. The signatures must be gone before, durably: a power cut may leave
/// any part of the range discarded.
pub(super) fn discard(device: &dyn BlockDevice, size: u64, progress: &dyn Progress) {
    progress.begin(Stage::Discarding, size);
    let mut done = 0;
    while done < size {
        let len = (size - done).min(DISCARDED_BYTES);
        if let Err(error) = device.discard(done, len) {
            tracing::warn!("discarding the device's old content: {error}");
            return;
        }
        progress.advance(len);
        done += len;
    }
}

/// Zeroes the first 64 KiB of the device and the last of the file system, durably:
/// from then on there is no superblock that could be taken for a valid one.
pub(super) fn destroy(
    device: &dyn BlockDevice,
    superblock: &Superblock,
    writer: &mut Writer<'_>,
) -> Result<()> {
    if writer.zeros_are_there {
        return Ok(());
    }
    // The sector with the magic number alone, first: a power cut in the middle of more
    // could leave a superblock whose file system is half gone.
    writer.put_zeros(BOOT_BYTES, SECTOR_BYTES)?;
    device.flush()?;
    let block_bytes = u64::from(superblock.block_bytes);
    let len = superblock.blocks_count.saturating_mul(block_bytes);
    let start = if has_bsd_label(device)? {
        BOOT_BYTES
    } else {
        0
    };
    let end = len.min(SIGNATURES_BYTES);
    writer.put_zeros(start, end.saturating_sub(start))?;
    // From a multiple of 64 KiB on, at least 64 KiB long: where Linux RAID looks.
    let tail = (len - len % SIGNATURES_BYTES).saturating_sub(SIGNATURES_BYTES);
    let tail = tail.max(end);
    writer.put_zeros(tail, len.saturating_sub(tail))?;
    device.flush()?;
    Ok(())
}

fn has_bsd_label(device: &dyn BlockDevice) -> Result<bool> {
    let mut magic = [0; 4];
    if device.size_bytes() < BOOT_BYTES {
        return Ok(false);
    }
    device.read_at(&mut magic, BSD_LABEL_OFFSET_BYTES)?;
    Ok(BSD_LABEL_MAGIC.contains(&magic))
}

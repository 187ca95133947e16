//! What lay on the device before: gone before anything new is there.

use fs_core::Superblock;
use images::BlockDevice;

use super::heads;
use crate::error::Result;
use crate::plan::offset_bytes;
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

/// Zeroes the first 64 KiB of the device, the last of the file system and the places of
/// its backup superblocks, durably: from then on nothing there is taken for a file
/// system, by mounting or by repair. Backups that an older file system of another shape
/// has elsewhere stay, as with mke2fs.
///
/// That the device reads as zeros is believed of the device only. A user who says so of
/// one that does not would be left with an old superblock beside the new file system.
pub(super) fn destroy(device: &dyn BlockDevice, superblock: &Superblock) -> Result<()> {
    let block_bytes = u64::from(superblock.block_bytes);
    let len = superblock.blocks_count.saturating_mul(block_bytes);
    if device.is_hole(0, len) {
        return Ok(());
    }
    // The sector with the magic number alone, first: a power cut in the middle of more
    // could leave a superblock whose file system is half gone.
    zero(device, BOOT_BYTES, SECTOR_BYTES)?;
    device.flush()?;
    let start = if has_bsd_label(device)? {
        BOOT_BYTES
    } else {
        0
    };
    let end = len.min(SIGNATURES_BYTES);
    zero(device, start, end.saturating_sub(start))?;
    // From a multiple of 64 KiB on, at least 64 KiB long: where Linux RAID looks.
    let tail = (len - len % SIGNATURES_BYTES).saturating_sub(SIGNATURES_BYTES);
    let tail = tail.max(end);
    zero(device, tail, len.saturating_sub(tail))?;
    let block = vec![0; usize::try_from(block_bytes).unwrap_or(0)];
    for (_, backup) in heads::backups(superblock) {
        let offset = offset_bytes(superblock, backup);
        if !device.is_hole(offset, block_bytes) {
            // Not by the device itself, which would be waited for every time.
            device.write_at(&block, offset)?;
        }
    }
    device.flush()?;
    Ok(())
}

fn zero(device: &dyn BlockDevice, offset: u64, len: u64) -> Result<()> {
    if len > 0 && !device.is_hole(offset, len) {
        device.write_zeroes(offset, len)?;
    }
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

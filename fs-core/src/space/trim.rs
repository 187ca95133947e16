//! Telling the device which blocks are free (FITRIM).

use images::BlockDevice;

use crate::error::Result;
use crate::store::Store;
use crate::types::FsBlock;

use super::geometry::Part;
use super::runs::Run;
use super::{BlockRun, Space};

/// Bytes that nobody can take while they are discarded.
const PIECE_BYTES: u32 = 32 << 20;

impl Space {
    /// Discards what can be taken of the blocks `start..end`, in runs of at least
    /// `min_len_blocks`. Returns the number of bytes. What was freed in a transaction that is
    /// not durable, and the windows of growing files, are left alone.
    ///
    /// # Errors
    /// The device's. A group whose bitmap is damaged is passed over.
    pub(crate) fn trim(
        &self,
        store: &Store,
        start: FsBlock,
        end: FsBlock,
        min_len_blocks: u64,
    ) -> Result<u64> {
        let superblock = &store.superblock;
        let start = start.0.max(superblock.first_data_block.into());
        let end = end.0.min(superblock.blocks_count);
        let len_min = u32::try_from(min_len_blocks.max(1)).unwrap_or(u32::MAX);
        if start >= end {
            return Ok(0);
        }
        let range = BlockRun {
            start: FsBlock(start),
            len_blocks: end - start,
        };
        let mut blocks = 0;
        for part in self.geometry.parts(range)? {
            match self.trim_part(store, part, len_min) {
                Ok(trimmed) => blocks += trimmed,
                Err(error) if error.is_corruption() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(blocks * u64::from(self.geometry.block_bytes))
    }

    fn trim_part(&self, store: &Store, part: Part, len_min: u32) -> Result<u64> {
        if self.group(part.group)?.longest.get() < len_min {
            return Ok(0);
        }
        let device = store.cache.device().as_ref();
        let piece_max = (PIECE_BYTES / self.geometry.block_bytes).max(1);
        let mut blocks = 0;
        let mut at = part.run.start;
        // The run that the last piece was cut from goes on here.
        let mut goes_on = false;
        while at < part.run.end() {
            let _trimming = self.trimming.lock();
            let mut locked = self.lock_blocks(store, part.group)?;
            let loaded = locked.state.blocks.get()?;
            let rest = loaded.at(at).filter(|_| goes_on);
            let found = rest.or_else(|| loaded.next_available(at, part.run.end(), len_min));
            let Some(found) = found else {
                break;
            };
            let found = found.cut(part.run.end() - found.start);
            let piece = found.cut(piece_max);
            locked.hold_blocks(piece)?;
            drop(locked);
            let discarded = self.discard_piece(device, part.group, piece);
            self.group(part.group)?.lock().end_hold(Some(piece))?;
            discarded?;
            blocks += u64::from(piece.len);
            goes_on = piece.len < found.len;
            at = piece.end();
        }
        Ok(blocks)
    }

    fn discard_piece(&self, device: &dyn BlockDevice, group: u32, piece: Run) -> Result<()> {
        let run = self.geometry.run(group, piece);
        let block_bytes = u64::from(self.geometry.block_bytes);
        let offset = run.start.0.saturating_mul(block_bytes);
        device.discard(offset, run.len_blocks.saturating_mul(block_bytes))?;
        Ok(())
    }

    /// If blocks are being discarded, waits until these can be taken; false if none are.
    pub(super) fn wait_for_trim(&self) -> bool {
        if self.trimming.try_lock().is_some() {
            return false;
        }
        drop(self.trimming.lock());
        true
    }
}

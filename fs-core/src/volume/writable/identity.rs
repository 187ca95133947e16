//! What the volume states of itself, and its free space as a whole.

use super::WritableVolume;
use crate::cache::{Role, RoleKind};
use crate::error::{Error, ErrorKind, Result};
use crate::format::superblock::{RawSuperblock, SIZE_BYTES};
use crate::types::{FsBlock, GroupNumber};

/// Backups changed with one transaction.
const BACKUPS_AT_ONCE: usize = 32;

impl WritableVolume {
    /// Sets the label, in the superblock and its backups.
    ///
    /// # Errors
    /// `InvalidInput` for more than 16 bytes or a NUL.
    pub fn set_label(&self, label: &[u8]) -> Result<()> {
        if label.len() > 16 || label.contains(&0) {
            let what = "a label has at most 16 bytes and no NUL";
            return Err(ErrorKind::InvalidInput(what).into());
        }
        let mut padded = [0; 16];
        padded
            .iter_mut()
            .zip(label)
            .for_each(|(to, from)| *to = *from);
        self.changing(|| {
            let mut change = self.writer().begin(1)?;
            let superblock = &self.writer().superblock;
            superblock.edit(&mut change.handle, |raw| raw.s_volume_name = padded);
            change.finish();
            self.edit_backups(|raw| raw.s_volume_name = padded)
        })
    }

    /// Changes all backups of the superblock. One that is damaged is left to e2fsck.
    fn edit_backups(&self, edit: impl Fn(&mut RawSuperblock)) -> Result<()> {
        let superblock = &self.store().superblock;
        let backups: Vec<FsBlock> = (1..superblock.group_count)
            .map(GroupNumber)
            .filter(|&group| superblock.group_has_super(group))
            .filter_map(|group| superblock.group_first_block(group))
            .collect();
        let role = Role::of_volume(RoleKind::Superblock);
        for some in backups.chunks(BACKUPS_AT_ONCE) {
            let mut change = self.writer().begin(some.len())?;
            for &block in some {
                change.modify(block, role, |_| Ok(()), |bytes| edit_copy(bytes, &edit))?;
            }
            change.finish();
        }
        Ok(())
    }

    /// Tells the device of free space between two offsets in bytes, in runs of at least
    /// `min_len_bytes`; the number of bytes it was told of.
    ///
    /// # Errors
    /// `InvalidInput` for an empty or outside range; the device's.
    pub fn trim(&self, start: u64, len_bytes: u64, min_len_bytes: u64) -> Result<u64> {
        let superblock = &self.store().superblock;
        let block_bytes = u64::from(superblock.block_bytes);
        let first = FsBlock(start.div_ceil(block_bytes));
        let end = (start.saturating_add(len_bytes) / block_bytes).min(superblock.blocks_count);
        if len_bytes < block_bytes || first.0 >= superblock.blocks_count {
            return Err(ErrorKind::InvalidInput("no blocks lie in the range").into());
        }
        let min_len_blocks = min_len_bytes.div_ceil(block_bytes);
        self.changing(|| {
            // What was freed but is not durable cannot be discarded.
            self.writer().sync()?;
            let space = &self.writer().space;
            space.trim(self.store(), first, FsBlock(end), min_len_blocks)
        })
    }
}

fn edit_copy(bytes: &mut [u8], edit: &impl Fn(&mut RawSuperblock)) -> Result<()> {
    let short = || Error::corrupt("backup superblock", None, "1024 bytes", "less");
    let mut raw = RawSuperblock::from_prefix(bytes).ok_or_else(short)?;
    if !raw.has_magic() {
        return Ok(());
    }
    edit(&mut raw);
    raw.seal_checksum();
    bytes
        .get_mut(..SIZE_BYTES)
        .ok_or_else(short)?
        .copy_from_slice(raw.bytes());
    Ok(())
}

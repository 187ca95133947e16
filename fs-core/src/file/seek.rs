//! What lseek(2) finds: the next data, the next hole.

use super::read::check_readable;
use crate::error::{ErrorKind, Result};
use crate::format::inode::Inode;
use crate::mapping;
use crate::run::ExtentState;
use crate::store::Store;
use crate::types::FileBlock;

/// What lseek(2) looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeekTarget {
    /// `SEEK_DATA`
    Data,
    /// `SEEK_HOLE`
    Hole,
}

/// The first offset at or after `offset` that is data, or a hole, as lseek(2)
/// defines them: unwritten blocks are a hole, and one follows the end.
///
/// # Errors
/// `OutOfRange` at or beyond the end, and if no data follows.
pub(crate) fn seek(store: &Store, file: &Inode, offset: u64, target: SeekTarget) -> Result<u64> {
    check_readable(file)?;
    let size = file.size_bytes();
    if offset >= size {
        return Err(ErrorKind::OutOfRange.into());
    }
    if file.has_inline_data() {
        return Ok(match target {
            SeekTarget::Data => offset,
            SeekTarget::Hole => size,
        });
    }
    let block_bytes = u64::from(store.superblock.block_bytes);
    let mut at = offset;
    for _ in 0..mapping::LOOKS_MAX {
        if at >= size {
            break;
        }
        let run = mapping::map_some(store, file, FileBlock(at / block_bytes))?;
        let is_data = matches!(run.state, ExtentState::Written(_));
        if is_data == (target == SeekTarget::Data) {
            return Ok(at);
        }
        at = run.end().0.saturating_mul(block_bytes);
    }
    match target {
        // Given up: what has not been looked at may be data.
        SeekTarget::Data if at < size => Ok(at),
        SeekTarget::Data => Err(ErrorKind::OutOfRange.into()),
        SeekTarget::Hole => Ok(size),
    }
}

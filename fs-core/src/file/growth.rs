//! Before a file becomes longer: what would come to light must read as zeros.

use std::sync::Arc;

use super::edit::FileEdit;
use super::truncate;
use crate::error::Result;
use crate::format::inode::Inode;
use crate::mapping;
use crate::run::ExtentState;

impl FileEdit<'_> {
    /// Prepares a size of `new_end` of which nothing before `written_from` is written by
    /// the caller: the rest of the last block is zeroed, and written blocks beyond the end,
    /// which only a removal leaves that failed, are removed.
    pub(super) fn prepare_growth(
        &self,
        inode: &Arc<Inode>,
        written_from: u64,
        new_end: u64,
    ) -> Result<Arc<Inode>> {
        let size = inode.size_bytes();
        if new_end <= size || inode.has_inline_data() {
            return Ok(Arc::clone(inode));
        }
        if self.context.kernel_moves_content {
            // The kernel zeroes what comes to light, or has written it already.
            return Ok(Arc::clone(inode));
        }
        let block_end = size.next_multiple_of(self.block_bytes);
        self.zero_within(inode, size..written_from.max(size).min(block_end))?;
        if !self.has_written_beyond(inode, new_end)? {
            return Ok(Arc::clone(inode));
        }
        truncate::remove_beyond(self, size)?;
        self.inode()
    }

    fn has_written_beyond(&self, inode: &Inode, until: u64) -> Result<bool> {
        let (mut at, stop) = (self.block_from(inode.size_bytes()), self.block_from(until));
        for _ in 0..mapping::LOOKS_MAX {
            if at >= stop {
                return Ok(false);
            }
            let run = self.look(inode, at)?;
            if matches!(run.state, ExtentState::Written(_)) {
                return Ok(true);
            }
            at = run.end();
        }
        Ok(false)
    }
}

//! Rows of pointers: where in an indirect map a file block's pointer stands. Pure.

use std::ops::Range;

use zerocopy::little_endian::U32;

use crate::error::{Error, ErrorKind, Result};
use crate::mapping::indirect::{DIRECT, TREES};

/// The row of pointers that a file block's pointer belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    /// In which of the inode's pointers the way begins, and the blocks of pointers on it;
    /// `None` for the direct ones.
    pub(super) tree: Option<(usize, u32)>,
    /// File block of the tree's first pointer.
    pub(super) tree_start: u64,
    /// File block of the row's first pointer.
    pub(super) start: u64,
    len: u64,
}

impl Row {
    /// The row of a file block where a block holds so many pointers; `None` behind the last.
    pub(super) fn of(per_block: u64, block: u64) -> Option<Self> {
        if block < DIRECT {
            return Some(Self {
                tree: None,
                tree_start: 0,
                start: 0,
                len: DIRECT,
            });
        }
        let mut tree_start = DIRECT;
        for (number, levels) in TREES.into_iter().enumerate() {
            // At most (2^14)^3 = 2^42.
            let span = per_block.pow(levels);
            if block - tree_start < span {
                return Some(Self {
                    tree: Some((DIRECT as usize + number, levels)),
                    tree_start,
                    start: block - (block - tree_start) % per_block,
                    len: per_block,
                });
            }
            tree_start += span;
        }
        None
    }

    /// First file block behind it.
    pub(super) fn end(&self) -> u64 {
        self.start.saturating_add(self.len)
    }
}

/// File blocks a map has pointers for.
pub(super) fn len_blocks_max(per_block: u64) -> u64 {
    TREES
        .iter()
        .fold(DIRECT, |sum, &levels| sum + per_block.pow(levels))
}

/// Sets free pointers to a run of blocks.
pub(super) fn put(row: &mut [U32], first: u64) -> Result<()> {
    if row.iter().any(|pointer| pointer.get() != 0) {
        return Err(ErrorKind::InvalidInput("the file blocks are mapped").into());
    }
    for (pointer, block) in row.iter_mut().zip(first..) {
        let block = u32::try_from(block).map_err(|_| too_far())?;
        *pointer = block.into();
    }
    Ok(())
}

/// A pointer has 32 bits.
pub(super) fn too_far() -> Error {
    ErrorKind::NotSupported("blocks behind 2^32 in a file without extents").into()
}

/// The last pointers of a range that name blocks one after the other.
pub(super) fn last_run(row: &[U32], range: Range<usize>) -> Option<Range<usize>> {
    let in_range = row.get(range.clone())?;
    let last = in_range.iter().rposition(|pointer| pointer.get() != 0)?;
    let number = in_range.get(last)?.get();
    let before = in_range.get(..last)?.iter().rev().zip(1u32..);
    let len = before
        .take_while(|(pointer, back)| {
            pointer.get() != 0 && Some(pointer.get()) == number.checked_sub(*back)
        })
        .count();
    Some(range.start + last - len..range.start + last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_follow_each_other() {
        for per_block in [256, 1024, 1 << 14] {
            let mut at = 0;
            for _ in 0..per_block + 100 {
                let row = Row::of(per_block, at).unwrap();
                assert_eq!(row.start, at);
                assert_eq!(Row::of(per_block, row.end() - 1), Some(row));
                at = row.end();
            }
            let max = len_blocks_max(per_block);
            assert_eq!(Row::of(per_block, max - 1).unwrap().end(), max);
            assert_eq!(Row::of(per_block, max), None);
        }
    }

    #[test]
    fn the_last_run_goes_as_far_back_as_the_blocks_do() {
        let row: Vec<U32> = [0, 7, 5, 6, 7, 0].map(U32::new).to_vec();
        assert_eq!(last_run(&row, 0..6), Some(2..5));
        assert_eq!(last_run(&row, 3..5), Some(3..5));
        assert_eq!(last_run(&row, 0..2), Some(1..2));
        assert_eq!(last_run(&row, 5..6), None);
    }
}

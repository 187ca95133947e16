//! Where the blocks of a file lie: chosen once, encoded later as extents or as
//! the block map of ext2.

use fs_core::{ExtentState, FileBlock, FsBlock, InodeNumber, MappedExtent};

use crate::populate::allocator::Allocator;
use crate::populate::rules::Rules;
use crate::populate::{extents, indirect};
use crate::space::{Run, Space};
use crate::{DataRange, Error, Result};

/// Neighbouring blocks of a file that hold data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileRange {
    pub(super) start: u64,
    /// At least 1.
    pub(super) len_blocks: u64,
}

impl FileRange {
    pub(super) fn end(&self) -> u64 {
        self.start + self.len_blocks
    }
}

/// The places of a file's blocks.
#[derive(Debug, Default, Clone)]
pub(super) struct Mapping {
    /// Sorted by file block, all written; none longer than the format allows.
    pub(super) extents: Box<[MappedExtent]>,
    /// Blocks of extents or block numbers, in the order their encoder wants them.
    pub(super) nodes: Box<[FsBlock]>,
    /// Blocks taken, nodes and the rest of clusters included.
    pub(super) taken_blocks: u64,
}

impl Mapping {
    /// The device blocks of the data, in the file's order.
    pub(super) fn device_blocks(&self) -> impl Iterator<Item = FsBlock> + '_ {
        self.extents.iter().flat_map(|extent| {
            let start = start_of(extent);
            (start..start + extent.len_blocks).map(FsBlock)
        })
    }
}

/// First device block of an extent made here.
pub(super) fn start_of(extent: &MappedExtent) -> u64 {
    match extent.state {
        ExtentState::Written(start) | ExtentState::Unwritten(start) => start.0,
        ExtentState::Hole => 0,
    }
}

/// An extent of written data.
pub(super) fn written(file_block: u64, start: u64, len_blocks: u64) -> MappedExtent {
    MappedExtent {
        file_block: FileBlock(file_block),
        len_blocks,
        state: ExtentState::Written(FsBlock(start)),
    }
}

/// The blocks that data needs: rounded out, neighbours joined. The ranges are sorted.
pub(super) fn file_ranges(data: &[DataRange], block_bytes: u64) -> Vec<FileRange> {
    let mut ranges: Vec<FileRange> = Vec::new();
    for range in data {
        let start = range.offset / block_bytes;
        let end = range.offset.saturating_add(range.len).div_ceil(block_bytes);
        match ranges.last_mut() {
            Some(last) if start <= last.end() => {
                last.len_blocks = end.max(last.end()) - last.start;
            }
            _ => ranges.push(FileRange {
                start,
                len_blocks: end - start,
            }),
        }
    }
    ranges
}

/// Takes blocks for `ranges`, which are sorted and do not touch.
///
/// # Errors
/// `DoesNotFit`; `Features` for a combination the format does not have.
pub(super) fn place(
    rules: Rules<'_>,
    ranges: &[FileRange],
    allocator: &mut Allocator,
    space: &mut Space,
) -> Result<Mapping> {
    if ranges.is_empty() {
        return Ok(Mapping::default());
    }
    if rules.has_extents() {
        return extents::place(rules, ranges, allocator, space);
    }
    if rules.cluster_blocks() > 1 {
        return Err(Error::Features("bigalloc needs extents".into()));
    }
    indirect::place(rules, ranges, allocator, space)
}

/// `i_block`, and all node blocks to `emit`.
///
/// # Errors
/// Those of `emit`; `Format` never, unless a mapping was made up.
pub(super) fn encode(
    rules: Rules<'_>,
    inode: InodeNumber,
    mapping: &Mapping,
    emit: &mut dyn FnMut(FsBlock, Vec<u8>) -> Result<()>,
) -> Result<[u8; 60]> {
    if rules.has_extents() {
        extents::encode(rules, inode, mapping, emit)
    } else {
        indirect::encode(rules, mapping, emit)
    }
}

/// Deals out runs piece by piece.
#[derive(Debug)]
pub(super) struct Dealer {
    runs: std::vec::IntoIter<Run>,
    current: Run,
}

impl Dealer {
    pub(super) fn new(runs: Vec<Run>) -> Self {
        Self {
            runs: runs.into_iter(),
            current: Run::new(0, 0),
        }
    }

    /// The next neighbouring blocks, at most `len_blocks`; `None` at the end.
    pub(super) fn deal(&mut self, len_blocks: u64) -> Option<Run> {
        if self.current.len_blocks == 0 {
            self.current = self.runs.next()?;
        }
        let dealt = Run {
            len_blocks: self.current.len_blocks.min(len_blocks),
            ..self.current
        };
        self.current = Run::new(dealt.end(), self.current.len_blocks - dealt.len_blocks);
        Some(dealt)
    }
}

/// What [`Dealer`] says if runs were counted wrongly.
pub(super) fn miscounted() -> Error {
    Error::Format(fs_core::Error::from(fs_core::ErrorKind::InvalidInput(
        "a file has more blocks than were counted",
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(offset: u64, len: u64) -> DataRange {
        DataRange {
            offset,
            len,
            source_offset: 0,
        }
    }

    #[test]
    fn ranges_are_rounded_out_and_joined() {
        let ranges = file_ranges(
            &[
                data(0, 1),
                data(4095, 1),
                data(5000, 10),
                data(12288, 4096),
                data(40_000, 9000),
            ],
            4096,
        );
        let expected =
            [(0, 2), (3, 1), (9, 3)].map(|(start, len_blocks)| FileRange { start, len_blocks });
        assert_eq!(ranges, expected);
        assert_eq!(file_ranges(&[], 4096), []);
    }

    #[test]
    fn dealing_crosses_runs() {
        let mut dealer = Dealer::new(vec![Run::new(10, 3), Run::new(20, 2)]);
        let dealt: Vec<_> = std::iter::from_fn(|| dealer.deal(2)).collect();
        assert_eq!(dealt, [Run::new(10, 2), Run::new(12, 1), Run::new(20, 2)]);
    }
}

//! Inode 8, the journal: near the middle of the volume, so that the way to it is
//! short, or where the user wants it.

use fs_core::encode::{NewJournal, journal_superblock};
use fs_core::{FsBlock, GroupNumber, InodeNumber};

use super::file_map::{self, FileMap};
use super::{Context, Special};
use crate::error::Result;
use crate::layout::{group_of, group_run};
use crate::request::JournalGeometry;
use crate::space::Run;

pub(super) fn place(
    context: &mut Context<'_>,
    journal: JournalGeometry,
    special: &mut Special,
) -> Result<()> {
    let number = InodeNumber::JOURNAL;
    let goal = match journal.location {
        Some(block) => block.0,
        // All metadata is at the start: so is the journal.
        None if context.request.geometry.packed_meta_blocks => 0,
        None if context.has_extents() => midpoint(context),
        // Indirect blocks grow from the inode's own group, wherever it lies.
        None => 0,
    };
    let (mut map, content) = map_content(context, number, goal, journal.blocks.into())?;
    let bytes = journal_superblock(&NewJournal {
        block_bytes: context.superblock.block_bytes,
        len_blocks: journal.blocks,
        fast_commit_blocks: journal.fast_commit_blocks,
        uuid: *context.request.identity.uuid.as_bytes(),
    });
    let mut blocks = InOrder::new(&content);
    if let Some(first) = blocks.next() {
        special.blocks.push((first, context.padded(bytes)));
    }
    special.journal_log = blocks.rest();
    special.blocks.append(&mut map.nodes);
    let size_bytes = u64::from(journal.blocks) * u64::from(context.superblock.block_bytes);
    special.journal_backup = Some(backup(&map, size_bytes));
    let inode = context.regular_inode(number, size_bytes, &map)?;
    special.inodes.push(inode);
    Ok(())
}

/// `s_jnl_blocks`: a copy of `i_block` and the size.
fn backup(map: &FileMap, size_bytes: u64) -> [u32; 17] {
    let [size_lo, size_hi] = crate::superblock::halves(size_bytes);
    let (words, _) = map.block_area.as_chunks::<4>();
    let words = words.iter().map(|word| u32::from_le_bytes(*word));
    let mut backup = [0; 17];
    for (to, from) in backup.iter_mut().zip(words.chain([size_hi, size_lo])) {
        *to = from;
    }
    backup
}

/// Blocks for a file's content and its map: the map, and the content in its order.
pub(super) fn map_content(
    context: &mut Context<'_>,
    number: InodeNumber,
    goal: u64,
    content_blocks: u64,
) -> Result<(FileMap, Vec<Run>)> {
    if context.has_extents() {
        return file_map::extents(context, number, goal, content_blocks);
    }
    let block_bytes = context.superblock.block_bytes;
    let map_blocks = file_map::indirect_map_blocks(block_bytes, content_blocks);
    let runs = context.take_first(goal, content_blocks.saturating_add(map_blocks))?;
    let mut blocks = InOrder::new(&runs);
    let mut content: Vec<Run> = Vec::new();
    let map = file_map::indirect(block_bytes, content_blocks, &mut |used_for| {
        let block = blocks.next().unwrap_or(FsBlock(0));
        if used_for == file_map::Use::Content {
            match content.last_mut().filter(|last| last.end() == block.0) {
                Some(last) => last.len_blocks += 1,
                None => content.push(Run::new(block.0, 1)),
            }
        }
        Ok(block)
    })?;
    Ok((map, content))
}

/// The first block of a group around the middle: of the fullest flex group's first
/// two groups, or of three groups, the one with the most free blocks.
fn midpoint(context: &Context<'_>) -> u64 {
    let superblock = context.superblock;
    let last = superblock.group_count - 1;
    let half = (superblock.blocks_count - u64::from(superblock.first_data_block)) / 2;
    let middle = group_of(superblock, half).0;
    let per_flex = 1_u32 << superblock.log_groups_per_flex.min(31);
    let free = |group: u32| -> u64 {
        let run = group_run(superblock, GroupNumber(group));
        let runs = context.space.free_in(run.start.0..run.end());
        runs.map(|run| run.len_blocks).sum()
    };
    let (first, middle) = if superblock.log_groups_per_flex > 0 && middle > per_flex {
        let start = middle & !(per_flex - 1);
        let first = (start..=last).find(|&group| free(group) > 0).unwrap_or(0);
        (first, first)
    } else {
        (middle.saturating_sub(1), middle)
    };
    let end = (middle + 1).min(last);
    let mut best = first;
    for group in first..=end {
        if free(group) > free(best) {
            best = group;
        }
    }
    group_run(superblock, GroupNumber(best)).start.0
}

/// The single blocks of runs, one after the other.
pub(super) struct InOrder<'a> {
    runs: std::slice::Iter<'a, Run>,
    now: Option<Run>,
}

impl<'a> InOrder<'a> {
    pub(super) fn new(runs: &'a [Run]) -> Self {
        let mut runs = runs.iter();
        let now = runs.next().copied();
        Self { runs, now }
    }

    /// What has not been given out.
    fn rest(self) -> Vec<Run> {
        self.now
            .into_iter()
            .filter(|run| run.len_blocks > 0)
            .chain(self.runs.copied())
            .collect()
    }
}

impl Iterator for InOrder<'_> {
    type Item = FsBlock;

    fn next(&mut self) -> Option<FsBlock> {
        while self.now?.len_blocks == 0 {
            self.now = self.runs.next().copied();
        }
        let now = self.now.as_mut()?;
        let block = now.start;
        *now = Run::new(block.0 + 1, now.len_blocks - 1);
        Some(block)
    }
}

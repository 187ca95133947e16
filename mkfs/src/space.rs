//! Which blocks are taken, as runs.
//!
//! A bitmap of 16 TiB is 512 MiB; a file system that has just been made has a
//! few runs a group. Bitmaps are written from these runs, group by group.

use std::collections::BTreeMap;
use std::ops::Range;

use fs_core::FsBlock;

/// Neighbouring blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Run {
    pub(crate) start: FsBlock,
    /// At least 1.
    pub(crate) len_blocks: u64,
}

impl Run {
    pub(crate) fn new(start: u64, len_blocks: u64) -> Self {
        Self {
            start: FsBlock(start),
            len_blocks,
        }
    }

    /// First block after it.
    pub(crate) fn end(&self) -> u64 {
        self.start.0.saturating_add(self.len_blocks)
    }
}

/// The taken blocks of a volume under construction.
#[derive(Debug, Clone)]
pub(crate) struct Space {
    /// Blocks that can be taken at all.
    bounds: Range<u64>,
    /// Start and end of taken runs; never touching one another.
    taken: BTreeMap<u64, u64>,
    taken_blocks: u64,
}

impl Space {
    /// Nothing is taken yet of the blocks in `bounds`.
    pub(crate) fn new(bounds: Range<u64>) -> Self {
        Self {
            bounds,
            taken: BTreeMap::new(),
            taken_blocks: 0,
        }
    }

    /// Number of blocks that are not taken.
    pub(crate) fn free_blocks(&self) -> u64 {
        (self.bounds.end - self.bounds.start).saturating_sub(self.taken_blocks)
    }

    /// Takes exactly these blocks; false, and nothing happens, if one is taken
    /// already or out of bounds.
    pub(crate) fn take(&mut self, run: Run) -> bool {
        let (start, end) = (run.start.0, run.end());
        if run.len_blocks == 0 {
            return true;
        }
        if start < self.bounds.start || end > self.bounds.end || !self.is_free(run) {
            return false;
        }
        let mut merged = (start, end);
        if let Some((&before, &before_end)) = self.taken.range(..start).next_back()
            && before_end == start
        {
            merged.0 = before;
        }
        if let Some(after_end) = self.taken.remove(&end) {
            merged.1 = after_end;
        }
        self.taken.insert(merged.0, merged.1);
        self.taken_blocks += run.len_blocks;
        true
    }

    /// True if none of these blocks is taken.
    pub(crate) fn is_free(&self, run: Run) -> bool {
        self.taken
            .range(..run.end())
            .next_back()
            .is_none_or(|(_, &end)| end <= run.start.0)
    }

    /// The taken runs that meet `range`, cut to it, in rising order.
    pub(crate) fn taken_in(&self, range: Range<u64>) -> impl Iterator<Item = Run> + '_ {
        let first = self
            .taken
            .range(..=range.start)
            .next_back()
            .map_or(range.start, |(&start, _)| start);
        self.taken
            .range(first..range.end.max(first))
            .filter_map(move |(&start, &end)| {
                let (start, end) = (start.max(range.start), end.min(range.end));
                (start < end).then(|| Run::new(start, end - start))
            })
    }

    /// The free runs that meet `range`, cut to it and the bounds, in rising order.
    pub(crate) fn free_in(&self, range: Range<u64>) -> impl Iterator<Item = Run> + '_ {
        let range = range.start.max(self.bounds.start)..range.end.min(self.bounds.end);
        let end = range.end;
        let mut at = range.start;
        self.taken_in(range)
            .map(|run| (run.start.0, run.end()))
            .chain(std::iter::once((end, end)))
            .filter_map(move |(taken, taken_end)| {
                let free = (at < taken).then(|| Run::new(at, taken - at));
                at = at.max(taken_end);
                free
            })
    }

    /// Takes `len_blocks` neighbouring blocks: the first place at or after
    /// `goal`, else the first of all. `None`, and nothing happens, if there is none.
    pub(crate) fn allocate_contiguous(&mut self, goal: u64, len_blocks: u64) -> Option<FsBlock> {
        let fits = |run: &Run| run.len_blocks >= len_blocks;
        let found = self
            .free_in(goal..self.bounds.end)
            .find(fits)
            .or_else(|| self.free_in(self.bounds.clone()).find(fits))?;
        let run = Run {
            start: found.start,
            len_blocks,
        };
        self.take(run).then_some(run.start)
    }

    /// Takes the first free run from `goal` on, else from the start, cut to
    /// `len_blocks_max`. `None` if nothing is free.
    pub(crate) fn take_run(&mut self, goal: u64, len_blocks_max: u64) -> Option<Run> {
        let from_goal = self.free_in(goal..self.bounds.end).next();
        let found = from_goal.or_else(|| self.free_in(self.bounds.clone()).next())?;
        let run = Run {
            start: found.start,
            len_blocks: found.len_blocks.min(len_blocks_max),
        };
        self.take(run).then_some(run)
    }

    /// Takes the first `len_blocks` free blocks from `goal` on, then from the start,
    /// in as many runs as that takes. `None`, and nothing happens, if not enough are
    /// free.
    pub(crate) fn take_first(&mut self, goal: u64, len_blocks: u64) -> Option<Vec<Run>> {
        if self.free_blocks() < len_blocks {
            return None;
        }
        let mut left = len_blocks;
        let mut runs = Vec::new();
        let bounds = self.bounds.clone();
        let goal = goal.min(bounds.end);
        let free = self
            .free_in(goal..bounds.end)
            .chain(self.free_in(bounds.start..goal));
        for run in free {
            if left == 0 {
                break;
            }
            let len_blocks = run.len_blocks.min(left);
            runs.push(Run::new(run.start.0, len_blocks));
            left -= len_blocks;
        }
        for &run in &runs {
            if !self.take(run) {
                return None;
            }
        }
        Some(runs)
    }

    /// Takes `len_blocks` blocks in as few runs as there are: one if one place is
    /// large enough, else what is free from `goal` on, then from the start.
    /// `None`, and nothing happens, if not enough are free.
    #[allow(dead_code, reason = "for the content of files")]
    pub(crate) fn allocate(&mut self, goal: u64, len_blocks: u64) -> Option<Vec<Run>> {
        if len_blocks == 0 {
            return Some(Vec::new());
        }
        if let Some(start) = self.allocate_contiguous(goal, len_blocks) {
            return Some(vec![Run { start, len_blocks }]);
        }
        if self.free_blocks() < len_blocks {
            return None;
        }
        let mut left = len_blocks;
        let mut runs = Vec::new();
        let bounds = self.bounds.clone();
        for run in self
            .free_in(goal..bounds.end)
            .chain(self.free_in(bounds.start..goal.min(bounds.end)))
        {
            let len_blocks = run.len_blocks.min(left);
            runs.push(Run {
                start: run.start,
                len_blocks,
            });
            left -= len_blocks;
            if left == 0 {
                break;
            }
        }
        for &run in &runs {
            if !self.take(run) {
                return None;
            }
        }
        (left == 0).then_some(runs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space() -> Space {
        let mut space = Space::new(1..100);
        assert!(space.take(Run::new(10, 5)));
        assert!(space.take(Run::new(30, 10)));
        space
    }

    #[test]
    fn taken_blocks_cannot_be_taken_again() {
        let mut space = space();
        for (start, len) in [(10, 1), (14, 1), (9, 2), (9, 10), (39, 1), (0, 1), (99, 2)] {
            assert!(!space.take(Run::new(start, len)), "{start}+{len}");
        }
        assert_eq!(space.free_blocks(), 99 - 15);
    }

    #[test]
    fn neighbours_merge() {
        let mut space = space();
        assert!(space.take(Run::new(15, 15)));
        let taken: Vec<_> = space.taken_in(0..100).collect();
        assert_eq!(taken, [Run::new(10, 30)]);
        assert!(space.take(Run::new(9, 1)));
        assert_eq!(space.taken.len(), 1);
    }

    #[test]
    fn free_runs_are_what_is_between() {
        let space = space();
        let free: Vec<_> = space.free_in(0..1000).collect();
        assert_eq!(free, [Run::new(1, 9), Run::new(15, 15), Run::new(40, 60)]);
        let free: Vec<_> = space.free_in(12..35).collect();
        assert_eq!(free, [Run::new(15, 15)]);
    }

    #[test]
    fn allocation_takes_the_first_place_after_the_goal_then_the_first_of_all() {
        let mut space = space();
        assert_eq!(space.allocate_contiguous(12, 15), Some(FsBlock(15)));
        assert_eq!(space.allocate_contiguous(90, 9), Some(FsBlock(90)));
        assert_eq!(space.allocate_contiguous(90, 9), Some(FsBlock(1)));
        assert_eq!(space.allocate_contiguous(0, 90), None);
    }

    #[test]
    fn a_run_is_taken_up_to_what_follows() {
        let mut space = space();
        assert_eq!(space.take_run(12, 100), Some(Run::new(15, 15)));
        assert_eq!(space.take_run(90, 4), Some(Run::new(90, 4)));
        assert_eq!(space.take_run(94, 100), Some(Run::new(94, 6)));
        assert_eq!(space.take_run(94, 100), Some(Run::new(1, 9)));
    }

    #[test]
    fn the_first_free_blocks_are_taken_whatever_lies_between() {
        let mut space = space();
        let runs = vec![Run::new(12 + 3, 15), Run::new(40, 2)];
        assert_eq!(space.take_first(12, 17), Some(runs));
        assert_eq!(
            space.take_first(98, 3),
            Some(vec![Run::new(98, 2), Run::new(1, 1)])
        );
        assert_eq!(space.take_first(0, 1000), None);
    }

    #[test]
    fn allocation_splits_only_when_it_must() {
        let mut space = space();
        assert_eq!(space.allocate(0, 60), Some(vec![Run::new(40, 60)]));
        assert_eq!(
            space.allocate(20, 20),
            Some(vec![Run::new(20, 10), Run::new(1, 9), Run::new(15, 1)])
        );
        assert_eq!(space.allocate(0, 5), None);
        assert_eq!(space.allocate(0, 4), Some(vec![Run::new(16, 4)]));
        assert_eq!(space.free_blocks(), 0);
    }
}

//! Sets of runs of a group's blocks, sorted by their start.

use std::collections::BTreeMap;

/// Blocks of one group, counted from its first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) start: u32,
    /// At least 1.
    pub(super) len: u32,
}

impl Run {
    /// The block after the last.
    pub(super) fn end(self) -> u32 {
        self.start + self.len
    }

    /// What is left behind the first `len` blocks.
    pub(super) fn after(self, len: u32) -> Option<Self> {
        (len < self.len).then(|| Self {
            start: self.start + len,
            len: self.len - len,
        })
    }

    /// The first blocks of it, `len_max` at most.
    pub(super) fn cut(self, len_max: u32) -> Self {
        Self {
            start: self.start,
            len: self.len.min(len_max),
        }
    }
}

/// Runs that neither overlap nor touch.
#[derive(Debug, Default)]
pub(super) struct RunSet {
    len_by_start: BTreeMap<u32, u32>,
}

impl RunSet {
    /// Adds blocks that are not in the set, and returns the run they are in then.
    pub(super) fn insert(&mut self, run: Run) -> Run {
        let mut merged = run;
        if let Some(len) = self.len_by_start.remove(&run.end()) {
            merged.len += len;
        }
        if let Some((&start, len)) = self.len_by_start.range_mut(..run.start).next_back()
            && start + *len == run.start
        {
            *len += merged.len;
            return Run { start, len: *len };
        }
        self.len_by_start.insert(merged.start, merged.len);
        merged
    }

    /// Takes blocks out. False, and nothing has happened, if not all of them are there.
    pub(super) fn remove(&mut self, run: Run) -> bool {
        let Some(found) = self.containing(run.start) else {
            return false;
        };
        if found.end() < run.end() {
            return false;
        }
        if found.start == run.start {
            self.len_by_start.remove(&run.start);
        } else if let Some(len) = self.len_by_start.get_mut(&found.start) {
            *len = run.start - found.start;
        }
        if run.end() < found.end() {
            self.len_by_start.insert(run.end(), found.end() - run.end());
        }
        true
    }

    /// The run a block is in.
    pub(super) fn containing(&self, block: u32) -> Option<Run> {
        let (&start, &len) = self.len_by_start.range(..=block).next_back()?;
        let run = Run { start, len };
        (block < run.end()).then_some(run)
    }

    /// The runs that start at or after `from`, in order.
    pub(super) fn starting_at(&self, from: u32) -> impl Iterator<Item = Run> {
        self.len_by_start
            .range(from..)
            .map(|(&start, &len)| Run { start, len })
    }

    /// All runs in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Run> {
        self.starting_at(0)
    }

    /// Number of runs.
    pub(super) fn run_count(&self) -> usize {
        self.len_by_start.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len_by_start.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(set: &RunSet) -> Vec<(u32, u32)> {
        set.iter().map(|run| (run.start, run.len)).collect()
    }

    #[test]
    fn runs_that_touch_become_one_and_can_be_split_again() {
        let mut set = RunSet::default();
        set.insert(Run { start: 10, len: 5 });
        set.insert(Run { start: 20, len: 5 });
        assert_eq!(
            set.insert(Run { start: 15, len: 5 }),
            Run { start: 10, len: 15 }
        );
        assert_eq!(all(&set), [(10, 15)]);
        assert!(!set.remove(Run { start: 24, len: 2 }));
        assert!(!set.remove(Run { start: 9, len: 2 }));
        assert!(set.remove(Run { start: 12, len: 3 }));
        assert_eq!(all(&set), [(10, 2), (15, 10)]);
        assert!(set.remove(Run { start: 10, len: 2 }));
        assert!(set.remove(Run { start: 20, len: 5 }));
        assert_eq!(all(&set), [(15, 5)]);
        assert_eq!(set.containing(19), Some(Run { start: 15, len: 5 }));
        assert_eq!(set.containing(20), None);
    }
}

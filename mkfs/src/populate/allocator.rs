//! Blocks in the order they are asked for: each place as near behind the last
//! one as there is room, in whole clusters.

use std::ops::Range;

use crate::populate::rules::Rules;
use crate::space::{Run, Space};
use crate::{Error, Result};

/// Hands out blocks of a [`Space`].
#[derive(Debug)]
pub(super) struct Allocator {
    /// Where to look first: behind what was allocated last.
    goal: u64,
    cluster_blocks: u64,
}

impl Allocator {
    pub(super) fn new(rules: Rules<'_>) -> Self {
        Self {
            goal: 0,
            cluster_blocks: rules.cluster_blocks(),
        }
    }

    /// Takes `clusters` clusters in as few runs as there are.
    ///
    /// # Errors
    /// `DoesNotFit`, its sizes left to the caller.
    pub(super) fn clusters(&mut self, space: &mut Space, clusters: u64) -> Result<Vec<Run>> {
        let does_not_fit = || Error::DoesNotFit {
            needed_bytes: None,
            available_bytes: 0,
        };
        let len_blocks = clusters
            .checked_mul(self.cluster_blocks)
            .ok_or_else(does_not_fit)?;
        let runs = if self.cluster_blocks == 1 {
            space.allocate(self.goal, len_blocks)
        } else {
            self.aligned(space, len_blocks)
        };
        let runs = runs.ok_or_else(does_not_fit)?;
        if let Some(last) = runs.last() {
            self.goal = last.end();
        }
        Ok(runs)
    }

    /// [`Space::allocate`] on the borders of clusters.
    fn aligned(&self, space: &mut Space, len_blocks: u64) -> Option<Vec<Run>> {
        if len_blocks == 0 {
            return Some(Vec::new());
        }
        let from_goal = || self.goal..u64::MAX;
        let single = self
            .whole_clusters(space, from_goal())
            .find(|run| run.len_blocks >= len_blocks)
            .or_else(|| {
                self.whole_clusters(space, 0..u64::MAX)
                    .find(|run| run.len_blocks >= len_blocks)
            });
        let runs = match single {
            Some(run) => vec![Run { len_blocks, ..run }],
            None => {
                let mut left = len_blocks;
                let runs: Vec<Run> = self
                    .whole_clusters(space, from_goal())
                    .chain(self.whole_clusters(space, 0..self.goal))
                    .map_while(|run| {
                        let len_blocks = run.len_blocks.min(left);
                        left -= len_blocks;
                        (len_blocks > 0).then_some(Run { len_blocks, ..run })
                    })
                    .collect();
                (left == 0).then_some(runs)?
            }
        };
        runs.iter().all(|&run| space.take(run)).then_some(runs)
    }

    fn whole_clusters<'s>(
        &self,
        space: &'s Space,
        range: Range<u64>,
    ) -> impl Iterator<Item = Run> + use<'s> {
        let unit = self.cluster_blocks;
        space.free_in(range).filter_map(move |run| {
            let start = run.start.0.checked_next_multiple_of(unit)?;
            let end = run.end() - run.end() % unit;
            (start < end).then(|| Run::new(start, end - start))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allocator(cluster_blocks: u64) -> Allocator {
        Allocator {
            goal: 0,
            cluster_blocks,
        }
    }

    #[test]
    fn clusters_are_aligned_and_follow_one_another() {
        let mut space = Space::new(0..100);
        assert!(space.take(Run::new(0, 5)));
        let mut allocator = allocator(16);
        let mut take = |clusters| allocator.clusters(&mut space, clusters);
        assert_eq!(take(1).unwrap(), [Run::new(16, 16)]);
        assert_eq!(take(2).unwrap(), [Run::new(32, 32)]);
        assert_eq!(take(0).unwrap(), []);
        // 96 to 100 is no cluster.
        assert!(matches!(take(3), Err(Error::DoesNotFit { .. })));
        assert_eq!(take(2).unwrap(), [Run::new(64, 32)]);
    }

    #[test]
    fn pieces_are_taken_where_no_place_is_large_enough() {
        let mut space = Space::new(0..48);
        assert!(space.take(Run::new(20, 1)));
        let mut allocator = allocator(4);
        let runs = allocator.clusters(&mut space, 8).unwrap();
        assert_eq!(runs, [Run::new(0, 20), Run::new(24, 12)]);
    }
}

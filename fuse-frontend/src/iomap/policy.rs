//! How much is pushed, and how much is allocated, before anybody asks.
//!
//! A mapping that is pushed costs one write(2) of 96 bytes here, about a microsecond, and 32
//! bytes of the kernel's memory until the file is forgotten; one that is missing costs the
//! application a way to this process and back, some ten times that. So what is likely to be
//! used is pushed at once, up to what a program that uses none of it would not mind:
//!
//! * At open the mappings from the start of the file, [`PUSHED_AT_OPEN`] of them.
//! * On a miss where the last push ended twice as many as then, up to that number: a sequential
//!   reader is at work. On any other miss the run that was asked for, which is as long as it
//!   can be: who reads here and there would have to wait for what is of no use.
//! * Never more than the kernel's tree holds: it would drop the whole tree, and what was asked
//!   for with it. What is far behind is taken back first.
//!
//! Blocks are allocated ahead as XFS does: a file that grows gets as much again as it has,
//! behind its end, unwritten. So the number of questions falls with the length of the file.

/// Mappings pushed when a file is opened, and ahead of a sequential reader.
pub(super) const PUSHED_AT_OPEN: u32 = 1024;

/// Bytes of one mapping in the kernel's tree.
const RECORD_BYTES: u32 = 32;

/// Files that end before this get nothing ahead: most files are small and written at once.
const AHEAD_FROM_BYTES: u64 = 64 << 10;

/// The most that is allocated ahead.
const AHEAD_BYTES_MAX: u64 = 128 << 20;

/// The part of the free space one file may get ahead: a tenth part of many writers leaves
/// something for everybody.
const AHEAD_PART_OF_FREE: u64 = 8;

/// The part of the free space all files together may get ahead where there is no reserve.
const AHEAD_PART_OF_ALL: u64 = 32;

/// Numbers that depend on the mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Policy {
    /// Mappings one tree of the kernel's holds.
    pub(super) tree_records_max: u32,
}

impl Policy {
    /// `tree_bytes` is what the kernel gives one tree.
    pub(super) fn new(tree_bytes: u32) -> Self {
        Self {
            // One is always spoken of, however small the tree.
            tree_records_max: (tree_bytes / RECORD_BYTES).max(2),
        }
    }

    /// How many mappings to push when the file is opened.
    pub(super) fn at_open(&self) -> u32 {
        PUSHED_AT_OPEN.min(self.tree_records_max / 2)
    }

    /// How many mappings to push after a miss where a push of `last` mappings ended, if it is
    /// one.
    pub(super) fn at_miss(&self, last: Option<u32>) -> u32 {
        last.map_or(1, |last| last.saturating_mul(2).clamp(1, self.at_open()))
    }
}

/// How many bytes to allocate behind a write that ends at `end`, where a file grows.
pub(super) fn ahead_bytes(end: u64, free_bytes: u64) -> u64 {
    if end < AHEAD_FROM_BYTES {
        return 0;
    }
    end.min(AHEAD_BYTES_MAX)
        .min(free_bytes / AHEAD_PART_OF_FREE)
}

/// How many bytes all files may hold ahead. The reserve stands in for them, so that nobody
/// finds the volume full for their sake; without a reserve it is full a little early.
///
/// They cannot be taken from who is writing: a direct write to them may be under way.
pub(super) fn all_ahead_bytes(free_bytes: u64, reserve_bytes: u64) -> u64 {
    reserve_bytes.max(free_bytes / AHEAD_PART_OF_ALL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_holds_what_is_pushed() {
        for tree_bytes in [0, 256, 4096, 262_144, 2_097_152] {
            let policy = Policy::new(tree_bytes);
            assert!(policy.at_open() <= policy.tree_records_max);
            assert!((1..=policy.tree_records_max).contains(&policy.at_miss(Some(u32::MAX))));
            assert_eq!(policy.at_miss(None), 1);
        }
        let usual = Policy::new(262_144);
        assert_eq!(usual.at_open(), 1024);
        assert_eq!(
            [1, 2, 1024].map(|last| usual.at_miss(Some(last))),
            [2, 4, 1024]
        );
    }

    #[test]
    fn a_gibibyte_takes_few_questions_once_it_is_long() {
        const MIB: u64 = 1 << 20;
        let (mut end, mut questions_behind_64) = (0, 0);
        while end < 1024 * MIB {
            if end >= 64 * MIB {
                questions_behind_64 += 1;
            }
            end += MIB + ahead_bytes(end + MIB, 8 << 30);
        }
        assert!(
            questions_behind_64 <= (1024 - 64) / 64,
            "{questions_behind_64}"
        );
    }

    #[test]
    fn short_files_and_full_volumes_get_nothing_ahead() {
        assert_eq!(ahead_bytes(4096, u64::MAX), 0);
        assert_eq!(ahead_bytes(1 << 30, 0), 0);
        assert_eq!(ahead_bytes(1 << 30, 80 << 20), 10 << 20);
    }
}

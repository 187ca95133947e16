//! The ring of blocks that transactions are written to, round and round.

/// A block of the log, counted from the log's first block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LogBlock(pub(crate) u32);

/// The blocks `first .. end` of the log; `first` follows the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ring {
    first: u32,
    end: u32,
}

impl Ring {
    /// None unless there is at least one block.
    pub(super) fn new(first: u32, end: u32) -> Option<Self> {
        (first < end).then_some(Self { first, end })
    }

    /// Number of blocks, at least 1.
    pub(super) fn len_blocks(self) -> u32 {
        self.end.saturating_sub(self.first)
    }

    /// Its first block.
    pub(super) fn first(self) -> u32 {
        self.first
    }

    /// The block after one of the ring's.
    pub(super) fn after(self, block: u32) -> u32 {
        match block.checked_add(1) {
            Some(next) if next < self.end => next,
            _ => self.first,
        }
    }

    /// True if `block` is one of the ring's.
    pub(super) fn contains(self, block: LogBlock) -> bool {
        (self.first..self.end).contains(&block.0)
    }

    /// The whole ring, from `block` on; `None` if that is none of its blocks.
    pub(super) fn from(self, block: LogBlock) -> Option<Cursor> {
        self.contains(block).then_some(Cursor {
            ring: self,
            next: block.0,
            left_blocks: self.len_blocks(),
        })
    }
}

/// A walk along the ring that visits no block twice: a log that leads around
/// in circles ends.
#[derive(Debug, Clone)]
pub(super) struct Cursor {
    ring: Ring,
    next: u32,
    left_blocks: u32,
}

impl Cursor {
    /// The next block; `None` once the walk has come round.
    pub(super) fn advance(&mut self) -> Option<LogBlock> {
        let block = LogBlock(self.next);
        self.skip(1).then_some(block)
    }

    /// Leaves out `count` blocks; false if there are not as many.
    pub(super) fn skip(&mut self, count: u32) -> bool {
        let Some(left) = self.left_blocks.checked_sub(count) else {
            return false;
        };
        self.left_blocks = left;
        // Not more than once round, as `count` is at most the ring's length.
        let to_end = self.ring.end.saturating_sub(self.next);
        self.next = if count < to_end {
            self.next.saturating_add(count)
        } else {
            self.ring.first.saturating_add(count.saturating_sub(to_end))
        };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_wraps_and_ends() {
        let ring = Ring::new(1, 5).unwrap();
        let mut cursor = ring.from(LogBlock(3)).unwrap();
        let visited: Vec<u32> = std::iter::from_fn(|| cursor.advance().map(|b| b.0)).collect();
        assert_eq!(visited, [3, 4, 1, 2]);

        let mut cursor = ring.from(LogBlock(4)).unwrap();
        assert!(cursor.skip(3));
        assert_eq!(cursor.advance(), Some(LogBlock(3)));
        assert!(!cursor.skip(1));

        assert!(ring.from(LogBlock(0)).is_none());
        assert!(ring.from(LogBlock(5)).is_none());
        assert!(Ring::new(5, 5).is_none());
    }
}

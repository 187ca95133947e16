//! A group's blocks: which are in use, which can be taken now, which wait for the
//! transaction that freed them.
//!
//! ```text
//!                     bit   `available`   `freed`   `holds`
//!   in use             1        -            -         -
//!   can be taken       0       yes           -         -
//!   freed, not durable 0        -           yes        -
//!   in a window        0        -            -        counted
//! ```

use crate::error::{Error, Result};
use crate::format::group_descriptor::BG_BLOCK_UNINIT;
use crate::transaction::TransactionId;

use super::bits;
use super::group::{Locked, Slot};
use super::runs::{Run, RunSet};

/// What a run in a set costs in memory, about.
const RUN_COST_BYTES: usize = 12;

/// What a search has learnt: runs that start before `until` are shorter than `len`.
#[derive(Debug, Clone, Copy, Default)]
struct Short {
    until: u32,
    len: u32,
}

/// See the module.
#[derive(Debug)]
pub(super) struct GroupBlocks {
    /// The bitmap as the next commit writes it.
    pub(super) used: Box<[u8]>,
    available: RunSet,
    /// Runs by the transaction that freed them: the running one, and the one being
    /// committed.
    freed: Vec<(TransactionId, RunSet)>,
    /// Runs that somebody keeps out of all three.
    holds: u32,
    short: Short,
    /// The bitmap has to be written.
    pub(super) is_dirty: bool,
    cost_bytes: usize,
}

impl GroupBlocks {
    /// `used` counts `len` blocks.
    pub(super) fn new(used: Box<[u8]>, len: u32) -> Self {
        let mut available = RunSet::default();
        bits::zero_runs(&used, len, |start, len| {
            available.insert(Run { start, len });
        });
        let cost_bytes = size_of::<Self>() + used.len() + available.run_count() * RUN_COST_BYTES;
        Self {
            used,
            available,
            freed: Vec::new(),
            holds: 0,
            short: Short::default(),
            is_dirty: false,
            cost_bytes,
        }
    }

    /// Keeps free blocks of a run from ever being taken; true if there were any.
    pub(super) fn exclude(&mut self, run: Run) -> bool {
        let mut had_any = false;
        while let Some(found) = self.next_available(run.start, run.end(), 1) {
            had_any |= self.available.remove(found);
        }
        had_any
    }

    /// True if the device does not have all that is known.
    pub(super) fn is_needed(&self) -> bool {
        self.is_dirty || self.holds > 0 || self.freed.iter().any(|(_, runs)| !runs.is_empty())
    }

    pub(super) fn cost_bytes(&self) -> usize {
        self.cost_bytes
    }

    /// The longest run that can be taken.
    pub(super) fn longest(&self) -> u32 {
        self.available.iter().map(|run| run.len).max().unwrap_or(0)
    }

    /// Blocks from `goal` on if it can be taken.
    pub(super) fn at(&self, goal: u32) -> Option<Run> {
        let found = self.available.containing(goal)?;
        Some(Run {
            start: goal,
            len: found.end() - goal,
        })
    }

    /// The first run that can be taken, starts in the range and is no shorter.
    pub(super) fn next_available(&self, from: u32, end: u32, len_min: u32) -> Option<Run> {
        let first = self.at(from).into_iter();
        first
            .chain(self.available.starting_at(from.saturating_add(1)))
            .take_while(|run| run.start < end)
            .map(|run| run.cut(end - run.start))
            .find(|run| run.len >= len_min)
    }

    /// The first run that starts at or after `from` and has `enough` blocks.
    fn search(&mut self, from: u32, enough: u32) -> Option<Run> {
        let short = self.short;
        let knows = from <= short.until && short.len <= enough;
        let start = if knows { short.until } else { from };
        let found = self
            .available
            .starting_at(start)
            .find(|run| run.len >= enough)?;
        if (from == 0 || knows) && found.start > short.until {
            self.short = Short {
                until: found.start,
                len: enough,
            };
        }
        Some(found)
    }

    fn add_available(&mut self, run: Run) -> Run {
        let merged = self.available.insert(run);
        if merged.start < self.short.until && merged.len >= self.short.len {
            self.short.until = merged.start;
        }
        merged
    }
}

impl Locked<'_> {
    fn blocks(&mut self) -> Result<&mut GroupBlocks> {
        self.state.blocks.get()
    }

    /// At least `enough` blocks in a row, as near behind `goal` as there are, else before
    /// it; the whole rest of their run. `None` teaches the group how long its longest is.
    pub(super) fn find_blocks(&mut self, goal: u32, enough: u32) -> Result<Option<Run>> {
        let blocks = self.blocks()?;
        let rest = blocks.at(goal).filter(|run| run.len >= enough);
        let found = rest
            .or_else(|| blocks.search(goal, enough))
            .or_else(|| blocks.search(0, enough));
        if found.is_none() {
            let longest = blocks.longest();
            self.group.longest.set(longest);
        }
        Ok(found)
    }

    /// True if all of these can be taken.
    pub(super) fn has_available(&mut self, run: Run) -> Result<bool> {
        let found = self.blocks()?.at(run.start);
        Ok(found.is_some_and(|found| found.len >= run.len))
    }

    /// Takes blocks that can be taken. Returns the blocks added to the commit.
    pub(super) fn take_blocks(&mut self, run: Run) -> Result<usize> {
        let blocks = self.blocks()?;
        if !blocks.available.remove(run) {
            return Err(inconsistent());
        }
        bits::fill(&mut blocks.used, run.start, run.len, true);
        self.group.available_blocks.sub(run.len);
        self.group.free_blocks.sub(run.len);
        self.dirty_blocks()
    }

    /// Takes blocks that were held. Returns the blocks added to the commit.
    pub(super) fn take_held_blocks(&mut self, run: Run) -> Result<usize> {
        let blocks = self.blocks()?;
        bits::fill(&mut blocks.used, run.start, run.len, true);
        self.group.free_blocks.sub(run.len);
        self.dirty_blocks()
    }

    /// Undoes [`take_blocks`](Self::take_blocks).
    pub(super) fn untake_blocks(&mut self, run: Run) -> Result<()> {
        let blocks = self.blocks()?;
        bits::fill(&mut blocks.used, run.start, run.len, false);
        self.group.free_blocks.add(run.len);
        self.make_available(run)
    }

    /// Keeps blocks that can be taken from being taken by others.
    pub(super) fn hold_blocks(&mut self, run: Run) -> Result<()> {
        let blocks = self.blocks()?;
        if !blocks.available.remove(run) {
            return Err(inconsistent());
        }
        blocks.holds += 1;
        self.group.available_blocks.sub(run.len);
        Ok(())
    }

    /// Ends a hold; `rest` is what was not taken of it.
    pub(super) fn end_hold(&mut self, rest: Option<Run>) -> Result<()> {
        let blocks = self.blocks()?;
        blocks.holds = blocks.holds.saturating_sub(1);
        match rest {
            Some(rest) => self.make_available(rest),
            None => Ok(()),
        }
    }

    /// Frees blocks in a transaction; they can be taken when it is durable. Returns the
    /// blocks added to the commit.
    ///
    /// # Errors
    /// `Corrupt` if not all of them are in use.
    pub(super) fn free_blocks(&mut self, run: Run, id: TransactionId) -> Result<usize> {
        let blocks = self.blocks()?;
        if !bits::all_are(&blocks.used, run.start, run.len, true) {
            return Err(Error::corrupt(
                "block bitmap",
                None,
                "blocks that are freed to be in use",
                "free ones",
            ));
        }
        bits::fill(&mut blocks.used, run.start, run.len, false);
        match blocks
            .freed
            .iter_mut()
            .find(|(freed_in, _)| *freed_in == id)
        {
            Some((_, runs)) => {
                runs.insert(run);
            }
            None => {
                let mut runs = RunSet::default();
                runs.insert(run);
                blocks.freed.push((id, runs));
            }
        }
        self.group.free_blocks.add(run.len);
        self.dirty_blocks()
    }

    /// Undoes [`free_blocks`](Self::free_blocks).
    pub(super) fn unfree_blocks(&mut self, run: Run, id: TransactionId) -> Result<()> {
        let blocks = self.blocks()?;
        let mut freed = blocks.freed.iter_mut();
        let runs = freed.find(|(freed_in, _)| *freed_in == id);
        if !runs.is_some_and(|(_, runs)| runs.remove(run)) {
            return Err(inconsistent());
        }
        bits::fill(&mut blocks.used, run.start, run.len, true);
        self.group.free_blocks.sub(run.len);
        Ok(())
    }

    /// The blocks freed up to a transaction; they are held until
    /// [`end_hold`](Self::end_hold) or [`release_blocks`](Self::release_blocks).
    pub(super) fn hold_freed_blocks(&mut self, id: TransactionId) -> Option<RunSet> {
        let Slot::Loaded(blocks) = &mut self.state.blocks else {
            return None;
        };
        let at = blocks
            .freed
            .iter()
            .position(|(freed_in, _)| *freed_in <= id)?;
        let (_, runs) = blocks.freed.swap_remove(at);
        blocks.holds += 1;
        Some(runs)
    }

    /// Ends the hold of freed blocks: they can be taken.
    pub(super) fn release_blocks(&mut self, runs: &RunSet) -> Result<()> {
        for run in runs.iter() {
            self.make_available(run)?;
        }
        self.end_hold(None)
    }

    fn make_available(&mut self, run: Run) -> Result<()> {
        let merged = self.blocks()?.add_available(run);
        let group = self.group;
        group.available_blocks.add(run.len);
        group.longest.set(group.longest.get().max(merged.len));
        Ok(())
    }

    /// Notes that the block bitmap has to be written, which is then valid. Returns the
    /// blocks added to the commit.
    pub(super) fn dirty_blocks(&mut self) -> Result<usize> {
        if std::mem::replace(&mut self.blocks()?.is_dirty, true) {
            return Ok(0);
        }
        self.state.flags &= !BG_BLOCK_UNINIT;
        Ok(self.state.dirtied())
    }
}

fn inconsistent() -> Error {
    Error::corrupt(
        "index of free blocks",
        None,
        "what the bitmap says",
        "something else",
    )
}

//! Where free blocks are looked for.

use crate::error::{Error, ErrorKind, Result};
use crate::store::Store;
use crate::transaction::Handle;

use super::allocate::Wish;
use super::runs::Run;
use super::{BlockRun, Space};

/// A run this long is long enough for any wish, in bytes: rather than to look for a longer
/// one far away, the rest is asked for separately.
const LONG_BYTES: u32 = 8 << 20;
/// Shorter runs than this are not taken while windows keep longer ones, in bytes.
const SHORT_BYTES: u32 = 256 << 10;
/// Groups whose bitmap is read in search of a run before a shorter one is good enough.
const LOADS_MAX: u32 = 32;
/// Searches for more blocks than this do not follow the trail of others.
const TRAIL_BLOCKS_MAX: u32 = 16;

impl Space {
    /// Takes the best run that is not in a window; the last resort is a single block
    /// anywhere, for which all windows are given up.
    ///
    /// # Errors
    /// `NoSpace`; `Corrupt` if there would be room in a group whose bitmap is damaged.
    pub(super) fn take_near<'v>(
        &'v self,
        store: &'v Store,
        handle: &mut Handle<'v>,
        wish: Wish,
    ) -> Result<BlockRun> {
        let blocks = |bytes: u32| (bytes / self.geometry.block_bytes).max(1);
        let best = wish.len.min(blocks(LONG_BYTES));
        let short = wish.len.min(blocks(SHORT_BYTES));
        let mut enough = best;
        let mut may_give_back = true;
        loop {
            match self.take_enough(store, handle, wish, enough)? {
                Some(run) => return Ok(run),
                None if enough <= short && may_give_back => {
                    may_give_back = false;
                    let is_more = self.give_back_windows() | self.wait_for_trim();
                    enough = if is_more { best } else { enough / 2 };
                }
                None => enough /= 2,
            }
            if enough == 0 {
                return Err(self.no_space());
            }
        }
    }

    fn no_space(&self) -> Error {
        let damaged = self.damaged.lock().clone();
        let is_wanted = |number| {
            let group = self.group(number);
            group.is_ok_and(|group| group.free_blocks.get() > 0)
        };
        match damaged {
            Some((number, why)) if is_wanted(number) => {
                let name = format_args!("block bitmap of group {number}");
                let expected = "no damage where the last free blocks are";
                Error::corrupt(name, None, expected, why)
            }
            _ => ErrorKind::NoSpace.into(),
        }
    }

    /// Takes a run of at least `enough` blocks from the nearest group that has one.
    fn take_enough<'v>(
        &'v self,
        store: &'v Store,
        handle: &mut Handle<'v>,
        wish: Wish,
        enough: u32,
    ) -> Result<Option<BlockRun>> {
        loop {
            let Some((number, found)) = self.find_near(store, wish, enough)? else {
                return Ok(None);
            };
            let mut locked = self.lock_blocks(store, number)?;
            // Others may have taken some of it meanwhile.
            let found = locked.state.blocks.get()?.at(found.start);
            if let Some(found) = found.filter(|found| found.len >= enough) {
                return self
                    .take_run(handle, number, locked, found.cut(wish.len))
                    .map(Some);
            }
        }
    }

    /// What can be taken from the goal on.
    pub(super) fn available_at(&self, store: &Store, wish: Wish) -> Result<Option<Run>> {
        if self.group(wish.group)?.longest.get() == 0 {
            return Ok(None);
        }
        match self.lock_blocks(store, wish.group) {
            Ok(mut locked) => Ok(locked.state.blocks.get()?.at(wish.goal)),
            Err(error) if error.is_corruption() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Takes blocks from the goal on, as many as there are, if there are any.
    pub(super) fn take_at<'v>(
        &'v self,
        store: &'v Store,
        handle: &mut Handle<'v>,
        wish: Wish,
    ) -> Result<Option<BlockRun>> {
        if self.group(wish.group)?.longest.get() == 0 {
            return Ok(None);
        }
        let mut locked = match self.lock_blocks(store, wish.group) {
            Ok(locked) => locked,
            Err(error) if error.is_corruption() => return Ok(None),
            Err(error) => return Err(error),
        };
        match locked.state.blocks.get()?.at(wish.goal) {
            Some(found) => self
                .take_run(handle, wish.group, locked, found.cut(wish.len))
                .map(Some),
            None => Ok(None),
        }
    }

    /// A run of at least `enough` blocks in the nearest group that has one; the whole rest
    /// of its run.
    pub(super) fn find_near(
        &self,
        store: &Store,
        wish: Wish,
        enough: u32,
    ) -> Result<Option<(u32, Run)>> {
        let mut loads = 0;
        for number in self.groups_to_search(wish.group, enough) {
            let group = self.group(number)?;
            if group.longest.get() < enough {
                continue;
            }
            if group.is_loaded.get() == 0 {
                loads += 1;
                if loads > LOADS_MAX && enough > 1 {
                    continue;
                }
            }
            let goal = if number == wish.group { wish.goal } else { 0 };
            let found = match self.lock_blocks(store, number) {
                Ok(mut locked) => locked.find_blocks(goal, enough)?,
                Err(error) if error.is_corruption() => continue,
                Err(error) => return Err(error),
            };
            if let Some(found) = found {
                self.leave_trail(wish.group, enough, number);
                return Ok(Some((number, found)));
            }
        }
        Ok(None)
    }

    /// The groups of the flex group, beginning with this one; then all, beginning where
    /// the last search from here ended if it was for few blocks as well: what lies
    /// between was full then.
    fn groups_to_search(&self, group: u32, enough: u32) -> impl Iterator<Item = u32> + use<> {
        let count = self.geometry.group_count;
        let (start, end) = self.geometry.flex_bounds(group);
        let trail = match self.group(group) {
            Ok(group) if enough <= TRAIL_BLOCKS_MAX => group.trail.get(),
            _ => 0,
        };
        let first = if trail == 0 { end } else { trail }.min(count);
        (group..end)
            .chain(start..group)
            .chain(first..count)
            .chain(0..first)
    }

    fn leave_trail(&self, from: u32, enough: u32, to: u32) {
        let (start, end) = self.geometry.flex_bounds(from);
        if enough <= TRAIL_BLOCKS_MAX
            && !(start..end).contains(&to)
            && let Ok(group) = self.group(from)
        {
            group.trail.set(to);
        }
    }
}

//! Inodes in memory, as they were parsed.
//!
//! A table of small sets: an inode can lie in one set only, each has a lock of its own,
//! and looking one up touches one line of the processor's cache. (A list in order of use
//! touches its neighbours with every look, and has one lock for many.) A full set gives up
//! one by the clock: a hand goes around and takes the first that has not been asked for
//! since it last came by.

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use crate::format::inode::Inode;
use crate::types::InodeNumber;

/// Inodes in one set.
const WAYS: usize = 4;
/// However little memory there may be.
const SETS_MIN: usize = 64;
/// No inode has this number.
const NONE: InodeNumber = InodeNumber(0);

/// The inodes of one set.
#[derive(Debug)]
pub(crate) struct Set {
    numbers: [InodeNumber; WAYS],
    inodes: [Option<Arc<Inode>>; WAYS],
    /// A bit for each one that was asked for since the hand came by.
    used: u8,
    /// Where the next search for room begins.
    hand: u8,
}

/// A line of the processor's cache.
#[derive(Debug)]
#[repr(align(64))]
struct Line(Mutex<Set>);

const _: () = assert!(size_of::<Line>() == 64);

impl Set {
    const EMPTY: Self = Self {
        numbers: [NONE; WAYS],
        inodes: [const { None }; WAYS],
        used: 0,
        hand: 0,
    };

    fn position(&self, number: InodeNumber) -> Option<usize> {
        self.numbers.iter().position(|&other| other == number)
    }

    fn get(&mut self, number: InodeNumber) -> Option<Arc<Inode>> {
        let way = self.position(number)?;
        self.used |= 1 << way;
        self.inodes.get(way)?.clone()
    }

    /// Keeps an inode, in place of an older state of it.
    pub(crate) fn put(&mut self, inode: &Arc<Inode>) {
        let number = inode.number();
        let way = match self.position(number) {
            Some(way) => way,
            None => self.make_room(),
        };
        if let (Some(slot), Some(place)) = (self.numbers.get_mut(way), self.inodes.get_mut(way)) {
            *slot = number;
            *place = Some(Arc::clone(inode));
        }
    }

    /// A way for one more inode, which has not been asked for yet: an empty one, or that of
    /// the inode that has to go.
    fn make_room(&mut self) -> usize {
        let way = match self.position(NONE) {
            Some(way) => way,
            None => {
                // Whoever has been asked for since the hand came by is passed over once.
                while self.used >> self.hand & 1 != 0 {
                    self.used &= !(1 << self.hand);
                    self.hand = (self.hand + 1) % WAYS as u8;
                }
                usize::from(self.hand)
            }
        };
        self.hand = ((way + 1) % WAYS) as u8;
        self.used &= !(1 << way);
        way
    }

    fn remove(&mut self, number: InodeNumber) {
        if let Some(way) = self.position(number)
            && let (Some(slot), Some(place)) = (self.numbers.get_mut(way), self.inodes.get_mut(way))
        {
            *slot = NONE;
            *place = None;
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct InodeCache {
    sets: Box<[Line]>,
}

impl InodeCache {
    /// A cache of at most about so many inodes.
    pub(crate) fn new(inodes: usize) -> Self {
        let sets = (inodes / WAYS).max(SETS_MIN);
        Self {
            sets: (0..sets).map(|_| Line(Mutex::new(Set::EMPTY))).collect(),
        }
    }

    /// The inode, if it is here.
    pub(crate) fn get(&self, number: InodeNumber) -> Option<Arc<Inode>> {
        self.set(number)?.lock().get(number)
    }

    /// The set an inode would be in, locked. `None` cannot happen.
    pub(crate) fn lock(&self, number: InodeNumber) -> Option<MutexGuard<'_, Set>> {
        self.set(number).map(Mutex::lock)
    }

    /// Keeps an inode as it is now.
    pub(crate) fn put(&self, inode: &Arc<Inode>) {
        if let Some(mut set) = self.lock(inode.number()) {
            set.put(inode);
        }
    }

    /// Has the inode read again where it is needed next.
    pub(crate) fn remove(&self, number: InodeNumber) {
        if let Some(mut set) = self.lock(number) {
            set.remove(number);
        }
    }

    fn set(&self, number: InodeNumber) -> Option<&Mutex<Set>> {
        // Inodes of a directory are neighbours, and directories often begin at multiples of
        // a power of two: multiplied by the golden ratio both spread.
        let spread = u64::from(number.0).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> u32::BITS;
        let set = (spread * self.sets.len() as u64) >> u32::BITS;
        self.sets
            .get(usize::try_from(set).ok()?)
            .map(|line| &line.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inode(number: InodeNumber) -> Arc<Inode> {
        Arc::new(Inode::example(number))
    }

    fn misses(cache: &InodeCache, numbers: &[InodeNumber]) -> usize {
        let is_missed = |&&number: &&InodeNumber| match cache.get(number) {
            Some(_) => false,
            None => {
                cache.put(&inode(number));
                true
            }
        };
        numbers.iter().filter(is_missed).count()
    }

    /// 40 directories of 1000 files, each directory in a group of its own, as far as there
    /// are groups.
    fn directories() -> Vec<InodeNumber> {
        let number =
            |dir: u32, file: u32| InodeNumber(dir % 32 * 8192 + dir / 32 * 1001 + file + 12);
        (0..40)
            .flat_map(|dir| (0..1000).map(move |file| number(dir, file)))
            .collect()
    }

    /// What is looked at again and again, and would fit, comes to be there whole, whatever
    /// was there before.
    #[test]
    fn what_fits_stays() {
        let all = directories();
        let cache = InodeCache::new(all.len() / 2);
        for _ in 0..3 {
            misses(&cache, &all);
        }
        let ten = all.get(..10_000).unwrap();
        let passes: Vec<usize> = (0..4).map(|_| misses(&cache, ten)).collect();
        assert!(passes[3] < 100, "{passes:?}");
    }

    #[test]
    fn the_newest_state_counts_and_can_be_removed() {
        let cache = InodeCache::new(100);
        let number = InodeNumber(12);
        let (old, new) = (inode(number), inode(number));
        cache.put(&old);
        cache.put(&new);
        assert!(Arc::ptr_eq(&cache.get(number).unwrap(), &new));
        cache.remove(number);
        assert!(cache.get(number).is_none());
    }

    /// What is asked for again and again outlives what comes once.
    #[test]
    fn a_full_set_gives_up_what_is_not_used() {
        let cache = InodeCache::new(0);
        let kept = InodeNumber(7);
        cache.put(&inode(kept));
        for number in 1000..20_000 {
            cache.put(&inode(InodeNumber(number)));
            assert!(cache.get(kept).is_some(), "given up for {number}");
        }
        let held = (1000..20_000).filter(|&n| cache.get(InodeNumber(n)).is_some());
        assert!(held.count() <= SETS_MIN * WAYS);
    }
}

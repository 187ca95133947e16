//! Inodes in memory, as they were parsed.
//!
//! A table of small sets: an inode can lie in one set only, each has a lock of its own,
//! and looking one up touches one line of the processor's cache. (A list in order of use
//! touches its neighbours with every look, and has one lock for many.) A full set gives up
//! one of those that have not been asked for since it last had to choose.

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
    /// A bit for each one that was asked for since the last choice.
    used: u8,
    /// Where the next choice begins.
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
        let hand = usize::from(self.hand);
        let from_hand = || (hand..hand + WAYS).map(|way| way % WAYS);
        if from_hand().all(|way| self.used >> way & 1 != 0) {
            self.used = 0;
        }
        let unused = from_hand().find(|way| self.used >> way & 1 == 0);
        let way = self.position(NONE).or(unused).unwrap_or(hand);
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
        let spread = u64::from(number.0.wrapping_mul(0x9E37_79B9));
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

    /// Enough room for all of them, neighbours and inodes at the beginnings of groups alike.
    #[test]
    fn what_fits_stays() {
        for stride in [1, 16, 8192] {
            let cache = InodeCache::new(4000);
            let numbers: Vec<InodeNumber> = (1..1000).map(|n| InodeNumber(n * stride)).collect();
            for &number in &numbers {
                cache.put(&inode(number));
            }
            let held = numbers.iter().filter(|&&n| cache.get(n).is_some()).count();
            assert!(held > 990, "{held} of 999, {stride} apart");
        }
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

//! How many requests there were, of each kind.
//!
//! Each thread counts in lines of its own, so counting waits for nobody; who asks adds up.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::wire::opcode;

/// Opcodes are told apart if they have one of so many places; others are counted together, as
/// number 0.
const KINDS: usize = 64;
/// Opcodes below this have their own places. Behind them are those of iomap.
const COMMON_END: u32 = 57;
const _: () = assert!(opcode::IOMAP_END - opcode::FREEZE_FS + COMMON_END < KINDS as u32);

/// How long others are waited for at the end, at a time and in all.
const WAIT: Duration = Duration::from_micros(200);
const WAITS_MAX: u32 = 50_000;

/// The place of an opcode.
fn place_of(opcode: u32) -> usize {
    let place = match opcode {
        0..COMMON_END => opcode,
        opcode::FREEZE_FS..=opcode::IOMAP_END => opcode - opcode::FREEZE_FS + COMMON_END,
        _ => 0,
    };
    usize::try_from(place).unwrap_or(0)
}

/// The opcode of a place.
fn opcode_at(place: u32) -> u32 {
    match place {
        0..COMMON_END => place,
        _ => place - COMMON_END + opcode::FREEZE_FS,
    }
}

/// One thread's.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Counter {
    by_opcode: [AtomicU64; KINDS],
    errors: AtomicU64,
    /// A request has been read and is not yet answered.
    is_busy: AtomicBool,
}

impl Counter {
    fn new() -> Self {
        Self {
            by_opcode: std::array::from_fn(|_| AtomicU64::new(0)),
            errors: AtomicU64::new(0),
            is_busy: AtomicBool::new(false),
        }
    }

    /// The thread has read a request, or is done with it.
    pub(crate) fn set_busy(&self, is_busy: bool) {
        self.is_busy.store(is_busy, Ordering::Release);
    }

    /// A request came.
    pub(crate) fn request(&self, opcode: u32) {
        if let Some(count) = self.by_opcode.get(place_of(opcode)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A request was answered with an error.
    pub(crate) fn error(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }
}

/// Those of all threads.
#[derive(Debug)]
pub(crate) struct Counters(Vec<Counter>);

impl Counters {
    pub(crate) fn new(threads: usize) -> Self {
        Self((0..threads.max(1)).map(|_| Counter::new()).collect())
    }

    /// The one of thread `index`.
    pub(crate) fn of_thread(&self, index: usize) -> Option<&Counter> {
        self.0.get(index)
    }

    pub(crate) fn thread_count(&self) -> usize {
        self.0.len()
    }

    /// Waits until no thread but the caller's is at work.
    pub(crate) fn wait_for_others(&self) {
        let busy = || {
            self.0
                .iter()
                .filter(|one| one.is_busy.load(Ordering::Acquire))
        };
        for _ in 0..WAITS_MAX {
            if busy().count() <= 1 {
                return;
            }
            std::thread::sleep(WAIT);
        }
    }

    /// How many requests of each kind there were; kinds that never came are left out.
    pub(crate) fn requests(&self) -> BTreeMap<String, u64> {
        let mut sums: BTreeMap<String, u64> = BTreeMap::new();
        for counter in &self.0 {
            for (place, count) in (0..).zip(&counter.by_opcode) {
                let count = count.load(Ordering::Relaxed);
                if count > 0 {
                    *sums.entry(opcode::name(opcode_at(place))).or_default() += count;
                }
            }
        }
        sums
    }

    /// How many were answered with an error.
    pub(crate) fn errors(&self) -> u64 {
        let each = self.0.iter();
        each.map(|counter| counter.errors.load(Ordering::Relaxed))
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_add_up_by_name() {
        let counters = Counters::new(2);
        for index in 0..2 {
            let counter = counters.of_thread(index).expect("a thread");
            counter.request(opcode::LOOKUP);
            counter.request(opcode::READ);
            counter.request(4096);
            counter.request(opcode::IOMAP_BEGIN);
            counter.error();
        }
        assert!(counters.of_thread(2).is_none());
        let sums: Vec<_> = counters.requests().into_iter().collect();
        let expected = [("IOMAP_BEGIN", 2), ("LOOKUP", 2), ("READ", 2), ("other", 2)];
        assert_eq!(sums, expected.map(|(name, count)| (name.to_owned(), count)));
        assert_eq!(counters.errors(), 2);
    }
}

//! How many requests there were, of each kind.
//!
//! Each thread counts in lines of its own, so counting waits for nobody; who asks adds up.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::wire::opcode;

/// Opcodes below this are told apart; those above are counted together, as number 0.
const KINDS: usize = 64;

/// One thread's.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Counter {
    by_opcode: [AtomicU64; KINDS],
    errors: AtomicU64,
}

impl Counter {
    fn new() -> Self {
        Self {
            by_opcode: std::array::from_fn(|_| AtomicU64::new(0)),
            errors: AtomicU64::new(0),
        }
    }

    /// A request came.
    pub(crate) fn request(&self, opcode: u32) {
        let kind = usize::try_from(opcode).ok().filter(|kind| *kind < KINDS);
        if let Some(count) = self.by_opcode.get(kind.unwrap_or(0)) {
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

    /// How many requests of each kind there were; kinds that never came are left out.
    pub(crate) fn requests(&self) -> BTreeMap<String, u64> {
        let mut sums: BTreeMap<String, u64> = BTreeMap::new();
        for counter in &self.0 {
            for (opcode, count) in (0..).zip(&counter.by_opcode) {
                let count = count.load(Ordering::Relaxed);
                if count > 0 {
                    *sums.entry(opcode::name(opcode)).or_default() += count;
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
            counter.request(63);
            counter.error();
        }
        assert!(counters.of_thread(2).is_none());
        let sums: Vec<_> = counters.requests().into_iter().collect();
        let expected = [("63", 2), ("LOOKUP", 2), ("READ", 2), ("other", 2)];
        assert_eq!(sums, expected.map(|(name, count)| (name.to_owned(), count)));
        assert_eq!(counters.errors(), 2);
    }
}

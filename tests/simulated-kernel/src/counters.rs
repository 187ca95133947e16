//! How often what happened.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rustix::io::Errno;

use crate::rule::Rule;

/// Counts since the kernel was made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests sent, by opcode.
    pub requests: BTreeMap<u32, u64>,
    /// BEGINs, by their operation flags.
    pub begins: BTreeMap<u32, u64>,
    /// Upserts accepted.
    pub upserts: u64,
    /// Upserts refused, by the errno's number.
    pub upserts_refused: BTreeMap<i32, u64>,
    /// INVAL_MAPPINGS accepted.
    pub invalidations: u64,
    /// Lookups in the mapping cache that needed no BEGIN.
    pub cache_hits: u64,
    /// IOENDs of I/O that went well and were answered with an error. S may not tell anybody.
    pub failed_completions: u64,
    /// Mapping trees emptied because they were over their limit.
    pub trees_dropped: u64,
    /// Threads that set NOFS.
    pub nofs_threads: u64,
    /// Replies, notifications and ioctls refused, by rule.
    pub refused: BTreeMap<Rule, u64>,
}

impl Counts {
    /// BEGINs of all kinds.
    #[must_use]
    pub fn begin_count(&self) -> u64 {
        self.begins.values().sum()
    }

    /// BEGINs that had all of these operation flags.
    #[must_use]
    pub fn begins_with(&self, opflags: u32) -> u64 {
        let with = |flags: &u32| flags & opflags == opflags;
        let begins = self.begins.iter().filter(|(flags, _)| with(flags));
        begins.map(|(_, count)| count).sum()
    }

    /// Requests with an opcode.
    #[must_use]
    pub fn request_count(&self, opcode: u32) -> u64 {
        self.requests.get(&opcode).copied().unwrap_or(0)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counter {
    requests: Mutex<BTreeMap<u32, u64>>,
    begins: Mutex<BTreeMap<u32, u64>>,
    upserts_refused: Mutex<BTreeMap<i32, u64>>,
    pub(crate) upserts: AtomicU64,
    pub(crate) invalidations: AtomicU64,
    pub(crate) cache_hits: AtomicU64,
    pub(crate) failed_completions: AtomicU64,
    pub(crate) trees_dropped: AtomicU64,
    pub(crate) nofs_threads: AtomicU64,
}

pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

impl Counter {
    pub(crate) fn request(&self, opcode: u32) {
        *self.requests.lock().entry(opcode).or_default() += 1;
    }

    pub(crate) fn begin(&self, opflags: u32) {
        *self.begins.lock().entry(opflags).or_default() += 1;
    }

    pub(crate) fn upsert_refused(&self, errno: Errno) {
        let mut refused = self.upserts_refused.lock();
        *refused.entry(errno.raw_os_error()).or_default() += 1;
    }

    pub(crate) fn counts(&self, refused: BTreeMap<Rule, u64>) -> Counts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            requests: self.requests.lock().clone(),
            begins: self.begins.lock().clone(),
            upserts: of(&self.upserts),
            upserts_refused: self.upserts_refused.lock().clone(),
            invalidations: of(&self.invalidations),
            cache_hits: of(&self.cache_hits),
            failed_completions: of(&self.failed_completions),
            trees_dropped: of(&self.trees_dropped),
            nofs_threads: of(&self.nofs_threads),
            refused,
        }
    }
}

//! What was sent to the kernel of its own accord, and what it refused, counted.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;
use fs_core::InodeNumber;
use parking_lot::Mutex;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// The kernel moves the content of files: what was said to it. Questions it asked are among
/// the requests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IomapStatus {
    /// Mappings pushed into the kernel's cache.
    pub upserts: u64,
    /// Of those, the ones nobody had asked for yet.
    pub upserts_ahead: u64,
    /// Ranges of mappings taken back.
    pub invalidations: u64,
    /// Questions answered with the mapping itself, because it could not be pushed.
    pub plain_answers: u64,
    /// What the kernel refused, by errno.
    pub refused: BTreeMap<String, u64>,
}

/// Threads at work on different files rarely count in the same place.
const PARTS: usize = 16;

/// The counters of some files.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) upserts: AtomicU64,
    pub(super) upserts_ahead: AtomicU64,
    pub(super) invalidations: AtomicU64,
    pub(super) plain_answers: AtomicU64,
}

/// The counters.
#[derive(Debug, Default)]
pub(super) struct Tallies {
    parts: [CachePadded<Part>; PARTS],
    /// Rarely touched.
    refused: Mutex<BTreeMap<i32, u64>>,
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Tallies {
    /// Where to count what is done for a file.
    pub(super) fn of(&self, file: InodeNumber) -> &Part {
        &self.parts[file.0 as usize % PARTS]
    }

    /// The kernel refused a notice.
    pub(super) fn refused(&self, errno: Errno) {
        let mut refused = self.refused.lock();
        *refused.entry(errno.raw_os_error()).or_default() += 1;
    }

    pub(super) fn status(&self) -> IomapStatus {
        let sum = |counter: fn(&Part) -> &AtomicU64| {
            let each = self.parts.iter();
            each.map(|part| counter(part).load(Ordering::Relaxed)).sum()
        };
        let refused = self.refused.lock();
        let named = refused.iter().map(|(&number, &count)| {
            let error = std::io::Error::from_raw_os_error(number);
            (error.to_string(), count)
        });
        IomapStatus {
            upserts: sum(|part| &part.upserts),
            upserts_ahead: sum(|part| &part.upserts_ahead),
            invalidations: sum(|part| &part.invalidations),
            plain_answers: sum(|part| &part.plain_answers),
            refused: named.collect(),
        }
    }
}

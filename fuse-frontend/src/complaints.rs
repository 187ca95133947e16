//! Log lines about damage and device errors, bounded.
//!
//! A damaged or hostile image can make every request fail. Each problem is
//! written down once (the same inode can be met by its own number and by its
//! directory's, so the words count, not the request), and never more than
//! [`LINES_PER_MINUTE`] lines, so that an image cannot fill a log.

use std::collections::{HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use fs_core::{Error, ErrorKind};
use parking_lot::Mutex;

/// Most lines in one minute.
const LINES_PER_MINUTE: u32 = 32;
/// Sentences kept for who asks, the newest.
const NEWEST_MAX: usize = 8;
/// Most bytes of one of them.
const SENTENCE_BYTES_MAX: usize = 400;
/// Most complaints remembered; then all are forgotten.
const REMEMBERED_MAX: usize = 4096;
const MINUTE: Duration = Duration::from_secs(60);

/// Decides which failures are logged.
#[derive(Debug)]
pub(crate) struct Complaints {
    /// Held while deciding, not while writing a line.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Hashes of messages.
    seen: HashSet<u64>,
    minute_start: Instant,
    lines: u32,
    /// What was written last.
    newest: VecDeque<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Write,
    WriteAsLast,
    Hush,
}

impl Complaints {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                seen: HashSet::new(),
                minute_start: Instant::now(),
                lines: 0,
                newest: VecDeque::new(),
            }),
        }
    }

    /// Logs `error` if the device or its content is at fault and it is news.
    pub(crate) fn report(&self, error: &Error) {
        if !matches!(error.kind(), ErrorKind::Corrupt(_) | ErrorKind::Device) {
            return;
        }
        self.warn(&error.to_string());
    }

    /// Logs a message if it is news.
    pub(crate) fn warn(&self, message: &str) {
        match self.judge(message, Instant::now()) {
            Verdict::Write => tracing::warn!("{message}"),
            Verdict::WriteAsLast => {
                tracing::warn!("{message}");
                tracing::warn!("too many problems: no more are logged for a minute");
            }
            Verdict::Hush => {}
        }
    }

    /// What was logged last, oldest first.
    pub(crate) fn newest(&self) -> Vec<String> {
        self.state.lock().newest.iter().cloned().collect()
    }

    fn judge(&self, message: &str, now: Instant) -> Verdict {
        let mut hasher = DefaultHasher::new();
        message.hash(&mut hasher);
        let mut state = self.state.lock();
        if now.saturating_duration_since(state.minute_start) >= MINUTE {
            state.minute_start = now;
            state.lines = 0;
        }
        if state.lines >= LINES_PER_MINUTE {
            return Verdict::Hush;
        }
        if state.seen.len() >= REMEMBERED_MAX {
            state.seen.clear();
        }
        if !state.seen.insert(hasher.finish()) {
            return Verdict::Hush;
        }
        if state.newest.len() >= NEWEST_MAX {
            state.newest.pop_front();
        }
        let end = message.floor_char_boundary(SENTENCE_BYTES_MAX);
        let sentence = message.get(..end).unwrap_or_default();
        state.newest.push_back(sentence.to_owned());
        state.lines += 1;
        if state.lines == LINES_PER_MINUTE {
            Verdict::WriteAsLast
        } else {
            Verdict::Write
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_problem_once() {
        let complaints = Complaints::new();
        let now = Instant::now();
        assert_eq!(complaints.judge("inode 12", now), Verdict::Write);
        assert_eq!(complaints.judge("inode 12", now), Verdict::Hush);
        assert_eq!(complaints.judge("inode 13", now), Verdict::Write);
    }

    #[test]
    fn a_flood_is_cut_off_and_resumes_after_a_minute() {
        let complaints = Complaints::new();
        let now = Instant::now();
        let written = (0..100_000)
            .filter(|node| complaints.judge(&format!("inode {node}"), now) != Verdict::Hush)
            .count();
        assert_eq!(written, LINES_PER_MINUTE as usize);
        assert_eq!(complaints.judge("later", now + MINUTE), Verdict::Write);
    }

    #[test]
    fn memory_is_bounded() {
        let complaints = Complaints::new();
        let start = Instant::now();
        for node in 0..20_000 {
            complaints.judge(&format!("inode {node}"), start + MINUTE * node);
        }
        assert!(complaints.state.lock().seen.len() <= REMEMBERED_MAX);
        complaints.judge(&"é".repeat(10_000), start + MINUTE * 20_000);
        let newest = complaints.newest();
        assert_eq!(newest.len(), NEWEST_MAX);
        assert!(newest.iter().all(|s| s.len() <= SENTENCE_BYTES_MAX));
        assert!(newest.last().is_some_and(|s| s.starts_with("éé")));
    }
}

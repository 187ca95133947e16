//! Log lines about damage and device errors, bounded.
//!
//! A damaged or hostile image can make every request fail. Each inode is
//! complained about once for each class of failure, and never more than
//! [`LINES_PER_MINUTE`] lines are written, so that an image cannot fill a log.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use fs_core::{Error, ErrorKind};
use parking_lot::Mutex;

/// Most lines in one minute.
const LINES_PER_MINUTE: u32 = 32;
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
    seen: HashSet<(u64, Class)>,
    minute_start: Instant,
    lines: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Class {
    Damage,
    Device,
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
            }),
        }
    }

    /// Logs `error`, met while serving the node, if it is news.
    pub(crate) fn report(&self, nodeid: u64, error: &Error) {
        let Some(class) = class_of(error) else {
            return;
        };
        match self.judge(nodeid, class, Instant::now()) {
            Verdict::Write => tracing::warn!(nodeid, "{error}"),
            Verdict::WriteAsLast => {
                tracing::warn!(nodeid, "{error}");
                tracing::warn!("too many problems: no more are logged for a minute");
            }
            Verdict::Hush => {}
        }
    }

    fn judge(&self, nodeid: u64, class: Class, now: Instant) -> Verdict {
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
        if !state.seen.insert((nodeid, class)) {
            return Verdict::Hush;
        }
        state.lines += 1;
        if state.lines == LINES_PER_MINUTE {
            Verdict::WriteAsLast
        } else {
            Verdict::Write
        }
    }
}

fn class_of(error: &Error) -> Option<Class> {
    match error.kind() {
        ErrorKind::Corrupt(_) => Some(Class::Damage),
        ErrorKind::Device => Some(Class::Device),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_for_each_inode_and_class() {
        let complaints = Complaints::new();
        let now = Instant::now();
        assert_eq!(complaints.judge(12, Class::Damage, now), Verdict::Write);
        assert_eq!(complaints.judge(12, Class::Damage, now), Verdict::Hush);
        assert_eq!(complaints.judge(12, Class::Device, now), Verdict::Write);
        assert_eq!(complaints.judge(13, Class::Damage, now), Verdict::Write);
    }

    #[test]
    fn a_flood_is_cut_off_and_resumes_after_a_minute() {
        let complaints = Complaints::new();
        let now = Instant::now();
        let written = (0..100_000)
            .filter(|&node| complaints.judge(node, Class::Damage, now) != Verdict::Hush)
            .count();
        assert_eq!(written, LINES_PER_MINUTE as usize);
        let later = now + MINUTE;
        assert_eq!(
            complaints.judge(200_000, Class::Damage, later),
            Verdict::Write
        );
    }

    #[test]
    fn memory_is_bounded() {
        let complaints = Complaints::new();
        let start = Instant::now();
        for node in 0..20_000u64 {
            complaints.judge(node, Class::Damage, start + MINUTE * (node as u32));
        }
        assert!(complaints.state.lock().seen.len() <= REMEMBERED_MAX);
    }
}

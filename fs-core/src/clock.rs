//! What time it is: the system's clock, or a fixed time for results that repeat.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::types::Timestamp;

/// Where the times of changes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Clock {
    /// The system's clock.
    #[default]
    System,
    /// Always this time.
    Fixed(Timestamp),
}

impl Clock {
    /// The time now; the epoch if the system's clock stands before it.
    pub fn now(self) -> Timestamp {
        match self {
            Self::Fixed(time) => time,
            Self::System => {
                let since = SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .unwrap_or_default();
                Timestamp {
                    seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
                    nanos: since.subsec_nanos(),
                }
            }
        }
    }
}

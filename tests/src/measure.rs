//! Numbers of a benchmark: their unit, their median and spread, and how they are printed.

/// What numbers count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Less is better.
    Milliseconds,
    /// More is better; 10^6 bytes.
    MegabytesPerSecond,
    /// More is better.
    OperationsPerSecond,
    /// Less is better.
    Microseconds,
    /// Less is better.
    Kibibytes,
    /// Less is better; of anything.
    Pieces,
}

impl Unit {
    /// As it stands in a table.
    pub fn text(self) -> &'static str {
        match self {
            Self::Milliseconds => "ms",
            Self::MegabytesPerSecond => "MB/s",
            Self::OperationsPerSecond => "1/s",
            Self::Microseconds => "us",
            Self::Kibibytes => "KiB",
            Self::Pieces => "1",
        }
    }

    /// How many times as fast (or small) `a` is as `b`.
    pub fn speed(self, a: f64, b: f64) -> f64 {
        match self {
            Self::Milliseconds | Self::Microseconds | Self::Kibibytes | Self::Pieces => b / a,
            Self::MegabytesPerSecond | Self::OperationsPerSecond => a / b,
        }
    }
}

/// Repeated measurements of one thing.
#[derive(Clone, Debug, Default)]
pub struct Values(Vec<f64>);

impl Values {
    /// One more.
    pub fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// Median, smallest, largest.
    pub fn summary(&self) -> Option<(f64, f64, f64)> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let median = *sorted.get(sorted.len() / 2)?;
        Some((median, *sorted.first()?, *sorted.last()?))
    }

    /// The median.
    pub fn median(&self) -> Option<f64> {
        self.summary().map(|(median, _, _)| median)
    }

    /// "median (smallest-largest)", or "-".
    pub fn cell(&self) -> String {
        match self.summary() {
            Some((median, low, high)) => {
                format!("{} ({}-{})", number(median), number(low), number(high))
            }
            None => "-".into(),
        }
    }
}

/// Three significant digits or so.
pub fn number(value: f64) -> String {
    if value >= 100.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

//! Numbers, their table, and the targets.

use system_tests::guards::Server;

/// What the numbers of a row count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Milliseconds,
    MegabytesPerSecond,
    OperationsPerSecond,
    Kibibytes,
}

impl Unit {
    fn text(self) -> &'static str {
        match self {
            Self::Milliseconds => "ms",
            Self::MegabytesPerSecond => "MB/s",
            Self::OperationsPerSecond => "1/s",
            Self::Kibibytes => "KiB",
        }
    }

    /// How many times as fast `a` is as `b`.
    fn speed(self, a: f64, b: f64) -> f64 {
        match self {
            Self::Milliseconds | Self::Kibibytes => b / a,
            Self::MegabytesPerSecond | Self::OperationsPerSecond => a / b,
        }
    }
}

/// What a row has to reach.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    /// extmap is at least so many times as fast as the other server.
    Times(f64, Server),
    /// extmap takes at most so many times the other server's time.
    AtMost(f64, Server),
    /// extmap's number is below this.
    Below(f64),
}

/// The measured values of one server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Values(Vec<f64>);

impl Values {
    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// Median, smallest, largest.
    fn summary(&self) -> Option<(f64, f64, f64)> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let median = *sorted.get(sorted.len() / 2)?;
        Some((median, *sorted.first()?, *sorted.last()?))
    }

    fn median(&self) -> Option<f64> {
        self.summary().map(|(median, _, _)| median)
    }
}

/// One measurement of all servers.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    name: String,
    unit: Unit,
    values: Vec<(Server, Values)>,
    targets: Vec<Target>,
}

impl Row {
    pub(crate) fn new(name: &str, unit: Unit, targets: &[Target]) -> Self {
        Self {
            name: name.into(),
            unit,
            values: Vec::new(),
            targets: targets.to_vec(),
        }
    }

    pub(crate) fn push(&mut self, server: Server, value: f64) {
        match self.values.iter_mut().find(|(known, _)| *known == server) {
            Some((_, values)) => values.push(value),
            None => self.values.push((server, Values(vec![value]))),
        }
    }

    fn of(&self, server: Server) -> Option<&Values> {
        let found = self.values.iter().find(|(known, _)| *known == server);
        found.map(|(_, values)| values)
    }

    fn cell(&self, server: Server) -> String {
        match self.of(server).and_then(Values::summary) {
            Some((median, low, high)) => {
                format!("{} ({}-{})", number(median), number(low), number(high))
            }
            None => "-".into(),
        }
    }

    fn ratio(&self, other: Server) -> Option<f64> {
        let ours = self.of(Server::Extmap)?.median()?;
        Some(self.unit.speed(ours, self.of(other)?.median()?))
    }

    /// The target in words, what was reached, and whether that is enough.
    fn judge(&self, target: Target) -> Option<(String, bool)> {
        let ours = self.of(Server::Extmap)?.median()?;
        Some(match target {
            Target::Times(wanted, other) => {
                let speed = self.ratio(other)?;
                let text = format!("{speed:.2} x {other:?}, target at least {wanted}");
                (text, speed >= wanted)
            }
            Target::AtMost(wanted, other) => {
                let time = 1.0 / self.ratio(other)?;
                let text = format!("{time:.2} x {other:?}'s time, target at most {wanted}");
                (text, time <= wanted)
            }
            Target::Below(limit) => {
                let unit = self.unit.text();
                let text = format!(
                    "{} {unit}, target below {} {unit}",
                    number(ours),
                    number(limit)
                );
                (text, ours < limit)
            }
        })
    }
}

/// Three significant digits or so.
fn number(value: f64) -> String {
    if value >= 100.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

/// All rows, and remarks.
#[derive(Debug)]
pub(crate) struct Report {
    rows: Vec<Row>,
    notes: Vec<String>,
}

impl Report {
    pub(crate) fn new() -> Self {
        Self {
            rows: Vec::new(),
            notes: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, row: Row) {
        eprintln!("measured: {}", row.name);
        self.rows.push(row);
    }

    pub(crate) fn note(&mut self, text: String) {
        self.notes.push(text);
    }

    /// Prints everything; whether all targets are met.
    pub(crate) fn print(&self) -> bool {
        println!();
        println!(
            "| measurement | unit | extmap | fuse2fs | kernel on loop | x fuse2fs | x kernel |"
        );
        println!("|---|---|---|---|---|---|---|");
        for row in &self.rows {
            let ratio = |other| row.ratio(other).map_or("-".into(), |r| format!("{r:.2}"));
            println!(
                "| {} | {} | {} | {} | {} | {} | {} |",
                row.name,
                row.unit.text(),
                row.cell(Server::Extmap),
                row.cell(Server::Fuse2fs),
                row.cell(Server::Kernel),
                ratio(Server::Fuse2fs),
                ratio(Server::Kernel)
            );
        }
        println!();
        for note in &self.notes {
            println!("{note}");
        }
        let mut all = true;
        for row in &self.rows {
            for &target in &row.targets {
                let (text, met) = row
                    .judge(target)
                    .unwrap_or_else(|| ("not measured".into(), false));
                println!("{} {}: {text}", if met { "PASS" } else { "FAIL" }, row.name);
                all &= met;
            }
        }
        all
    }
}

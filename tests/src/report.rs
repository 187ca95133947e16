//! A table of measurements of extmap and of others beside it, and the targets.

use crate::guards::Server;
use crate::measure::{Unit, Values, number};

/// What a row has to reach.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    /// extmap is at least so many times as fast as the other server.
    Times(f64, Server),
    /// extmap takes at most so many times the other server's time.
    AtMost(f64, Server),
    /// extmap's number is below this.
    Below(f64),
}

/// One measurement of all servers.
#[derive(Clone, Debug)]
pub struct Row {
    name: String,
    unit: Unit,
    values: Vec<(Server, Values)>,
    targets: Vec<Target>,
}

impl Row {
    /// A row without values.
    pub fn new(name: &str, unit: Unit, targets: &[Target]) -> Self {
        Self {
            name: name.into(),
            unit,
            values: Vec::new(),
            targets: targets.to_vec(),
        }
    }

    /// One more value.
    pub fn push(&mut self, server: Server, value: f64) {
        match self.values.iter_mut().find(|(known, _)| *known == server) {
            Some((_, values)) => values.push(value),
            None => {
                let mut values = Values::default();
                values.push(value);
                self.values.push((server, values));
            }
        }
    }

    fn of(&self, server: Server) -> Option<&Values> {
        let found = self.values.iter().find(|(known, _)| *known == server);
        found.map(|(_, values)| values)
    }

    fn cell(&self, server: Server) -> String {
        self.of(server).map_or("-".into(), Values::cell)
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

/// All rows, and remarks.
#[derive(Debug, Default)]
pub struct Report {
    rows: Vec<Row>,
    notes: Vec<String>,
}

impl Report {
    /// A row that is complete.
    pub fn add(&mut self, row: Row) {
        eprintln!("measured: {}", row.name);
        self.rows.push(row);
    }

    /// A remark below the table.
    pub fn note(&mut self, text: String) {
        self.notes.push(text);
    }

    /// Prints everything; whether all targets are met.
    pub fn print(&self) -> bool {
        println!();
        self.print_table();
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

    fn print_table(&self) {
        let others = self.others();
        let mut head = vec!["measurement".into(), "unit".into(), "extmap".into()];
        head.extend(others.iter().map(|(_, title, _)| title.to_string()));
        head.extend(others.iter().map(|(.., name)| format!("x {name}")));
        print_line(&head);
        println!("|{}", "---|".repeat(head.len()));
        for row in &self.rows {
            let ratio = |other| row.ratio(other).map_or("-".into(), |r| format!("{r:.2}"));
            let mut cells = vec![row.name.clone(), row.unit.text().into()];
            cells.push(row.cell(Server::Extmap));
            cells.extend(others.iter().map(|&(other, ..)| row.cell(other)));
            cells.extend(others.iter().map(|&(other, ..)| ratio(other)));
            print_line(&cells);
        }
    }

    /// Whom extmap stands beside, with the titles of their columns and of the ratios to them.
    /// The bare loop only where it was measured.
    fn others(&self) -> Vec<(Server, &'static str, &'static str)> {
        let mut others = vec![
            (Server::Fuse2fs, "fuse2fs", "fuse2fs"),
            (Server::Kernel, "kernel on loop", "kernel"),
        ];
        if self.rows.iter().any(|row| row.of(Server::Bare).is_some()) {
            others.push((Server::Bare, "bare FUSE loop", "bare"));
        }
        others
    }
}

fn print_line(cells: &[String]) {
    println!("| {} |", cells.join(" | "));
}

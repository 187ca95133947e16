//! Rows of the table, and the targets.

use system_tests::measure::{Unit, Values, number};

use crate::engine::Who;

/// What a row has to reach.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    /// extmap is at least so many times as fast as the other.
    Times(f64, Who),
    /// extmap's number is at least this.
    AtLeast(f64),
    /// extmap's number is at most this.
    AtMost(f64),
    /// extmap's number is at least so many times that of the row with this name.
    TimesRow(f64, &'static str),
}

/// One measurement of all who take part in it.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    name: &'static str,
    unit: Unit,
    values: [Values; 3],
    targets: Vec<Target>,
}

impl Row {
    fn of(&self, who: Who) -> &Values {
        &self.values[who as usize]
    }

    fn ratio(&self, other: Who) -> Option<f64> {
        let ours = self.of(Who::Extmap).median()?;
        Some(self.unit.speed(ours, self.of(other).median()?))
    }
}

/// All rows, and what was left out.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
    pub(crate) notes: Vec<String>,
}

impl Report {
    /// Names a row, where it comes first, its unit and its targets.
    pub(crate) fn row(&mut self, name: &'static str, unit: Unit, targets: &[Target]) {
        if self.find(name).is_none() {
            self.rows.push(Row {
                name,
                unit,
                values: Default::default(),
                targets: targets.to_vec(),
            });
        }
    }

    /// One more number of a row that has been named.
    pub(crate) fn push(&mut self, name: &str, who: Who, value: f64) {
        if let Some(row) = self.rows.iter_mut().find(|row| row.name == name) {
            row.values[who as usize].push(value);
        }
    }

    fn find(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }

    /// Prints everything; whether all targets are met.
    pub(crate) fn print(&self) -> bool {
        println!(
            "| measurement | unit | extmap | kernel on loop | plain file | x kernel | x plain |"
        );
        println!("|---|---|---|---|---|---|---|");
        for row in &self.rows {
            let ratio = |other| row.ratio(other).map_or("-".into(), |r| format!("{r:.2}"));
            println!(
                "| {} | {} | {} | {} | {} | {} | {} |",
                row.name,
                row.unit.text(),
                row.of(Who::Extmap).cell(),
                row.of(Who::Kernel).cell(),
                row.of(Who::Plain).cell(),
                ratio(Who::Kernel),
                ratio(Who::Plain)
            );
        }
        println!();
        for note in &self.notes {
            println!("{note}");
        }
        let mut all = true;
        for row in &self.rows {
            for &target in &row.targets {
                let Some((text, met)) = self.judge(row, target) else {
                    println!("SKIP {}: not measured", row.name);
                    continue;
                };
                println!("{} {}: {text}", if met { "PASS" } else { "FAIL" }, row.name);
                all &= met;
            }
        }
        all
    }

    /// What was reached and what is wanted in words, and whether that is enough.
    fn judge(&self, row: &Row, target: Target) -> Option<(String, bool)> {
        let ours = row.of(Who::Extmap).median()?;
        let unit = row.unit.text();
        Some(match target {
            Target::Times(wanted, other) => {
                let ratio = row.ratio(other)?;
                let text = format!("{ratio:.2} x {other:?}, target at least {wanted:.2}");
                (text, ratio >= wanted)
            }
            Target::AtLeast(wanted) => {
                let (have, want) = (number(ours), number(wanted));
                (
                    format!("{have} {unit}, target at least {want}"),
                    ours >= wanted,
                )
            }
            Target::AtMost(wanted) => {
                let (have, want) = (number(ours), number(wanted));
                (
                    format!("{have} {unit}, target at most {want}"),
                    ours <= wanted,
                )
            }
            Target::TimesRow(wanted, name) => {
                let ratio = ours / self.find(name)?.of(Who::Extmap).median()?;
                let text = format!("{ratio:.2} x \"{name}\", target at least {wanted:.2}");
                (text, ratio >= wanted)
            }
        })
    }
}

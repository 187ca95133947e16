//! Small transactions of a database: an fsync or two for each.

use std::fmt::Write as _;
use std::time::Instant;

use anyhow::{Result, ensure};
use system_tests::guards::Server;
use system_tests::measure::Unit;
use system_tests::report::{Report, Row, Target};
use system_tests::scratch::Scratch;
use system_tests::tool;

use crate::Plan;
use crate::mounted::Mounted;

const TRANSACTIONS: usize = 10_000;

pub(crate) fn measure(plan: &Plan, scratch: &Scratch, report: &mut Report) -> Result<()> {
    let count = if plan.quick {
        TRANSACTIONS / 20
    } else {
        TRANSACTIONS
    };
    let targets = [
        Target::Times(2.0, Server::Fuse2fs),
        Target::Times(0.7, Server::Kernel),
    ];
    let modes = [
        ("WAL", "sqlite, WAL"),
        ("DELETE", "sqlite, rollback journal"),
    ];
    let mut rows = modes.map(|(_, name)| Row::new(name, Unit::OperationsPerSecond, &targets));
    for _ in 0..plan.rounds {
        for &server in &plan.servers {
            let mounted = Mounted::new(server, scratch, 1 << 30, &plan.options)?;
            for ((mode, _), row) in modes.iter().zip(&mut rows) {
                let script = scratch.file("script.sql", script(mode, count).as_bytes())?;
                let database = mounted.path().join(format!("{mode}.db"));
                let read = format!(".read {}", script.display());
                let start = Instant::now();
                tool::run("sqlite3", &[database.as_os_str(), read.as_ref()])?;
                let seconds = start.elapsed().as_secs_f64();
                row.push(server, count as f64 / seconds);
                let check = "PRAGMA integrity_check; SELECT count(*) FROM t;";
                let said = tool::run("sqlite3", &[database.as_os_str(), check.as_ref()])?;
                ensure!(
                    said == format!("ok\n{count}\n"),
                    "{server:?}, {mode}: {said}"
                );
            }
            mounted.end()?;
        }
    }
    rows.into_iter().for_each(|row| report.add(row));
    Ok(())
}

/// Each INSERT is a transaction, synced in full.
fn script(mode: &str, count: usize) -> String {
    let mut sql = format!(
        "PRAGMA journal_mode={mode};\nPRAGMA synchronous=FULL;\n\
         CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, value INTEGER);\n"
    );
    for number in 0..count {
        let name = number * 7919 % 10_007;
        let _ = writeln!(
            sql,
            "INSERT INTO t (name, value) VALUES ('name-{name}', {number});"
        );
    }
    sql
}

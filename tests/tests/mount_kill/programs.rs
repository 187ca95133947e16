//! Programs that know what they have made durable: sqlite and git.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use system_tests::guards::ChildGuard;
use system_tests::tool;

use crate::Workload;

/// A database in which one number after the other is committed.
pub(crate) struct Sqlite {
    mode: &'static str,
    /// The last transaction sqlite said it had committed. Its commit may be the removal of
    /// the journal, and that sqlite leaves unsynced, and says nothing, if it cannot open the
    /// directory any more: so the one before is what must be there.
    said: u64,
}

impl Sqlite {
    fn durable(&self) -> u64 {
        self.said.saturating_sub(1)
    }
}

impl Sqlite {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            mode: if seed.is_multiple_of(2) {
                "WAL"
            } else {
                "DELETE"
            },
            said: 0,
        }
    }

    fn run(&mut self, dir: &Path) -> Result<()> {
        let mut command = Command::new("sqlite3");
        command.arg("-batch").arg("-bail").arg(dir.join("data.db"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = ChildGuard(command.stderr(Stdio::null()).spawn()?);
        let mut input = child.0.stdin.take().context("no input")?;
        let output = BufReader::new(child.0.stdout.take().context("no output")?);
        writeln!(
            input,
            "PRAGMA journal_mode={};\nPRAGMA synchronous=EXTRA;\n\
             CREATE TABLE t (id INTEGER PRIMARY KEY, filler TEXT);\nSELECT 'done', 0;",
            self.mode
        )?;
        for line in output.lines() {
            let Some(number) = line?.strip_prefix("done|").map(str::parse::<u64>) else {
                continue;
            };
            self.said = number?;
            let next = self.said + 1;
            writeln!(
                input,
                "INSERT INTO t VALUES ({next}, hex(randomblob({})));\nSELECT 'done', {next};",
                next * 37 % 900
            )?;
        }
        Ok(())
    }
}

impl Workload for Sqlite {
    fn work(&mut self, dir: &Path) {
        // It ends when sqlite does, and that with the first error.
        let _ = self.run(dir);
    }

    fn check(&self, dir: &Path) -> Result<()> {
        let database = dir.join("data.db");
        if self.durable() == 0 && !database.exists() {
            return Ok(());
        }
        let look = "PRAGMA integrity_check; SELECT count(*), ifnull(max(id), 0) FROM t;";
        if self.durable() == 0 {
            // The table may not be there yet.
            let said = tool::run(
                "sqlite3",
                &[database.as_os_str(), "PRAGMA integrity_check".as_ref()],
            )?;
            ensure!(said == "ok\n", "{said}");
            return Ok(());
        }
        let said = tool::run("sqlite3", &[database.as_os_str(), look.as_ref()])?;
        let mut lines = said.lines();
        ensure!(lines.next() == Some("ok"), "{said}");
        let counts = lines.next().and_then(|line| line.split_once('|'));
        let (count, last) = counts.context("no counts")?;
        let (count, last): (u64, u64) = (count.parse()?, last.parse()?);
        let may_be = self.durable()..=self.said + 1;
        ensure!(
            count == last && may_be.contains(&last),
            "{count} rows up to {last}, {} were committed, {}",
            self.said,
            self.mode
        );
        Ok(())
    }
}

/// A repository with one commit after the other.
pub(crate) struct Git {
    /// The last commit git said it had made. The reference to it is renamed, and the
    /// directory of that not synced.
    last: Option<String>,
    /// The one before, since when more has been synced.
    durable: Option<String>,
}

impl Git {
    pub(crate) fn new() -> Self {
        Self {
            last: None,
            durable: None,
        }
    }

    fn run(&mut self, dir: &Path) -> Result<()> {
        git(dir, &["init", "--quiet"])?;
        for number in 0..u64::MAX {
            let text = format!("version {number}\n").repeat(number as usize % 50 + 1);
            std::fs::write(dir.join(format!("file-{}", number % 7)), text)?;
            git(dir, &["add", "--all"])?;
            git(dir, &["commit", "--quiet", "--message", "next"])?;
            let head = git(dir, &["rev-parse", "HEAD"])?.trim().to_owned();
            self.durable = self.last.replace(head);
        }
        Ok(())
    }
}

impl Workload for Git {
    fn work(&mut self, dir: &Path) {
        let _ = self.run(dir);
    }

    fn check(&self, dir: &Path) -> Result<()> {
        let Some(head) = &self.durable else {
            return Ok(());
        };
        git(dir, &["fsck", "--strict", "--no-dangling"])?;
        git(dir, &["merge-base", "--is-ancestor", head, "HEAD"])
            .with_context(|| format!("{head} was committed"))?;
        Ok(())
    }
}

fn git(dir: &Path, args: &[&str]) -> Result<String> {
    let dir = dir.to_string_lossy();
    let mut all = vec!["-C", &dir, "-c", "safe.directory=*"];
    all.extend(["-c", "user.name=test", "-c", "user.email=test@localhost"]);
    // All that git writes, synced file by file.
    all.extend(["-c", "core.fsync=all", "-c", "core.fsyncMethod=fsync"]);
    all.extend(["-c", "gc.auto=0"]);
    all.extend(args);
    tool::run("git", &all)
}

//! Many small files: created, looked at, read, renamed, removed.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use system_tests::guards::Server;
use system_tests::measure::Unit;
use system_tests::report::{Report, Row, Target};
use system_tests::scratch::Scratch;

use crate::mounted::Mounted;
use crate::{Plan, WORKER};

/// Files in one directory.
const FILES: usize = 1000;
const FILE_BYTES: usize = 100;
const PROCESSES: usize = 4;

/// What is measured, in this order, with the least ratios to fuse2fs and the kernel, and
/// whether it takes requests to the server each time.
const WORKLOADS: [(&str, f64, f64, bool); 6] = [
    ("create 100 bytes", 4.0, 0.2, true),
    ("create, four processes", 6.0, 0.25, true),
    ("stat, warm", 25.0, 0.9, false),
    ("open, read, close, warm", 20.0, 0.7, false),
    ("rename", 8.0, 0.25, true),
    ("unlink", 3.0, 0.28, true),
];
/// The least ratio to the bare FUSE loop of what takes requests.
const BARE: f64 = 0.85;

pub(crate) fn measure(plan: &Plan, scratch: &Scratch, report: &mut Report) -> Result<()> {
    let mut rows = WORKLOADS.map(|(name, fuse2fs, kernel, has_requests)| {
        let mut targets = vec![
            Target::Times(fuse2fs, Server::Fuse2fs),
            Target::Times(kernel, Server::Kernel),
        ];
        if has_requests {
            targets.push(Target::Times(BARE, Server::Bare));
        }
        Row::new(name, Unit::OperationsPerSecond, &targets)
    });
    let dirs = if plan.quick { 4 } else { 20 };
    let files = (dirs * FILES) as f64;
    for _ in 0..plan.rounds {
        for &server in &plan.servers {
            let mounted = Mounted::new(server, scratch, 2 << 30, &plan.options)?;
            let alone = make_dirs(mounted.path(), "alone", dirs)?;
            let together = make_dirs(mounted.path(), "together", dirs)?;
            let times = [
                timed(|| fill(&alone))?,
                timed(|| fill_together(&together))?,
                warm(|| stat(&alone))?,
                warm(|| read(&alone))?,
                timed(|| rename(&alone))?,
                timed(|| unlink(&alone))?,
            ];
            for (row, time) in rows.iter_mut().zip(times) {
                row.push(server, files / time.as_secs_f64());
            }
            mounted.end()?;
        }
    }
    rows.into_iter().for_each(|row| report.add(row));
    Ok(())
}

/// The part of one of several processes: fills these directories.
pub(crate) fn work(dirs: &[String]) -> Result<()> {
    fill(&dirs.iter().map(PathBuf::from).collect::<Vec<_>>())
}

fn timed(act: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let start = Instant::now();
    act()?;
    Ok(start.elapsed())
}

/// The second of two times.
fn warm(act: impl Fn() -> Result<()>) -> Result<Duration> {
    act()?;
    timed(act)
}

fn make_dirs(root: &Path, name: &str, count: usize) -> Result<Vec<PathBuf>> {
    let make = |number: usize| {
        let dir = root.join(format!("{name}-{number}"));
        fs::create_dir(&dir)?;
        Ok(dir)
    };
    (0..count).map(make).collect()
}

fn each(dirs: &[PathBuf], act: impl Fn(&Path) -> Result<()>) -> Result<()> {
    for dir in dirs {
        for number in 0..FILES {
            let path = dir.join(format!("file-{number:04}"));
            act(&path).with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
}

fn fill(dirs: &[PathBuf]) -> Result<()> {
    each(dirs, |path| {
        Ok(File::create_new(path)?.write_all(&[b'x'; FILE_BYTES])?)
    })
}

fn fill_together(dirs: &[PathBuf]) -> Result<()> {
    let program = std::env::current_exe()?;
    let start = |dirs: &[PathBuf]| {
        let mut command = Command::new(&program);
        command.arg(WORKER).args(dirs).stdin(Stdio::null());
        command.spawn()
    };
    let shares = dirs.chunks(dirs.len().div_ceil(PROCESSES));
    let processes = shares.map(start).collect::<Result<Vec<_>, _>>()?;
    for mut process in processes {
        let status = process.wait()?;
        ensure!(status.success(), "a process creating files: {status}");
    }
    Ok(())
}

fn stat(dirs: &[PathBuf]) -> Result<()> {
    each(dirs, |path| {
        ensure!(fs::symlink_metadata(path)?.len() == FILE_BYTES as u64);
        Ok(())
    })
}

fn read(dirs: &[PathBuf]) -> Result<()> {
    each(dirs, |path| {
        let mut bytes = [0; 2 * FILE_BYTES];
        ensure!(File::open(path)?.read(&mut bytes)? == FILE_BYTES);
        Ok(())
    })
}

fn renamed(path: &Path) -> PathBuf {
    path.with_extension("renamed")
}

fn rename(dirs: &[PathBuf]) -> Result<()> {
    each(dirs, |path| Ok(fs::rename(path, renamed(path))?))
}

fn unlink(dirs: &[PathBuf]) -> Result<()> {
    each(dirs, |path| Ok(fs::remove_file(renamed(path))?))
}

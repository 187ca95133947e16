//! Files come and go: create, look up, unlink, with one thread and with two.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use anyhow::Result;
use system_tests::measure::Unit;
use system_tests::scratch::Scratch;
use system_tests::tool;

use crate::engine::{self, Directory, FileSystem, Who};
use crate::report::{Report, Target};
use crate::{Plan, timed};

const CREATE: &str = "create, write 4 KiB, close";
const CREATE_CPU: &str = "its processor time a file";
const CREATE_SYNC: &str = "the same, sync at the end included";
const LOOK_UP: &str = "look up, warm";
const LOOK_UP_CPU: &str = "its processor time a look-up";
const UNLINK: &str = "unlink";
const UNLINK_CPU: &str = "its processor time a name";
const CREATE_TWO: &str = "create, two threads, two directories each";
const CREATE_TWO_CPU: &str = "its processor time a file, two threads";

/// Directories, and files in each.
const DIRS: usize = 40;
const FILES: usize = 1000;
const FILE_BYTES: usize = 4096;
/// So many directories are looked into, whose inodes fit into the caches, so many times.
const LOOK_UP_DIRS: usize = 10;
const LOOK_UP_TURNS: usize = 20;

pub(crate) fn measure(plan: &Plan, scratch: &Scratch, report: &mut Report) -> Result<()> {
    let per_second = Unit::OperationsPerSecond;
    report.row(CREATE, per_second, &[Target::AtLeast(60_000.0)]);
    report.row(CREATE_CPU, Unit::Microseconds, &[]);
    report.row(CREATE_SYNC, per_second, &[]);
    report.row(LOOK_UP, per_second, &[Target::AtLeast(1_000_000.0)]);
    report.row(LOOK_UP_CPU, Unit::Microseconds, &[]);
    report.row(UNLINK, per_second, &[Target::AtLeast(80_000.0)]);
    report.row(UNLINK_CPU, Unit::Microseconds, &[]);
    report.row(CREATE_TWO, per_second, &[Target::TimesRow(1.6, CREATE)]);
    report.row(CREATE_TWO_CPU, Unit::Microseconds, &[]);
    for _ in 0..plan.rounds {
        for who in plan.of(&[Who::Extmap, Who::Kernel]) {
            let image = scratch.mke2fs("names", 4 << 30, &["-b", "4096"])?;
            let volume = engine::open(who, &image, scratch)?;
            one_thread(who, &*volume, report)?;
            two_threads(who, &*volume, report)?;
            volume.close()?;
            tool::run("e2fsck", &["-fn".as_ref(), image.as_os_str()])?;
            std::fs::remove_file(&image)?;
        }
    }
    Ok(())
}

fn one_thread(who: Who, volume: &dyn FileSystem, report: &mut Report) -> Result<()> {
    let dirs = make_dirs(volume, "one", DIRS)?;
    volume.sync()?;
    let start = Instant::now();
    let (time, cpu) = timed(|| fill(&dirs))?;
    volume.sync()?;
    let with_sync = start.elapsed();
    let files = (DIRS * FILES) as f64;
    report.push(CREATE, who, files / time.as_secs_f64());
    report.push(CREATE_CPU, who, micros_each(cpu, files));
    report.push(CREATE_SYNC, who, files / with_sync.as_secs_f64());
    let names: Vec<String> = (0..FILES).map(name).collect();
    let look_up = || {
        for dir in dirs.iter().take(LOOK_UP_DIRS) {
            names.iter().try_for_each(|name| dir.look_up(name))?;
        }
        Ok(())
    };
    look_up()?;
    let (time, cpu) = timed(|| (0..LOOK_UP_TURNS).try_for_each(|_| look_up()))?;
    let look_ups = (LOOK_UP_DIRS * FILES * LOOK_UP_TURNS) as f64;
    report.push(LOOK_UP, who, look_ups / time.as_secs_f64());
    report.push(LOOK_UP_CPU, who, micros_each(cpu, look_ups));
    let (time, cpu) = timed(|| {
        for dir in &dirs {
            names.iter().try_for_each(|name| dir.unlink(name))?;
        }
        Ok(())
    })?;
    report.push(UNLINK, who, files / time.as_secs_f64());
    report.push(UNLINK_CPU, who, micros_each(cpu, files));
    volume.sync()
}

/// Both begin at the same time; the slower one counts.
fn two_threads(who: Who, volume: &dyn FileSystem, report: &mut Report) -> Result<()> {
    let halves = [
        make_dirs(volume, "left", DIRS / 2)?,
        make_dirs(volume, "right", DIRS / 2)?,
    ];
    volume.sync()?;
    let together = Barrier::new(2);
    let (time, cpu) = timed(|| {
        std::thread::scope(|scope| {
            let threads = halves.each_ref().map(|dirs| {
                scope.spawn(|| {
                    together.wait();
                    fill(dirs)
                })
            });
            threads.into_iter().try_for_each(|thread| {
                thread
                    .join()
                    .map_err(|_| anyhow::anyhow!("a thread panicked"))?
            })
        })
    })?;
    let files = (DIRS * FILES) as f64;
    report.push(CREATE_TWO, who, files / time.as_secs_f64());
    report.push(CREATE_TWO_CPU, who, micros_each(cpu, files));
    Ok(())
}

fn make_dirs(volume: &dyn FileSystem, name: &str, count: usize) -> Result<Vec<Box<dyn Directory>>> {
    (0..count)
        .map(|number| volume.make_dir(&format!("{name}{number}")))
        .collect()
}

fn fill(dirs: &[Box<dyn Directory>]) -> Result<()> {
    let content = [0x5A; FILE_BYTES];
    let names: Vec<String> = (0..FILES).map(name).collect();
    for dir in dirs {
        names
            .iter()
            .try_for_each(|name| dir.create(name, &content))?;
    }
    Ok(())
}

fn name(number: usize) -> String {
    format!("file-{number:06}")
}

fn micros_each(time: Duration, count: f64) -> f64 {
    time.as_secs_f64() * 1e6 / count
}

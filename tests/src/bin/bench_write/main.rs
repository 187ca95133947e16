//! `bench-write`: extmap's library writing into an image file, the kernel's ext4 on a loop
//! device over an image of the same kind, and plain files, interleaved, in one run.
//!
//! Every number is the median of five rounds (`--rounds`), with the smallest and the
//! largest beside it. The exit code is 1 if a target is missed.

mod content;
mod engine;
mod memory;
mod names;
mod report;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use engine::Who;
use report::Report;
use rustix::time::{ClockId, clock_gettime};
use system_tests::scratch::Scratch;
use system_tests::tool;

const CASES: [&str; 5] = ["names", "sequential", "fsync", "fragments", "memory"];
const USAGE: &str = "usage: bench-write [--rounds N] [--only extmap,kernel,plain] \
[names] [sequential] [fsync] [fragments] [memory]";

/// What is measured.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    pub(crate) who: Vec<Who>,
    cases: Vec<String>,
}

impl Plan {
    /// Those of `wanted` that take part.
    pub(crate) fn of<'a>(&'a self, wanted: &'a [Who]) -> impl Iterator<Item = Who> + 'a {
        wanted.iter().copied().filter(|who| self.who.contains(who))
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench-write: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<bool> {
    let mut plan = parse(std::env::args().skip(1))?;
    if let Some(image) = plan.cases.first().and_then(|case| case.strip_prefix("in:")) {
        return memory::run_in(image.as_ref()).map(|()| true);
    }
    for program in ["mke2fs", "e2fsck"] {
        ensure!(
            tool::exists(program),
            "{program} not found; install it first"
        );
    }
    let mut report = Report::default();
    if plan.who.contains(&Who::Kernel) && !rustix::process::geteuid().is_root() {
        plan.who.retain(|who| *who != Who::Kernel);
        let why = "the kernel's ext4 was left out: mounting it needs root".to_owned();
        report.notes.push(why);
    }
    let scratch = Scratch::new()?;
    let wanted = |name: &str| plan.cases.is_empty() || plan.cases.iter().any(|case| case == name);
    if wanted("names") {
        names::measure(&plan, &scratch, &mut report)?;
    }
    if wanted("sequential") {
        content::sequential(&plan, &scratch, &mut report)?;
    }
    if wanted("fsync") {
        content::fsync(&plan, &scratch, &mut report)?;
    }
    if wanted("fragments") {
        content::fragments(&plan, &scratch, &mut report)?;
    }
    if wanted("memory") {
        memory::measure(&plan, &scratch, &mut report)?;
    }
    Ok(report.print())
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Plan> {
    let mut plan = Plan {
        rounds: 5,
        who: vec![Who::Extmap, Who::Kernel, Who::Plain],
        cases: Vec::new(),
    };
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--rounds" => plan.rounds = args.next().context(USAGE)?.parse().context(USAGE)?,
            "--only" => plan.who = who(&args.next().context(USAGE)?)?,
            // What the memory of a process of its own is measured for.
            "--in" => plan
                .cases
                .push(format!("in:{}", args.next().context(USAGE)?)),
            case if CASES.contains(&case) => plan.cases.push(arg),
            _ => bail!("{arg}? {USAGE}"),
        }
    }
    ensure!(plan.rounds > 0, USAGE);
    Ok(plan)
}

fn who(list: &str) -> Result<Vec<Who>> {
    list.split(',')
        .map(|name| match name {
            "extmap" => Ok(Who::Extmap),
            "kernel" => Ok(Who::Kernel),
            "plain" => Ok(Who::Plain),
            other => bail!("{other}? {USAGE}"),
        })
        .collect()
}

/// How long something takes, and how much time of processors.
pub(crate) fn timed(act: impl FnOnce() -> Result<()>) -> Result<(Duration, Duration)> {
    let (start, cpu) = (Instant::now(), cpu_time());
    act()?;
    Ok((start.elapsed(), cpu_time().saturating_sub(cpu)))
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

//! `bench-read`: extmap, fuse2fs and the kernel's ext4 on a loop device, side by
//! side, on the same images, interleaved, in one run.
//!
//! Every number is the median of five (`--rounds`), with the smallest and the
//! largest beside it. Targets are ratios of medians; each is printed with what
//! was measured and whether it is met. The exit code is 1 if one is missed.

mod cases;
mod images;

use anyhow::{Context, Result, bail};
use std::process::ExitCode;
use system_tests::guards::Server;
use system_tests::report::Report;
use system_tests::scratch::Scratch;
use system_tests::tool;

/// What is measured, and how much of it.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) quick: bool,
    pub(crate) rounds: usize,
    pub(crate) servers: Vec<Server>,
    pub(crate) cases: Vec<String>,
}

const CASES: &[&str] = &["mount", "tree", "file", "memory"];

const USAGE: &str = "usage: bench-read [--quick] [--rounds N] [--servers extmap,fuse2fs,kernel] \
[mount] [tree] [file] [memory]";

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench-read: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<bool> {
    let plan = parse(std::env::args().skip(1))?;
    for program in ["mke2fs", "fio", "fuse2fs", "find", "tar"] {
        if !tool::exists(program) {
            bail!("{program} not found; install it first");
        }
    }
    if !rustix::process::geteuid().is_root() {
        bail!("needs root, for the kernel's mounts on loop devices");
    }
    let scratch = Scratch::new()?;
    let mut report = Report::default();
    let wanted = |name: &str| plan.cases.is_empty() || plan.cases.iter().any(|case| case == name);
    if wanted("mount") {
        cases::mount(&plan, &scratch, &mut report)?;
    }
    if wanted("tree") || wanted("memory") {
        let image = images::populous(&plan, &scratch)?;
        if wanted("tree") {
            cases::tree(&plan, &scratch, &image, &mut report)?;
        }
        if wanted("memory") {
            cases::memory(&plan, &scratch, &image, &mut report)?;
        }
        std::fs::remove_file(&image)?;
    }
    if wanted("file") {
        cases::file(&plan, &scratch, &mut report)?;
    }
    Ok(report.print())
}

fn parse(args: impl Iterator<Item = String>) -> Result<Plan> {
    let mut plan = Plan {
        quick: false,
        rounds: 5,
        servers: vec![Server::Extmap, Server::Fuse2fs, Server::Kernel],
        cases: Vec::new(),
    };
    let mut args = args;
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--quick" => plan.quick = true,
            "--rounds" => plan.rounds = args.next().context(USAGE)?.parse().context(USAGE)?,
            "--servers" => plan.servers = servers(&args.next().context(USAGE)?)?,
            case if CASES.contains(&case) => plan.cases.push(arg),
            _ => bail!("{arg}? {USAGE}"),
        }
    }
    if plan.rounds == 0 {
        bail!("{USAGE}");
    }
    Ok(plan)
}

fn servers(list: &str) -> Result<Vec<Server>> {
    list.split(',')
        .map(|name| match name {
            "extmap" => Ok(Server::Extmap),
            "fuse2fs" => Ok(Server::Fuse2fs),
            "kernel" => Ok(Server::Kernel),
            other => bail!("{other}? {USAGE}"),
        })
        .collect()
}

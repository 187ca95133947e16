//! `bench-mount`: extmap, fuse2fs and the kernel's ext4 on a loop device, mounted for
//! writing, side by side on images of the same kind, interleaved, in one run.
//!
//! Beside them a bare FUSE loop ([`bare`]): a server without a file system behind it, the
//! limit of the path that extmap's requests take.
//!
//! extmap and the kernel keep a journal; the others have none. Every number is the median of
//! five (`--rounds`), with the smallest and the largest beside it. Targets are ratios of
//! medians; each is printed with what was measured and whether it is met. The exit code is
//! 1 if one is missed. `e2fsck -fn` judges extmap's images.

mod bare;
mod data;
mod mounted;
mod names;
mod sqlite;
mod tree;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
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
    /// Options of extmap's mount.
    pub(crate) options: String,
    cases: Vec<String>,
}

const CASES: &[&str] = &["names", "tree", "data", "sqlite"];
/// The first argument of the processes that create files at the same time.
const WORKER: &str = "--worker";
/// That of the process that is the bare FUSE loop.
const BARE_SERVER: &str = "--bare-server";
const USAGE: &str = "usage: bench-mount [--quick] [--rounds N] [--servers extmap,fuse2fs,kernel,bare] \
[--options OPTIONS] [names] [tree] [data] [sqlite]";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match args.split_first() {
        Some((first, rest)) if first == WORKER => names::work(rest).map(|()| true),
        Some((first, rest)) if first == BARE_SERVER => bare::serve(rest).map(|()| true),
        _ => run(args),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench-mount: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(args: Vec<String>) -> Result<bool> {
    let plan = parse(args)?;
    for program in [
        "mke2fs", "e2fsck", "fio", "fuse2fs", "tar", "git", "sqlite3",
    ] {
        if !tool::exists(program) {
            bail!("{program} not found; install it first");
        }
    }
    if !rustix::process::geteuid().is_root() {
        bail!("needs root, for the kernel's mounts on loop devices");
    }
    let scratch = Scratch::new()?;
    let mut report = Report::default();
    report.note("extmap and the kernel keep a journal, fuse2fs and the bare loop do not.".into());
    let wanted = |name: &str| plan.cases.is_empty() || plan.cases.iter().any(|case| case == name);
    if wanted("names") {
        names::measure(&plan, &scratch, &mut report)?;
    }
    if wanted("tree") {
        tree::measure(&plan, &scratch, &mut report)?;
    }
    if wanted("data") {
        data::measure(&plan, &scratch, &mut report)?;
    }
    if wanted("sqlite") {
        sqlite::measure(&plan, &scratch, &mut report)?;
    }
    Ok(report.print())
}

fn parse(args: Vec<String>) -> Result<Plan> {
    let mut plan = Plan {
        quick: false,
        rounds: 5,
        servers: vec![
            Server::Extmap,
            Server::Fuse2fs,
            Server::Kernel,
            Server::Bare,
        ],
        options: String::new(),
        cases: Vec::new(),
    };
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--quick" => plan.quick = true,
            "--rounds" => plan.rounds = args.next().context(USAGE)?.parse().context(USAGE)?,
            "--servers" => plan.servers = servers(&args.next().context(USAGE)?)?,
            "--options" => plan.options = args.next().context(USAGE)?,
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
    let server = |name: &str| match name {
        "extmap" => Ok(Server::Extmap),
        "fuse2fs" => Ok(Server::Fuse2fs),
        "kernel" => Ok(Server::Kernel),
        "bare" => Ok(Server::Bare),
        other => bail!("{other}? {USAGE}"),
    };
    list.split(',').map(server).collect()
}

//! `bench-mkfs`: extmap mkfs and mke2fs side by side, interleaved, in one run.
//!
//! Every number is the median of five (`--rounds`), with the smallest and the
//! largest beside it. Bytes written are those of pwrite(2) and
//! copy_file_range(2), counted by strace in a run that is not timed. The exit
//! code is 1 if a target is missed.

mod source;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use system_tests::measure::{Unit, Values, number};
use system_tests::program;
use system_tests::scratch::Scratch;
use system_tests::tool;

const USAGE: &str = "usage: bench-mkfs [--rounds N] [--huge-dir DIR] [empty] [tree] [huge]";

/// What is measured.
struct Plan {
    rounds: usize,
    cases: Vec<String>,
    /// A directory whose file system has files of 16 TiB.
    huge_dir: PathBuf,
}

/// Who makes the same file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Maker {
    Extmap,
    /// With the same features as extmap.
    Mke2fsExt4,
    /// As it is without `-t`: ext2.
    Mke2fs,
}

const MAKERS: [Maker; 3] = [Maker::Extmap, Maker::Mke2fsExt4, Maker::Mke2fs];
const COLUMNS: usize = MAKERS.len();

impl Maker {
    /// The words of a call that makes `image` of `size`.
    fn words(self, options: &[&str], image: &Path, size: &str) -> Result<Vec<String>> {
        let mut words: Vec<String> = match self {
            Self::Extmap => vec![program::extmap_path()?.display().to_string(), "mkfs".into()],
            Self::Mke2fsExt4 => ["mke2fs", "-t", "ext4"].map(String::from).to_vec(),
            Self::Mke2fs => vec!["mke2fs".into()],
        };
        words.extend(["-q", "-F"].map(String::from));
        words.extend(options.iter().map(|&option| option.to_owned()));
        words.push(image.display().to_string());
        words.push(size.into());
        Ok(words)
    }
}

/// Time, peak memory and size of what was made, of one call.
struct Run {
    milliseconds: f64,
    peak_kib: f64,
    allocated_kib: f64,
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench-mkfs: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<bool> {
    let plan = parse(std::env::args().skip(1))?;
    for name in ["mke2fs", "strace", "time", "e2fsck"] {
        if !tool::exists(name) {
            bail!("{name} not found; install it first");
        }
    }
    println!("| measurement | unit | extmap | mke2fs -t ext4 | mke2fs | of -t ext4 | of mke2fs |");
    println!("|---|---|---|---|---|---|---|");
    let wanted = |name: &str| plan.cases.is_empty() || plan.cases.iter().any(|case| case == name);
    let mut targets = Vec::new();
    if wanted("empty") {
        targets.extend(empty(&plan)?);
    }
    if wanted("tree") {
        targets.extend(tree(&plan)?);
    }
    if wanted("huge") {
        targets.extend(huge(&plan)?);
    }
    println!();
    let mut all = true;
    for (what, reached, limit) in targets {
        let met = reached <= limit;
        let word = if met { "PASS" } else { "FAIL" };
        println!("{word} {what}: {}, target at most {limit}", number(reached));
        all &= met;
    }
    Ok(all)
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Plan> {
    let mut plan = Plan {
        rounds: 5,
        cases: Vec::new(),
        huge_dir: "/dev/shm".into(),
    };
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--rounds" => plan.rounds = args.next().context(USAGE)?.parse().context(USAGE)?,
            "--huge-dir" => plan.huge_dir = args.next().context(USAGE)?.into(),
            "empty" | "tree" | "huge" => plan.cases.push(arg),
            _ => bail!("{arg}? {USAGE}"),
        }
    }
    ensure!(plan.rounds > 0, USAGE);
    Ok(plan)
}

/// A target: what, what was reached, and the most it may be.
type Target = (String, f64, f64);

fn empty(plan: &Plan) -> Result<Vec<Target>> {
    let scratch = Scratch::new()?;
    let row = Row::measure(
        plan,
        "empty 1 TiB sparse image",
        &scratch.path("image"),
        &[],
        "1T",
    )?;
    let mut targets = Vec::new();
    for (other, name) in [(1, "mke2fs -t ext4"), (2, "mke2fs")] {
        let bytes = row.bytes_written[0] / row.bytes_written[other];
        targets.push((
            format!("{}: time of {name}'s", row.name),
            row.time_ratio(other)?,
            0.5,
        ));
        targets.push((
            format!("{}: bytes written of {name}'s", row.name),
            bytes,
            1.0,
        ));
    }
    Ok(targets)
}

fn tree(plan: &Plan) -> Result<Vec<Target>> {
    let scratch = Scratch::new()?;
    let dir = scratch.make_dir("tree")?;
    let total = source::make(&dir, source::FILES, source::TOTAL_BYTES)?;
    let name = format!("-d of {} files, {} MiB", source::FILES, total >> 20);
    let dir = dir.display().to_string();
    let row = Row::measure(plan, &name, &scratch.path("image"), &["-d", &dir], "2G")?;
    let time = row.time_ratio(1)?;
    Ok(vec![
        (format!("{name}: time of mke2fs -t ext4's"), time, 0.5),
        (
            format!("{name}: peak memory in MiB"),
            row.peak_mib()?,
            128.0,
        ),
    ])
}

fn huge(plan: &Plan) -> Result<Vec<Target>> {
    let dir = tempfile::Builder::new()
        .prefix("extmap-bench-")
        .tempdir_in(&plan.huge_dir)?;
    let row = Row::measure(
        plan,
        "empty 16 TiB sparse image",
        &dir.path().join("image"),
        &[],
        "16T",
    )?;
    let ours = row.times[0].median().context("not measured")?;
    Ok(vec![
        (format!("{}: milliseconds", row.name), ours, 1000.0),
        (
            format!("{}: peak memory in MiB", row.name),
            row.peak_mib()?,
            64.0,
        ),
    ])
}

/// One measurement of both programs.
struct Row {
    name: String,
    times: [Values; COLUMNS],
    peaks: [Values; COLUMNS],
    bytes_written: [f64; COLUMNS],
}

impl Row {
    fn measure(
        plan: &Plan,
        name: &str,
        image: &Path,
        options: &[&str],
        size: &str,
    ) -> Result<Self> {
        let mut row = Self {
            name: name.to_owned(),
            times: Default::default(),
            peaks: Default::default(),
            bytes_written: [0.0; COLUMNS],
        };
        let mut allocated: [Values; COLUMNS] = Default::default();
        // Without 64bit there are no file systems of 16 TiB.
        let makers = MAKERS
            .iter()
            .filter(|&&maker| maker != Maker::Mke2fs || size != "16T");
        let makers: Vec<(usize, Maker)> = makers.copied().enumerate().collect();
        for &(at, maker) in &makers {
            row.bytes_written[at] = bytes_written(&maker.words(options, image, size)?, image)?;
        }
        for _ in 0..plan.rounds {
            for &(at, maker) in &makers {
                let run = timed(&maker.words(options, image, size)?, image)?;
                row.times[at].push(run.milliseconds);
                row.peaks[at].push(run.peak_kib);
                allocated[at].push(run.allocated_kib);
            }
        }
        std::fs::remove_file(image)?;
        print(name, Unit::Milliseconds, &row.times);
        print("its peak memory", Unit::Kibibytes, &row.peaks);
        print("the image's space on disk", Unit::Kibibytes, &allocated);
        let written = row.bytes_written.map(|bytes| {
            let mut values = Values::default();
            if bytes > 0.0 {
                values.push(bytes / 1024.0);
            }
            values
        });
        print("bytes written (counted once)", Unit::Kibibytes, &written);
        Ok(row)
    }

    /// Our time as a part of another column's.
    fn time_ratio(&self, other: usize) -> Result<f64> {
        let median = |column: usize| self.times[column].median().context("not measured");
        Ok(median(0)? / median(other)?)
    }

    fn peak_mib(&self) -> Result<f64> {
        Ok(self.peaks[0].median().context("not measured")? / 1024.0)
    }
}

fn print(name: &str, unit: Unit, values: &[Values; COLUMNS]) {
    let cells: Vec<String> = values.iter().map(Values::cell).collect();
    let part = |other: &Values| match (values[0].median(), other.median()) {
        (Some(ours), Some(theirs)) if theirs > 0.0 => format!("{:.2}", ours / theirs),
        _ => "-".into(),
    };
    let parts: Vec<String> = values.iter().skip(1).map(part).collect();
    println!(
        "| {name} | {} | {} | {} |",
        unit.text(),
        cells.join(" | "),
        parts.join(" | ")
    );
}

/// A new image by one call, under time(1).
fn timed(words: &[String], image: &Path) -> Result<Run> {
    fresh(image)?;
    let times = image.with_extension("time");
    let mut command = Command::new("time");
    command.args(["-f", "%M", "-o"]).arg(&times).args(words);
    command.env("PATH", tool::path()).stdin(Stdio::null());
    let start = Instant::now();
    let output = command.output().context("time")?;
    let milliseconds = start.elapsed().as_secs_f64() * 1000.0;
    ensure!(
        output.status.success(),
        "{words:?}: {}",
        tool::failure(&output)
    );
    let peak_kib = std::fs::read_to_string(&times)?.trim().parse()?;
    std::fs::remove_file(&times)?;
    let blocks = std::os::unix::fs::MetadataExt::blocks(&std::fs::metadata(image)?);
    Ok(Run {
        milliseconds,
        peak_kib,
        allocated_kib: blocks as f64 / 2.0,
    })
}

/// Starts from nothing, with earlier writes out of the way.
fn fresh(image: &Path) -> Result<()> {
    match std::fs::remove_file(image) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => rustix::fs::sync(),
    }
    Ok(())
}

/// What one call hands to the system to write, in bytes; the image is checked.
fn bytes_written(words: &[String], image: &Path) -> Result<f64> {
    fresh(image)?;
    let log = image.with_extension("strace");
    let calls = "trace=pwrite64,pwritev,pwritev2,copy_file_range";
    let mut args = vec!["-f", "-e", calls, "-e", "signal=none", "-s", "0", "-o"];
    let log_text = log.display().to_string();
    args.push(&log_text);
    args.extend(words.iter().map(String::as_str));
    tool::run("strace", &args)?;
    let text = std::fs::read_to_string(&log)?;
    std::fs::remove_file(&log)?;
    let total: u64 = text
        .lines()
        .filter_map(|line| line.rsplit_once(" = ")?.1.trim().parse::<u64>().ok())
        .sum();
    ensure!(total > 0, "strace saw no writes");
    tool::run("e2fsck", &["-fn".as_ref(), image.as_os_str()])?;
    Ok(total as f64)
}

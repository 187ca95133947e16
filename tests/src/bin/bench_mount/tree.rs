//! A source tree: unpacked from an archive, and looked at by git.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;
use system_tests::guards::Server;
use system_tests::measure::Unit;
use system_tests::report::{Report, Row, Target};
use system_tests::rng::Rng;
use system_tests::scratch::Scratch;
use system_tests::tool;

use crate::Plan;
use crate::mounted::Mounted;

const DIRS: usize = 1200;
const FILES: usize = 50;
const FILE_BYTES_MAX: u64 = 12_000;

pub(crate) fn measure(plan: &Plan, scratch: &Scratch, report: &mut Report) -> Result<()> {
    let archive = archive(scratch, if plan.quick { DIRS / 10 } else { DIRS })?;
    let targets = |fuse2fs, kernel| {
        [
            Target::Times(fuse2fs, Server::Fuse2fs),
            Target::Times(kernel, Server::Kernel),
        ]
    };
    let ms = Unit::Milliseconds;
    let mut unpack = Row::new("unpack 60,000 files, sync", ms, &targets(3.0, 0.25));
    let mut status = Row::new("git status, warm", ms, &targets(5.0, 0.8));
    let mut memory = Row::new("the server's peak memory", Unit::Kibibytes, &[]);
    for _ in 0..plan.rounds {
        for &server in &plan.servers {
            let mounted = Mounted::new(server, scratch, 4 << 30, &plan.options)?;
            let start = Instant::now();
            let to = mounted.path().as_os_str();
            tool::run(
                "tar",
                &["-xf".as_ref(), archive.as_os_str(), "-C".as_ref(), to],
            )?;
            tool::run("sync", &["-f".as_ref(), to])?;
            unpack.push(server, start.elapsed().as_secs_f64() * 1e3);
            let tree = mounted.path().join("tree");
            git(&tree, &["status", "--short"])?;
            let start = Instant::now();
            git(&tree, &["status", "--short"])?;
            status.push(server, start.elapsed().as_secs_f64() * 1e3);
            if let Some(kib) = mounted.peak_memory_kib() {
                memory.push(server, kib as f64);
            }
            mounted.end()?;
        }
    }
    [unpack, status, memory]
        .into_iter()
        .for_each(|row| report.add(row));
    Ok(())
}

/// An archive of a git repository with its files.
fn archive(scratch: &Scratch, dirs: usize) -> Result<PathBuf> {
    let tree = scratch.make_dir("tree")?;
    let mut rng = Rng::new(1);
    for dir in 0..dirs {
        let dir = tree.join(format!("part-{}/module-{dir}", dir % 40));
        std::fs::create_dir_all(&dir)?;
        for file in 0..FILES {
            let len = rng.below(FILE_BYTES_MAX) as usize;
            let text = format!("line {file} of {}\n", dir.display()).repeat(len / 40 + 1);
            std::fs::write(dir.join(format!("source-{file}.c")), text)?;
        }
    }
    git(&tree, &["init", "--quiet"])?;
    git(&tree, &["add", "--all"])?;
    git(&tree, &["commit", "--quiet", "--message", "all"])?;
    git(&tree, &["gc", "--quiet"])?;
    let archive = scratch.path("tree.tar");
    let from = tree.parent().unwrap_or(&tree).as_os_str();
    let args = [
        "-cf".as_ref(),
        archive.as_os_str(),
        "-C".as_ref(),
        from,
        "tree".as_ref(),
    ];
    tool::run("tar", &args)?;
    std::fs::remove_dir_all(&tree)?;
    Ok(archive)
}

fn git(tree: &Path, args: &[&str]) -> Result<String> {
    let tree = tree.to_string_lossy();
    let mut all = vec!["-C", &tree, "-c", "safe.directory=*"];
    all.extend(["-c", "user.name=bench", "-c", "user.email=bench@localhost"]);
    all.extend(args);
    tool::run("git", &all)
}

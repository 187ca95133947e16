//! Memory on a large volume: a process of its own walks and fills many groups.

use std::ops::ControlFlow;
use std::path::Path;

use anyhow::{Context, Result};
use fs_core::{FileType, InodeNumber, NewInode, WritableVolume};
use system_tests::guards::status_kib;
use system_tests::measure::Unit;
use system_tests::scratch::Scratch;
use system_tests::tool;

use crate::engine::{self, Who};
use crate::report::{Report, Target};
use crate::{Plan, timed};

const PEAK: &str = "peak memory, 60,000 files in 4,000 groups of 1 TiB";
const TIME: &str = "its time";

const DIRS: u64 = 4000;
const FILES_PER_DIR: u64 = 15;

pub(crate) fn measure(plan: &Plan, scratch: &Scratch, report: &mut Report) -> Result<()> {
    report.row(PEAK, Unit::Kibibytes, &[Target::AtMost(128.0 * 1024.0)]);
    report.row(TIME, Unit::Milliseconds, &[]);
    for who in plan.of(&[Who::Extmap]) {
        let image = scratch.mke2fs("large", 1 << 40, &["-b", "4096"])?;
        let program = std::env::current_exe()?.display().to_string();
        let (time, _) = timed(|| {
            let words = ["--in".as_ref(), image.as_os_str()];
            let peak = tool::run(&program, &words)?;
            let peak = peak.lines().next().context("no output")?.trim().parse()?;
            report.push(PEAK, who, peak);
            Ok(())
        })?;
        report.push(TIME, who, time.as_secs_f64() * 1e3);
        std::fs::remove_file(&image)?;
    }
    Ok(())
}

/// Makes directories, which the allocator spreads over all groups, files in them, and walks
/// over everything; prints the most memory it took.
pub(crate) fn run_in(image: &Path) -> Result<()> {
    let volume = engine::volume(image)?;
    let content = [7; 4096];
    for number in 0..DIRS {
        let new = NewInode::directory(0o755);
        let name = format!("dir-{number}");
        let dir = volume.create(InodeNumber::ROOT, name.as_bytes(), &new)?;
        for number in 0..FILES_PER_DIR {
            let name = format!("file-{number}");
            let new = NewInode::file(0o644);
            let file = volume.create(dir.number(), name.as_bytes(), &new)?;
            volume.write(file.number(), &content, 0)?;
        }
    }
    walk(&volume)?;
    volume.close()?;
    let peak = status_kib(std::process::id(), "VmHWM").context("VmHWM")?;
    println!("{peak}");
    Ok(())
}

fn walk(volume: &WritableVolume) -> Result<()> {
    let mut dirs = vec![InodeNumber::ROOT];
    while let Some(dir) = dirs.pop() {
        let mut found = Vec::new();
        volume.read_dir(dir, 0, &mut |entry| {
            if !matches!(entry.name, b"." | b"..") {
                found.push(entry.inode);
            }
            ControlFlow::Continue(())
        })?;
        for number in found {
            if volume.inode(number)?.file_type() == FileType::Directory {
                dirs.push(number);
            }
        }
    }
    Ok(())
}

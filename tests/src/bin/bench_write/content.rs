//! Content: long writes, durable writes, files that grow side by side.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use system_tests::measure::Unit;
use system_tests::scratch::Scratch;
use system_tests::tool;

use crate::engine::{self, OpenFile, Who};
use crate::report::{Report, Target};
use crate::{Plan, timed};

const SEQUENTIAL: &str = "1 GiB in writes of 1 MiB, then fsync";
const FSYNC: &str = "append 4 KiB and fsync, one thread";
const FSYNC_OVER: &str = "overwrite 4 KiB and fsync, one thread";
const FSYNC_EIGHT: &str = "append 4 KiB and fsync, eight threads";
const FRAGMENTS: &str = "pieces of a file on average, 100 grown in turn";

const MIB: u64 = 1 << 20;
const BLOCK_BYTES: u64 = 4096;
const FSYNCS: u64 = 1000;
const THREADS: u64 = 8;

pub(crate) fn sequential(plan: &Plan, scratch: &Scratch, report: &mut Report) -> Result<()> {
    let target = Target::Times(0.8, Who::Plain);
    report.row(SEQUENTIAL, Unit::MegabytesPerSecond, &[target]);
    let piece: Vec<u8> = (0..MIB).map(|at| at as u8 | 1).collect();
    let len_mib = 1024;
    for _ in 0..plan.rounds {
        for who in plan.of(&[Who::Extmap, Who::Kernel, Who::Plain]) {
            let image = scratch.mke2fs("sequential", 2 << 30, &["-b", "4096"])?;
            rustix::fs::sync();
            let volume = engine::open(who, &image, scratch)?;
            let dir = volume.make_dir("dir")?;
            let file = dir.open_new("file")?;
            let (time, _) = timed(|| {
                (0..len_mib).try_for_each(|at| file.write_at(&piece, at * MIB))?;
                file.sync()
            })?;
            let megabytes = (len_mib * MIB) as f64 / 1e6;
            report.push(SEQUENTIAL, who, megabytes / time.as_secs_f64());
            dir.unlink("file")?;
            drop((file, dir));
            volume.close()?;
            std::fs::remove_file(&image)?;
        }
    }
    Ok(())
}

/// Everything lies in blocks that the directory's file system has written before: what is
/// measured is flushing, not how that one finds room.
pub(crate) fn fsync(plan: &Plan, scratch: &Scratch, report: &mut Report) -> Result<()> {
    let rate = Unit::OperationsPerSecond;
    let targets = [
        Target::Times(1.0 / 2.3, Who::Plain),
        Target::Times(1.0, Who::Kernel),
    ];
    report.row(FSYNC, rate, &targets);
    report.row(FSYNC_OVER, rate, &[]);
    report.row(FSYNC_EIGHT, rate, &[Target::TimesRow(3.0, FSYNC)]);
    for _ in 0..plan.rounds {
        for who in plan.of(&[Who::Extmap, Who::Kernel, Who::Plain]) {
            let image = solid_image(scratch)?;
            let volume = engine::open(who, &image, scratch)?;
            let dir = volume.make_dir("dir")?;
            let files: Vec<Box<dyn OpenFile>> = (0..=THREADS)
                .map(|number| open_for_fsync(who, &*dir, number))
                .collect::<Result<_>>()?;
            volume.sync()?;
            rustix::fs::sync();
            let one = files.last().context("no file")?;
            report.push(FSYNC, who, rate_of(FSYNCS, || writes(&**one, FSYNCS))?);
            report.push(FSYNC_OVER, who, rate_of(FSYNCS, || writes(&**one, FSYNCS))?);
            let eight = files.get(..THREADS as usize).context("no files")?;
            let count = FSYNCS * 2;
            let together = rate_of(count, || at_once(eight, count / THREADS))?;
            report.push(FSYNC_EIGHT, who, together);
            drop(files);
            for number in 0..=THREADS {
                dir.unlink(&number.to_string())?;
            }
            drop(dir);
            volume.close()?;
            tool::run("e2fsck", &["-fn".as_ref(), image.as_os_str()])?;
        }
    }
    Ok(())
}

/// The plain file has its blocks already, as the image has.
fn open_for_fsync(who: Who, dir: &dyn engine::Directory, number: u64) -> Result<Box<dyn OpenFile>> {
    let file = dir.open_new(&number.to_string())?;
    if who == Who::Plain {
        file.write_at(&vec![1; (FSYNCS * BLOCK_BYTES) as usize], 0)?;
        file.sync()?;
    }
    Ok(file)
}

fn rate_of(count: u64, act: impl FnOnce() -> Result<()>) -> Result<f64> {
    let (time, _) = timed(act)?;
    Ok(count as f64 / time.as_secs_f64())
}

fn writes(file: &dyn OpenFile, count: u64) -> Result<()> {
    let block = [0x33; BLOCK_BYTES as usize];
    (0..count).try_for_each(|at| {
        file.write_at(&block, at * BLOCK_BYTES)?;
        file.sync()
    })
}

fn at_once(files: &[Box<dyn OpenFile>], count: u64) -> Result<()> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = files
            .iter()
            .map(|file| scope.spawn(|| writes(&**file, count)))
            .collect();
        threads.into_iter().try_for_each(|thread| {
            thread
                .join()
                .map_err(|_| anyhow::anyhow!("a thread panicked"))?
        })
    })
}

/// An image whose every block has been written.
fn solid_image(scratch: &Scratch) -> Result<PathBuf> {
    let path = scratch.path("solid");
    let len_mib = 256;
    let mut file = std::fs::File::create(&path)?;
    for _ in 0..len_mib {
        std::io::Write::write_all(&mut file, &[0xA5; MIB as usize])?;
    }
    drop(file);
    let words: [&std::ffi::OsStr; 10] = [
        "-q".as_ref(),
        "-F".as_ref(),
        "-t".as_ref(),
        "ext4".as_ref(),
        "-b".as_ref(),
        "4096".as_ref(),
        "-E".as_ref(),
        "nodiscard,lazy_itable_init=0,lazy_journal_init=0".as_ref(),
        "-Jsize=32".as_ref(),
        path.as_os_str(),
    ];
    tool::run("mke2fs", &words)?;
    rewrite(&path)?;
    Ok(path)
}

/// Writes a file over with what it holds: mke2fs leaves holes where it may.
fn rewrite(path: &Path) -> Result<()> {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::options().read(true).write(true).open(path)?;
    let len = file.metadata()?.len();
    let mut bytes = vec![0; MIB as usize];
    for at in (0..len).step_by(MIB as usize) {
        file.read_exact_at(&mut bytes, at)?;
        file.write_all_at(&bytes, at)?;
    }
    file.sync_all()?;
    Ok(())
}

pub(crate) fn fragments(plan: &Plan, scratch: &Scratch, report: &mut Report) -> Result<()> {
    report.row(FRAGMENTS, Unit::Pieces, &[Target::AtMost(4.0)]);
    let (files, piece_bytes, file_bytes) = (100_u32, 64 << 10, 64 * MIB);
    // Where blocks go does not depend on time: once is enough.
    for who in plan.of(&[Who::Extmap]) {
        let image = scratch.mke2fs("fragments", 8 << 30, &["-b", "4096"])?;
        let volume = engine::open(who, &image, scratch)?;
        let dir = volume.make_dir("dir")?;
        let open: Vec<Box<dyn OpenFile>> = (0..files)
            .map(|number| dir.open_new(&number.to_string()))
            .collect::<Result<_>>()?;
        let piece = vec![0x77; piece_bytes as usize];
        for at in (0..file_bytes).step_by(piece_bytes as usize) {
            open.iter().try_for_each(|file| file.write_at(&piece, at))?;
        }
        let mut pieces = 0;
        for file in &open {
            pieces += file.extents()?;
        }
        report.push(FRAGMENTS, who, pieces as f64 / f64::from(files));
        drop((open, dir));
        volume.close()?;
        tool::run("e2fsck", &["-fn".as_ref(), image.as_os_str()])?;
        std::fs::remove_file(&image)?;
    }
    Ok(())
}

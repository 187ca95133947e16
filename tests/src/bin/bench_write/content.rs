//! Content: long writes, durable writes, files that grow side by side.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use system_tests::measure::Unit;
use system_tests::scratch::Scratch;
use system_tests::tool;

use crate::engine::{self, Directory, FileSystem, OpenFile, Who};
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
const SLICES: u64 = 10;
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
/// measured is flushing, not how that one finds room. All take turns, a tenth of the work
/// at a time: how fast a disk flushes changes from second to second.
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
        let mut writers: Vec<Writer> = plan
            .of(&[Who::Extmap, Who::Kernel, Who::Plain])
            .map(|who| Writer::begin(who, scratch))
            .collect::<Result<_>>()?;
        rustix::fs::sync();
        for slice in 0..SLICES {
            for writer in &mut writers {
                writer.work(slice)?;
            }
        }
        for writer in writers {
            let rate = |count: u64, time: Duration| count as f64 / time.as_secs_f64();
            let [append, over, eight] = writer.times;
            report.push(FSYNC, writer.who, rate(FSYNCS, append));
            report.push(FSYNC_OVER, writer.who, rate(FSYNCS, over));
            report.push(FSYNC_EIGHT, writer.who, rate(FSYNCS, eight));
            writer.end()?;
        }
    }
    Ok(())
}

/// One who takes part.
struct Writer {
    who: Who,
    image: PathBuf,
    volume: Box<dyn FileSystem>,
    dir: Box<dyn Directory>,
    one: Box<dyn OpenFile>,
    eight: Vec<Box<dyn OpenFile>>,
    /// Of appending, overwriting, and of eight threads.
    times: [Duration; 3],
}

impl Writer {
    fn begin(who: Who, scratch: &Scratch) -> Result<Self> {
        let image = solid_image(scratch, &format!("{who:?}"))?;
        let volume = engine::open(who, &image, scratch)?;
        let dir = volume.make_dir("dir")?;
        let open = |number: u64| open_for_fsync(who, &*dir, number);
        let (one, eight) = (open(0)?, (1..=THREADS).map(open).collect::<Result<_>>()?);
        volume.sync()?;
        Ok(Self {
            who,
            image,
            volume,
            dir,
            one,
            eight,
            times: Default::default(),
        })
    }

    fn work(&mut self, slice: u64) -> Result<()> {
        let count = FSYNCS / SLICES;
        let [append, over, eight] = &mut self.times;
        *append += timed(|| writes(&*self.one, slice * count, count))?.0;
        *over += timed(|| writes(&*self.one, slice * count, count))?.0;
        let each = count.div_ceil(THREADS);
        let time = timed(|| at_once(&self.eight, slice * each, each))?.0;
        // The number of threads need not divide the work.
        *eight += time.mul_f64(count as f64 / (each * THREADS) as f64);
        Ok(())
    }

    fn end(self) -> Result<()> {
        drop((self.one, self.eight));
        for number in 0..=THREADS {
            self.dir.unlink(&number.to_string())?;
        }
        drop(self.dir);
        self.volume.close()?;
        tool::run("e2fsck", &["-fn".as_ref(), self.image.as_os_str()])?;
        std::fs::remove_file(&self.image)?;
        Ok(())
    }
}

/// The plain file has its blocks already, as the image has.
fn open_for_fsync(who: Who, dir: &dyn Directory, number: u64) -> Result<Box<dyn OpenFile>> {
    let file = dir.open_new(&number.to_string())?;
    if who == Who::Plain {
        file.write_at(&vec![1; (FSYNCS * BLOCK_BYTES) as usize], 0)?;
        file.sync()?;
    }
    Ok(file)
}

fn writes(file: &dyn OpenFile, from: u64, count: u64) -> Result<()> {
    let block = [0x33; BLOCK_BYTES as usize];
    (from..from + count).try_for_each(|at| {
        file.write_at(&block, at * BLOCK_BYTES)?;
        file.sync()
    })
}

fn at_once(files: &[Box<dyn OpenFile>], from: u64, count: u64) -> Result<()> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = files
            .iter()
            .map(|file| scope.spawn(move || writes(&**file, from, count)))
            .collect();
        threads.into_iter().try_for_each(|thread| {
            thread
                .join()
                .map_err(|_| anyhow::anyhow!("a thread panicked"))?
        })
    })
}

/// An image whose every block has been written.
fn solid_image(scratch: &Scratch, name: &str) -> Result<PathBuf> {
    let path = scratch.path(name);
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

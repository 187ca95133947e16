//! What answering a BEGIN costs: from the request's bytes to the reply's, from memory, without
//! a kernel. One thread and two, interleaved; medians and spread. What two threads do that
//! share nothing, each with a server of its own, is what the machine can do.
//!
//! ```text
//! target/release/bench-iomap [ROUNDS]
//! ```

use std::io;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use fs_core::{InodeNumber, NewInode, WritableVolume, WriteOptions};
use fuse_frontend::ConnectionCalls;
use fuse_frontend::measure::{Answerer, Unmounted};
use system_tests::measure::Values;
use system_tests::scratch::Scratch;

/// Extents of the file that is asked about.
const EXTENTS: u64 = 10_000;
const BLOCK_BYTES: u64 = 4096;
/// Questions of a thread in a round.
const QUESTIONS: u64 = 400_000;

/// A kernel that takes every notice.
#[derive(Debug)]
struct Taker;

impl ConnectionCalls for Taker {
    fn ioctl(&self, _command: u32, _argument: &mut [u8]) -> io::Result<u32> {
        Ok(0)
    }

    fn notify(&self, _message: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    /// A read somewhere.
    Read,
    /// An overwrite somewhere.
    Overwrite,
}

fn main() -> Result<()> {
    let rounds = match std::env::args().nth(1) {
        Some(rounds) => rounds.parse().context("how many rounds?")?,
        None => 5,
    };
    let asked = [Asked::new()?, Asked::new()?];
    let [one, other] = &asked;
    println!("BEGIN of a file of {EXTENTS} extents a thread, from memory, {rounds} rounds");
    for question in [Question::Read, Question::Overwrite] {
        let mut alone = Values::default();
        let ways = [
            ("two files", [(one, 0), (one, 1)]),
            ("one file", [(one, 0), (one, 0)]),
            ("two servers", [(one, 0), (other, 1)]),
        ];
        let mut ratios = ways.map(|_| Values::default());
        for round in 0..=rounds {
            for ((_, threads), ratio) in ways.iter().zip(&mut ratios) {
                let single = questions_per_second(&threads[..1], question)?;
                let double = questions_per_second(threads, question)?;
                // The first warms up.
                if round > 0 {
                    alone.push(1e6 / single);
                    ratio.push(double / single);
                }
            }
        }
        println!("{question:?}");
        println!("  one thread    {} us an answer", alone.cell());
        for ((name, _), ratio) in ways.iter().zip(ratios) {
            println!("  two threads on {name} do {} times as much", ratio.cell());
        }
    }
    Ok(())
}

/// A server that is asked, about two files.
struct Asked {
    server: Unmounted,
    files: [InodeNumber; 2],
    _scratch: Scratch,
}

impl Asked {
    fn new() -> Result<Self> {
        let scratch = Scratch::new()?;
        let (volume, files) = volume(&scratch)?;
        Ok(Self {
            server: Unmounted::with_iomap(volume, Arc::new(Taker)),
            files,
            _scratch: scratch,
        })
    }
}

/// A volume with two files of which every second block is written.
fn volume(scratch: &Scratch) -> Result<(WritableVolume, [InodeNumber; 2])> {
    let options = ["-t", "ext4", "-b", "4096"];
    let image = scratch.mke2fs("image", 256 << 20, &options)?;
    let device = images::open(&image, &images::OpenOptions::default())?;
    let volume = WritableVolume::open(device, &WriteOptions::default())?;
    let mut files = [InodeNumber::ROOT; 2];
    for (name, file) in [b"a", b"b"].into_iter().zip(&mut files) {
        *file = volume
            .create(InodeNumber::ROOT, name, &NewInode::file(0o644))?
            .number();
        for extent in 0..EXTENTS {
            volume.write(*file, &[1; 64], extent * 2 * BLOCK_BYTES)?;
        }
        volume.retain(*file)?;
    }
    volume.sync()?;
    Ok((volume, files))
}

/// Each thread asks a server about one of its files.
fn questions_per_second(threads: &[(&Asked, usize)], question: Question) -> Result<f64> {
    let start = Instant::now();
    let answered = std::thread::scope(|scope| {
        let ask = move |asked: &Asked, index: usize, seed| {
            let file = asked.files.get(index);
            let thread = asked.server.thread().ok();
            file.zip(thread)
                .is_some_and(|(&file, thread)| ask(thread, file, question, seed))
        };
        let threads: Vec<_> = (1..)
            .zip(threads)
            .map(|(seed, &(asked, index))| scope.spawn(move || ask(asked, index, seed)))
            .collect();
        threads
            .into_iter()
            .all(|thread| thread.join().unwrap_or(false))
    });
    ensure!(answered, "a question was not answered");
    Ok((threads.len() as u64 * QUESTIONS) as f64 / start.elapsed().as_secs_f64())
}

fn ask(mut answerer: Answerer<'_>, file: InodeNumber, question: Question, seed: u64) -> bool {
    let mut random = seed;
    (0..QUESTIONS).all(|_| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let pos = (random >> 33) % EXTENTS * 2 * BLOCK_BYTES;
        answerer.begin(file, pos, BLOCK_BYTES, question == Question::Overwrite)
    })
}

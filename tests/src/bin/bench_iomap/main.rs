//! What answering a BEGIN costs: from the request's bytes to the reply's, from memory, without
//! a kernel. One thread and two, interleaved; medians and spread.
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
const QUESTIONS: u64 = 200_000;

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
    let scratch = Scratch::new()?;
    let (volume, files) = volume(&scratch)?;
    let server = Unmounted::with_iomap(volume, Arc::new(Taker));
    println!("BEGIN of a file of {EXTENTS} extents a thread, from memory, {rounds} rounds");
    for question in [Question::Read, Question::Overwrite] {
        let (mut alone, mut together, mut ratio) =
            (Values::default(), Values::default(), Values::default());
        for round in 0..=rounds {
            let one = questions_per_second(&server, files, question, 1)?;
            let two = questions_per_second(&server, files, question, 2)?;
            // The first warms up.
            if round > 0 {
                alone.push(1e6 / one);
                together.push(1e6 / (two / 2.0));
                ratio.push(two / one);
            }
        }
        println!("{question:?}");
        println!("  one thread    {} us an answer", alone.cell());
        println!("  two threads   {} us an answer", together.cell());
        println!("  two do        {} times as many as one", ratio.cell());
    }
    Ok(())
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

fn questions_per_second(
    server: &Unmounted,
    files: [InodeNumber; 2],
    question: Question,
    threads: usize,
) -> Result<f64> {
    let start = Instant::now();
    let answered = std::thread::scope(|scope| {
        let ask = move |file, seed| {
            let thread = server.thread();
            thread.is_ok_and(|thread| ask(thread, file, question, seed))
        };
        let threads: Vec<_> = (1..)
            .zip(files.into_iter().take(threads))
            .map(|(seed, file)| scope.spawn(move || ask(file, seed)))
            .collect();
        threads
            .into_iter()
            .all(|thread| thread.join().unwrap_or(false))
    });
    ensure!(answered, "a question was not answered");
    Ok((threads as u64 * QUESTIONS) as f64 / start.elapsed().as_secs_f64())
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

//! Work nobody syncs: so that what is synced comes in transactions with all sorts of others.

use std::fs::{self, File, OpenOptions};
use std::io::{Error, Result};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use system_tests::rng::Rng;

const NAMES: u64 = 40;
const FILE_BYTES_MAX: u64 = 300_000;

/// Changes things below `dir` until the server has gone.
pub(crate) fn make(dir: &Path, seed: u64) {
    let mut rng = Rng::new(seed ^ 0x4E01_5E00);
    // Names meet: that something is missing or there already is no reason to end.
    loop {
        match step(dir, &mut rng) {
            Err(error) if has_gone(&error) => return,
            Ok(()) | Err(_) => {}
        }
    }
}

/// Whether it is what a dead mount gives.
fn has_gone(error: &Error) -> bool {
    let gone = [Errno::NOTCONN, Errno::CONNABORTED, Errno::IO];
    let errno = error.raw_os_error();
    gone.into_iter()
        .any(|gone| errno == Some(gone.raw_os_error()))
}

fn step(dir: &Path, rng: &mut Rng) -> Result<()> {
    let path = |rng: &mut Rng| -> PathBuf { dir.join(format!("noise-{}", rng.below(NAMES))) };
    let (one, other) = (path(rng), path(rng));
    match rng.below(9) {
        0 | 1 => {
            let len = rng.below(FILE_BYTES_MAX) as usize;
            fs::write(one, rng.bytes(len))
        }
        2 => fs::rename(one, other),
        3 => fs::remove_file(one),
        4 => fs::hard_link(one, other),
        5 => {
            let file = OpenOptions::new().write(true).open(one)?;
            file.set_len(rng.below(FILE_BYTES_MAX))
        }
        6 => {
            let file = OpenOptions::new().write(true).open(one)?;
            file.write_all_at(&rng.bytes(9000), rng.below(FILE_BYTES_MAX))
        }
        7 => {
            let file = File::options().write(true).open(one)?;
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            let (at, len) = (rng.below(FILE_BYTES_MAX), 1 + rng.below(50_000));
            Ok(fallocate(&file, flags, at, len)?)
        }
        _ => {
            let sub = one.with_extension("dir");
            fs::create_dir(&sub).or_else(|_| fs::remove_dir(&sub))
        }
    }
}

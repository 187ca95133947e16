//! The tree the benchmark packs: like a root file system, many small files and a
//! few large ones.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use anyhow::Result;
use system_tests::rng::Rng;

/// Number of files.
pub(crate) const FILES: u64 = 40_000;
/// Bytes in them together, nearly.
pub(crate) const TOTAL_BYTES: u64 = 1 << 30;
const FILES_PER_DIR: u64 = 50;

/// Makes the tree in `dir`; returns how many bytes its files hold.
pub(crate) fn make(dir: &Path, files: u64, total_bytes: u64) -> Result<u64> {
    let mut rng = Rng::new(42);
    let noise: Vec<u8> = (0..4 << 20).map(|_| rng.below(256) as u8).collect();
    let mut made = 0;
    for number in 0..files {
        let parent = dir.join(format!(
            "d{:02}/e{:03}",
            number / 2000,
            number / FILES_PER_DIR
        ));
        if number % FILES_PER_DIR == 0 {
            fs::create_dir_all(&parent)?;
        }
        let len = length(&mut rng, total_bytes / files);
        let start = rng.below(1 << 20) as usize;
        let mut file = File::create(parent.join(format!("file-{number}")))?;
        let mut left = len;
        while left > 0 {
            let piece = left.min(3 << 20);
            file.write_all(&noise[start..start + piece as usize])?;
            left -= piece;
        }
        made += len;
    }
    Ok(made)
}

/// Nine of ten are small (up to a fifth of the mean), the tenth carries the rest.
fn length(rng: &mut Rng, mean: u64) -> u64 {
    match rng.below(100) {
        0..90 => rng.below(mean * 2 / 5),
        90..99 => rng.below(mean * 8),
        _ => rng.below(mean * 90),
    }
}

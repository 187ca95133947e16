//! Large trees: one directory with very many names, and a source tree's shape.

use crate::rng::Rng;
use anyhow::Result;
use std::fs::File;
use std::path::Path;

/// The names of a crowded directory, about `len_bytes` each.
pub fn crowd_names(count: u64, len_bytes: usize) -> impl Iterator<Item = String> {
    (0..count).map(move |number| {
        let head = format!("{number:07}-");
        let fill = "abcdefghij".repeat(len_bytes / 10 + 1);
        let len = len_bytes.saturating_sub(head.len()) - usize::try_from(number % 7).unwrap_or(0);
        format!("{head}{}", &fill[..len])
    })
}

/// Makes `count` empty files in `dir`.
pub fn crowd(dir: &Path, count: u64, len_bytes: usize) -> Result<()> {
    std::fs::create_dir(dir)?;
    for name in crowd_names(count, len_bytes) {
        File::create(dir.join(name))?;
    }
    Ok(())
}

/// A tree of `dirs` directories with `files` files in all, whose sizes have the
/// given mean: most are small, a few are large. Returns the bytes written.
pub fn populous(root: &Path, dirs: u64, files: u64, mean_bytes: u64) -> Result<u64> {
    let mut rng = Rng::new(0x90b0_1005);
    let pool = rng.bytes(4 << 20);
    let mut paths = Vec::new();
    for number in 0..dirs {
        // Up to sixteen subdirectories each, so that the depth is three to four.
        let parent = if number < 16 {
            root.to_path_buf()
        } else {
            let parents: &Vec<std::path::PathBuf> = &paths;
            parents[usize::try_from(number / 16 - 1)?].clone()
        };
        let path = parent.join(format!("dir-{number:05}"));
        std::fs::create_dir(&path)?;
        paths.push(path);
    }
    let mut total = 0u64;
    for number in 0..files {
        let dir = &paths[usize::try_from(number % dirs)?];
        // The product of two uniform numbers: mean 1/4 of the largest.
        let len = rng.below(2000) * rng.below(2000) * mean_bytes / 1_000_000;
        let start = usize::try_from(rng.below(1 << 20))?;
        let len = usize::try_from(len)?.min(pool.len() - start);
        std::fs::write(
            dir.join(format!("file-{number:06}.txt")),
            &pool[start..start + len],
        )?;
        total += len as u64;
    }
    Ok(total)
}

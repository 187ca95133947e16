//! The images that are measured.

use crate::Plan;
use anyhow::{Context, Result};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use system_tests::guards::KernelMount;
use system_tests::rng::Rng;
use system_tests::scratch::Scratch;
use system_tests::trees;

/// A clean, empty, sparse image of 100 GiB.
pub(crate) fn huge(scratch: &Scratch) -> Result<PathBuf> {
    scratch.mke2fs("huge", 100 << 30, &["-b", "4096"])
}

/// 50,000 files in 2,000 directories, about 700 MB (a tenth of that with
/// `--quick`).
pub(crate) fn populous(plan: &Plan, scratch: &Scratch) -> Result<PathBuf> {
    let (dirs, files) = if plan.quick {
        (200, 5000)
    } else {
        (2000, 50_000)
    };
    let image = scratch.mke2fs("populous", 2 << 30, &["-b", "4096"])?;
    let mount = KernelMount::new(&image, &scratch.path("filling"), "rw")?;
    let bytes = trees::populous(mount.path(), dirs, files, 14_000)?;
    mount.unmount()?;
    println!(
        "tree: {files} files in {dirs} directories, {} MB",
        bytes / 1_000_000
    );
    into_page_cache(&image)?;
    Ok(image)
}

/// One file of 1 GiB (128 MiB with `--quick`).
pub(crate) fn one_file(plan: &Plan, scratch: &Scratch) -> Result<PathBuf> {
    let len_mib: u64 = if plan.quick { 128 } else { 1024 };
    let image = scratch.mke2fs("one-file", (len_mib + 128) << 20, &["-b", "4096"])?;
    let mount = KernelMount::new(&image, &scratch.path("filling"), "rw")?;
    let mut file = File::create(mount.path().join("file"))?;
    let mut rng = Rng::new(1);
    for _ in 0..len_mib {
        file.write_all(&rng.bytes(1 << 20)).context("1 GiB file")?;
    }
    file.sync_all()?;
    drop(file);
    mount.unmount()?;
    println!("file: {len_mib} MiB");
    into_page_cache(&image)?;
    Ok(image)
}

/// Reads the image once: all servers find it in the page cache.
pub(crate) fn into_page_cache(image: &Path) -> Result<()> {
    std::io::copy(&mut File::open(image)?, &mut std::io::sink())?;
    Ok(())
}

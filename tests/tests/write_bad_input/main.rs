//! What cannot be done is refused with the errno Linux has for it, and nothing is changed:
//! names, link counts, sizes, fields out of range, no space at any point; and what is
//! damaged is noticed, noted, and dealt with as the volume's policy says.

mod damage;
mod fields;
mod links;
mod names;
mod no_space;
mod sizes;

use anyhow::{Context, Result, ensure};
use fs_core::{Clock, WritableVolume, WriteOptions};
use rustix::io::Errno;
use std::sync::Arc;
use system_tests::mkfs::judge::fsck;
use system_tests::scratch::Scratch;
use system_tests::write::device::{CowDevice, Image};
use system_tests::write::kinds::VolumeKind;
use system_tests::write::run::START;

fn kind(name: &str) -> Result<VolumeKind> {
    let found = VolumeKind::named(name).copied();
    found.with_context(|| format!("no kind {name}"))
}

fn options() -> WriteOptions {
    WriteOptions {
        clock: Clock::Fixed(START),
        commit_interval_ms: 0,
        ..WriteOptions::default()
    }
}

fn open(image: &Image) -> Result<(Arc<CowDevice>, WritableVolume)> {
    let device = image.device();
    let volume = WritableVolume::open(device.clone(), &options())?;
    Ok((device, volume))
}

/// e2fsck finds nothing.
fn clean(device: &CowDevice) -> Result<()> {
    let scratch = Scratch::new()?;
    let path = scratch.path("image");
    device.image().write_to(&path)?;
    fsck(&path)
}

/// Fails unless a result is this errno.
fn refused<T>(what: &str, result: fs_core::Result<T>, errno: Errno) -> Result<()> {
    match result {
        Ok(_) => anyhow::bail!("{what}: done"),
        Err(error) => ensure!(error.errno() == errno, "{what}: {error}, not {errno}"),
    }
    Ok(())
}

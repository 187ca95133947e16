//! What is put into a new file system: a filled image, mounted by the kernel,
//! equals its source, whatever the source is.

mod attributes;
mod changed_on_the_way;
mod directory;
mod size;
mod tar;

use anyhow::{Context, Result, ensure};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use system_tests::guards::{ChildGuard, KernelMount};
use system_tests::manifest::{Depth, Manifest};
use system_tests::mkfs::archive::{self, Member, pack};
use system_tests::mkfs::dump::Dump;
use system_tests::mkfs::maker::EPOCH;
use system_tests::mkfs::refusal;
use system_tests::mkfs::source::{self, Source, Wanted};
use system_tests::mkfs::{JUDGES, Maker, Mkfs, judge};
use system_tests::rng::Rng;
use system_tests::scratch::Scratch;
use system_tests::skip::{self, Need};
use system_tests::{debugfs, tool, trees};

/// Everything [`trees::base`] and [`Source::Nasty`] make.
fn everything(scratch: &Scratch) -> Result<PathBuf> {
    let dir = scratch.make_dir("source")?;
    Source::Nasty.make(&scratch.make_dir("source/nasty")?)?;
    trees::base(&scratch.make_dir("source/base")?, 7, true)?;
    Ok(dir)
}

fn allowed() -> bool {
    skip::allowed(JUDGES) && skip::allowed(&[Need::Tool("tar")])
}

/// mke2fs, in the program's place, cannot do this.
fn ours_only() -> bool {
    let ours = Maker::under_test() == Maker::Extmap;
    if !ours {
        skip::record("mke2fs 1.47.0 has nothing like it");
    }
    ours
}

/// e2fsck is content, and the kernel shows what is expected.
fn assert_image(
    image: &Path,
    scratch: &Scratch,
    expected: &Manifest,
    wanted: Wanted,
) -> Result<()> {
    judge::fsck(image)?;
    let mount = KernelMount::read_only(image, &scratch.path("mounted"))?;
    source::assert_filled(expected, mount.path(), wanted)?;
    mount.unmount()
}

//! What `extmap mkfs` cannot do: one sentence that names the culprit, exit code 1,
//! and nothing on the device that looks valid.

mod device;
mod full_disk;
mod option;
mod size;
mod source;
mod tar;

use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use system_tests::guards::LoopDevice;
use system_tests::mkfs::archive::{self, Member};
use system_tests::mkfs::judge::{fsck, has_magic};
use system_tests::mkfs::refusal::{self, refused};
use system_tests::mkfs::source::Source;
use system_tests::mkfs::{Maker, Mkfs, TOOLS};
use system_tests::program::Ended;
use system_tests::rng::Rng;
use system_tests::scratch::Scratch;
use system_tests::skip::{self, Need};
use system_tests::tool;

/// mke2fs, in the program's place, does not refuse this, or not so.
fn ours_only() -> bool {
    let ours = Maker::under_test() == Maker::Extmap;
    if !ours {
        skip::record("mke2fs 1.47.0 does otherwise");
    }
    ours
}

/// `OPTIONS IMAGE SIZE` is refused with `words`, and no image is made.
fn refuse(options: &[&str], size: &str, words: &[&str]) -> Result<()> {
    if !skip::allowed(TOOLS) {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let image = scratch.path("image");
    let call = Mkfs::under_test().args(options).arg(&image).arg(size);
    refused(call, &image, words)
        .map(drop)
        .with_context(|| format!("{options:?} {size}"))
}

fn refuse_each(cases: &[(&[&str], &str, &[&str])]) -> Result<()> {
    for (options, size, words) in cases {
        refuse(options, size, words)?;
    }
    Ok(())
}

/// `OPTIONS -d SOURCE IMAGE 16M` is refused with `words`, and no image is made.
fn refuse_source(source: &Path, words: &[&str]) -> Result<()> {
    let scratch = Scratch::new()?;
    let image = scratch.path("image");
    let call = Mkfs::under_test()
        .filled_from(source)
        .arg(&image)
        .arg("16M");
    refused(call, &image, words).map(drop)?;
    // The same into a file that is there, and whose bytes are somebody's.
    let image = scratch.file("there", &[0xaa; 20 << 20])?;
    let call = Mkfs::under_test().arg("-F").filled_from(source);
    refused(call.arg(&image).arg("16M"), &image, words).map(drop)
}

fn as_user(call: Mkfs) -> Mkfs {
    call.through(["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"])
}

/// A directory an ordinary user may write to, in which images are made.
fn their_dir(scratch: &Scratch) -> Result<PathBuf> {
    let dir = scratch.make_dir("theirs")?;
    std::os::unix::fs::chown(&dir, Some(1000), Some(1000))?;
    Ok(dir)
}

/// `/dev/full` as the archive's other end: output that cannot be written.
#[test]
fn output_that_cannot_be_written() -> Result<()> {
    if !skip::allowed(TOOLS) || !ours_only() {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let image = scratch.path("image");
    let mut command = Mkfs::under_test()
        .arg("--json")
        .arg(&image)
        .arg("8M")
        .command()?;
    command.stdout(fs::File::options().write(true).open("/dev/full")?);
    let output = command.stderr(std::process::Stdio::piped()).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(!said.contains("panicked"), "{}", tool::failure(&output));
    ensure!(output.status.code().is_some(), "{}", tool::failure(&output));
    Ok(())
}

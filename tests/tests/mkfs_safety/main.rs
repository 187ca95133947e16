//! Nothing is destroyed by accident, and nothing unfinished looks finished.

mod existing;
mod in_use;
mod interrupted;
mod said;
mod untouched;

use anyhow::{Context, Result, ensure};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use system_tests::guards::{ChildGuard, KernelMount, LoopDevice, wait_until};
use system_tests::mkfs::archive::{self, Member};
use system_tests::mkfs::dump::Dump;
use system_tests::mkfs::judge::{self, fsck, has_magic};
use system_tests::mkfs::refusal::{self, refused};
use system_tests::mkfs::{JUDGES, Maker, Mkfs, TOOLS};
use system_tests::rng::Rng;
use system_tests::scratch::{Scratch, file_hash};
use system_tests::skip::{self, Need};
use system_tests::{program, tool, trees};

fn ours_only() -> bool {
    let ours = Maker::under_test() == Maker::Extmap;
    if !ours {
        skip::record("mke2fs 1.47.0 does otherwise");
    }
    ours
}

/// Refused as it is, with `words`, and unchanged; made anew with `-F`.
fn guarded(image: &Path, words: &[&str]) -> Result<()> {
    // mke2fs asks on a terminal only.
    if Maker::under_test() == Maker::Extmap {
        let before = file_hash(image)?;
        refused(Mkfs::under_test().arg(image), image, words)?;
        ensure!(file_hash(image)? == before, "a refusal changed the image");
    }
    Mkfs::under_test().args(["-q", "-F"]).arg(image).make()?;
    fsck(image)?;
    // Nothing of what was there confuses those who look.
    let output = tool::output("blkid", &["-p".as_ref(), image.as_os_str()])?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(text.contains("TYPE=\"ext4\""), "{}", tool::failure(&output));
    Ok(())
}

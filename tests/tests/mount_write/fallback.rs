//! Images that cannot be written: mounted for reading, with a word of why.

use anyhow::{Result, ensure};
use std::ffi::OsStr;
use std::path::Path;
use system_tests::guards::{FuseMount, LoopDevice, mount_options};
use system_tests::mkfs::judge::fsck;
use system_tests::program::{self, Ended};
use system_tests::scratch::Scratch;
use system_tests::skip;

fn mount(image: &Path, dir: &Path, options: &[&str]) -> Result<(Ended, FuseMount)> {
    std::fs::create_dir_all(dir)?;
    let mut args: Vec<&OsStr> = vec!["mount".as_ref()];
    args.extend(options.iter().map(OsStr::new));
    args.extend([image.as_os_str(), dir.as_os_str()]);
    let ended = program::extmap(args)?;
    Ok((ended, FuseMount::adopt(image, dir)))
}

fn is_read_only(dir: &Path) -> bool {
    let options = mount_options(dir).unwrap_or_default();
    options.split(',').any(|option| option == "ro")
}

#[test]
fn what_cannot_be_written_is_read() -> Result<()> {
    if !skip::allowed(skip::MOUNTS) {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let only_read = scratch.mke2fs("bigalloc", 32 << 20, &["-O", "bigalloc"])?;
    let plain = scratch.mke2fs("plain", 32 << 20, &[])?;
    let device = LoopDevice::attach(&plain, &["--read-only"])?;
    for (image, why) in [(only_read.as_path(), "bigalloc"), (device.path(), "")] {
        let dir = scratch.path("dir");
        let (ended, guard) = mount(image, &dir, &[])?;
        ensure!(ended.success(), "{ended}");
        let said = ended.stderr.clone();
        ensure!(said.contains("read-only") && said.contains(why), "{said}");
        ensure!(said.trim().lines().count() == 1, "not one sentence: {said}");
        ensure!(is_read_only(&dir), "not mounted read-only");
        guard.unmount()?;
        let (ended, guard) = mount(image, &dir, &["-o", "rw"])?;
        let said = ended.refusal()?;
        ensure!(said.contains("writing") && said.contains(why), "{said}");
        drop(guard);
        let (ended, guard) = mount(image, &dir, &["-o", "ro"])?;
        ensure!(ended.success() && ended.stderr.is_empty(), "{ended}");
        guard.unmount()?;
    }
    Ok(())
}

#[test]
fn writing_is_the_default_and_an_image_can_be_made_on_the_way() -> Result<()> {
    if !skip::allowed(skip::MOUNTS) {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let image = scratch.path("new");
    let dir = scratch.make_dir("dir")?;
    for round in 0..2 {
        let (ended, guard) = mount(&image, &dir, &["--create", "64M"])?;
        ensure!(ended.success() && ended.stderr.is_empty(), "{ended}");
        let name = |round| dir.join(format!("round {round}"));
        std::fs::write(name(round), b"x")?;
        ensure!(
            round == 0 || name(round - 1).exists(),
            "a new image in the old one's place"
        );
        guard.unmount()?;
        fsck(&image)?;
    }
    Ok(())
}

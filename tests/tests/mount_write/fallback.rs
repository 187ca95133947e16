//! Images that cannot be written: mounted for reading, with a word of why.

use anyhow::{Result, ensure};
use std::ffi::OsStr;
use std::path::Path;
use system_tests::guards::{FuseMount, KernelMount, LoopDevice, mount_options};
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

/// One image has one writer, by whatever name it is reached; who is second is told of the
/// first.
#[test]
fn there_is_no_second_writer() -> Result<()> {
    if !skip::allowed(skip::MOUNTS) {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let image = scratch.mke2fs("image", 32 << 20, &[])?;
    let file = scratch.file("file", b"content")?;
    let refused = |second: &Path, dir: &Path, holder: &str| -> Result<()> {
        let (ended, _guard) = mount(second, dir, &["-o", "rw"])?;
        let said = ended.refusal()?.to_owned();
        ensure!(said.contains("in use: ") && said.contains(holder), "{said}");
        let inside = format!("{}:/file", second.display());
        let copied = program::extmap([OsStr::new("cp"), file.as_ref(), inside.as_ref()])?;
        let said = copied.refusal()?;
        let words = ["in use: ", "attached to", "mounted on"];
        ensure!(words.iter().any(|word| said.contains(word)), "{said}");
        Ok(())
    };
    let (first, second) = (scratch.path("first"), scratch.path("second"));
    // By a loop device, while the file is held; and by another one, while the first is.
    let device = LoopDevice::attach(&image, &[])?;
    let other = LoopDevice::attach(&image, &[])?;
    for holder in [image.as_path(), device.path()] {
        let (ended, guard) = mount(holder, &first, &["-o", "rw"])?;
        ensure!(ended.success(), "{ended}");
        std::fs::write(first.join("file"), b"content")?;
        for way in [image.as_path(), device.path(), other.path()] {
            refused(way, &second, "process ")?;
        }
        guard.unmount()?;
        fsck(&image)?;
    }
    // By its name, while the kernel has mounted it through a loop device.
    drop((device, other));
    let kernel = KernelMount::new(&image, &first, "rw")?;
    let shown = first.display().to_string();
    refused(&image, &second, &shown)?;
    kernel.unmount()?;
    fsck(&image)
}

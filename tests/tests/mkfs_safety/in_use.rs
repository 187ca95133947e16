//! Who is mounted or used by others is left alone.

use super::*;

/// Refused without `-F` and with it; the image stays as it is.
fn always_refused(device: &Path, image: &Path, words: &[&str]) -> Result<()> {
    let before = file_hash(image)?;
    refused(Mkfs::under_test().arg(device), device, &[])?;
    refused(Mkfs::under_test().arg("-F").arg(device), device, words)?;
    ensure!(file_hash(image)? == before, "a refusal changed the image");
    Ok(())
}

#[test]
fn mounted_image() -> Result<()> {
    if !skip::allowed(JUDGES) {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let image = scratch.mke2fs("image", 16 << 20, &[])?;
    let mount = KernelMount::read_only(&image, &scratch.path("mounted"))?;
    always_refused(&image, &image, &["mounted"])?;
    mount.unmount()
}

#[test]
fn mounted_device() -> Result<()> {
    if !skip::allowed(JUDGES) {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let image = scratch.mke2fs("image", 16 << 20, &[])?;
    let device = LoopDevice::attach(&image, &[])?;
    let dir = scratch.make_dir("mounted")?;
    let options = ["-o", "ro"].map(AsRef::as_ref);
    let words: Vec<&std::ffi::OsStr> = options
        .into_iter()
        .chain([device.path().as_os_str(), dir.as_os_str()])
        .collect();
    tool::run("mount", &words)?;
    let mounted = system_tests::guards::FuseMount::adopt(&image, &dir);
    let result = always_refused(device.path(), &image, &["mounted"]);
    tool::run("umount", &[&dir])?;
    drop(mounted);
    result
}

/// Held by somebody who wants to be alone with it.
#[test]
fn exclusively_open_device() -> Result<()> {
    use rustix::fs::{Mode, OFlags};
    if !skip::allowed(JUDGES) {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let image = scratch.sparse("image", 16 << 20)?;
    let device = LoopDevice::attach(&image, &[])?;
    let flags = OFlags::RDONLY | OFlags::EXCL | OFlags::CLOEXEC;
    let held = rustix::fs::open(device.path(), flags, Mode::empty())?;
    let words: &[&str] = match Maker::under_test() {
        Maker::Extmap => &["use"],
        Maker::Mke2fs => &[],
    };
    always_refused(device.path(), &image, words)?;
    drop(held);
    // A process another test is just starting still has it for a moment.
    let free = || {
        let call = Mkfs::under_test().args(["-F"]).arg(device.path());
        call.run().is_ok_and(|ended| ended.success())
    };
    ensure!(wait_until(Duration::from_secs(5), free), "still in use");
    fsck(device.path())
}

/// Behind a loop device: refused, but for who says it twice.
#[test]
fn attached_image() -> Result<()> {
    if !skip::allowed(JUDGES) || !ours_only() {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let image = scratch.sparse("image", 16 << 20)?;
    let device = LoopDevice::attach(&image, &[])?;
    always_refused(&image, &image, &["loop"])?;
    Mkfs::under_test().args(["-F", "-F"]).arg(&image).make()?;
    drop(device);
    fsck(&image)
}

#[test]
fn locked_image() -> Result<()> {
    if !skip::allowed(TOOLS) || !ours_only() {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let image = scratch.sparse("image", 16 << 20)?;
    let file = File::options().read(true).write(true).open(&image)?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)?;
    always_refused(&image, &image, &["use"])?;
    drop(file);
    let free = || {
        let call = Mkfs::under_test().args(["-F"]).arg(&image);
        call.run().is_ok_and(|ended| ended.success())
    };
    ensure!(wait_until(Duration::from_secs(5), free), "still in use");
    fsck(&image)
}

/// A free block device is made like a file, by its own size.
#[test]
fn free_device() -> Result<()> {
    if !skip::allowed(JUDGES) {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let image = scratch.sparse("image", 24 << 20)?;
    let device = LoopDevice::attach(&image, &[])?;
    Mkfs::under_test().arg(device.path()).make()?;
    judge::live_with(device.path(), &scratch.path("mounted"), |_| Ok(()))?;
    let dump = Dump::of(device.path())?;
    ensure!(dump.number("Block count")? * dump.number("Block size")? == 24 << 20);
    if ours_only() {
        let call = Mkfs::under_test().arg(device.path());
        refused(call, device.path(), &["ext4"])?;
    }
    let call = Mkfs::under_test().arg("-F").arg(device.path());
    call.arg("8M").make()?;
    fsck(device.path())
}

//! Sizes that are none, or not possible.

use super::*;

#[test]
fn zero() -> Result<()> {
    refuse(&[], "0", &[])
}

#[test]
fn no_number() -> Result<()> {
    refuse_each(&[
        (&[], "many", &["many"]),
        (&[], "12x", &["12x"]),
        (&[], "1.5.5M", &["1.5.5M"]),
        (&[], "0x", &["0x"]),
        (&[], " ", &[]),
        (&[], "12MM", &["12MM"]),
        (&[], "99999999999999999999999", &["99999999999999999999999"]),
        (&[], "18446744073709551615K", &[]),
    ])
}

#[test]
fn negative() -> Result<()> {
    refuse(&["--"], "-5", &["-5"])
}

#[test]
fn below_the_minimum() -> Result<()> {
    refuse_each(&[
        (&[], "1", &[]),
        (&[], "9", &[]),
        (&["-b", "4096"], "5", &[]),
        (&["-b", "1024", "-O", "^has_journal"], "20", &[]),
        (&["-F", "-b", "65536"], "3", &[]),
    ])
}

#[test]
fn beyond_the_features() -> Result<()> {
    refuse_each(&[
        (&["-b", "4096", "-O", "^64bit"], "17T", &["64bit"]),
        (&["-t", "ext2", "-b", "1024"], "5T", &[]),
        (
            &["-t", "ext2", "-r", "0", "-O", "none", "-b", "4096"],
            "17T",
            &[],
        ),
    ])
}

#[test]
fn beyond_the_file() -> Result<()> {
    if !skip::allowed(TOOLS) || !ours_only() {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let image = scratch.sparse("image", 8 << 20)?;
    let call = Mkfs::under_test().arg(&image).arg("9M");
    refused(call, &image, &["image"])?;
    ensure!(image.metadata()?.len() == 8 << 20, "the file has grown");
    Ok(())
}

#[test]
fn beyond_the_device() -> Result<()> {
    if !skip::allowed(TOOLS) || !skip::allowed(&[Need::Root, Need::Loop]) {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let image = scratch.sparse("image", 8 << 20)?;
    let device = LoopDevice::attach(&image, &[])?;
    let call = Mkfs::under_test().arg(device.path()).arg("9M");
    refused(call, device.path(), &["loop"]).map(drop)
}

#[test]
fn missing() -> Result<()> {
    if !skip::allowed(TOOLS) {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let image = scratch.path("image");
    refused(Mkfs::under_test().arg(&image), &image, &["image"]).map(drop)?;
    let image = scratch.file("empty", b"")?;
    refused(Mkfs::under_test().arg(&image), &image, &[]).map(drop)
}

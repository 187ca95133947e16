//! Devices and image files that cannot be used.

use super::*;

fn refuse_device(device: &Path, words: &[&str]) -> Result<()> {
    let call = Mkfs::under_test().arg(device).arg("16M");
    let maker = call.maker();
    refusal::check(maker, &call.run()?, words).map(drop)
}

#[test]
fn is_none() -> Result<()> {
    if !skip::allowed(TOOLS) || !ours_only() {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    refuse_device(&scratch.make_dir("a directory")?, &["a directory"])?;
    refuse_device(Path::new("/dev/null"), &["/dev/null"])?;
    refuse_device(&scratch.path("no/such/parent"), &["no/such/parent"])?;
    system_tests::trees::fifo(&scratch.path("fifo"))?;
    refuse_device(&scratch.path("fifo"), &["fifo"])
}

#[test]
fn is_not_ours() -> Result<()> {
    let needs = [Need::Root, Need::Tool("setpriv")];
    if !skip::allowed(TOOLS) || !skip::allowed(&needs) {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let image = scratch.sparse("image", 16 << 20)?;
    let call = as_user(Mkfs::under_test()).arg(&image);
    refused(call, &image, &["image"])?;
    let image = scratch.path("not allowed here");
    let call = as_user(Mkfs::under_test()).arg(&image).arg("16M");
    refused(call, &image, &["not allowed here"]).map(drop)
}

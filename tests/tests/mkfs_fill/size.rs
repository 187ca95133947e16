//! The smallest image, and sizes that are too small.

use super::*;

/// Makes the image without a SIZE and holds it against its tree.
fn minimal(options: &[&str], make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    if !allowed() || !ours_only() {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let from = scratch.make_dir("source")?;
    make(&from)?;
    let image = scratch.path("image");
    let wanted = Wanted::usual();
    let expected = source::expected(&from, wanted)?;
    let fill = || Mkfs::under_test().fixed().args(options).filled_from(&from);
    fill().arg(&image).make()?;
    assert_image(&image, &scratch, &expected, wanted)?;
    let dump = Dump::of(&image)?;
    let (blocks, free) = (dump.number("Block count")?, dump.number("Free blocks")?);
    let block_len = dump.number("Block size")?;
    ensure!(image.metadata()?.len() == blocks * block_len);
    // Slack: a group's granularity of inode tables, and what a smaller size
    // would have to do without.
    let slack = 64.max(blocks / 20);
    ensure!(free <= slack, "{free} of {blocks} blocks are free");
    refused_when_smaller(&scratch, &fill, blocks, block_len)
}

/// A few blocks less are refused with the size that is needed. That size is
/// enough, and not much less would be. (It may be more than the smallest image
/// has, whose inodes and journal follow from the tree and not from a SIZE.)
fn refused_when_smaller(
    scratch: &Scratch,
    fill: &dyn Fn() -> Mkfs,
    blocks: u64,
    block_len: u64,
) -> Result<()> {
    let (small, enough) = (scratch.path("small"), scratch.path("enough"));
    let size = |blocks: u64| format!("{}s", blocks * block_len / 512);
    let refuse = |blocks: u64| -> Result<String> {
        let call = fill().arg(&small).arg(size(blocks));
        refusal::refused(call, &small, &[]).with_context(|| format!("{blocks} blocks"))
    };
    let less = blocks - 4.max(blocks / 20);
    let mut said = refuse(less)?;
    if said.contains("too few for a file system") {
        return Ok(());
    }
    let needed: u64 = said
        .split("needs ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next()?.parse().ok())
        .with_context(|| format!("no size is named: {said}"))?;
    if said.contains("inodes") {
        // Not a question of blocks alone; the number is of inodes.
        return Ok(());
    }
    let needed = needed.div_ceil(block_len);
    fill().arg(&enough).arg(size(needed)).make()?;
    judge::fsck(&enough)?;
    said = refuse(needed - 4.max(needed / 20))?;
    ensure!(said.contains("need"));
    Ok(())
}

#[test]
fn minimal_tiny() -> Result<()> {
    minimal(&[], |root| Source::Tiny.make(root))
}

#[test]
fn minimal_nasty() -> Result<()> {
    minimal(&[], |root| Source::Nasty.make(root))
}

#[test]
fn minimal_1k() -> Result<()> {
    minimal(&["-b", "1024"], |root| Source::Nasty.make(root))
}

#[test]
fn minimal_no_journal() -> Result<()> {
    minimal(
        &["-b", "4096", "-O", "^has_journal,^resize_inode"],
        |root| Source::Nasty.make(root),
    )
}

#[test]
fn minimal_inline_data() -> Result<()> {
    minimal(&["-O", "inline_data"], |root| Source::Nasty.make(root))
}

#[test]
fn minimal_populous() -> Result<()> {
    minimal(&[], |root| trees::populous(root, 60, 1500, 8000).map(drop))
}

#[test]
fn minimal_many_empty_files() -> Result<()> {
    minimal(&["-b", "4096"], |root| {
        trees::crowd(&root.join("dir"), 3000, 20)
    })
}

#[test]
fn minimal_one_large_file() -> Result<()> {
    minimal(&["-b", "4096"], |root| {
        Ok(fs::write(root.join("large"), Rng::new(1).bytes(20 << 20))?)
    })
}

#[test]
fn minimal_small_groups() -> Result<()> {
    minimal(&["-b", "1024", "-g", "1024"], |root| {
        Source::Nasty.make(root)
    })
}

#[test]
fn headroom() -> Result<()> {
    if !allowed() || !ours_only() {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let from = scratch.make_dir("source")?;
    trees::populous(&from, 20, 400, 20_000)?;
    let mut free = Vec::new();
    for percent in ["0", "10", "100"] {
        let image = scratch.path(percent);
        let call = Mkfs::under_test().fixed().args(["--headroom", percent]);
        call.filled_from(&from).arg(&image).make()?;
        judge::fsck(&image)?;
        let dump = Dump::of(&image)?;
        free.push((dump.number("Free blocks")?, dump.number("Block count")?));
    }
    let (_, least) = free[0];
    ensure!(
        free[1].1 > least && free[1].0 >= least / 20,
        "with 10 percent: {free:?}"
    );
    ensure!(
        free[2].1 >= least * 17 / 10 && free[2].0 >= least * 7 / 10,
        "with 100 percent: {free:?}"
    );
    Ok(())
}

/// Too few inodes are said as such.
#[test]
fn too_few_inodes() -> Result<()> {
    if !allowed() {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let from = scratch.make_dir("source")?;
    trees::crowd(&from.join("dir"), 500, 20)?;
    let image = scratch.path("image");
    let call = Mkfs::under_test().args(["-N", "100"]).filled_from(&from);
    refusal::refused(call.arg(&image).arg("8M"), &image, &["inodes"]).map(drop)
}

/// The size an image file has is the size, if none is given.
#[test]
fn of_the_file() -> Result<()> {
    if !allowed() {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let image = scratch.sparse("image", 9_000_000)?;
    Mkfs::under_test().args(["-q"]).arg(&image).make()?;
    judge::fsck(&image)?;
    let dump = Dump::of(&image)?;
    let len = dump.number("Block count")? * dump.number("Block size")?;
    ensure!(image.metadata()?.len() == 9_000_000);
    ensure!((8_990_000..=9_000_000).contains(&len), "{len}");
    Ok(())
}

#[test]
fn smaller_than_the_file() -> Result<()> {
    if !allowed() {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let image = scratch.sparse("image", 64 << 20)?;
    Mkfs::under_test()
        .args(["-q"])
        .arg(&image)
        .arg("16M")
        .make()?;
    judge::fsck(&image)?;
    let dump = Dump::of(&image)?;
    ensure!(dump.number("Block count")? * dump.number("Block size")? == 16 << 20);
    tool::run("e2fsck", &["-fn".as_ref(), image.as_os_str()]).map(drop)
}

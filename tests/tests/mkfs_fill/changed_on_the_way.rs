//! What options change of the source: owners and times.

use super::*;

#[test]
fn owner() -> Result<()> {
    if !allowed() || !ours_only() {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let from = scratch.make_dir("source")?;
    Source::Nasty.make(&from)?;
    let image = scratch.path("image");
    let wanted = Wanted::usual();
    let mut expected = source::expected(&from, wanted)?;
    for facts in expected.files.values_mut() {
        facts.insert("uid".into(), "1234".into());
        facts.insert("gid".into(), "70000".into());
    }
    let call = Mkfs::under_test().fixed().args(["--owner", "1234:70000"]);
    call.filled_from(&from).arg(&image).arg("32M").make()?;
    assert_image(&image, &scratch, &expected, wanted)
}

#[test]
fn root_directory() -> Result<()> {
    if !allowed() || !ours_only() {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let from = scratch.make_dir("source")?;
    Source::Tiny.make(&from)?;
    let image = scratch.path("image");
    let wanted = Wanted::usual();
    let mut expected = source::expected(&from, wanted)?;
    let root = expected.files.get_mut(Path::new(".")).context("no root")?;
    root.insert("uid".into(), "12".into());
    root.insert("gid".into(), "13".into());
    root.insert("mode".into(), "1777".into());
    let call = Mkfs::under_test().fixed();
    let call = call.args(["-E", "root_owner=12:13,root_perms=1777"]);
    call.filled_from(&from).arg(&image).arg("8M").make()?;
    assert_image(&image, &scratch, &expected, wanted)
}

#[test]
fn clamped_times() -> Result<()> {
    if !allowed() || !ours_only() {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let from = scratch.make_dir("source")?;
    Source::Nasty.make(&from)?;
    let late = from.join("late");
    fs::write(&late, b"late")?;
    trees::at_time(&late, (EPOCH + 9, 5), (EPOCH + 9, 5))?;
    let on_time = from.join("on time");
    fs::write(&on_time, b"on time")?;
    trees::at_time(&on_time, (EPOCH, 0), (EPOCH, 0))?;
    let image = scratch.path("image");
    let wanted = Wanted::usual();
    let mut expected = source::expected(&from, wanted)?;
    let mut clamped = 0;
    for facts in expected.files.values_mut() {
        let mtime: f64 = facts["mtime"].parse()?;
        if mtime > EPOCH as f64 {
            for time in ["atime", "mtime"] {
                facts.insert(time.into(), format!("{EPOCH}.000000000"));
            }
            clamped += 1;
        }
    }
    ensure!(clamped > 3, "the source has nothing to clamp");
    let call = Mkfs::under_test().fixed().args(["--clamp-mtime"]);
    call.filled_from(&from).arg(&image).arg("32M").make()?;
    assert_image(&image, &scratch, &expected, wanted)
}

/// Without a fixed time the present is the limit.
#[test]
fn clamped_to_the_present() -> Result<()> {
    if !allowed() || !ours_only() {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let from = scratch.make_dir("source")?;
    fs::write(from.join("future"), b"")?;
    fs::write(from.join("past"), b"")?;
    trees::at_time(&from.join("future"), (0, 0), (9_000_000_000, 0))?;
    trees::at_time(&from.join("past"), (0, 0), (900_000_000, 0))?;
    let image = scratch.path("image");
    let call = Mkfs::under_test().args(["--clamp-mtime"]);
    call.filled_from(&from).arg(&image).arg("8M").make()?;
    let now = std::time::UNIX_EPOCH.elapsed()?.as_secs_f64();
    let seen = judge::kernel_manifest(&image, &scratch.path("mounted"), Depth::Full)?;
    let mtime = |path: &str| -> Result<f64> {
        let facts = seen.files.get(Path::new(path)).context(path.to_owned())?;
        Ok(facts["mtime"].parse()?)
    };
    ensure!(mtime("./past")? == 900_000_000.0);
    let future = mtime("./future")?;
    ensure!((now - 60.0..=now + 1.0).contains(&future), "{future}");
    Ok(())
}

//! An interrupted run leaves no valid superblock.

use super::*;

/// The calls that change an image.
const WRITES: &str = "write,pwrite64,writev,pwritev,pwritev2,copy_file_range,fallocate,ftruncate";

/// An image with an older file system, and a tree of 40 MiB to fill the next
/// one with.
fn prepared(scratch: &Scratch) -> Result<(PathBuf, PathBuf)> {
    let old = scratch.mke2fs("old", 64 << 20, &["-L", "old", "-b", "4096"])?;
    let from = scratch.make_dir("source")?;
    trees::populous(&from, 30, 400, 25_000)?;
    fs::write(from.join("large"), Rng::new(8).bytes(8 << 20))?;
    Ok((old, from))
}

fn call(from: &Path, image: &Path) -> Mkfs {
    let call = Mkfs::under_test().args(["-q", "-F", "-b", "4096"]);
    call.filled_from(from).arg(image).arg("64M")
}

/// What an interrupted run may leave: the old file system, if nothing was
/// written yet; the new one, if only its end was missing; else nothing that has a
/// valid superblock.
fn assert_no_half(image: &Path, started: bool) -> Result<()> {
    if !has_magic(image, 0)? {
        let output = tool::output("e2fsck", &["-fn".as_ref(), image.as_os_str()])?;
        ensure!(!output.status.success(), "e2fsck takes it for valid");
        return Ok(());
    }
    let dump = Dump::of(image)?;
    let is_old = dump.field("Filesystem volume name") == "old";
    ensure!(!(is_old && started), "the old superblock is still there");
    // A new one is the last that is written: all else is there.
    fsck(image)
}

/// Followed by the log's path and what to trace.
const STRACE: [&str; 9] = [
    "strace",
    "-f",
    "-qq",
    "-e",
    "signal=none",
    "-y",
    "-s",
    "0",
    "-o",
];

/// Killed at its Nth write, for many N.
#[test]
fn at_every_write() -> Result<()> {
    if !skip::allowed(TOOLS) || !skip::allowed(&[Need::Tool("strace")]) || !ours_only() {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let (old, from) = prepared(&scratch)?;
    let image = scratch.copy(&old, "image")?;
    let log = scratch.path("strace");
    let trace = format!("trace={WRITES}");
    let log_text = log.to_string_lossy().into_owned();
    let counting = STRACE
        .into_iter()
        .chain([log_text.as_str(), "-e", trace.as_str()]);
    call(&from, &image)
        .args(["--threads", "1"])
        .through(counting)
        .make()?;
    fsck(&image)?;
    let text = fs::read_to_string(&log)?;
    let writes = text.lines().count() as u64;
    let name = format!("{}>", image.display());
    let first = text.lines().position(|line| line.contains(&name));
    let first = first.context("no write to the image")? as u64 + 1;
    ensure!(writes > 5, "only {writes} writes were seen: {text}");
    let mut killed = 0;
    for step in 0..24u64 {
        // The first and the last ones, and some between.
        let number = match step {
            0..6 => first + step,
            6..14 => writes - (step - 6),
            _ => first + (writes - first) * (step - 13) / 11,
        };
        let image = scratch.copy(&old, "image")?;
        let inject = format!("inject={WRITES}:signal=KILL:when={number}");
        let injecting = STRACE.into_iter().chain([
            log_text.as_str(),
            "-e",
            trace.as_str(),
            "-e",
            inject.as_str(),
        ]);
        let call = call(&from, &image).args(["--threads", "1"]);
        let ended = call.through(injecting).run()?;
        if ended.success() {
            // Counted for each thread apart: this one had fewer.
            fsck(&image)?;
            continue;
        }
        killed += 1;
        assert_no_half(&image, number > first + 1)
            .with_context(|| format!("killed at write {number} of {writes}"))?;
    }
    ensure!(killed >= 10, "only {killed} runs were killed");
    Ok(())
}

/// Killed after a random time.
#[test]
fn at_random_moments() -> Result<()> {
    if !skip::allowed(TOOLS) || !ours_only() {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let (old, from) = prepared(&scratch)?;
    let image = scratch.copy(&old, "image")?;
    let start = Instant::now();
    call(&from, &image).make()?;
    let whole = start.elapsed();
    let mut rng = Rng::new(u64::from(std::process::id()));
    let mut killed = 0;
    for _ in 0..30 {
        let image = scratch.copy(&old, "image")?;
        let mut child = ChildGuard(call(&from, &image).command()?.spawn()?);
        let part = rng.below(1000);
        std::thread::sleep(whole.mul_f64(part as f64 / 1000.0));
        child.0.kill()?;
        let status = child.0.wait()?;
        if status.success() {
            fsck(&image)?;
            continue;
        }
        ensure!(status.signal() == Some(9), "{status}");
        killed += 1;
        assert_no_half(&image, false).with_context(|| format!("after {part} of 1000"))?;
    }
    ensure!(killed >= 5, "only {killed} runs were killed");
    Ok(())
}

/// A termination signal ends it without a trace of success.
#[test]
fn by_a_signal_it_sees() -> Result<()> {
    if !skip::allowed(TOOLS) || !ours_only() {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let (old, from) = prepared(&scratch)?;
    for delay_ms in [5, 20, 60] {
        let image = scratch.copy(&old, "image")?;
        let mut child = ChildGuard(call(&from, &image).command()?.spawn()?);
        std::thread::sleep(Duration::from_millis(delay_ms));
        let pid = rustix::process::Pid::from_child(&child.0);
        rustix::process::kill_process(pid, rustix::process::Signal::INT)?;
        let status = child.0.wait()?;
        if status.success() {
            fsck(&image)?;
        } else {
            assert_no_half(&image, false)?;
        }
    }
    Ok(())
}

/// Everything else is on the disk before the superblock is written, and that
/// is on the disk before the program says it is done.
#[test]
fn the_superblock_is_last() -> Result<()> {
    if !skip::allowed(TOOLS) || !skip::allowed(&[Need::Tool("strace")]) || !ours_only() {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let (old, from) = prepared(&scratch)?;
    let image = scratch.copy(&old, "image")?;
    let log = scratch.path("strace").to_string_lossy().into_owned();
    let trace = format!("trace={WRITES},fsync,fdatasync,sync_file_range,syncfs,close");
    let words = STRACE
        .into_iter()
        .chain([log.as_str(), "-e", trace.as_str()]);
    call(&from, &image).through(words).make()?;
    let text = fs::read_to_string(&log)?;
    let name = format!("{}>", image.display());
    let calls: Vec<&str> = text
        .lines()
        .filter(|line| line.contains(&name) && !line.contains("close("))
        .collect();
    let is_sync = |line: &str| line.contains("fsync(") || line.contains("fdatasync(");
    let last_write = calls.iter().rposition(|line| !is_sync(line));
    let last_write = last_write.context("no write to the image")?;
    ensure!(
        last_write > 0 && is_sync(calls[last_write - 1]),
        "no fsync before the last write: {:#?}",
        &calls[last_write.saturating_sub(4)..]
    );
    ensure!(
        calls[last_write + 1..].iter().any(|line| is_sync(line)),
        "no fsync after the last write: {:#?}",
        &calls[last_write.saturating_sub(4)..]
    );
    let place = calls[last_write];
    ensure!(
        place.contains(", 1024)") || place.contains(", 0)") || place.contains(", 1024 <"),
        "the last write is not the superblock's: {place}"
    );
    Ok(())
}

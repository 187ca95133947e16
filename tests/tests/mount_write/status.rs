//! What a server says of itself: `extmap status`.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use system_tests::guards::{ChildGuard, FuseMount, Server, is_mounted, wait_until};
use system_tests::mkfs::judge::fsck;
use system_tests::program::{self, Ended};
use system_tests::scratch::Scratch;
use system_tests::{patch, skip, tool};

fn ask(path: &Path, json: bool) -> Result<Ended> {
    let mut args: Vec<&OsStr> = vec!["status".as_ref(), path.as_os_str()];
    if json {
        args.push("--json".as_ref());
    }
    program::extmap(args)
}

fn status(path: &Path) -> Result<Value> {
    let ended = ask(path, true)?;
    ensure!(ended.success() && ended.stderr.is_empty(), "{ended}");
    Ok(serde_json::from_str(&ended.text())?)
}

fn number(status: &Value, field: &str) -> u64 {
    let pointer = format!("/{}", field.replace('.', "/"));
    let value = status.pointer(&pointer).and_then(Value::as_u64);
    value.unwrap_or(0)
}

#[test]
fn it_counts_what_was_asked_and_written() -> Result<()> {
    if !skip::allowed(skip::MOUNTS) {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let image = scratch.mke2fs("image", 64 << 20, &[])?;
    for (options, cache) in [
        ("rw", "writeback"),
        ("rw,writethrough", "writethrough"),
        ("rw,sync", "sync"),
    ] {
        let dir = scratch.path("dir");
        let mount = FuseMount::with(Server::Extmap, &image, &dir, options)?;
        let before = status(mount.path())?;
        ensure!(before["is_writable"] == true, "{before}");
        ensure!(before["write_cache"] == cache, "{before}");
        ensure!(before["why_read_only"].is_null(), "{before}");
        ensure!(before["mount_type"] == "fuseblk", "{before}");
        ensure!(
            number(&before, "pid") == u64::from(mount.pid().context("no server")?),
            "{before}"
        );
        for name in 0..20 {
            let file = File::create(dir.join(format!("{cache}-{name}")))?;
            file.sync_all()?;
        }
        // Asked of a file as well.
        let after = status(&dir.join(format!("{cache}-0")))?;
        let grown = |field: &str| number(&after, field) - number(&before, field);
        ensure!(grown("requests.CREATE") == 20, "{after}");
        ensure!(grown("requests.FSYNC") == 20, "{after}");
        ensure!(grown("transactions") >= 20, "{after}");
        // Each has a descriptor, a commit block and more.
        ensure!(grown("journal.written_blocks") >= 60, "{after}");
        ensure!(
            number(&after, "journal.used_blocks") <= number(&after, "journal.len_blocks"),
            "{after}"
        );
        ensure!(number(&after, "known_inodes") >= 20, "{after}");
        let text = ask(&dir, false)?;
        ensure!(text.success(), "{text}");
        for line in ["for writing, type fuseblk", cache, "CREATE", "Journal:"] {
            ensure!(text.text().contains(line), "{line} is missing: {text}");
        }
        mount.unmount()?;
        fsck(&image)?;
    }
    Ok(())
}

#[test]
fn it_says_why_a_mount_is_for_reading() -> Result<()> {
    if !skip::allowed(skip::MOUNTS) {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let image = scratch.mke2fs("image", 32 << 20, &["-O", "bigalloc"])?;
    let dir = scratch.make_dir("dir")?;
    let ended = program::extmap([OsStr::new("mount"), image.as_ref(), dir.as_ref()])?;
    ensure!(ended.success(), "{ended}");
    let mount = FuseMount::adopt(&image, &dir);
    let status = status(&dir)?;
    ensure!(status["is_writable"] == false, "{status}");
    ensure!(status["write_cache"] == "none", "{status}");
    ensure!(status["journal"].is_null(), "{status}");
    let why = status["why_read_only"].as_str().unwrap_or_default();
    ensure!(why.contains("bigalloc"), "{status}");
    mount.unmount()
}

#[test]
fn only_mounts_of_ours_are_asked() -> Result<()> {
    let scratch = Scratch::new()?;
    let dir = scratch.make_dir("dir")?;
    let refused = ask(&dir, false)?;
    let said = refused.refusal()?;
    ensure!(
        said.contains("not inside a directory served by extmap"),
        "{said}"
    );
    let missing = ask(&dir.join("missing"), true)?;
    ensure!(missing.refusal()?.contains("No such file"), "{missing}");
    Ok(())
}

/// Damage with `errors=remount-ro`: said once in the log, and kept for who asks.
#[test]
fn damage_is_told_once_and_by_status() -> Result<()> {
    if !skip::allowed(skip::MOUNTS) {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let image = scratch.mke2fs("image", 32 << 20, &["-O", "metadata_csum"])?;
    let dir = scratch.path("dir");
    let mount = FuseMount::with(Server::Extmap, &image, &dir, "rw")?;
    std::fs::create_dir(dir.join("broken"))?;
    std::fs::write(dir.join("whole"), b"content")?;
    let inode = std::fs::metadata(dir.join("broken"))?.ino();
    mount.unmount()?;
    let place = tool::run(
        "debugfs",
        &["-R", &format!("blocks <{inode}>"), &path(&image)?],
    )?;
    let block: u64 = place.trim().parse()?;
    let geometry = patch::read(&image, patch::SUPERBLOCK, patch::SUPERBLOCK_LEN)?;
    let block_bytes = 1024u64 << patch::word(&geometry, 0x18);
    patch::flip(&image, block * block_bytes + 8)?;

    let log = scratch.path("log");
    let server = Command::new(program::extmap_path()?)
        .args(["mount", "--foreground", "-o", "rw,errors=remount-ro"])
        .args([&image, &dir])
        .stdin(Stdio::null())
        .stderr(File::create(&log)?)
        .spawn()?;
    let _server = ChildGuard(server);
    let up = wait_until(Duration::from_secs(10), || is_mounted(&dir));
    ensure!(up, "not mounted: {}", std::fs::read_to_string(&log)?);
    let mount = FuseMount::adopt(&image, &dir);
    for _ in 0..5 {
        let listed = std::fs::read_dir(dir.join("broken"))
            .and_then(|mut names| names.try_for_each(|name| name.map(drop)));
        ensure!(listed.is_err(), "a damaged directory was listed");
    }
    let refused = std::fs::write(dir.join("new"), b"x");
    ensure!(
        refused
            .as_ref()
            .is_err_and(|e| e.raw_os_error() == Some(30)),
        "{refused:?}"
    );
    ensure!(std::fs::read(dir.join("whole"))? == b"content");
    let status = status(&dir)?;
    let why = status["why_read_only"].as_str().unwrap_or_default();
    ensure!(why.contains("damaged"), "{status}");
    let problems = status["problems"].as_array().context("no problems")?;
    ensure!(problems.len() == 1, "not once: {status}");
    mount.unmount()?;
    let log = std::fs::read_to_string(&log)?;
    let said = log.matches("read-only from now on").count();
    ensure!(said == 1, "said {said} times: {log}");
    let told = log.matches("damaged").count();
    ensure!(told == 1, "told {told} times: {log}");
    Ok(())
}

fn path(path: &Path) -> Result<String> {
    Ok(path.to_str().context("path")?.to_owned())
}

/// The host's disk is full under a sparse image: writers are told, what was synced stays,
/// the mount can be read and says what is the matter.
#[test]
fn a_full_host_costs_nothing_that_was_synced() -> Result<()> {
    if !skip::allowed(skip::MOUNTS) {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let host = Host::mount(&scratch, "24m")?;
    let image = host.0.join("image");
    File::create(&image)?.set_len(256 << 20)?;
    let lazy = "lazy_itable_init=1,lazy_journal_init=1";
    tool::run(
        "mke2fs",
        &["-q", "-F", "-t", "ext4", "-E", lazy, &path(&image)?],
    )?;
    let dir = scratch.path("dir");
    let mount = FuseMount::with(Server::Extmap, &image, &dir, "rw")?;
    let file = |number: u8| dir.join(format!("file-{number}"));
    let mut synced = Vec::new();
    let mut failed = None;
    for number in 0..60 {
        let write = || -> std::io::Result<()> {
            std::fs::write(file(number), vec![number; 1 << 20])?;
            File::open(file(number))?.sync_all()
        };
        match write() {
            Ok(()) => synced.push(number),
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    let failed = failed.context("60 MiB found room on 24")?;
    let errno = failed.raw_os_error();
    // Whichever comes first: the content finds no room, or the journal.
    ensure!(
        [28, 5, 30].contains(&errno.unwrap_or(0)),
        "unexpected: {failed}"
    );
    ensure!(synced.len() >= 4, "only {synced:?}");
    for &number in &synced {
        let found = std::fs::read(file(number))?;
        ensure!(
            found == vec![number; 1 << 20],
            "file {number} while it is full"
        );
    }
    let said = status(&dir)?;
    ensure!(said["is_writable"] == true, "{said}");
    if let Some(why) = said["why_read_only"].as_str() {
        ensure!(why.contains("No space left"), "{said}");
    }
    let problems = said["problems"].as_array().context("no list")?;
    ensure!(!problems.is_empty(), "nothing is said of it: {said}");
    // What cannot be written cannot be closed cleanly.
    let _ = program::extmap([OsStr::new("umount"), dir.as_ref()])?;
    drop(mount);
    host.resize("300m")?;
    let mount = FuseMount::with(Server::Extmap, &image, &dir, "rw")?;
    for &number in &synced {
        let found = std::fs::read(file(number))?;
        ensure!(found == vec![number; 1 << 20], "file {number} afterwards");
    }
    std::fs::write(dir.join("afterwards"), vec![1; 8 << 20])?;
    mount.unmount()?;
    // Replayed, and nothing is amiss but what says that there was an error.
    fsck(&image)
}

/// A small file system that holds the image.
struct Host(std::path::PathBuf);

impl Host {
    fn mount(scratch: &Scratch, size: &str) -> Result<Self> {
        let dir = scratch.make_dir("host")?;
        let size = format!("size={size}");
        tool::run(
            "mount",
            &["-t", "tmpfs", "-o", &size, "extmap-test", &path(&dir)?],
        )?;
        Ok(Self(dir))
    }

    fn resize(&self, size: &str) -> Result<()> {
        let size = format!("remount,size={size}");
        tool::run("mount", &["-o", &size, &path(&self.0)?]).map(drop)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

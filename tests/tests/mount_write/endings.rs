//! How mounts end: in order, by a signal, by a crash; and what is durable when.

use super::log::OPTIONS;
use anyhow::{Context, Result, ensure};
use rustix::fs::{FallocateFlags, Mode, OFlags, fallocate, fdatasync, fsync, open};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Duration;
use system_tests::guards::{
    FuseMount, KernelMount, Server, is_mounted, mount_type, patience, pid_alive, wait_until,
};
use system_tests::mkfs::judge::fsck;
use system_tests::scratch::Scratch;
use system_tests::skip::{self, Need};
use system_tests::tool;

fn mount(image: &Path, scratch: &Scratch, options: &str) -> Result<FuseMount> {
    let options = format!("{OPTIONS}{options}");
    FuseMount::with(Server::Extmap, image, &scratch.path("dir"), &options)
}

fn kill(mount: &FuseMount, signal: Signal) -> Result<u32> {
    let pid = mount.pid().context("no server found")?;
    let number = Pid::from_raw(i32::try_from(pid)?).context("pid")?;
    kill_process(number, signal)?;
    Ok(pid)
}

macro_rules! needs_mounts {
    () => {
        if !skip::allowed(skip::MOUNTS) {
            return Ok(());
        }
    };
}

#[test]
fn signals_leave_a_clean_image() -> Result<()> {
    needs_mounts!();
    let scratch = Scratch::new()?;
    let image = scratch.mke2fs("image", 32 << 20, &[])?;
    for signal in [Signal::TERM, Signal::INT] {
        let mount = mount(&image, &scratch, "")?;
        std::fs::write(mount.path().join("written"), vec![7; 3 << 20])?;
        let pid = kill(&mount, signal)?;
        ensure!(
            wait_until(Duration::from_secs(10), || !pid_alive(pid)),
            "the server stays"
        );
        ensure!(!is_mounted(mount.path()), "still mounted");
        fsck(&image)?;
    }
    let kernel = KernelMount::read_only(&image, &scratch.path("kernel"))?;
    let found = std::fs::read(kernel.path().join("written"))?;
    ensure!(found == vec![7; 3 << 20], "not what was written");
    kernel.unmount()
}

/// What each way of making something durable promises, and a crash right after it.
#[test]
fn what_was_synced_survives_a_crash() -> Result<()> {
    needs_mounts!();
    type Sync = fn(&Path, &File) -> Result<()>;
    let ways: [(&str, &str, Sync); 5] = [
        ("fsync", "", |_, file| Ok(fsync(file)?)),
        ("fdatasync", "", |_, file| Ok(fdatasync(file)?)),
        ("fsync of the directory", ",writethrough", |path, _| {
            let dir = path.parent().context("parent")?;
            Ok(fsync(open(dir, OFlags::RDONLY, Mode::empty())?)?)
        }),
        ("sync(2) and a moment of quiet", "", |_, _| {
            rustix::fs::sync();
            std::thread::sleep(Duration::from_millis(400));
            Ok(())
        }),
        ("-o sync", ",sync", |_, _| Ok(())),
    ];
    for (name, options, sync) in ways {
        let scratch = Scratch::new()?;
        let image = scratch.mke2fs("image", 32 << 20, &[])?;
        let mounted = mount(&image, &scratch, options)?;
        let path = mounted.path().join("dir/file");
        std::fs::create_dir(mounted.path().join("dir"))?;
        let mut file = File::create(&path)?;
        file.write_all(&[9; 300_000])?;
        sync(&path, &file)?;
        let lost = mounted.path().join("perhaps lost");
        std::fs::write(lost, b"x")?;
        let pid = kill(&mounted, Signal::KILL)?;
        drop(file);
        ensure!(
            wait_until(Duration::from_secs(10), || !pid_alive(pid)),
            "{name}: still there"
        );
        mounted.unmount()?;
        let again = mount(&image, &scratch, "")?;
        let found = std::fs::read(again.path().join("dir/file")).context(name)?;
        ensure!(found == vec![9; 300_000], "{name}: {} bytes", found.len());
        again.unmount()?;
        fsck(&image).context(name)?;
    }
    Ok(())
}

/// Killed at work, again and again on one image: each time what had been synced is there, and
/// after the journal's replay the volume is whole.
#[test]
fn killed_at_work() -> Result<()> {
    needs_mounts!();
    let scratch = Scratch::new()?;
    let image = scratch.mke2fs("image", 64 << 20, &[])?;
    for round in 0..8u64 {
        let mounted = mount(&image, &scratch, "")?;
        let dir = mounted.path().join(format!("round{round}"));
        let synced = std::thread::scope(|scope| {
            let worker = scope.spawn(|| work_until_killed(&dir));
            std::thread::sleep(Duration::from_millis(60 + 45 * round) * patience());
            let killed = kill(&mounted, Signal::KILL);
            let synced = worker.join();
            killed.and(synced.map_err(|_| anyhow::anyhow!("the worker panicked")))
        })?;
        mounted.unmount()?;
        let again = mount(&image, &scratch, "")?;
        let dir = again.path().join(format!("round{round}"));
        for number in 0..synced {
            let found = std::fs::read(dir.join(format!("{number}")))
                .with_context(|| format!("round {round}: file {number} of {synced}"))?;
            ensure!(found == content(number), "round {round}: file {number}");
        }
        // On a slow machine the server may end before it is durable.
        if round % 2 == 1 && dir.try_exists()? {
            std::fs::remove_dir_all(&dir)?;
        }
        again.unmount()?;
        fsck(&image).with_context(|| format!("round {round}"))?;
    }
    Ok(())
}

fn content(number: usize) -> Vec<u8> {
    vec![number as u8; 1 + number * 1571 % 40_000]
}

/// Makes and syncs files, some of them by a detour, until something fails; how many were
/// synced.
fn work_until_killed(dir: &Path) -> usize {
    let mut synced = 0;
    let mut step = || -> Result<()> {
        let path = dir.join(format!("{synced}"));
        let first = if synced % 3 == 0 {
            dir.join("new")
        } else {
            path.clone()
        };
        let mut file = File::create(&first)?;
        file.write_all(&content(synced))?;
        std::fs::write(dir.join("other"), content(synced + 1))?;
        if first != path {
            std::fs::rename(&first, &path)?;
        }
        fsync(&file)?;
        synced += 1;
        Ok(())
    };
    if std::fs::create_dir(dir).is_ok() {
        while step().is_ok() {}
    }
    synced
}

/// An idle server sleeps: not one tick of processor time in a second.
#[test]
fn idleness_costs_nothing() -> Result<()> {
    needs_mounts!();
    let scratch = Scratch::new()?;
    let image = scratch.mke2fs("image", 32 << 20, &[])?;
    let mount = mount(&image, &scratch, "")?;
    std::fs::write(mount.path().join("file"), b"x")?;
    std::thread::sleep(Duration::from_millis(700));
    let pid = mount.pid().context("no server found")?;
    let ticks = || -> Result<u64> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .unwrap_or("")
            .split_whitespace()
            .collect();
        Ok(fields[11].parse::<u64>()? + fields[12].parse::<u64>()?)
    };
    let before = ticks()?;
    std::thread::sleep(Duration::from_secs(1));
    let used = ticks()? - before;
    ensure!(used == 0, "{used} ticks in a second of idleness");
    mount.unmount()?;
    fsck(&image)
}

/// A full volume says so: at once where it is asked for space, at fsync(2) where the page
/// cache has taken what there is no room for.
#[test]
fn a_full_volume_says_so() -> Result<()> {
    needs_mounts!();
    let scratch = Scratch::new()?;
    let image = scratch.mke2fs("image", 8 << 20, &["-m", "0"])?;
    let mount = mount(&image, &scratch, "")?;
    let path = mount.path().join("large");
    let file = File::create(&path)?;
    let refused = fallocate(&file, FallocateFlags::empty(), 0, 64 << 20);
    ensure!(refused == Err(Errno::NOSPC), "{refused:?}");
    std::fs::remove_file(&path)?;
    drop(file);
    let mut file = File::create(&path)?;
    let chunk = vec![5; 1 << 20];
    let outcome = (0..16)
        .try_for_each(|_| file.write_all(&chunk))
        .and_then(|()| file.sync_all());
    let errno = outcome.err().and_then(|error| error.raw_os_error());
    ensure!(errno == Some(Errno::NOSPC.raw_os_error()), "{errno:?}");
    drop(file);
    std::fs::remove_file(&path)?;
    std::fs::write(mount.path().join("small"), vec![1; 1 << 20])?;
    mount.unmount()?;
    fsck(&image)
}

/// Several threads at work on one mount, each checking its own.
#[test]
fn threads_at_work() -> Result<()> {
    needs_mounts!();
    let scratch = Scratch::new()?;
    let image = scratch.mke2fs("image", 64 << 20, &[])?;
    let mount = mount(&image, &scratch, "")?;
    let root = mount.path();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4u8)
            .map(|worker| scope.spawn(move || work(root, worker)))
            .collect();
        workers.into_iter().try_for_each(|worker| {
            worker
                .join()
                .map_err(|_| anyhow::anyhow!("a worker panicked"))?
        })
    })?;
    mount.unmount()?;
    fsck(&image)
}

fn work(root: &Path, worker: u8) -> Result<()> {
    for round in 0..60u32 {
        let dir = root.join(format!("dir{}", round % 3));
        match std::fs::create_dir(&dir) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            outcome => outcome?,
        }
        let path = dir.join(format!("{worker}-{round}"));
        let bytes = vec![worker; (round as usize * 977) % 60_000];
        std::fs::write(&path, &bytes)?;
        let moved = root.join(format!("moved-{worker}"));
        std::fs::rename(&path, &moved)?;
        ensure!(std::fs::read(&moved)? == bytes, "not what was written");
        let names = std::fs::read_dir(&dir)?.count();
        ensure!(names <= 4, "{names} names");
    }
    Ok(())
}

/// umount(2) of root's mounts returns when the image is clean, whether it is a file or a
/// block device; and the loop device that lent its name is free again.
#[test]
fn umount_of_root_waits_for_the_image() -> Result<()> {
    needs_mounts!();
    let scratch = Scratch::new()?;
    let image = scratch.mke2fs("image", 64 << 20, &[])?;
    for round in 0..5 {
        let mount = mount(&image, &scratch, "")?;
        ensure!(
            mount_type(mount.path()).as_deref() == Some("fuseblk.extmap"),
            "{:?}",
            mount_type(mount.path())
        );
        for number in 0..300 {
            let name = format!("file-{round}-{number}");
            std::fs::write(mount.path().join(name), vec![7; number * 97])?;
        }
        rustix::mount::unmount(mount.path(), rustix::mount::UnmountFlags::empty())?;
        // At once.
        fsck(&image)?;
        let said = tool::run("losetup", &["-j".as_ref(), image.as_os_str()])?;
        ensure!(said.is_empty(), "still attached: {said}");
    }
    let kernel = KernelMount::read_only(&image, &scratch.path("kernel"))?;
    ensure!(std::fs::read_dir(kernel.path())?.count() == 1501);
    kernel.unmount()
}

/// Where it is not wanted there is no loop device.
#[test]
fn a_mount_without_a_loop_device() -> Result<()> {
    needs_mounts!();
    let scratch = Scratch::new()?;
    let image = scratch.mke2fs("image", 32 << 20, &[])?;
    let mount = mount(&image, &scratch, ",loop=never")?;
    ensure!(mount_type(mount.path()).as_deref() == Some("fuse.extmap"));
    std::fs::write(mount.path().join("file"), "text")?;
    mount.unmount()?;
    fsck(&image)
}

/// syncfs(2) reaches the server of such a mount: what was written is there after a crash
/// that follows at once.
#[test]
fn syncfs_is_durable_at_once() -> Result<()> {
    needs_mounts!();
    if !skip::allowed(&[Need::Linux(6, 18, "SYNCFS for fuseblk")]) {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let image = scratch.mke2fs("image", 32 << 20, &[])?;
    let mount = mount(&image, &scratch, "")?;
    std::fs::write(mount.path().join("file"), vec![9; 100_000])?;
    rustix::fs::syncfs(File::open(mount.path())?)?;
    let pid = kill(&mount, Signal::KILL)?;
    ensure!(wait_until(Duration::from_secs(10), || !pid_alive(pid)));
    drop(mount);
    let kernel = KernelMount::new(&image, &scratch.path("kernel"), "rw")?;
    let found = std::fs::read(kernel.path().join("file"))?;
    ensure!(found == vec![9; 100_000], "not what was synced");
    kernel.unmount()
}

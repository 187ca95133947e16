//! Nothing is destroyed by accident, and nothing unfinished looks finished.

use anyhow::{Context, Result, ensure};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use system_tests::guards::{ChildGuard, KernelMount, LoopDevice, wait_until};
use system_tests::mkfs::archive::{self, Member};
use system_tests::mkfs::dump::Dump;
use system_tests::mkfs::judge::{self, fsck, has_magic};
use system_tests::mkfs::refusal::{self, refused};
use system_tests::mkfs::{JUDGES, Maker, Mkfs, TOOLS};
use system_tests::rng::Rng;
use system_tests::scratch::{Scratch, sha256_file};
use system_tests::skip::{self, Need};
use system_tests::{program, tool, trees};

fn ours_only() -> bool {
    let ours = Maker::under_test() == Maker::Extmap;
    if !ours {
        skip::record("mke2fs 1.47.0 does otherwise");
    }
    ours
}

/// Refused as it is, with `words`, and unchanged; made anew with `-F`.
fn guarded(image: &Path, words: &[&str]) -> Result<()> {
    // mke2fs asks on a terminal only.
    if Maker::under_test() == Maker::Extmap {
        let before = sha256_file(image)?;
        refused(Mkfs::under_test().arg(image), image, words)?;
        ensure!(sha256_file(image)? == before, "a refusal changed the image");
    }
    Mkfs::under_test().args(["-q", "-F"]).arg(image).make()?;
    fsck(image)?;
    // Nothing of what was there confuses those who look.
    let output = tool::output("blkid", &["-p".as_ref(), image.as_os_str()])?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(text.contains("TYPE=\"ext4\""), "{}", tool::failure(&output));
    Ok(())
}

mod existing {
    use super::*;

    fn made_by_mke2fs(args: &[&str], words: &[&str]) -> Result<()> {
        if !skip::allowed(TOOLS) {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let image = scratch.mke2fs("image", 16 << 20, args)?;
        guarded(&image, words)
    }

    #[test]
    fn ext2() -> Result<()> {
        made_by_mke2fs(&["-t", "ext2"], &["ext2"])
    }

    #[test]
    fn ext3() -> Result<()> {
        made_by_mke2fs(&["-t", "ext3"], &["ext3"])
    }

    #[test]
    fn ext4_with_a_label() -> Result<()> {
        let words: &[&str] = match Maker::under_test() {
            Maker::Extmap => &["ext4", "precious"],
            Maker::Mke2fs => &[],
        };
        made_by_mke2fs(&["-L", "precious"], words)
    }

    #[test]
    fn external_journal() -> Result<()> {
        made_by_mke2fs(&["-O", "journal_dev"], &["journal"])
    }

    /// What a tool makes in a sparse file of 16 MiB, its path the last argument.
    fn made_by(program: &'static str, args: &[&str], words: &[&str]) -> Result<()> {
        let needs = [Need::Tool(program), Need::Tool("blkid")];
        if !skip::allowed(TOOLS) || !skip::allowed(&needs) {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let image = scratch.sparse("image", 16 << 20)?;
        let mut all: Vec<&std::ffi::OsStr> = args.iter().map(AsRef::as_ref).collect();
        all.push(image.as_os_str());
        tool::run(program, &all)?;
        guarded(&image, words)
    }

    #[test]
    fn swap() -> Result<()> {
        made_by("mkswap", &[], &["swap"])
    }

    #[test]
    fn minix() -> Result<()> {
        made_by("mkfs.minix", &[], &["minix"])
    }

    #[test]
    fn bfs() -> Result<()> {
        made_by("mkfs.bfs", &[], &[])
    }

    #[test]
    fn cramfs() -> Result<()> {
        let needs = [Need::Tool("mkfs.cramfs"), Need::Tool("blkid")];
        if !skip::allowed(TOOLS) || !skip::allowed(&needs) {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let (from, image) = (scratch.make_dir("source")?, scratch.path("image"));
        fs::write(from.join("file"), Rng::new(1).bytes(100_000))?;
        tool::run("mkfs.cramfs", &[&from, &image])?;
        File::options()
            .write(true)
            .open(&image)?
            .set_len(16 << 20)?;
        guarded(&image, &["cramfs"])
    }

    fn partitioned(script: &str, words: &[&str], keep: fn(&Path) -> Result<()>) -> Result<()> {
        let needs = [Need::Tool("sfdisk"), Need::Tool("blkid")];
        if !skip::allowed(TOOLS) || !skip::allowed(&needs) {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let image = scratch.sparse("image", 16 << 20)?;
        let script = scratch.file("script", script.as_bytes())?;
        let mut command = std::process::Command::new("sfdisk");
        command.arg(&image).stdin(File::open(&script)?);
        let ended = program::finish(command, Duration::from_secs(20))?;
        ensure!(ended.success(), "sfdisk: {ended}");
        keep(&image)?;
        guarded(&image, words)
    }

    #[test]
    fn gpt() -> Result<()> {
        partitioned("label: gpt\nsize=8M\n", &["GPT"], |_| Ok(()))
    }

    #[test]
    fn gpt_of_which_the_backup_is_left() -> Result<()> {
        if !ours_only() {
            return Ok(());
        }
        partitioned("label: gpt\nsize=8M\n", &["GPT"], |image| {
            let file = File::options().write(true).open(image)?;
            Ok(file.write_all_at(&[0; 34 * 512], 0)?)
        })
    }

    #[test]
    fn mbr() -> Result<()> {
        let words: &[&str] = match Maker::under_test() {
            Maker::Extmap => &["MBR"],
            Maker::Mke2fs => &[],
        };
        partitioned("label: dos\nsize=8M, type=83\n", words, |_| Ok(()))
    }

    /// A header that no tool here makes: `bytes` at `at`.
    fn headed(at: u64, bytes: &[u8], words: &[&str]) -> Result<()> {
        if !skip::allowed(TOOLS) || !ours_only() {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let image = scratch.sparse("image", 16 << 20)?;
        File::options()
            .write(true)
            .open(&image)?
            .write_all_at(bytes, at)?;
        guarded(&image, words).with_context(|| format!("{words:?}"))
    }

    /// Magic numbers as the formats' own descriptions give them.
    #[test]
    fn other_formats() -> Result<()> {
        headed(0, b"LUKS\xba\xbe\0\x02", &["LUKS"])?;
        headed(0, b"XFSB\0\0\x10\0", &["XFS"])?;
        headed(0x10040, b"_BHRfS_M", &["btrfs"])?;
        headed(0, b"hsqs", &["squashfs"])?;
        headed(1024, b"\x10\x20\xf5\xf2", &["f2fs"])?;
        headed(1024, b"\xe2\xe1\xf5\xe0", &["erofs"])?;
        headed(0x8001, b"CD001", &["9660"])?;
        headed(3, b"NTFS    ", &["NTFS"])?;
        headed(3, b"EXFAT   ", &["exFAT"])?;
        headed(82, b"FAT32   ", &["FAT"])?;
        headed(
            512,
            b"LABELONE\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0LVM2 001",
            &["LVM"],
        )?;
        headed(4096, b"\xfc\x4e\x2b\xa9", &["RAID"])
    }

    /// Files with nothing known in them are taken as they are.
    #[test]
    fn nothing_known() -> Result<()> {
        if !skip::allowed(TOOLS) {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        for (name, bytes) in [
            ("zeros", vec![0; 8 << 20]),
            ("noise", Rng::new(11).bytes(8 << 20)),
            ("empty", Vec::new()),
        ] {
            let image = scratch.file(name, &bytes)?;
            Mkfs::under_test()
                .arg(&image)
                .arg("8M")
                .make()
                .context(name)?;
            fsck(&image)?;
        }
        Ok(())
    }

    /// The file system behind an offset is looked at, not the one at the start.
    #[test]
    fn behind_an_offset() -> Result<()> {
        if !skip::allowed(TOOLS) || !ours_only() {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let inner = scratch.mke2fs("inner", 8 << 20, &[])?;
        let image = scratch.sparse("image", 16 << 20)?;
        let bytes = fs::read(&inner)?;
        File::options()
            .write(true)
            .open(&image)?
            .write_all_at(&bytes, 1 << 20)?;
        let before = sha256_file(&image)?;
        let call = Mkfs::under_test().args(["-E", "offset=1048576"]);
        refused(call.arg(&image).arg("8M"), &image, &["ext4"])?;
        ensure!(sha256_file(&image)? == before);
        Ok(())
    }
}

mod in_use {
    use super::*;

    /// Refused without `-F` and with it; the image stays as it is.
    fn always_refused(device: &Path, image: &Path, words: &[&str]) -> Result<()> {
        let before = sha256_file(image)?;
        refused(Mkfs::under_test().arg(device), device, &[])?;
        refused(Mkfs::under_test().arg("-F").arg(device), device, words)?;
        ensure!(sha256_file(image)? == before, "a refusal changed the image");
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
}

/// Bytes that are not the file system's stay what they are.
mod untouched {
    use super::*;

    fn around(options: &[&str], offset: usize) -> Result<()> {
        if !skip::allowed(TOOLS) {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let bytes = Rng::new(2).bytes(12 << 20);
        let image = scratch.file("image", &bytes)?;
        let call = Mkfs::under_test().arg("-q").args(options);
        call.arg(&image).arg("8M").make()?;
        let after = fs::read(&image)?;
        ensure!(after.len() == bytes.len(), "the file has another length");
        ensure!(after[..offset] == bytes[..offset], "changed before it");
        let end = offset + (8 << 20);
        ensure!(after[end..] == bytes[end..], "changed behind it");
        ensure!(has_magic(&image, offset as u64)?);
        Ok(())
    }

    #[test]
    fn behind() -> Result<()> {
        around(&[], 0)
    }

    #[test]
    fn behind_without_discarding() -> Result<()> {
        around(&["-E", "nodiscard"], 0)
    }

    #[test]
    fn before_and_behind() -> Result<()> {
        around(&["-E", "offset=1048576"], 1 << 20)
    }

    /// `-n` says what would be made and writes nothing.
    #[test]
    fn by_a_dry_run() -> Result<()> {
        if !skip::allowed(TOOLS) {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let image = scratch.file("image", &Rng::new(2).bytes(8 << 20))?;
        let before = sha256_file(&image)?;
        let ended = Mkfs::under_test().arg("-n").arg(&image).make()?;
        ensure!(ended.text().contains("8192"), "nothing is said: {ended}");
        ensure!(sha256_file(&image)? == before, "-n writes");
        if !ours_only() {
            return Ok(());
        }
        let missing = scratch.path("missing");
        Mkfs::under_test()
            .arg("-n")
            .arg(&missing)
            .arg("8M")
            .make()?;
        ensure!(!missing.exists(), "-n makes the image");
        let from = scratch.make_dir("source")?;
        fs::write(from.join("large"), Rng::new(1).bytes(9 << 20))?;
        let call = Mkfs::under_test()
            .arg("-n")
            .filled_from(&from)
            .arg(&missing);
        refused(call.arg("8M"), &missing, &["need"]).map(drop)
    }

    /// The unused part of an inode table whose group says so is zero: the kernel
    /// relies on it.
    fn zeroed_tables_are_zero(image: &Path) -> Result<()> {
        let dump = Dump::of(image)?;
        let (block, inode) = (dump.number("Block size")?, dump.number("Inode size")?);
        let inodes = dump.number("Inodes per group")?;
        let file = File::open(image)?;
        let groups = format!("\n{}", dump.groups.join("\n"));
        for group in groups.split("\nGroup ").skip(1) {
            if !group.contains("ITABLE_ZEROED") {
                continue;
            }
            let unused = group
                .split(" unused inodes")
                .next()
                .and_then(|text| text.rsplit(' ').next()?.parse::<u64>().ok());
            let table = group.split("Inode table at ").nth(1).context("no table")?;
            let first: u64 = table.split('-').next().context("no table")?.parse()?;
            let unused = unused.context("unused inodes")?;
            let mut bytes = vec![0; usize::try_from(unused * inode)?];
            file.read_exact_at(&mut bytes, first * block + (inodes - unused) * inode)?;
            let name = group.lines().next().unwrap_or_default();
            ensure!(
                bytes.iter().all(|&byte| byte == 0),
                "garbage in group {name}"
            );
        }
        Ok(())
    }

    /// Garbage that is not discarded does not show.
    #[test]
    fn garbage_beneath() -> Result<()> {
        if !skip::allowed(JUDGES) {
            return Ok(());
        }
        for options in [
            &["-E", "nodiscard"][..],
            &["-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0"],
            &["-E", "nodiscard", "-t", "ext2"],
            &[
                "-E",
                "nodiscard",
                "-O",
                "orphan_file,inline_data,meta_bg,^resize_inode",
            ],
        ] {
            let scratch = Scratch::new()?;
            let image = scratch.file("image", &Rng::new(4).bytes(24 << 20))?;
            let from = scratch.make_dir("source")?;
            fs::write(from.join("file"), b"not garbage")?;
            fs::create_dir(from.join("dir"))?;
            let call = Mkfs::under_test().arg("-q").args(options);
            call.filled_from(&from).arg(&image).make()?;
            zeroed_tables_are_zero(&image).with_context(|| format!("{options:?}"))?;
            judge::live_with(&image, &scratch.path("mounted"), |root| {
                ensure!(fs::read(root.join("file"))? == b"not garbage");
                ensure!(fs::read_dir(root.join("dir"))?.count() == 0);
                Ok(())
            })
            .with_context(|| format!("{options:?}"))?;
        }
        Ok(())
    }
}

mod interrupted {
    use super::*;

    /// The calls that change an image.
    const WRITES: &str =
        "write,pwrite64,writev,pwritev,pwritev2,copy_file_range,fallocate,ftruncate";

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
        let strace = [
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
        let counting = strace
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
            let injecting = strace.into_iter().chain([
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
        let words = [
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
        let words = words
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
}

/// The other name, `--json`, `-q` and `-v`: what is printed.
mod said {
    use super::*;

    #[test]
    fn by_the_other_name() -> Result<()> {
        if !skip::allowed(TOOLS) || !ours_only() {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let alias = scratch.path("mkfs.extmap");
        std::os::unix::fs::symlink(program::extmap_path()?, &alias)?;
        let image = scratch.path("image");
        let words = [
            "-q".as_ref(),
            "-L".as_ref(),
            "alias".as_ref(),
            image.as_os_str(),
            "8M".as_ref(),
        ];
        let ended = program::run(alias.as_os_str(), words, program::TIMEOUT)?;
        ensure!(ended.success(), "{ended}");
        fsck(&image)?;
        ensure!(Dump::of(&image)?.field("Filesystem volume name") == "alias");
        Ok(())
    }

    /// The report's numbers are dumpe2fs's.
    #[test]
    fn as_json() -> Result<()> {
        if !skip::allowed(TOOLS) || !ours_only() {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let image = scratch.path("image");
        let ended = Mkfs::under_test()
            .fixed()
            .arg("--json")
            .arg(&image)
            .arg("33M")
            .make()?;
        ensure!(ended.stderr.is_empty(), "{ended}");
        let json: serde_json::Value = serde_json::from_slice(&ended.stdout)?;
        let text = json.to_string();
        let dump = Dump::of(&image)?;
        for field in [
            "Block count",
            "Block size",
            "Inode count",
            "Inode size",
            "Blocks per group",
        ] {
            let number = dump.number(field)?;
            ensure!(
                text.contains(&format!(":{number}")),
                "no {field} {number}: {text}"
            );
        }
        for feature in dump.field("Filesystem features").split_whitespace() {
            ensure!(text.contains(feature), "no feature {feature}: {text}");
        }
        ensure!(
            text.contains(dump.field("Filesystem UUID")),
            "no UUID: {text}"
        );
        ensure!(text.contains("written"), "no bytes written: {text}");
        Ok(())
    }

    #[test]
    fn quietly_and_verbosely() -> Result<()> {
        if !skip::allowed(TOOLS) || !ours_only() {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let run = |name: &str, options: &[&str]| {
            let call = Mkfs::under_test().args(options).arg(scratch.path(name));
            call.arg("8M").make()
        };
        let (quiet, usual, verbose) = (
            run("quiet", &["-q"])?,
            run("usual", &[])?,
            run("verbose", &["-v"])?,
        );
        ensure!(
            quiet.stdout.is_empty() && quiet.stderr.is_empty(),
            "{quiet}"
        );
        ensure!(usual.stderr.is_empty(), "{usual}");
        // Not a terminal: no bar that moves.
        for ended in [&usual, &verbose] {
            ensure!(!ended.text().contains(['\r', '\u{8}', '\u{1b}']), "{ended}");
            ensure!(!ended.stderr.contains(['\r', '\u{8}', '\u{1b}']), "{ended}");
        }
        ensure!(verbose.stdout.len() > usual.stdout.len(), "{verbose}");
        Ok(())
    }

    #[test]
    fn version() -> Result<()> {
        let ended = Mkfs::under_test().arg("-V").run()?;
        ensure!(ended.success(), "{ended}");
        let text = format!("{}{}", ended.text(), ended.stderr);
        ensure!(text.contains(|c: char| c.is_ascii_digit()), "{ended}");
        Ok(())
    }

    /// The archive on standard input is refused like any other source.
    #[test]
    fn of_a_refusal() -> Result<()> {
        if !skip::allowed(TOOLS) || !ours_only() {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let packed = scratch.file("a", &archive::archive(&[Member::file("../x", b"")]))?;
        let image = scratch.path("image");
        let call = Mkfs::under_test()
            .args(["--json", "-d", "-"])
            .stdin_file(&packed)?;
        let said = refusal::refused(call.arg(&image).arg("8M"), &image, &["../x"])?;
        ensure!(said.len() < 300, "not one sentence: {said}");
        Ok(())
    }
}

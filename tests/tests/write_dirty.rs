//! Logs change hands: volumes that were cut off while this program wrote to them go to the
//! kernel and to e2fsck, volumes the kernel left dirty are opened here and changed further.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use fs_core::WritableVolume;
use images::{BlockDevice, Memory};
use system_tests::dirty::{self, Work, Writer};
use system_tests::guards::KernelMount;
use system_tests::scratch::Scratch;
use system_tests::skip;
use system_tests::sys::Shutdown;
use system_tests::write::crash::host::{
    as_the_host_sees, assert_same, of_mount, through_the_kernel,
};
use system_tests::write::crash::judge::{Judge, Repairs, log_superblock, read};
use system_tests::write::crash::record::{
    Holds, RECOVERY_SECONDS, Recording, WORK_SECONDS, options,
};
use system_tests::write::crash::tree::Tree;
use system_tests::write::crash::volume::{Kind, prepare};
use system_tests::write::crash::workload;
use system_tests::write::operation::Operation;
use system_tests::{debugfs, tool};

/// Checksums of a log.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Log {
    /// As mke2fs leaves it: none until somebody writes to it.
    Plain,
    V1,
    V2,
}

/// The features of volumes, and the checksums of their logs.
const FORMS: &[(&str, Log)] = &[
    ("^resize_inode,^metadata_csum,^64bit", Log::Plain),
    ("^resize_inode,^metadata_csum,64bit", Log::Plain),
    ("^resize_inode,^metadata_csum,^64bit", Log::V1),
    ("^resize_inode,^metadata_csum,64bit", Log::V1),
    ("^resize_inode,metadata_csum,^64bit", Log::V2),
    ("^resize_inode,metadata_csum,64bit", Log::V2),
    ("^resize_inode,metadata_csum,^64bit", Log::Plain),
    ("^resize_inode,metadata_csum,64bit,orphan_file", Log::Plain),
];

fn prepared(features: &'static str, log: Log) -> Result<Vec<u8>> {
    let mke2fs: Vec<&'static str> = vec!["-b", "1024", "-N", "64", "-J", "size=1", "-O", features];
    let kind = Kind {
        name: features,
        mke2fs: Vec::leak(mke2fs),
        len_bytes: 2100 << 10,
    };
    let image = prepare(&kind, &[])?;
    with_checksums(image, log)
}

/// Gives the empty log of an image checksums of a form.
fn with_checksums(mut image: Vec<u8>, log: Log) -> Result<Vec<u8>> {
    let place = usize::try_from(log_superblock(&image)?)?;
    match log {
        Log::Plain => Ok(image),
        Log::V1 => {
            // JBD2_FEATURE_COMPAT_CHECKSUM; a superblock of version 2 (4) has features.
            image[place + 7] = 4;
            image[place + 0x27] |= 1;
            Ok(image)
        }
        Log::V2 => {
            let scratch = Scratch::new()?;
            let path = scratch.file("image", &image)?;
            let script = scratch.file("script", b"jo -c -v 2\njw -b 2000 /dev/zero\njc\n")?;
            let args = [
                "-w".as_ref(),
                "-f".as_ref(),
                script.as_os_str(),
                path.as_os_str(),
            ];
            tool::run("debugfs", &args)?;
            let _ = tool::output("e2fsck", &["-fy".as_ref(), path.as_os_str()])?;
            let stats = debugfs::read(&path, "logdump -S")?;
            ensure!(stats.contains("journal_checksum_v2"), "{stats}");
            Ok(std::fs::read(path)?)
        }
    }
}

/// An image cut off after its last commit, and what it holds.
fn cut_off(image: &[u8]) -> Result<(Vec<u8>, Tree)> {
    let mut work = workload::setup();
    work.push(Operation::Sync);
    for seed in 0..4 {
        work.extend(workload::random(seed, 8));
        work.push(Operation::Sync);
    }
    let last = work.len();
    // What comes later is lost.
    work.push(Operation::write("/A/late", 0, 10, 1));
    work.push(Operation::mkdir("/late"));
    let recording = Recording::new(image, &options(WORK_SECONDS), &work)?;
    let (cut, at) = recording.cut_after(last)?;
    Ok((cut, recording.states[at].clone()))
}

#[test]
fn ours_are_replayed_by_the_kernel_and_by_e2fsck() -> Result<()> {
    if !skip::allowed(skip::MOUNTS) {
        return Ok(());
    }
    for &(features, log) in FORMS {
        ours(features, log).with_context(|| format!("{features} {log:?}"))?;
    }
    Ok(())
}

fn ours(features: &'static str, log: Log) -> Result<()> {
    let scratch = Scratch::new()?;
    let image = prepared(features, log)?;
    let (cut, expected) = cut_off(&image)?;
    let place = usize::try_from(log_superblock(&cut)?)?;
    let bits = (cut[place + 0x27] & 1, cut[place + 0x2B] & 0x18);
    let wanted = match (log, features.contains("^metadata_csum")) {
        (Log::V1, _) => (1, 0),
        (Log::V2, _) => (0, 8),
        (Log::Plain, true) => (0, 0),
        (Log::Plain, false) => (0, 16),
    };
    ensure!(bits == wanted, "the log has checksums {bits:?}");
    let mut judge = Judge::new(&image, Repairs::RecoveryOnly)?;
    let recovered = judge.recover(cut.clone())?;
    assert_same(&recovered.theirs, &expected, ("e2fsck", "expected"))?;
    let path = scratch.file("cut", &cut)?;
    ensure!(
        dirty::is_dirty(&path)?,
        "the journal is clean: nothing is tested"
    );
    let seen = through_the_kernel(&scratch, &path)?;
    assert_same(
        &seen,
        &as_the_host_sees(expected),
        ("the kernel", "expected"),
    )
}

/// Options of the mount that makes the log, and what must be in it.
const THEIRS: &[(&[&str], &str)] = &[
    (&["-b", "1024", "-O", "^metadata_csum,^64bit"], "rw"),
    (&["-b", "1024", "-O", "^metadata_csum,64bit"], "rw"),
    (
        &["-b", "1024", "-O", "^metadata_csum,64bit"],
        "rw,journal_checksum",
    ),
    (&["-b", "1024", "-O", "metadata_csum,^64bit"], "rw"),
    (&["-b", "4096", "-O", "metadata_csum,64bit"], "rw"),
    (
        &["-b", "4096", "-O", "metadata_csum,64bit,orphan_file"],
        "rw",
    ),
    (
        &["-b", "1024", "-O", "metadata_csum,64bit"],
        "rw,data=journal",
    ),
    (&["-b", "4096", "-t", "ext3"], "rw"),
];

#[test]
fn theirs_are_replayed_and_changed_further() -> Result<()> {
    if !skip::allowed(skip::MOUNTS) {
        return Ok(());
    }
    for (number, &(mke2fs, mount)) in THEIRS.iter().enumerate() {
        let seed = number as u64;
        theirs(mke2fs, mount, seed).with_context(|| format!("{mke2fs:?} {mount}"))?;
    }
    Ok(())
}

fn theirs(mke2fs: &[&str], options_of_mount: &str, seed: u64) -> Result<()> {
    let scratch = Scratch::new()?;
    let image = scratch.mke2fs("image", 24 << 20, mke2fs)?;
    let mount = KernelMount::new(&image, &scratch.path("work"), options_of_mount)?;
    let mut writer = Writer::new(mount.path(), "writer", 70 + seed, Work::Mixed)?;
    for _ in 0..120 {
        writer.step()?;
    }
    let copy = dirty::power_cut(&scratch, &image, &mount, Shutdown::FlushLog)?;
    mount.unmount()?;
    let judged = scratch.copy(&copy, "judged")?;
    let judged = through_the_kernel(&scratch, &judged)?;

    let memory = Arc::new(Memory::new(std::fs::read(&copy)?));
    let device: Arc<dyn BlockDevice> = memory.clone();
    let volume = WritableVolume::open(device, &options(RECOVERY_SECONDS))?;
    ensure!(
        volume.recovery_report().journal_was_dirty,
        "nothing was replayed"
    );
    let seen = Tree::of(&volume)?;
    assert_same(&as_the_host_sees(seen), &judged, ("we", "the kernel"))?;

    let mut holds = Holds::default();
    let mut work = workload::setup();
    work.extend(workload::random(seed, 20));
    for operation in &work {
        // Some fail, which is a user's business.
        let _ = holds.apply(&volume, operation);
    }
    let expected = Tree::of(&volume)?;
    volume.close()?;
    let image = memory.snapshot();
    ensure!(
        read(image.clone())? == expected,
        "closed other than it was open"
    );
    let path = scratch.file("changed", &image)?;
    assert_clean(&path)?;
    let seen = through_the_kernel(&scratch, &path)?;
    assert_same(
        &seen,
        &as_the_host_sees(expected),
        ("the kernel", "expected"),
    )
}

fn assert_clean(path: &Path) -> Result<()> {
    let checked = tool::output("e2fsck", &["-fn".as_ref(), path.as_os_str()])?;
    ensure!(checked.status.success(), "{}", tool::failure(&checked));
    Ok(())
}

/// A log that changes hands again and again stays in order: the numbers of its transactions
/// go on, and no leftover of the other's is taken for one's own.
#[test]
fn a_log_goes_to_and_fro() -> Result<()> {
    if !skip::allowed(skip::MOUNTS) {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let mut image = prepared("^resize_inode,metadata_csum,64bit", Log::Plain)?;
    for round in 0..6 {
        let work = [
            workload::setup(),
            workload::random(round, 10),
            vec![Operation::Sync],
        ]
        .concat();
        let last = work.len();
        let recording = Recording::new(&image, &options(WORK_SECONDS), &work)?;
        let (cut, at) = recording.cut_after(last)?;
        let path = scratch.file("image", &cut)?;
        let mount = KernelMount::new(&path, &scratch.path("kernel"), "rw,noatime")?;
        let seen = of_mount(mount.path())?;
        let expected = as_the_host_sees(recording.states[at].clone());
        assert_same(&seen, &expected, ("the kernel", "expected"))?;
        std::fs::write(mount.path().join(format!("kernel{round}")), [7; 3000])?;
        rustix::fs::syncfs(std::fs::File::open(mount.path())?)?;
        let after = of_mount(mount.path())?;
        let copy = dirty::power_cut(&scratch, &path, &mount, Shutdown::FlushLog)?;
        mount.unmount()?;
        image = std::fs::read(copy)?;
        let ours = as_the_host_sees(read(image.clone())?);
        assert_same(&ours, &after, ("we", "the kernel"))?;
    }
    Ok(())
}

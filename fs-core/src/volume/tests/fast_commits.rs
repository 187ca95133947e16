//! Fast commits written by Linux, replayed by opening the volume for writing; Linux's own
//! replay says what must come of it.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use images::{BlockDevice, Memory, Recorder, Unflushed};
use rustix::fs::{FallocateFlags, fallocate};

use super::tree;
use crate::journal::tests::image::{Mount, Scratch, tools_and_mounts};
use crate::testing::assert_clean;
use crate::volume::{WritableVolume, WriteOptions};

fn options() -> WriteOptions {
    WriteOptions {
        commit_interval_ms: 0,
        ..WriteOptions::default()
    }
}

/// Only what fast commits can record, and nothing deleted that they have created: the
/// replay of Linux 6.18 refuses some logs of its own then.
fn work(mount: &Mount) {
    let path = |name: &str| mount.path().join(name);
    for number in 0..8 {
        mount.write(&format!("old-{number}"), &vec![number; 9000]);
    }
    fs::create_dir(path("old-dir")).unwrap();
    // Fast commits cannot record links: their content counts as journalled.
    std::os::unix::fs::symlink("s".repeat(20), path("short-link")).unwrap();
    std::os::unix::fs::symlink("l".repeat(200), path("long-link")).unwrap();
    let holes = File::create(path("holes")).unwrap();
    for number in 0..60 {
        holes.write_all_at(b"data", number * 32_768).unwrap();
    }
    mount.sync_all();

    for number in 0..12_u8 {
        let len = 1000 * (1 + usize::from(number) * 3);
        mount.write(&format!("new-{number}"), &vec![number; len]);
    }
    fs::rename(path("new-3"), path("old-dir/moved")).unwrap();
    fs::hard_link(path("new-4"), path("linked")).unwrap();
    fs::remove_file(path("old-5")).unwrap();
    mount.fsync("linked");
    let file = File::options().write(true).open(path("new-6")).unwrap();
    file.set_len(100).unwrap();
    file.write_all_at(b"far", 900_000).unwrap();
    file.sync_all().unwrap();
    let file = File::options().write(true).open(path("old-1")).unwrap();
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    fallocate(&file, punch, 0, 4096).unwrap();
    fallocate(&file, FallocateFlags::empty(), 20_000, 60_000).unwrap();
    file.sync_all().unwrap();
    for number in (0..60).step_by(7) {
        fallocate(&holes, punch, number * 32_768, 4096).unwrap();
    }
    holes.write_all_at(&[9; 50_000], 400_000).unwrap();
    holes.sync_all().unwrap();
    fs::create_dir(path("dir")).unwrap();
    mount.write("dir/inside", b"x");
    fs::create_dir(path("dir/deeper")).unwrap();
    mount.write("dir/deeper/inside", b"y");
    mount.write("last", b"last");
}

/// A volume's image with fast commits to be followed.
fn dirty(args: &[&str]) -> Vec<u8> {
    let scratch = Scratch::new(args);
    let mount = scratch.mount("commit=300");
    work(&mount);
    let bytes = scratch.bytes();
    drop(mount);
    bytes
}

fn by_linux(image: &[u8]) -> Vec<String> {
    let scratch = Scratch::holding(image);
    let mount = scratch.mount("rw,noatime");
    tree::of_directory(mount.path())
}

const FEATURES: [&str; 3] = [
    "fast_commit,64bit,metadata_csum",
    "fast_commit,^64bit,^metadata_csum,^orphan_file",
    "fast_commit,64bit,metadata_csum,inline_data",
];

fn args<'a>(block_bytes: &'a str, features: &'a str) -> [&'a str; 6] {
    [
        "-b",
        block_bytes,
        "-J",
        "size=8,fast_commit_size=512",
        "-O",
        features,
    ]
}

#[test]
fn what_linux_makes_of_them() {
    if tools_and_mounts().is_none() {
        return;
    }
    for (features, block_bytes) in FEATURES.into_iter().zip(["1024", "4096", "4096"]) {
        let dirty = dirty(&args(block_bytes, features));
        let expected = by_linux(&dirty);
        let memory = Arc::new(Memory::new(dirty));
        let device: Arc<dyn BlockDevice> = memory.clone();
        let volume = WritableVolume::open(device, &options()).unwrap();
        let report = volume.recovery_report();
        assert!(report.fast_commits_replayed > 5, "{features}: {report:?}");
        volume.close().unwrap();
        let image = memory.snapshot();
        assert_clean(&image);
        assert_eq!(by_linux(&image), expected, "{features}");
        assert_eq!(tree::of_image(image), expected, "{features}, our reader");
    }
}

/// The power is cut again and again while the volume is being opened and closed.
#[test]
fn opening_that_is_interrupted() {
    if tools_and_mounts().is_none() {
        return;
    }
    let dirty = dirty(&args("1024", FEATURES[0]));
    let expected = by_linux(&dirty);
    let recorder = Arc::new(Recorder::new(dirty));
    let device: Arc<dyn BlockDevice> = recorder.clone();
    let volume = WritableVolume::open(device, &options()).unwrap();
    assert!(volume.recovery_report().fast_commits_replayed > 5);
    volume.close().unwrap();
    let events = recorder.events();
    let mut replay = recorder.replay();
    for event in 0..events {
        let unflushed = match event % 3 {
            0 => Unflushed::Kept,
            1 => Unflushed::Lost,
            _ => Unflushed::Mixed(event as u64),
        };
        // Within long stretches of writes every few are enough.
        if replay.pending() < 4 || event % 5 == 0 {
            let what = format!("cut before event {event} of {events}, {unflushed:?}");
            let mut cut = replay.after_power_cut(unflushed);
            // Half a superblock is nothing that can be opened, by Linux no more than by us.
            let whole = replay.after_power_cut(Unflushed::Kept);
            cut[1024..2048].copy_from_slice(&whole[1024..2048]);
            if event % 8 == 0 {
                assert_eq!(by_linux(&cut), expected, "{what}, Linux");
            }
            let memory = Arc::new(Memory::new(cut));
            let device: Arc<dyn BlockDevice> = memory.clone();
            let volume = WritableVolume::open(device, &options());
            let volume = volume.unwrap_or_else(|error| panic!("{what}: {error}"));
            volume.close().unwrap();
            let image = memory.snapshot();
            assert_clean(&image);
            assert_eq!(tree::of_image(image), expected, "{what}");
        }
        replay.step();
    }
}

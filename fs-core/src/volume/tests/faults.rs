//! A device whose writes fail: the volume stops, says so in its superblock, and is whole
//! after recovery.

use std::process::Command;
use std::sync::Arc;

use images::{BlockDevice, Fault, Faulty, Memory, Operation, Recorder};

use crate::InodeNumber;
use crate::error::Result;
use crate::journal::tests::image::Scratch;
use crate::testing::assert_clean;
use crate::volume::{NewInode, OpenOptions, Volume, WritableVolume, WriteOptions};

const STATE_ERRORS: u16 = 0x2;

fn work(volume: &WritableVolume) -> Result<()> {
    let root = InodeNumber::ROOT;
    for round in 0..3_u8 {
        let name = format!("dir-{round}");
        let directory = volume.create(root, name.as_bytes(), &NewInode::directory(0o755))?;
        for file in 0..6 {
            let name = format!("a file with a long name {file}");
            let file =
                volume.create(directory.number(), name.as_bytes(), &NewInode::file(0o644))?;
            volume.write(file.number(), &[round; 3000], 0)?;
        }
        volume.sync()?;
        volume.unlink(directory.number(), b"a file with a long name 2")?;
        volume.checkpoint()?;
    }
    volume.sync()
}

/// Opens, works and has one operation fail; how many there were.
fn run(image: &[u8], operation: Operation, at: Option<u64>) -> u64 {
    let recorder = Arc::new(Recorder::new(image.to_vec()));
    let faulty = Arc::new(Faulty::new(recorder.clone()));
    let device: Arc<dyn BlockDevice> = faulty.clone();
    let options = WriteOptions {
        commit_interval_ms: 0,
        ..WriteOptions::default()
    };
    let volume = WritableVolume::open(device, &options).unwrap();
    let before = faulty.count(operation);
    if let Some(at) = at {
        faulty.set_fault(operation, Some(Fault::Once(before + at)));
    }
    let done = work(&volume);
    let count = faulty.count(operation) - before;
    let what = format!("{operation:?} {at:?}");
    if volume.is_read_only() {
        assert!(done.is_err(), "{what}");
        let events = recorder.events();
        let root = InodeNumber::ROOT;
        let refused = volume.create(root, b"more", &NewInode::file(0o644));
        assert!(refused.is_err() && volume.sync().is_err(), "{what}");
        assert!(volume.close().is_err(), "{what}");
        assert_eq!(recorder.events(), events, "{what}: written to");
        let state = u16::from_le_bytes(recorder.live()[0x43A..0x43C].try_into().unwrap());
        assert!(state & STATE_ERRORS != 0, "{what}: not marked");
        // The log says so too: whoever mounts it keeps the mark.
        let volume = Volume::open(
            Arc::new(Memory::new(recorder.live())),
            &OpenOptions::default(),
        );
        let journal = volume.unwrap().journal().unwrap();
        assert!(journal.is_none_or(|log| log.errno == -5), "{what}");
    } else {
        volume.close().unwrap();
        assert_eq!(done.is_err(), at.is_some(), "{what}");
    }
    let image = recorder.live();
    if at.is_none() {
        assert_clean(&image);
        return count;
    }
    let scratch = Scratch::holding(&image);
    let mended = Command::new("e2fsck")
        .arg("-fp")
        .arg(scratch.image())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&mended.stdout);
    assert!(
        matches!(mended.status.code(), Some(0 | 1)),
        "{what}: {said}"
    );
    assert_clean(&scratch.bytes());
    count
}

#[test]
fn any_write_that_fails() {
    if !skipping::have_programs(&["mke2fs", "e2fsck"]) {
        return;
    }
    let scratch = Scratch::new(&["-b", "1024", "-J", "size=4"]);
    let image = scratch.bytes();
    for operation in [Operation::Write, Operation::Flush] {
        let count = run(&image, operation, None);
        for at in (0..count).step_by(3) {
            run(&image, operation, Some(at));
        }
    }
}

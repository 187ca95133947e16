//! Multiple mount protection: with another of ours, with e2fsck and with Linux. The protocol
//! makes each opening take 11 seconds.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use images::{BlockDevice, Fault, Faulty, Memory, Operation};

use crate::error::{Error, ErrorKind};
use crate::format::mmp::{MmpBlock, SEQUENCE_CLEAN, SEQUENCE_FSCK};
use crate::format::superblock::Superblock;
use crate::journal::tests::image::{Scratch, tools, tools_and_mounts};
use crate::run::ExtentState;
use crate::types::{FileBlock, FsBlock};
use crate::volume::{NewInode, OpenOptions, Volume, WritableVolume, WriteOptions};

fn scratch() -> Scratch {
    Scratch::new(&["-b", "1024", "-O", "mmp", "-E", "mmp_update_interval=1"])
}

fn options(host: &str) -> WriteOptions {
    WriteOptions {
        commit_interval_ms: 0,
        host: host.to_owned(),
        ..WriteOptions::default()
    }
}

fn superblock(device: &Arc<dyn BlockDevice>) -> Superblock {
    let options = OpenOptions::default();
    let volume = Volume::open(Arc::clone(device), &options).unwrap();
    volume.superblock().clone()
}

fn block(device: &Arc<dyn BlockDevice>) -> MmpBlock {
    let superblock = superblock(device);
    let mut bytes = [0; 1024];
    let place = FsBlock(superblock.mmp_block);
    device.read_at(&mut bytes, place.0 * 1024).unwrap();
    MmpBlock::parse(&superblock, place, &bytes).unwrap()
}

fn set_block(device: &Arc<dyn BlockDevice>, block: &MmpBlock) {
    let superblock = superblock(device);
    let bytes = block.encode(&superblock);
    device
        .write_at(&bytes, superblock.mmp_block * 1024)
        .unwrap();
}

#[track_caller]
fn assert_busy(opened: crate::error::Result<WritableVolume>, who: &str) {
    let error: Error = opened.expect_err("the volume was opened");
    assert!(matches!(error.kind(), ErrorKind::Busy(_)), "{error}");
    assert!(error.to_string().contains(who), "{error}");
}

#[test]
fn a_second_one_is_refused_while_the_first_lives() {
    if tools(&["mke2fs"]).is_none() {
        return;
    }
    let memory = Arc::new(Memory::new(scratch().bytes()));
    let device: Arc<dyn BlockDevice> = memory;
    let first = WritableVolume::open(Arc::clone(&device), &options("host-a")).unwrap();
    let begun = block(&device);
    assert_eq!(&begun.node[..7], b"host-a\0");
    let root = crate::InodeNumber::ROOT;
    first.create(root, b"made", &NewInode::file(0o644)).unwrap();
    assert_busy(
        WritableVolume::open(Arc::clone(&device), &options("host-b")),
        "host-a",
    );
    let later = block(&device);
    assert!(later.sequence > begun.sequence + 3, "{later:?}");
    first.close().unwrap();
    let mut left = block(&device);
    assert_eq!(left.sequence, SEQUENCE_CLEAN);

    left.sequence = SEQUENCE_FSCK;
    set_block(&device, &left);
    let asked = Instant::now();
    assert_busy(WritableVolume::open(device, &options("host-b")), "e2fsck");
    assert!(asked.elapsed() < Duration::from_secs(2));
}

/// Somebody else takes the volume: nothing is written to it any more, no marks either.
#[test]
fn a_volume_that_is_lost() {
    if tools(&["mke2fs"]).is_none() {
        return;
    }
    let memory = Arc::new(Memory::new(scratch().bytes()));
    let device: Arc<dyn BlockDevice> = memory.clone();
    let volume = WritableVolume::open(Arc::clone(&device), &options("host-a")).unwrap();
    let root = crate::InodeNumber::ROOT;
    volume
        .create(root, b"made", &NewInode::file(0o644))
        .unwrap();
    let mut taken = block(&device);
    taken.sequence = 77;
    taken.node[..7].copy_from_slice(b"host-b\0");
    set_block(&device, &taken);
    let image = memory.snapshot();
    let since = Instant::now();
    while !volume.is_read_only() {
        assert!(since.elapsed() < Duration::from_secs(8), "not noticed");
        std::thread::sleep(Duration::from_millis(20));
    }
    let refused = volume.create(root, b"more", &NewInode::file(0o644));
    let error = refused.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Stopped(_)), "{error}");
    assert!(error.to_string().contains("host-b"), "{error}");
    assert!(volume.sync().is_err());
    assert!(volume.close().is_err());
    assert!(memory.snapshot() == image, "written to after the loss");
}

/// Opening fails when the volume has been taken: before its journal is used, and after.
#[test]
fn a_volume_that_cannot_be_opened_is_given_back() {
    if tools(&["mke2fs"]).is_none() {
        return;
    }
    let no_log = |device: &Arc<Faulty>| {
        let volume = Volume::open(device.clone(), &OpenOptions::default()).unwrap();
        let log = volume.inode(crate::InodeNumber::JOURNAL).unwrap();
        let ExtentState::Written(place) = volume.map(&log, FileBlock(0)).unwrap().state else {
            panic!("a journal without blocks");
        };
        device.write_at(&[0; 1024], place.0 * 1024).unwrap();
    };
    // Without a journal opening ends with a commit. Taking the volume is one flush.
    let no_change = |device: &Arc<Faulty>| {
        device.set_fault(
            Operation::Flush,
            Some(Fault::Once(device.count(Operation::Flush) + 1)),
        );
    };
    type MakeFail<'f> = &'f (dyn Fn(&Arc<Faulty>) + Sync);
    let failing: [(&[&str], MakeFail<'_>); 2] = [
        (&["-b", "1024", "-O", "mmp"], &no_log),
        (&["-b", "1024", "-O", "mmp,^has_journal"], &no_change),
    ];
    std::thread::scope(|scope| {
        for (args, make_fail) in failing {
            scope.spawn(move || {
                let memory = Arc::new(Memory::new(Scratch::new(args).bytes()));
                let faulty = Arc::new(Faulty::new(memory));
                make_fail(&faulty);
                let device: Arc<dyn BlockDevice> = faulty.clone();
                let opened = WritableVolume::open(Arc::clone(&device), &options("host-a"));
                let error = opened.expect_err("the volume was opened");
                assert!(!matches!(error.kind(), ErrorKind::Busy(_)), "{error}");
                let left = block(&device);
                assert_eq!(&left.node[..7], b"host-a\0", "{args:?}: not taken");
                assert_eq!(left.sequence, SEQUENCE_CLEAN, "{args:?}");
            });
        }
    });
}

/// An image file that Linux has as well.
#[derive(Debug)]
struct Shared(File);

impl BlockDevice for Shared {
    fn size_bytes(&self) -> u64 {
        self.0.metadata().unwrap().len()
    }

    fn is_read_only(&self) -> bool {
        false
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> images::Result<()> {
        self.0.read_exact_at(buf, offset).unwrap();
        Ok(())
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> images::Result<()> {
        panic!("{} bytes written at {offset}", buf.len());
    }

    fn write_zeroes(&self, offset: u64, _: u64) -> images::Result<()> {
        panic!("zeros written at {offset}");
    }

    fn discard(&self, _: u64, _: u64) -> images::Result<()> {
        Ok(())
    }

    fn flush(&self) -> images::Result<()> {
        Ok(())
    }
}

#[test]
fn a_volume_that_linux_has_mounted() {
    if tools_and_mounts().is_none() {
        return;
    }
    let scratch = scratch();
    let mount = scratch.mount("rw");
    let file = File::options().read(true).open(scratch.image()).unwrap();
    let device: Arc<dyn BlockDevice> = Arc::new(Shared(file));
    let node = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let opened = WritableVolume::open(device, &options("extmap"));
    assert_busy(opened, node.trim());
    drop(mount);
}

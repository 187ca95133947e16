//! Logs this program wrote, replayed by e2fsck: blocks that begin like the log's own, revoked
//! blocks, transactions of several descriptor blocks; in all forms of the log.

use std::process::Command;
use std::sync::Arc;

use images::{BlockDevice, Memory};

use crate::cache::{Role, RoleKind};
use crate::format::journal::JBD2_MAGIC_BYTES;
use crate::testing::Fixture;
use crate::types::{FsBlock, InodeNumber};
use crate::volume::{OpenOptions, Volume};

const BLOCK_BYTES: usize = 1024;
/// Free blocks of every image here.
const FIRST: u64 = 12_000;
const COUNT: u64 = 100;

/// Every third block begins with the log's magic number, one of them holds only that.
fn content(number: u64) -> Box<[u8]> {
    let fill = u8::try_from(number % 250 + 1).unwrap();
    let mut bytes = vec![if number.is_multiple_of(9) { 0 } else { fill }; BLOCK_BYTES];
    if number.is_multiple_of(3) {
        bytes[..4].copy_from_slice(&JBD2_MAGIC_BYTES);
    }
    bytes.into_boxed_slice()
}

fn read(image: &[u8], number: u64) -> &[u8] {
    let start = number as usize * BLOCK_BYTES;
    &image[start..start + BLOCK_BYTES]
}

fn replayed_by_e2fsck(image: &[u8]) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("image");
    std::fs::write(&path, image).unwrap();
    let output = Command::new("e2fsck")
        .arg("-fy")
        .arg(&path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("recovering journal"), "{said}");
    assert!(!said.contains("corrupt"), "{said}");
    std::fs::read(&path).unwrap()
}

fn seen_by_us(image: Vec<u8>, number: u64) -> Vec<u8> {
    let device: Arc<dyn BlockDevice> = Arc::new(Memory::read_only(image));
    let volume = Volume::open(device, &OpenOptions::default()).unwrap();
    let mut bytes = vec![0; BLOCK_BYTES];
    let offset = number * BLOCK_BYTES as u64;
    volume.device().read_at(&mut bytes, offset).unwrap();
    bytes
}

#[test]
fn what_is_written_to_the_log_is_what_e2fsck_replays() {
    for features in [
        "^metadata_csum,^64bit",
        "^metadata_csum,64bit",
        "metadata_csum,^64bit",
        "metadata_csum,64bit",
    ] {
        let options = ["-t", "ext4", "-b", "1024", "-J", "size=1", "-O", features];
        let Some(fixture) = Fixture::new(&options, "16M") else {
            return;
        };
        let writer = &fixture.writer;
        let role = Role::of_inode(RoleKind::IndirectBlock, InodeNumber(12), 0);
        let mut change = writer.begin(COUNT as usize).unwrap();
        for number in FIRST..FIRST + COUNT {
            change.create(FsBlock(number), role, content(number));
        }
        change.finish();
        writer.sync().unwrap();

        // Freed, and used for content that the log knows nothing of.
        let revoked = [FIRST, FIRST + 1, FIRST + 50];
        let mut change = writer.begin(4).unwrap();
        for number in revoked {
            change.handle.forget(FsBlock(number));
        }
        change.finish();
        writer.sync().unwrap();
        let later = vec![0x77; BLOCK_BYTES];
        let device = writer.store.cache.device();
        for number in revoked {
            let offset = number * BLOCK_BYTES as u64;
            device.write_at(&later, offset).unwrap();
        }
        // Revoked, but logged again later.
        let mut change = writer.begin(4).unwrap();
        change.create(FsBlock(FIRST + 1), role, content(FIRST + 4));
        change.finish();
        writer.sync().unwrap();

        let dirty = fixture.image();
        let replayed = replayed_by_e2fsck(&dirty);
        for number in FIRST..FIRST + COUNT {
            let expected = match number - FIRST {
                0 | 50 => later.clone().into_boxed_slice(),
                1 => content(FIRST + 4),
                _ => content(number),
            };
            assert_eq!(read(&replayed, number), &*expected, "{features}: {number}");
            if number % 10 < 3 {
                assert_eq!(seen_by_us(dirty.clone(), number), *expected, "{number}");
            }
        }
    }
}

//! Block devices of the system, by way of loop devices. Skipped, with the
//! reason on the last line, where there are none.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::fs;
use std::os::unix::fs::FileTypeExt;

use common::{Loop, pattern, read};
use images::{Error, Mapped, OpenOptions, open};
use tempfile::NamedTempFile;

const SIZE: usize = 4 << 20;

/// A loop device over a file with the pattern in it.
fn attached(sector_bytes: u32) -> Option<(NamedTempFile, Loop)> {
    let file = NamedTempFile::new().unwrap();
    fs::write(&file, pattern(SIZE)).unwrap();
    match Loop::attach(file.path(), sector_bytes) {
        Ok(device) => Some((file, device)),
        Err(reason) => {
            skipping::record(&format!("no loop device: {reason}"));
            None
        }
    }
}

#[test]
fn size_sector_and_bytes_are_the_devices() {
    for sector_bytes in [512, 4096] {
        let Some((file, attached)) = attached(sector_bytes) else {
            return;
        };
        let metadata = fs::metadata(&attached.0).unwrap();
        assert!(metadata.file_type().is_block_device());
        let device = open(&attached.0, &OpenOptions::default()).unwrap();
        assert_eq!(device.size_bytes(), SIZE as u64);
        assert_eq!(device.logical_sector_bytes(), sector_bytes);
        assert!(!device.is_read_only());
        assert_eq!(
            read(&*device, 12_345, 54_321).unwrap(),
            pattern(SIZE)[12_345..66_666]
        );
        assert!(matches!(
            device.mapped_at(0, 7),
            Ok(Mapped::No { len_bytes: 7 })
        ));
        assert_eq!(device.as_file().unwrap().base_offset, 0);
        assert!(read(&*device, SIZE as u64, 1).is_err());

        let mut expected = pattern(SIZE);
        device.write_at(&[9; 1000], 1001).unwrap();
        expected[1001..2001].fill(9);
        // Ends inside sectors, a whole sector, inside one sector, nothing.
        for (offset, len) in [(10_001, 1_000_001), (2 << 20, 4096), (1_100_001, 5), (3, 0)] {
            device.write_zeroes(offset, len).unwrap();
            expected[offset as usize..(offset + len) as usize].fill(0);
        }
        device.discard(3 << 20, 1 << 19).unwrap();
        device.discard((3 << 20) + 1, 10).unwrap();
        device.flush().unwrap();
        assert!(device.discard(SIZE as u64, 1).is_err());
        assert!(read(&*device, 0, 3 << 20).unwrap() == expected[..3 << 20]);
        assert!(fs::read(&file).unwrap()[..3 << 20] == expected[..3 << 20]);
        let tail = (3 << 20) + (1 << 19);
        assert!(fs::read(&file).unwrap()[tail..] == expected[tail..]);
    }
}

#[test]
fn a_claimed_device_is_in_use() {
    let Some((_file, attached)) = attached(512) else {
        return;
    };
    let to_read = OpenOptions {
        read_only: true,
        ..OpenOptions::default()
    };
    let first = open(&attached.0, &to_read).unwrap();
    assert!(first.is_read_only());
    assert!(matches!(first.write_at(&[1], 0), Err(Error::ReadOnly)));
    assert!(matches!(first.discard(0, 512), Err(Error::ReadOnly)));
    for options in [to_read.clone(), OpenOptions::default()] {
        assert!(matches!(
            open(&attached.0, &options),
            Err(Error::InUse { .. })
        ));
    }
    drop(first);
    open(&attached.0, &to_read).unwrap();
}

#[test]
fn a_device_that_others_hold_is_zeroed_by_writing() {
    let Some((_file, attached)) = attached(512) else {
        return;
    };
    let _holder = open(&attached.0, &OpenOptions::default()).unwrap();
    let unclaimed = OpenOptions {
        unclaimed: true,
        ..OpenOptions::default()
    };
    let device = open(&attached.0, &unclaimed).unwrap();
    // While somebody has the device claimed Linux drops no page that is not written
    // back, and answers EBUSY to both.
    device.write_at(&[9; 8192], 500_000).unwrap();
    device.write_zeroes(1000, 1_000_000).unwrap();
    device.write_at(&[9; 8192], 3 << 20).unwrap();
    device.discard(2 << 20, 2 << 20).unwrap();
    let mut expected = pattern(SIZE);
    expected[1000..1_001_000].fill(0);
    let range = ..2 << 20;
    assert!(read(&*device, 0, 2 << 20).unwrap() == expected[range]);
}

//! Regular files: kinds, locks, ranges, mappings, files changed behind our back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;

use common::{pattern, read, read_mapping};
use images::{BlockDevice, Error, OpenOptions, open};
use tempfile::{NamedTempFile, TempDir};

fn image(bytes: &[u8]) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    fs::write(&file, bytes).unwrap();
    file
}

fn open_to_read(path: impl AsRef<Path>) -> images::Result<Arc<dyn BlockDevice>> {
    let options = OpenOptions {
        read_only: true,
        ..OpenOptions::default()
    };
    open(path, &options)
}

fn open_to_write(path: impl AsRef<Path>) -> images::Result<Arc<dyn BlockDevice>> {
    open(path, &OpenOptions::default())
}

#[test]
fn what_cannot_hold_a_file_system_is_named() {
    let dir = TempDir::new().unwrap();
    let socket = dir.path().join("socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    let fifo = dir.path().join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).unwrap();
    let cases = [
        (dir.path(), "a directory"),
        (Path::new("/dev/null"), "a character device"),
        (socket.as_path(), "a socket"),
        (fifo.as_path(), "a FIFO"),
    ];
    for (path, expected) in cases {
        match open_to_read(path) {
            Err(Error::WrongType { found, path: named }) => {
                assert_eq!(found, expected);
                assert_eq!(named, path);
            }
            other => panic!("{}: {other:?}", path.display()),
        }
    }
    let missing = open_to_read(dir.path().join("missing")).unwrap_err();
    assert!(matches!(missing, Error::Open { source, .. } if source.kind() == ErrorKind::NotFound));
}

#[test]
fn links_and_descriptors_are_followed() {
    let file = image(&pattern(8192));
    let dir = TempDir::new().unwrap();
    let link = dir.path().join("link");
    symlink(file.path(), &link).unwrap();
    assert_eq!(open_to_read(&link).unwrap().size_bytes(), 8192);
    let held = File::open(file.path()).unwrap();
    let by_number = format!("/proc/self/fd/{}", held.as_raw_fd());
    fs::remove_file(file.path()).unwrap();
    let device = open_to_read(by_number).unwrap();
    assert_eq!(read(&*device, 4096, 8).unwrap(), pattern(8192)[4096..4104]);
}

#[test]
fn readers_share_and_a_writer_is_alone() {
    let file = image(&[0; 4096]);
    let in_use = |result: images::Result<Arc<dyn BlockDevice>>| {
        let error = result.expect_err("it was not refused");
        assert!(matches!(error, Error::InUse { .. }), "{error}");
        assert!(
            error
                .to_string()
                .contains(&format!("is in use: process {}", std::process::id()))
        );
    };
    let first = open_to_read(&file).unwrap();
    let second = open_to_read(&file).unwrap();
    in_use(open_to_write(&file));
    drop(first);
    in_use(open_to_write(&file));
    drop(second);
    let writer = open_to_write(&file).unwrap();
    in_use(open_to_read(&file));
    in_use(open_to_write(&file));
    drop(writer);
    open_to_write(&file).unwrap();
}

#[test]
fn every_edge_of_the_range_is_checked() {
    for read_only in [true, false] {
        let file = image(&pattern(5000));
        let options = OpenOptions {
            read_only,
            ..OpenOptions::default()
        };
        let device = open(&file, &options).unwrap();
        assert_eq!(device.size_bytes(), 5000);
        assert_eq!(device.logical_sector_bytes(), 512);
        assert_eq!(device.is_read_only(), read_only);
        assert_eq!(read(&*device, 4990, 10).unwrap(), pattern(5000)[4990..]);
        device.read_at(&mut [], 5000).unwrap();
        for offset in [4991, 5000, 5001, i64::MAX as u64, u64::MAX - 9, u64::MAX] {
            let outside = |error| {
                matches!(
                    error,
                    Error::OutOfRange {
                        size: 5000,
                        len: 10,
                        ..
                    }
                )
            };
            assert!(outside(read(&*device, offset, 10).unwrap_err()));
            assert!(outside(device.mapped_at(offset, 10).unwrap_err()));
            if !read_only {
                assert!(outside(device.write_at(&[1; 10], offset).unwrap_err()));
                assert!(outside(device.write_zeroes(offset, 10).unwrap_err()));
                assert!(outside(device.discard(offset, 10).unwrap_err()));
            }
            device.prefetch(offset, u64::MAX);
        }
        assert!(device.mapped_at(0, 0).is_err());
        assert!(device.mapped_at(0, u64::MAX).is_err());
        device.prefetch(0, 5000);
        assert_eq!(fs::read(&file).unwrap(), pattern(5000));
    }
}

#[test]
fn a_device_open_for_reading_refuses_changes() {
    let file = image(&[7; 4096]);
    let device = open_to_read(&file).unwrap();
    assert!(matches!(device.write_at(&[1], 0), Err(Error::ReadOnly)));
    assert!(matches!(device.write_zeroes(0, 1), Err(Error::ReadOnly)));
    assert!(matches!(device.discard(0, 1), Err(Error::ReadOnly)));
    device.flush().unwrap();
    assert_eq!(fs::read(&file).unwrap(), [7; 4096]);
}

#[test]
fn changes_reach_the_file() {
    let file = image(&pattern(1 << 20));
    let device = open_to_write(&file).unwrap();
    device.write_at(&[1, 2, 3], 4095).unwrap();
    device.write_zeroes(10_001, 600_001).unwrap();
    device.write_zeroes(5, 0).unwrap();
    device.discard(700_000, 0).unwrap();
    device.discard(1_000_000, 20_000).unwrap();
    device.flush().unwrap();
    let mut expected = pattern(1 << 20);
    expected[4095..4098].copy_from_slice(&[1, 2, 3]);
    expected[10_001..610_002].fill(0);
    let found = fs::read(&file).unwrap();
    assert_eq!(found.len(), 1 << 20);
    assert!(found[..1_000_000] == expected[..1_000_000]);
    assert!(found[1_020_000..] == expected[1_020_000..]);
    assert_eq!(read(&*device, 4094, 5).unwrap(), found[4094..4099]);
    let mapped = device.mapped_at(4094, 5).unwrap();
    assert_eq!(read_mapping(&mapped).unwrap(), found[4094..4099]);
}

#[test]
fn discarding_gives_room_back() {
    let file = image(&vec![1; 1 << 20]);
    let device = open_to_write(&file).unwrap();
    device.flush().unwrap();
    let before = fs::metadata(&file).unwrap().blocks();
    device.discard(0, 1 << 20).unwrap();
    let after = fs::metadata(&file).unwrap().blocks();
    if read(&*device, 0, 1).unwrap() == [1] {
        skipping::record("the file system of the temporary directory punches no holes");
        return;
    }
    assert!(after < before, "{before} blocks before, {after} after");
}

#[test]
fn sparse_files_read_as_zeros() {
    let file = NamedTempFile::new().unwrap();
    let size = 1 << 40;
    if let Err(error) = file.as_file().set_len(size) {
        skipping::record(&format!("no sparse file of 1 TiB here: {error}"));
        return;
    }
    for read_only in [false, true] {
        let options = OpenOptions {
            read_only,
            ..OpenOptions::default()
        };
        let device = open(&file, &options).unwrap();
        assert_eq!(device.size_bytes(), size);
        assert_eq!(read(&*device, size - 4096, 4096).unwrap(), vec![0; 4096]);
        if !read_only {
            device.write_at(b"end", size - 3).unwrap();
            device.write_at(&[0; 3], size - 3).unwrap();
        }
    }
}

#[test]
fn an_empty_file_opens_and_holds_nothing() {
    let file = image(&[]);
    let device = open_to_read(&file).unwrap();
    assert_eq!(device.size_bytes(), 0);
    assert!(read(&*device, 0, 1).is_err());
    assert!(device.mapped_at(0, 1).is_err());
    device.read_at(&mut [], 0).unwrap();
}

#[test]
fn the_mapping_holds_the_files_bytes() {
    let file = image(&pattern(100_000));
    let device = open_to_read(&file).unwrap();
    for (offset, len) in [(0, 100_000), (99_999, 1), (4095, 8194)] {
        let mapped = device.mapped_at(offset, len).unwrap();
        let expected = &pattern(100_000)[offset as usize..(offset + len) as usize];
        assert_eq!(read_mapping(&mapped).unwrap(), expected);
    }
    let file = device.as_file().unwrap();
    assert_eq!(file.base_offset, 0);
    assert_eq!(rustix::fs::fstat(file.fd).unwrap().st_size, 100_000);
}

/// A file cut short while it is mapped, as `truncate` by anybody can do at any
/// time: reads fail, and system calls on the mapping fail; nobody is killed.
#[test]
fn a_file_cut_short_is_an_error() {
    let file = image(&pattern(64 * 1024));
    let device = open_to_read(&file).unwrap();
    file.as_file().set_len(8192).unwrap();
    assert_eq!(device.size_bytes(), 64 * 1024);
    assert_eq!(read(&*device, 4096, 4096).unwrap(), pattern(8192)[4096..]);
    match read(&*device, 4096, 8192).unwrap_err() {
        Error::Io {
            operation: "read",
            offset: 4096,
            len: 8192,
            source,
        } => assert_eq!(source.kind(), ErrorKind::UnexpectedEof),
        other => panic!("{other}"),
    }
    let kept = device.mapped_at(4096, 4096).unwrap();
    assert_eq!(read_mapping(&kept).unwrap(), pattern(8192)[4096..]);
    let lost = device.mapped_at(32 * 1024, 4096).unwrap();
    read_mapping(&lost).expect_err("bytes past the end of the file");
}

#[test]
fn a_file_grown_later_keeps_its_size() {
    let file = image(&[1; 4096]);
    let device = open_to_read(&file).unwrap();
    file.as_file().set_len(8192).unwrap();
    assert_eq!(device.size_bytes(), 4096);
    assert!(matches!(
        read(&*device, 4096, 1),
        Err(Error::OutOfRange { .. })
    ));
}

#[test]
fn an_offset_is_applied_and_checked() {
    let file = image(&pattern(10_000));
    let at = |offset_bytes| {
        let options = OpenOptions {
            read_only: true,
            offset_bytes: Some(offset_bytes),
            partition: None,
            ..OpenOptions::default()
        };
        open(&file, &options)
    };
    let device = at(1234).unwrap();
    assert_eq!(device.size_bytes(), 8766);
    assert_eq!(read(&*device, 0, 100).unwrap(), pattern(10_000)[1234..1334]);
    assert_eq!(at(10_000).unwrap().size_bytes(), 0);
    for offset in [10_001, u64::MAX] {
        assert!(matches!(at(offset), Err(Error::OutOfRange { .. })));
    }
}

#[test]
fn a_hole_is_known_where_the_host_has_holes() {
    let file = NamedTempFile::new().unwrap();
    file.as_file().set_len(1 << 20).unwrap();
    let device = open_to_write(file.path()).unwrap();
    let has_holes = device.is_hole(0, 1 << 20);
    device.write_at(&[7; 10], 700_000).unwrap();
    assert!(!device.is_hole(0, 1 << 20));
    assert!(!device.is_hole(699_999, 100));
    assert!(!device.is_hole(0, (1 << 20) + 1), "outside");
    assert_eq!(device.is_hole(0, 65536), has_holes);
    let window = images::Window::new(device, 1 << 19, None).unwrap();
    assert!(!window.is_hole(0, 1 << 19));
    assert_eq!(window.is_hole(0, 65536), has_holes);
}

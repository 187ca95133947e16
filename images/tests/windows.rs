//! Windows, windows of windows, and what they pass on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::sync::Arc;

use common::{pattern, read, read_mapping};
use images::{BlockDevice, Error, Memory, OpenOptions, Window, open};
use tempfile::NamedTempFile;

fn memory(len: usize) -> Arc<dyn BlockDevice> {
    Arc::new(Memory::read_only(pattern(len)))
}

#[test]
fn a_window_ends_on_the_device() {
    let inner = memory(1000);
    for (offset, len, size) in [
        (0, None, 1000),
        (1000, None, 0),
        (1, Some(999), 999),
        (1000, Some(0), 0),
        (10, Some(20), 20),
    ] {
        let window = Window::new(Arc::clone(&inner), offset, len).unwrap();
        assert_eq!(window.size_bytes(), size);
        assert_eq!(window.offset_bytes(), offset);
    }
    for (offset, len) in [
        (1001, None),
        (u64::MAX, None),
        (0, Some(1001)),
        (1, Some(1000)),
        (1001, Some(0)),
        (2, Some(u64::MAX)),
        (u64::MAX, Some(u64::MAX)),
    ] {
        let error = Window::new(Arc::clone(&inner), offset, len).unwrap_err();
        assert!(matches!(error, Error::OutOfRange { size: 1000, .. }));
    }
}

#[test]
fn windows_of_windows_add_up_and_keep_their_edges() {
    let outer = Arc::new(Window::new(memory(1000), 100, Some(500)).unwrap());
    let inner = Window::new(outer, 50, Some(100)).unwrap();
    let bytes = &pattern(1000)[150..250];
    assert_eq!(read(&inner, 0, 100).unwrap(), bytes);
    assert_eq!(
        read_mapping(&inner.mapped_at(0, 100).unwrap()).unwrap(),
        bytes
    );
    assert_eq!(read(&inner, 99, 1).unwrap(), bytes[99..]);
    for (offset, len) in [(100, 1), (99, 2), (u64::MAX, 1), (u64::MAX - 100, 100)] {
        let refused = |error| matches!(error, Error::OutOfRange { size: 100, .. });
        assert!(refused(read(&inner, offset, len).unwrap_err()));
        assert!(refused(inner.mapped_at(offset, len as u64).unwrap_err()));
        inner.prefetch(offset, len as u64);
    }
    assert!(matches!(
        inner.mapped_at(7, 0),
        Err(Error::OutOfRange {
            offset: 7,
            len: 0,
            size: 100
        })
    ));
    assert!(inner.is_read_only());
    assert!(inner.as_file().is_none());
}

#[test]
fn changes_stay_inside() {
    let inner = Arc::new(Memory::zeroed(30));
    let window = Window::new(Arc::clone(&inner) as _, 10, Some(10)).unwrap();
    window.write_at(&[1; 10], 0).unwrap();
    window.write_zeroes(4, 2).unwrap();
    window.discard(0, 10).unwrap();
    window.flush().unwrap();
    assert!(window.write_at(&[2; 2], 9).is_err());
    assert!(window.write_zeroes(10, 1).is_err());
    assert!(window.discard(0, 11).is_err());
    let mut expected = [0; 30];
    expected[10..20].fill(1);
    expected[14..16].fill(0);
    assert_eq!(inner.snapshot(), expected);
}

#[test]
fn the_file_behind_is_shifted_too() {
    let file = NamedTempFile::new().unwrap();
    std::fs::write(&file, pattern(9000)).unwrap();
    let options = OpenOptions {
        read_only: true,
        offset_bytes: Some(1000),
        partition: None,
        ..OpenOptions::default()
    };
    let device = open(&file, &options).unwrap();
    let window = Window::new(device, 24, Some(4096)).unwrap();
    assert_eq!(window.as_file().unwrap().base_offset, 1024);
    let mapped = window.mapped_at(1, 4095).unwrap();
    assert_eq!(read_mapping(&mapped).unwrap(), pattern(9000)[1025..5120]);
    window.prefetch(0, u64::MAX);
}

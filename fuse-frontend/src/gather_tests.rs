//! Gathered replies hold the file's bytes, however they are cut up.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;

use super::*;
use crate::replies::{self, PIECES_MAX, Reply};
use crate::scratch::PageBuffer;

const SIZE: usize = 64 << 10;

/// Content that differs from place to place.
fn content() -> Vec<u8> {
    (0..SIZE as u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect()
}

/// A device without addresses.
#[derive(Debug)]
struct Unmapped(Vec<u8>);

impl BlockDevice for Unmapped {
    fn size_bytes(&self) -> u64 {
        self.0.len() as u64
    }
    fn is_read_only(&self) -> bool {
        true
    }
    fn read_at(&self, buf: &mut [u8], offset: u64) -> images::Result<()> {
        let start = offset as usize;
        buf.copy_from_slice(&self.0[start..start + buf.len()]);
        Ok(())
    }
    fn write_at(&self, _: &[u8], _: u64) -> images::Result<()> {
        Err(images::Error::ReadOnly)
    }
    fn write_zeroes(&self, _: u64, _: u64) -> images::Result<()> {
        Err(images::Error::ReadOnly)
    }
    fn discard(&self, _: u64, _: u64) -> images::Result<()> {
        Ok(())
    }
    fn flush(&self) -> images::Result<()> {
        Ok(())
    }
}

/// What a reply made of these segments carries.
fn gathered(device: &dyn BlockDevice, segments: &[Segment], size: usize) -> Vec<u8> {
    let mut buffer = PageBuffer::new(1 << 20).unwrap();
    let gather = Gather::new(
        device,
        Pieces::reusing(Vec::new()),
        buffer.bytes_mut(),
        size,
    );
    let pieces = gather.collect(segments).unwrap();
    assert!(pieces.room() <= PIECES_MAX);
    let mut file =
        File::from(rustix::fs::memfd_create("reply", rustix::fs::MemfdFlags::CLOEXEC).unwrap());
    replies::send(file.as_fd(), 1, Reply::Pieces(pieces))
        .outcome
        .unwrap();
    file.flush().unwrap();
    let mut bytes = Vec::new();
    rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(16)).unwrap();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

/// Segments of `step` bytes, every `n`th a hole, and what they mean.
fn cut_up(step: usize, every: usize) -> (Vec<Segment>, Vec<u8>) {
    let content = content();
    let mut segments = Vec::new();
    let mut expected = Vec::new();
    for (index, chunk) in content.chunks(step).enumerate() {
        let len_bytes = chunk.len() as u64;
        match index % every {
            0 => {
                segments.push(Segment::Zero { len_bytes });
                expected.resize(expected.len() + chunk.len(), 0);
            }
            1 => {
                segments.push(Segment::Inline(chunk.to_vec()));
                expected.extend_from_slice(chunk);
            }
            _ => {
                let offset = (index * step) as u64;
                segments.push(Segment::Device { offset, len_bytes });
                expected.extend_from_slice(chunk);
            }
        }
    }
    (segments, expected)
}

#[test]
fn any_cut_gives_the_same_bytes() {
    let device = Unmapped(content());
    // 16 bytes a piece: 4096 pieces, four times what one call takes.
    for (step, every) in [
        (4096, 2),
        (4096, 3),
        (512, 4),
        (63, 3),
        (16, 2),
        (16, 3),
        (16, 7),
    ] {
        let (segments, expected) = cut_up(step, every);
        let bytes = gathered(&device, &segments, 1 << 20);
        assert!(bytes == expected, "step {step}, every {every}");
    }
}

#[test]
fn holes_larger_than_the_page_of_zeros() {
    let device = Unmapped(Vec::new());
    let len_bytes = 1 << 20;
    let bytes = gathered(&device, &[Segment::Zero { len_bytes }], 1 << 20);
    assert_eq!(bytes.len(), 1 << 20);
    assert!(bytes.iter().all(|&byte| byte == 0));
}

#[test]
fn never_more_than_the_request_has_room_for() {
    let device = Unmapped(content());
    let (segments, expected) = cut_up(100, 3);
    for size in [0, 1, 99, 100, 101, 5000] {
        let bytes = gathered(&device, &segments, size);
        assert!(bytes == expected[..size], "{size} bytes");
    }
    let endless = [Segment::Zero {
        len_bytes: u64::MAX,
    }];
    assert_eq!(gathered(&device, &endless, 10_000).len(), 10_000);
}

//! A device in memory whose copies share what is equal: thousands of volumes are opened in
//! the same state, and few of their blocks change.

use anyhow::Result;
use images::{BlockDevice, Error};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

const CHUNK_BYTES: usize = 8 << 10;

type Chunk = [u8; CHUNK_BYTES];

/// The bytes of a device at one moment. Cheap to copy.
#[derive(Clone)]
pub struct Image {
    /// `None` for zeros.
    chunks: Arc<Vec<Option<Arc<Chunk>>>>,
}

impl std::fmt::Debug for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Image({} bytes)", self.size_bytes())
    }
}

impl Image {
    /// These bytes; a part of a chunk at the end counts as a whole one.
    pub fn new(bytes: &[u8]) -> Self {
        let chunks = bytes.chunks(CHUNK_BYTES).map(|bytes| {
            let mut chunk = [0; CHUNK_BYTES];
            chunk[..bytes.len()].copy_from_slice(bytes);
            bytes.iter().any(|&byte| byte != 0).then(|| Arc::new(chunk))
        });
        Self {
            chunks: Arc::new(chunks.collect()),
        }
    }

    /// Its length.
    pub fn size_bytes(&self) -> u64 {
        (self.chunks.len() * CHUNK_BYTES) as u64
    }

    /// A device that begins with these bytes.
    pub fn device(&self) -> Arc<CowDevice> {
        Arc::new(CowDevice {
            chunks: RwLock::new(self.chunks.to_vec()),
            size_bytes: self.size_bytes(),
        })
    }

    /// Writes them to a file, a hole where all is zero.
    pub fn write_to(&self, path: &Path) -> Result<()> {
        let file = File::create(path)?;
        file.set_len(self.size_bytes())?;
        for (chunk, at) in self.chunks.iter().zip((0u64..).step_by(CHUNK_BYTES)) {
            if let Some(chunk) = chunk {
                file.write_all_at(&chunk[..], at)?;
            }
        }
        Ok(())
    }
}

/// The device. Writes are visible at once and never durable.
pub struct CowDevice {
    chunks: RwLock<Vec<Option<Arc<Chunk>>>>,
    size_bytes: u64,
}

impl std::fmt::Debug for CowDevice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CowDevice({} bytes)", self.size_bytes)
    }
}

impl CowDevice {
    /// What it holds now.
    pub fn image(&self) -> Image {
        let chunks = self.chunks.read().unwrap_or_else(PoisonError::into_inner);
        Image {
            chunks: Arc::new(chunks.clone()),
        }
    }

    fn check(&self, offset: u64, len: u64) -> images::Result<()> {
        match offset.checked_add(len) {
            Some(end) if end <= self.size_bytes => Ok(()),
            _ => Err(Error::OutOfRange {
                offset,
                len,
                size: self.size_bytes,
            }),
        }
    }

    fn change(&self, offset: u64, len: u64, mut fill: impl FnMut(&mut [u8])) -> images::Result<()> {
        self.check(offset, len)?;
        let mut chunks = self.chunks.write().unwrap_or_else(PoisonError::into_inner);
        for (number, range) in parts(offset, len) {
            if let Some(chunk) = chunks.get_mut(number) {
                let chunk = chunk.get_or_insert_with(|| Arc::new([0; CHUNK_BYTES]));
                fill(&mut Arc::make_mut(chunk)[range]);
            }
        }
        Ok(())
    }
}

/// The chunks a range touches, and which bytes of each.
fn parts(offset: u64, len: u64) -> impl Iterator<Item = (usize, std::ops::Range<usize>)> {
    // Both lie in memory.
    let (start, end) = (offset as usize, (offset + len) as usize);
    (start / CHUNK_BYTES..end.div_ceil(CHUNK_BYTES)).map(move |number| {
        let first = number * CHUNK_BYTES;
        let within = |at: usize| at.clamp(first, first + CHUNK_BYTES) - first;
        (number, within(start)..within(end))
    })
}

impl BlockDevice for CowDevice {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn is_read_only(&self) -> bool {
        false
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> images::Result<()> {
        self.check(offset, buf.len() as u64)?;
        let chunks = self.chunks.read().unwrap_or_else(PoisonError::into_inner);
        let mut left = buf;
        let len = left.len() as u64;
        for (number, range) in parts(offset, len) {
            let (piece, rest) = left.split_at_mut(range.len());
            match chunks.get(number) {
                Some(Some(chunk)) => piece.copy_from_slice(&chunk[range]),
                _ => piece.fill(0),
            }
            left = rest;
        }
        Ok(())
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> images::Result<()> {
        let mut left = buf;
        self.change(offset, buf.len() as u64, |range| {
            let (piece, rest) = left.split_at(range.len());
            range.copy_from_slice(piece);
            left = rest;
        })
    }

    fn write_zeroes(&self, offset: u64, len: u64) -> images::Result<()> {
        self.change(offset, len, |range| range.fill(0))
    }

    /// What was discarded reads as rubbish.
    fn discard(&self, offset: u64, len: u64) -> images::Result<()> {
        self.change(offset, len, |range| range.fill(0xDB))
    }

    fn flush(&self) -> images::Result<()> {
        Ok(())
    }
}

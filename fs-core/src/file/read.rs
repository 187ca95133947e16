//! Where the bytes of a file's content lie, and reading them.

use crate::error::{Error, ErrorKind, Result};
use crate::format::inode::Inode;
use crate::format::inode_flags::InodeFlags;
use crate::inline;
use crate::mapping;
use crate::run::ExtentState;
use crate::store::Store;
use crate::types::{FileBlock, FileType, FsBlock};

/// A piece of a file's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// Bytes of the device ([`Volume::device`](crate::Volume::device)).
    Device {
        /// First byte on the device.
        offset: u64,
        /// Number of bytes, at least 1.
        len_bytes: u64,
    },
    /// Zeros.
    Zero {
        /// Number of bytes, at least 1.
        len_bytes: u64,
    },
    /// Bytes kept in metadata.
    Inline(Vec<u8>),
}

/// Appends the pieces of `offset .. offset + len_bytes`, cut at the file's end.
pub(crate) fn plan(
    store: &Store,
    file: &Inode,
    offset: u64,
    len_bytes: u64,
    segments: &mut Vec<Segment>,
) -> Result<()> {
    check_readable(file)?;
    let end = offset.saturating_add(len_bytes).min(file.size_bytes());
    if offset >= end {
        return Ok(());
    }
    if file.has_inline_data() {
        return plan_inline(file, offset, end, segments);
    }
    let block_bytes = u64::from(store.superblock.block_bytes);
    let mut at = offset;
    while at < end {
        let run = mapping::map_some(store, file, FileBlock(at / block_bytes))?;
        let run_end = run.end().0.saturating_mul(block_bytes).min(end);
        let len = run_end - at;
        match run.state {
            ExtentState::Written(FsBlock(start)) => {
                // Both lie in the volume, whose size in bytes fits 64 bits.
                push_device(segments, start * block_bytes + at % block_bytes, len);
            }
            ExtentState::Hole | ExtentState::Unwritten(_) => push_zero(segments, len),
        }
        at = run_end;
    }
    Ok(())
}

pub(super) fn check_readable(file: &Inode) -> Result<()> {
    match file.file_type() {
        FileType::Directory => return Err(ErrorKind::IsADirectory.into()),
        FileType::Regular | FileType::Symlink => {}
        _ => return Err(ErrorKind::InvalidInput("the file has no content to read").into()),
    }
    if file.flags().contains(InodeFlags::ENCRYPT) {
        return Err(Error::from(ErrorKind::Encrypted).context(format!("inode {}", file.number())));
    }
    Ok(())
}

fn plan_inline(file: &Inode, offset: u64, end: u64, segments: &mut Vec<Segment>) -> Result<()> {
    let content = inline::content(file)?;
    // `end` is at most the size, and content is memory: both fit.
    let start = usize::try_from(offset)
        .unwrap_or(usize::MAX)
        .min(content.len());
    let stop = usize::try_from(end)
        .unwrap_or(usize::MAX)
        .min(content.len());
    if let Some(piece) = content.get(start..stop).filter(|piece| !piece.is_empty()) {
        segments.push(Segment::Inline(piece.to_vec()));
    }
    let zeros = end - offset.max(content.len() as u64).min(end);
    push_zero(segments, zeros);
    Ok(())
}

fn push_zero(segments: &mut Vec<Segment>, len: u64) {
    if len == 0 {
        return;
    }
    if let Some(Segment::Zero { len_bytes }) = segments.last_mut() {
        *len_bytes += len;
    } else {
        segments.push(Segment::Zero { len_bytes: len });
    }
}

fn push_device(segments: &mut Vec<Segment>, start: u64, len: u64) {
    if let Some(Segment::Device { offset, len_bytes }) = segments.last_mut()
        && *offset + *len_bytes == start
    {
        *len_bytes += len;
    } else {
        segments.push(Segment::Device {
            offset: start,
            len_bytes: len,
        });
    }
}

/// Reads up to `buf.len()` bytes; less only at the file's end.
pub(crate) fn read(store: &Store, file: &Inode, buf: &mut [u8], offset: u64) -> Result<usize> {
    let mut segments = Vec::new();
    plan(store, file, offset, buf.len() as u64, &mut segments)?;
    let mut left = buf;
    let mut done = 0;
    for segment in segments {
        let len = match &segment {
            Segment::Device { len_bytes, .. } | Segment::Zero { len_bytes } => {
                usize::try_from(*len_bytes).unwrap_or(usize::MAX)
            }
            Segment::Inline(bytes) => bytes.len(),
        };
        let Some((piece, rest)) = left.split_at_mut_checked(len) else {
            break; // A plan is never longer than the buffer.
        };
        match segment {
            Segment::Device { offset, .. } => store.cache.device().read_at(piece, offset)?,
            Segment::Zero { .. } => piece.fill(0),
            Segment::Inline(bytes) => piece.copy_from_slice(&bytes),
        }
        left = rest;
        done += len;
    }
    Ok(done)
}

//! Which parts of a file hold data.

use std::os::fd::BorrowedFd;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

use crate::tree::DataRange;

/// The data of a file without holes.
pub(super) fn solid(size_bytes: u64) -> Vec<DataRange> {
    if size_bytes == 0 {
        return Vec::new();
    }
    vec![range(0, size_bytes)]
}

/// The data of a file as its file system tells it; the descriptor must be the
/// caller's alone, since its position is moved. A file system that cannot tell
/// has no holes.
pub(super) fn find(file: BorrowedFd<'_>, size_bytes: u64) -> rustix::io::Result<Vec<DataRange>> {
    let mut found: Vec<DataRange> = Vec::new();
    let mut at = 0;
    while at < size_bytes {
        let start = match seek(file, SeekFrom::Data(at)) {
            Ok(start) => start,
            // There is no more data.
            Err(Errno::NXIO) => break,
            Err(Errno::INVAL | Errno::OPNOTSUPP) if at == 0 => return Ok(solid(size_bytes)),
            Err(error) => return Err(error),
        };
        if start >= size_bytes {
            break;
        }
        let end = match seek(file, SeekFrom::Hole(start)) {
            Ok(end) => end.min(size_bytes),
            // It was cut short behind us; whoever reads it will notice.
            Err(Errno::NXIO) => size_bytes,
            Err(error) => return Err(error),
        };
        if end <= start {
            return Err(Errno::IO);
        }
        match found.last_mut() {
            Some(last) if last.offset + last.len == start => last.len += end - start,
            _ => found.push(range(start, end - start)),
        }
        at = end;
    }
    Ok(found)
}

fn range(offset: u64, len: u64) -> DataRange {
    DataRange {
        offset,
        len,
        source_offset: offset,
    }
}

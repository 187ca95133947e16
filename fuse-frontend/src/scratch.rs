//! A thread's own memory: allocated once, used by one request after the other.

use fs_core::{InodeNumber, Segment};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use crate::negotiate::REQUEST_BYTES_MAX;
use crate::sys::Piece;

const PAGE_BYTES: usize = 4096;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(4096))]
struct Page([u8; PAGE_BYTES]);

/// A buffer whose start is aligned to pages.
pub(crate) struct PageBuffer(Vec<Page>);

impl PageBuffer {
    /// Room for `len` bytes; `None` if there is no memory. Pages that are
    /// never used cost nothing but addresses.
    pub(crate) fn new(len: usize) -> Option<Self> {
        Page::new_vec_zeroed(len.div_ceil(PAGE_BYTES))
            .ok()
            .map(Self)
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        self.0.as_mut_slice().as_mut_bytes()
    }
}

/// What handlers build replies in.
pub(crate) struct Scratch {
    /// Directory records and attribute lists.
    pub(crate) listing: Vec<u8>,
    /// Where a file's bytes lie.
    pub(crate) segments: Vec<Segment>,
    /// Memory for a reply's list of pieces.
    pub(crate) pieces: Vec<Piece<'static>>,
    /// Inodes held for the reply being made: should it fail to arrive, they are given up.
    pub(crate) granted: Vec<InodeNumber>,
    /// The file that is opened by the reply being made, and its handle: likewise.
    pub(crate) opened: Option<(InodeNumber, u64)>,
    /// File content that has no address in a mapping; the largest READ fits.
    pub(crate) data: PageBuffer,
}

impl Scratch {
    pub(crate) fn new() -> Option<Self> {
        Some(Self {
            listing: Vec::new(),
            segments: Vec::new(),
            pieces: Vec::new(),
            granted: Vec::new(),
            opened: None,
            data: PageBuffer::new(REQUEST_BYTES_MAX)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_buffers_are_aligned_and_large_enough() {
        let mut buffer = PageBuffer::new(5000).unwrap();
        assert_eq!(buffer.bytes_mut().len(), 8192);
        assert_eq!(buffer.bytes_mut().as_ptr().addr() % PAGE_BYTES, 0);
    }
}

//! Reading content: ranges of a file, holes as zeros.

use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;

use crate::{DataRange, Error, FileContent, OpenContent, Result};

/// A file's content, open.
#[derive(Debug)]
pub(super) struct Source<'a> {
    content: &'a FileContent,
    open: OpenContent<'a>,
}

impl<'a> Source<'a> {
    /// Opens the source of `content`.
    ///
    /// # Errors
    /// Those of [`FileContent::open`].
    pub(super) fn open(content: &'a FileContent) -> Result<Self> {
        let open = content.open()?;
        Ok(Self { content, open })
    }

    /// The open file; only to be used with explicit offsets.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.open.as_fd()
    }

    /// Fills `buf` with the content from `offset` on: data where there is some,
    /// zeros in holes and behind the end.
    ///
    /// # Errors
    /// `Source` if it cannot be read, `BadSource` if it has become shorter.
    pub(super) fn read(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        let mut done = offset;
        let mut rest = buf;
        for piece in self.pieces(offset, rest.len() as u64) {
            let (gap, behind) = split(rest, piece.offset - done);
            gap.fill(0);
            let (data, behind) = split(behind, piece.len);
            self.open.read_exact_at(data, piece.source_offset)?;
            done = piece.offset + piece.len;
            rest = behind;
        }
        rest.fill(0);
        Ok(())
    }

    /// The data in a range of the file, cut to it.
    pub(super) fn pieces(
        &self,
        offset: u64,
        len: u64,
    ) -> impl Iterator<Item = DataRange> + use<'a> {
        let end = offset.saturating_add(len);
        let data = &self.content.data;
        let first = data.partition_point(|range| range.offset.saturating_add(range.len) <= offset);
        data.iter()
            .skip(first)
            .take_while(move |range| range.offset < end)
            .map(move |range| {
                let start = range.offset.max(offset);
                DataRange {
                    offset: start,
                    len: range.offset.saturating_add(range.len).min(end) - start,
                    source_offset: range.source_offset.saturating_add(start - range.offset),
                }
            })
    }

    /// Checks that the file has not changed while it was read.
    ///
    /// # Errors
    /// Those of [`OpenContent::check`].
    pub(super) fn check(&self) -> Result<()> {
        self.open.check()
    }

    /// The error for a source that the system could not move.
    pub(super) fn failed(&self, error: std::io::Error) -> Error {
        self.open.failed(error)
    }
}

fn split(buf: &mut [u8], at: u64) -> (&mut [u8], &mut [u8]) {
    let at = usize::try_from(at).map_or(buf.len(), |at| at.min(buf.len()));
    buf.split_at_mut(at)
}

/// All of a small file.
///
/// # Errors
/// Those of [`Source::open`] and [`Source::read`].
pub(super) fn read_whole(content: &FileContent) -> Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(content.size_bytes).unwrap_or(0)];
    let source = Source::open(content)?;
    source.read(&mut bytes, 0)?;
    source.check()?;
    Ok(bytes)
}

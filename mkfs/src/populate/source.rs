//! Reading content: pieces of files that must still be what they were when the
//! tree was made.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use crate::{ContentSource, DataRange, Error, FileContent, Result};

/// A file's content, open.
#[derive(Debug)]
pub(super) struct Source<'a> {
    content: &'a FileContent,
    file: Handle<'a>,
}

#[derive(Debug)]
enum Handle<'a> {
    Own(File),
    Shared(&'a File),
}

/// The name of a source, for messages.
fn path_of(content: &FileContent) -> &Path {
    match &content.source {
        ContentSource::Path { path, .. } => path,
        ContentSource::Shared { member, .. } => member,
    }
}

impl<'a> Source<'a> {
    /// Opens the source of `content`.
    ///
    /// # Errors
    /// `Source` if it cannot be opened, `BadSource` if it is another file by
    /// now or has another size.
    pub(super) fn open(content: &'a FileContent) -> Result<Self> {
        let file = match &content.source {
            ContentSource::Shared { file, .. } => Handle::Shared(file),
            ContentSource::Path { path, identity } => {
                Handle::Own(open_same(path, *identity, content.size_bytes)?)
            }
        };
        Ok(Self { content, file })
    }

    /// The open file.
    pub(super) fn file(&self) -> &File {
        match &self.file {
            Handle::Own(file) => file,
            Handle::Shared(file) => file,
        }
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
            self.file()
                .read_exact_at(data, piece.source_offset)
                .map_err(|error| self.failed(error))?;
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

    /// The error of a read that failed or came to an early end.
    pub(super) fn failed(&self, error: io::Error) -> Error {
        let path = path_of(self.content).to_owned();
        if error.kind() == io::ErrorKind::UnexpectedEof {
            let why = "it has become shorter while it was copied".into();
            Error::BadSource { path, why }
        } else {
            Error::Source {
                path,
                source: error,
            }
        }
    }
}

fn split(buf: &mut [u8], at: u64) -> (&mut [u8], &mut [u8]) {
    let at = usize::try_from(at).map_or(buf.len(), |at| at.min(buf.len()));
    buf.split_at_mut(at)
}

/// Opens a file that must be the one that was looked at. O_NONBLOCK, should it
/// be a FIFO by now.
fn open_same(path: &Path, identity: (u64, u64), size_bytes: u64) -> Result<File> {
    let failed = |source| Error::Source {
        path: path.to_owned(),
        source,
    };
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = File::options()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .map_err(failed)?;
    let found = file.metadata().map_err(failed)?;
    let why = if (found.dev(), found.ino()) != identity {
        "it has been replaced by another file"
    } else if found.len() < size_bytes {
        "it has become shorter while it was copied"
    } else if found.len() > size_bytes {
        "it has become longer while it was copied"
    } else {
        return Ok(file);
    };
    Err(Error::BadSource {
        path: path.to_owned(),
        why: why.into(),
    })
}

/// All of a small file.
///
/// # Errors
/// Those of [`Source::open`] and [`Source::read`].
pub(super) fn read_whole(content: &FileContent) -> Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(content.size_bytes).unwrap_or(0)];
    Source::open(content)?.read(&mut bytes, 0)?;
    Ok(bytes)
}

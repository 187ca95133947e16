//! The bytes of an archive, at any offset, whatever they come from.
//!
//! An uncompressed file is read where it lies. Everything else passes once: it is
//! decompressed into an unnamed temporary file, only as far as the index asks
//! for, so that a stream that is no archive does not fill the disk first.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::header::{BLOCK_BYTES, Block, has_valid_checksum};
use super::{TarInput, compression};
use crate::{Error, Result};

/// Bytes moved into the spool at a time.
const SPOOL_PIECE_BYTES: usize = 256 << 10;
/// What may follow the end of an archive: padding to the length of a tape record.
/// More is not read: it may never end.
const TRAILER_BYTES_MAX: u64 = 64 << 20;

/// An archive that is being indexed.
pub(super) struct Archive {
    /// The archive, or its spooled form.
    pub(super) file: Arc<File>,
    /// For messages.
    pub(super) name: Arc<Path>,
    /// Bytes that can be read now.
    available: u64,
    /// Where more come from.
    rest: Option<Spool>,
}

/// A stream on its way into a temporary file.
struct Spool {
    stream: Box<dyn Read>,
    /// How it is compressed, for messages.
    form: Option<&'static str>,
    directory: PathBuf,
    buffer: Vec<u8>,
}

impl Archive {
    /// Opens an archive and finds out how it is compressed, by its first bytes.
    ///
    /// # Errors
    /// `Source` if it, or the directory for the temporary file, cannot be used;
    /// `BadSource` if it is one of the files in `exclude`, empty, or compressed in a
    /// way that is not supported.
    pub(super) fn open(
        input: TarInput,
        exclude: &[(u64, u64)],
        spool_directory: &Path,
    ) -> Result<Self> {
        let (mut file, name) = match input {
            TarInput::File { file, name } => (file, name),
            TarInput::Path(path) => {
                let file = File::open(&path).map_err(|source| Error::Source {
                    path: path.clone(),
                    source,
                })?;
                (file, path)
            }
        };
        let failed = |source| Error::Source {
            path: name.clone(),
            source,
        };
        let metadata = file.metadata().map_err(failed)?;
        let in_place = metadata.is_file() && file.stream_position().map_err(failed)? == 0;
        let start = first_block(&mut file).map_err(failed)?;
        let bad = |why: String| Error::BadSource {
            path: name.clone(),
            why,
        };
        if exclude.contains(&(metadata.dev(), metadata.ino())) {
            return Err(bad("is the image itself".to_owned()));
        }
        if start.is_empty() {
            return Err(bad("is empty: not a tar archive".to_owned()));
        }
        let is_plain =
            Block::try_from(start.as_slice()).is_ok_and(|block| has_valid_checksum(&block));
        let form = match is_plain {
            true => None,
            false => compression::recognise(&start).map_err(bad)?,
        };
        if in_place && form.is_none() {
            return Ok(Self {
                file: Arc::new(file),
                name: name.into(),
                available: metadata.len(),
                rest: None,
            });
        }
        let whole = BufReader::with_capacity(SPOOL_PIECE_BYTES, Cursor::new(start).chain(file));
        let stream = match form {
            None => Box::new(whole) as Box<dyn Read>,
            Some(form) => form.decoder(whole).map_err(failed)?,
        };
        let spool = tempfile::tempfile_in(spool_directory).map_err(|source| Error::Source {
            path: spool_directory.to_owned(),
            source,
        })?;
        Ok(Self {
            file: Arc::new(spool),
            name: name.into(),
            available: 0,
            rest: Some(Spool {
                stream,
                form: form.map(|form| form.name()),
                directory: spool_directory.to_owned(),
                buffer: vec![0; SPOOL_PIECE_BYTES],
            }),
        })
    }

    /// True if the archive has all bytes before `end`.
    ///
    /// # Errors
    /// `Source` if the stream, or the temporary file, fails; `BadSource` if the
    /// compressed data is damaged.
    pub(super) fn reaches(&mut self, end: u64) -> Result<bool> {
        while self.available < end {
            let Some(spool) = &mut self.rest else {
                return Ok(false);
            };
            let read = spool.read(&self.name)?;
            if read == 0 {
                self.rest = None;
                return Ok(false);
            }
            let piece = spool.buffer.get(..read).unwrap_or_default();
            self.file
                .write_all_at(piece, self.available)
                .map_err(|source| Error::Source {
                    path: spool.directory.clone(),
                    source,
                })?;
            self.available = self
                .available
                .saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
        }
        Ok(true)
    }

    /// The block at an offset; `None` at the very end of the archive.
    ///
    /// # Errors
    /// As `reaches`; `BadSource` if the block is not whole.
    pub(super) fn block(&mut self, offset: u64) -> Result<Option<Block>> {
        let mut block: Block = [0; 512];
        if self.reaches(offset.saturating_add(BLOCK_BYTES))? {
            self.read(&mut block, offset)?;
            return Ok(Some(block));
        }
        if self.available > offset {
            return Err(self.cut_off("in the middle of a header"));
        }
        Ok(None)
    }

    /// Fills the buffer with bytes that are there (`reaches`).
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        self.file
            .read_exact_at(buffer, offset)
            .map_err(|source| Error::Source {
                path: self.name.to_path_buf(),
                source,
            })
    }

    /// Reads a stream to its end after the end of the archive: the program that
    /// writes it must not be killed, and checksums of compressed data come last.
    /// `end` is where the mark is that ends the archive.
    ///
    /// # Errors
    /// As `reaches`; `BadSource` if the stream does not end soon.
    pub(super) fn finish(&mut self, end: u64) -> Result<()> {
        let Some(mut spool) = self.rest.take() else {
            return Ok(());
        };
        let mut trailer_bytes: u64 = 0;
        let mut only_zeros = end == 0;
        loop {
            let read = spool.read(&self.name)?;
            if read == 0 {
                return Ok(());
            }
            let piece = spool.buffer.get(..read).unwrap_or_default();
            only_zeros = only_zeros && piece.iter().all(|&byte| byte == 0);
            trailer_bytes = trailer_bytes.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
            if trailer_bytes > TRAILER_BYTES_MAX {
                return Err(self.bad(match only_zeros {
                    true => "is not a tar archive: it holds only zeros",
                    false => "goes on for more than 64 MiB behind its end",
                }));
            }
        }
    }

    pub(super) fn bad(&self, why: impl Into<String>) -> Error {
        Error::BadSource {
            path: self.name.to_path_buf(),
            why: why.into(),
        }
    }

    pub(super) fn cut_off(&self, place: &str) -> Error {
        self.bad(format!("is cut off {place}, at byte {}", self.available))
    }
}

impl Spool {
    /// The next bytes of the stream; 0 at its end.
    fn read(&mut self, name: &Path) -> Result<usize> {
        loop {
            match self.stream.read(&mut self.buffer) {
                Ok(read) => return Ok(read),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    let path = name.to_owned();
                    return Err(match self.form {
                        // What the system did not say, the decoder did.
                        Some(form) if source.raw_os_error().is_none() => Error::BadSource {
                            path,
                            why: format!("its {form} data cannot be decompressed: {source}"),
                        },
                        _ => Error::Source { path, source },
                    });
                }
            }
        }
    }
}

/// The first block, or what there is of it.
fn first_block(file: &mut File) -> io::Result<Vec<u8>> {
    let mut start = Vec::with_capacity(512);
    file.by_ref().take(BLOCK_BYTES).read_to_end(&mut start)?;
    Ok(start)
}

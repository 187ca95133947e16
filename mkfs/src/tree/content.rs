//! Opening the content of a file again, when it is to be moved.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::open::{self, open_path};
use super::{ContentSource, FileContent};
use crate::{Error, Result};

/// A file's content, ready to be read at the offsets its ranges name
/// (`DataRange::source_offset`), from any thread.
#[derive(Debug)]
pub struct OpenContent<'c> {
    file: Opened,
    content: &'c FileContent,
}

#[derive(Debug)]
enum Opened {
    Own(File),
    Shared(Arc<File>),
}

impl FileContent {
    /// Opens the content where it was found.
    ///
    /// # Errors
    /// `Source` if it cannot be opened, `BadSource` if it is not the file that was
    /// looked at, or has another size now.
    pub fn open(&self) -> Result<OpenContent<'_>> {
        let file = match &self.source {
            ContentSource::Shared { file, .. } => Opened::Shared(Arc::clone(file)),
            ContentSource::Path { path, .. } => Opened::Own(open_own(path)?),
        };
        let content = OpenContent {
            file,
            content: self,
        };
        content.check()?;
        Ok(content)
    }
}

fn open_own(path: &Path) -> Result<File> {
    let file = open_path(path, open::FILE).map_err(|error| Error::Source {
        path: path.to_owned(),
        source: error.into(),
    })?;
    Ok(File::from(file))
}

impl OpenContent<'_> {
    /// Checks that the file is still what it was when the tree was made; to be asked
    /// again when it has been read.
    ///
    /// # Errors
    /// `BadSource` if it is another file, or has another size or time of modification.
    pub fn check(&self) -> Result<()> {
        let ContentSource::Path {
            identity, modified, ..
        } = &self.content.source
        else {
            return Ok(());
        };
        let found = self.file().metadata().map_err(|error| self.failed(error))?;
        let is_same = found.is_file()
            && (found.dev(), found.ino()) == *identity
            && found.len() == self.content.size_bytes
            && found.mtime() == modified.seconds
            && found.mtime_nsec() == i64::from(modified.nanos);
        if is_same { Ok(()) } else { Err(self.changed()) }
    }

    /// Fills the buffer from an offset in the source.
    ///
    /// # Errors
    /// `BadSource` if the source ends before, `Source` if it cannot be read.
    pub fn read_exact_at(&self, buffer: &mut [u8], source_offset: u64) -> Result<()> {
        self.file()
            .read_exact_at(buffer, source_offset)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => self.changed(),
                _ => self.failed(error),
            })
    }

    /// The error for a source that turned out shorter than it was, to be used by
    /// whoever moves content through the descriptor.
    pub fn changed(&self) -> Error {
        changed(self.content.source.name())
    }

    /// The error for a source that cannot be read.
    pub fn failed(&self, source: io::Error) -> Error {
        Error::Source {
            path: self.content.source.name(),
            source,
        }
    }

    fn file(&self) -> &File {
        match &self.file {
            Opened::Own(file) => file,
            Opened::Shared(file) => file,
        }
    }
}

/// For copy_file_range(2) and the like, with explicit offsets: a shared
/// archive's file position belongs to nobody.
impl AsFd for OpenContent<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file().as_fd()
    }
}

impl ContentSource {
    /// What messages call it: the path, or the archive and its member.
    pub fn name(&self) -> PathBuf {
        match self {
            Self::Path { path, .. } => path.to_path_buf(),
            Self::Shared {
                archive, member, ..
            } => {
                let mut name = archive.as_os_str().to_owned();
                name.push(": ");
                name.push(member.as_os_str());
                name.into()
            }
        }
    }
}

/// A file is not what it was when the tree was scanned.
pub(super) fn changed(path: PathBuf) -> Error {
    Error::BadSource {
        path,
        why: "changed while it was being read".to_owned(),
    }
}

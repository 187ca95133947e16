//! From a path to a device.
//!
//! [`open`] looks at what a path names and opens it as that, once, exclusively
//! (see `file` and `block` for how). What is neither a regular file nor a block
//! device is refused before it is opened: opening a FIFO waits and opening a
//! character device may do something.

use std::fs::{File, FileType, Metadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::block::BlockFile;
use crate::descriptor::Descriptor;
use crate::direct::{ALIGNMENT_BYTES, Direct};
use crate::file::{self, MappedFile};
use crate::usage::{self, Usage};
use crate::{BlockDevice, Error, Result, Window, open_partition};

/// How [`open`] opens. The default is the whole image, for reading and writing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenOptions {
    /// Refuse every write, and let others read at the same time.
    pub read_only: bool,
    /// Start at this byte of the file or block device, which must lie inside.
    pub offset_bytes: Option<u64>,
    /// Take this partition, numbered as Linux does, from 1. With
    /// `offset_bytes` too, the partition table is looked for from there.
    pub partition: Option<u32>,
    /// Bypass the page cache (O_DIRECT). The file system beneath must support it.
    pub direct: bool,
    /// Neither lock a file nor claim a block device: somebody else may be using
    /// it. For who was told twice to go ahead.
    pub unclaimed: bool,
}

/// Opens the image or block device at `path`; symbolic links are followed.
///
/// A regular file is locked with flock(2), a block device opened with O_EXCL,
/// until the device is dropped; of a loop device the file beneath is locked too. A file that
/// is mounted through a loop device is not opened for writing. An empty file opens as a device of 0 bytes.
///
/// # Errors
///
/// [`Error::WrongType`] for what cannot hold a file system, [`Error::InUse`]
/// if others hold it, [`Error::Open`] if the system refuses,
/// [`Error::OutOfRange`] for an offset past the end, [`Error::Partition`] for
/// a partition that is not there or not usable.
pub fn open(path: impl AsRef<Path>, options: &OpenOptions) -> Result<Arc<dyn BlockDevice>> {
    let mut device = open_whole(path.as_ref(), options)?;
    if let Some(offset_bytes) = options.offset_bytes {
        device = Arc::new(Window::new(device, offset_bytes, None)?);
    }
    if let Some(number) = options.partition {
        device = Arc::new(open_partition(device, number)?);
    }
    Ok(device)
}

/// What a path may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    RegularFile,
    BlockDevice,
}

fn open_whole(path: &Path, options: &OpenOptions) -> Result<Arc<dyn BlockDevice>> {
    let read_only = options.read_only;
    let open_failed = |source| Error::Open {
        path: path.to_owned(),
        source,
    };
    let expected = std::fs::metadata(path).map_err(open_failed)?;
    let kind = kind_of(&expected, path)?;
    // Should the path name something else by now: a FIFO must not be waited for.
    let mut flags = match kind {
        Kind::BlockDevice if !options.unclaimed => OFlags::EXCL,
        Kind::RegularFile | Kind::BlockDevice => OFlags::NONBLOCK,
    };
    flags.set(OFlags::DIRECT, options.direct);
    let file = File::options()
        .read(true)
        .write(!read_only)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .map_err(|source| match Errno::from_io_error(&source) {
            Some(Errno::BUSY) => usage::in_use(path),
            _ => open_failed(source),
        })?;
    let found = file.metadata().map_err(open_failed)?;
    if !is_same(&expected, &found) {
        kind_of(&found, path)?;
        // O_EXCL or its absence was chosen for the other one.
        return Err(usage::in_use(path));
    }
    if !options.unclaimed && !read_only && kind == Kind::RegularFile {
        check_not_mounted(path)?;
    }
    let direct = options
        .direct
        .then(|| file.try_clone())
        .transpose()
        .map_err(open_failed)?;
    Ok(match kind {
        Kind::RegularFile if options.unclaimed => {
            with_cache(MappedFile::unlocked(file, path, read_only)?, direct, kind)
        }
        Kind::RegularFile => with_cache(MappedFile::new(file, path, read_only)?, direct, kind),
        Kind::BlockDevice => {
            let beneath = match options.unclaimed {
                true => None,
                false => lock_beneath(path, read_only)?,
            };
            with_cache(
                BlockFile::new(file, path, read_only, beneath)?,
                direct,
                kind,
            )
        }
    })
}

/// A file that is mounted through a loop device is written by that mount, which knows of no
/// lock.
fn check_not_mounted(path: &Path) -> Result<()> {
    match usage::usage(path) {
        Some(Usage::Mounted { .. } | Usage::Swap) => Err(usage::in_use(path)),
        _ => Ok(()),
    }
}

/// The file beneath a loop device, locked as if it had been opened itself: one image can be
/// reached by several loop devices, and by its own name.
fn lock_beneath(path: &Path, read_only: bool) -> Result<Option<File>> {
    let Some(beneath) = usage::backing_file(path) else {
        return Ok(None);
    };
    // One that has been removed can be reached by nobody else.
    let Ok(file) = File::open(&beneath) else {
        return Ok(None);
    };
    let is_file = file.metadata().is_ok_and(|found| found.is_file());
    match file::lock(&file, read_only) {
        Err(Errno::WOULDBLOCK) if is_file => Err(usage::in_use(&beneath)),
        _ => Ok(is_file.then_some(file)),
    }
}

/// The device itself, or around the page cache if `direct` is its file for that.
fn with_cache<D: BlockDevice + 'static>(
    device: D,
    direct: Option<File>,
    kind: Kind,
) -> Arc<dyn BlockDevice> {
    // A file system does not say what it wants of direct I/O on its files.
    let sector_bytes = match kind {
        Kind::RegularFile => ALIGNMENT_BYTES,
        Kind::BlockDevice => {
            usize::try_from(device.logical_sector_bytes()).unwrap_or(ALIGNMENT_BYTES)
        }
    };
    match direct {
        None => Arc::new(device),
        Some(file) => {
            let descriptor = Descriptor::new(file, device.size_bytes(), device.is_read_only());
            Arc::new(Direct::new(device, descriptor, sector_bytes))
        }
    }
}

fn kind_of(metadata: &Metadata, path: &Path) -> Result<Kind> {
    let file_type = metadata.file_type();
    if file_type.is_file() {
        Ok(Kind::RegularFile)
    } else if file_type.is_block_device() {
        Ok(Kind::BlockDevice)
    } else {
        Err(Error::WrongType {
            path: path.to_owned(),
            found: name_of(file_type),
        })
    }
}

/// What a file that is no image is called, with its article.
fn name_of(file_type: FileType) -> &'static str {
    if file_type.is_dir() {
        "a directory"
    } else if file_type.is_char_device() {
        "a character device"
    } else if file_type.is_fifo() {
        "a FIFO"
    } else if file_type.is_socket() {
        "a socket"
    } else {
        "something else"
    }
}

/// Whether two looks at a path saw the same file.
fn is_same(a: &Metadata, b: &Metadata) -> bool {
    a.dev() == b.dev() && a.ino() == b.ino() && a.file_type() == b.file_type()
}

//! A regular file as a device.
//!
//! [`MappedFile`] owns an open, locked regular file: the lock is flock(2),
//! shared for reading and exclusive for writing, so that no second program of
//! ours, nor this one a second time, writes what is being read. It ends when
//! the device is dropped.
//!
//! A file is also mapped, for reading only, for who hands its bytes on to
//! system calls; what is written by pwrite(2) is seen there at once. Nothing here ever looks
//! at the mapping: others may cut the
//! file short at any time, and touching a page past the new end would kill the
//! process, while pread(2) and writev(2) merely fail. A file that can't be
//! mapped works all the same, without.

use std::fs::File;
use std::path::Path;

use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::FlockOperation;
use rustix::io::{Errno, retry_on_intr};

use crate::descriptor::Descriptor;
use crate::device::check_range;
use crate::usage;
use crate::{BlockDevice, DeviceFile, Error, Mapped, MappedBytes, Result};

/// A locked, mapped regular file.
#[derive(Debug)]
pub(crate) struct MappedFile {
    descriptor: Descriptor,
    /// The whole file, at least one byte; `None` if it is empty or cannot be mapped.
    mapping: Option<MmapRaw>,
}

impl MappedFile {
    /// Locks `file`, which must be a regular file opened for reading, and for
    /// writing unless `read_only`. The size is the file's size now, once and for all.
    ///
    /// # Errors
    ///
    /// [`Error::InUse`] if the lock is taken, [`Error::Open`] if the system
    /// can't lock or tell the size. `path` is for messages only.
    pub(crate) fn new(file: File, path: &Path, read_only: bool) -> Result<Self> {
        let open_failed = |source| Error::Open {
            path: path.to_owned(),
            source,
        };
        lock(&file, read_only).map_err(|errno| match errno {
            Errno::WOULDBLOCK => usage::in_use(path),
            other => open_failed(other.into()),
        })?;
        Self::unlocked(file, path, read_only)
    }

    /// As [`MappedFile::new`], without the lock.
    pub(crate) fn unlocked(file: File, path: &Path, read_only: bool) -> Result<Self> {
        let size_bytes = file
            .metadata()
            .map_err(|source| Error::Open {
                path: path.to_owned(),
                source,
            })?
            .len();
        let mapping = map(&file, size_bytes);
        Ok(Self {
            descriptor: Descriptor::new(file, size_bytes, read_only),
            mapping,
        })
    }
}

/// Takes the lock or fails at once.
pub(crate) fn lock(file: &File, read_only: bool) -> rustix::io::Result<()> {
    let operation = if read_only {
        FlockOperation::NonBlockingLockShared
    } else {
        FlockOperation::NonBlockingLockExclusive
    };
    retry_on_intr(|| rustix::fs::flock(file, operation))
}

/// Maps the first `size_bytes` bytes for reading, if that can be done.
fn map(file: &File, size_bytes: u64) -> Option<MmapRaw> {
    let len_bytes = usize::try_from(size_bytes).ok()?;
    if len_bytes == 0 {
        return None;
    }
    MmapOptions::new()
        .len(len_bytes)
        .map_raw_read_only(file)
        .ok()
}

impl BlockDevice for MappedFile {
    fn size_bytes(&self) -> u64 {
        self.descriptor.size_bytes()
    }

    fn is_read_only(&self) -> bool {
        self.descriptor.is_read_only()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        self.descriptor.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        self.descriptor.write_at(buf, offset)
    }

    fn write_zeroes(&self, offset: u64, len: u64) -> Result<()> {
        if self.descriptor.zero_in_place(offset, len)? {
            return Ok(());
        }
        self.descriptor.write_zeroes_by_hand(offset, len)
    }

    fn discard(&self, offset: u64, len: u64) -> Result<()> {
        self.descriptor.punch_hole(offset, len).map(|_| ())
    }

    fn is_hole(&self, offset: u64, len: u64) -> bool {
        self.descriptor.is_hole(offset, len)
    }

    fn start_writeback(&self, offset: u64, len: u64) {
        self.descriptor.start_writeback(offset, len);
    }

    fn flush(&self) -> Result<()> {
        self.descriptor.flush()
    }

    fn as_file(&self) -> Option<DeviceFile<'_>> {
        Some(DeviceFile {
            fd: self.descriptor.as_fd(),
            base_offset: 0,
        })
    }

    fn mapped_at(&self, offset: u64, len_bytes: u64) -> Result<Mapped<'_>> {
        let size = self.size_bytes();
        check_range(offset, len_bytes, size)?;
        let outside = Error::OutOfRange {
            offset,
            len: len_bytes,
            size,
        };
        if len_bytes == 0 {
            return Err(outside);
        }
        let Some(mapping) = &self.mapping else {
            return Ok(Mapped::No { len_bytes });
        };
        match (usize::try_from(offset), usize::try_from(len_bytes)) {
            (Ok(offset), Ok(len_bytes)) => {
                let address = mapping.as_ptr().wrapping_add(offset);
                Ok(Mapped::Bytes(MappedBytes::new(address, len_bytes)))
            }
            _ => Err(outside),
        }
    }

    fn prefetch(&self, offset: u64, len_bytes: u64) {
        self.descriptor.prefetch(offset, len_bytes);
    }
}

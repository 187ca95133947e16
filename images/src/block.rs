//! A block device of the system as a device.
//!
//! [`BlockFile`] owns a block device opened with O_EXCL: Linux then refuses to
//! mount it, and refuses us if it is mounted or otherwise claimed. I/O goes
//! through the device's page cache, so nothing needs to be aligned; zeroing and
//! discarding, which the device does itself, are cut to whole logical sectors
//! here, and the ends of a zeroed range are written.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::fd::AsFd;
use std::path::Path;

use crate::descriptor::{Descriptor, failed, is_refusal};
use crate::{BlockDevice, DeviceFile, Error, Result, sys};

/// An exclusively opened block device.
#[derive(Debug)]
pub(crate) struct BlockFile {
    descriptor: Descriptor,
    logical_sector_bytes: u32,
    /// Of a loop device the file beneath, for its lock.
    _beneath: Option<File>,
}

impl BlockFile {
    /// Takes over `file`, a block device opened with O_EXCL, and asks the
    /// system for its size and sector size. `beneath` is kept as long as the device.
    ///
    /// # Errors
    ///
    /// [`Error::Open`] if the system does not know one of them. `path` is for messages only.
    pub(crate) fn new(
        mut file: File,
        path: &Path,
        read_only: bool,
        beneath: Option<File>,
    ) -> Result<Self> {
        let open_failed = |source| Error::Open {
            path: path.to_owned(),
            source,
        };
        let size_bytes = file.seek(SeekFrom::End(0)).map_err(open_failed)?;
        let logical_sector_bytes =
            rustix::fs::ioctl_blksszget(&file).map_err(|errno| open_failed(errno.into()))?;
        let read_only = read_only || sys::block_is_read_only(file.as_fd());
        Ok(Self {
            descriptor: Descriptor::new(file, size_bytes, read_only),
            logical_sector_bytes: logical_sector_bytes.max(512),
            _beneath: beneath,
        })
    }
}

/// The whole units of a range: (bytes before them, bytes of them). `unit` is not 0.
fn whole_units(offset: u64, len: u64, unit: u64) -> (u64, u64) {
    let head_len = (unit - offset % unit) % unit;
    if head_len >= len {
        return (len, 0);
    }
    let rest = len - head_len;
    (head_len, rest - rest % unit)
}

impl BlockDevice for BlockFile {
    fn size_bytes(&self) -> u64 {
        self.descriptor.size_bytes()
    }

    fn logical_sector_bytes(&self) -> u32 {
        self.logical_sector_bytes
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
        self.descriptor.check_writable(offset, len)?;
        let (head_len, middle_len) = whole_units(offset, len, self.logical_sector_bytes.into());
        let middle = offset + head_len;
        if middle_len == 0 || !self.descriptor.zero_in_place(middle, middle_len)? {
            return self.descriptor.write_zeroes_by_hand(offset, len);
        }
        let tail = middle + middle_len;
        let tail_len = len - head_len - middle_len;
        self.descriptor.write_zeroes_by_hand(offset, head_len)?;
        self.descriptor.write_zeroes_by_hand(tail, tail_len)
    }

    fn discard(&self, offset: u64, len: u64) -> Result<()> {
        self.descriptor.check_writable(offset, len)?;
        let (head_len, middle_len) = whole_units(offset, len, self.logical_sector_bytes.into());
        if middle_len == 0 {
            return Ok(());
        }
        let middle = offset + head_len;
        match sys::block_discard(self.descriptor.as_fd(), middle, middle_len) {
            Ok(_) => Ok(()),
            Err(errno) if is_refusal(errno) => Ok(()),
            Err(errno) => Err(failed("discard", middle, middle_len, errno.into())),
        }
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

    fn prefetch(&self, offset: u64, len_bytes: u64) {
        self.descriptor.prefetch(offset, len_bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::whole_units;

    #[test]
    fn whole_units_lie_inside_and_are_aligned() {
        assert_eq!(whole_units(0, 0, 512), (0, 0));
        assert_eq!(whole_units(0, 512, 512), (0, 512));
        assert_eq!(whole_units(1, 510, 512), (510, 0));
        assert_eq!(whole_units(1, 511, 512), (511, 0));
        assert_eq!(whole_units(1, 1023, 512), (511, 512));
        assert_eq!(whole_units(1, 1024, 512), (511, 512));
        assert_eq!(whole_units(512, 1500, 512), (0, 1024));
        assert_eq!(whole_units(u64::MAX - 3, 3, 4096), (3, 0));
    }
}

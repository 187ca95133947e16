//! Files' bytes: in memory while they are few, then in a part of one file.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use parking_lot::Mutex;
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

/// Longest file that is kept in memory, in bytes.
pub(super) const IN_MEMORY_MAX: u64 = 64 << 10;
/// What a large file has to itself; most of it is a hole.
const REGION_BYTES: u64 = 4 << 30;

/// Where a file's bytes are. What lies between them and its size is zero.
#[derive(Debug)]
pub(super) enum Content {
    Memory(Vec<u8>),
    Region(Region),
}

/// A part of the file, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Region(u64);

/// The file that large files lie in.
#[derive(Debug)]
pub(super) struct Store {
    file: File,
    regions: Mutex<Regions>,
}

#[derive(Debug, Default)]
struct Regions {
    next: u64,
    /// Returned ones, empty again.
    unused: Vec<Region>,
}

impl Store {
    /// The file at `path`, emptied, as long as it was.
    pub(super) fn new(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let len = file.metadata()?.len();
        file.set_len(0)?;
        file.set_len(len)?;
        let regions = Mutex::default();
        Ok(Self { file, regions })
    }

    /// A region without content.
    pub(super) fn take(&self) -> Region {
        let mut regions = self.regions.lock();
        if let Some(region) = regions.unused.pop() {
            return region;
        }
        regions.next += 1;
        Region(regions.next - 1)
    }

    /// The region of a file that is no more.
    pub(super) fn give_back(&self, region: Region) -> Result<(), Errno> {
        self.cut(region, 0)?;
        self.regions.lock().unused.push(region);
        Ok(())
    }

    /// From `size` on there are zeros.
    pub(super) fn cut(&self, region: Region, size: u64) -> Result<(), Errno> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let left = REGION_BYTES.checked_sub(size).filter(|left| *left > 0);
        match left {
            Some(left) => fallocate(&self.file, flags, region.at(size)?, left),
            None => Ok(()),
        }
    }

    /// Fills `bytes`.
    pub(super) fn read(&self, region: Region, bytes: &mut [u8], offset: u64) -> Result<(), Errno> {
        region.check(offset, bytes.len())?;
        let start = region.at(offset)?;
        let mut done = 0;
        while let Some(rest) = bytes.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let read = self.file.read_at(rest, start + done as u64);
            match read.map_err(|_| Errno::IO)? {
                // Behind the end of the file is one more hole.
                0 => {
                    rest.fill(0);
                    break;
                }
                len => done += len,
            }
        }
        Ok(())
    }

    /// Writes all.
    pub(super) fn write(&self, region: Region, bytes: &[u8], offset: u64) -> Result<(), Errno> {
        region.check(offset, bytes.len())?;
        let written = self.file.write_all_at(bytes, region.at(offset)?);
        written.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
    }
}

impl Region {
    fn at(self, offset: u64) -> Result<u64, Errno> {
        let start = self.0.checked_mul(REGION_BYTES);
        let sum = start.and_then(|start| start.checked_add(offset));
        sum.ok_or(Errno::FBIG)
    }

    fn check(self, offset: u64, len: usize) -> Result<(), Errno> {
        match offset.checked_add(len as u64) {
            Some(end) if end <= REGION_BYTES => Ok(()),
            _ => Err(Errno::FBIG),
        }
    }
}

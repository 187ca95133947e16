//! The simulated block device as the server's.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use images::{BlockDevice, DeviceFile};
use simulated_kernel::SimDevice;

/// What the server itself has read and written, which is metadata.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    reads: AtomicU64,
    writes: AtomicU64,
}

impl Activity {
    /// Calls so far, of both kinds.
    pub(crate) fn call_count(&self) -> u64 {
        self.reads.load(Ordering::Relaxed) + self.write_count()
    }

    /// Calls that wrote.
    pub(crate) fn write_count(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }
}

/// The server's way to a simulated device. Its descriptor is that of something else: the
/// simulated kernel is told what it stands for.
#[derive(Debug)]
pub(crate) struct ServerDevice {
    device: Arc<SimDevice>,
    descriptor: File,
    size: u64,
    activity: Arc<Activity>,
}

impl ServerDevice {
    pub(crate) fn new(device: Arc<SimDevice>) -> std::io::Result<Self> {
        let size = device.size();
        Ok(Self {
            device,
            descriptor: File::open("/dev/null")?,
            size,
            activity: Arc::default(),
        })
    }

    pub(crate) fn activity(&self) -> Arc<Activity> {
        Arc::clone(&self.activity)
    }

    /// What the simulated kernel is to be told.
    pub(crate) fn descriptor(&self) -> i32 {
        self.descriptor.as_raw_fd()
    }

    fn check(&self, offset: u64, len: u64) -> images::Result<()> {
        match offset.checked_add(len) {
            Some(end) if end <= self.size => Ok(()),
            _ => Err(images::Error::OutOfRange {
                offset,
                len,
                size: self.size,
            }),
        }
    }
}

fn failed(
    operation: &'static str,
    offset: u64,
    len: usize,
) -> impl FnOnce(rustix::io::Errno) -> images::Error {
    move |errno| images::Error::Io {
        operation,
        offset,
        len: len as u64,
        source: errno.into(),
    }
}

impl BlockDevice for ServerDevice {
    fn size_bytes(&self) -> u64 {
        self.size
    }

    fn is_read_only(&self) -> bool {
        false
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> images::Result<()> {
        self.check(offset, buf.len() as u64)?;
        let len = buf.len();
        self.activity.reads.fetch_add(1, Ordering::Relaxed);
        self.device
            .read_at(offset, buf)
            .map_err(failed("read", offset, len))
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> images::Result<()> {
        self.check(offset, buf.len() as u64)?;
        self.activity.writes.fetch_add(1, Ordering::Relaxed);
        self.device
            .write_at(offset, buf)
            .map_err(failed("write", offset, buf.len()))
    }

    fn write_zeroes(&self, offset: u64, len: u64) -> images::Result<()> {
        self.write_at(&vec![0; usize::try_from(len).unwrap_or(0)], offset)
    }

    fn discard(&self, offset: u64, len: u64) -> images::Result<()> {
        self.check(offset, len)
    }

    fn flush(&self) -> images::Result<()> {
        self.device.flush();
        Ok(())
    }

    fn block_device(&self) -> Option<DeviceFile<'_>> {
        Some(DeviceFile {
            fd: self.descriptor.as_fd(),
            base_offset: 0,
        })
    }
}

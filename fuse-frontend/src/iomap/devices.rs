//! The devices the kernel moves data on, and the numbers it knows them by.

use std::os::fd::{AsRawFd, BorrowedFd};

use images::BlockDevice;
use zerocopy::IntoBytes;

use super::Geometry;
use super::connection::ConnectionCalls;
use crate::wire::{BACKING_TYPE_IOMAP, BackingBlockSize, BackingMap, device_ioctl};

/// One device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Device {
    /// The kernel's number, not 0.
    pub(crate) id: u32,
    /// Byte of it where the volume begins.
    pub(crate) base_offset: u64,
    /// Direct writes of one block of the volume are not torn.
    pub(crate) is_atomic: bool,
}

/// The devices of a mount; today a volume has one. They stay registered until the kernel ends
/// the connection.
#[derive(Debug)]
pub(crate) struct Devices {
    main: Device,
}

impl Devices {
    /// Registers what a volume lies on. Only while CONFIG waits for its answer. An error is
    /// half a sentence.
    pub(crate) fn register(
        calls: &dyn ConnectionCalls,
        device: &dyn BlockDevice,
        geometry: &Geometry,
    ) -> Result<Self, String> {
        let file = device
            .block_device()
            .ok_or("the image is not reached through a block device")?;
        let sector = u64::from(device.logical_sector_bytes());
        if !file.base_offset.is_multiple_of(sector) {
            return Err(format!(
                "the volume does not begin at a sector of {sector} bytes"
            ));
        }
        let mut map = BackingMap {
            fd: file.fd.as_raw_fd(),
            flags: BACKING_TYPE_IOMAP,
            padding: 0,
        };
        let id = calls
            .ioctl(device_ioctl::BACKING_OPEN, map.as_mut_bytes())
            .map_err(|error| format!("the device cannot be registered: {error}"))?;
        set_block_size(calls, id, file.fd, geometry.block_bytes)?;
        let main = Device {
            id,
            base_offset: file.base_offset,
            is_atomic: has_untorn_blocks(file.fd, file.base_offset, geometry.block_bytes),
        };
        Ok(Self { main })
    }

    /// A device that is nowhere.
    pub(super) fn imaginary() -> Self {
        let main = Device {
            id: 1,
            base_offset: 0,
            is_atomic: false,
        };
        Self { main }
    }

    /// Where the volume's blocks lie.
    pub(crate) fn main(&self) -> Device {
        self.main
    }
}

/// The device's own cache of pages is to hold no unit larger than a block of the volume: it
/// could keep old content of what lies beside, and write it back later.
fn set_block_size(
    calls: &dyn ConnectionCalls,
    id: u32,
    device: BorrowedFd<'_>,
    block_bytes: u32,
) -> Result<(), String> {
    let mut info = BackingBlockSize {
        backing_id: id,
        blocksize: block_bytes,
    };
    if calls
        .ioctl(device_ioctl::SET_BLOCK_SIZE, info.as_mut_bytes())
        .is_ok()
    {
        return Ok(());
    }
    match images::set_block_size(device, block_bytes) {
        Ok(()) => Ok(()),
        Err(_) if images::block_size(device).is_some_and(|now| now <= block_bytes) => Ok(()),
        Err(errno) => Err(format!(
            "the device's block size cannot be set to {block_bytes}: {}",
            std::io::Error::from(errno)
        )),
    }
}

/// Whether the device promises to write an aligned block of the volume whole or not at all.
fn has_untorn_blocks(device: BorrowedFd<'_>, base_offset: u64, block_bytes: u32) -> bool {
    let block_bytes = u64::from(block_bytes);
    let limits = images::atomic_write_bytes(device);
    limits.is_some_and(|(least, most)| {
        least > 0
            && (least..=most).contains(&block_bytes)
            && base_offset.is_multiple_of(block_bytes)
    })
}

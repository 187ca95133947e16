//! The bytes a new file system will overwrite, and nothing behind them.

use images::BlockDevice;

use crate::Result;

/// Nearly all that does not lie at an end is within this many bytes: the ring of
/// the first label of ZFS ends at 256 KiB, a superblock of UFS begins there.
const HEAD_BYTES: u64 = 0x4_1000;

/// The first bytes of a device.
pub(super) struct Area<'d> {
    device: &'d dyn BlockDevice,
    /// Bytes in the area; the device has no fewer.
    pub(super) size_bytes: u64,
    /// The beginning, which most questions are about.
    head: Vec<u8>,
}

impl<'d> Area<'d> {
    /// The first `size_bytes` of a device, or all of it if it has fewer.
    ///
    /// # Errors
    /// What the device says when it cannot be read.
    pub(super) fn new(device: &'d dyn BlockDevice, size_bytes: u64) -> Result<Self> {
        let size_bytes = size_bytes.min(device.size_bytes());
        let head_len = usize::try_from(size_bytes.min(HEAD_BYTES)).unwrap_or(0);
        let mut head = vec![0; head_len];
        device.read_at(&mut head, 0)?;
        Ok(Self {
            device,
            size_bytes,
            head,
        })
    }

    /// Places a thing at the end of the device can lie before: the device's own
    /// end and, as a partition may end there, that of the area.
    pub(super) fn ends(&self) -> impl Iterator<Item = u64> + use<> {
        let (area, device) = (self.size_bytes, self.device.size_bytes());
        std::iter::once(area).chain((device != area).then_some(device))
    }

    /// The first bytes of the area.
    pub(super) fn head(&self) -> &[u8] {
        &self.head
    }

    /// The N bytes at an offset, if they are within the head.
    pub(super) fn array<const N: usize>(&self, offset: u64) -> Option<[u8; N]> {
        let bytes = self.head.get(usize::try_from(offset).ok()?..)?;
        bytes.first_chunk().copied()
    }

    /// True if these bytes lie at the offset, within the area.
    ///
    /// # Errors
    /// What the device says when it cannot be read.
    pub(super) fn has(&self, offset: u64, magic: &[u8]) -> Result<bool> {
        let len = u64::try_from(magic.len()).unwrap_or(u64::MAX);
        if offset
            .checked_add(len)
            .is_none_or(|end| end > self.size_bytes)
        {
            return Ok(false);
        }
        let head = usize::try_from(offset).ok();
        if let Some(found) = head
            .and_then(|offset| self.head.get(offset..))
            .and_then(|head| head.get(..magic.len()))
        {
            return Ok(found == magic);
        }
        let mut found = vec![0; magic.len()];
        self.device.read_at(&mut found, offset)?;
        Ok(found == magic)
    }
}

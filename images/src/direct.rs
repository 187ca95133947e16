//! A device whose bytes bypass the page cache (O_DIRECT).
//!
//! Direct I/O wants addresses, offsets and lengths that are multiples of the
//! device's sector. [`Direct`] takes any range: bytes go through an aligned
//! buffer, and the sectors at the ends of a range that are only partly written
//! are read first. Two writes that share such a sector wait for one another;
//! nothing else does. Who writes the device by another way, as a kernel does
//! that moves the content of files, must share no sector with us: sectors are
//! as small as the device has them.

use parking_lot::Mutex;

use crate::descriptor::Descriptor;
use crate::{BlockDevice, DeviceFile, Result};

/// The largest sector there is, in bytes: buffers start at a multiple of it.
pub(crate) const ALIGNMENT_BYTES: usize = 4096;
/// Bytes moved by one system call.
const PIECE_BYTES: usize = 1 << 20;

/// A regular file or block device opened with O_DIRECT.
#[derive(Debug)]
pub(crate) struct Direct<D> {
    /// The same device through its own type: zeroing, discarding, flushing.
    inner: D,
    descriptor: Descriptor,
    /// I/O is cut to multiples of this many bytes of the device: a power of two.
    sector_bytes: usize,
    /// Held while the partly written sectors at the ends of a range are
    /// read, changed and written.
    ends: Mutex<()>,
}

/// A buffer whose used part starts at a multiple of [`ALIGNMENT_BYTES`].
struct Aligned {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl Aligned {
    fn new(len: usize) -> Self {
        let bytes = vec![0; len + ALIGNMENT_BYTES];
        let start = bytes
            .as_ptr()
            .align_offset(ALIGNMENT_BYTES)
            .min(ALIGNMENT_BYTES);
        Self { bytes, start, len }
    }

    fn first(&mut self, len: usize) -> &mut [u8] {
        let end = self.start + len.min(self.len);
        self.bytes.get_mut(self.start..end).unwrap_or_default()
    }
}

/// A piece of a range with the sectors around it.
struct Piece {
    /// Where the first whole sector starts.
    sector_start: u64,
    /// Bytes of whole sectors; the last sector of a device may be short.
    sectors_len: usize,
    /// Where the piece starts in them.
    skip: usize,
    /// Bytes of the piece itself.
    len: usize,
}

impl<D: BlockDevice> Direct<D> {
    /// `descriptor` is `inner`'s file, opened with O_DIRECT, which takes multiples of
    /// `sector_bytes`.
    pub(crate) fn new(inner: D, descriptor: Descriptor, sector_bytes: usize) -> Self {
        Self {
            inner,
            descriptor,
            sector_bytes: sector_bytes.clamp(512, ALIGNMENT_BYTES),
            ends: Mutex::new(()),
        }
    }

    fn write_zero_bytes(&self, offset: u64, len: u64) -> Result<()> {
        let zeroes = vec![0; usize::try_from(len).map_or(PIECE_BYTES, |len| len.min(PIECE_BYTES))];
        let mut done = 0;
        while done < len {
            let piece_len = usize::try_from(len - done).unwrap_or(PIECE_BYTES);
            let piece = zeroes.get(..piece_len).unwrap_or(&zeroes);
            self.write_at(piece, offset + done)?;
            done += piece.len() as u64;
        }
        Ok(())
    }

    fn piece(&self, offset: u64, len_left: usize) -> Piece {
        let alignment = self.sector_bytes as u64;
        let sector_start = offset - offset % alignment;
        let skip = usize::try_from(offset - sector_start).unwrap_or(0);
        let len = len_left.min(PIECE_BYTES - skip);
        let room = usize::try_from(self.size_bytes() - sector_start).unwrap_or(usize::MAX);
        Piece {
            sector_start,
            sectors_len: (skip + len).next_multiple_of(self.sector_bytes).min(room),
            skip,
            len,
        }
    }
}

impl<D: BlockDevice> BlockDevice for Direct<D> {
    fn size_bytes(&self) -> u64 {
        self.inner.size_bytes()
    }

    fn logical_sector_bytes(&self) -> u32 {
        self.inner.logical_sector_bytes()
    }

    fn is_read_only(&self) -> bool {
        self.inner.is_read_only()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        self.descriptor.check(offset, buf.len() as u64)?;
        let mut aligned = Aligned::new(PIECE_BYTES.min(buf.len() + 2 * ALIGNMENT_BYTES));
        let mut done = 0;
        while let Some(left) = buf.get_mut(done..).filter(|left| !left.is_empty()) {
            let piece = self.piece(offset + done as u64, left.len());
            let sectors = aligned.first(piece.sectors_len);
            self.descriptor.read_at(sectors, piece.sector_start)?;
            let from = sectors.get(piece.skip..piece.skip + piece.len);
            if let (Some(to), Some(from)) = (left.get_mut(..piece.len), from) {
                to.copy_from_slice(from);
            }
            done += piece.len;
        }
        Ok(())
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        self.descriptor.check_writable(offset, buf.len() as u64)?;
        let mut aligned = Aligned::new(PIECE_BYTES.min(buf.len() + 2 * ALIGNMENT_BYTES));
        let mut done = 0;
        while let Some(left) = buf.get(done..).filter(|left| !left.is_empty()) {
            let piece = self.piece(offset + done as u64, left.len());
            let sectors = aligned.first(piece.sectors_len);
            let is_partial = piece.skip != 0 || piece.len != sectors.len();
            let _ends = is_partial.then(|| self.ends.lock());
            if is_partial {
                self.descriptor.read_at(sectors, piece.sector_start)?;
            }
            let to = sectors.get_mut(piece.skip..piece.skip + piece.len);
            if let (Some(to), Some(from)) = (to, left.get(..piece.len)) {
                to.copy_from_slice(from);
            }
            self.descriptor.write_at(sectors, piece.sector_start)?;
            done += piece.len;
        }
        Ok(())
    }

    fn write_zeroes(&self, offset: u64, len: u64) -> Result<()> {
        // Where the system cannot zero, the other type would write from a buffer
        // that is not aligned.
        self.descriptor.check_writable(offset, len)?;
        let alignment = self.sector_bytes as u64;
        let (start, end) = (offset.next_multiple_of(alignment), offset + len);
        let stop = end - end % alignment;
        // Not by the device's own type: what the system cannot zero it would write through the
        // page cache.
        if start >= stop || !self.descriptor.zero_in_place(start, stop - start)? {
            return self.write_zero_bytes(offset, len);
        }
        self.write_zero_bytes(offset, start - offset)?;
        self.write_zero_bytes(stop, end - stop)
    }

    fn discard(&self, offset: u64, len: u64) -> Result<()> {
        self.inner.discard(offset, len)
    }

    fn flush(&self) -> Result<()> {
        self.inner.flush()
    }

    fn block_device(&self) -> Option<DeviceFile<'_>> {
        let fd = self.descriptor.as_fd();
        let kind = rustix::fs::fstat(fd).ok()?.st_mode;
        let is_block_device = rustix::fs::FileType::from_raw_mode(kind).is_block_device();
        is_block_device.then_some(DeviceFile { fd, base_offset: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::{ALIGNMENT_BYTES, Descriptor, Direct};
    use crate::{Memory, OpenOptions, open};

    /// Direct I/O needs a file system that has it; most do.
    fn direct(
        size_bytes: u64,
    ) -> Option<(tempfile::TempDir, std::sync::Arc<dyn crate::BlockDevice>)> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image");
        std::fs::File::create(&path)
            .unwrap()
            .set_len(size_bytes)
            .unwrap();
        let options = OpenOptions {
            direct: true,
            ..OpenOptions::default()
        };
        match open(&path, &options) {
            Ok(device) => Some((dir, device)),
            Err(error) => {
                skipping::record(&format!("direct I/O: {error}"));
                None
            }
        }
    }

    #[test]
    fn any_range_is_written_and_its_neighbours_stay() {
        let Some((_dir, device)) = direct(4 << 20) else {
            return;
        };
        device.write_at(&vec![0xAA; 4 << 20], 0).unwrap();
        let ranges = [
            (1, 1),
            (1024, 1024),
            (4095, 2),
            (8192, 4096),
            (100_000, 2_500_000),
        ];
        let mut expected = vec![0xAA; 4 << 20];
        for (number, (offset, len)) in ranges.into_iter().enumerate() {
            let bytes: Vec<u8> = (0..len).map(|at| (at * 7 + number) as u8).collect();
            device.write_at(&bytes, offset as u64).unwrap();
            expected[offset..offset + len].copy_from_slice(&bytes);
        }
        let mut found = vec![0; 4 << 20];
        device.read_at(&mut found, 0).unwrap();
        assert!(found == expected);
        let mut piece = vec![0; 1_500_001];
        device.read_at(&mut piece, 99_999).unwrap();
        assert!(piece == expected[99_999..99_999 + 1_500_001]);
    }

    /// The neighbour may be content that the kernel is writing: a block of 1 KiB was written
    /// back with what had been read around it.
    #[test]
    fn a_write_of_whole_sectors_touches_no_others() {
        let touched = |sector_bytes, offset, len| {
            let file = tempfile::tempfile().unwrap();
            let memory = Memory::new(vec![0; 1 << 20]);
            let descriptor = Descriptor::new(file, 1 << 20, false);
            let device = Direct::new(memory, descriptor, sector_bytes);
            let piece = device.piece(offset, len);
            (piece.sector_start, piece.sectors_len, piece.skip)
        };
        assert_eq!(touched(512, 5 << 10, 1 << 10), (5 << 10, 1 << 10, 0));
        assert_eq!(touched(512, 700, 10), (512, 512, 188));
        let largest = touched(ALIGNMENT_BYTES, 5 << 10, 1 << 10);
        assert_eq!(largest, (4 << 10, 4 << 10, 1 << 10));
    }

    #[test]
    fn a_write_past_the_end_is_refused() {
        let Some((_dir, device)) = direct(8192) else {
            return;
        };
        device.write_at(&[1; 2], 8191).unwrap_err();
        device.write_at(&[1], 8191).unwrap();
    }
}

//! A file's bytes, from the image to a local file; holes stay holes.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use anyhow::{Context, bail};
use fs_core::{ErrorKind, Inode, SeekTarget, Segment, Volume};
use images::BlockDevice;
use rustix::fs::copy_file_range;
use rustix::io::Errno;

/// How much of a file is planned at once; bounds the list of segments.
const WINDOW_BYTES: u64 = 256 << 20;
const BUFFER_BYTES: usize = 1 << 20;

/// Copies contents; keeps what it learned about the file systems at both ends.
#[derive(Debug)]
pub(super) struct ContentCopier {
    buffer: Vec<u8>,
    segments: Vec<Segment>,
    /// False once the system has refused copy_file_range(2) between the two.
    in_kernel: bool,
}

impl ContentCopier {
    pub(super) fn new() -> Self {
        Self {
            buffer: vec![0; BUFFER_BYTES],
            segments: Vec::new(),
            in_kernel: true,
        }
    }

    /// Copies all of `file` into the empty `out`.
    pub(super) fn copy(&mut self, volume: &Volume, file: &Inode, out: &File) -> anyhow::Result<()> {
        let size = file.size_bytes();
        out.set_len(size)
            .with_context(|| format!("cannot make a file of {size} bytes"))?;
        let mut offset = 0;
        // Asking for data skips a hole of any size in one step.
        while let Some(start) = next(volume, file, offset, SeekTarget::Data)? {
            let end = next(volume, file, start, SeekTarget::Hole)?.unwrap_or(size);
            if start < offset || end <= start {
                bail!("the mapping goes backwards at byte {start}");
            }
            self.copy_range(volume, file, start, end, out)?;
            offset = end;
        }
        Ok(())
    }

    fn copy_range(
        &mut self,
        volume: &Volume,
        file: &Inode,
        start: u64,
        end: u64,
        out: &File,
    ) -> anyhow::Result<()> {
        let mut offset = start;
        while offset < end {
            let len = WINDOW_BYTES.min(end - offset);
            let mut segments = std::mem::take(&mut self.segments);
            segments.clear();
            volume.read_plan(file, offset, len, &mut segments)?;
            let mut at = offset;
            for segment in &segments {
                at = self.copy_segment(volume, segment, at, out)?;
            }
            self.segments = segments;
            if at <= offset {
                // The plan is clipped to the file's size: nothing is left.
                break;
            }
            offset = at;
        }
        Ok(())
    }

    /// Copies one segment to `at` and returns where the next one goes.
    fn copy_segment(
        &mut self,
        volume: &Volume,
        segment: &Segment,
        at: u64,
        out: &File,
    ) -> anyhow::Result<u64> {
        let len = match segment {
            Segment::Zero { len_bytes } => *len_bytes,
            Segment::Inline(bytes) => {
                out.write_all_at(bytes, at).context("cannot write")?;
                bytes.len() as u64
            }
            Segment::Device { offset, len_bytes } => {
                let device = volume.device().as_ref();
                let done = self.copy_in_kernel(device, *offset, *len_bytes, at, out)?;
                let rest = len_bytes.saturating_sub(done);
                self.copy_through_buffer(device, offset + done, rest, at + done, out)?;
                *len_bytes
            }
        };
        at.checked_add(len).context("the file is too long")
    }

    /// Lets the system copy; returns how many bytes it did before it refused.
    fn copy_in_kernel(
        &mut self,
        device: &dyn BlockDevice,
        offset: u64,
        len: u64,
        at: u64,
        out: &File,
    ) -> anyhow::Result<u64> {
        let Some(source) = device.as_file().filter(|_| self.in_kernel) else {
            return Ok(0);
        };
        let mut from = source
            .base_offset
            .checked_add(offset)
            .context("the file lies beyond the end of the image")?;
        let mut to = at;
        let end = at.checked_add(len).context("the file is too long")?;
        while to < end {
            let piece = usize::try_from((end - to).min(1 << 30)).unwrap_or(1 << 30);
            match copy_file_range(source.fd, Some(&mut from), out, Some(&mut to), piece) {
                // The image ends early: the plain read says so in words.
                Ok(0) => break,
                Ok(_) | Err(Errno::INTR) => {}
                Err(error @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) => {
                    return Err(io::Error::from(error)).context("cannot write");
                }
                Err(_) => {
                    self.in_kernel = false;
                    break;
                }
            }
        }
        Ok(to - at)
    }

    fn copy_through_buffer(
        &mut self,
        device: &dyn BlockDevice,
        offset: u64,
        len: u64,
        at: u64,
        out: &File,
    ) -> anyhow::Result<()> {
        let mut done = 0;
        while done < len {
            let piece = usize::try_from(len - done)
                .unwrap_or(BUFFER_BYTES)
                .min(self.buffer.len());
            let buffer = &mut self.buffer[..piece];
            device.read_at(buffer, offset + done)?;
            out.write_all_at(buffer, at + done)
                .context("cannot write")?;
            done += piece as u64;
        }
        Ok(())
    }
}

/// The next position of data or of a hole; `None` at the end of the file.
fn next(
    volume: &Volume,
    file: &Inode,
    offset: u64,
    target: SeekTarget,
) -> fs_core::Result<Option<u64>> {
    match volume.seek(file, offset, target) {
        Ok(position) => Ok(Some(position)),
        Err(error) if *error.kind() == ErrorKind::OutOfRange => Ok(None),
        Err(error) => Err(error),
    }
}

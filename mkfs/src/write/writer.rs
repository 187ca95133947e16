//! Brings bytes to a device in few, large writes.

use images::BlockDevice;

use crate::error::Result;

/// Neighbouring pieces are gathered up to this many bytes.
const GATHERED_BYTES_MAX: usize = 1 << 20;
/// Pieces of this size are worth a write of their own: copying them costs more.
const LARGE_BYTES_MIN: usize = 128 << 10;
/// Zeros at the end of a write are left out in units of this many bytes.
const TRIMMED_UNIT_BYTES: usize = 512;

/// Gathers pieces that come in rising order and touch.
pub(super) struct Writer<'d> {
    device: &'d dyn BlockDevice,
    /// Everything not written yet reads as zeros: zeros need not be written.
    pub(super) zeros_are_there: bool,
    gathered: Vec<u8>,
    /// Where the gathered bytes belong.
    offset: u64,
    bytes_written: u64,
}

impl<'d> Writer<'d> {
    pub(super) fn new(device: &'d dyn BlockDevice, zeros_are_there: bool) -> Self {
        Self {
            device,
            zeros_are_there,
            gathered: Vec::new(),
            offset: 0,
            bytes_written: 0,
        }
    }

    /// Writes `bytes` at `offset`, now or together with what follows.
    pub(super) fn put(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        let end = self.offset + self.gathered.len() as u64;
        let fits = self.gathered.len() + bytes.len() <= GATHERED_BYTES_MAX;
        if end != offset || !fits {
            self.finish()?;
            self.offset = offset;
        }
        if bytes.len() >= LARGE_BYTES_MIN {
            self.finish()?;
            self.offset = offset.saturating_add(bytes.len() as u64);
            return self.write(offset, bytes);
        }
        self.gathered.extend_from_slice(bytes);
        Ok(())
    }

    /// Makes a range read as zeros.
    pub(super) fn put_zeros(&mut self, offset: u64, len: u64) -> Result<()> {
        if !self.zeros_are_there && len > 0 {
            self.finish()?;
            self.device.write_zeroes(offset, len)?;
        }
        Ok(())
    }

    /// Writes what was gathered. To be called at the end.
    pub(super) fn finish(&mut self) -> Result<()> {
        let mut gathered = std::mem::take(&mut self.gathered);
        self.write(self.offset, &gathered)?;
        self.offset = self.offset.saturating_add(gathered.len() as u64);
        gathered.clear();
        self.gathered = gathered;
        Ok(())
    }

    /// Bytes written so far.
    pub(super) fn bytes_written(&self) -> u64 {
        self.bytes_written
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        let bytes = if self.zeros_are_there {
            trimmed(bytes)
        } else {
            bytes
        };
        if !bytes.is_empty() {
            self.device.write_at(bytes, offset)?;
            if bytes.len() >= LARGE_BYTES_MIN {
                self.device.start_writeback(offset, bytes.len() as u64);
            }
            self.bytes_written += bytes.len() as u64;
        }
        Ok(())
    }
}

/// `bytes` without the units at their end that are all zeros.
fn trimmed(bytes: &[u8]) -> &[u8] {
    const ZEROS: [u8; TRIMMED_UNIT_BYTES] = [0; TRIMMED_UNIT_BYTES];
    let units = bytes.chunks(TRIMMED_UNIT_BYTES);
    let is_zero = |unit: &&[u8]| ZEROS.starts_with(unit);
    let zero_units = units.clone().rev().take_while(is_zero).count();
    let used = (units.len() - zero_units) * TRIMMED_UNIT_BYTES;
    bytes.get(..used).unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use images::Memory;

    use super::*;

    #[test]
    fn neighbours_become_one_write_and_trailing_zeros_none() {
        let memory = Memory::new(vec![0; 1 << 16]);
        let mut writer = Writer::new(&memory, true);
        writer.put(4096, &[1; 4096]).unwrap();
        writer.put(8192, &[0; 4096]).unwrap();
        writer.put(20480, &[0; 4096]).unwrap();
        writer.finish().unwrap();
        assert_eq!(writer.bytes_written(), 4096);
        assert_eq!(memory.snapshot()[4096..8192], [1; 4096]);
    }

    #[test]
    fn everything_is_written_over_unknown_bytes() {
        let memory = Memory::new(vec![7; 1 << 16]);
        let mut writer = Writer::new(&memory, false);
        writer.put(4096, &[0; 4096]).unwrap();
        writer.put_zeros(8192, 4096).unwrap();
        writer.finish().unwrap();
        let bytes = memory.snapshot();
        assert_eq!(bytes[4095..4097], [7, 0]);
        assert_eq!(bytes[12287..12289], [0, 7]);
    }

    #[test]
    fn large_pieces_pass_through_in_order() {
        let memory = Memory::new(vec![0; 4 << 20]);
        let mut writer = Writer::new(&memory, false);
        writer.put(0, &[1; 100]).unwrap();
        writer.put(100, &vec![2; 2 << 20]).unwrap();
        writer.put(100 + (2 << 20), &[3; 100]).unwrap();
        writer.finish().unwrap();
        let bytes = memory.snapshot();
        assert_eq!([bytes[99], bytes[100], bytes[99 + (2 << 20)]], [1, 2, 2]);
        assert_eq!(bytes[100 + (2 << 20)], 3);
        assert_eq!(writer.bytes_written(), 200 + (2 << 20));
    }
}

//! Which files are being read from front to back, and what comes next there.
//!
//! The kernel reads ahead on this mount, but only into requests to us; the
//! device beneath learns of each byte when it is wanted. A reader that comes
//! back for the bytes after its last ones is announced to the device
//! ([`images::BlockDevice::prefetch`]) a window ahead, in the file's order.
//! The table is small and forgets; a mistake costs a hint.

use fs_core::InodeNumber;
use parking_lot::Mutex;

/// How far ahead of a reader the device is told.
const WINDOW_BYTES: u64 = 4 << 20;
/// Requests of one reader arrive out of order; how far that may go.
const DISORDER_BYTES: u64 = 2 << 20;
/// Readers that can be told apart.
const SLOTS: usize = 64;

/// The table of readers.
#[derive(Debug)]
pub(crate) struct ReadAhead {
    /// Held for a few instructions.
    slots: Mutex<[Slot; SLOTS]>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    inode: InodeNumber,
    /// Where the reader's furthest request ended.
    end: u64,
    /// Up to where the device was told.
    told: u64,
}

impl ReadAhead {
    pub(crate) fn new() -> Self {
        Self {
            slots: Mutex::new([Slot::default(); SLOTS]),
        }
    }

    /// Notes a read; the answer is a range (offset, length in bytes) the
    /// device should be told of. Never waits: a busy table answers nothing.
    pub(crate) fn note(&self, inode: InodeNumber, offset: u64, len: u64) -> Option<(u64, u64)> {
        let end = offset.saturating_add(len);
        let mut slots = self.slots.try_lock()?;
        let slot = slots.get_mut(inode.0 as usize % SLOTS)?;
        let known = slot.inode == inode && slot.end != 0;
        let near = slot.end.abs_diff(offset) <= DISORDER_BYTES;
        if !known || !near {
            *slot = Slot {
                inode,
                end,
                told: end,
            };
            return None;
        }
        let forward = end > slot.end && offset >= slot.end;
        slot.end = slot.end.max(end);
        // Half a window at a time, so that most reads cost nothing.
        if !forward || slot.told.saturating_sub(slot.end) > WINDOW_BYTES / 2 {
            return None;
        }
        let start = slot.told.max(slot.end);
        slot.told = slot.end.saturating_add(WINDOW_BYTES);
        Some((start, slot.told.saturating_sub(start)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1 << 10;

    #[test]
    fn a_sequential_reader_is_announced_once_for_each_byte() {
        let table = ReadAhead::new();
        let mut told = Vec::new();
        for step in 0..256 {
            told.extend(table.note(InodeNumber(12), step * 128 * KIB, 128 * KIB));
        }
        assert!(told.len() < 20, "{} hints for 32 MiB", told.len());
        for pair in told.windows(2) {
            assert_eq!(pair[0].0 + pair[0].1, pair[1].0, "no gap, no overlap");
        }
    }

    #[test]
    fn random_reads_are_not_announced() {
        let table = ReadAhead::new();
        for step in 0..1000u64 {
            let offset = step.wrapping_mul(0x9E37_79B9_7F4A_7C15) % (1 << 40);
            assert_eq!(table.note(InodeNumber(12), offset, 4 * KIB), None);
        }
    }

    #[test]
    fn ends_do_not_overflow() {
        let table = ReadAhead::new();
        for _ in 0..4 {
            let _ = table.note(InodeNumber(12), u64::MAX - 10, u64::MAX);
        }
    }
}

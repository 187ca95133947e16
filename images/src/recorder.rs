//! A device in memory that remembers every change, to cut the power at any point.
//!
//! ```text
//!   base ──write──write──flush──write──zero── ...   the log
//!                          |
//!     durable: what a flush covered      pending: what came after it
//! ```
//!
//! A disk promises only that what a flush covered is there. Of what came later it
//! may have kept anything, sector by sector, in any order. [`Replay`] walks the
//! log and gives, at each point, the images a power cut could leave behind.
//! Public, for everybody's crash tests.

use parking_lot::Mutex;

use crate::power_cut::Replay;
use crate::{BlockDevice, Memory, Result};

/// One change, in the order they were asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Bytes written at an offset.
    Write {
        /// First byte.
        offset: u64,
        /// What was written.
        bytes: Box<[u8]>,
    },
    /// A range made to read as zeros, or discarded (which may read as anything,
    /// here: as before or as zeros).
    Zero {
        /// First byte.
        offset: u64,
        /// Number of bytes.
        len: u64,
    },
    /// Everything before is durable.
    Flush,
}

/// The device; it starts with given bytes and logs from then on.
#[derive(Debug)]
pub struct Recorder {
    base: Vec<u8>,
    live: Memory,
    log: Mutex<Vec<Event>>,
}

impl Recorder {
    /// A device of these bytes, all of them durable.
    pub fn new(base: Vec<u8>) -> Self {
        Self {
            live: Memory::new(base.clone()),
            base,
            log: Mutex::new(Vec::new()),
        }
    }

    /// Number of events so far.
    pub fn events(&self) -> usize {
        self.log.lock().len()
    }

    /// A copy of the events so far.
    pub fn log(&self) -> Vec<Event> {
        self.log.lock().clone()
    }

    /// All bytes as they are now, durable or not.
    pub fn live(&self) -> Vec<u8> {
        self.live.snapshot()
    }

    /// The events so far, from the first on.
    pub fn replay(&self) -> Replay {
        Replay::new(self.base.clone(), self.log.lock().clone())
    }

    /// Changes the live image and logs in one step, so that the log's order is the order
    /// in which overlapping changes took effect.
    fn change(&self, event: Event, apply: impl FnOnce(&Memory) -> Result<()>) -> Result<()> {
        let mut log = self.log.lock();
        apply(&self.live)?;
        log.push(event);
        Ok(())
    }
}

impl BlockDevice for Recorder {
    fn size_bytes(&self) -> u64 {
        self.live.size_bytes()
    }

    fn is_read_only(&self) -> bool {
        false
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        self.live.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        let event = Event::Write {
            offset,
            bytes: buf.into(),
        };
        self.change(event, |live| live.write_at(buf, offset))
    }

    fn write_zeroes(&self, offset: u64, len: u64) -> Result<()> {
        self.change(Event::Zero { offset, len }, |live| {
            live.write_zeroes(offset, len)
        })
    }

    fn discard(&self, offset: u64, len: u64) -> Result<()> {
        self.write_zeroes(offset, len)
    }

    fn flush(&self) -> Result<()> {
        self.change(Event::Flush, |_| Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Unflushed;

    fn recorded() -> Recorder {
        let recorder = Recorder::new(vec![0; 4096]);
        recorder.write_at(&[1; 1024], 0).unwrap();
        recorder.flush().unwrap();
        recorder.write_at(&[2; 2048], 512).unwrap();
        recorder.write_zeroes(0, 256).unwrap();
        recorder
    }

    fn replay(events: usize) -> Replay {
        let mut replay = recorded().replay();
        for _ in 0..events {
            assert!(replay.step());
        }
        replay
    }

    #[test]
    fn what_was_flushed_survives_and_the_rest_may_not() {
        let cut = replay(1);
        assert_eq!(cut.after_power_cut(Unflushed::Lost), [0; 4096]);
        assert_eq!(cut.after_power_cut(Unflushed::Kept)[..1024], [1; 1024]);
        let cut = replay(3);
        assert_eq!(cut.after_power_cut(Unflushed::Lost)[..1024], [1; 1024]);
        assert_eq!(cut.after_power_cut(Unflushed::Lost)[1024..], [0; 3072]);
        assert_eq!(cut.pending(), 1);
    }

    #[test]
    fn all_events_kept_are_the_live_image() {
        let recorder = recorded();
        let mut replay = recorder.replay();
        while replay.step() {}
        assert!(!replay.step());
        assert_eq!(replay.after_power_cut(Unflushed::Kept), recorder.live());
        assert_eq!(recorder.events(), 4);
    }

    #[test]
    fn mixed_cuts_tear_between_sectors_only_and_repeat_with_the_seed() {
        let cut = replay(4);
        let mut seen = std::collections::HashSet::new();
        for seed in 0..64 {
            let image = cut.after_power_cut(Unflushed::Mixed(seed));
            assert_eq!(image, cut.after_power_cut(Unflushed::Mixed(seed)));
            for sector in image[1024..2560].chunks(512) {
                assert!(sector == [0; 512] || sector == [2; 512]);
            }
            seen.insert(image);
        }
        assert!(seen.len() > 8, "only {} different images", seen.len());
    }

    #[test]
    fn the_last_change_alone_may_have_reached_the_disk() {
        let image = replay(4).after_power_cut(Unflushed::OnlyLast);
        assert_eq!(image[..256], [0; 256]);
        assert_eq!(image[256..1024], [1; 768]);
        assert_eq!(image[1024..], [0; 3072]);
    }

    #[test]
    fn what_is_whole_is_not_torn() {
        let mut walk = recorded().replay().with_whole(1024..2560);
        for _ in 0..4 {
            walk.step();
        }
        let images = (0..64).map(|seed| walk.after_power_cut(Unflushed::Mixed(seed)));
        let tops: std::collections::HashSet<_> =
            images.map(|image| image[1024..2560].to_vec()).collect();
        assert_eq!(tops, [vec![0; 1536], vec![2; 1536]].into());
    }

    #[test]
    fn equal_images_and_only_they_have_equal_fingerprints() {
        let mut walk = recorded().replay();
        let mut seen = std::collections::HashMap::new();
        loop {
            for unflushed in [Unflushed::Kept, Unflushed::Lost, Unflushed::OnlyLast] {
                let cut = walk.cut(unflushed);
                let image = seen.entry(cut.fingerprint()).or_insert(cut.image()).clone();
                assert_eq!(image, cut.image());
            }
            for seed in 0..32 {
                let cut = walk.cut(Unflushed::Mixed(seed));
                let image = seen.entry(cut.fingerprint()).or_insert(cut.image()).clone();
                assert_eq!(image, cut.image());
            }
            if !walk.step() {
                break;
            }
        }
        let images: std::collections::HashSet<_> = seen.values().collect();
        assert_eq!(images.len(), seen.len());
    }

    #[test]
    fn what_was_refused_is_not_logged() {
        let recorder = recorded();
        recorder.write_at(&[1], 4096).unwrap_err();
        assert_eq!(recorder.events(), 4);
    }
}

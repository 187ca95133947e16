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

use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::{BlockDevice, Memory, Result};

/// The unit a disk writes whole.
const SECTOR_BYTES: usize = 512;

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

/// What became of the changes after the last flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unflushed {
    /// All of them reached the disk.
    Kept,
    /// None did.
    Lost,
    /// Only the last one did.
    OnlyLast,
    /// Each sector of each did or did not, by the toss of a coin seeded with this.
    Mixed(u64),
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

    /// All bytes as they are now, durable or not.
    pub fn live(&self) -> Vec<u8> {
        self.live.snapshot()
    }

    /// The events so far, from the first on.
    pub fn replay(&self) -> Replay {
        Replay {
            durable: Image::new(self.base.clone()),
            pending: Vec::new(),
            left: self.log.lock().clone().into_iter(),
        }
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

/// A walk along the log.
#[derive(Debug)]
pub struct Replay {
    durable: Image,
    pending: Vec<Event>,
    left: std::vec::IntoIter<Event>,
}

impl Replay {
    /// Takes the next event into account; false at the end of the log.
    pub fn step(&mut self) -> bool {
        match self.left.next() {
            None => false,
            Some(Event::Flush) => {
                let kept = self.kept_sectors(Unflushed::Kept);
                self.durable.apply(&kept);
                self.pending.clear();
                true
            }
            Some(event) => {
                self.pending.push(event);
                true
            }
        }
    }

    /// Number of changes since the last flush.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// The image a power cut at this point leaves behind.
    pub fn after_power_cut(&self, unflushed: Unflushed) -> Vec<u8> {
        self.cut(unflushed).image()
    }

    /// The same image, told apart from others before it is made.
    pub fn cut(&self, unflushed: Unflushed) -> Cut<'_> {
        let changed = self.kept_sectors(unflushed);
        let fingerprint = self.durable.fingerprint_with(&changed);
        Cut {
            durable: &self.durable,
            changed,
            fingerprint,
        }
    }

    /// The sectors that differ from the durable image, as far as they were touched.
    fn kept_sectors(&self, unflushed: Unflushed) -> Sectors {
        let mut changed = Sectors::new();
        let mut coin = match unflushed {
            Unflushed::Mixed(seed) => seed,
            _ => 0,
        };
        let last = self.pending.len().saturating_sub(1);
        for (number, event) in self.pending.iter().enumerate() {
            apply(&self.durable, &mut changed, event, || match unflushed {
                Unflushed::Kept => true,
                Unflushed::Lost => false,
                Unflushed::OnlyLast => number == last,
                Unflushed::Mixed(_) => toss(&mut coin),
            });
        }
        changed
    }
}

/// What a power cut leaves behind: the durable image and the sectors that differ.
#[derive(Debug)]
pub struct Cut<'a> {
    durable: &'a Image,
    changed: Sectors,
    fingerprint: u128,
}

impl Cut<'_> {
    /// The same for equal images of one size, and different for others but by an accident
    /// nobody will see.
    pub fn fingerprint(&self) -> u128 {
        self.fingerprint
    }

    /// All its bytes.
    pub fn image(&self) -> Vec<u8> {
        let mut image = self.durable.bytes.clone();
        for (number, sector) in &self.changed {
            let start = number * SECTOR_BYTES;
            if let Some(to) = image.get_mut(start..start + sector.len()) {
                to.copy_from_slice(sector);
            }
        }
        image
    }
}

/// Sectors by number; the last of an image may be short.
type Sectors = BTreeMap<usize, Vec<u8>>;

/// An image with the sum of its sectors' hashes, so that the fingerprint of one that
/// differs in a few sectors costs those sectors.
#[derive(Debug)]
struct Image {
    bytes: Vec<u8>,
    fingerprint: u128,
}

impl Image {
    fn new(bytes: Vec<u8>) -> Self {
        let sectors = bytes.chunks(SECTOR_BYTES).enumerate();
        let fingerprint = sectors
            .map(|(number, sector)| hash(number, sector))
            .fold(0, u128::wrapping_add);
        Self { bytes, fingerprint }
    }

    fn sector(&self, number: usize) -> &[u8] {
        let start = (number * SECTOR_BYTES).min(self.bytes.len());
        let end = (start + SECTOR_BYTES).min(self.bytes.len());
        self.bytes.get(start..end).unwrap_or(&[])
    }

    fn fingerprint_with(&self, changed: &Sectors) -> u128 {
        changed.iter().fold(self.fingerprint, |sum, (number, new)| {
            sum.wrapping_sub(hash(*number, self.sector(*number)))
                .wrapping_add(hash(*number, new))
        })
    }

    fn apply(&mut self, changed: &Sectors) {
        self.fingerprint = self.fingerprint_with(changed);
        for (number, sector) in changed {
            let start = number * SECTOR_BYTES;
            if let Some(to) = self.bytes.get_mut(start..start + sector.len()) {
                to.copy_from_slice(sector);
            }
        }
    }
}

/// Two independent 64-bit mixes of a sector and its place.
fn hash(number: usize, sector: &[u8]) -> u128 {
    let mut low = number as u64 ^ 0x243F_6A88_85A3_08D3;
    let mut high = !(number as u64);
    for word in sector.chunks(8) {
        let mut bytes = [0; 8];
        bytes
            .iter_mut()
            .zip(word)
            .for_each(|(to, from)| *to = *from);
        let word = u64::from_le_bytes(bytes);
        low = (low ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        low ^= low >> 29;
        high = (high.rotate_left(23) ^ word).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        high ^= high >> 32;
    }
    u128::from(mixed(high)) << 64 | u128::from(mixed(low))
}

/// Adds a change to the sectors that differ, as far as `keeps` says so.
fn apply(durable: &Image, changed: &mut Sectors, event: &Event, mut keeps: impl FnMut() -> bool) {
    let (offset, len, bytes) = match event {
        Event::Write { offset, bytes } => (*offset, bytes.len() as u64, Some(bytes)),
        Event::Zero { offset, len } => (*offset, *len, None),
        Event::Flush => return,
    };
    let (Ok(start), Ok(len)) = (usize::try_from(offset), usize::try_from(len)) else {
        return;
    };
    let end = start.saturating_add(len).min(durable.bytes.len());
    let mut at = start;
    while at < end {
        let number = at / SECTOR_BYTES;
        let sector_end = ((number + 1) * SECTOR_BYTES).min(end);
        if keeps() {
            let sector = changed
                .entry(number)
                .or_insert_with(|| durable.sector(number).to_vec());
            let within = at % SECTOR_BYTES;
            if let Some(to) = sector.get_mut(within..within + (sector_end - at)) {
                match bytes.and_then(|bytes| bytes.get(at - start..sector_end - start)) {
                    Some(from) => to.copy_from_slice(from),
                    None => to.fill(0),
                }
            }
        }
        at = sector_end;
    }
}

/// The next bit of a SplitMix64 sequence.
fn toss(state: &mut u64) -> bool {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed(*state) & 1 == 1
}

fn mixed(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

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

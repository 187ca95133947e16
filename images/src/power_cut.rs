//! What a power cut leaves of the writes a [`Recorder`](crate::Recorder) has logged.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::recorder::Event;

/// The unit a disk writes whole.
const SECTOR_BYTES: usize = 512;

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

/// A walk along the log.
#[derive(Debug)]
pub struct Replay {
    durable: Image,
    pending: Vec<Event>,
    left: std::vec::IntoIter<Event>,
    /// Sectors that a write changes all or none of.
    whole: Range<usize>,
}

impl Replay {
    pub(crate) fn new(base: Vec<u8>, log: Vec<Event>) -> Self {
        Self {
            durable: Image::new(base),
            pending: Vec::new(),
            left: log.into_iter(),
            whole: 0..0,
        }
    }

    /// The same on a disk that never tears writes inside this range of bytes: what a format
    /// has to rely on where it keeps something in one place only.
    #[must_use]
    pub fn with_whole(mut self, bytes: Range<usize>) -> Self {
        self.whole = bytes.start / SECTOR_BYTES..bytes.end.div_ceil(SECTOR_BYTES);
        self
    }

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
            let mut kept_whole = None;
            apply(
                &self.durable,
                &mut changed,
                event,
                |sector| match unflushed {
                    Unflushed::Kept => true,
                    Unflushed::Lost => false,
                    Unflushed::OnlyLast => number == last,
                    Unflushed::Mixed(_) if self.whole.contains(&sector) => {
                        *kept_whole.get_or_insert_with(|| toss(&mut coin))
                    }
                    Unflushed::Mixed(_) => toss(&mut coin),
                },
            );
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
fn apply(
    durable: &Image,
    changed: &mut Sectors,
    event: &Event,
    mut keeps: impl FnMut(usize) -> bool,
) {
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
        if keeps(number) {
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

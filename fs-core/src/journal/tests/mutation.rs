//! Logs damaged at random: recovery says what it found or what is wrong, soon.

use std::time::{Duration, Instant};

use super::builder::{
    BLOCK_BYTES, HOME_BLOCKS, Layout, LogBuilder, entry, escaped, recover_volume,
};
use super::fast_commit::{Area, log as fast_commit_log};
use crate::format::journal::JournalIncompat;

const TIME: Duration = Duration::from_secs(3);
const ROUNDS: u64 = 400_000;
/// The slowest a single recovery of so small a log may be.
const ONE_MAX: Duration = Duration::from_secs(2);

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

fn log(layout: Layout) -> LogBuilder {
    let mut log = LogBuilder::new(layout, 40, 30, u32::MAX);
    log.transaction(u32::MAX, &[entry(1, 1), escaped(2, 2), entry(3, 3)]);
    log.revoke(0, &[1, 3, 50]);
    log.transaction(0, &[entry(4, 4), entry(1, 5)]);
    log.descriptor(1, &[entry(7, 7)]);
    log.transaction(1, &[entry(6, 6)]);
    log.transaction(2, &[entry(6, 8), entry(9, 9), entry(10, 10)]);
    log
}

fn seeds() -> Vec<LogBuilder> {
    let mut logs: Vec<LogBuilder> = Layout::all()
        .into_iter()
        .flat_map(|layout| [layout, layout.with(JournalIncompat::ASYNC_COMMIT)])
        .map(log)
        .collect();
    let mut area = Area::new();
    area.name(3, 2, 13, b"name");
    area.inode(13, &[7; 256]);
    area.tail();
    area.name(5, 2, 13, b"name");
    area.tail();
    let mut fast = fast_commit_log();
    area.write_to(&mut fast);
    logs.push(fast);
    logs
}

/// Most bytes of a log decide nothing; these are where something happens.
fn interesting_byte(random: &mut Random, block: &[u8]) -> usize {
    match random.below(4) {
        0 => random.below(block.len()),
        1 => random.below(16),
        _ => random.below(96),
    }
}

fn mutate(random: &mut Random, volume: &mut [u8], log: &LogBuilder) {
    let len = log.blocks.len();
    for _ in 0..=random.below(3) {
        let at = match random.below(6) {
            0 => 0,
            1 => len - 1 - random.below(15),
            _ => 1 + random.below(39),
        };
        let offset = (HOME_BLOCKS as usize + len - 1 - at) * BLOCK_BYTES;
        let block = &mut volume[offset..offset + BLOCK_BYTES];
        let byte = interesting_byte(random, block);
        block[byte] = match random.below(4) {
            0 => 0xFF,
            1 => 0,
            2 => block[byte] ^ (1 << random.below(8)),
            _ => random.next() as u8,
        };
    }
}

/// Makes checksums right again, or damage would end at the first one.
fn repair(log: &mut LogBuilder, volume: &[u8]) {
    let len = log.blocks.len();
    for at in 1..len {
        let offset = (HOME_BLOCKS as usize + len - 1 - at) * BLOCK_BYTES;
        log.blocks[at].copy_from_slice(&volume[offset..offset + BLOCK_BYTES]);
        if matches!(
            log.blocks[at][..8],
            [0xC0, 0x3B, 0x39, 0x98, 0, 0, 0, 1 | 5]
        ) {
            log.reseal(at as u32);
        }
    }
}

#[test]
fn damaged_logs_neither_panic_nor_hang() {
    let mut random = Random(0x6578_746D_6170);
    let seeds = seeds();
    let volumes: Vec<Vec<u8>> = seeds.iter().map(LogBuilder::volume).collect();
    let (mut rounds, mut recovered) = (0, 0_u64);
    let begin = Instant::now();
    while rounds < ROUNDS && begin.elapsed() < TIME {
        let which = random.below(seeds.len());
        let log = &seeds[which];
        let mut volume = volumes[which].clone();
        mutate(&mut random, &mut volume, log);
        if random.below(3) == 0 {
            let mut repaired = log.clone();
            repair(&mut repaired, &volume);
            volume = repaired.volume();
        }
        let one = Instant::now();
        recovered += u64::from(recover_volume(volume, log.blocks.len() as u32).is_ok());
        assert!(
            one.elapsed() < ONE_MAX,
            "round {rounds} took {:?}",
            one.elapsed()
        );
        rounds += 1;
    }
    println!("{rounds} damaged logs, {recovered} of them recovered");
    assert!(rounds > 1_000 && recovered > rounds / 10 && recovered < rounds);
}

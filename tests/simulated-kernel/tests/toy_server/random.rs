//! Random operations, with writeback from another thread and misfortune, against a model.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use simulated_kernel::{Chaos, Errno};

use crate::toy::{BLOCK, BLOCKS, Mounted, NODE, Options, VARIANTS};

const LEN: u64 = BLOCKS as u64 * BLOCK;

fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

fn put(model: &mut Vec<u8>, pos: u64, bytes: &[u8]) {
    let end = pos as usize + bytes.len();
    model.resize(model.len().max(end), 0);
    model[pos as usize..end].copy_from_slice(bytes);
}

/// One operation, in the kernel and in the model.
fn step(mounted: &Mounted, model: &mut Vec<u8>, random: &mut u64) -> Result<(), Errno> {
    let kernel = &mounted.kernel;
    let kind = next(random) % 12;
    let pos = next(random) % (LEN - 70_000);
    let len = next(random) % 60_000 + 1;
    let bytes = vec![next(random) as u8 | 1; len as usize];
    let (sector, sectors) = (pos / 512 * 512, len.div_ceil(512) * 512);
    match kind {
        0..=2 => {
            kernel.write(NODE, pos, &bytes)?;
            put(model, pos, &bytes);
        }
        3 | 4 => {
            let bytes = vec![bytes[0]; sectors as usize];
            kernel.write_direct(NODE, sector, &bytes)?;
            put(model, sector, &bytes);
        }
        5 => {
            kernel.truncate(NODE, pos)?;
            model.resize(pos as usize, 0);
        }
        6 => {
            kernel.fallocate(NODE, 5, 3, pos, len)?;
            let end = model.len().min((pos + len) as usize);
            if (pos as usize) < end {
                model[pos as usize..end].fill(0);
            }
        }
        7 => {
            kernel.fsync(NODE, 5)?;
            kernel.drop_pages(NODE)?;
        }
        8 if (pos as usize) < model.len() => {
            let len = len.min(model.len() as u64 - pos);
            kernel.map_write(NODE, pos, &bytes[..len as usize])?;
            put(model, pos, &bytes[..len as usize]);
        }
        9 => {
            let content = kernel.read_direct(NODE, sector, sectors)?;
            check(model, sector, &content);
        }
        10 => kernel.getattr(NODE).map(drop)?,
        _ => {
            let content = kernel.read(NODE, pos, len)?;
            check(model, pos, &content);
        }
    }
    Ok(())
}

fn check(model: &[u8], pos: u64, content: &[u8]) {
    let tail = model.get(pos as usize..).unwrap_or_default();
    assert!(tail.starts_with(content), "wrong bytes at {pos}");
}

fn run(options: Options, seed: u64, steps: usize) {
    let mounted = Mounted::new(options);
    let (mut model, mut random) = (Vec::new(), seed);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let kernel = &mounted.kernel;
        let stopped = &stop;
        scope.spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                kernel.write_back(NODE).unwrap();
                kernel.drop_pages(NODE).unwrap();
                std::thread::sleep(Duration::from_micros(300));
            }
        });
        for _ in 0..steps {
            step(&mounted, &mut model, &mut random).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
    let content = mounted.kernel.read(NODE, 0, LEN).unwrap();
    assert!(content == model);
    mounted.kernel.fsync(NODE, 5).unwrap();
    assert_eq!(mounted.toy.file.lock().size, model.len() as u64);
    mounted.kernel.unmount().unwrap();
    mounted.assert_clean();
}

#[test]
fn random_operations_leave_no_wrong_byte() {
    for variant in VARIANTS {
        for seed in 1..4 {
            run(Options::new(variant), seed, 300);
        }
    }
}

#[test]
fn nor_do_they_when_mappings_vanish_and_replies_are_late() {
    for variant in VARIANTS {
        let chaos = Chaos {
            seed: 9,
            evict_permille: 200,
            delay_max: Duration::from_micros(200),
            ..Chaos::default()
        };
        run(Options::new(variant).chaos(chaos), 77, 300);
    }
}

/// The race the mapping cache's numbers are for (5.6): a writer holds "unwritten", meanwhile
/// writeback makes the block written and its folio goes; zeroes would overwrite data.
#[test]
fn small_writes_survive_writeback_and_reclaim() {
    for variant in VARIANTS {
        let chaos = Chaos {
            seed: 3,
            delay_max: Duration::from_micros(300),
            ..Chaos::default()
        };
        let mounted = Mounted::new(Options::new(variant).chaos(chaos));
        let stop = AtomicBool::new(false);
        let mut model = Vec::new();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    mounted.kernel.write_back(NODE).unwrap();
                    mounted.kernel.drop_pages(NODE).unwrap();
                }
            });
            for number in 0..400 {
                let (pos, bytes) = (number * 1024 + 8, vec![number as u8 | 1; 1000]);
                mounted.kernel.write(NODE, pos, &bytes).unwrap();
                put(&mut model, pos, &bytes);
            }
            stop.store(true, Ordering::Relaxed);
        });
        assert!(mounted.kernel.read(NODE, 0, LEN).unwrap() == model);
        mounted.assert_clean();
    }
}

//! Files whose content a made-up kernel writes to the device, where it is told to.
//!
//! The bugs these stand for: a map that changes behind the kernel's back; bytes of others, or
//! of before, that show because the kernel and we both thought the other would zero them.

use std::sync::Mutex;

use images::{BlockDevice, Event, Recorder, Unflushed};

use super::crash::{Bench, OPTIONS, file_in};
use super::*;
use crate::file::{WriteCompletion, WritePreparation};
use crate::format::inode_flags::InodeFlags;
use crate::mapping::MappingObserver;
use crate::run::{ExtentState, MappedExtent};
use crate::types::FileBlock;
use crate::{MappingView, WritableVolume, WriteOptions};

const KERNEL: WriteContext = WriteContext {
    may_use_reserve: true,
    clear_privileges: false,
    keeps_times: true,
    kernel_moves_content: true,
};
/// Blocks that tests look at.
const BLOCKS: u64 = 400;

#[derive(Debug, Default)]
struct Announced(Mutex<Vec<(InodeNumber, Range<FileBlock>)>>);

impl MappingObserver for Announced {
    fn changing(&self, file: InodeNumber, blocks: Range<FileBlock>) {
        self.0.lock().unwrap().push((file, blocks));
    }
}

fn around(writer: &Writer, number: InodeNumber, block: u64) -> MappedExtent {
    let inode = inode(writer, number);
    let view = MappingView::new(&writer.store, Some(&writer.space), &inode);
    let run = view.around(FileBlock(block)).unwrap();
    assert!(run.file_block.0 <= block && block < run.end().0);
    run
}

fn state(writer: &Writer, number: InodeNumber, block: u64) -> ExtentState {
    around(writer, number, block)
        .starting_at(FileBlock(block))
        .state
}

fn map(writer: &Writer, number: InodeNumber) -> Vec<ExtentState> {
    (0..BLOCKS).map(|at| state(writer, number, at)).collect()
}

fn block_bytes(writer: &Writer) -> u64 {
    writer.store.superblock.block_bytes.into()
}

/// Zeroes written blocks in a range, as the kernel does around ends and edges.
fn zero(writer: &Writer, number: InodeNumber, range: Range<u64>) {
    let bytes = block_bytes(writer);
    let mut at = range.start;
    while at < range.end && at / bytes < BLOCKS {
        let next = (at / bytes + 1) * bytes;
        let end = next.min(range.end);
        let found = inode(writer, number);
        if found.has_inline_data() {
            let len = found.size_bytes().min(end).saturating_sub(at) as usize;
            file::write(writer, number, &vec![0; len], at, KERNEL).unwrap();
        } else if let ExtentState::Written(place) = state(writer, number, at / bytes) {
            let device = writer.store.cache.device();
            let zeros = vec![0; (end - at) as usize];
            device
                .write_at(&zeros, place.0 * bytes + at % bytes)
                .unwrap();
        }
        at = next;
    }
}

/// Writes where the map says; returns how much.
fn write(writer: &Writer, number: InodeNumber, data: &[u8], offset: u64) -> Result<usize> {
    let bytes = block_bytes(writer);
    let wanted = WritePreparation {
        offset,
        len_bytes: data.len() as u64,
        ahead_bytes: 20_000,
    };
    file::prepare_write(writer, number, wanted, KERNEL)?;
    zero(writer, number, inode(writer, number).size_bytes()..offset);
    let device = writer.store.cache.device();
    let (mut done, mut converts) = (0, false);
    while done < data.len() {
        let at = offset + done as u64;
        let piece = &data[done..data.len().min(done + (bytes - at % bytes) as usize)];
        match state(writer, number, at / bytes) {
            ExtentState::Hole => break,
            ExtentState::Written(place) => {
                device.write_at(piece, place.0 * bytes + at % bytes)?;
            }
            ExtentState::Unwritten(place) => {
                let mut block = vec![0; bytes as usize];
                let start = (at % bytes) as usize;
                block[start..start + piece.len()].copy_from_slice(piece);
                device.write_at(&block, place.0 * bytes)?;
                converts = true;
            }
        }
        done += piece.len();
    }
    let completion = WriteCompletion {
        offset,
        len_bytes: done as u64,
        converts,
    };
    file::complete_write(writer, number, completion)?;
    Ok(done)
}

fn truncate(writer: &Writer, number: InodeNumber, size: u64) -> Result<()> {
    let old = inode(writer, number).size_bytes();
    let end = old
        .min(size)
        .next_multiple_of(block_bytes(writer))
        .max(size);
    zero(writer, number, old.min(size)..end);
    file::truncate(writer, number, size, KERNEL)
}

/// fallocate(2), after the kernel has zeroed the blocks that lie in the range in part.
fn fallocate(
    writer: &Writer,
    number: InodeNumber,
    how: Allocation,
    range: Range<u64>,
) -> Result<()> {
    let (bytes, size) = (block_bytes(writer), inode(writer, number).size_bytes());
    let found = inode(writer, number);
    let has_extents = found.flags().contains(InodeFlags::EXTENTS) || found.has_inline_data();
    if how != Allocation::PunchHole && !has_extents {
        return Err(ErrorKind::NotSupported("").into());
    }
    let extends = matches!(
        how,
        Allocation::Allocate { keep_size: false } | Allocation::ZeroRange { keep_size: false }
    );
    if extends && range.end > size {
        zero(writer, number, size..range.end);
    }
    if matches!(how, Allocation::PunchHole | Allocation::ZeroRange { .. }) {
        let first_end = range.start.next_multiple_of(bytes).min(range.end);
        zero(writer, number, range.start..first_end);
        zero(
            writer,
            number,
            (range.end / bytes * bytes).max(first_end)..range.end,
        );
    }
    let len = range.end - range.start;
    file::allocate(writer, number, how, range.start, len, KERNEL)
}

/// Small numbers that look random.
struct Draw(u64);

impl Draw {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % limit
    }
}

fn step(writer: &Writer, number: InodeNumber, model: &mut Vec<u8>, draw: &mut Draw) -> u64 {
    let (offset, len) = (draw.below(150_000), draw.below(30_000) + 1);
    let (start, end) = (offset as usize, (offset + len) as usize);
    let what = draw.below(9);
    match what {
        0..=3 => {
            let data = pattern(len as usize, offset);
            let done = write(writer, number, &data, offset).unwrap();
            model.resize(model.len().max(start + done), 0);
            model[start..start + done].copy_from_slice(&data[..done]);
        }
        4 => {
            truncate(writer, number, offset).unwrap();
            model.resize(start, 0);
        }
        5 => {
            fallocate(writer, number, Allocation::PunchHole, offset..offset + len).unwrap();
            let end = end.min(model.len());
            model[start.min(end)..end].fill(0);
        }
        6 | 7 => {
            let keep_size = len % 2 == 0;
            let how = match what {
                6 => Allocation::Allocate { keep_size },
                _ => Allocation::ZeroRange { keep_size },
            };
            if fallocate(writer, number, how, offset..offset + len).is_ok() {
                model.resize(model.len().max(if keep_size { 0 } else { end }), 0);
                if what == 7 {
                    let end = end.min(model.len());
                    model[start.min(end)..end].fill(0);
                }
            }
        }
        _ => file::trim_preallocation(writer, number, FileBlock(0)).unwrap(),
    }
    what
}

fn run(options: &[&str], seed: u64) {
    let Some(image) = stale_image(options, "4M") else {
        return;
    };
    let fixture = Fixture::of(image);
    let writer = &fixture.writer;
    let number = named(writer, b"a");
    let announced = Arc::new(Announced::default());
    assert!(writer.mapping_observer.set(announced.clone()).is_ok());
    let (mut model, mut draw) = (Vec::new(), Draw(seed));
    for round in 0..300 {
        let before = map(writer, number);
        announced.0.lock().unwrap().clear();
        let what = step(writer, number, &mut model, &mut draw);
        assert!(content(writer, number) == model, "round {round}, {what}");
        check_seek(writer, number, &model);
        let said = announced.0.lock().unwrap();
        let is_said = |at: u64| {
            let covers = |said: &(InodeNumber, Range<FileBlock>)| {
                said.0 == number && said.1.contains(&FileBlock(at))
            };
            said.iter().any(covers)
        };
        for (at, (old, new)) in before.iter().zip(map(writer, number)).enumerate() {
            assert!(*old == new || what < 4 || is_said(at as u64), "{at} {what}");
        }
    }
    file::trim_preallocation(writer, number, FileBlock(0)).unwrap();
    let image = fixture.close();
    assert!(debugfs_cat(&image, "a") == model);
}

#[test]
fn random_changes_keep_content_and_are_announced() {
    for seed in 1..4 {
        run(OPTIONS, seed);
        run(&["-t", "ext3", "-b", "1024", "-J", "size=1"], seed);
        run(
            &[
                "-t",
                "ext4",
                "-b",
                "1024",
                "-J",
                "size=1",
                "-O",
                "inline_data",
            ],
            seed,
        );
    }
}

#[test]
fn what_is_completed_and_synced_stays_and_stale_bytes_never_show() {
    let Some(bench) = Bench::new(OPTIONS, "4M") else {
        return;
    };
    let (mut model, mut draw) = (Vec::new(), Draw(7));
    let mut durable = Vec::new();
    for round in 0..60 {
        step(&bench.writer, bench.file, &mut model, &mut draw);
        // Prepared, and never written.
        let wanted = WritePreparation {
            offset: draw.below(150_000),
            len_bytes: 5000,
            ahead_bytes: 0,
        };
        file::prepare_write(&bench.writer, bench.file, wanted, KERNEL).unwrap();
        if round % 4 == 0 {
            bench.writer.sync_content(bench.file).unwrap();
            durable.push((bench.recorder.events(), model.clone()));
        }
    }
    bench.writer.sync().unwrap();
    bench.cut(40, &|event, found| {
        assert!(!found.contains(&STALE), "stale bytes at event {event}");
    });
    let mut replay = bench.recorder.replay();
    let mut event = 0;
    for (events, expected) in durable {
        while event < events && replay.step() {
            event += 1;
        }
        let image = replay.after_power_cut(Unflushed::Lost);
        assert!(file_in(&image, bench.file) == expected, "at event {event}");
    }
}

fn volume() -> Option<(Arc<Recorder>, WritableVolume, InodeNumber)> {
    let recorder = Arc::new(Recorder::new(stale_image(OPTIONS, "4M")?));
    let device: Arc<dyn BlockDevice> = recorder.clone();
    let options = WriteOptions {
        commit_interval_ms: 0,
        ..WriteOptions::default()
    };
    let volume = WritableVolume::open(device, &options).unwrap();
    let number = volume.lookup(InodeNumber::ROOT, b"a").unwrap().unwrap();
    Some((recorder, volume, number))
}

#[test]
fn syncing_flushes_although_nothing_is_pending() {
    let Some((recorder, volume, number)) = volume() else {
        return;
    };
    volume.sync().unwrap();
    for sync in [
        &|| volume.sync().unwrap() as (),
        &|| volume.fdatasync(number).unwrap(),
        &|| volume.fsync(number).unwrap(),
    ] as [&dyn Fn(); 3]
    {
        let before = recorder.events();
        sync();
        let log = recorder.log();
        let new = log.get(before..).unwrap();
        assert!(matches!(new, [Event::Flush]), "{new:?}");
    }
}

#[test]
fn nothing_is_written_after_a_shutdown() {
    let Some((recorder, volume, number)) = volume() else {
        return;
    };
    volume.write(number, b"lost", 0).unwrap();
    let before = recorder.events();
    volume.shut_down();
    let completion = WriteCompletion {
        offset: 0,
        len_bytes: 9000,
        converts: true,
    };
    let stopped = |kind: ErrorKind| matches!(kind, ErrorKind::Stopped(_));
    let failed = volume.complete_write(number, completion, |_| Ok(()));
    assert!(stopped(failed.unwrap_err().kind().clone()));
    assert!(stopped(volume.sync().unwrap_err().kind().clone()));
    assert!(stopped(volume.close().unwrap_err().kind().clone()));
    assert_eq!(recorder.events(), before);
}

#[test]
fn completing_what_is_complete_changes_nothing() {
    let Some((recorder, volume, number)) = volume() else {
        return;
    };
    let wanted = WritePreparation {
        offset: 100,
        len_bytes: 2000,
        ahead_bytes: 8192,
    };
    let look = |view: &MappingView<'_>| Ok((view.around(FileBlock(1))?, view.inode().size_bytes()));
    let (run, size) = volume.prepare_write(number, wanted, KERNEL, look).unwrap();
    assert!(matches!(run.state, ExtentState::Unwritten(_)));
    assert_eq!((run.file_block.0, run.len_blocks, size), (0, 11, 0));
    let completion = WriteCompletion {
        offset: 100,
        len_bytes: 2000,
        converts: true,
    };
    let (run, size) = volume.complete_write(number, completion, look).unwrap();
    assert!(matches!(run.state, ExtentState::Written(_)));
    assert_eq!((run.file_block.0, run.len_blocks, size), (0, 3, 2100));
    volume.sync().unwrap();
    let committed = volume.activity().transactions_committed;
    volume.complete_write(number, completion, look).unwrap();
    volume.sync().unwrap();
    assert_eq!(volume.activity().transactions_committed, committed);
    let too_far = WriteCompletion {
        offset: u64::MAX - 5,
        ..completion
    };
    let failed = volume.complete_write(number, too_far, look).unwrap_err();
    assert_eq!(*failed.kind(), ErrorKind::FileTooLarge);
    // No damage: were it noted as such, the volume would not be clean.
    let nowhere = WriteCompletion {
        offset: 1 << 20,
        ..completion
    };
    let failed = volume.complete_write(number, nowhere, look).unwrap_err();
    assert!(matches!(failed.kind(), ErrorKind::NotItsMap(_)));
    assert!(!failed.is_corruption());
    volume
        .trim_preallocation(number, || Some(FileBlock(0)))
        .unwrap();
    let last = volume.with_mapping(number, |view| view.around(FileBlock(5)));
    assert_eq!(last.unwrap().file_block.0, 3);
    volume.close().unwrap();
    crate::testing::assert_clean(&recorder.live());
}

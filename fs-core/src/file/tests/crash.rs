//! The power is cut while content is changed.
//!
//! The bugs these stand for: a size or a mapping that is durable before the bytes it shows,
//! so that a file shows what its blocks held before; a cut that leaves blocks in use which
//! belong to nobody, or written blocks beyond the end that nothing removes.

use images::{BlockDevice, Memory, Recorder, Unflushed};

use super::*;
use crate::clock::Clock;
use crate::testing::assert_clean;
use crate::testing::open_writer;
use crate::types::Timestamp;
use crate::{OpenOptions, Volume};

const CLOCK: Clock = Clock::Fixed(Timestamp {
    seconds: 1_700_000_000,
    nanos: 0,
});
pub(super) const OPTIONS: &[&str] = &["-t", "ext4", "-b", "1024", "-J", "size=1"];

pub(super) struct Bench {
    pub(super) recorder: Arc<Recorder>,
    pub(super) writer: Writer,
    pub(super) file: InodeNumber,
}

impl Bench {
    pub(super) fn new(options: &[&str], size: &str) -> Option<Self> {
        let recorder = Arc::new(Recorder::new(stale_image(options, size)?));
        let device: Arc<dyn BlockDevice> = recorder.clone();
        let writer = open_writer(device, CLOCK).unwrap();
        let file = named(&writer, b"a");
        Some(Self {
            recorder,
            writer,
            file,
        })
    }

    /// Shows the file as it is after power cuts, about `cuts` of them, and how many events
    /// had happened; e2fsck judges some of the images.
    pub(super) fn cut(&self, cuts: usize, check: &dyn Fn(usize, &[u8])) {
        let every = (self.recorder.events() / cuts).max(1);
        let mut replay = self.recorder.replay();
        let mut event = 0;
        while replay.step() {
            event += 1;
            if event % every != 0 {
                continue;
            }
            for unflushed in [
                Unflushed::Lost,
                Unflushed::Kept,
                Unflushed::Mixed(event as u64),
            ] {
                let image = replay.after_power_cut(unflushed);
                check(event, &file_in(&image, self.file));
                if event % (every * 8) == 0 {
                    assert_mendable(&image);
                }
            }
        }
    }
}

/// The content after the log has been replayed.
pub(super) fn file_in(image: &[u8], number: InodeNumber) -> Vec<u8> {
    let device = Arc::new(Memory::read_only(image.to_vec()));
    let volume = Volume::open(device, &OpenOptions::default()).unwrap();
    let inode = volume.inode(number).unwrap();
    let mut bytes = vec![0; inode.size_bytes() as usize];
    volume.read(&inode, &mut bytes, 0).unwrap();
    bytes
}

fn size_in(image: &[u8], number: InodeNumber) -> u64 {
    let device = Arc::new(Memory::read_only(image.to_vec()));
    let volume = Volume::open(device, &OpenOptions::default()).unwrap();
    volume.inode(number).unwrap().size_bytes()
}

/// e2fsck replays the log, ends what was being cut, and finds nothing else. Returns what it says.
fn assert_mendable(image: &[u8]) -> String {
    let place = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(place.path(), image).unwrap();
    let run = Command::new("e2fsck")
        .arg("-p")
        .arg(place.path())
        .output()
        .unwrap();
    let code = run.status.code();
    assert!(matches!(code, Some(0 | 1)), "e2fsck -p: {run:?}");
    assert_clean(&std::fs::read(place.path()).unwrap());
    String::from_utf8_lossy(&run.stdout).into_owned()
}

#[test]
fn what_is_appended_is_there_as_far_as_the_size_says() {
    let Some(bench) = Bench::new(OPTIONS, "4M") else {
        return;
    };
    let expected = pattern(120_000, 5);
    let mut durable = vec![(0, 0)];
    let mut at = 0;
    for (round, len) in [700, 5000, 1024, 33_000, 1, 20_000, 60_000]
        .into_iter()
        .enumerate()
    {
        let data = expected.get(at..expected.len().min(at + len)).unwrap();
        at += file::write(&bench.writer, bench.file, data, at as u64, AS_ROOT).unwrap();
        if round % 2 == 1 {
            bench.writer.sync().unwrap();
            durable.push((bench.recorder.events(), at));
        }
    }
    bench.cut(100, &|event, found| {
        let is_before = |(events, _): &&(usize, usize)| *events <= event;
        let least = durable
            .iter()
            .rev()
            .find(is_before)
            .map_or(0, |(_, size)| *size);
        assert!(
            found.len() >= least,
            "at {event}: {} < {least}",
            found.len()
        );
        assert!(found == expected.get(..found.len()).unwrap(), "at {event}");
    });
}

/// One of many changes of the file.
fn change_something(bench: &Bench, round: u64) {
    let (writer, number) = (&bench.writer, bench.file);
    let (at, len) = (round * 7919 % 150_000, round * 104_729 % 40_000 + 1);
    let keep_size = round.is_multiple_of(2);
    let result = match round % 6 {
        0 | 3 => {
            let data = pattern(len as usize, round);
            file::write(writer, number, &data, at, AS_ROOT).map(|_| ())
        }
        1 => file::truncate(writer, number, at, AS_ROOT),
        2 => allocate(
            writer,
            number,
            Allocation::Allocate { keep_size },
            at..at + len,
        ),
        4 => allocate(
            writer,
            number,
            Allocation::ZeroRange { keep_size },
            at..at + len,
        ),
        _ => allocate(writer, number, Allocation::PunchHole, at..at + len),
    };
    if let Err(error) = result {
        assert!(
            matches!(error.kind(), ErrorKind::NotSupported(_)),
            "{error}"
        );
    }
}

#[test]
fn stale_bytes_never_show() {
    for options in [OPTIONS, &["-t", "ext3", "-b", "1024", "-J", "size=1"]] {
        let Some(bench) = Bench::new(options, "4M") else {
            return;
        };
        for round in 0..60 {
            change_something(&bench, round);
            if round % 4 == 0 {
                bench.writer.sync().unwrap();
            }
        }
        bench.writer.sync().unwrap();
        bench.cut(60, &|event, found| {
            assert!(!found.contains(&STALE), "stale bytes at event {event}");
        });
    }
}

#[test]
fn a_cut_in_steps_is_finished_by_who_comes_next() {
    // So many groups that their bitmaps do not fit into one transaction.
    let mut options = OPTIONS.to_vec();
    options.extend(["-g", "256", "-N", "256"]);
    let Some(bench) = Bench::new(&options, "64M") else {
        return;
    };
    let chunk = vec![1; 1 << 20];
    let mut size = 0;
    while let Ok(len) = file::write(&bench.writer, bench.file, &chunk, size, AS_ROOT) {
        size += len as u64;
    }
    bench.writer.sync().unwrap();
    let before = bench.recorder.events();
    file::truncate(&bench.writer, bench.file, 2049, AS_ROOT).unwrap();
    bench.writer.sync().unwrap();
    assert!(bench.writer.orphans.all().is_empty());
    let mut replay = bench.recorder.replay();
    let (mut event, mut orphaned) = (0, 0);
    while replay.step() {
        event += 1;
        if event < before || event % 2 == 0 {
            continue;
        }
        let image = replay.after_power_cut(Unflushed::Lost);
        let len = size_in(&image, bench.file);
        assert!(len == size || len == 2049, "{len}");
        if assert_mendable(&image).contains("orphaned inode") {
            orphaned += 1;
        }
    }
    assert!(orphaned > 0, "all was removed at once");
}

/// What fdatasync(2) returned for is there, whatever the disk forgets after that.
#[test]
fn synced_content_stays() {
    let without_journal = &["-t", "ext4", "-b", "1024", "-O", "^has_journal"];
    for options in [OPTIONS, without_journal] {
        let Some(bench) = Bench::new(options, "4M") else {
            return;
        };
        let mut durable = Vec::new();
        for round in 0..120 {
            change_something(&bench, round / 2 * 5 + round % 2);
            bench.writer.sync_content(bench.file).unwrap();
            durable.push((bench.recorder.events(), content(&bench.writer, bench.file)));
        }
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
}

/// Times alone are no reason for a commit.
#[test]
fn overwriting_and_syncing_content_commits_nothing() {
    let Some(bench) = Bench::new(OPTIONS, "4M") else {
        return;
    };
    let writer = &bench.writer;
    let write = |byte: u8, at: u64| {
        let written = file::write(writer, bench.file, &[byte; 5000], at, AS_ROOT);
        assert_eq!(written.unwrap(), 5000);
    };
    write(1, 0);
    writer.sync_content(bench.file).unwrap();
    let committed = writer.transactions.committed();
    write(2, 0);
    writer.sync_content(bench.file).unwrap();
    assert_eq!(writer.transactions.committed(), committed);
    write(3, 3000);
    writer.sync_content(bench.file).unwrap();
    assert!(writer.transactions.committed() > committed);
}

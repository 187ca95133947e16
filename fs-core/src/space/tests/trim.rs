//! What the device is told about free blocks.

use std::sync::Arc;

use parking_lot::Mutex;

use super::*;

/// Memory that writes down what is discarded, and forgets it.
#[derive(Debug)]
struct Discarding {
    memory: images::Memory,
    discarded: Mutex<Vec<(u64, u64)>>,
}

impl images::BlockDevice for Discarding {
    fn size_bytes(&self) -> u64 {
        self.memory.size_bytes()
    }

    fn is_read_only(&self) -> bool {
        false
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> images::Result<()> {
        self.memory.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> images::Result<()> {
        self.memory.write_at(buf, offset)
    }

    fn write_zeroes(&self, offset: u64, len: u64) -> images::Result<()> {
        self.memory.write_zeroes(offset, len)
    }

    fn discard(&self, offset: u64, len: u64) -> images::Result<()> {
        self.discarded.lock().push((offset / 1024, len / 1024));
        self.memory.write_zeroes(offset, len)
    }

    fn flush(&self) -> images::Result<()> {
        self.memory.flush()
    }
}

fn open() -> Option<(Arc<Discarding>, Writer)> {
    let fixture = Fixture::new(&["-t", "ext4", "-b", "1024", "-g", "2048"], "16M")?;
    let device = Arc::new(Discarding {
        memory: images::Memory::new(fixture.close()),
        discarded: Mutex::new(Vec::new()),
    });
    let writer = open_writer(device.clone(), Clock::System).unwrap();
    Some((device, writer))
}

#[test]
fn trimming_discards_what_is_free_and_nothing_else() {
    let Some((device, writer)) = open() else {
        return;
    };
    let kept = changed(&writer, |change| change.allocate(metadata(9000, 100)));
    let freed = changed(&writer, |change| change.allocate(metadata(12_000, 10)));
    commit(&writer);
    changed(&writer, |change| change.free_data(freed));
    let all = FsBlock(u64::MAX);
    let bytes = writer
        .space
        .trim(&writer.store, FsBlock(0), all, 1)
        .unwrap();
    let before = writer.space.counts().blocks;
    assert_eq!(bytes, (before - 10) * 1024);
    let discarded = std::mem::take(&mut *device.discarded.lock());
    let blocks: BTreeSet<u64> = discarded
        .iter()
        .flat_map(|(start, len)| *start..start + len)
        .collect();
    assert_eq!(blocks.len() as u64, before - 10);
    assert!(blocks.iter().all(|block| !(9000..9100).contains(block)));
    assert!(blocks.iter().all(|block| !(12_000..12_010).contains(block)));
    // Parts, and runs that are long enough only.
    let trim = |start, end, len| {
        let store = &writer.store;
        writer
            .space
            .trim(store, FsBlock(start), FsBlock(end), len)
            .unwrap()
    };
    assert_eq!(trim(9090, 9110, 1), 10 * 1024);
    assert_eq!(trim(9090, 9110, 11), 0);
    assert_eq!(trim(9100, 9100, 1), 0);
    commit(&writer);
    changed(&writer, |change| change.free_data(kept));
    commit(&writer);
    assert_eq!(trim(8990, 9110, 120), 120 * 1024);
    close_writer(&writer).unwrap();
    crate::testing::assert_clean(&device.memory.snapshot());
}

#[test]
fn what_was_freed_is_discarded_when_it_is_durable() {
    let Some((device, mut writer)) = open() else {
        return;
    };
    writer.space.discard = true;
    // Across the border of two groups.
    let runs = [run(8193 - 50, 50), run(8193, 60), run(9000, 5)];
    let mut change = writer.begin(64).unwrap();
    for run in runs {
        writer
            .space
            .take_again(&writer.store, &mut change.handle, run)
            .unwrap();
    }
    change.finish();
    commit(&writer);
    for run in runs {
        changed(&writer, |change| change.free_data(run));
    }
    assert!(device.discarded.lock().is_empty());
    commit(&writer);
    let discarded = std::mem::take(&mut *device.discarded.lock());
    assert_eq!(discarded, [(8193 - 50, 110), (9000, 5)]);
    let again = changed(&writer, |change| change.allocate(metadata(8150, 40)));
    assert_eq!(again.start.0, 8150);
    changed(&writer, |change| change.free_data(again));
    close_writer(&writer).unwrap();
    crate::testing::assert_clean(&device.memory.snapshot());
}

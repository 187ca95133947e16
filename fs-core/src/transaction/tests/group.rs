//! Callers at one time share commits.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use images::{BlockDevice, Recorder, Unflushed};

use super::model::{Kind, Owner, World};
use super::{Limits, open};
use crate::journal::tests::small;

/// A device whose flushes take their time.
#[derive(Debug)]
struct SlowFlush {
    inner: Arc<Recorder>,
    flushes: AtomicU64,
}

impl BlockDevice for SlowFlush {
    fn size_bytes(&self) -> u64 {
        self.inner.size_bytes()
    }

    fn is_read_only(&self) -> bool {
        false
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> images::Result<()> {
        self.inner.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> images::Result<()> {
        self.inner.write_at(buf, offset)
    }

    fn write_zeroes(&self, offset: u64, len: u64) -> images::Result<()> {
        self.inner.write_zeroes(offset, len)
    }

    fn discard(&self, offset: u64, len: u64) -> images::Result<()> {
        self.inner.discard(offset, len)
    }

    fn flush(&self) -> images::Result<()> {
        std::thread::sleep(Duration::from_millis(20));
        self.flushes.fetch_add(1, Ordering::Relaxed);
        self.inner.flush()
    }
}

#[test]
fn waiting_callers_share_a_commit() {
    const CALLERS: usize = 12;
    let recorder = Arc::new(Recorder::new(small::image()));
    let device = Arc::new(SlowFlush {
        inner: recorder.clone(),
        flushes: AtomicU64::new(0),
    });
    let limits = Limits {
        transaction_blocks: 128,
        unsettled_blocks: 500,
    };
    let (transactions, cache) = open(device.clone(), limits);
    let world = World {
        transactions,
        cache,
        recorder: recorder.clone(),
        device: device.clone(),
    };
    let flushes_before = device.flushes.load(Ordering::Relaxed);
    let together = Barrier::new(CALLERS);
    let owners: Vec<Owner> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..CALLERS)
            .map(|number| {
                let (world, together) = (&world, &together);
                scope.spawn(move || {
                    let mut owner = Owner::new(number);
                    owner.change(world, Kind::Metadata, 0, true).unwrap();
                    together.wait();
                    owner.sync(world).unwrap();
                    owner.change(world, Kind::Metadata, 0, true).unwrap();
                    owner.sync(world).unwrap();
                    owner
                })
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    let committed = world.transactions.committed().0;
    let flushes = device.flushes.load(Ordering::Relaxed) - flushes_before;
    // The first round is one transaction; of the second the first to come has one of its own.
    assert!(committed <= 4, "{committed} commits for 24 callers");
    assert_eq!(flushes, 2 * committed);
    let homes = super::after_cut(&recorder, Unflushed::Lost);
    for owner in &owners {
        owner.check_recovered(&homes, "after sync");
    }
    // Who asks for what is durable costs nothing.
    world.sync().unwrap();
    assert_eq!(world.transactions.committed().0, committed);
}

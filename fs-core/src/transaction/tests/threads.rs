//! Many threads change, take back, sync, checkpoint and stop, in real time, and in
//! orders that a scheduler explores.
//!
//! What is proved: a finished change is recovered as a whole or not at all, one taken back
//! leaves nothing, sync returns only when its changes are durable, nothing that was freed
//! comes back over content, nobody waits for ever, and a stop wakes everybody.

use std::sync::Arc;

use images::{BlockDevice, Fault, Faulty, Operation, Recorder, Unflushed};

use super::model::{Kind, Owner, World};
use super::{SMALL, open};
use crate::error::ErrorKind;
use crate::journal::tests::small;
use crate::sync::thread;

const OWNERS: usize = 3;

/// SplitMix64.
struct Rng(u64);

impl Rng {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// Lets other threads come between before each operation of the device.
#[derive(Debug)]
struct Yielding(Arc<dyn BlockDevice>);

impl BlockDevice for Yielding {
    fn size_bytes(&self) -> u64 {
        self.0.size_bytes()
    }

    fn is_read_only(&self) -> bool {
        false
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> images::Result<()> {
        thread::yield_now();
        let read = self.0.read_at(buf, offset);
        thread::yield_now();
        read
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> images::Result<()> {
        thread::yield_now();
        self.0.write_at(buf, offset)
    }

    fn write_zeroes(&self, offset: u64, len: u64) -> images::Result<()> {
        self.0.write_zeroes(offset, len)
    }

    fn discard(&self, offset: u64, len: u64) -> images::Result<()> {
        self.0.discard(offset, len)
    }

    fn flush(&self) -> images::Result<()> {
        thread::yield_now();
        self.0.flush()
    }
}

/// How writing ends before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    None,
    Stop,
    Write(u64),
    Flush(u64),
}

/// What one thread does until it is done or writing has stopped.
fn work(world: &World, mut owner: Owner, mut rng: Rng, steps: u64) -> Owner {
    for _ in 0..steps {
        let kind = match rng.below(5) {
            0 | 1 => Kind::Metadata,
            2 | 3 => Kind::Free,
            _ => Kind::Content,
        };
        let (detours, keeps) = (rng.below(8), rng.below(4) != 0);
        let mut done = owner.change(world, kind, detours, keeps);
        if done.is_ok() && rng.below(3) == 0 {
            done = owner.sync(world);
            if done.is_ok() {
                // Nobody but this thread changes the owner.
                let homes = super::after_cut(&world.recorder, Unflushed::Lost);
                owner.check_recovered(&homes, "after sync");
            }
        }
        if done.is_ok() && rng.below(8) == 0 {
            done = world.transactions.checkpoint(&world.cache);
        }
        // A write of content that fails is the owner's trouble alone.
        if done.is_err() && world.transactions.check_alive().is_err() {
            break;
        }
    }
    owner
}

fn scenario(seed: u64, trouble: Trouble, steps: u64) {
    let recorder = Arc::new(Recorder::new(small::image()));
    let faulty = Arc::new(Faulty::new(recorder.clone()));
    let device: Arc<dyn BlockDevice> = Arc::new(Yielding(faulty.clone()));
    let (transactions, cache) = open(device.clone(), SMALL);
    let writes = faulty.count(Operation::Write);
    let flushes = faulty.count(Operation::Flush);
    match trouble {
        Trouble::Write(at) => faulty.set_fault(Operation::Write, Some(Fault::Once(writes + at))),
        Trouble::Flush(at) => faulty.set_fault(Operation::Flush, Some(Fault::Once(flushes + at))),
        _ => {}
    }
    let world = Arc::new(World {
        transactions,
        cache,
        recorder: recorder.clone(),
        device,
    });
    let threads: Vec<_> = (0..OWNERS)
        .map(|number| {
            let world = Arc::clone(&world);
            let rng = Rng(seed.wrapping_mul(31).wrapping_add(number as u64));
            thread::spawn(move || work(&world, Owner::new(number), rng, steps))
        })
        .collect();
    if trouble == Trouble::Stop {
        for _ in 0..seed % 40 {
            thread::yield_now();
        }
        world.transactions.stop("the test says so");
    }
    let mut owners: Vec<Owner> = threads.into_iter().map(|t| t.join().unwrap()).collect();
    if trouble == Trouble::None {
        for owner in &mut owners {
            owner.sync(&world).unwrap();
        }
    } else if let Err(error) = world.sync() {
        assert!(matches!(error.kind(), ErrorKind::Stopped(_)) || trouble != Trouble::Stop);
        let written = recorder.events();
        world.transactions.checkpoint(&world.cache).unwrap_err();
        world.transactions.close_log().unwrap_err();
        assert!(world.begin(1).is_err() && recorder.events() == written);
    }
    judge(&owners, &recorder, seed);
}

/// Cuts the power here and there.
fn judge(owners: &[Owner], recorder: &Recorder, seed: u64) {
    let mut rng = Rng(seed);
    let events = recorder.events() as u64;
    let mut cuts: Vec<u64> = (0..3).map(|_| rng.below(events)).collect();
    cuts.sort_unstable();
    let mut replay = recorder.replay();
    for event in 0..events {
        replay.step();
        if cuts.contains(&event) {
            for unflushed in [Unflushed::Lost, Unflushed::Mixed(seed + event)] {
                let (homes, _) = small::recovered(replay.after_power_cut(unflushed));
                let what = format!("seed {seed}, cut after event {event}, {unflushed:?}");
                for owner in owners {
                    super::model::check(&homes, owner.number, &what);
                    let found = super::model::entry(&homes, owner.number) / 4;
                    assert!(
                        !owner.dropped.contains(&found),
                        "{what}: {found} was dropped"
                    );
                }
            }
        }
    }
    for unflushed in [Unflushed::Lost, Unflushed::Kept] {
        let homes = super::after_cut(recorder, unflushed);
        for owner in owners {
            owner.check_recovered(&homes, &format!("seed {seed}, at the end, {unflushed:?}"));
        }
    }
}

#[test]
fn changes_of_many_threads() {
    for seed in 0..25 {
        scenario(seed, Trouble::None, 40);
    }
}

#[test]
fn writing_that_stops_while_threads_work() {
    for seed in 0..40 {
        let trouble = match seed % 3 {
            0 => Trouble::Stop,
            1 => Trouble::Write(seed),
            _ => Trouble::Flush(seed / 2),
        };
        scenario(seed, trouble, 40);
    }
}

mod explored {
    use super::{Trouble, scenario};
    use crate::sync::exploring;
    use shuttle::rand::{Rng, thread_rng};
    use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};

    /// Few steps, so that their orders count.
    const STEPS: u64 = 3;

    /// Orders tried by each scheduler; `EXTMAP_EXPLORE` says another number.
    fn orders() -> usize {
        let asked = std::env::var("EXTMAP_EXPLORE").ok();
        asked.and_then(|n| n.parse().ok()).unwrap_or(150)
    }

    fn explore(scheduler: impl Scheduler + 'static, trouble: fn(u64) -> Trouble) {
        let mut config = shuttle::Config::new();
        config.stack_size = 1 << 20;
        exploring(move || {
            shuttle::Runner::new(scheduler, config).run(move || {
                let seed = thread_rng().gen_range(0..1_000_000);
                scenario(seed, trouble(seed), STEPS);
            });
        });
    }

    fn troubles(seed: u64) -> Trouble {
        match seed % 3 {
            0 => Trouble::Stop,
            1 => Trouble::Write(seed % 17),
            _ => Trouble::Flush(seed % 11),
        }
    }

    #[test]
    fn explored_changes_of_many_threads() {
        explore(RandomScheduler::new(orders()), |_| Trouble::None);
        explore(PctScheduler::new(3, orders()), |_| Trouble::None);
    }

    #[test]
    fn explored_stops() {
        explore(RandomScheduler::new(orders()), troubles);
        explore(PctScheduler::new(3, orders()), troubles);
    }
}

//! A mount with an application of several threads at work on it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fs_core::{GroupNumber, WritableVolume, WriteOptions};
use images::BlockDevice;
use simulated_kernel::{Chaos, Kernel, OpenFile, SimDevice, Variant};
use system_tests::mkfs::judge::fsck;
use system_tests::rng::Rng;
use system_tests::scratch::Scratch;
use system_tests::tool;

use super::area::{Area, Slot, same};
use super::disturber::disturb;
use super::player::{self, Player};
use super::possible::Possible;
use super::{ROOT, Traits};
use crate::device::ServerDevice;
use crate::rig::{Plan, Rig, load, store};

/// Which thread works on which files of its own.
const OWN: [&[&str]; 3] = [&["a", "d"], &["b"], &["c"]];
/// Each thread has a part of this one.
const SHARED: &str = "shared";
const PART_BYTES: u64 = 192 << 10;
/// What free blocks hold before.
const GARBAGE: u8 = 0xEE;

/// How a world is made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setup {
    pub(super) variant: Variant,
    pub(super) mke2fs: &'static [&'static str],
    pub(super) traits: Traits,
    pub(super) seed: u64,
}

impl Setup {
    fn plan(&self) -> Plan<'static> {
        let mut plan = Plan::new(self.variant)
            .mke2fs(self.mke2fs)
            .image_bytes(self.traits.image_bytes);
        plan.settings.channels = OWN.len() + 1;
        plan.settings.chaos = Chaos {
            seed: self.seed,
            evict_permille: 30,
            interrupt_permille: 100,
            delay_max: Duration::from_micros(30),
        };
        plan
    }
}

/// See the module.
pub(super) struct World {
    setup: Setup,
    rig: Rig,
    /// Of each thread.
    areas: Vec<Vec<Area>>,
    shared: OpenFile,
    rng: Rng,
}

/// When a run is over.
#[derive(Debug, Clone, Copy)]
pub(super) enum Until {
    /// After so many operations.
    Done(u64),
    /// After so many the power is cut, in the middle of whatever is under way.
    Cut(u64),
}

impl World {
    pub(super) fn new(setup: Setup) -> Result<Self> {
        let Traits {
            image_bytes,
            block_bytes,
            ..
        } = setup.traits;
        let scratch = Arc::new(Scratch::new()?);
        let image = scratch.mke2fs("image", image_bytes, setup.mke2fs)?;
        let device = Arc::new(SimDevice::new(image_bytes, block_bytes));
        load(&image, &device)?;
        fill_free_space(&device, block_bytes)?;
        let rig = Rig::over(&setup.plan(), scratch, image, device)?;
        let kernel = &rig.kernel;
        let (_, shared) = kernel.create(ROOT, SHARED, 0o644, 2)?;
        player::uninterrupted(|| kernel.truncate(shared.nodeid, PART_BYTES * OWN.len() as u64))?;
        kernel.fsync(shared.nodeid, shared.fh)?;
        let slot = Slot::new(SHARED, shared.nodeid);
        let mut numbers = OWN.len()..;
        let mut areas = Vec::new();
        for (number, names) in OWN.iter().enumerate() {
            let mut part = Area {
                number,
                slot: Arc::clone(&slot),
                open: shared,
                start: number as u64 * PART_BYTES,
                is_whole: false,
                model: vec![0; PART_BYTES as usize],
                possible: Possible::new(),
            };
            part.is_synced();
            let mut areas_of_one = vec![part];
            for (name, number) in names.iter().zip(&mut numbers) {
                let (entry, open) = kernel.create(ROOT, name, 0o644, 2)?;
                areas_of_one.push(Area {
                    number,
                    slot: Slot::new(name, entry.nodeid),
                    open,
                    start: 0,
                    is_whole: true,
                    model: Vec::new(),
                    possible: Possible::new(),
                });
            }
            areas.push(areas_of_one);
        }
        Ok(Self {
            setup,
            rig,
            areas,
            shared,
            rng: Rng::new(setup.seed),
        })
    }

    fn all_areas(&self) -> impl Iterator<Item = &Area> {
        self.areas.iter().flatten()
    }

    /// Lets all threads work. Nobody sees a wrong byte.
    pub(super) fn run(&mut self, until: Until) -> Result<()> {
        let progress = Progress::default();
        let slots: Vec<_> = self
            .all_areas()
            .map(|area| Arc::clone(&area.slot))
            .collect();
        let (kernel, device, traits) = (&self.rig.kernel, &self.rig.device, self.setup.traits);
        let most = match until {
            Until::Done(operations) => operations / self.areas.len() as u64,
            Until::Cut(_) => u64::MAX,
        };
        let (rng, progress) = (&mut self.rng, &progress);
        std::thread::scope(|scope| {
            let seed = rng.next_u64();
            let disturber = scope.spawn(move || disturb(kernel, &slots, seed, &progress.is_over));
            let mut players = Vec::new();
            for areas in &mut self.areas {
                let rng = Rng::new(rng.next_u64());
                let player = Player {
                    kernel,
                    traits,
                    rng,
                };
                players.push(scope.spawn(move || play(player, areas, most, progress)));
            }
            if let Until::Cut(operations) = until {
                let is_broken = || players.iter().any(ScopedJoinHandle::is_finished);
                while progress.done.load(Ordering::Relaxed) < operations && !is_broken() {
                    std::thread::sleep(Duration::from_micros(100));
                }
                progress.is_over.store(true, Ordering::Relaxed);
                progress.is_cut.store(true, Ordering::Relaxed);
                device.set_failing(true);
            }
            let joined: Vec<_> = players.into_iter().map(ScopedJoinHandle::join).collect();
            progress.is_over.store(true, Ordering::Relaxed);
            for outcome in joined.into_iter().chain([disturber.join()]) {
                outcome.map_err(|_| anyhow::anyhow!("a panic"))??;
            }
            Ok(())
        })
    }

    /// Everybody sees what the model says.
    pub(super) fn check(&self) -> Result<()> {
        for area in self.all_areas() {
            let found = Player::whole(&self.rig.kernel, area)?;
            same(&found, &area.model).with_context(|| format!("area {}", area.number))?;
        }
        let failed = self.rig.kernel.counts().failed_completions;
        ensure!(failed == 0, "{failed} IOENDs were answered with an error");
        Ok(())
    }

    /// Ends; a new server shows the same.
    pub(super) fn finish(mut self) -> Result<()> {
        for area in self.all_areas().filter(|area| area.is_whole) {
            self.rig.kernel.close(area.open)?;
        }
        self.rig.kernel.close(self.shared)?;
        let (scratch, image, device) = self.rig.unmounted()?;
        self.rig = Rig::over(&self.setup.plan(), scratch, image, device)?;
        for area in self.areas.iter().flatten() {
            let node = self.rig.kernel.lookup(ROOT, area.slot.name)?.nodeid;
            area.slot.set_node(node);
            let found = Player::whole(&self.rig.kernel, area)?;
            same(&found, &area.model).context("after the next mount")?;
        }
        self.rig.finish()
    }

    /// The power has gone: e2fsck mends what is left by the log alone, and a new mount shows
    /// of each file what is possible.
    pub(super) fn recovered(mut self) -> Result<Self> {
        let violations = self.rig.kernel.violations();
        ensure!(violations.is_empty(), "violations: {violations:#?}");
        let rng = &mut self.rng;
        // One in two of what was not flushed gets there.
        let (scratch, image, device) = self.rig.cut(|_| rng.below(2) == 0);
        judge(&device, &image)?;
        let setup = Setup {
            seed: rng.next_u64(),
            ..self.setup
        };
        let rig = Rig::over(&setup.plan(), scratch, image, device)?;
        let shared = rig.kernel.lookup(ROOT, SHARED)?.nodeid;
        let shared = rig.kernel.open(shared, 2)?;
        for area in self.areas.iter_mut().flatten() {
            recover(&rig.kernel, shared, area)
                .with_context(|| format!("area {} of {}", area.number, area.slot.name))?;
        }
        Ok(Self {
            setup,
            rig,
            areas: self.areas,
            shared,
            rng: self.rng,
        })
    }
}

/// What the threads tell each other.
#[derive(Debug, Default)]
struct Progress {
    is_over: AtomicBool,
    is_cut: AtomicBool,
    /// Operations that were begun.
    done: AtomicU64,
}

/// One thread's work.
fn play(mut player: Player<'_>, areas: &mut [Area], most: u64, progress: &Progress) -> Result<()> {
    let is_cut = || progress.is_cut.load(Ordering::Relaxed);
    for at in 0..most {
        if is_cut() {
            break;
        }
        progress.done.fetch_add(1, Ordering::Relaxed);
        match player.step(areas) {
            // Of a device without power nothing else is to be expected, nor of a cache that
            // could not be written to it.
            Err(_) if is_cut() => break,
            outcome => outcome.with_context(|| format!("operation {at}"))?,
        }
    }
    Ok(())
}

/// Looks at what a power cut has left of an area, and goes on from there.
fn recover(kernel: &Kernel, shared: OpenFile, area: &mut Area) -> Result<()> {
    let found = match area.is_whole {
        true => kernel
            .lookup(ROOT, area.slot.name)
            .ok()
            .map(|entry| entry.nodeid),
        false => Some(shared.nodeid),
    };
    let Some(node) = found else {
        area.possible.check(area.number, None)?;
        let (entry, open) = kernel.create(ROOT, area.slot.name, 0o644, 2)?;
        area.slot.set_node(entry.nodeid);
        area.open = open;
        area.model.clear();
        area.possible = Possible::new();
        return Ok(());
    };
    area.slot.set_node(node);
    area.open = match area.is_whole {
        true => kernel.open(node, 2)?,
        false => shared,
    };
    area.model = Player::whole(kernel, area)?;
    area.possible.check(area.number, Some(&area.model))?;
    area.is_synced();
    Ok(())
}

/// e2fsck replays the log, ends what was being removed, and finds nothing else.
fn judge(device: &SimDevice, image: &Path) -> Result<()> {
    store(device, image)?;
    let output = tool::output("e2fsck", &["-p".as_ref(), image.as_os_str()])?;
    ensure!(
        matches!(output.status.code(), Some(0 | 1)),
        "e2fsck -p: {}",
        tool::failure(&output)
    );
    fsck(image)
}

/// Writes garbage to all free blocks, behind the back of whoever mounts.
fn fill_free_space(device: &Arc<SimDevice>, block_bytes: u64) -> Result<()> {
    let server: Arc<dyn BlockDevice> = Arc::new(ServerDevice::new(Arc::clone(device))?);
    let volume = WritableVolume::open(server, &WriteOptions::default())?;
    let groups = volume.superblock().group_count;
    let mut free = Vec::new();
    for group in 0..groups {
        free.extend(volume.free_block_runs(GroupNumber(group))?);
    }
    volume.close()?;
    for (start, len) in free {
        for block in start.0..start.0 + len {
            let garbage = vec![GARBAGE; usize::try_from(block_bytes)?];
            device.write_at(block * block_bytes, &garbage)?;
        }
    }
    device.flush();
    Ok(())
}

//! Content under random operations, with writeback, eviction and misfortune at any moment,
//! against a model; and power cuts.
//!
//! Bytes of file `n` lie in a range of values of its own, and what was free on the image holds
//! yet another: whatever shows up in the wrong place is recognised.
//!
//! GETATTR does not meet a truncation here: a kernel that takes an older, larger size from its
//! answer does not tell of a direct write below that at all, and no server can know of it.
//!
//! `EXTMAP_IOMAP_OPERATIONS` says how many operations each combination of kernel and image gets.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fs_core::{GroupNumber, WritableVolume, WriteOptions};
use images::BlockDevice;
use parking_lot::RwLock;
use simulated_kernel::{Chaos, Errno, Kernel, OpenFile, SimDevice, Variant};
use system_tests::rng::Rng;
use system_tests::scratch::Scratch;

use crate::device::ServerDevice;
use crate::rig::{Plan, Rig, VARIANTS, load, possible};

const ROOT: u64 = 1;
const NAMES: [&str; 4] = ["a", "b", "c", "d"];
/// Values of bytes of one file.
const VALUES: u8 = 50;
/// What free blocks hold before.
const GARBAGE: u8 = 0xEE;
const SIZE_MAX: u64 = 600 << 10;
const IMAGE_BYTES: u64 = 16 << 20;
const OPERATIONS_DEFAULT: u64 = 2500;
/// Operations between two power cuts.
const UNTIL_CUT: u64 = 400;

const KINDS: [&[&str]; 5] = [
    &["-t", "ext4", "-b", "4096"],
    &["-t", "ext4", "-b", "1024"],
    &["-t", "ext4", "-b", "4096", "-O", "inline_data"],
    &["-t", "ext3", "-b", "1024"],
    &["-t", "ext4", "-b", "4096", "-O", "^has_journal"],
];

/// `EXTMAP_IOMAP_SEED` has other runs than the usual ones.
fn first_seed() -> Result<u64> {
    let asked = std::env::var("EXTMAP_IOMAP_SEED").ok();
    Ok(asked.map_or(Ok(1), |asked| asked.parse())?)
}

/// See above.
static CUTTING: RwLock<()> = RwLock::new(());

fn operations() -> Result<u64> {
    let asked = std::env::var("EXTMAP_IOMAP_OPERATIONS").ok();
    Ok(asked.map_or(Ok(OPERATIONS_DEFAULT), |asked| asked.parse())?)
}

/// A file and what is in it.
struct File {
    number: usize,
    node: u64,
    open: OpenFile,
    model: Vec<u8>,
    /// Nothing has changed since it was synced.
    is_synced: bool,
}

struct World {
    rig: Rig,
    files: Vec<File>,
    rng: Rng,
    /// Whether files have extents, and so unwritten blocks.
    has_extents: bool,
}

fn block_bytes(kind: &[&str]) -> u64 {
    match kind.contains(&"1024") {
        true => 1024,
        false => 4096,
    }
}

fn plan<'a>(variant: Variant, kind: &'a [&'a str], seed: u64) -> Plan<'a> {
    let mut plan = Plan::new(variant).mke2fs(kind).image_bytes(IMAGE_BYTES);
    plan.settings.chaos = Chaos {
        seed,
        evict_permille: 30,
        interrupt_permille: 0,
        delay_max: Duration::from_micros(30),
    };
    plan
}

impl World {
    fn new(variant: Variant, kind: &[&str], seed: u64) -> Result<Self> {
        let scratch = Arc::new(Scratch::new()?);
        let image = scratch.mke2fs("image", IMAGE_BYTES, kind)?;
        let device = Arc::new(SimDevice::new(IMAGE_BYTES, block_bytes(kind)));
        load(&image, &device)?;
        fill_free_space(&device, block_bytes(kind))?;
        let rig = Rig::over(&plan(variant, kind, seed), scratch, image, device)?;
        let mut world = Self {
            rig,
            files: Vec::new(),
            rng: Rng::new(seed),
            has_extents: !kind.contains(&"ext3"),
        };
        for (number, name) in NAMES.iter().enumerate() {
            let (entry, open) = world.rig.kernel.create(ROOT, name, 0o644, 2)?;
            world.files.push(File {
                number,
                node: entry.nodeid,
                open,
                model: Vec::new(),
                is_synced: false,
            });
        }
        Ok(world)
    }

    fn kernel(&self) -> &Kernel {
        &self.rig.kernel
    }

    /// Some operations, while somebody else writes pages back, drops them and asks for
    /// attributes.
    fn run(&mut self, operations: u64) -> Result<()> {
        let is_over = AtomicBool::new(false);
        let seed = self.rng.next_u64();
        let (kernel, files, rng) = (&self.rig.kernel, &mut self.files, &mut self.rng);
        let nodes: Vec<u64> = files.iter().map(|file| file.node).collect();
        let has_extents = self.has_extents;
        std::thread::scope(|scope| {
            let disturber = scope.spawn(|| disturb(kernel, &nodes, seed, &is_over));
            let done = (0..operations).try_for_each(|at| {
                let index = rng.below(NAMES.len() as u64) as usize;
                step(kernel, &mut files[index], rng, has_extents)
                    .with_context(|| format!("operation {at}, file {}", NAMES[index]))
            });
            is_over.store(true, Ordering::Relaxed);
            let disturbed = disturber.join().map_err(|_| anyhow::anyhow!("a panic"))?;
            done.and(disturbed)
        })
    }

    /// Everybody sees what the model says.
    fn check(&self) -> Result<()> {
        for file in &self.files {
            let len = file.model.len() as u64;
            let found = self.kernel().read(file.node, 0, SIZE_MAX * 2)?;
            same(&found, &file.model)
                .with_context(|| format!("all {len} bytes of {}", file.number))?;
        }
        Ok(())
    }

    /// Ends; a new server shows the same.
    fn finish(self, plan: &Plan<'_>) -> Result<()> {
        for file in &self.files {
            self.kernel().close(file.open)?;
        }
        let (scratch, image, device) = self.rig.unmounted()?;
        let rig = Rig::over(plan, scratch, image, device)?;
        for file in &self.files {
            let node = rig.kernel.lookup(ROOT, NAMES[file.number])?.nodeid;
            let found = rig.kernel.read(node, 0, SIZE_MAX * 2)?;
            same(&found, &file.model).context("after the next mount")?;
        }
        rig.finish()
    }
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

fn disturb(kernel: &Kernel, nodes: &[u64], seed: u64, is_over: &AtomicBool) -> Result<()> {
    let mut rng = Rng::new(seed);
    while !is_over.load(Ordering::Relaxed) {
        let node = nodes[rng.below(nodes.len() as u64) as usize];
        let outcome = match rng.below(8) {
            0 => kernel.drop_pages(node),
            1..=3 => {
                let _no_truncation = CUTTING.read();
                kernel.getattr(node).map(drop)
            }
            4 => {
                let all = [Errno::NOMEM, Errno::INVAL, Errno::IO, Errno::UCLEAN];
                kernel.refuse_upsert(all[rng.below(4) as usize]);
                Ok(())
            }
            _ => kernel.write_back(node),
        };
        // It may be out of core for a moment, or the volume full.
        if let Err(errno) = outcome {
            ensure!(
                matches!(errno, Errno::STALE | Errno::NOENT | Errno::NOSPC),
                "disturbing: {errno}"
            );
        }
        std::thread::sleep(Duration::from_micros(rng.below(300)));
    }
    Ok(())
}

fn same(found: &[u8], expected: &[u8]) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    let at = found.iter().zip(expected).position(|(a, b)| a != b);
    let shown = |bytes: &[u8]| {
        at.and_then(|at| bytes.get(at..(at + 8).min(bytes.len())).map(<[u8]>::to_vec))
    };
    anyhow::bail!(
        "{} bytes for {}, different from {at:?}: {:?} for {:?}",
        found.len(),
        expected.len(),
        shown(found),
        shown(expected)
    )
}

fn step(kernel: &Kernel, file: &mut File, rng: &mut Rng, has_extents: bool) -> Result<()> {
    match rng.below(20) {
        0..=5 => read(kernel, file, rng),
        6..=12 => write(kernel, file, rng),
        13 => truncate(kernel, file, rng),
        14 | 15 => allocate(kernel, file, rng, has_extents),
        16 => {
            kernel.fsync(file.node, file.open.fh)?;
            file.is_synced = true;
            Ok(())
        }
        17 => reopen(kernel, file),
        18 => evict(kernel, file),
        _ => {
            kernel.write_back(file.node)?;
            Ok(kernel.drop_pages(file.node)?)
        }
    }
}

fn read(kernel: &Kernel, file: &File, rng: &mut Rng) -> Result<()> {
    let size = file.model.len() as u64;
    let mut pos = rng.below(size + 5000);
    let mut len = 1 + rng.below(70_000);
    let found = match rng.below(3) {
        0 => kernel.read(file.node, pos, len)?,
        1 => {
            pos -= pos % 512;
            len = len.next_multiple_of(512);
            kernel.read_direct(file.node, pos, len)?
        }
        _ => {
            len = len.min(size.saturating_sub(pos));
            if len == 0 {
                return Ok(());
            }
            kernel.map_read(file.node, pos, len)?
        }
    };
    let from = pos.min(size) as usize;
    let to = pos.saturating_add(len).min(size) as usize;
    same(&found, &file.model[from..to]).with_context(|| format!("reading {len} at {pos} of {size}"))
}

fn write(kernel: &Kernel, file: &mut File, rng: &mut Rng) -> Result<()> {
    let size = file.model.len() as u64;
    let is_append = rng.below(3) == 0;
    let mut pos = match is_append {
        true => size,
        false => rng.below(SIZE_MAX.min(size * 2 + 10_000)),
    };
    let mut len = match rng.below(3) {
        0 => 1 + rng.below(100),
        _ => 1 + rng.below(60_000),
    };
    let value = file.number as u8 * VALUES + 1 + rng.below(u64::from(VALUES)) as u8;
    let how = rng.below(5);
    if how == 0 {
        len = len.min(size.saturating_sub(pos));
        if len == 0 {
            return Ok(());
        }
    }
    if how == 1 || how == 2 {
        pos -= pos % 512;
        len = len.next_multiple_of(512);
    }
    len = len.min(SIZE_MAX.saturating_sub(pos) / 512 * 512);
    if len == 0 {
        return Ok(());
    }
    let bytes = vec![value; len as usize];
    match how {
        0 => kernel.map_write(file.node, pos, &bytes)?,
        1 | 2 => kernel.write_direct(file.node, pos, &bytes)?,
        _ => kernel.write(file.node, pos, &bytes)?,
    }
    let end = (pos + len) as usize;
    if file.model.len() < end {
        file.model.resize(end, 0);
    }
    file.model[pos as usize..end].fill(value);
    file.is_synced = false;
    Ok(())
}

fn truncate(kernel: &Kernel, file: &mut File, rng: &mut Rng) -> Result<()> {
    let size = rng.below(SIZE_MAX);
    let no_getattr = CUTTING.write();
    kernel.truncate(file.node, size)?;
    drop(no_getattr);
    file.model.resize(size as usize, 0);
    file.is_synced = false;
    Ok(())
}

fn allocate(kernel: &Kernel, file: &mut File, rng: &mut Rng, has_extents: bool) -> Result<()> {
    const KEEP_SIZE: u32 = 1;
    const PUNCH: u32 = 3;
    const ZERO: u32 = 16;
    let mode = [0, KEEP_SIZE, PUNCH, PUNCH, ZERO, ZERO | KEEP_SIZE][rng.below(6) as usize];
    if !has_extents && mode != PUNCH {
        return Ok(());
    }
    let pos = rng.below(SIZE_MAX);
    let len = 1 + rng.below((SIZE_MAX - pos).min(100_000));
    kernel.fallocate(file.node, file.open.fh, mode, pos, len)?;
    let end = (pos + len) as usize;
    if mode & KEEP_SIZE == 0 && file.model.len() < end {
        file.model.resize(end, 0);
    }
    if mode & (ZERO | 2) != 0 {
        let to = end.min(file.model.len());
        let from = (pos as usize).min(to);
        file.model[from..to].fill(0);
    }
    file.is_synced = false;
    Ok(())
}

fn reopen(kernel: &Kernel, file: &mut File) -> Result<()> {
    kernel.close(file.open)?;
    file.open = kernel.open(file.node, 2)?;
    Ok(())
}

fn evict(kernel: &Kernel, file: &mut File) -> Result<()> {
    kernel.close(file.open)?;
    kernel.forget(file.node)?;
    let entry = kernel.lookup(ROOT, NAMES[file.number])?;
    ensure!(entry.nodeid == file.node, "another node");
    ensure!(
        entry.attr.size == file.model.len() as u64,
        "a size of {} for {}",
        entry.attr.size,
        file.model.len()
    );
    file.open = kernel.open(file.node, 2)?;
    Ok(())
}

#[test]
fn content_is_right_whatever_happens() -> Result<()> {
    if !possible() {
        return Ok(());
    }
    let operations = operations()?;
    for (seed, kind) in (first_seed()?..).zip(KINDS) {
        for variant in VARIANTS {
            let run = || {
                let mut world = World::new(variant, kind, seed)?;
                world.run(operations)?;
                world.check()?;
                world.finish(&plan(variant, kind, seed))
            };
            run().with_context(|| format!("{variant:?}, {kind:?}, seed {seed}"))?;
        }
    }
    Ok(())
}

/// What a cut leaves: the device, and what each file held, if that is certain.
struct Left {
    scratch: Arc<Scratch>,
    image: PathBuf,
    device: Arc<SimDevice>,
    files: Vec<(Vec<u8>, bool)>,
}

fn cut(world: World, rng: &mut Rng) -> Left {
    let World { rig, files, .. } = world;
    let (scratch, image, device) = rig.cut(|chunk| {
        // One in two of what was not flushed gets there.
        rng.next_u64().wrapping_add(chunk).is_multiple_of(2)
    });
    Left {
        scratch,
        image,
        device,
        files: files
            .into_iter()
            .map(|file| (file.model, file.is_synced))
            .collect(),
    }
}

/// Mounts what is left; what was synced is there, and nothing that is not the file's own.
fn recovered(left: Left, variant: Variant, kind: &[&str], seed: u64) -> Result<World> {
    let Left {
        scratch,
        image,
        device,
        files: before,
    } = left;
    let rig = Rig::over(&plan(variant, kind, seed), scratch, image, device)?;
    let mut files = Vec::new();
    for (number, (model, is_synced)) in before.into_iter().enumerate() {
        let Ok(entry) = rig.kernel.lookup(ROOT, NAMES[number]) else {
            ensure!(!is_synced, "{} is gone", NAMES[number]);
            let (entry, open) = rig.kernel.create(ROOT, NAMES[number], 0o644, 2)?;
            files.push(File {
                number,
                node: entry.nodeid,
                open,
                model: Vec::new(),
                is_synced: false,
            });
            continue;
        };
        let open = rig.kernel.open(entry.nodeid, 2)?;
        let found = rig.kernel.read(entry.nodeid, 0, SIZE_MAX * 2)?;
        if is_synced {
            same(&found, &model).with_context(|| format!("synced content of {}", NAMES[number]))?;
        }
        let own = number as u8 * VALUES + 1..=(number as u8 + 1) * VALUES;
        let foreign = found
            .iter()
            .position(|byte| *byte != 0 && !own.contains(byte));
        ensure!(
            foreign.is_none(),
            "{} shows {:#x} at {foreign:?}",
            NAMES[number],
            foreign.map_or(0, |at| found[at])
        );
        files.push(File {
            number,
            node: entry.nodeid,
            open,
            model: found,
            is_synced: false,
        });
    }
    Ok(World {
        rig,
        files,
        rng: Rng::new(seed),
        has_extents: !kind.contains(&"ext3"),
    })
}

#[test]
fn what_was_synced_survives_power_cuts() -> Result<()> {
    if !possible() {
        return Ok(());
    }
    let cuts = operations()? / UNTIL_CUT;
    for (seed, kind) in (first_seed()?..).zip(KINDS) {
        // Without a journal a crash may cost anything.
        if kind.contains(&"^has_journal") {
            continue;
        }
        for variant in VARIANTS {
            let run = || {
                let mut rng = Rng::new(seed);
                let mut world = World::new(variant, kind, seed)?;
                for round in 0..cuts {
                    world.run(rng.below(UNTIL_CUT * 2))?;
                    let left = cut(world, &mut rng);
                    world = recovered(left, variant, kind, seed * 1000 + round)
                        .with_context(|| format!("cut {round}"))?;
                }
                world.finish(&plan(variant, kind, seed))
            };
            run().with_context(|| format!("{variant:?}, {kind:?}, seed {seed}"))?;
        }
    }
    Ok(())
}

//! Eight threads at once: each with a directory of its own, in which its model must be right
//! to the last byte, and all together in shared directories, where only what must always
//! hold is looked at: every name leads to an inode, links are counted, nothing fails in a
//! way that none of them could have caused. Then e2fsck.

use anyhow::{Context, Result, anyhow, bail, ensure};
use fs_core::{
    Clock, InodeNumber, NewInode, NewKind, RenameMode, WritableVolume, WriteOptions, XattrSet,
};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use rustix::io::Errno;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use system_tests::mkfs::TOOLS;
use system_tests::mkfs::judge::fsck;
use system_tests::rng::Rng;
use system_tests::scratch::Scratch;
use system_tests::skip;
use system_tests::write::draw::{Draw, What, draw};
use system_tests::write::kinds::VolumeKind;
use system_tests::write::load;
use system_tests::write::run::{Counts, Run, START};
use system_tests::write::tree::{Kind, NodeId, Tree};

const THREADS: u64 = 8;

/// A way to run the threads.
struct Variant {
    kind: VolumeKind,
    /// Draws of each thread.
    draws: u32,
    /// One operation in so many is followed by an fsync.
    fsync_one_in: u64,
    options: WriteOptions,
}

fn options() -> WriteOptions {
    WriteOptions {
        clock: Clock::Fixed(START),
        commit_interval_ms: 30,
        ..WriteOptions::default()
    }
}

fn kind(name: &str) -> Result<VolumeKind> {
    VolumeKind::named(name)
        .copied()
        .with_context(|| format!("no kind {name}"))
}

/// What one thread does.
struct Thread<'v> {
    volume: &'v Arc<WritableVolume>,
    number: u64,
    own: InodeNumber,
    shared: &'v [InodeNumber],
    /// Operations in shared directories that did something.
    met: &'v AtomicU64,
    variant: &'v Variant,
}

impl Thread<'_> {
    fn run(&self) -> Result<(Run, Counts)> {
        let mut run = Run::inside(self.volume, self.own, InodeNumber::ROOT, START)?;
        // Others on each kind of volume.
        let seed = self.number + 8 * self.variant.kind.name.len() as u64;
        let mut rng = Rng::new(seed);
        let mut runner = TestRunner::new_with_rng(
            Config::default(),
            TestRng::from_seed(RngAlgorithm::ChaCha, &[seed as u8; 32]),
        );
        let mut limits = self.variant.kind.limits();
        (limits.many, limits.len_max) = (60, limits.len_max / 4);
        for _ in 0..self.variant.draws {
            let drawn: Draw = draw()
                .new_tree(&mut runner)
                .map_err(|why| anyhow!("{why}"))?
                .current();
            if matches!(drawn.what, What::Reopen | What::Squeeze) {
                continue;
            }
            for operation in drawn.operations(&run.model, &limits) {
                run.step(&operation)?;
            }
            self.meet_others(&mut rng)?;
            if rng.below(self.variant.fsync_one_in) == 0 {
                self.volume.fsync(self.own)?;
            }
        }
        run.compare()?;
        let counts = run.counts.clone();
        Ok((run, counts))
    }

    /// One operation in a shared directory; whatever others do meanwhile, it may fail only
    /// in certain ways.
    fn meet_others(&self, rng: &mut Rng) -> Result<()> {
        let volume = self.volume;
        let mut directory = || self.shared[rng.below(self.shared.len() as u64) as usize];
        let (from, to) = (directory(), directory());
        let name = format!("shared {}", rng.below(12));
        let other = format!("shared {}", rng.below(12));
        let (name, other) = (name.as_bytes(), other.as_bytes());
        let outcome = match rng.below(14) {
            0 | 1 => volume.create(from, name, &NewInode::file(0o644)).map(drop),
            2 => volume
                .create(from, name, &NewInode::directory(0o755))
                .map(drop),
            3 => volume
                .create(from, name, &NewInode::symlink(&[b't'; 80]))
                .map(drop),
            4 => volume.unlink(from, name),
            5 => volume.rmdir(from, name),
            6 => volume.rename(from, name, to, other, RenameMode::Replace),
            7 => volume.rename(from, name, to, other, RenameMode::Exchange),
            8 => volume.rename(from, name, to, other, RenameMode::NoReplace),
            how => self.meet_inode(from, name, to, other, how, rng),
        };
        let Err(error) = outcome else {
            self.met.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        };
        let expected = [
            Errno::NOENT,
            Errno::EXIST,
            Errno::NOTEMPTY,
            Errno::ISDIR,
            Errno::NOTDIR,
            Errno::INVAL,
            Errno::PERM,
            Errno::NOSPC,
        ];
        ensure!(
            expected.contains(&error.errno()),
            "in a shared directory: {error}"
        );
        Ok(())
    }
}

impl Thread<'_> {
    /// Something with what a shared name leads to, which is held meanwhile: else its number
    /// could be another's by then.
    fn meet_inode(
        &self,
        from: InodeNumber,
        name: &[u8],
        to: InodeNumber,
        other: &[u8],
        how: u64,
        rng: &mut Rng,
    ) -> fs_core::Result<()> {
        let volume = self.volume;
        let inode = volume.retain_child(from, name)?.number();
        let bytes = |rng: &mut Rng, max: u64| {
            let len = rng.below(max);
            rng.bytes(len as usize)
        };
        let outcome = match how {
            9 => volume.link(inode, to, other),
            10 => {
                let data = bytes(rng, 9000);
                volume.write(inode, &data, rng.below(50_000)).map(drop)
            }
            11 => volume.truncate(inode, rng.below(30_000)),
            12 => volume.unlink(from, name),
            _ => {
                let value = bytes(rng, 300);
                volume.set_xattr(inode, b"user.shared", &value, XattrSet::Any)
            }
        };
        let released = volume.release(inode);
        outcome.and(released)
    }
}

/// Each inode has as many names as it counts.
fn check_links(tree: &Tree) -> Result<()> {
    let mut names: HashMap<NodeId, u32> = HashMap::new();
    for node in tree.nodes.values() {
        for child in node
            .entries()
            .into_iter()
            .flat_map(|entries| entries.values())
        {
            *names.entry(*child).or_insert(0) += 1;
        }
    }
    for (id, node) in &tree.nodes {
        let wanted = match &node.kind {
            Kind::Directory { entries, .. } => {
                let is_directory = |child: &&NodeId| {
                    tree.nodes
                        .get(child)
                        .is_some_and(|node| node.is_directory())
                };
                2 + u32::try_from(entries.values().filter(is_directory).count())?
            }
            _ => names.get(id).copied().unwrap_or(0),
        };
        ensure!(
            node.links == wanted,
            "{id:?} counts {} of {wanted} links",
            node.links
        );
    }
    Ok(())
}

fn check(variant: &Variant) -> Result<()> {
    if !skip::allowed(TOOLS) {
        return Ok(());
    }
    let device = variant.kind.image()?.device();
    let volume = Arc::new(WritableVolume::open(device.clone(), &variant.options)?);
    let root = InodeNumber::ROOT;
    let make = |name: String| volume.create(root, name.as_bytes(), &NewInode::directory(0o755));
    let own: Vec<InodeNumber> = (0..THREADS)
        .map(|number| Ok(make(format!("own {number}"))?.number()))
        .collect::<Result<_>>()?;
    let mut shared = Vec::new();
    for number in 0..3 {
        let outer = make(format!("shared {number}"))?.number();
        shared.push(outer);
        let inner = volume.create(outer, b"inner", &NewInode::new(NewKind::Directory, 0o755))?;
        shared.push(inner.number());
        // It stays, whatever becomes of its name.
        volume.retain(inner.number())?;
    }
    let met = AtomicU64::new(0);
    let mut runs = Vec::new();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .zip(&own)
            .map(|(number, own)| {
                let thread = Thread {
                    volume: &volume,
                    number,
                    own: *own,
                    shared: &shared,
                    met: &met,
                    variant,
                };
                scope.spawn(move || thread.run().with_context(|| format!("thread {number}")))
            })
            .collect();
        for thread in threads {
            match thread.join() {
                Ok(run) => runs.push(run),
                Err(_) => runs.push(Err(anyhow!("a thread panicked"))),
            }
        }
    });
    let mut counts = Counts::default();
    let mut models = Vec::new();
    for run in runs {
        let (run, more) = run?;
        counts.add(&more);
        run.compare().context("once all others ended")?;
        models.push(run.model);
    }
    let volume = Arc::into_inner(volume).context("somebody uses the volume")?;
    check_links(&load::tree(&volume)?)?;
    volume.close()?;
    let scratch = Scratch::new()?;
    let path = scratch.path("image");
    device.image().write_to(&path)?;
    fsck(&path)?;
    let volume = WritableVolume::open(device, &variant.options)?;
    for (mut model, own) in models.into_iter().zip(own) {
        model.reopen();
        let seen = load::tree_at(&volume, own, root)?;
        let lines = model.tree.diff(&seen, "model", "volume");
        if !lines.is_empty() {
            bail!("{}", system_tests::write::tree::Differences(&lines));
        }
    }
    println!(
        "{}: {} operations, and {} in shared directories:{counts}",
        variant.kind.name,
        counts.total(),
        met.into_inner(),
    );
    Ok(())
}

#[test]
fn with_a_journal() -> Result<()> {
    check(&Variant {
        kind: VolumeKind {
            size_kib: 64 << 10,
            ..kind("ext4 4k")?
        },
        draws: 600,
        fsync_one_in: u64::MAX,
        options: options(),
    })
}

#[test]
fn with_fsync_and_a_tiny_journal() -> Result<()> {
    check(&Variant {
        kind: VolumeKind {
            size_kib: 32 << 10,
            mke2fs: &["-b", "1024", "-J", "size=1"],
            ..kind("tiny journal")?
        },
        draws: 600,
        fsync_one_in: 6,
        options: options(),
    })
}

#[test]
fn with_little_space() -> Result<()> {
    check(&Variant {
        kind: VolumeKind {
            size_kib: 3 << 10,
            ..kind("few blocks, inline_data, ea_inode")?
        },
        draws: 600,
        fsync_one_in: 20,
        options: options(),
    })
}

#[test]
fn without_a_journal() -> Result<()> {
    check(&Variant {
        kind: kind("no journal")?,
        draws: 600,
        fsync_one_in: 10,
        options: options(),
    })
}

#[test]
fn with_little_memory() -> Result<()> {
    check(&Variant {
        kind: kind("ext3")?,
        draws: 600,
        fsync_one_in: 30,
        options: WriteOptions {
            cache_bytes: 1 << 20,
            ..options()
        },
    })
}

//! A volume made by mke2fs that takes a population in, and e2fsck as its judge.

use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use fs_core::encode::{self, RawSuperblock};
use fs_core::{ExtentState, FileBlock, GroupNumber, InodeNumber, Superblock, Timestamp, Volume};
use images::BlockDevice;

use crate::populate::Population;
use crate::request::{Identity, Writing};
use crate::space::{Run, Space};
use crate::{Result, Tree};

/// When everything is made, in seconds since 1970.
pub(super) const NOW: i64 = 1_700_000_000;

/// An image with an empty file system.
pub(super) struct Host {
    pub(super) image: PathBuf,
    pub(super) superblock: Superblock,
    pub(super) identity: Identity,
}

pub(super) fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program)
        .args(arguments)
        .env("E2FSPROGS_FAKE_TIME", NOW.to_string())
        .stdin(Stdio::null())
        .output()
        .expect("the program runs")
}

pub(super) fn writing(threads: usize) -> Writing {
    Writing {
        discard: false,
        prezeroed: false,
        lazy_itable_init: false,
        lazy_journal_init: false,
        threads,
    }
}

impl Host {
    /// Makes an image of `size` with mke2fs's options.
    pub(super) fn new(directory: &Path, options: &str, size: &str) -> Self {
        Self::hashed(directory, options, size, "half_md4", 1)
    }

    /// One with another directory hash, over signed (1) or unsigned (2) characters.
    pub(super) fn hashed(
        directory: &Path,
        options: &str,
        size: &str,
        algorithm: &str,
        signedness: u32,
    ) -> Self {
        let image = directory.join("image");
        let mut arguments = vec!["-q", "-F", "-U", "11111111-2222-3333-4444-555555555555"];
        let seed = "hash_seed=01234567-89ab-cdef-0123-456789abcdef,lazy_itable_init=0";
        arguments.extend(["-E", seed]);
        arguments.extend(options.split_whitespace());
        arguments.extend([image.to_str().expect("UTF-8"), size]);
        let output = run("mke2fs", &arguments);
        assert!(output.status.success(), "{options}: {output:?}");
        let path = image.to_str().expect("UTF-8");
        if (algorithm, signedness) != ("half_md4", 1) {
            for value in [
                format!("def_hash_version {algorithm}"),
                format!("flags {signedness}"),
            ] {
                let output = run("debugfs", &["-w", "-R", &format!("ssv {value}"), path]);
                assert!(output.status.success(), "{output:?}");
            }
        }
        // What is free is not zero: what ought to be zero must be written.
        let file = std::fs::File::open(&image).expect("the image");
        let len = file.metadata().expect("metadata").len();
        let mut bytes = [0; 1024];
        file.read_exact_at(&mut bytes, 1024).expect("a superblock");
        let raw = <RawSuperblock as zerocopy::FromBytes>::read_from_bytes(&bytes);
        let superblock = encode::superblock(&raw.expect("1024 bytes"), len);
        let host = Self {
            image,
            superblock: superblock.expect("a superblock"),
            identity: identity(),
        };
        host.soil();
        host
    }

    pub(super) fn volume(&self) -> Volume {
        Volume::open(self.open(true), &fs_core::OpenOptions::default()).expect("a volume")
    }

    pub(super) fn device(&self) -> Arc<dyn BlockDevice> {
        self.open(false)
    }

    /// Opens the image, which programs that other tests start may hold for a moment:
    /// between fork and exec they have all our descriptors, and so our locks.
    fn open(&self, read_only: bool) -> Arc<dyn BlockDevice> {
        let options = images::OpenOptions {
            read_only,
            ..images::OpenOptions::default()
        };
        for _ in 0..500 {
            match images::open(&self.image, &options) {
                Err(images::Error::InUse { .. }) => {
                    std::thread::sleep(std::time::Duration::from_millis(10));
                }
                other => return other.expect("the image"),
            }
        }
        panic!("the image stays in use");
    }

    fn free_runs(&self) -> Vec<Run> {
        let volume = self.volume();
        let groups = (0..volume.group_count()).map(GroupNumber);
        let runs = groups.flat_map(|group| volume.free_block_runs(group).expect("a bitmap"));
        runs.map(|(start, len)| Run::new(start.0, len)).collect()
    }

    /// Fills free blocks with something (the first 64 of each run).
    fn soil(&self) {
        let runs = self.free_runs();
        let device = self.device();
        let block_bytes = u64::from(self.superblock.block_bytes);
        for run in runs {
            let len = run.len_blocks.min(64) * block_bytes;
            let soil = vec![0xA5; usize::try_from(len).expect("a length")];
            device
                .write_at(&soil, run.start.0 * block_bytes)
                .expect("room");
        }
    }

    /// What mke2fs left free, and the blocks of its "/" and "lost+found".
    pub(super) fn space(&self) -> Space {
        let mut free = self.free_runs();
        let volume = self.volume();
        for number in [2, 11] {
            let inode = volume.inode(InodeNumber(number)).expect("an inode");
            let mut at = 0;
            while at < inode.size_bytes() / u64::from(self.superblock.block_bytes) {
                let extent = volume.map(&inode, FileBlock(at)).expect("a map");
                let ExtentState::Written(start) = extent.state else {
                    panic!("a hole");
                };
                let unit = u64::from(self.superblock.cluster_bytes / self.superblock.block_bytes);
                let end = (start.0 + extent.len_blocks).next_multiple_of(unit);
                free.push(Run::new(start.0, end - start.0));
                at += extent.len_blocks;
            }
        }
        free.sort_unstable();
        let first = u64::from(self.superblock.first_data_block);
        let mut space = Space::new(first..self.superblock.blocks_count);
        let mut at = first;
        for run in free {
            assert!(space.take(Run::new(at, run.start.0 - at)));
            at = run.end();
        }
        assert!(space.take(Run::new(at, self.superblock.blocks_count - at)));
        space
    }

    /// Places a tree and writes it with its inodes: what e2fsck has to mend after
    /// that are bitmaps and counts.
    pub(super) fn put(&self, tree: &Tree, threads: usize) -> Result<()> {
        let last = self.put_into(tree, threads, || self.device())?;
        self.mark_tables_used(last);
        Ok(())
    }

    /// Places a tree and writes it to the device that is opened then; the last inode.
    pub(super) fn put_into(
        &self,
        tree: &Tree,
        threads: usize,
        open: impl FnOnce() -> Arc<dyn BlockDevice>,
    ) -> Result<InodeNumber> {
        let mut space = self.space();
        let first = InodeNumber(self.superblock.first_inode + 1);
        let mut population =
            Population::begin(&self.superblock, &self.identity, tree, first, &mut space)?;
        population.place_rest(&mut space)?;
        let volume = self.volume();
        let tables: Vec<u64> = (0..volume.group_count())
            .map(|group| volume.group(GroupNumber(group)).expect("a group"))
            .map(|group| group.inode_table.0)
            .collect();
        drop(volume);
        let device = open();
        population.write_blocks(&*device, &writing(threads), &())?;
        let per_group = self.superblock.inodes_per_group;
        for inode in population.inodes() {
            let (number, bytes) = inode?;
            let table = tables[((number.0 - 1) / per_group) as usize];
            let index = u64::from((number.0 - 1) % per_group);
            let at = table * u64::from(self.superblock.block_bytes) + index * bytes.len() as u64;
            device.write_at(&bytes, at)?;
        }
        Ok(population.last_inode())
    }

    /// Tells e2fsck to look at all inodes, which is the groups' business.
    fn mark_tables_used(&self, last: InodeNumber) {
        if !self.superblock.features.ro_compat.intersects(
            fs_core::RoCompatFeatures::METADATA_CSUM | fs_core::RoCompatFeatures::GDT_CSUM,
        ) {
            return;
        }
        let volume = self.volume();
        let mut commands = String::new();
        for group in 0..=(last.0 - 1) / self.superblock.inodes_per_group {
            let flags = volume.group(GroupNumber(group)).expect("a group").flags;
            let flags = flags & !fs_core::BG_INODE_UNINIT | fs_core::BG_INODE_ZEROED;
            commands += &format!("set_bg {group} flags {flags}\nset_bg {group} itable_unused 0\n");
            commands += &format!("set_bg {group} checksum calc\n");
        }
        drop(volume);
        let mut debugfs = Command::new("debugfs")
            .args(["-w", "-f", "-"])
            .env("E2FSPROGS_FAKE_TIME", NOW.to_string())
            .arg(&self.image)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("debugfs");
        let mut stdin = debugfs.stdin.take().expect("a pipe");
        stdin.write_all(commands.as_bytes()).expect("debugfs reads");
        drop(stdin);
        assert!(debugfs.wait().expect("debugfs ends").success());
    }

    /// e2fsck may mend bitmaps and counts, and nothing else; then it is content.
    pub(super) fn check(&self) {
        let image = self.image.to_str().expect("UTF-8");
        let output = run("e2fsck", &["-fy", image]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (before, _) = text.split_once("Pass 5").expect("all passes");
        let is_quiet = before.lines().all(|line| {
            ["Pass 1:", "Pass 2:", "Pass 3:", "Pass 4:"].iter().any(|pass| line.starts_with(pass))
                || line.is_empty()
                // Written anew by pass 5.
                || line.contains("bitmap does not match checksum")
        });
        assert!(is_quiet, "{text}");
        let output = run("e2fsck", &["-fn", image]);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stdout)
        );
    }
}

fn identity() -> Identity {
    Identity {
        uuid: uuid::Uuid::nil(),
        hash_seed: uuid::Uuid::nil(),
        label: Vec::new(),
        last_mounted: Vec::new(),
        time: Timestamp {
            seconds: NOW,
            nanos: 0,
        },
        root_owner: None,
        root_permissions: None,
    }
}

//! A pair of images: mke2fs's, and ours made from what mke2fs's superblock says.

use anyhow::{Context, Result};
use fs_core::encode::RawSuperblock;
use fs_core::{CompatFeatures, Features, FsBlock, IncompatFeatures, RoCompatFeatures, Timestamp};
use mkfs::{Foundation, Geometry, Identity, JournalGeometry, Plan, Request, Tree, Writing};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use system_tests::scratch::Scratch;
use system_tests::tool;
use uuid::Uuid;

const UUID: &str = "9f1b7a52-4c58-4f0a-8d70-6d0b3c5e1a2f";
const HASH_SEED: &str = "0c5e1a2f-1111-4222-8333-6d0b3c5e1a2f";
/// What a used device is full of.
pub(crate) const GARBAGE: u8 = 0xA5;
const TIME: i64 = 1_700_000_000;

/// Options of mke2fs, and what cannot be read back from its superblock.
#[derive(Debug)]
pub(crate) struct Case {
    size_bytes: u64,
    args: &'static str,
    pub(crate) packed_meta_blocks: bool,
    pub(crate) journal_location: Option<u64>,
    pub(crate) bad_blocks: Vec<u64>,
    pub(crate) is_over_garbage: bool,
    pub(crate) is_lazy: bool,
    pub(crate) is_mountable: bool,
}

/// Both images.
pub(crate) struct Pair {
    pub(crate) scratch: Scratch,
    pub(crate) theirs: PathBuf,
    pub(crate) ours: PathBuf,
    pub(crate) superblock: RawSuperblock,
    /// First block of group 0's inode table.
    pub(crate) inode_table: u64,
}

impl Case {
    pub(crate) fn new(size_bytes: u64, args: &'static str) -> Self {
        Self {
            size_bytes,
            args,
            packed_meta_blocks: false,
            journal_location: None,
            bad_blocks: Vec::new(),
            is_over_garbage: false,
            is_lazy: true,
            is_mountable: true,
        }
    }

    pub(crate) fn make(&self) -> Result<Pair> {
        let scratch = Scratch::new()?;
        let theirs = self.empty_image(&scratch, "theirs.img")?;
        self.run_mke2fs(&scratch, &theirs)?;
        let superblock = read_superblock(&theirs)?;
        let request = self.request(&superblock, &theirs)?;
        let ours = self.empty_image(&scratch, "ours.img")?;
        let device = images::open(&ours, &images::OpenOptions::default())?;
        let foundation = Foundation::new(&request)?;
        let tree = Tree::empty(request.identity.time);
        let report = Plan::new(&foundation, &tree)?.write(&*device, &())?;
        eprintln!("{report:?}");
        let listing = tool::run("dumpe2fs", &[&theirs])?;
        let (_, table) = listing
            .split_once("Inode table at ")
            .context("no inode table")?;
        let (table, _) = table.split_once('-').context("no inode table")?;
        Ok(Pair {
            inode_table: table.parse()?,
            scratch,
            theirs,
            ours,
            superblock,
        })
    }

    fn empty_image(&self, scratch: &Scratch, name: &str) -> Result<PathBuf> {
        if self.is_over_garbage {
            let len = usize::try_from(self.size_bytes)?;
            return scratch.file(name, &vec![GARBAGE; len]);
        }
        scratch.sparse(name, self.size_bytes)
    }

    fn run_mke2fs(&self, scratch: &Scratch, image: &Path) -> Result<()> {
        let mut command = Command::new("mke2fs");
        command
            .env("PATH", tool::path())
            .env("E2FSPROGS_FAKE_TIME", TIME.to_string())
            .args(["-q", "-F", "-U", UUID]);
        let mut extended = format!("hash_seed={HASH_SEED}");
        let mut words = self.args.split_whitespace();
        let mut has_type = false;
        while let Some(word) = words.next() {
            has_type |= word == "-t";
            if word == "-E" {
                let value = words.next().context("-E without a value")?;
                extended = format!("{extended},{value}");
            } else {
                command.arg(word);
            }
        }
        if !has_type {
            command.args(["-t", "ext4"]);
        }
        command.args(["-E", &extended]);
        if !self.bad_blocks.is_empty() {
            let list: Vec<String> = self.bad_blocks.iter().map(u64::to_string).collect();
            command.arg("-l");
            command.arg(scratch.file("bad", list.join("\n").as_bytes())?);
        }
        let output = command.arg(image).output()?;
        anyhow::ensure!(output.status.success(), "{}", tool::failure(&output));
        Ok(())
    }

    fn request(&self, raw: &RawSuperblock, image: &Path) -> Result<Request> {
        let writing = Writing {
            discard: !self.is_over_garbage,
            prezeroed: false,
            lazy_itable_init: self.is_lazy,
            lazy_journal_init: false,
            threads: 1,
        };
        let identity = Identity {
            uuid: Uuid::from_bytes(raw.s_uuid),
            hash_seed: Uuid::parse_str(HASH_SEED)?,
            label: Vec::new(),
            last_mounted: Vec::new(),
            time: Timestamp {
                seconds: TIME,
                nanos: 0,
            },
            root_owner: None,
            root_permissions: None,
        };
        Ok(Request {
            geometry: self.geometry(raw, image)?,
            identity,
            writing,
        })
    }

    fn geometry(&self, raw: &RawSuperblock, image: &Path) -> Result<Geometry> {
        let features = Features {
            compat: CompatFeatures::from_bits_retain(raw.s_feature_compat.get()),
            incompat: IncompatFeatures::from_bits_retain(raw.s_feature_incompat.get()),
            ro_compat: RoCompatFeatures::from_bits_retain(raw.s_feature_ro_compat.get()),
        };
        let wide = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        let blocks = wide(raw.s_blocks_count_lo.get(), raw.s_blocks_count_hi.get());
        let per_group = raw.s_blocks_per_group.get();
        let first = raw.s_first_data_block.get();
        let groups = (blocks - u64::from(first)).div_ceil(per_group.into());
        let block_bytes = 1024 << raw.s_log_block_size.get();
        Ok(Geometry {
            block_bytes,
            blocks,
            first_data_block: first,
            blocks_per_group: per_group,
            inodes_per_group: raw.s_inodes_per_group.get(),
            groups: u32::try_from(groups)?,
            inode_bytes: raw.s_inode_size.get(),
            first_inode: raw.s_first_ino.get(),
            extra_isize: raw.s_want_extra_isize.get(),
            features,
            descriptor_bytes: raw.s_desc_size.get().max(32),
            reserved_gdt_blocks: raw.s_reserved_gdt_blocks.get(),
            first_meta_bg: raw.s_first_meta_bg.get(),
            log_groups_per_flex: raw.s_log_groups_per_flex,
            packed_meta_blocks: self.packed_meta_blocks,
            backup_groups: raw.s_backup_bgs.map(|group| group.get()),
            reserved_blocks: wide(raw.s_r_blocks_count_lo.get(), raw.s_r_blocks_count_hi.get()),
            journal: self.journal(features, image)?,
            orphan_file_blocks: orphan_file_blocks(raw, image, block_bytes)?,
            mmp_interval_seconds: raw.s_mmp_interval.get(),
            raid_stride: raw.s_raid_stride.get(),
            raid_stripe_width: raw.s_raid_stripe_width.get(),
            revision: raw.s_rev_level.get(),
            creator_os: raw.s_creator_os.get(),
            default_mount_options: raw.s_default_mount_opts.get(),
            errors_behavior: raw.s_errors.get(),
            max_mount_count: raw.s_max_mnt_count.get().cast_signed(),
            check_interval_seconds: raw.s_checkinterval.get(),
            hash_version: raw.s_def_hash_version,
            superblock_flags: raw.s_flags.get(),
            bad_blocks: self.bad_blocks.iter().copied().map(FsBlock).collect(),
        })
    }

    fn journal(&self, features: Features, image: &Path) -> Result<Option<JournalGeometry>> {
        if !features.compat.contains(CompatFeatures::HAS_JOURNAL) {
            return Ok(None);
        }
        let header = tool::run("dumpe2fs", &["-h".as_ref(), image.as_os_str()])?;
        let number = |name: &str| -> Result<u32> {
            let line = header.lines().find_map(|line| line.strip_prefix(name));
            Ok(line.context(name.to_owned())?.trim().parse()?)
        };
        Ok(Some(JournalGeometry {
            blocks: number("Total journal blocks:")?,
            fast_commit_blocks: number("Fast commit length:").unwrap_or(0),
            location: self.journal_location.map(FsBlock),
        }))
    }
}

/// The primary superblock of an image.
pub(crate) fn read_superblock(image: &Path) -> Result<RawSuperblock> {
    let mut bytes = [0; 1024];
    File::open(image)?.read_exact_at(&mut bytes, 1024)?;
    RawSuperblock::from_prefix(&bytes).context("no superblock")
}

fn orphan_file_blocks(raw: &RawSuperblock, image: &Path, block_bytes: u32) -> Result<u32> {
    let inode = raw.s_orphan_file_inum.get();
    if inode == 0 {
        return Ok(0);
    }
    let command = format!("stat <{inode}>");
    let text = tool::run(
        "debugfs",
        &["-R".as_ref(), command.as_ref(), image.as_os_str()],
    )?;
    let (_, size) = text.split_once("Size:").context("no size")?;
    let size: u32 = size.split_whitespace().next().context("no size")?.parse()?;
    Ok(size / block_bytes)
}

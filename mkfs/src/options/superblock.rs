//! What the superblock says beyond the shape of the groups.

use fs_core::{CompatFeatures, Features, FsBlock, IncompatFeatures, RoCompatFeatures};
use uuid::Uuid;

use super::features::{self, Feature};
use super::resolve::{HAS_JOURNAL, Volume};
use super::usage::unusable;
use super::{ErrorsBehavior, Size, groups, journal, mount_options};
use crate::{Error, Geometry, JournalGeometry, Result, Writing};

/// First ordinary inode: `s_first_ino`.
const FIRST_INODE: u32 = 11;
/// Bytes of the fields that every large inode has beyond the first 128.
const EXTRA_ISIZE: u16 = 32;
/// Groups whose metadata lies together, if nothing is asked for.
const FLEX_DEFAULT: u64 = 16;
/// Seconds between two updates of the MMP block, if nothing is asked for.
const MMP_INTERVAL_DEFAULT_SECONDS: u16 = 5;
/// Most blocks of an orphan file (the kernel's and libext2fs's limit).
const ORPHAN_FILE_MAX_BLOCKS: u64 = 512;
/// `s_flags`: directory hashes of signed characters; a test file system.
const FLAG_SIGNED_HASH: u32 = 1;
const FLAG_TEST_FS: u32 = 4;
/// Periodic checks, where a profile asks for them: every half year, or after 20
/// mounts and up to 19 more.
const CHECK_INTERVAL_SECONDS: u32 = 180 * 86_400;
const CHECK_MOUNTS: u32 = 20;

const FAST_COMMIT: Feature = Feature::Compat(CompatFeatures::FAST_COMMIT);
const ORPHAN_FILE: Feature = Feature::Compat(CompatFeatures::ORPHAN_FILE);

impl Volume<'_> {
    /// The whole geometry. The UUID only matters for periodic checks.
    pub(super) fn geometry(&self, uuid: Uuid) -> Result<Geometry> {
        let groups = &self.groups;
        let (journal, features) = self.journal()?;
        let (max_mount_count, check_interval_seconds) = self.periodic_check(uuid)?;
        let (raid_stride, raid_stripe_width) = self.raid();
        Ok(Geometry {
            block_bytes: self.block_bytes,
            blocks: groups.blocks,
            first_data_block: groups.first_data_block,
            blocks_per_group: groups.blocks_per_group,
            inodes_per_group: groups.inodes_per_group,
            groups: groups.groups,
            inode_bytes: u16::try_from(self.inode_bytes).map_err(|_| {
                Error::Option(format!(
                    "inodes of {} bytes (-I) are too large for the superblock",
                    self.inode_bytes
                ))
            })?,
            first_inode: FIRST_INODE,
            extra_isize: if self.inode_bytes > 128 {
                EXTRA_ISIZE
            } else {
                0
            },
            features,
            descriptor_bytes: groups::descriptor_bytes(&features),
            reserved_gdt_blocks: groups.reserved_gdt_blocks,
            first_meta_bg: 0,
            log_groups_per_flex: self.log_groups_per_flex()?,
            packed_meta_blocks: self.packed_meta_blocks()?,
            backup_groups: groups.backup_groups,
            reserved_blocks: groups.reserved_blocks,
            journal,
            orphan_file_blocks: self.orphan_file_blocks(&features)?,
            mmp_interval_seconds: self.mmp_interval_seconds()?,
            raid_stride,
            raid_stripe_width,
            revision: self.revision,
            creator_os: self.options.creator_os.number(),
            default_mount_options: self.default_mount_options()?,
            errors_behavior: self.errors_behavior()?,
            max_mount_count,
            check_interval_seconds,
            hash_version: self.hash_version()?,
            superblock_flags: match self.extended.test_fs {
                Some(true) => FLAG_SIGNED_HASH | FLAG_TEST_FS,
                _ => FLAG_SIGNED_HASH,
            },
            bad_blocks: self
                .options
                .bad_blocks
                .within(self.first_usable_block(), groups.blocks)?,
        })
    }

    /// How it is brought to the device.
    pub(super) fn writing(&self) -> Result<Writing> {
        let extended = &self.extended;
        let wish = |asked: Option<bool>, relation: &str, default: bool| match asked {
            Some(asked) => Ok(asked),
            None => Ok(self.stanzas.truth(relation)?.unwrap_or(default)),
        };
        // Only with a checksum over its unused part is an inode table left alone;
        // else the wish has nothing it could apply to.
        let checksummed = self
            .groups
            .features
            .ro_compat
            .intersects(RoCompatFeatures::GDT_CSUM.union(RoCompatFeatures::METADATA_CSUM));
        let lazy_itable_init: Result<bool> =
            wish(extended.lazy_itable_init, "lazy_itable_init", true);
        Ok(Writing {
            discard: wish(extended.discard, "discard", true)?,
            prezeroed: extended.assume_storage_prezeroed == Some(true) || self.target.known_zeroed,
            lazy_itable_init: lazy_itable_init? && checksummed,
            lazy_journal_init: wish(extended.lazy_journal_init, "lazy_journal_init", false)?,
            threads: self.options.threads.max(1),
        })
    }

    /// The block behind the first superblock and its descriptors.
    fn first_usable_block(&self) -> u64 {
        let groups = &self.groups;
        let descriptors = match self.has(IncompatFeatures::META_BG) {
            true => 1,
            false => groups.descriptor_blocks + u64::from(groups.reserved_gdt_blocks),
        };
        u64::from(groups.first_data_block) + 1 + descriptors
    }

    fn has(&self, feature: IncompatFeatures) -> bool {
        self.groups.features.incompat.contains(feature)
    }

    /// The journal, and the features, which lose it where the file system is too
    /// small for one that came by default.
    fn journal(&self) -> Result<(Option<JournalGeometry>, Features)> {
        let asked = &self.options.journal_options;
        let mut features = self.groups.features;
        let fast_commit = features.compat.contains(CompatFeatures::FAST_COMMIT);
        if !features.compat.contains(CompatFeatures::HAS_JOURNAL) {
            if asked.location.is_some() || asked.fast_commit_kib.is_some() {
                return Err(Error::Option(
                    "-J needs a journal: ask for the feature has_journal (-j)".to_owned(),
                ));
            }
            return Ok((None, features));
        }
        if asked.fast_commit_kib.is_some() && !fast_commit {
            return Err(Error::Option(
                "-J fast_commit_size= needs the feature fast_commit (-O fast_commit)".to_owned(),
            ));
        }
        let Some(default_blocks) = journal::default_blocks(self.groups.blocks) else {
            self.forgo_journal(&mut features)?;
            return Ok((None, features));
        };
        let length = journal::length(
            asked,
            default_blocks,
            self.block_bytes,
            self.groups.free_blocks,
            fast_commit,
        )?;
        let journal = JournalGeometry {
            blocks: length.blocks,
            fast_commit_blocks: length.fast_commit_blocks,
            location: self.journal_location()?,
        };
        Ok((Some(journal), features))
    }

    /// Takes off the journal and what lives on it.
    fn forgo_journal(&self, features: &mut Features) -> Result<()> {
        let options = self.options;
        let asked = options.journal
            || options.journal_options != super::JournalOptions::default()
            || [HAS_JOURNAL, FAST_COMMIT, ORPHAN_FILE]
                .iter()
                .any(|feature| options.features.asks_for(*feature));
        if asked {
            return Err(Error::Size(format!(
                "{} blocks are too few for a journal (2048 are needed): leave the feature has_journal off (-O ^has_journal) or make the file system larger",
                self.groups.blocks
            )));
        }
        for feature in [HAS_JOURNAL, FAST_COMMIT, ORPHAN_FILE] {
            features::set(features, feature, false);
        }
        Ok(())
    }

    fn journal_location(&self) -> Result<Option<FsBlock>> {
        if self.packed_meta_blocks()? {
            return Ok(Some(FsBlock(0)));
        }
        let by_profile = || match self.stanzas.last("journal_location") {
            Some("") | None => Ok(None),
            Some(text) => text.parse().map(Some),
        };
        let location: Option<Size> = match self.options.journal_options.location {
            Some(asked) => Some(asked),
            None => by_profile()?,
        };
        let Some(block) = location.map(|size| size.in_blocks(self.block_bytes)) else {
            return Ok(None);
        };
        if block >= self.groups.blocks {
            return Err(Error::Option(format!(
                "the journal cannot begin at block {block} (-J location=) of {} blocks",
                self.groups.blocks
            )));
        }
        Ok(Some(FsBlock(block)))
    }

    fn packed_meta_blocks(&self) -> Result<bool> {
        let packed = match self.extended.packed_meta_blocks {
            Some(packed) => packed,
            None => self.stanzas.truth("packed_meta_blocks")? == Some(true),
        };
        if packed && !self.has(IncompatFeatures::FLEX_BG) {
            return Err(Error::Option(
                "-E packed_meta_blocks needs the feature flex_bg (-O flex_bg)".to_owned(),
            ));
        }
        Ok(packed)
    }

    fn log_groups_per_flex(&self) -> Result<u8> {
        let asked = self.options.groups_per_flex;
        if !self.has(IncompatFeatures::FLEX_BG) {
            return match asked {
                None => Ok(0),
                Some(_) => Err(Error::Option(
                    "a number of groups per flex group (-G) needs the feature flex_bg (-O flex_bg)"
                        .to_owned(),
                )),
            };
        }
        let number = match asked {
            Some(asked) => asked.into(),
            None => match self.stanzas.number("flex_bg_size")? {
                None | Some(0) => FLEX_DEFAULT,
                Some(number) => number,
            },
        };
        if !number.is_power_of_two() || number > 1 << 31 {
            return Err(Error::Option(format!(
                "{number} groups per flex group (-G) are not possible: a power of two up to 2^31 is"
            )));
        }
        Ok(u8::try_from(number.ilog2()).unwrap_or(0))
    }

    fn orphan_file_blocks(&self, features: &Features) -> Result<u32> {
        let asked = self.extended.orphan_file_size;
        if !features.compat.contains(CompatFeatures::ORPHAN_FILE) {
            return match asked {
                None => Ok(0),
                Some(_) => Err(Error::Option(
                    "-E orphan_file_size= needs the feature orphan_file (-O orphan_file)"
                        .to_owned(),
                )),
            };
        }
        let blocks = match asked {
            Some(size) => size.in_blocks(self.block_bytes),
            // libext2fs: 1/4096 of the file system, 32 to 512 blocks.
            None => match self.groups.blocks {
                blocks if blocks < 128 * 1024 => 32,
                blocks => (blocks / 4096).min(ORPHAN_FILE_MAX_BLOCKS),
            },
        };
        u32::try_from(blocks)
            .ok()
            .filter(|_| (1..=ORPHAN_FILE_MAX_BLOCKS).contains(&blocks))
            .ok_or_else(|| {
                Error::Option(format!(
                    "an orphan file of {blocks} blocks (-E orphan_file_size=) is not possible: 1 to {ORPHAN_FILE_MAX_BLOCKS} blocks are"
                ))
            })
    }

    fn mmp_interval_seconds(&self) -> Result<u16> {
        match (
            self.has(IncompatFeatures::MMP),
            self.extended.mmp_interval_seconds,
        ) {
            (true, None | Some(0)) => Ok(MMP_INTERVAL_DEFAULT_SECONDS),
            (true, Some(seconds)) => Ok(seconds),
            (false, None) => Ok(0),
            (false, Some(_)) => Err(Error::Option(
                "-E mmp_update_interval= needs the feature mmp (-O mmp)".to_owned(),
            )),
        }
    }

    /// Stride and stripe width in blocks: as asked for, else the device's where
    /// they are more than a block.
    fn raid(&self) -> (u16, u32) {
        let target = self.target;
        let block = self.block_bytes;
        let (mut minimum, mut optimal) = (0, 0);
        if target.is_block_device {
            let sector = Some(target.physical_sector_bytes).filter(|sector| *sector > block);
            let known = |bytes: u32| Some(bytes).filter(|bytes| *bytes > 0);
            minimum = known(target.minimum_io_bytes).or(sector).unwrap_or(0);
            optimal = known(target.optimal_io_bytes).unwrap_or(minimum);
        }
        let in_blocks = |bytes: u32| if bytes > block { bytes / block } else { 0 };
        // A chunk that the superblock cannot state is as good as unknown.
        let stride = u16::try_from(in_blocks(minimum)).unwrap_or(0);
        let stride = self.extended.stride_blocks.unwrap_or(stride);
        let asked = self.extended.stripe_width_blocks;
        let width = asked.unwrap_or_else(|| in_blocks(optimal));
        if stride > 0 && !width.is_multiple_of(u32::from(stride)) {
            tracing::warn!("the stripe width {width} is not a multiple of the stride {stride}");
        }
        (stride, width)
    }

    fn default_mount_options(&self) -> Result<u32> {
        match self.revision {
            0 => Ok(0),
            _ => mount_options::parse(
                self.stanzas
                    .last("default_mntopts")
                    .unwrap_or("acl,user_xattr"),
            ),
        }
    }

    fn errors_behavior(&self) -> Result<u16> {
        let by_profile = || match self.stanzas.last("errors") {
            None => Ok(ErrorsBehavior::Continue),
            Some(text) => text.parse().map_err(|_| unusable("errors", text)),
        };
        match self.options.errors_behavior {
            Some(asked) => Ok(asked.number()),
            None => by_profile().map(ErrorsBehavior::number),
        }
    }

    fn hash_version(&self) -> Result<u8> {
        match self.stanzas.last("hash_alg") {
            None | Some("half_md4") => Ok(1),
            Some("legacy") => Ok(0),
            Some("tea") => Ok(2),
            Some(other) => Err(unusable("hash_alg", other)),
        }
    }

    /// Mounts and seconds between checks. The UUID scatters the mounts, so that
    /// not all file systems of a host are due at once.
    fn periodic_check(&self, uuid: Uuid) -> Result<(i16, u32)> {
        if self.stanzas.truth("enable_periodic_fsck")? != Some(true) {
            return Ok((-1, 0));
        }
        let sum: u32 = uuid.as_bytes().iter().copied().map(u32::from).sum();
        let mounts = CHECK_MOUNTS + sum % CHECK_MOUNTS;
        Ok((
            i16::try_from(mounts).unwrap_or(i16::MAX),
            CHECK_INTERVAL_SECONDS,
        ))
    }
}

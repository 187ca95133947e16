//! From wishes to numbers.
//!
//! The order of the steps is mke2fs's, because each looks at what the ones before
//! have settled: size, stanzas of the profile, features, block size, number of
//! blocks, inodes, groups, journal.

use fs_core::{CompatFeatures, Features, IncompatFeatures};
use uuid::Uuid;

use super::features::{self, Feature, FeatureEdits};
use super::groups::{self, Groups, Wanted};
use super::identity::{checked_label, checked_last_mounted};
use super::ratios::ReservedPercent;
use super::usage::{Purpose, Stanzas, unusable};
use super::{BlockSize, CreatorOs, Extended, Options, Profile, Target, block_size, feature_rules};
use crate::{Error, Identity, Request, Result};

/// The page of mke2fs's usual host, also where another one runs this.
const PAGE_BYTES: u32 = 4096;
/// mke2fs's features where a profile says nothing.
const BASE_FEATURES: &str = "sparse_super,large_file,filetype,resize_inode,dir_index";
/// Percent reserved for root where a profile says nothing.
const RESERVED_PERCENT_DEFAULT: f64 = 5.0;
pub(super) const HAS_JOURNAL: Feature = Feature::Compat(CompatFeatures::HAS_JOURNAL);
const RESIZE_INODE: Feature = Feature::Compat(CompatFeatures::RESIZE_INODE);

impl Options {
    /// Settles every number for one device.
    ///
    /// # Errors
    /// `Size` for a size no such file system can have, `Features` for features
    /// that exclude or need one another, `Option` for any other wish that cannot
    /// be fulfilled. The message says what to change.
    pub fn resolve(&self, target: &Target) -> Result<Request> {
        if self.cluster_bytes.is_some() {
            return Err(Error::Option(
                "clusters (-C) are not supported: extmap makes no file systems with bigalloc"
                    .to_owned(),
            ));
        }
        let built_in;
        let profile = match &self.profile {
            Some(profile) => profile,
            None => {
                built_in = Profile::built_in()?;
                &built_in
            }
        };
        let volume = Volume::settle(self, target, profile)?;
        let identity = self.identity(&volume)?;
        Ok(Request {
            geometry: volume.geometry(identity.uuid)?,
            writing: volume.writing()?,
            identity,
        })
    }

    pub(super) fn is_for_hurd(&self) -> bool {
        self.creator_os == CreatorOs::Hurd
    }

    /// The size in units of [`Options::size_unit_bytes`].
    fn size_in_units(&self, target: &Target) -> Result<u64> {
        let unit = self.size_unit_bytes();
        let mut units = target.size_bytes / u64::from(unit);
        if !target.explicit_size {
            units -= units % u64::from((PAGE_BYTES / unit).max(1));
        }
        if units == 0 {
            return Err(Error::Size(format!(
                "there is no room for a file system in {} bytes",
                target.size_bytes
            )));
        }
        Ok(units)
    }

    fn settled_revision(&self) -> Result<u32> {
        match self.revision {
            None | Some(1) => Ok(1),
            Some(0) => Ok(0),
            Some(other) => Err(Error::Option(format!(
                "revision {other} (-r) is not known: 0 and 1 are"
            ))),
        }
    }

    /// Features before their rules are looked at.
    fn wanted_features(&self, stanzas: &Stanzas<'_>, revision: u32) -> Result<Features> {
        let mut features = features::none();
        let mut put_on = |list: &str| -> Result<()> {
            list.parse::<FeatureEdits>()?.apply(&mut features);
            Ok(())
        };
        if revision > 0 {
            put_on(stanzas.last("base_features").unwrap_or(BASE_FEATURES))?;
            stanzas.each("features").try_for_each(&mut put_on)?;
        }
        if self.is_for_hurd() {
            feature_rules::mask_for_hurd(&mut features);
        }
        if !self.features.is_empty() {
            self.features.apply(&mut features);
        } else if revision > 0
            && let Some(list) = stanzas.last("default_features")
        {
            list.parse::<FeatureEdits>()?.apply(&mut features);
        }
        if self.is_for_hurd() {
            feature_rules::check_for_hurd(&features)?;
        }
        if self.journal || self.journal_options.size_mib.is_some() {
            features::set(&mut features, HAS_JOURNAL, true);
        }
        Ok(features)
    }

    fn settled_block_bytes(&self, stanzas: &Stanzas<'_>, target: &Target) -> Result<u32> {
        let sector = target.logical_sector_bytes;
        if let Some(BlockSize::Exactly(bytes)) = self.block_size {
            if bytes < sector {
                return Err(Error::Option(format!(
                    "blocks of {bytes} bytes (-b) are smaller than the device's sectors of {sector} bytes"
                )));
            }
            return Ok(bytes);
        }
        let by_use = match stanzas.last("blocksize") {
            // The page, which is what the kernel handles best.
            Some("-1") => PAGE_BYTES,
            _ => block_size::checked(stanzas.number("blocksize")?.unwrap_or(PAGE_BYTES.into()))?,
        };
        let least = match self.block_size {
            Some(BlockSize::AtLeast(bytes)) => bytes,
            _ => 0,
        };
        block_size::checked(by_use.max(least).max(sector).into())
    }

    fn settled_reserved_percent(&self, stanzas: &Stanzas<'_>) -> Result<ReservedPercent> {
        match self.reserved_percent {
            Some(percent) => Ok(percent),
            None => ReservedPercent::new(
                stanzas
                    .fraction("reserved_ratio")?
                    .unwrap_or(RESERVED_PERCENT_DEFAULT),
            ),
        }
    }

    fn identity(&self, volume: &Volume<'_>) -> Result<Identity> {
        let time = self.source_date_epoch.unwrap_or(self.now);
        Ok(Identity {
            uuid: self.uuid.uuid(time),
            hash_seed: volume.extended.hash_seed.unwrap_or_else(Uuid::new_v4),
            label: checked_label(&self.label)?,
            last_mounted: checked_last_mounted(&self.last_mounted)?,
            time,
            root_owner: volume.extended.root_owner,
            root_permissions: volume.extended.root_permissions,
        })
    }
}

/// A volume whose features, inodes and groups are settled.
pub(super) struct Volume<'a> {
    pub(super) options: &'a Options,
    pub(super) target: &'a Target,
    pub(super) stanzas: Stanzas<'a>,
    /// The profile's and, winning, the user's.
    pub(super) extended: Extended,
    pub(super) revision: u32,
    pub(super) block_bytes: u32,
    pub(super) inode_bytes: u32,
    pub(super) groups: Groups,
}

impl<'a> Volume<'a> {
    fn settle(options: &'a Options, target: &'a Target, profile: &'a Profile) -> Result<Self> {
        let unit = options.size_unit_bytes();
        let units = options.size_in_units(target)?;
        let purpose = Purpose {
            fs_type: options.fs_type.as_deref(),
            usage: &options.usage_types,
            size_bytes: units.saturating_mul(unit.into()),
            hurd: options.is_for_hurd(),
        };
        let stanzas = Stanzas::select(profile, &purpose)?;
        let mut extended = Extended::default();
        for list in stanzas.each("options") {
            extended = extended.and(list.parse()?);
        }
        let block_bytes = options.settled_block_bytes(&stanzas, target)?;
        let blocks = units / u64::from((block_bytes / unit).max(1));
        if blocks == 0 {
            return Err(Error::Size(format!(
                "{} bytes are less than a block of {block_bytes} bytes",
                target.size_bytes
            )));
        }
        let basis = Basis {
            options,
            stanzas: &stanzas,
            extended: extended.and(options.extended),
            revision: options.settled_revision()?,
            block_bytes,
            blocks,
        };
        let (groups, inode_bytes) = basis.groups()?;
        Ok(Self {
            options,
            target,
            extended: basis.extended,
            revision: basis.revision,
            stanzas,
            block_bytes,
            inode_bytes,
            groups,
        })
    }
}

/// What features and groups are computed from.
struct Basis<'a> {
    options: &'a Options,
    stanzas: &'a Stanzas<'a>,
    extended: Extended,
    revision: u32,
    block_bytes: u32,
    blocks: u64,
}

impl Basis<'_> {
    fn groups(&self) -> Result<(Groups, u32)> {
        let (options, stanzas) = (self.options, self.stanzas);
        let (blocks, block_bytes) = (self.blocks, self.block_bytes);
        let inode_bytes = options.settled_inode_bytes(stanzas, self.revision, block_bytes)?;
        let (features, reserved_gdt_blocks) = self.features(inode_bytes)?;
        let inodes =
            options.settled_inodes(stanzas, &features, blocks, block_bytes, inode_bytes)?;
        let groups = groups::shape(&Wanted {
            block_bytes,
            blocks,
            reserved_blocks: options.settled_reserved_percent(stanzas)?.of(blocks),
            blocks_per_group: options.blocks_per_group,
            inodes,
            inode_bytes,
            features,
            reserved_gdt_blocks,
            backups: self.backups(&features)?,
        })?;
        Ok((groups, inode_bytes))
    }

    /// The features without contradictions, and the descriptor blocks that
    /// `resize=` asks for.
    fn features(&self, inode_bytes: u32) -> Result<(Features, Option<u64>)> {
        let mut features = self.options.wanted_features(self.stanzas, self.revision)?;
        let auto_64bit = self.stanzas.truth("auto_64-bit_support")? == Some(true);
        if auto_64bit && self.blocks > feature_rules::BLOCKS_MAX_32BIT {
            features.incompat.insert(IncompatFeatures::BIT64);
        }
        let reserved = self.reserved_for_growth(&features)?;
        if reserved.is_some() {
            features::set(&mut features, RESIZE_INODE, true);
        }
        let resize_asked =
            self.extended.resize.is_some() || self.options.features.asks_for(RESIZE_INODE);
        feature_rules::settle_for_size(&mut features, self.blocks, self.block_bytes, resize_asked)?;
        feature_rules::settle(&mut features, self.revision, inode_bytes)?;
        Ok((features, reserved))
    }

    /// Blocks for the descriptors of the groups that growth to `-E resize=` adds;
    /// `None` if the blocks of today's have room for them, or nothing is asked.
    fn reserved_for_growth(&self, features: &Features) -> Result<Option<u64>> {
        let Some(resize) = self.extended.resize else {
            return Ok(None);
        };
        let grown = resize.in_blocks(self.block_bytes);
        if grown <= self.blocks {
            return Err(Error::Option(format!(
                "-E resize= asks for growth to {grown} blocks, but there are {} already",
                self.blocks
            )));
        }
        let group = match self.options.blocks_per_group {
            None | Some(0) => u64::from(self.block_bytes) * 8,
            Some(asked) => asked.into(),
        };
        let per_block = u64::from(self.block_bytes) / u64::from(groups::descriptor_bytes(features));
        let descriptor_blocks = |blocks: u64| blocks.div_ceil(group).div_ceil(per_block.max(1));
        let more = descriptor_blocks(grown) - descriptor_blocks(self.blocks);
        // The resize inode has one block of 4-byte pointers to them.
        Ok(Some(more.min(u64::from(self.block_bytes) / 4)).filter(|more| *more > 0))
    }

    /// Backups of the superblock with sparse_super2.
    fn backups(&self, features: &Features) -> Result<u8> {
        let sparse_super2 = features.compat.contains(CompatFeatures::SPARSE_SUPER2);
        match (self.extended.backups, sparse_super2) {
            (Some(_), false) => Err(Error::Option(
                "-E num_backup_sb= needs the feature sparse_super2 (-O sparse_super2)".to_owned(),
            )),
            (Some(asked), true) => Ok(asked),
            (None, _) => match self.stanzas.number("num_backup_sb")? {
                None => Ok(2),
                Some(number) => u8::try_from(number)
                    .ok()
                    .filter(|number| *number <= 2)
                    .ok_or_else(|| unusable("num_backup_sb", &number.to_string())),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn target(size_bytes: u64) -> Target {
        Target {
            size_bytes,
            ..Target::default()
        }
    }

    fn refusal(options: &Options, size_bytes: u64) -> String {
        match options.resolve(&target(size_bytes)) {
            Ok(request) => panic!("resolved to {:?}", request.geometry),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn sizes_without_room_are_refused() {
        let plain = Options::default();
        for size in [0, 1, 1023, 4095, 8 << 10, 100 << 10] {
            let message = refusal(&plain, size);
            assert!(!message.is_empty() && !message.contains('\n'), "{message}");
        }
    }

    #[test]
    fn huge_sizes_are_settled_at_once() {
        let large_blocks = Options {
            block_size: Some(BlockSize::Exactly(65_536)),
            ..Options::default()
        };
        let started = std::time::Instant::now();
        for tib in [16, 100, 1024] {
            let geometry = Options::default()
                .resolve(&target(tib << 40))
                .unwrap()
                .geometry;
            assert_eq!(geometry.blocks, tib << 28);
        }
        // Groups without number.
        for size in [(1 << 50) + (1 << 27), 1 << 60] {
            assert!(refusal(&Options::default(), size).contains("-b"));
        }
        let geometry = large_blocks.resolve(&target(16 << 50)).unwrap().geometry;
        assert_eq!(geometry.blocks, 1 << 38);
        assert!(refusal(&large_blocks, 1_000_000 << 40).contains("block groups"));
        assert!(refusal(&Options::default(), u64::MAX).contains("more"));
        assert!(started.elapsed().as_millis() < 1000);
    }

    #[test]
    fn wishes_that_nothing_would_come_of_are_refused() {
        let option = |edit: &dyn Fn(&mut Options)| {
            let mut options = Options::default();
            edit(&mut options);
            refusal(&options, 64 * MIB)
        };
        let extended = |list: &str| option(&|options| options.extended = list.parse().unwrap());
        assert!(extended("mmp_update_interval=9").contains("mmp"));
        assert!(extended("orphan_file_size=64").contains("orphan_file"));
        assert!(extended("num_backup_sb=1").contains("sparse_super2"));
        let journal = |list: &str| {
            option(&|options| {
                options.fs_type = Some("ext2".to_owned());
                options.journal_options = list.parse().unwrap();
            })
        };
        assert!(journal("location=5").contains("has_journal"));
        assert!(journal("size=4,fast_commit_size=64").contains("fast_commit"));
        assert!(journal("size=4,location=1G").contains("location"));
        assert!(option(&|options| options.cluster_bytes = Some(65_536)).contains("bigalloc"));
        let no_flex = |options: &mut Options| {
            options.features = "^flex_bg".parse().unwrap();
            options.extended.packed_meta_blocks = Some(true);
        };
        assert!(option(&no_flex).contains("flex_bg"));
        assert!(option(&|options| options.label = vec![b'x'; 17]).contains("label"));
        assert!(option(&|options| options.last_mounted = vec![b'x'; 64]).contains("-M"));
        assert!(option(&|options| options.fs_type = Some("xfs".to_owned())).contains("xfs"));
        assert!(option(&|options| options.bad_blocks = "2".parse().unwrap()).contains("bad block"));
    }

    #[test]
    fn a_journal_that_was_asked_for_is_not_dropped() {
        let plain = Options::default().resolve(&target(MIB)).unwrap();
        assert_eq!(plain.geometry.journal, None);
        assert!(
            !plain
                .geometry
                .features
                .compat
                .contains(CompatFeatures::HAS_JOURNAL)
        );
        let asked = Options {
            journal: true,
            ..Options::default()
        };
        assert!(refusal(&asked, MIB).contains("has_journal"));
    }

    #[test]
    fn packed_metadata_puts_the_journal_in_front() {
        let options = Options {
            extended: "packed_meta_blocks".parse().unwrap(),
            ..Options::default()
        };
        let geometry = options.resolve(&target(64 * MIB)).unwrap().geometry;
        assert!(geometry.packed_meta_blocks);
        assert_eq!(geometry.journal.unwrap().location.unwrap().0, 0);
    }

    #[test]
    fn the_device_decides_what_is_not_asked_for() {
        let device = Target {
            is_block_device: true,
            logical_sector_bytes: 4096,
            physical_sector_bytes: 16_384,
            minimum_io_bytes: 65_536,
            optimal_io_bytes: 262_144,
            ..target(64 * MIB)
        };
        let geometry = Options::default().resolve(&device).unwrap().geometry;
        assert_eq!(geometry.block_bytes, 4096, "not the 1024 of small ones");
        assert_eq!((geometry.raid_stride, geometry.raid_stripe_width), (16, 64));
        let sectors = Target {
            minimum_io_bytes: 0,
            optimal_io_bytes: 0,
            ..device
        };
        let geometry = Options::default().resolve(&sectors).unwrap().geometry;
        assert_eq!((geometry.raid_stride, geometry.raid_stripe_width), (4, 4));
        let small_blocks = Options {
            block_size: Some(BlockSize::Exactly(1024)),
            ..Options::default()
        };
        assert!(small_blocks.resolve(&device).is_err());
    }

    #[test]
    fn writing_follows_the_features_and_the_device() {
        let writing = |list: &str, known_zeroed| {
            let options = Options {
                features: list.parse().unwrap(),
                ..Options::default()
            };
            let target = Target {
                known_zeroed,
                ..target(64 * MIB)
            };
            options.resolve(&target).unwrap().writing
        };
        let plain = writing("", false);
        assert!(plain.discard && plain.lazy_itable_init);
        assert!(!plain.lazy_journal_init && !plain.prezeroed);
        assert_eq!(plain.threads, 1);
        assert!(!writing("^metadata_csum", false).lazy_itable_init);
        assert!(writing("^metadata_csum,uninit_bg", true).lazy_itable_init);
        assert!(writing("", true).prezeroed);
    }

    #[test]
    fn given_identities_repeat_and_others_do_not() {
        let mut options = Options::default();
        let identity = |options: &Options| options.resolve(&target(64 * MIB)).unwrap().identity;
        assert_ne!(identity(&options).uuid, identity(&options).uuid);
        assert_ne!(identity(&options).hash_seed, identity(&options).hash_seed);
        options.source_date_epoch = Some(super::super::source_date_epoch("1000").unwrap());
        options.uuid = "clear".parse().unwrap();
        options.extended.hash_seed = Some(Uuid::from_u128(7));
        let (one, other) = (identity(&options), identity(&options));
        assert_eq!(one.uuid, other.uuid);
        assert_eq!(one.hash_seed, other.hash_seed);
        assert_eq!(one.time.seconds, 1000);
    }
}

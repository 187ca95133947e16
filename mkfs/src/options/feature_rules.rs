//! Which features need, and which exclude, one another.
//!
//! The rules are the format's and mke2fs 1.47's. What mke2fs only warns about
//! and the kernel or e2fsck would stumble over is refused here as well.

use fs_core::{CompatFeatures, Features, IncompatFeatures, RoCompatFeatures};

use super::features::Feature::{self, Compat, Incompat, RoCompat};
use crate::{Error, Result};

/// More blocks than this need block numbers of more than 32 bits.
pub(super) const BLOCKS_MAX_32BIT: u64 = u32::MAX as u64;

/// The Hurd reads neither file types nor 48-bit block counts nor checksums
/// (mke2fs's list).
const NOT_FOR_HURD: [(&str, Feature); 4] = [
    ("filetype", Incompat(IncompatFeatures::FILETYPE)),
    ("huge_file", RoCompat(RoCompatFeatures::HUGE_FILE)),
    ("metadata_csum", RoCompat(RoCompatFeatures::METADATA_CSUM)),
    ("ea_inode", Incompat(IncompatFeatures::EA_INODE)),
];

/// "`feature` needs `needed`": refused if the first is on and the second is not.
const NEEDS: &[(&str, Feature, &str, Feature)] = &[
    (
        "64bit",
        Incompat(IncompatFeatures::BIT64),
        "extent",
        Incompat(IncompatFeatures::EXTENTS),
    ),
    (
        "metadata_csum_seed",
        Incompat(IncompatFeatures::CSUM_SEED),
        "metadata_csum",
        RoCompat(RoCompatFeatures::METADATA_CSUM),
    ),
    (
        "orphan_file",
        Compat(CompatFeatures::ORPHAN_FILE),
        "has_journal",
        Compat(CompatFeatures::HAS_JOURNAL),
    ),
    (
        "fast_commit",
        Compat(CompatFeatures::FAST_COMMIT),
        "has_journal",
        Compat(CompatFeatures::HAS_JOURNAL),
    ),
    (
        "resize_inode",
        Compat(CompatFeatures::RESIZE_INODE),
        "sparse_super",
        RoCompat(RoCompatFeatures::SPARSE_SUPER),
    ),
    (
        "inline_data",
        Incompat(IncompatFeatures::INLINE_DATA),
        "ext_attr",
        Compat(CompatFeatures::EXT_ATTR),
    ),
    (
        "ea_inode",
        Incompat(IncompatFeatures::EA_INODE),
        "ext_attr",
        Compat(CompatFeatures::EXT_ATTR),
    ),
];

pub(super) fn has(features: &Features, feature: Feature) -> bool {
    match feature {
        Compat(bit) => features.compat.contains(bit),
        Incompat(bit) => features.incompat.contains(bit),
        RoCompat(bit) => features.ro_compat.contains(bit),
    }
}

/// Takes off, before the user's edits, what the Hurd cannot read.
pub(super) fn mask_for_hurd(features: &mut Features) {
    for (_, feature) in NOT_FOR_HURD {
        super::features::set(features, feature, false);
    }
}

/// Refuses what the user has put on again for the Hurd.
pub(super) fn check_for_hurd(features: &Features) -> Result<()> {
    match NOT_FOR_HURD.iter().find(|(_, bit)| has(features, *bit)) {
        None => Ok(()),
        Some((name, _)) => Err(Error::Features(format!(
            "the Hurd does not support the feature {name}: leave it out or take another -o"
        ))),
    }
}

/// Refuses features that contradict one another, and silently takes off
/// uninit_bg where metadata_csum does its work, as mke2fs does.
///
/// # Errors
/// `Features`, with the names of both.
pub(super) fn settle(features: &mut Features, revision: u32, inode_bytes: u32) -> Result<()> {
    if revision == 0 && *features != super::features::none() {
        return Err(Error::Features(format!(
            "revision 0 (-r) has no features, but these are asked for: {}",
            features.names().join(", ")
        )));
    }
    if features.ro_compat.contains(RoCompatFeatures::METADATA_CSUM) {
        features.ro_compat.remove(RoCompatFeatures::GDT_CSUM);
    }
    for (name, feature, needed_name, needed) in NEEDS {
        if has(features, *feature) && !has(features, *needed) {
            return Err(Error::Features(format!(
                "the feature {name} needs the feature {needed_name}: put {needed_name} on or {name} off (-O ^{name})"
            )));
        }
    }
    if features.incompat.contains(IncompatFeatures::META_BG)
        && features.compat.contains(CompatFeatures::RESIZE_INODE)
    {
        return Err(Error::Features(
            "the features meta_bg and resize_inode exclude one another: put one off (-O meta_bg,^resize_inode)"
                .to_owned(),
        ));
    }
    if features.incompat.contains(IncompatFeatures::INLINE_DATA) && inode_bytes <= 128 {
        return Err(Error::Features(format!(
            "the feature inline_data needs inodes of more than {inode_bytes} bytes: ask for larger ones (-I 256)"
        )));
    }
    Ok(())
}

/// Refuses a number of blocks beyond what the features can count, and takes
/// off resize_inode, which holds 32-bit block numbers, where it came by default.
///
/// # Errors
/// `Size` without 64bit; `Features` if resize_inode was asked for.
pub(super) fn settle_for_size(
    features: &mut Features,
    blocks: u64,
    block_bytes: u32,
    resize_asked: bool,
) -> Result<()> {
    if blocks <= BLOCKS_MAX_32BIT {
        return Ok(());
    }
    if !features.incompat.contains(IncompatFeatures::BIT64) {
        return Err(Error::Size(format!(
            "{blocks} blocks of {block_bytes} bytes need the feature 64bit, without it there can be {BLOCKS_MAX_32BIT}: put it on (-O 64bit) or take larger blocks"
        )));
    }
    if resize_asked {
        return Err(Error::Features(format!(
            "the feature resize_inode cannot serve {blocks} blocks, because its block numbers have 32 bits: leave it and -E resize= out"
        )));
    }
    features.compat.remove(CompatFeatures::RESIZE_INODE);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::features::of_list as features;

    #[test]
    fn conflicts_name_both_features() {
        for (list, one, other) in [
            ("64bit", "64bit", "extent"),
            ("metadata_csum_seed", "metadata_csum_seed", "metadata_csum"),
            ("orphan_file", "orphan_file", "has_journal"),
            ("fast_commit", "fast_commit", "has_journal"),
            ("resize_inode,sparse_super2", "resize_inode", "sparse_super"),
            (
                "resize_inode,sparse_super,meta_bg",
                "meta_bg",
                "resize_inode",
            ),
            ("inline_data", "inline_data", "ext_attr"),
            ("ea_inode", "ea_inode", "ext_attr"),
        ] {
            let message = settle(&mut features(list), 1, 256).unwrap_err().to_string();
            assert!(
                message.contains(one) && message.contains(other),
                "{message}"
            );
        }
        assert!(settle(&mut features("inline_data,ext_attr"), 1, 128).is_err());
        assert!(settle(&mut features("inline_data,ext_attr"), 1, 256).is_ok());
        assert!(settle(&mut features("filetype"), 0, 128).is_err());
        assert!(settle(&mut features("none"), 0, 128).is_ok());
    }

    #[test]
    fn metadata_csum_takes_uninit_bg_off() {
        let mut features = features("metadata_csum,uninit_bg");
        settle(&mut features, 1, 256).unwrap();
        assert_eq!(features.names(), ["metadata_csum"]);
    }

    #[test]
    fn more_than_32_bits_of_blocks_need_64bit() {
        let blocks = 1 << 32;
        assert!(settle_for_size(&mut features("extent"), blocks - 1, 4096, false).is_ok());
        assert!(settle_for_size(&mut features("extent"), blocks, 4096, false).is_err());
        let mut with = features("extent,64bit,resize_inode");
        assert!(settle_for_size(&mut with, blocks, 4096, true).is_err());
        settle_for_size(&mut with, blocks, 4096, false).unwrap();
        assert_eq!(with.names(), ["extent", "64bit"]);
    }

    #[test]
    fn the_hurd_gets_no_file_types() {
        let mut features = features("filetype,large_file,metadata_csum");
        assert!(check_for_hurd(&features).is_err());
        mask_for_hurd(&mut features);
        assert_eq!(features.names(), ["large_file"]);
        assert!(check_for_hurd(&features).is_ok());
    }
}

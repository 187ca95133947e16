//! The features a file system can be made with, in one list.

use fs_core::{CompatFeatures, Features, IncompatFeatures, RoCompatFeatures};

/// One feature: a bit of one of the three sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Feature {
    Compat(CompatFeatures),
    Incompat(IncompatFeatures),
    RoCompat(RoCompatFeatures),
}

/// Features a file system can be made with, by mke2fs's names; `extents` and
/// `uninit_groups` are its second names.
pub(crate) const KNOWN: &[(&str, Feature)] = &[
    ("has_journal", Feature::Compat(CompatFeatures::HAS_JOURNAL)),
    ("ext_attr", Feature::Compat(CompatFeatures::EXT_ATTR)),
    (
        "resize_inode",
        Feature::Compat(CompatFeatures::RESIZE_INODE),
    ),
    ("dir_index", Feature::Compat(CompatFeatures::DIR_INDEX)),
    (
        "sparse_super2",
        Feature::Compat(CompatFeatures::SPARSE_SUPER2),
    ),
    ("fast_commit", Feature::Compat(CompatFeatures::FAST_COMMIT)),
    (
        "stable_inodes",
        Feature::Compat(CompatFeatures::STABLE_INODES),
    ),
    ("orphan_file", Feature::Compat(CompatFeatures::ORPHAN_FILE)),
    ("filetype", Feature::Incompat(IncompatFeatures::FILETYPE)),
    ("meta_bg", Feature::Incompat(IncompatFeatures::META_BG)),
    ("extent", Feature::Incompat(IncompatFeatures::EXTENTS)),
    ("extents", Feature::Incompat(IncompatFeatures::EXTENTS)),
    ("64bit", Feature::Incompat(IncompatFeatures::BIT64)),
    ("mmp", Feature::Incompat(IncompatFeatures::MMP)),
    ("flex_bg", Feature::Incompat(IncompatFeatures::FLEX_BG)),
    ("ea_inode", Feature::Incompat(IncompatFeatures::EA_INODE)),
    (
        "metadata_csum_seed",
        Feature::Incompat(IncompatFeatures::CSUM_SEED),
    ),
    ("large_dir", Feature::Incompat(IncompatFeatures::LARGEDIR)),
    (
        "inline_data",
        Feature::Incompat(IncompatFeatures::INLINE_DATA),
    ),
    (
        "sparse_super",
        Feature::RoCompat(RoCompatFeatures::SPARSE_SUPER),
    ),
    (
        "large_file",
        Feature::RoCompat(RoCompatFeatures::LARGE_FILE),
    ),
    ("huge_file", Feature::RoCompat(RoCompatFeatures::HUGE_FILE)),
    ("uninit_bg", Feature::RoCompat(RoCompatFeatures::GDT_CSUM)),
    (
        "uninit_groups",
        Feature::RoCompat(RoCompatFeatures::GDT_CSUM),
    ),
    ("dir_nlink", Feature::RoCompat(RoCompatFeatures::DIR_NLINK)),
    (
        "extra_isize",
        Feature::RoCompat(RoCompatFeatures::EXTRA_ISIZE),
    ),
    (
        "metadata_csum",
        Feature::RoCompat(RoCompatFeatures::METADATA_CSUM),
    ),
    // Linux mounts it read-only, e2fsck allows blocks of several owners; mke2fs does
    // not offer it.
    (
        "shared_blocks",
        Feature::RoCompat(RoCompatFeatures::SHARED_BLOCKS),
    ),
];

/// All of them at once.
pub(crate) fn makeable() -> Features {
    let mut features = Features {
        compat: CompatFeatures::empty(),
        incompat: IncompatFeatures::empty(),
        ro_compat: RoCompatFeatures::empty(),
    };
    for (_, feature) in KNOWN {
        match *feature {
            Feature::Compat(bit) => features.compat |= bit,
            Feature::Incompat(bit) => features.incompat |= bit,
            Feature::RoCompat(bit) => features.ro_compat |= bit,
        }
    }
    features
}

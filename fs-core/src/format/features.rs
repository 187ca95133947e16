//! Feature bits: their names, and what this program does about each.
#![allow(missing_docs)] // The names of the bits are the format's own.

use bitflags::bitflags;

use crate::error::{Error, ErrorKind, Result};

bitflags! {
    /// `s_feature_compat`: who does not know a bit may ignore it.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct CompatFeatures: u32 {
        const DIR_PREALLOC = 0x1;
        const IMAGIC_INODES = 0x2;
        const HAS_JOURNAL = 0x4;
        const EXT_ATTR = 0x8;
        const RESIZE_INODE = 0x10;
        const DIR_INDEX = 0x20;
        const LAZY_BG = 0x40;
        const SNAPSHOT_BITMAP = 0x100;
        const SPARSE_SUPER2 = 0x200;
        const FAST_COMMIT = 0x400;
        const STABLE_INODES = 0x800;
        const ORPHAN_FILE = 0x1000;
        const _ = !0;
    }
}

bitflags! {
    /// `s_feature_incompat`: who does not know a bit must not touch the file system.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct IncompatFeatures: u32 {
        const COMPRESSION = 0x1;
        const FILETYPE = 0x2;
        const RECOVER = 0x4;
        const JOURNAL_DEV = 0x8;
        const META_BG = 0x10;
        const EXTENTS = 0x40;
        const BIT64 = 0x80;
        const MMP = 0x100;
        const FLEX_BG = 0x200;
        const EA_INODE = 0x400;
        const DIRDATA = 0x1000;
        const CSUM_SEED = 0x2000;
        const LARGEDIR = 0x4000;
        const INLINE_DATA = 0x8000;
        const ENCRYPT = 0x1_0000;
        const CASEFOLD = 0x2_0000;
        const _ = !0;
    }
}

bitflags! {
    /// `s_feature_ro_compat`: who does not know a bit may read.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct RoCompatFeatures: u32 {
        const SPARSE_SUPER = 0x1;
        const LARGE_FILE = 0x2;
        const HUGE_FILE = 0x8;
        const GDT_CSUM = 0x10;
        const DIR_NLINK = 0x20;
        const EXTRA_ISIZE = 0x40;
        const QUOTA = 0x100;
        const BIGALLOC = 0x200;
        const METADATA_CSUM = 0x400;
        const REPLICA = 0x800;
        const READONLY = 0x1000;
        const PROJECT = 0x2000;
        const SHARED_BLOCKS = 0x4000;
        const VERITY = 0x8000;
        const ORPHAN_PRESENT = 0x1_0000;
        const _ = !0;
    }
}

/// The three feature sets of a superblock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    /// Bits that may be ignored.
    pub compat: CompatFeatures,
    /// Bits that must be understood.
    pub incompat: IncompatFeatures,
    /// Bits that must be understood for writing.
    pub ro_compat: RoCompatFeatures,
}

/// Names by bit number, spelled as mke2fs and dumpe2fs spell them.
const COMPAT_NAMES: &[(u32, &str)] = &[
    (0, "dir_prealloc"),
    (1, "imagic_inodes"),
    (2, "has_journal"),
    (3, "ext_attr"),
    (4, "resize_inode"),
    (5, "dir_index"),
    (6, "lazy_bg"),
    (8, "snapshot_bitmap"),
    (9, "sparse_super2"),
    (10, "fast_commit"),
    (11, "stable_inodes"),
    (12, "orphan_file"),
];
const INCOMPAT_NAMES: &[(u32, &str)] = &[
    (0, "compression"),
    (1, "filetype"),
    (2, "needs_recovery"),
    (3, "journal_dev"),
    (4, "meta_bg"),
    (6, "extent"),
    (7, "64bit"),
    (8, "mmp"),
    (9, "flex_bg"),
    (10, "ea_inode"),
    (12, "dirdata"),
    (13, "metadata_csum_seed"),
    (14, "large_dir"),
    (15, "inline_data"),
    (16, "encrypt"),
    (17, "casefold"),
];
const RO_COMPAT_NAMES: &[(u32, &str)] = &[
    (0, "sparse_super"),
    (1, "large_file"),
    (3, "huge_file"),
    (4, "uninit_bg"),
    (5, "dir_nlink"),
    (6, "extra_isize"),
    (8, "quota"),
    (9, "bigalloc"),
    (10, "metadata_csum"),
    (11, "replica"),
    (12, "read-only"),
    (13, "project"),
    (14, "shared_blocks"),
    (15, "verity"),
    (16, "orphan_present"),
];

/// Incompatible features an image may have and still be read.
const READABLE_INCOMPAT: IncompatFeatures = IncompatFeatures::FILETYPE
    .union(IncompatFeatures::RECOVER)
    .union(IncompatFeatures::META_BG)
    .union(IncompatFeatures::EXTENTS)
    .union(IncompatFeatures::BIT64)
    .union(IncompatFeatures::MMP)
    .union(IncompatFeatures::FLEX_BG)
    .union(IncompatFeatures::EA_INODE)
    .union(IncompatFeatures::CSUM_SEED)
    .union(IncompatFeatures::LARGEDIR)
    .union(IncompatFeatures::INLINE_DATA)
    .union(IncompatFeatures::ENCRYPT)
    .union(IncompatFeatures::CASEFOLD);

/// Features whose volumes are read but not written: their accounts, encodings or keys are
/// not kept up here.
const NOT_WRITTEN_INCOMPAT: IncompatFeatures =
    IncompatFeatures::ENCRYPT.union(IncompatFeatures::CASEFOLD);

/// Read-only-compatible features whose rules writing here follows.
const WRITABLE_RO_COMPAT: RoCompatFeatures = RoCompatFeatures::SPARSE_SUPER
    .union(RoCompatFeatures::LARGE_FILE)
    .union(RoCompatFeatures::HUGE_FILE)
    .union(RoCompatFeatures::GDT_CSUM)
    .union(RoCompatFeatures::DIR_NLINK)
    .union(RoCompatFeatures::EXTRA_ISIZE)
    .union(RoCompatFeatures::METADATA_CSUM)
    .union(RoCompatFeatures::ORPHAN_PRESENT);

impl Features {
    /// Names of all bits set, in dumpe2fs's order; bits without a name read
    /// "unknown incompat bit 27".
    pub fn names(&self) -> Vec<String> {
        let sets = [
            ("compat", self.compat.bits(), COMPAT_NAMES),
            ("incompat", self.incompat.bits(), INCOMPAT_NAMES),
            ("ro_compat", self.ro_compat.bits(), RO_COMPAT_NAMES),
        ];
        sets.iter()
            .flat_map(|(set, bits, names)| named_bits(set, *bits, names))
            .collect()
    }

    /// Fails, by name, if a feature forbids even reading.
    pub(crate) fn check_readable(&self) -> Result<()> {
        let refused = self.incompat.difference(READABLE_INCOMPAT);
        if refused.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = named_bits("incompat", refused.bits(), INCOMPAT_NAMES).collect();
        Err(ErrorKind::Unsupported(listed(&names)).into())
    }

    /// Fails, by name, if a feature forbids writing.
    pub(crate) fn check_writable(&self) -> Result<()> {
        self.check_readable()?;
        let incompat = self.incompat.intersection(NOT_WRITTEN_INCOMPAT);
        let ro_compat = self.ro_compat.difference(WRITABLE_RO_COMPAT);
        let names: Vec<String> = named_bits("incompat", incompat.bits(), INCOMPAT_NAMES)
            .chain(named_bits("ro_compat", ro_compat.bits(), RO_COMPAT_NAMES))
            .collect();
        if names.is_empty() {
            return Ok(());
        }
        let what = format!("writing to a volume with the {}", listed(&names));
        Err(Error::from(ErrorKind::Unsupported(what)))
    }
}

fn listed(names: &[String]) -> String {
    let what = if names.len() == 1 {
        "feature"
    } else {
        "features"
    };
    format!("{what} {}", names.join(", "))
}

fn named_bits<'a>(
    set: &'a str,
    bits: u32,
    names: &'a [(u32, &'a str)],
) -> impl Iterator<Item = String> + 'a {
    (0..32)
        .filter(move |bit| bits & (1 << bit) != 0)
        .map(move |bit| {
            names.iter().find(|(number, _)| *number == bit).map_or_else(
                || format!("unknown {set} bit {bit}"),
                |(_, name)| (*name).to_owned(),
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features(incompat: u32) -> Features {
        Features {
            compat: CompatFeatures::HAS_JOURNAL,
            incompat: IncompatFeatures::from_bits_retain(incompat),
            ro_compat: RoCompatFeatures::METADATA_CSUM,
        }
    }

    #[test]
    fn names_stand_in_dumpe2fs_order() {
        assert_eq!(
            features(0x42).names(),
            ["has_journal", "filetype", "extent", "metadata_csum"]
        );
    }

    #[test]
    fn an_unknown_incompatible_bit_is_refused_by_number() {
        let message = features(0x42 | 1 << 27)
            .check_readable()
            .unwrap_err()
            .to_string();
        assert!(message.contains("unknown incompat bit 27"), "{message}");
    }

    #[test]
    fn what_is_read_but_not_written_is_refused_by_name() {
        let mut some = features(0x42);
        some.check_writable().unwrap();
        some.ro_compat |= RoCompatFeatures::QUOTA | RoCompatFeatures::BIGALLOC;
        let message = some.check_writable().unwrap_err().to_string();
        assert!(message.contains("features quota, bigalloc"), "{message}");
        some.check_readable().unwrap();
    }

    #[test]
    fn refused_features_are_refused_by_name() {
        for (bit, name) in [
            (0x1, "compression"),
            (0x8, "journal_dev"),
            (0x1000, "dirdata"),
        ] {
            let message = features(bit).check_readable().unwrap_err().to_string();
            assert!(message.contains(name), "{message}");
        }
    }
}

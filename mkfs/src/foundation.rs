//! A request that has been checked against the format.

use fs_core::{CompatFeatures, Features, IncompatFeatures, RoCompatFeatures, Superblock};

use crate::error::{Error, Result};
use crate::request::Request;
use crate::superblock::{Counts, compose};

/// A request and the typed superblock that follows from it, which everything that
/// is placed and encoded refers to. Its counts (free blocks and the like) are 0.
#[derive(Debug)]
pub struct Foundation<'r> {
    pub(crate) request: &'r Request,
    pub(crate) superblock: Superblock,
}

const COMPAT: CompatFeatures = CompatFeatures::HAS_JOURNAL
    .union(CompatFeatures::EXT_ATTR)
    .union(CompatFeatures::RESIZE_INODE)
    .union(CompatFeatures::DIR_INDEX)
    .union(CompatFeatures::SPARSE_SUPER2)
    .union(CompatFeatures::FAST_COMMIT)
    .union(CompatFeatures::STABLE_INODES)
    .union(CompatFeatures::ORPHAN_FILE);
const INCOMPAT: IncompatFeatures = IncompatFeatures::FILETYPE
    .union(IncompatFeatures::META_BG)
    .union(IncompatFeatures::EXTENTS)
    .union(IncompatFeatures::BIT64)
    .union(IncompatFeatures::MMP)
    .union(IncompatFeatures::FLEX_BG)
    .union(IncompatFeatures::EA_INODE)
    .union(IncompatFeatures::CSUM_SEED)
    .union(IncompatFeatures::LARGEDIR)
    .union(IncompatFeatures::INLINE_DATA);
const RO_COMPAT: RoCompatFeatures = RoCompatFeatures::SPARSE_SUPER
    .union(RoCompatFeatures::LARGE_FILE)
    .union(RoCompatFeatures::HUGE_FILE)
    .union(RoCompatFeatures::GDT_CSUM)
    .union(RoCompatFeatures::DIR_NLINK)
    .union(RoCompatFeatures::EXTRA_ISIZE)
    .union(RoCompatFeatures::METADATA_CSUM)
    .union(RoCompatFeatures::SHARED_BLOCKS);

impl<'r> Foundation<'r> {
    /// Checks the request: every feature is one this crate makes, and the superblock
    /// passes the checks of one that was read.
    ///
    /// # Errors
    /// `Features` with the names of what cannot be made, `Format` if the numbers
    /// contradict one another.
    pub fn new(request: &'r Request) -> Result<Self> {
        check_features(&request.geometry.features)?;
        let raw = compose(request, &Counts::default());
        let superblock = fs_core::encode::superblock(&raw, u64::MAX)?;
        let geometry = &request.geometry;
        if superblock.group_count != geometry.groups {
            return Err(Error::Size(format!(
                "{} blocks are {} groups, not {}",
                geometry.blocks, superblock.group_count, geometry.groups
            )));
        }
        Ok(Self {
            request,
            superblock,
        })
    }
}

fn check_features(features: &Features) -> Result<()> {
    let unknown = Features {
        compat: features.compat.difference(COMPAT),
        incompat: features.incompat.difference(INCOMPAT),
        ro_compat: features.ro_compat.difference(RO_COMPAT),
    };
    let names = unknown.names();
    if names.is_empty() {
        return Ok(());
    }
    Err(Error::Features(format!(
        "file systems with {} cannot be made",
        names.join(", ")
    )))
}

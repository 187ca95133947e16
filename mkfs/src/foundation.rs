//! A request that has been checked against the format.

use fs_core::{Features, Superblock};

use crate::error::{Error, Result};
use crate::feature::makeable;
use crate::request::Request;
use crate::superblock::{Counts, compose};

/// A request and the typed superblock that follows from it, which everything that
/// is placed and encoded refers to. Its counts (free blocks and the like) are 0.
#[derive(Debug)]
pub struct Foundation<'r> {
    pub(crate) request: &'r Request,
    pub(crate) superblock: Superblock,
}

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
    let makeable = makeable();
    let unknown = Features {
        compat: features.compat.difference(makeable.compat),
        incompat: features.incompat.difference(makeable.incompat),
        ro_compat: features.ro_compat.difference(makeable.ro_compat),
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

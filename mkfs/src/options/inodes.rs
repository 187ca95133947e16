//! How large inodes are (`-I`) and how many there shall be (`-N`, `-i`).

use fs_core::{Features, IncompatFeatures};

use super::Options;
use super::ratios::BytesPerInode;
use super::usage::Stanzas;
use crate::{Error, Result};

/// Inodes of revision 0, and the smallest of revision 1.
const GOOD_OLD_BYTES: u32 = 128;
/// Bytes per inode where a profile says nothing (mke2fs).
const RATIO_DEFAULT: u64 = 8192;

impl Options {
    /// Bytes of an inode.
    ///
    /// # Errors
    /// `Option` for a size the format or the revision does not have.
    pub(super) fn settled_inode_bytes(
        &self,
        stanzas: &Stanzas<'_>,
        revision: u32,
        block_bytes: u32,
    ) -> Result<u32> {
        if revision == 0 {
            return match self.inode_bytes {
                None | Some(GOOD_OLD_BYTES) => Ok(GOOD_OLD_BYTES),
                Some(asked) => Err(Error::Option(format!(
                    "inodes of {asked} bytes (-I) need revision 1, in revision 0 (-r) they have {GOOD_OLD_BYTES}"
                ))),
            };
        }
        let bytes = match self.inode_bytes {
            Some(asked) => u64::from(asked),
            None => match stanzas.number("inode_size")? {
                None | Some(0) => GOOD_OLD_BYTES.into(),
                Some(bytes) => bytes,
            },
        };
        u32::try_from(bytes)
            .ok()
            .filter(|size| {
                size.is_power_of_two() && (GOOD_OLD_BYTES..=block_bytes).contains(size)
            })
            .ok_or_else(|| {
                Error::Option(format!(
                    "inodes of {bytes} bytes (-I) are not possible: a power of two from {GOOD_OLD_BYTES} to the block size {block_bytes} is"
                ))
            })
    }

    /// Number of inodes to begin with; the groups round it up.
    ///
    /// # Errors
    /// `Option` for more than 2^32 - 1 or more than fit.
    pub(super) fn settled_inodes(
        &self,
        stanzas: &Stanzas<'_>,
        features: &Features,
        blocks: u64,
        block_bytes: u32,
        inode_bytes: u32,
    ) -> Result<u32> {
        let bytes = u128::from(blocks) * u128::from(block_bytes);
        let inodes = match self.inodes {
            Some(0) => return Err(Error::Option("-N 0 would be no inodes".to_owned())),
            Some(asked) => u32::try_from(asked).map_err(|_| {
                Error::Option(format!(
                    "{asked} inodes (-N) are not possible: their numbers have 32 bits"
                ))
            })?,
            None => {
                let ratio = self.bytes_for_an_inode(stanzas, block_bytes)?;
                match by_ratio(bytes, ratio, features)? {
                    // libext2fs takes 0 for "not asked": one for each 4 KiB or block.
                    0 => {
                        u32::try_from(bytes / u128::from(block_bytes.max(4096))).unwrap_or(u32::MAX)
                    }
                    inodes => inodes,
                }
            }
        };
        if u128::from(inodes) * u128::from(inode_bytes) >= bytes {
            return Err(Error::Option(format!(
                "{inodes} inodes of {inode_bytes} bytes would fill all {blocks} blocks of {block_bytes} bytes: ask for fewer (-N, -i) or smaller ones (-I)"
            )));
        }
        Ok(inodes)
    }

    fn bytes_for_an_inode(&self, stanzas: &Stanzas<'_>, block_bytes: u32) -> Result<u64> {
        if let Some(asked) = self.bytes_per_inode {
            return Ok(asked.bytes());
        }
        let ratio = stanzas.number("inode_ratio")?.unwrap_or(RATIO_DEFAULT);
        Ok(BytesPerInode::new(ratio)?.bytes().max(block_bytes.into()))
    }
}

fn by_ratio(bytes: u128, ratio: u64, features: &Features) -> Result<u32> {
    let inodes = bytes / u128::from(ratio.max(1));
    match u32::try_from(inodes) {
        Ok(inodes) => Ok(inodes),
        Err(_) if features.incompat.contains(IncompatFeatures::BIT64) => Ok(u32::MAX),
        Err(_) => Err(Error::Option(format!(
            "an inode for every {ratio} bytes would be {inodes} inodes, whose numbers have 32 bits: ask for more bytes per inode (-i)"
        ))),
    }
}

//! What the superblock demands of everything that is put into the volume.

use fs_core::{
    CompatFeatures, IncompatFeatures, InodeNumber, RoCompatFeatures, Superblock, encode,
};

/// Size of the part every inode has.
const INODE_BASE_BYTES: usize = 128;
/// Block numbers a file with extents can have (Linux keeps the last one free).
const EXTENT_FILE_BLOCKS: u64 = (1 << 32) - 1;
/// Block numbers in an inode without extents, before the trees.
pub(super) const DIRECT_BLOCKS: u64 = 12;

/// A superblock, asked in the terms of this module.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules<'t> {
    pub(super) superblock: &'t Superblock,
}

impl Rules<'_> {
    pub(super) fn block_bytes(&self) -> u64 {
        self.superblock.block_bytes.into()
    }

    /// A block's length, for buffers.
    pub(super) fn block_len(&self) -> usize {
        self.superblock.block_bytes as usize
    }

    /// What a refusal for want of room in one block goes on with.
    pub(super) fn larger_blocks(&self) -> &'static str {
        match self.block_bytes() < 4096 {
            true => "; larger blocks (-b 4096) take more",
            false => "",
        }
    }

    /// Blocks in an allocation unit: 1 without bigalloc.
    pub(super) fn cluster_blocks(&self) -> u64 {
        u64::from(self.superblock.cluster_bytes / self.superblock.block_bytes)
    }

    /// Blocks that whole clusters for `bytes` have.
    pub(super) fn cluster_blocks_for(&self, bytes: u64) -> u64 {
        bytes
            .div_ceil(self.block_bytes())
            .next_multiple_of(self.cluster_blocks())
    }

    pub(super) fn has_incompat(&self, features: IncompatFeatures) -> bool {
        self.superblock.features.incompat.contains(features)
    }

    pub(super) fn has_ro_compat(&self, features: RoCompatFeatures) -> bool {
        self.superblock.features.ro_compat.contains(features)
    }

    pub(super) fn has_compat(&self, features: CompatFeatures) -> bool {
        self.superblock.features.compat.contains(features)
    }

    pub(super) fn has_extents(&self) -> bool {
        self.has_incompat(IncompatFeatures::EXTENTS)
    }

    pub(super) fn has_types(&self) -> bool {
        self.has_incompat(IncompatFeatures::FILETYPE)
    }

    pub(super) fn has_checksums(&self) -> bool {
        self.has_ro_compat(RoCompatFeatures::METADATA_CSUM)
    }

    /// The seed of the checksums of what belongs to an inode, if there are any.
    pub(super) fn seed(&self, inode: InodeNumber) -> Option<u32> {
        self.has_checksums()
            .then(|| encode::inode_checksum_seed(self.superblock, inode, 0))
    }

    /// Bytes behind an inode's extra fields; 0 if attributes cannot lie there.
    pub(super) fn xattr_area_bytes(&self) -> usize {
        match usize::from(self.superblock.want_extra_isize) {
            0 => 0,
            extra => {
                usize::from(self.superblock.inode_bytes).saturating_sub(INODE_BASE_BYTES + extra)
            }
        }
    }

    /// Longest file the format and Linux allow.
    pub(super) fn file_bytes_max(&self) -> u64 {
        let blocks = if self.has_extents() {
            EXTENT_FILE_BLOCKS
        } else {
            let per_block = self.block_bytes() / 4;
            DIRECT_BLOCKS + per_block + per_block.pow(2) + per_block.pow(3)
        };
        // Without huge_file, i_blocks counts units of 512 bytes in 32 bits.
        let counted = if self.has_ro_compat(RoCompatFeatures::HUGE_FILE) {
            u64::MAX
        } else {
            u64::from(u32::MAX) / (self.block_bytes() / 512)
        };
        blocks
            .min(counted)
            .saturating_mul(self.block_bytes())
            .min(i64::MAX.unsigned_abs())
    }
}

//! How large a file can be.

use crate::change::Change;
use crate::format::features::{IncompatFeatures, RoCompatFeatures};
use crate::format::inode::Inode;
use crate::format::inode_flags::InodeFlags;
use crate::format::superblock::Superblock;
use crate::mapping::FILE_BLOCKS_MAX;

/// Sizes up to this need no feature.
const SMALL_BYTES_MAX: u64 = 0x7FFF_FFFF;
/// Block numbers in the inode itself, of a map without extents.
const DIRECT: u64 = 12;

/// The largest size of this file in bytes. The map sets it (32 bits for the number of a
/// block, of which the last is not used; three trees of pointers without extents), and
/// `i_blocks`, which counts 2^32 - 1 units of 512 bytes where huge_file is missing.
pub(super) fn size_max(superblock: &Superblock, inode: &Inode) -> u64 {
    let becomes_extents =
        inode.has_inline_data() && superblock.has_incompat(IncompatFeatures::EXTENTS);
    if inode.flags().contains(InodeFlags::EXTENTS) || becomes_extents {
        volume_size_max(superblock)
    } else {
        bytes(superblock, indirect_blocks_max(superblock))
    }
}

/// The largest size of any file of the volume.
pub(super) fn volume_size_max(superblock: &Superblock) -> u64 {
    let blocks = (FILE_BLOCKS_MAX - 1).min(counted_blocks_max(superblock));
    bytes(superblock, blocks)
}

impl Superblock {
    /// The largest size a file of this volume can have, in bytes.
    pub fn max_file_bytes(&self) -> u64 {
        volume_size_max(self)
    }
}

fn bytes(superblock: &Superblock, blocks: u64) -> u64 {
    let bytes = blocks.saturating_mul(superblock.block_bytes.into());
    if superblock.revision == 0 {
        return bytes.min(SMALL_BYTES_MAX); // It has no features.
    }
    bytes.min(i64::MAX.unsigned_abs())
}

/// Blocks that `i_blocks` can count.
fn counted_blocks_max(superblock: &Superblock) -> u64 {
    if superblock.has_ro_compat(RoCompatFeatures::HUGE_FILE) {
        (1 << 48) - 1
    } else {
        u64::from(u32::MAX) / u64::from(superblock.block_bytes / 512)
    }
}

fn indirect_blocks_max(superblock: &Superblock) -> u64 {
    let per_block = u64::from(superblock.block_bytes / 4);
    let addressable = DIRECT + per_block + per_block.pow(2) + per_block.pow(3);
    let counted = counted_blocks_max(superblock);
    // As in Linux, a few less than could be counted together with their pointers' blocks.
    let room = counted.saturating_sub(pointer_blocks(per_block, counted));
    addressable.min(FILE_BLOCKS_MAX - 1).min(room)
}

/// Blocks full of pointers that so many blocks of content without a hole need.
fn pointer_blocks(per_block: u64, content: u64) -> u64 {
    let mut left = content.saturating_sub(DIRECT);
    let mut sum = 0;
    for levels in 1..=3 {
        let here = left.min(per_block.pow(levels));
        sum += (1..=levels)
            .map(|level| here.div_ceil(per_block.pow(level)))
            .sum::<u64>();
        left -= here;
    }
    sum
}

/// Sets the feature large_file when the first file becomes large. It stays if the change is
/// taken back: it allows large files, it does not promise one.
pub(super) fn announce_large(change: &mut Change<'_>, old_size: u64, new_size: u64) {
    let is_first = old_size <= SMALL_BYTES_MAX && new_size > SMALL_BYTES_MAX;
    if !is_first
        || change
            .store()
            .superblock
            .has_ro_compat(RoCompatFeatures::LARGE_FILE)
    {
        return;
    }
    let writer = change.writer;
    writer.superblock.edit(&mut change.handle, |raw| {
        let bits = raw.s_feature_ro_compat.get() | RoCompatFeatures::LARGE_FILE.bits();
        raw.s_feature_ro_compat = bits.into();
    });
}

#[cfg(test)]
mod tests {
    use super::pointer_blocks;

    #[test]
    fn pointers_are_counted_where_trees_begin_and_end() {
        for (content, pointers) in [
            (0, 0),
            (12, 0),
            (13, 1),
            (268, 1),
            (269, 3),
            (268 + 256, 3),
            (268 + 257, 4),
            (268 + 65_536, 258),
            (268 + 65_537, 258 + 3),
        ] {
            assert_eq!(pointer_blocks(256, content), pointers, "{content}");
        }
    }
}

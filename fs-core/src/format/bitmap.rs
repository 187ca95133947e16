//! Checksums of block and inode bitmaps (ext4 on-disk layout, "Block and Inode
//! Bitmaps"): they lie in the group descriptor, not in the bitmap.

use crate::format::checksum::crc32c_raw;
use crate::format::superblock::Superblock;

/// The checksum of a bitmap whose first `bits` (a multiple of 8) count: the clusters
/// or the inodes of a full group. 0 if the volume has no metadata checksums.
pub fn checksum(superblock: &Superblock, bitmap: &[u8], bits: u32) -> u32 {
    if !superblock.has_metadata_csum() {
        return 0;
    }
    let covered = usize::try_from(bits / 8).unwrap_or(usize::MAX);
    let bytes = bitmap.get(..covered).unwrap_or(bitmap);
    crc32c_raw(superblock.checksum_seed, bytes)
}

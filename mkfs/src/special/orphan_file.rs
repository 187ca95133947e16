//! The orphan file: blocks in which the kernel notes inodes that are unlinked but open.

use fs_core::InodeNumber;
use fs_core::encode::{inode_checksum_seed, orphan_block};

use super::journal::{InOrder, map_content};
use super::{Context, Special};
use crate::error::Result;
use fs_core::RoCompatFeatures;

pub(super) fn place(context: &mut Context<'_>, special: &mut Special) -> Result<()> {
    // The first number after lost+found's.
    let number = InodeNumber(context.superblock.first_inode + 1);
    let count = u64::from(context.request.geometry.orphan_file_blocks);
    let (mut map, content) = map_content(context, number, 0, count)?;
    let ro_compat = context.superblock.features.ro_compat;
    let seed = ro_compat
        .contains(RoCompatFeatures::METADATA_CSUM)
        .then(|| inode_checksum_seed(context.superblock, number, 0));
    for block in InOrder::new(&content) {
        let bytes = orphan_block(block, context.block_len(), seed);
        special.blocks.push((block, bytes));
    }
    special.blocks.append(&mut map.nodes);
    let size_bytes = count.saturating_mul(context.superblock.block_bytes.into());
    let inode = context.regular_inode(number, size_bytes, &map)?;
    special.inodes.push(inode);
    special.orphan_file_inode = number.0;
    Ok(())
}

//! Inode 1: the blocks that are broken. It has no type, no links and no extra fields,
//! is mapped indirectly on every volume, and its `i_blocks` leaves out the map:
//! so mke2fs writes it, and e2fsck takes it.

use fs_core::InodeNumber;

use super::file_map::{self, Use};
use super::{Context, Special};
use crate::error::{Error, Result};

pub(super) fn place(context: &mut Context<'_>, special: &mut Special) -> Result<()> {
    let request = context.request;
    let block_bytes = context.superblock.block_bytes;
    let mut bad = request.geometry.bad_blocks.iter();
    let count = request.geometry.bad_blocks.len() as u64;
    let mut map = file_map::indirect(block_bytes, count, &mut |used_for| match used_for {
        Use::Map => context.take_block(0),
        Use::Content => bad
            .next()
            .copied()
            .ok_or_else(|| Error::Option("the list of bad blocks ended early".into())),
    })?;
    special.blocks.append(&mut map.nodes);
    map.blocks = count;
    let fields = context.blank_fields(count.saturating_mul(block_bytes.into()), &map);
    let mut bytes = vec![0; usize::from(context.superblock.inode_bytes)];
    let number = InodeNumber::BAD_BLOCKS;
    fs_core::encode::base_inode(context.superblock, number, &fields, &mut bytes)?;
    special.inodes.push((number, bytes));
    Ok(())
}

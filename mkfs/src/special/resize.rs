//! Inode 7: holds the blocks behind each copy of the descriptors, into which the
//! descriptors grow when the volume does.
//!
//! ```text
//!  i_block[13] --> double indirect block
//!                    [descriptor blocks in use + i] --> reserved block i of group 0
//!                                                         --> its copies in the groups
//!                                                             with a backup
//! ```
//!
//! The reserved blocks of group 0 are thus indirect blocks until they are needed.
//! They are many (16,384 in blocks of 64 KiB) and nearly empty, so their content is
//! computed when they are written.

use fs_core::{FsBlock, InodeNumber, Superblock};

use super::file_map::FileMap;
use super::{Context, Special};
use crate::error::{Error, Result};
use crate::layout::{Head, group_numbers};
use crate::space::Run;
use crate::superblock::resize_inode_bytes;

/// The reserved blocks of group 0.
#[derive(Debug)]
pub(crate) struct ReservedDescriptors {
    pub(crate) run: Run,
    /// Blocks from each of them to its copy in every group with a backup, rising.
    distances: Vec<u64>,
}

impl ReservedDescriptors {
    /// The content of one of them, without the zeros at its end.
    pub(crate) fn content(&self, block: FsBlock) -> Vec<u8> {
        let copies = self.distances.iter().map(|distance| block.0 + distance);
        // The highest has been checked to fit.
        copies
            .flat_map(|copy| u32::try_from(copy).unwrap_or(0).to_le_bytes())
            .collect()
    }
}

pub(super) fn place(context: &mut Context<'_>, special: &mut Special) -> Result<()> {
    let superblock = context.superblock;
    if u32::try_from(superblock.blocks_count).is_err() {
        return Err(Error::Features(
            "resize_inode reaches 2^32 blocks, and the file system has more".into(),
        ));
    }
    let reserved = reserved(superblock);
    let slots = u64::from(superblock.block_bytes / 4);
    if reserved.distances.len() as u64 > slots || reserved.run.len_blocks > slots {
        return Err(Error::Features(format!(
            "resize_inode reaches {slots} backups of {slots} descriptor blocks; sparse_super \
             makes backups fewer"
        )));
    }
    let goal = u64::from(superblock.first_data_block)
        + u64::from(superblock.descriptor_blocks())
        + reserved.run.len_blocks
        + 2
        + u64::from(superblock.inode_blocks_per_group);
    let root = context.take_block(goal)?;
    special
        .blocks
        .push((root, double_indirect(superblock, &reserved)));
    let copies = 1 + reserved.distances.len() as u64;
    let map = FileMap {
        block_area: block_area(root),
        nodes: Vec::new(),
        blocks: 1 + reserved.run.len_blocks * copies,
        is_extents: false,
    };
    let size_bytes = resize_inode_bytes(superblock.block_bytes);
    let inode = context.regular_inode(InodeNumber::RESIZE, size_bytes, &map)?;
    special.inodes.push(inode);
    special.reserved_descriptors = Some(reserved);
    Ok(())
}

fn reserved(superblock: &Superblock) -> ReservedDescriptors {
    let mut heads = group_numbers(superblock)
        .map(|group| Head::of(superblock, group))
        .filter(|head| head.has_superblock);
    let (start, first) = heads
        .next()
        .map_or((0, 0), |head| (head.reserved_start(), head.start));
    ReservedDescriptors {
        run: Run::new(start, superblock.reserved_gdt_blocks.into()),
        distances: heads.map(|head| head.start - first).collect(),
    }
}

/// The double indirect block. Slots count descriptor blocks, and begin anew at the end.
fn double_indirect(superblock: &Superblock, reserved: &ReservedDescriptors) -> Vec<u8> {
    let slots = usize::try_from(superblock.block_bytes / 4).unwrap_or(1);
    let mut words = vec![0_u32; slots];
    let first_slot = usize::try_from(superblock.descriptor_blocks()).unwrap_or(0);
    let blocks = (reserved.run.start.0..reserved.run.end()).enumerate();
    for (index, block) in blocks {
        if let Some(word) = words.get_mut((first_slot + index) % slots) {
            *word = u32::try_from(block).unwrap_or(0);
        }
    }
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// `i_block` with nothing but the double indirect block.
fn block_area(root: FsBlock) -> [u8; 60] {
    const SLOT: usize = 13 * 4;
    let mut area = [0; 60];
    let bytes = u32::try_from(root.0).unwrap_or(0).to_le_bytes();
    for (to, from) in area.iter_mut().skip(SLOT).zip(bytes) {
        *to = from;
    }
    area
}

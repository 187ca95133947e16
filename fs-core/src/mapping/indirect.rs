//! The block map of ext2 and ext3: twelve block numbers in the inode, then a
//! single, a double and a triple tree of blocks full of block numbers
//! (ext4 on-disk layout, "Direct/Indirect Block Addressing").

use std::sync::Arc;

use zerocopy::FromBytes;
use zerocopy::little_endian::U32;

use crate::cache::{Block, Role, RoleKind};
use crate::error::{Error, Result};
use crate::format::inode::Inode;
use crate::format::superblock::Superblock;
use crate::mapping::FILE_BLOCKS_MAX;
use crate::run::{ExtentState, MappedExtent, hole};
use crate::store::Store;
use crate::types::{FileBlock, FsBlock};

/// Blocks that the inode names itself.
pub(super) const DIRECT: u64 = 12;
/// Levels of the three trees behind the direct blocks.
pub(super) const TREES: [u32; 3] = [1, 2, 3];

/// Finds the run around `block`, as far as one block of pointers tells.
pub(super) fn whole(store: &Store, inode: &Inode, block: FileBlock) -> Result<MappedExtent> {
    let root = pointers(inode.block_area());
    let number = inode.number();
    let name = format_args!("block map of inode {number}");
    check_pointers(&store.superblock, &name, None, root)?;
    if block.0 < DIRECT {
        let direct = root.get(..DIRECT as usize).unwrap_or(root);
        return Ok(run(direct, block, block.0));
    }
    let per_block = u64::from(store.superblock.block_bytes / 4);
    let mut start = DIRECT;
    for (levels, pointer) in TREES.into_iter().zip(root.iter().skip(DIRECT as usize)) {
        // At most (2^14)^3 = 2^42.
        let span = per_block.pow(levels);
        if block.0 - start < span {
            return in_tree(store, inode, pointer.get(), levels, start, block);
        }
        start += span;
    }
    Ok(hole(
        FileBlock(start),
        FILE_BLOCKS_MAX.saturating_sub(start),
    ))
}

/// Descends one tree that answers for `start .. start + per_block^levels`.
fn in_tree(
    store: &Store,
    inode: &Inode,
    mut pointer: u32,
    mut levels: u32,
    mut start: u64,
    block: FileBlock,
) -> Result<MappedExtent> {
    let per_block = u64::from(store.superblock.block_bytes / 4);
    let mut above = Vec::new();
    loop {
        if above.contains(&pointer) {
            return Err(Error::corrupt(
                format_args!("block map of inode {}", inode.number()),
                Some(FsBlock(pointer.into())),
                "a tree of blocks",
                "a block that is its own parent",
            ));
        }
        above.push(pointer);
        if pointer == 0 {
            let end = start.saturating_add(per_block.pow(levels));
            return Ok(hole(FileBlock(start), end - start));
        }
        let node = load(store, inode, FsBlock(pointer.into()), levels)?;
        let entries = pointers(node.bytes());
        levels -= 1;
        let span = per_block.pow(levels);
        let index = (block.0 - start) / span;
        if levels == 0 {
            return Ok(run(entries, block, index));
        }
        pointer = entries.get(index as usize).map_or(0, |entry| entry.get());
        if pointer == 0 {
            // Trees that are not there stand side by side.
            let trees = run(entries, FileBlock(index), index);
            let first = start.saturating_add(trees.file_block.0.saturating_mul(span));
            return Ok(hole(
                FileBlock(first),
                trees.len_blocks.saturating_mul(span),
            ));
        }
        start += index * span;
    }
}

/// A checked block of pointers, `levels` above the content.
pub(super) fn load(
    store: &Store,
    inode: &Inode,
    block: FsBlock,
    levels: u32,
) -> Result<Arc<Block>> {
    store.cache.get(block, role(inode, levels), |bytes| {
        check(store, inode, block, bytes)
    })
}

/// What a block of pointers is in the cache.
pub(super) fn role(inode: &Inode, levels: u32) -> Role {
    Role::of_inode(RoleKind::IndirectBlock, inode.number(), levels as u8)
}

pub(super) fn check(store: &Store, inode: &Inode, block: FsBlock, bytes: &[u8]) -> Result<()> {
    let name = format_args!("indirect block of inode {}", inode.number());
    check_pointers(&store.superblock, &name, Some(block), pointers(bytes))
}

/// The pointers in a block, or in `i_block`.
pub(super) fn pointers(bytes: &[u8]) -> &[U32] {
    <[U32]>::ref_from_bytes(bytes).unwrap_or(&[])
}

pub(super) fn check_pointers(
    superblock: &Superblock,
    structure: &dyn std::fmt::Display,
    block: Option<FsBlock>,
    pointers: &[U32],
) -> Result<()> {
    let outside = pointers
        .iter()
        .map(|pointer| FsBlock(pointer.get().into()))
        .find(|&target| target.0 != 0 && !superblock.contains(target));
    match outside {
        None => Ok(()),
        Some(target) => Err(Error::corrupt(
            structure,
            block,
            format_args!("blocks below {}", superblock.blocks_count),
            target,
        )),
    }
}

/// The run of equal state around `entries[index]`, which is file block `block`.
fn run(entries: &[U32], block: FileBlock, index: u64) -> MappedExtent {
    let index = usize::try_from(index).unwrap_or(usize::MAX);
    let (before, from) = entries.split_at_checked(index).unwrap_or((entries, &[]));
    let mut left = from.iter().map(|entry| u64::from(entry.get()));
    let mut right_to_left = before.iter().rev().map(|entry| u64::from(entry.get()));
    let at = left.next().unwrap_or(0);
    let (ahead, behind) = if at == 0 {
        (
            left.take_while(|&next| next == 0).count(),
            right_to_left.take_while(|&last| last == 0).count(),
        )
    } else {
        let ahead = left.zip(at + 1..).take_while(|(next, want)| next == want);
        let behind = (1..at)
            .rev()
            .take_while(|&want| right_to_left.next() == Some(want));
        (ahead.count(), behind.count())
    };
    let behind = behind as u64;
    MappedExtent {
        file_block: FileBlock(block.0.saturating_sub(behind)),
        len_blocks: behind + ahead as u64 + 1,
        state: match at {
            0 => ExtentState::Hole,
            at => ExtentState::Written(FsBlock(at.saturating_sub(behind))),
        },
    }
}

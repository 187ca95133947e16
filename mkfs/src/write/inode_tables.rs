//! The inodes in use, table by table.

use fs_core::encode::blank_inode;
use fs_core::{FsBlock, GroupNumber, InodeNumber};

use super::writer::Writer;
use crate::error::Result;
use crate::plan::{Plan, offset_bytes};
use crate::special::EncodedInode;

/// Blocks of a group's inode table that hold inodes in use.
pub(super) fn used_blocks(plan: &Plan<'_>, used_inodes: u32) -> u64 {
    let bytes = u64::from(used_inodes) * u64::from(plan.superblock.inode_bytes);
    bytes.div_ceil(plan.superblock.block_bytes.into())
}

/// Writes the blocks of all tables that hold inodes in use. Reserved inodes that
/// nobody uses are blank.
pub(super) fn put(plan: &Plan<'_>, writer: &mut Writer<'_>) -> Result<()> {
    let mut special = plan.special.inodes.iter().cloned().map(Ok).peekable();
    let mut tree = plan.population.inodes().peekable();
    let mut next = || -> Option<Result<EncodedInode>> {
        let special_number = special.peek().and_then(number_of);
        let tree_number = tree.peek().and_then(number_of);
        match (special_number, tree_number) {
            (Some(special_number), Some(tree_number)) if special_number > tree_number => {
                tree.next()
            }
            (None, _) => tree.next().or_else(|| special.next()),
            _ => special.next(),
        }
    };
    let mut pending = next().transpose()?;
    let mut bytes = Vec::new();
    for ((group, tables), state) in plan.layout.groups().zip(&plan.states) {
        let used = state.used_inodes;
        if used == 0 {
            break;
        }
        let len_bytes = used_blocks(plan, used) * u64::from(plan.superblock.block_bytes);
        bytes.clear();
        bytes.resize(usize::try_from(len_bytes).unwrap_or(0), 0);
        let slots = bytes.chunks_exact_mut(plan.superblock.inode_bytes.into());
        for (number, slot) in inode_numbers(plan, group, used).zip(slots) {
            match pending.take_if(|(pending, _)| *pending == number) {
                Some((_, inode)) => {
                    slot.copy_from_slice(inode.get(..slot.len()).unwrap_or(&inode));
                    pending = next().transpose()?;
                }
                None => blank_inode(plan.superblock, number, slot),
            }
        }
        writer.put(offset_bytes(plan.superblock, tables.inode_table), &bytes)?;
    }
    Ok(())
}

fn number_of(inode: &Result<EncodedInode>) -> Option<InodeNumber> {
    inode.as_ref().ok().map(|(number, _)| *number)
}

fn inode_numbers(
    plan: &Plan<'_>,
    group: GroupNumber,
    used: u32,
) -> impl Iterator<Item = InodeNumber> {
    let first = group.0.saturating_mul(plan.superblock.inodes_per_group) + 1;
    (first..first.saturating_add(used)).map(InodeNumber)
}

/// The part of a group's table that holds no inode in use: first block, length.
pub(super) fn unused_part(plan: &Plan<'_>, table: FsBlock, used_inodes: u32) -> (FsBlock, u64) {
    let used = used_blocks(plan, used_inodes);
    let all = u64::from(plan.superblock.inode_blocks_per_group);
    (FsBlock(table.0 + used), all.saturating_sub(used))
}

//! What a group starts with: a copy of the superblock, of the descriptors, and room
//! for more of these. Or nothing.
//!
//! ```text
//!  with a copy          | superblock | descriptors, all | reserved for growth |
//!  meta_bg, beyond
//!  s_first_meta_bg      | superblock | the one block of this metagroup |
//! ```
//!
//! A metagroup is as many groups as descriptors fit into a block; its block of
//! descriptors lies in its first, second and last group, with or without a
//! superblock before it (ext4 on-disk layout, "Meta Block Groups").

use std::ops::Range;

use fs_core::{GroupNumber, IncompatFeatures, Superblock};

use super::group_run;
use crate::space::Run;

/// The start of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    /// The group's first block.
    pub(crate) start: u64,
    pub(crate) has_superblock: bool,
    /// Which blocks of the descriptors are here.
    pub(crate) descriptors: Range<u32>,
    /// Blocks kept for more of them.
    pub(crate) reserved_blocks: u32,
}

impl Head {
    pub(crate) fn of(superblock: &Superblock, group: GroupNumber) -> Self {
        let has_superblock = superblock.group_has_super(group);
        let all = superblock.descriptor_blocks();
        let has_meta_bg = superblock
            .features
            .incompat
            .contains(IncompatFeatures::META_BG);
        let per_metagroup = superblock.block_bytes / u32::from(superblock.descriptor_bytes);
        let metagroup = group.0 / per_metagroup;
        let (descriptors, reserved_blocks) = if has_meta_bg && metagroup >= superblock.first_meta_bg
        {
            let place = group.0 % per_metagroup;
            let is_here = place == 0 || place == 1 || place == per_metagroup - 1;
            (metagroup..metagroup + u32::from(is_here), 0)
        } else if !has_superblock {
            (0..0, 0)
        } else if has_meta_bg {
            (0..all.min(superblock.first_meta_bg), 0)
        } else {
            (0..all, superblock.reserved_gdt_blocks.into())
        };
        Self {
            start: group_run(superblock, group).start.0,
            has_superblock,
            descriptors,
            reserved_blocks,
        }
    }

    /// First block of the descriptors.
    pub(crate) fn descriptors_start(&self) -> u64 {
        self.start + u64::from(self.has_superblock)
    }

    /// First block of the reserved ones.
    pub(crate) fn reserved_start(&self) -> u64 {
        self.descriptors_start() + self.descriptors.len() as u64
    }

    /// All blocks of it; may be none.
    pub(crate) fn run(&self) -> Run {
        let end = self.reserved_start() + u64::from(self.reserved_blocks);
        Run::new(self.start, end - self.start)
    }
}

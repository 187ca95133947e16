//! Where everything goes, before anything is written.

use fs_core::{CompatFeatures, FsBlock, InodeNumber, RoCompatFeatures, Superblock};

use crate::error::{Error, Result};
use crate::foundation::Foundation;
use crate::groups::{self, GroupState};
use crate::layout::Layout;
use crate::populate::Population;
use crate::request::Request;
use crate::space::Space;
use crate::special::Special;
use crate::superblock::Counts;
use crate::tree::Tree;

/// A file system that has been planned to the last block.
#[derive(Debug)]
pub struct Plan<'t> {
    pub(crate) request: &'t Request,
    pub(crate) superblock: &'t Superblock,
    pub(crate) layout: Layout,
    pub(crate) special: Special,
    pub(crate) population: Population<'t>,
    pub(crate) space: Space,
    /// What is in use, group by group.
    pub(crate) states: Vec<GroupState>,
    /// All inodes from 1 to this one are in use.
    pub(crate) last_inode: u32,
}

impl<'t> Plan<'t> {
    /// Plans a file system with this tree in it. Depends on nothing else: equal
    /// requests and trees give equal plans.
    ///
    /// # Errors
    /// `DoesNotFit` and `TooFewInodes` if the tree needs more than there is, `Size` if
    /// the groups have no room for their own tables.
    pub fn new(foundation: &'t Foundation<'_>, tree: &'t Tree) -> Result<Self> {
        let superblock = &foundation.superblock;
        let bytes = offset_bytes(superblock, FsBlock(superblock.blocks_count));
        Self::place(foundation, tree).map_err(|error| error.with_available_bytes(bytes))
    }

    fn place(foundation: &'t Foundation<'_>, tree: &'t Tree) -> Result<Self> {
        let (request, superblock) = (foundation.request, &foundation.superblock);
        let first_block = u64::from(superblock.first_data_block);
        let mut space = Space::new(first_block..superblock.blocks_count);
        let layout = Layout::new(superblock, &request.geometry, &mut space)?;
        let first_tree_inode = first_tree_inode(superblock);
        let mut population = Population::begin(
            superblock,
            &request.identity,
            tree,
            first_tree_inode,
            &mut space,
        )?;
        let special = Special::place(request, superblock, &mut space)?;
        population.place_rest(&mut space)?;
        if population.needs_large_file() && !has_large_file(superblock) {
            return Err(Error::Features(
                "a file of the tree has 2 GiB or more, which needs the feature large_file".into(),
            ));
        }
        let last_inode = population.last_inode().0.max(first_tree_inode.0 - 1);
        if last_inode > superblock.inodes_count {
            return Err(Error::TooFewInodes {
                needed: last_inode.into(),
                available: superblock.inodes_count.into(),
            });
        }
        let states = groups::states(superblock, &layout, &space, last_inode);
        Ok(Self {
            states,
            request,
            superblock,
            layout,
            special,
            population,
            space,
            last_inode,
        })
    }

    /// Blocks that are free.
    pub fn free_blocks(&self) -> u64 {
        self.space.free_blocks()
    }

    /// Inodes that are in use, reserved ones included.
    pub fn inodes_used(&self) -> u32 {
        self.last_inode
    }

    /// Inodes that are free.
    pub fn free_inodes(&self) -> u32 {
        self.superblock.inodes_count.saturating_sub(self.last_inode)
    }

    /// What the superblock says about the plan.
    pub(crate) fn counts(&self) -> Counts {
        let journal_blocks = self.request.geometry.journal.map_or(0, |j| j.blocks);
        let overhead_blocks = self.layout.overhead_blocks
            + u64::from(journal_blocks)
            + u64::from(self.superblock.first_data_block);
        Counts {
            free_blocks: self.free_blocks(),
            free_inodes: self.free_inodes(),
            overhead_blocks,
            journal_backup: self.special.journal_backup,
            mmp_block: self.special.mmp_block,
            orphan_file_inode: self.special.orphan_file_inode,
            kib_written: self.kib_written(),
        }
    }

    /// `s_kbytes_written`: all blocks in use but the journal and the inode tables.
    /// What really was written depends on the device, and equal plans give equal bytes.
    fn kib_written(&self) -> u64 {
        const COUNTING: RoCompatFeatures = RoCompatFeatures::HUGE_FILE
            .union(RoCompatFeatures::GDT_CSUM)
            .union(RoCompatFeatures::DIR_NLINK)
            .union(RoCompatFeatures::EXTRA_ISIZE)
            .union(RoCompatFeatures::METADATA_CSUM);
        if !self.superblock.features.ro_compat.intersects(COUNTING) {
            return 0;
        }
        let superblock = self.superblock;
        let tables =
            u64::from(superblock.inode_blocks_per_group) * u64::from(superblock.group_count);
        let log: u64 = self.special.journal_log.iter().map(|r| r.len_blocks).sum();
        let first_block = u64::from(superblock.first_data_block);
        let taken = superblock.blocks_count - first_block - self.free_blocks();
        let blocks = taken.saturating_sub(tables).saturating_sub(log);
        blocks.saturating_mul(u64::from(superblock.block_bytes / 1024))
    }
}

/// The number of the first inode that is neither reserved nor lost+found's nor the
/// orphan file's.
fn first_tree_inode(superblock: &Superblock) -> InodeNumber {
    let compat = superblock.features.compat;
    let has_orphan_file = compat.contains(CompatFeatures::ORPHAN_FILE);
    InodeNumber(superblock.first_inode + 1 + u32::from(has_orphan_file))
}

fn has_large_file(superblock: &Superblock) -> bool {
    let ro_compat = superblock.features.ro_compat;
    ro_compat.contains(RoCompatFeatures::LARGE_FILE)
}

/// Where a block lies on the device, in bytes.
pub(crate) fn offset_bytes(superblock: &Superblock, block: FsBlock) -> u64 {
    block.0.saturating_mul(superblock.block_bytes.into())
}

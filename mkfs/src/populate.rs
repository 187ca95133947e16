//! The inodes of a tree: the root directory and lost+found.

use fs_core::encode::{DirectoryBlock, InodeFields, encode_leaf, inode_checksum_seed};
use fs_core::{
    ExtentState, FileBlock, FileType, FsBlock, GroupNumber, IncompatFeatures, InodeFlags,
    InodeNumber, MappedExtent, RoCompatFeatures, Superblock,
};
use images::BlockDevice;

use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::request::{Identity, Writing};
use crate::space::{Run, Space};
use crate::tree::{NodeKind, Tree};

/// Where everything in a tree goes.
#[derive(Debug)]
pub(crate) struct Population<'t> {
    superblock: &'t Superblock,
    identity: &'t Identity,
    first_tree_inode: InodeNumber,
    root: Vec<Run>,
    lost_and_found: Vec<Run>,
}

impl<'t> Population<'t> {
    /// Places the root directory and lost+found.
    pub(crate) fn begin(
        superblock: &'t Superblock,
        identity: &'t Identity,
        tree: &'t Tree,
        first_tree_inode: InodeNumber,
        space: &mut Space,
    ) -> Result<Self> {
        let has_entries = tree.nodes.first().is_some_and(
            |root| matches!(&root.kind, NodeKind::Directory(entries) if !entries.is_empty()),
        );
        if has_entries {
            return Err(Error::Option("only empty trees are placed yet".into()));
        }
        // Near the inode: in its group, or its flex group.
        let group = (superblock.first_inode - 1) / superblock.inodes_per_group;
        let per_flex = 1_u32 << superblock.log_groups_per_flex.min(31);
        let goal = superblock
            .group_first_block(GroupNumber(group & !(per_flex - 1)))
            .map_or(0, |block| block.0);
        let mut take = |goal: u64, len_blocks: u64| {
            space.take_first(goal, len_blocks).ok_or(Error::DoesNotFit {
                needed_blocks: superblock.blocks_count + len_blocks,
                available_blocks: superblock.blocks_count,
                block_bytes: superblock.block_bytes,
            })
        };
        let root = take(0, 1)?;
        let blocks = u64::from(16384 / superblock.block_bytes).clamp(2, 12);
        let lost_and_found = take(goal, blocks)?;
        Ok(Self {
            superblock,
            identity,
            first_tree_inode,
            root,
            lost_and_found,
        })
    }

    /// Places everything else.
    #[expect(clippy::unused_self, clippy::unnecessary_wraps)]
    pub(crate) fn place_rest(&mut self, _space: &mut Space) -> Result<()> {
        Ok(())
    }

    /// All inodes from 1 to this one are in use.
    pub(crate) fn last_inode(&self) -> InodeNumber {
        InodeNumber(self.first_tree_inode.0 - 1)
    }

    /// The directories, rising.
    pub(crate) fn directories(&self) -> impl Iterator<Item = InodeNumber> + '_ {
        [InodeNumber::ROOT, self.lost_and_found_inode()].into_iter()
    }

    /// Encoded inodes in rising order.
    pub(crate) fn inodes(&self) -> impl Iterator<Item = Result<(InodeNumber, Vec<u8>)>> + '_ {
        [
            self.inode(InodeNumber::ROOT, &self.root, 0o4_0755, 3),
            self.inode(
                self.lost_and_found_inode(),
                &self.lost_and_found,
                0o4_0700,
                2,
            ),
        ]
        .into_iter()
    }

    /// Writes the directories' blocks.
    pub(crate) fn write_blocks(
        &self,
        device: &dyn BlockDevice,
        _writing: &Writing,
        _progress: &dyn Progress,
    ) -> Result<u64> {
        let root = InodeNumber::ROOT;
        let lost_and_found = self.lost_and_found_inode();
        let mut written = 0;
        let mut put = |block: u64, bytes: &[u8]| {
            written += bytes.len() as u64;
            device.write_at(bytes, block * u64::from(self.superblock.block_bytes))
        };
        let mut block = self.directory_block(root);
        block.push(b".", root, FileType::Directory);
        block.push(b"..", root, FileType::Directory);
        block.push(b"lost+found", lost_and_found, FileType::Directory);
        put(first(&self.root), &block.finish())?;
        let mut block = self.directory_block(lost_and_found);
        block.push(b".", lost_and_found, FileType::Directory);
        block.push(b"..", root, FileType::Directory);
        put(first(&self.lost_and_found), &block.finish())?;
        let blocks = self
            .lost_and_found
            .iter()
            .flat_map(|run| run.start.0..run.end());
        for at in blocks.skip(1) {
            put(at, &self.directory_block(lost_and_found).finish())?;
        }
        Ok(written)
    }

    fn lost_and_found_inode(&self) -> InodeNumber {
        InodeNumber(self.superblock.first_inode)
    }

    fn directory_block(&self, inode: InodeNumber) -> DirectoryBlock {
        let features = &self.superblock.features;
        let has_checksums = features.ro_compat.contains(RoCompatFeatures::METADATA_CSUM);
        DirectoryBlock::new(
            usize::try_from(self.superblock.block_bytes).unwrap_or(0),
            features.incompat.contains(IncompatFeatures::FILETYPE),
            has_checksums.then(|| inode_checksum_seed(self.superblock, inode, 0)),
        )
    }

    fn inode(
        &self,
        number: InodeNumber,
        runs: &[Run],
        mode: u16,
        links: u16,
    ) -> Result<(InodeNumber, Vec<u8>)> {
        let incompat = self.superblock.features.incompat;
        let has_extents = incompat.contains(IncompatFeatures::EXTENTS);
        let mut block_area = [0; 60];
        if has_extents {
            let mut file_block = 0;
            let extents = runs.iter().map(|run| {
                let extent = MappedExtent {
                    file_block: FileBlock(file_block),
                    len_blocks: run.len_blocks,
                    state: ExtentState::Written(run.start),
                };
                file_block += run.len_blocks;
                extent
            });
            encode_leaf(&extents.collect::<Vec<_>>(), &mut block_area)?;
        } else {
            let words = runs
                .iter()
                .flat_map(|run| run.start.0..run.end())
                .flat_map(|block| u32::try_from(block).unwrap_or(0).to_le_bytes());
            block_area.iter_mut().zip(words).for_each(|(to, b)| *to = b);
        }
        let blocks: u64 = runs.iter().map(|run| run.len_blocks).sum();
        let (uid, gid) = self.identity.root_owner.unwrap_or((0, 0));
        let time = self.identity.time;
        let sectors = u64::from(self.superblock.block_bytes / 512);
        let fields = InodeFields {
            mode,
            uid,
            gid,
            size_bytes: blocks * u64::from(self.superblock.block_bytes),
            links,
            blocks_512: blocks * sectors,
            flags: if has_extents {
                InodeFlags::EXTENTS
            } else {
                InodeFlags::empty()
            },
            generation: 0,
            accessed: time,
            modified: time,
            changed: time,
            created: time,
            xattr_block: FsBlock(0),
            version: 0,
            block_area,
            xattr_area: &[],
        };
        let mut bytes = vec![0; usize::from(self.superblock.inode_bytes)];
        fs_core::encode::inode(self.superblock, number, &fields, &mut bytes)?;
        Ok((number, bytes))
    }
}

fn first(runs: &[Run]) -> u64 {
    runs.first().map_or(0, |run| run.start.0)
}

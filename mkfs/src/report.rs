//! What was made.

/// The outcome of [`Plan::write`](crate::Plan::write).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Bytes that were written; zeroing by the system and discarding not counted.
    pub bytes_written: u64,
    /// Bytes in a block.
    pub block_bytes: u32,
    /// Blocks of the file system.
    pub blocks: u64,
    /// Blocks that are free.
    pub free_blocks: u64,
    /// Inodes of the file system.
    pub inodes: u32,
    /// Inodes that are free.
    pub free_inodes: u32,
    /// Block groups.
    pub groups: u32,
    /// Groups with a backup of the superblock.
    pub backup_superblocks: u32,
    /// Blocks of the journal, 0 for none.
    pub journal_blocks: u32,
    /// First block of the journal, 0 for none.
    pub journal_start: u64,
    /// Blocks that never hold files: tables, bitmaps, superblocks, the journal.
    pub overhead_blocks: u64,
}

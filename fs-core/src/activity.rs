//! What an open volume says of its own work.

/// How often metadata blocks were in memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheActivity {
    /// Look-ups that found the block.
    pub found: u64,
    /// Look-ups that had to read it.
    pub read: u64,
}

/// How the journal is used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JournalActivity {
    /// Blocks of transactions it can hold.
    pub len_blocks: u64,
    /// Blocks of it that hold something now.
    pub used_blocks: u64,
    /// Blocks written to it since the volume was opened.
    pub written_blocks: u64,
}

/// What a volume open for writing has done since it was opened, and how it is. Asking waits
/// for nobody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Activity {
    /// Transactions that became durable.
    pub transactions_committed: u64,
    /// `None` without a journal.
    pub journal: Option<JournalActivity>,
    /// Of the metadata cache.
    pub cache: CacheActivity,
    /// Inodes that are held for somebody who knows them.
    pub held_inodes: u64,
    /// Why changes are refused by now: the damage that was found, or the write that failed.
    pub why_read_only: Option<String>,
}

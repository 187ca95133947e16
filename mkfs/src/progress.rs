//! What long work tells its caller.

/// A phase of the work, in the order they happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Looking at the source tree; unit: entries, total unknown (0).
    Scanning,
    /// Discarding the device's old content; unit: bytes.
    Discarding,
    /// Bitmaps and inode tables; unit: groups.
    Tables,
    /// The journal; unit: bytes.
    Journal,
    /// Directories and file content; unit: bytes.
    Content,
    /// Descriptors and superblocks; unit: groups.
    Superblocks,
}

/// Hears how far the work is. Called from several threads.
pub trait Progress: Sync {
    /// A stage begins that consists of `total` units (0: not known).
    fn begin(&self, stage: Stage, total: u64);
    /// `units` more of the present stage are done.
    fn advance(&self, units: u64);
}

/// Nobody listens.
impl Progress for () {
    fn begin(&self, _stage: Stage, _total: u64) {}
    fn advance(&self, _units: u64) {}
}

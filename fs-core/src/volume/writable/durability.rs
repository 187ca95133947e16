//! When changes are on the device.

use super::WritableVolume;
use crate::error::Result;
use crate::types::InodeNumber;

impl WritableVolume {
    /// Makes everything durable that was changed before the call.
    ///
    /// # Errors
    /// The device's. After a failed commit writing has stopped.
    pub fn sync(&self) -> Result<()> {
        self.check_unfinished()?;
        self.noted(self.writer().sync())
    }

    /// Makes an inode durable: its content, its attributes, and its names, with everything
    /// that was changed before. Callers at one time share the work.
    ///
    /// # Errors
    /// Those of [`sync`](Self::sync).
    pub fn fsync(&self, inode: InodeNumber) -> Result<()> {
        // One log for all: what the inode depends on comes before it.
        let _ = inode;
        self.sync()
    }

    /// Makes the content of an inode durable, and of its attributes what is needed to read
    /// it, as fdatasync(2): the size and where it lies, but not times. Overwritten content
    /// costs no commit.
    ///
    /// # Errors
    /// Those of [`sync`](Self::sync).
    pub fn fdatasync(&self, inode: InodeNumber) -> Result<()> {
        self.check_unfinished()?;
        self.noted(self.writer().sync_content(inode))
    }

    /// Commits, and writes everything to its place, so that the journal holds nothing of use.
    ///
    /// # Errors
    /// Those of [`sync`](Self::sync).
    pub fn checkpoint(&self) -> Result<()> {
        self.check_unfinished()?;
        self.noted(self.writer().sync().and_then(|()| {
            let writer = self.writer();
            writer.transactions.checkpoint(&writer.store.cache)
        }))
    }
}

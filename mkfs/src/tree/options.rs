//! What a scan of a source may change about what it finds.

use fs_core::Timestamp;

use super::Attributes;

/// How a source becomes a tree.
#[derive(Debug, Clone, Default)]
pub struct ScanOptions {
    /// Owner and group of everything, whatever the source says.
    pub owner: Option<(u32, u32)>,
    /// Modification times later than this become this.
    pub clamp_mtime: Option<Timestamp>,
    /// Modification time of directories the source needs but does not describe
    /// (an archive may leave out parents): normally the file system's own time.
    pub undescribed_mtime: Timestamp,
    /// Leaves `accessed` and `changed` unknown: they are the history of a host, not
    /// of the files.
    pub reproducible: bool,
    /// `st_dev` and `st_ino` of the files the image is written to (a loop device
    /// has two: its own node and the file beneath). A source that contains one of
    /// them, or an archive that is one, is refused.
    pub exclude: Vec<(u64, u64)>,
    /// Threads that look at directories; 0 counts as 1.
    pub threads: usize,
}

impl ScanOptions {
    /// Attributes as the source states them, with the overrides applied.
    pub(super) fn apply(&self, mut attributes: Attributes) -> Attributes {
        if let Some((uid, gid)) = self.owner {
            (attributes.uid, attributes.gid) = (uid, gid);
        }
        if self.reproducible {
            (attributes.accessed, attributes.changed) = (None, None);
        }
        if let Some(latest) = self.clamp_mtime {
            attributes.modified = attributes.modified.min(latest);
        }
        attributes
    }
}

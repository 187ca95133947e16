//! Who wants to know when a file's map changes.

use std::fmt::Debug;
use std::ops::Range;

use crate::types::{FileBlock, InodeNumber};

/// Is told of each change of the map of a regular file before it is made, with the file
/// locked: who has told others where the file's blocks lie can take that back in time.
///
/// What is announced may fail, or turn out to change nothing. Not announced are the blocks
/// [`prepare_write`](crate::WritableVolume::prepare_write) adds and what
/// [`complete_write`](crate::WritableVolume::complete_write) makes of them: their callers look
/// at the map before they let go of the file.
pub trait MappingObserver: Send + Sync + Debug {
    /// What is at these blocks of a file may change. The end is `2^32` for all there are. Must
    /// not call the volume.
    fn changing(&self, file: InodeNumber, blocks: Range<FileBlock>);
}

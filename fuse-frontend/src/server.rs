//! What all threads of a session share.

use std::sync::Arc;

use fs_core::{Inode, Volume};
use rustix::io::Errno;

use crate::complaints::Complaints;
use crate::failure::Failure;
use crate::gate::Gate;
use crate::negotiate::Agreed;
use crate::node;
use crate::options::{Access, MountOptions};
use crate::presentation::Presentation;
use crate::read_ahead::ReadAhead;

/// How long the kernel may keep attributes and names, in seconds: a day. A
/// volume open for reading never changes.
const VALID_SECONDS: u64 = 86_400;

/// A mounted volume and how it is shown.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) volume: Arc<Volume>,
    pub(crate) presentation: Presentation,
    pub(crate) gate: Gate,
    pub(crate) agreed: Agreed,
    /// How long names and attributes may be kept, in seconds.
    pub(crate) valid_seconds: u64,
    pub(crate) complaints: Complaints,
    pub(crate) read_ahead: ReadAhead,
}

impl Server {
    pub(crate) fn new(volume: Arc<Volume>, options: &MountOptions, agreed: Agreed) -> Self {
        // What the kernel keeps, it shows without asking. Where we decide who
        // may see something, it must ask each time.
        let valid_seconds = match options.access {
            Access::Root => 0,
            Access::Owner | Access::Other => VALID_SECONDS,
        };
        Self {
            volume,
            presentation: Presentation {
                uid: options.uid,
                gid: options.gid,
                umask: options.umask,
            },
            gate: Gate::new(options.access),
            agreed,
            valid_seconds,
            complaints: Complaints::new(),
            read_ahead: ReadAhead::new(),
        }
    }

    /// The inode behind a node number of a request.
    pub(crate) fn inode(&self, nodeid: u64) -> Result<Arc<Inode>, Failure> {
        let number = node::inode_of(nodeid).ok_or(Errno::STALE)?;
        Ok(self.volume.inode(number)?)
    }
}

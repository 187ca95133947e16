//! FREEZE, UNFREEZE and SHUTDOWN of the whole volume.
//!
//! Before it freezes, the kernel has let no writer in any more and written its pages back.
//! What still comes are the ends of inodes that nobody uses any longer, which would be
//! written: they wait.

use fs_core::InodeNumber;
use parking_lot::Mutex;

use super::completion::settle_all_sizes;
use crate::failure::Failure;
use crate::replies::Reply;
use crate::server::Server;

/// What waits while the volume is frozen; `None` while it is not.
#[derive(Debug, Default)]
pub(crate) struct Freezer {
    waiting: Mutex<Option<Vec<(InodeNumber, u64)>>>,
}

impl Freezer {
    pub(crate) fn is_frozen(&self) -> bool {
        self.waiting.lock().is_some()
    }

    /// Keeps a FORGET for later. False if it can be done now.
    pub(crate) fn defer(&self, inode: InodeNumber, times: u64) -> bool {
        match self.waiting.lock().as_mut() {
            Some(waiting) => {
                waiting.push((inode, times));
                true
            }
            None => false,
        }
    }

    /// Everything is in its place, and stays as it is until [`unfreeze`](Self::unfreeze).
    pub(crate) fn freeze(&self, server: &Server) -> Result<Reply<'static>, Failure> {
        if let Ok(iomap) = server.iomap() {
            settle_all_sizes(server, iomap);
        }
        self.waiting.lock().get_or_insert_default();
        let Some(volume) = server.volume.writer() else {
            return Ok(Reply::Done);
        };
        if let Err(error) = volume.checkpoint() {
            self.unfreeze(server);
            return Err(error.into());
        }
        Ok(Reply::Done)
    }

    pub(crate) fn unfreeze(&self, server: &Server) {
        let waiting = self.waiting.lock().take();
        for (inode, times) in waiting.into_iter().flatten() {
            server.forget(inode, times);
        }
    }
}

/// Nothing is written any more.
pub(crate) fn shut_down(server: &Server) -> Reply<'static> {
    if let Some(volume) = server.volume.writer() {
        volume.shut_down();
    }
    Reply::Done
}

//! FREEZE, UNFREEZE and SHUTDOWN of the whole volume.
//!
//! Before it freezes, the kernel has let no writer in any more and written its pages back.
//! What still comes are the ends of inodes that nobody uses any longer, which would be
//! written: they wait.

use fs_core::InodeNumber;
use parking_lot::{Mutex, RwLock, RwLockReadGuard};

use super::completion::settle_all_sizes;
use crate::failure::Failure;
use crate::replies::Reply;
use crate::server::Server;

/// Keeps back what would be written of the server's own accord.
#[derive(Debug, Default)]
pub(crate) struct Freezer {
    /// Held shared while such a thing is done, and exclusively while the volume comes to rest.
    gate: RwLock<()>,
    /// What waits while the volume is frozen; `None` while it is not.
    waiting: Mutex<Option<Vec<(InodeNumber, u64)>>>,
}

/// The volume is not frozen, and will not be as long as this is there.
pub(crate) struct Thawed<'f> {
    _gate: RwLockReadGuard<'f, ()>,
}

impl Freezer {
    /// Has the volume stay as it is, if it is not frozen.
    pub(crate) fn thawed(&self) -> Option<Thawed<'_>> {
        let thawed = self.pass();
        self.waiting.lock().is_none().then_some(thawed)
    }

    /// Has the volume stay frozen, or not.
    pub(crate) fn pass(&self) -> Thawed<'_> {
        // Who has passed may pass again, whoever waits meanwhile.
        Thawed {
            _gate: self.gate.read_recursive(),
        }
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
        let rest = self.gate.write();
        self.waiting.lock().get_or_insert_default();
        let Some(volume) = server.volume.writer() else {
            return Ok(Reply::Done);
        };
        if let Err(error) = volume.checkpoint() {
            drop(rest);
            self.unfreeze(server);
            return Err(error.into());
        }
        Ok(Reply::Done)
    }

    pub(crate) fn unfreeze(&self, server: &Server) {
        let rest = self.gate.write();
        let waiting = self.waiting.lock().take();
        drop(rest);
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

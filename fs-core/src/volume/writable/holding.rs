//! Holding inodes that are in use: they live on without a name.

use std::sync::Arc;

use super::WritableVolume;
use super::delete::Removal;
use crate::directory::DirEntry;
use crate::error::{ErrorKind, Result};
use crate::format::inode::Inode;
use crate::namespace;
use crate::types::InodeNumber;

impl WritableVolume {
    /// Holds an inode: it lives on without a name until [`release`](Self::release).
    ///
    /// # Errors
    /// `Stale` if it is not in use.
    pub fn retain(&self, inode: InodeNumber) -> Result<()> {
        let _lock = self.shared.locks.shared(inode);
        self.usable(inode)?;
        self.shared.retained.add(inode);
        Ok(())
    }

    /// The inode `name` leads to, held as by [`retain`](Self::retain) before anybody can
    /// remove it and its number can mean another.
    ///
    /// # Errors
    /// `NotFound` if there is no such name, `Stale` if the directory is not in use.
    pub fn retain_child(&self, parent: InodeNumber, name: &[u8]) -> Result<Arc<Inode>> {
        self.look(parent, |store| {
            // While the directory is locked the name stays, and so does what it names.
            let found = namespace::child(store, self.in_use(parent)?.as_ref(), name)?;
            self.shared.retained.add(found.number());
            Ok(found)
        })
    }

    /// Holds what a directory entry names, as [`retain`](Self::retain) does. Only while
    /// [`read_dir`](Self::read_dir) shows the entry: the directory is locked then, so the
    /// name stays, and what it names.
    pub fn retain_entry(&self, entry: &DirEntry<'_>) {
        self.shared.retained.add(entry.inode);
    }

    /// Gives up what one [`retain`](Self::retain), [`retain_child`](Self::retain_child),
    /// [`retain_entry`](Self::retain_entry), [`create_retained`](Self::create_retained) or
    /// [`create_unnamed`](Self::create_unnamed) holds. An inode without a name ends with the
    /// last one.
    ///
    /// # Errors
    /// If it cannot be ended now; the next opening of the volume does it.
    pub fn release(&self, inode: InodeNumber) -> Result<()> {
        self.release_many(inode, 1).map(drop)
    }

    /// [`release`](Self::release), `times` times; more than it is held is as often as it is.
    /// True if nobody holds the inode any more.
    ///
    /// # Errors
    /// As [`release`](Self::release).
    pub fn release_many(&self, inode: InodeNumber, times: u64) -> Result<bool> {
        self.check_unfinished()?;
        self.noted((|| {
            let _lock = self.shared.locks.exclusive(&[inode]);
            if !self.shared.retained.drop_some(inode, times) {
                return Ok(false);
            }
            self.writer().space.end_reservation(inode);
            match self.store().inode(inode) {
                Ok(found) if found.links() == 0 => {
                    self.background.changed();
                    self.finish_removal(inode, Removal::Orphan)?;
                    Ok(true)
                }
                Ok(_) => Ok(true),
                Err(error) if matches!(error.kind(), ErrorKind::Stale) => Ok(true),
                Err(error) => Err(error),
            }
        })())
    }
}

//! Names come and go: create, link, unlink, rmdir.

use std::sync::Arc;

use super::WritableVolume;
use super::new_inode::{self, LINKS_MAX, NewInode};
use crate::change::Change;
use crate::directory::{self, NAME_BYTES_MAX};
use crate::error::{Error, ErrorKind, Result};
use crate::format::inode::Inode;
use crate::format::inode_flags::InodeFlags;
use crate::inode_locks::Exclusive;
use crate::namespace;
use crate::store::Store;
use crate::types::{FileType, InodeNumber};
use crate::{mapping, xattr};

/// Fails for what cannot be a name.
pub(super) fn check_name(name: &[u8]) -> Result<()> {
    if name.len() > NAME_BYTES_MAX {
        return Err(ErrorKind::NameTooLong.into());
    }
    if name.is_empty() || name.contains(&b'/') || name.contains(&0) {
        let what = "a name has at least one byte, no '/' and no NUL";
        return Err(ErrorKind::InvalidInput(what).into());
    }
    Ok(())
}

fn is_dots(name: &[u8]) -> bool {
    name == b"." || name == b".."
}

/// The directory, if names may be added to it.
pub(super) fn directory_for_adding(store: &Store, number: InodeNumber) -> Result<Arc<Inode>> {
    let directory = store.inode(number)?;
    if directory.file_type() != FileType::Directory {
        return Err(ErrorKind::NotADirectory.into());
    }
    if directory.links() == 0 {
        return Err(ErrorKind::NotFound.into());
    }
    check_mutable(&directory)?;
    Ok(directory)
}

/// The directory, if names may be taken from it.
pub(super) fn directory_for_removing(store: &Store, number: InodeNumber) -> Result<Arc<Inode>> {
    let directory = directory_for_adding(store, number)?;
    if directory.flags().contains(InodeFlags::APPEND) {
        let why = "names cannot be removed from an append-only directory";
        return Err(ErrorKind::NotPermitted(why).into());
    }
    Ok(directory)
}

pub(super) fn check_mutable(inode: &Inode) -> Result<()> {
    if inode.flags().contains(InodeFlags::IMMUTABLE) {
        return Err(ErrorKind::NotPermitted("the inode is immutable").into());
    }
    Ok(())
}

/// Fails if the inode's flags keep its names as they are.
pub(super) fn check_names_mutable(inode: &Inode) -> Result<()> {
    check_mutable(inode)?;
    if inode.flags().contains(InodeFlags::APPEND) {
        let why = "an append-only inode keeps its names";
        return Err(ErrorKind::NotPermitted(why).into());
    }
    Ok(())
}

/// Fails if a name leads to an inode that can have none: then the directory is damaged, and
/// removing the name would give back what the file system itself uses.
pub(super) fn check_can_have_names(store: &Store, inode: &Inode) -> Result<()> {
    let is_value = inode.flags().contains(InodeFlags::EA_INODE);
    if !is_value && !store.superblock.is_own_inode(inode.number()) {
        return Ok(());
    }
    Err(Error::corrupt(
        "directory",
        None,
        "names of files and directories",
        format_args!("one of inode {}, the file system's own", inode.number()),
    ))
}

/// Sets a directory's times after its names have changed, and its link count.
pub(super) fn touch_directory(
    change: &mut Change<'_>,
    directory: InodeNumber,
    links: Option<u16>,
) -> Result<()> {
    let now = change.now;
    change.edit_inode(directory, |edit| {
        edit.set_modified(now)?;
        edit.set_changed(now)?;
        match links {
            Some(links) => edit.set_links(links),
            None => Ok(()),
        }
    })?;
    Ok(())
}

/// What a name leads to, with the locks of both held for changing.
pub(super) struct Found<'v> {
    pub(super) directory: Arc<Inode>,
    pub(super) target: Arc<Inode>,
    pub(super) lock: Exclusive<'v>,
}

impl WritableVolume {
    /// Blocks a change of one name and one inode may touch.
    pub(super) fn name_credits(&self) -> usize {
        let store = self.store();
        directory::credits(store) + 16
    }

    /// Makes a new inode with a name, and returns it.
    ///
    /// # Errors
    /// `Exists`, `NoSpace`, `NameTooLong`, `InvalidInput`, `NotADirectory`, `NotFound` if
    /// the directory has been removed, `TooManyNames`, `NotPermitted` by its flags.
    pub fn create(&self, parent: InodeNumber, name: &[u8], new: &NewInode) -> Result<Arc<Inode>> {
        self.create_then(parent, name, new, &|_| {})
    }

    /// [`create`](Self::create), and the new inode is held as by [`retain`](Self::retain)
    /// before anybody can remove it.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn create_retained(
        &self,
        parent: InodeNumber,
        name: &[u8],
        new: &NewInode,
    ) -> Result<Arc<Inode>> {
        let retain = |inode: &Inode| self.shared.retained.add(inode.number());
        self.create_then(parent, name, new, &retain)
    }

    /// Makes a new inode; `then` sees it with its directory still locked.
    fn create_then(
        &self,
        parent: InodeNumber,
        name: &[u8],
        new: &NewInode,
        then: &dyn Fn(&Inode),
    ) -> Result<Arc<Inode>> {
        self.changing(|| {
            check_name(name)?;
            if is_dots(name) {
                return Err(ErrorKind::Exists.into());
            }
            new.check(self.store().superblock.block_bytes)?;
            let _lock = self.shared.locks.exclusive(&[parent]);
            let directory = directory_for_adding(self.store(), parent)?;
            // Adding the name finds out whether it is there. If something else failed
            // before, that it is there matters more.
            let made = self.make(&directory, name, new).map_err(|error| {
                match directory::lookup(self.store(), &directory, name) {
                    Ok(Some(_)) => ErrorKind::Exists.into(),
                    _ => error,
                }
            });
            made.inspect(|inode| then(inode))
        })
    }

    fn make(&self, directory: &Inode, name: &[u8], new: &NewInode) -> Result<Arc<Inode>> {
        let parent = directory.number();
        let mut change = self.begin_new(new)?;
        let is_directory = new.kind.file_type() == FileType::Directory;
        let links = if is_directory { 2 } else { 1 };
        let inode = new_inode::bring_up(&mut change, directory, new, links)?;
        directory::add(&mut change, parent, name, inode.number(), inode.file_type())?;
        let links = match is_directory {
            true => Some(new_inode::links_with_one_more(&change, directory)?),
            false => None,
        };
        touch_directory(&mut change, parent, links)?;
        change.finish();
        Ok(inode)
    }

    /// Makes a new inode without a name, which ends when it is [released](Self::release)
    /// unless [`link`](Self::link) has given it one. It is retained once.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn create_unnamed(&self, parent: InodeNumber, new: &NewInode) -> Result<Arc<Inode>> {
        self.changing(|| {
            new.check(self.store().superblock.block_bytes)?;
            if new.kind.file_type() == FileType::Directory {
                let what = "a directory cannot be without a name";
                return Err(ErrorKind::InvalidInput(what).into());
            }
            let _lock = self.shared.locks.exclusive(&[parent]);
            let directory = directory_for_adding(self.store(), parent)?;
            let mut change = self.begin_new(new)?;
            let inode = new_inode::bring_up(&mut change, &directory, new, 0)?;
            change.add_orphan(inode.number())?;
            change.finish();
            self.shared.retained.add(inode.number());
            Ok(inode)
        })
    }

    fn begin_new(&self, new: &NewInode) -> Result<Change<'_>> {
        let store = self.store();
        let mut credits = self.name_credits() + directory::credits(store);
        if !new.xattrs.is_empty() {
            credits += new.xattrs.len() * xattr::credits(store);
        }
        let mut change = self.writer().begin(credits)?;
        change.may_use_reserve = new.may_use_reserve;
        Ok(change)
    }

    /// Gives an inode another name.
    ///
    /// # Errors
    /// `Exists`, `NotPermitted` for a directory and by flags, `TooManyNames` beyond 65,000,
    /// `NotFound` if the inode has no name and nobody [holds](Self::retain) it.
    pub fn link(&self, inode: InodeNumber, parent: InodeNumber, name: &[u8]) -> Result<()> {
        self.changing(|| {
            check_name(name)?;
            if is_dots(name) {
                return Err(ErrorKind::Exists.into());
            }
            let _lock = self.shared.locks.exclusive(&[inode, parent]);
            let directory = directory_for_adding(self.store(), parent)?;
            let target = self.ordinary(inode)?;
            if target.file_type() == FileType::Directory {
                let why = "a directory has only one name";
                return Err(ErrorKind::NotPermitted(why).into());
            }
            check_names_mutable(&target)?;
            if target.links() >= LINKS_MAX {
                return Err(ErrorKind::TooManyNames.into());
            }
            let is_unnamed = target.links() == 0;
            if is_unnamed && !self.shared.retained.is_held(inode) {
                return Err(ErrorKind::NotFound.into());
            }
            if directory::lookup(self.store(), &directory, name)?.is_some() {
                return Err(ErrorKind::Exists.into());
            }
            let mut change = self.writer().begin(self.name_credits())?;
            let (links, now) = (target.links() + 1, change.now);
            change.edit_inode(inode, |edit| {
                edit.set_links(u16::try_from(links).unwrap_or(u16::MAX))?;
                edit.set_changed(now)
            })?;
            if is_unnamed {
                change.remove_orphan(inode)?;
            }
            directory::add(&mut change, parent, name, inode, target.file_type())?;
            touch_directory(&mut change, parent, None)?;
            change.finish();
            Ok(())
        })
    }

    /// Removes a name. The inode ends with its last name, or when nobody retains it.
    ///
    /// # Errors
    /// `NotFound`, `IsADirectory`, `NotPermitted` by flags.
    pub fn unlink(&self, parent: InodeNumber, name: &[u8]) -> Result<()> {
        self.changing(|| {
            check_name(name)?;
            if is_dots(name) {
                return Err(ErrorKind::IsADirectory.into());
            }
            let found = self.find(parent, name)?;
            directory_for_removing(self.store(), parent)?;
            if found.target.file_type() == FileType::Directory {
                return Err(ErrorKind::IsADirectory.into());
            }
            check_names_mutable(&found.target)?;
            let mut change = self.writer().begin(self.removal_credits(&found.target))?;
            directory::remove(&mut change, parent, name)?;
            touch_directory(&mut change, parent, None)?;
            let removal = self.drop_name(&mut change, &found.target)?;
            change.finish();
            self.finish_removal(found.target.number(), removal)?;
            drop(found.lock);
            Ok(())
        })
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// `NotEmpty` (also for ".."), `InvalidInput` for ".", `NotADirectory`, `NotFound`,
    /// `NotPermitted` by flags.
    pub fn rmdir(&self, parent: InodeNumber, name: &[u8]) -> Result<()> {
        self.changing(|| {
            check_name(name)?;
            match name {
                b"." => return Err(ErrorKind::InvalidInput("\".\" cannot be removed").into()),
                b".." => return Err(ErrorKind::NotEmpty.into()),
                _ => {}
            }
            let found = self.find(parent, name)?;
            directory_for_removing(self.store(), parent)?;
            let target = &found.target;
            if target.file_type() != FileType::Directory {
                return Err(ErrorKind::NotADirectory.into());
            }
            check_names_mutable(target)?;
            if !directory::is_empty(self.store(), target)? {
                return Err(ErrorKind::NotEmpty.into());
            }
            let mut change = self.writer().begin(self.removal_credits(target))?;
            directory::remove(&mut change, parent, name)?;
            let links = new_inode::links_with_one_less(&found.directory);
            touch_directory(&mut change, parent, Some(links))?;
            let removal = self.drop_directory(&mut change, target)?;
            change.finish();
            self.finish_removal(target.number(), removal)?;
            drop(found.lock);
            Ok(())
        })
    }

    /// Locks a directory and what a name in it leads to.
    pub(super) fn find(&self, parent: InodeNumber, name: &[u8]) -> Result<Found<'_>> {
        let mut wanted = vec![parent];
        loop {
            let mut lock = self.shared.locks.exclusive(&wanted);
            let directory = self.store().inode(parent)?;
            if directory.links() == 0 {
                return Err(ErrorKind::NotFound.into());
            }
            let number = namespace::child(self.store(), &directory, name)?.number();
            // Which inode to lock is known only after this look. If somebody has it, all are
            // given up and taken in turn; then the name may lead elsewhere.
            if self.shared.locks.extend(&mut lock, number) {
                let target = self.store().inode(number)?;
                check_can_have_names(self.store(), &target)?;
                return Ok(Found {
                    directory,
                    target,
                    lock,
                });
            }
            wanted = vec![parent, number];
        }
    }

    /// Blocks that removing a name, and the inode with it, may touch.
    pub(super) fn removal_credits(&self, target: &Inode) -> usize {
        let store = self.store();
        self.name_credits() + xattr::credits(store) + mapping::credits(store, target, 1).max(16) * 2
    }
}

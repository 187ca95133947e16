//! Names: create, link, unlink, rmdir, rename.

use super::{LINKS_MAX, Model, Outcome, Predicted};
use crate::write::content::Content;
use crate::write::operation::{Path, Target};
use crate::write::tree::{Kind, Node, NodeId, Xattrs};
use fs_core::{InodeFlags, NewInode, NewKind, RenameMode};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::sync::Arc;

/// `S_ISGID`.
const SET_GROUP_ID: u16 = 0o2000;

fn check_name(name: &[u8]) -> Predicted<()> {
    if name.len() > 255 {
        return Err(Errno::NAMETOOLONG);
    }
    if name.is_empty() || name.contains(&b'/') || name.contains(&0) {
        return Err(Errno::INVAL);
    }
    Ok(())
}

fn is_dots(name: &[u8]) -> bool {
    name == b"." || name == b".."
}

/// Flags that a new inode takes over from its directory.
fn inherited(parent: InodeFlags, is_directory: bool, is_file: bool) -> InodeFlags {
    let everywhere = InodeFlags::NODUMP | InodeFlags::NOATIME;
    let files = everywhere
        | InodeFlags::SECRM
        | InodeFlags::UNRM
        | InodeFlags::COMPR
        | InodeFlags::SYNC
        | InodeFlags::JOURNAL_DATA
        | InodeFlags::NOTAIL;
    parent
        & match (is_directory, is_file) {
            (true, _) => files | InodeFlags::DIRSYNC,
            (_, true) => files,
            _ => everywhere,
        }
}

impl Model {
    fn split<'p>(&self, path: &'p Path) -> Predicted<(NodeId, &'p [u8])> {
        // Nobody can say which name the root has: as little as an empty one.
        let Some((parent, name)) = path.split() else {
            return Ok((self.tree.root, b""));
        };
        Ok((self.find(parent)?, name))
    }

    fn directory_for_adding(&self, id: NodeId) -> Predicted<()> {
        let node = self.node(id)?;
        if !node.is_directory() {
            return Err(Errno::NOTDIR);
        }
        if node.links == 0 {
            return Err(Errno::NOENT);
        }
        self.check_mutable(id)
    }

    fn directory_for_removing(&self, id: NodeId) -> Predicted<()> {
        self.directory_for_adding(id)?;
        match self.has_flag(id, InodeFlags::APPEND) {
            true => Err(Errno::PERM),
            false => Ok(()),
        }
    }

    fn check_new(&self, new: &NewInode) -> Predicted<()> {
        if new.permissions > 0o7777 {
            return Err(Errno::INVAL);
        }
        match &new.kind {
            NewKind::Symlink(target) if target.is_empty() || target.contains(&0) => {
                Err(Errno::INVAL)
            }
            NewKind::Symlink(target) if target.len() as u64 >= self.traits.block_bytes => {
                Err(Errno::NAMETOOLONG)
            }
            NewKind::CharDevice { major, minor } | NewKind::BlockDevice { major, minor }
                if *major >= 1 << 12 || *minor >= 1 << 20 =>
            {
                Err(Errno::INVAL)
            }
            _ => Ok(()),
        }
    }

    /// Fails if a directory cannot have another subdirectory.
    fn check_links(&self, directory: NodeId) -> Predicted<()> {
        if self.node(directory)?.links >= LINKS_MAX && !self.traits.has_dir_nlink {
            return Err(Errno::MLINK);
        }
        Ok(())
    }

    fn made(&self, parent: NodeId, new: &NewInode, links: u32) -> Predicted<Node> {
        let directory = self.node(parent)?;
        let kind = match &new.kind {
            NewKind::File => Kind::File {
                size: 0,
                content: Content::default(),
            },
            NewKind::Directory => Kind::Directory {
                entries: Arc::new(BTreeMap::new()),
                parent,
            },
            NewKind::Symlink(target) => Kind::Symlink(target.clone()),
            NewKind::CharDevice { major, minor } => Kind::CharDevice(*major, *minor),
            NewKind::BlockDevice { major, minor } => Kind::BlockDevice(*major, *minor),
            NewKind::Fifo => Kind::Fifo,
            NewKind::Socket => Kind::Socket,
        };
        let inherits_group = directory.permissions & SET_GROUP_ID != 0;
        let is_directory = new.kind == NewKind::Directory;
        let flags = InodeFlags::from_bits_retain(directory.flags.unwrap_or(0));
        let flags = inherited(flags, is_directory, new.kind == NewKind::File);
        let now = self.traits.stored(self.traits.has_fine_times, self.now);
        let mut xattrs = Xattrs::new();
        for (name, value) in &new.xattrs {
            super::attributes::check_xattr(name, value)?;
            xattrs.insert(name.clone(), value.clone());
        }
        Ok(Node {
            kind,
            permissions: match inherits_group && is_directory {
                true => new.permissions | SET_GROUP_ID,
                false => new.permissions,
            },
            uid: new.uid,
            gid: if inherits_group {
                directory.gid
            } else {
                new.gid
            },
            links,
            flags: Some(flags.bits()),
            accessed: now,
            modified: now,
            changed: now,
            created: self.traits.has_fine_times.then_some(now),
            generation: None,
            xattrs,
        })
    }

    pub(super) fn create(&mut self, at: &Path, new: &NewInode) -> Predicted<Outcome> {
        let (parent, name) = self.split(at)?;
        check_name(name)?;
        if is_dots(name) {
            return Err(Errno::EXIST);
        }
        self.check_new(new)?;
        self.directory_for_adding(parent)?;
        if self.tree.child(parent, name).is_some() {
            return Err(Errno::EXIST);
        }
        let is_directory = new.kind == NewKind::Directory;
        let node = self.made(parent, new, if is_directory { 2 } else { 1 })?;
        if is_directory {
            self.check_links(parent)?;
        }
        let id = self.add(node);
        self.enter(parent, name, Some(id))?;
        self.touch_directory(parent, i32::from(is_directory))?;
        Ok(Outcome::Made(id))
    }

    pub(super) fn create_unnamed(&mut self, parent: &Path, new: &NewInode) -> Predicted<Outcome> {
        let parent = self.find(&parent.0)?;
        self.check_new(new)?;
        if new.kind == NewKind::Directory {
            return Err(Errno::INVAL);
        }
        self.directory_for_adding(parent)?;
        let node = self.made(parent, new, 0)?;
        let id = self.add(node);
        self.held.push(id);
        Ok(Outcome::Made(id))
    }

    pub(super) fn link(&mut self, from: &Target, at: &Path) -> Predicted<Outcome> {
        let target = self.resolve(from)?;
        let (parent, name) = self.split(at)?;
        check_name(name)?;
        if is_dots(name) {
            return Err(Errno::EXIST);
        }
        self.directory_for_adding(parent)?;
        let node = self.node(target)?;
        if node.is_directory() {
            return Err(Errno::PERM);
        }
        self.check_names_mutable(target)?;
        if node.links >= LINKS_MAX {
            return Err(Errno::MLINK);
        }
        if self.tree.child(parent, name).is_some() {
            return Err(Errno::EXIST);
        }
        self.node_mut(target)?.links += 1;
        self.touch(target)?;
        self.enter(parent, name, Some(target))?;
        self.touch_directory(parent, 0)?;
        Ok(Outcome::Done)
    }

    pub(super) fn unlink(&mut self, at: &Path) -> Predicted<Outcome> {
        let (parent, name) = self.split(at)?;
        check_name(name)?;
        if is_dots(name) {
            return Err(Errno::ISDIR);
        }
        let target = self.child(parent, name)?;
        self.directory_for_removing(parent)?;
        if self.node(target)?.is_directory() {
            return Err(Errno::ISDIR);
        }
        self.check_names_mutable(target)?;
        self.enter(parent, name, None)?;
        self.touch_directory(parent, 0)?;
        self.drop_name(target)?;
        Ok(Outcome::Done)
    }

    pub(super) fn rmdir(&mut self, at: &Path) -> Predicted<Outcome> {
        let (parent, name) = self.split(at)?;
        check_name(name)?;
        match name {
            b"." => return Err(Errno::INVAL),
            b".." => return Err(Errno::NOTEMPTY),
            _ => {}
        }
        let target = self.child(parent, name)?;
        self.directory_for_removing(parent)?;
        let node = self.node(target)?;
        let entries = node.entries().ok_or(Errno::NOTDIR)?;
        self.check_names_mutable(target)?;
        if !entries.is_empty() {
            return Err(Errno::NOTEMPTY);
        }
        self.enter(parent, name, None)?;
        self.touch_directory(parent, -1)?;
        self.drop_name(target)?;
        Ok(Outcome::Done)
    }

    pub(super) fn rename(
        &mut self,
        from: &Path,
        to: &Path,
        mode: RenameMode,
    ) -> Predicted<Outcome> {
        let (old_parent, old_name) = self.split(from)?;
        let (new_parent, new_name) = self.split(to)?;
        for name in [old_name, new_name] {
            check_name(name)?;
            if is_dots(name) {
                return Err(Errno::INVAL);
            }
        }
        let source = self.child(old_parent, old_name)?;
        let target = match self.child(new_parent, new_name) {
            Err(Errno::NOENT) => None,
            found => Some(found?),
        };
        self.directory_for_removing(old_parent)?;
        self.directory_for_adding(new_parent)?;
        self.check_rename(source, target, new_parent, mode)?;
        if target == Some(source) {
            return Ok(Outcome::Done);
        }
        self.check_circle(source, target, [old_parent, new_parent], mode)?;
        let is_directory = |id: NodeId| self.node(id).is_ok_and(Node::is_directory);
        let moved = i32::from(is_directory(source));
        let met = i32::from(target.is_some_and(is_directory));
        let gains = match mode {
            RenameMode::Exchange => [met - moved, moved - met],
            _ => [-moved, moved - met],
        };
        if old_parent != new_parent {
            for (parent, gain) in [(old_parent, gains[0]), (new_parent, gains[1])] {
                if gain > 0 {
                    self.check_links(parent)?;
                }
            }
        }
        self.enter(new_parent, new_name, Some(source))?;
        self.set_parent(source, new_parent)?;
        self.touch(source)?;
        match (mode, target) {
            (RenameMode::Exchange, Some(target)) => {
                self.enter(old_parent, old_name, Some(target))?;
                self.set_parent(target, old_parent)?;
                self.touch(target)?;
            }
            (RenameMode::Whiteout | RenameMode::WhiteoutNoReplace, _) => {
                let device = NewKind::CharDevice { major: 0, minor: 0 };
                let node = self.made(old_parent, &NewInode::new(device, 0), 1)?;
                let id = self.add(node);
                self.enter(old_parent, old_name, Some(id))?;
            }
            _ => self.enter(old_parent, old_name, None)?,
        }
        self.touch_directory(old_parent, gains[0])?;
        self.touch_directory(new_parent, gains[1])?;
        if let Some(target) = target.filter(|_| mode != RenameMode::Exchange) {
            self.drop_name(target)?;
        }
        Ok(Outcome::Done)
    }

    fn check_rename(
        &self,
        source: NodeId,
        target: Option<NodeId>,
        new_parent: NodeId,
        mode: RenameMode,
    ) -> Predicted<()> {
        self.check_names_mutable(source)?;
        let Some(target) = target else {
            return match mode {
                RenameMode::Exchange => Err(Errno::NOENT),
                _ => Ok(()),
            };
        };
        if matches!(mode, RenameMode::NoReplace | RenameMode::WhiteoutNoReplace) {
            return Err(Errno::EXIST);
        }
        if source == target {
            return Ok(());
        }
        self.check_names_mutable(target)?;
        self.directory_for_removing(new_parent)?;
        if mode == RenameMode::Exchange {
            return Ok(());
        }
        let (source, target) = (self.node(source)?, self.node(target)?);
        match (source.is_directory(), target.entries()) {
            (true, None) => Err(Errno::NOTDIR),
            (false, Some(_)) => Err(Errno::ISDIR),
            (true, Some(entries)) if !entries.is_empty() => Err(Errno::NOTEMPTY),
            _ => Ok(()),
        }
    }

    fn check_circle(
        &self,
        source: NodeId,
        target: Option<NodeId>,
        [old_parent, new_parent]: [NodeId; 2],
        mode: RenameMode,
    ) -> Predicted<()> {
        if self.is_ancestor(source, new_parent)? {
            return Err(Errno::INVAL);
        }
        match target {
            Some(target) if self.is_ancestor(target, old_parent)? => Err(match mode {
                RenameMode::Exchange => Errno::INVAL,
                _ => Errno::NOTEMPTY,
            }),
            _ => Ok(()),
        }
    }

    fn is_ancestor(&self, above: NodeId, below: NodeId) -> Predicted<bool> {
        let mut at = below;
        while at != above {
            match &self.node(at)?.kind {
                Kind::Directory { parent, .. } if at != self.tree.root => at = *parent,
                _ => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Makes a name lead to an inode, or to none.
    fn enter(&mut self, parent: NodeId, name: &[u8], target: Option<NodeId>) -> Predicted<()> {
        let Kind::Directory { entries, .. } = &mut self.node_mut(parent)?.kind else {
            return Err(Errno::NOTDIR);
        };
        let entries = Arc::make_mut(entries);
        match target {
            Some(target) => entries.insert(name.to_vec(), target),
            None => entries.remove(name),
        };
        Ok(())
    }

    fn set_parent(&mut self, id: NodeId, new_parent: NodeId) -> Predicted<()> {
        if let Kind::Directory { parent, .. } = &mut self.node_mut(id)?.kind {
            *parent = new_parent;
        }
        Ok(())
    }

    /// The inode itself has changed.
    pub(super) fn touch(&mut self, id: NodeId) -> Predicted<()> {
        let now = self.stored(id, self.now);
        self.node_mut(id)?.changed = now;
        Ok(())
    }

    /// A directory's names have changed; it has so many subdirectories more.
    fn touch_directory(&mut self, id: NodeId, gains: i32) -> Predicted<()> {
        let now = self.stored(id, self.now);
        let node = self.node_mut(id)?;
        (node.modified, node.changed) = (now, now);
        match gains {
            // 1 says that nobody counts any more.
            _ if node.links == 1 => {}
            1.. if node.links >= LINKS_MAX => node.links = 1,
            1.. => node.links += 1,
            ..=-1 if node.links > 2 => node.links -= 1,
            _ => {}
        }
        Ok(())
    }

    /// A name has gone. A directory's last one takes its "." along.
    fn drop_name(&mut self, id: NodeId) -> Predicted<()> {
        self.touch(id)?;
        let node = self.node_mut(id)?;
        node.links = match node.is_directory() {
            true => 0,
            false => node.links.saturating_sub(1),
        };
        self.end_if_unused(id);
        Ok(())
    }
}

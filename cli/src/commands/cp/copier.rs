//! The walk through a tree of the image, and its copy.
//!
//! The image is not trusted. Nothing is ever created by a path: every name is
//! one component, made in a directory held open, which itself was opened
//! without following links. Directories are copied once each, so that neither
//! a loop nor a directory with many names makes the copy endless.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, bail};
use fs_core::{FileType, Inode, InodeNumber, Volume};
use rustix::fs::{
    AtFlags, Dev, FileType as NodeType, Mode, OFlags, linkat, makedev, mkdirat, mknodat, openat,
    statat, symlinkat, unlinkat,
};
use rustix::io::Errno;

use super::attributes::{self, HeldKind, Target};
use super::content::ContentCopier;
use super::place_in;
use super::report::Report;
use crate::walk::{is_component, is_dot, sorted_entries};

/// Levels of directories. Linux names none deeper than 2048 by a path; each
/// level holds a descriptor and a stack frame.
const DEPTH_MAX: usize = 1000;

/// Copies files of one image below one directory.
pub(super) struct Copier<'a> {
    volume: &'a Volume,
    image: &'a Path,
    /// Device and inode of the image, which no copy may replace.
    image_id: Option<(u64, u64)>,
    root: &'a OwnedFd,
    report: &'a mut Report,
    content: ContentCopier,
    /// Where a file with several names was copied to: components below `root`.
    links: HashMap<InodeNumber, Vec<Vec<u8>>>,
    directories: HashSet<InodeNumber>,
    /// Components below `root` of what is being copied.
    here: Vec<Vec<u8>>,
}

impl<'a> Copier<'a> {
    pub(super) fn new(
        volume: &'a Volume,
        image: &'a Path,
        root: &'a OwnedFd,
        report: &'a mut Report,
    ) -> Self {
        let metadata = image.metadata().ok();
        Self {
            volume,
            image,
            image_id: metadata.map(|metadata| (metadata.dev(), metadata.ino())),
            root,
            report,
            content: ContentCopier::new(),
            links: HashMap::new(),
            directories: HashSet::new(),
            here: Vec::new(),
        }
    }

    /// Copies a file or tree to `name` in the root. An error ends the whole
    /// copy; what concerns one file only is reported and counted.
    pub(super) fn copy(&mut self, path: &[u8], inode: &Inode, name: &[u8]) -> anyhow::Result<()> {
        let root = self.root;
        self.copy_one(path, inode, root.as_fd(), name)
    }

    /// Copies what is in a directory into the root, and its attributes onto it.
    pub(super) fn copy_into_root(&mut self, path: &[u8], inode: &Inode) -> anyhow::Result<()> {
        let root = self.root;
        self.directories.insert(inode.number());
        let result = self.fill(path, inode, root.as_fd());
        self.settle(path, result)
    }

    /// Reports what is wrong with one file.
    pub(super) fn complain(&mut self, path: &[u8], error: &anyhow::Error) {
        self.report.complain(&place_in(self.image, path), error);
    }

    /// Goes on after an error unless every further file would meet it again.
    fn settle(&mut self, path: &[u8], result: anyhow::Result<()>) -> anyhow::Result<()> {
        match result {
            Err(error) if ends_the_copy(&error) => Err(error),
            Err(error) => {
                self.complain(path, &error);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    fn copy_one(
        &mut self,
        path: &[u8],
        inode: &Inode,
        parent: BorrowedFd<'_>,
        name: &[u8],
    ) -> anyhow::Result<()> {
        self.here.push(name.to_vec());
        let result = self.dispatch(path, inode, parent, name);
        self.here.pop();
        self.settle(path, result)
    }

    fn dispatch(
        &mut self,
        path: &[u8],
        inode: &Inode,
        parent: BorrowedFd<'_>,
        name: &[u8],
    ) -> anyhow::Result<()> {
        if !is_component(name) {
            bail!("the name would leave the destination, not copied");
        }
        if inode.file_type() == FileType::Directory {
            return self.copy_directory(path, inode, parent, name);
        }
        if inode.links() > 1 {
            if self.link_to_first(inode, parent, name)? {
                return Ok(());
            }
            self.links.insert(inode.number(), self.here.clone());
        }
        match inode.file_type() {
            FileType::Regular => self.copy_file(inode, parent, name),
            FileType::Symlink => self.copy_symlink(inode, parent, name),
            _ => self.copy_special(inode, parent, name),
        }
    }

    fn copy_directory(
        &mut self,
        path: &[u8],
        inode: &Inode,
        parent: BorrowedFd<'_>,
        name: &[u8],
    ) -> anyhow::Result<()> {
        if self.here.len() > DEPTH_MAX {
            bail!("more than {DEPTH_MAX} directories deep, not copied");
        }
        if !self.directories.insert(inode.number()) {
            bail!("this directory was already copied under another name");
        }
        let name = OsStr::from_bytes(name);
        match mkdirat(parent, name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => {
                return Err(io::Error::from(error)).context("cannot create the directory");
            }
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = match openat(parent, name, flags, Mode::empty()) {
            Err(Errno::NOTDIR | Errno::LOOP) => {
                bail!("the destination exists and is not a directory")
            }
            opened => opened.map_err(io::Error::from),
        }
        .context("cannot open the new directory")?;
        self.fill(path, inode, directory.as_fd())
    }

    fn fill(
        &mut self,
        path: &[u8],
        inode: &Inode,
        directory: BorrowedFd<'_>,
    ) -> anyhow::Result<()> {
        let (entries, complete) = sorted_entries(self.volume, inode);
        if let Err(error) = complete {
            self.complain(path, &error.into());
        }
        for entry in entries {
            if is_dot(&entry.name) {
                continue;
            }
            let slash: &[u8] = if path.ends_with(b"/") { b"" } else { b"/" };
            let path = [path, slash, &entry.name].concat();
            match self.volume.inode(entry.inode) {
                Ok(inode) => self.copy_one(&path, &inode, directory, &entry.name)?,
                Err(error) => self.complain(&path, &error.into()),
            }
        }
        self.apply_attributes(inode, Target::Open(directory))
    }

    fn copy_file(
        &mut self,
        inode: &Inode,
        parent: BorrowedFd<'_>,
        name: &[u8],
    ) -> anyhow::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = self.create(parent, name, |name| {
            openat(parent, name, flags, Mode::RUSR | Mode::WUSR)
        })?;
        let file = File::from(file);
        self.content
            .copy(self.volume, inode, &file)
            .context("copied in part only")?;
        self.apply_attributes(inode, Target::Open(file.as_fd()))
    }

    fn copy_symlink(
        &mut self,
        inode: &Inode,
        parent: BorrowedFd<'_>,
        name: &[u8],
    ) -> anyhow::Result<()> {
        let target = self.volume.read_link(inode)?;
        if target.is_empty() || target.contains(&0) {
            bail!("the target of the symbolic link is damaged");
        }
        let target = OsStr::from_bytes(&target);
        self.create(parent, name, |name| symlinkat(target, parent, name))?;
        self.apply_held(inode, parent, name, HeldKind::Symlink)
    }

    fn copy_special(
        &mut self,
        inode: &Inode,
        parent: BorrowedFd<'_>,
        name: &[u8],
    ) -> anyhow::Result<()> {
        let kind = match inode.file_type() {
            FileType::CharDevice => NodeType::CharacterDevice,
            FileType::BlockDevice => NodeType::BlockDevice,
            FileType::Socket => NodeType::Socket,
            _ => NodeType::Fifo,
        };
        let device: Dev = inode
            .device_number()
            .map_or(0, |(major, minor)| makedev(major, minor));
        let mode = Mode::RUSR | Mode::WUSR;
        self.create(parent, name, |name| {
            mknodat(parent, name, kind, mode, device)
        })?;
        self.apply_held(inode, parent, name, HeldKind::Special)
    }

    /// Creates `name` anew, replacing what has that name unless it is a directory.
    fn create<T>(
        &self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        make: impl Fn(&OsStr) -> rustix::io::Result<T>,
    ) -> anyhow::Result<T> {
        let name = OsStr::from_bytes(name);
        let made = match make(name) {
            Err(Errno::EXIST) => {
                self.remove(parent, name)?;
                make(name)
            }
            made => made,
        };
        made.map_err(io::Error::from).context("cannot create it")
    }

    fn remove(&self, parent: BorrowedFd<'_>, name: &OsStr) -> anyhow::Result<()> {
        let old = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).map_err(io::Error::from)?;
        if NodeType::from_raw_mode(old.st_mode) == NodeType::Directory {
            bail!("the destination is a directory");
        }
        if self.image_id == Some((old.st_dev, old.st_ino)) {
            bail!("the destination is the image itself");
        }
        let removed = unlinkat(parent, name, AtFlags::empty()).map_err(io::Error::from);
        removed.context("cannot replace the destination")
    }

    /// Makes another name of a file copied before. False if there is none, or
    /// the file system there has no hard links.
    fn link_to_first(
        &mut self,
        inode: &Inode,
        parent: BorrowedFd<'_>,
        name: &[u8],
    ) -> anyhow::Result<bool> {
        let Some((first, directories)) = self
            .links
            .get(&inode.number())
            .and_then(|first| first.split_last())
        else {
            return Ok(false);
        };
        let Ok(directory) = self.open_below_root(directories) else {
            return Ok(false);
        };
        let first = OsStr::from_bytes(first);
        let link = |name: &OsStr| linkat(&directory, first, parent, name, AtFlags::empty());
        match link(OsStr::from_bytes(name)) {
            Err(Errno::EXIST) => {}
            linked => return Ok(linked.is_ok()),
        }
        // The same file copied twice over itself is done already.
        let old = statat(parent, OsStr::from_bytes(name), AtFlags::SYMLINK_NOFOLLOW);
        let copied = statat(&directory, first, AtFlags::SYMLINK_NOFOLLOW);
        if let (Ok(old), Ok(copied)) = (old, copied)
            && (old.st_dev, old.st_ino) == (copied.st_dev, copied.st_ino)
        {
            return Ok(true);
        }
        self.create(parent, name, link).map(|()| true)
    }

    /// Opens a directory below the root, component by component: no length
    /// limit, no links followed.
    fn open_below_root(&self, components: &[Vec<u8>]) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut directory = openat(self.root, ".", flags, Mode::empty())?;
        for component in components {
            let name = OsStr::from_bytes(component);
            directory = openat(&directory, name, flags, Mode::empty())?;
        }
        Ok(directory)
    }

    fn apply_held(
        &mut self,
        inode: &Inode,
        parent: BorrowedFd<'_>,
        name: &[u8],
        kind: HeldKind,
    ) -> anyhow::Result<()> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let held = openat(parent, OsStr::from_bytes(name), flags, Mode::empty())
            .map_err(io::Error::from)
            .context("cannot open the new file")?;
        self.apply_attributes(inode, Target::Held(held.as_fd(), kind))
    }

    fn apply_attributes(&mut self, inode: &Inode, target: Target<'_>) -> anyhow::Result<()> {
        attributes::apply(self.volume, inode, target, self.report.refused())
    }
}

/// True for errors of the destination that the next file would meet as well.
fn ends_the_copy(error: &anyhow::Error) -> bool {
    let full = [Errno::NOSPC, Errno::DQUOT, Errno::ROFS, Errno::MFILE];
    error.chain().any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .and_then(io::Error::raw_os_error)
            .is_some_and(|code| full.iter().any(|errno| errno.raw_os_error() == code))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_ends_the_copy_and_a_forbidden_file_does_not() {
        let full = anyhow::Error::from(io::Error::from(Errno::NOSPC)).context("cannot write");
        assert!(ends_the_copy(&full));
        let forbidden = anyhow::Error::from(io::Error::from(Errno::PERM));
        assert!(!ends_the_copy(&forbidden));
    }
}

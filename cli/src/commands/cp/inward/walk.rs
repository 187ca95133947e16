//! The walk through what is copied.
//!
//! Directories under way lie in a list, not on the stack, so that a tree may be of any
//! depth. Of the outer ones only names and numbers are kept; they are found again from
//! within when the walk returns to them.

use std::collections::{HashMap, HashSet};

use anyhow::{Context, anyhow, bail};
use fs_core::{FileType, InodeNumber, NewKind};

use super::super::report::Report;
use super::destination::Place;
use super::source::{FileId, Source, Status, Xattrs};
use super::target::{Made, Original, Target};
use super::trouble::{Result, Trouble};
use crate::walk::is_component;

/// How many directories are held open.
const HELD_MAX: usize = 200;

/// Copies files of one source.
pub(super) struct Copier<'a, 't, S: Source> {
    source: &'a S,
    target: &'a mut Target<'t>,
    report: &'a mut Report,
    /// What files with several names became.
    links: HashMap<FileId, InodeNumber>,
    /// Directories copied: a damaged image may have one in several places, or in itself.
    /// Not kept where the source is a system that would not allow that.
    directories: Option<HashSet<FileId>>,
    /// The path of what is being copied, for messages.
    path: Vec<u8>,
}

/// A directory under way.
struct Frame<N> {
    /// None if it is to be found again.
    node: Option<N>,
    status: Status,
    names: std::vec::IntoIter<Vec<u8>>,
    made: Made,
    /// How long the path was before its name.
    path_len_bytes: usize,
}

impl<'a, 't, S: Source> Copier<'a, 't, S> {
    pub(super) fn new(
        source: &'a S,
        target: &'a mut Target<'t>,
        report: &'a mut Report,
        can_repeat_directories: bool,
    ) -> Self {
        Self {
            source,
            target,
            report,
            links: HashMap::new(),
            directories: can_repeat_directories.then(HashSet::new),
            path: Vec::new(),
        }
    }

    /// Copies what was named on the command line.
    ///
    /// # Errors
    /// What every further file would meet as well; the rest is complained of.
    pub(super) fn copy(
        &mut self,
        path: &[u8],
        is_recursive: bool,
        place: &Place,
    ) -> anyhow::Result<()> {
        self.path = path.to_vec();
        let begun = self.begin(path, is_recursive, place);
        let Some(frame) = self.settle(begun)?.flatten() else {
            return Ok(());
        };
        let mut frames = vec![frame];
        loop {
            let walked = self.step(&mut frames);
            if self.settle(walked)? == Some(true) {
                return Ok(());
            }
        }
    }

    fn begin(
        &mut self,
        path: &[u8],
        is_recursive: bool,
        place: &Place,
    ) -> Result<Option<Frame<S::Node>>> {
        // As cp(1): a link named on the command line is followed, unless -r is given.
        let node = self.source.find(path, !is_recursive)?;
        let status = self.source.status(&node)?;
        let is_directory = status.file_type == FileType::Directory;
        if is_directory && !is_recursive {
            return Err(anyhow!("is a directory, add -r to copy it").into());
        }
        match place {
            Place::Content(directory) => {
                if !is_directory {
                    return Err(anyhow!("is not a directory").into());
                }
                self.enter(node, status, self.path.len(), |copier, original| {
                    let refused = copier.report.refused();
                    copier.target.merge(*directory, original, refused)
                })
                .map(Some)
            }
            Place::Name {
                is_directory: true, ..
            } if !is_directory => Err(anyhow!("the destination is no directory").into()),
            Place::Name { parent, name, .. } => {
                self.one(node, status, *parent, name, self.path.len())
            }
        }
    }

    /// Copies the next name of the innermost directory, or leaves that. True at the end.
    fn step(&mut self, frames: &mut Vec<Frame<S::Node>>) -> Result<bool> {
        let Some(frame) = frames.last_mut() else {
            return Ok(true);
        };
        let Some(name) = frame.names.next() else {
            return self.leave(frames);
        };
        self.target.check_interrupt()?;
        let parent = frame.made.inode;
        let path_len_bytes = self.path.len();
        if !self.path.ends_with(b"/") {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(&name);
        let node = frame.node.as_ref();
        let node = node.context("the directory is gone");
        let copied = node
            .and_then(|directory| {
                let node = self.source.child(directory, &name)?;
                let status = self.source.status(&node)?;
                Ok((node, status))
            })
            .map_err(Trouble::from)
            .and_then(|(node, status)| self.one(node, status, parent, &name, path_len_bytes));
        let entered = self.settle_here(copied)?;
        match entered.flatten() {
            Some(inner) => {
                frames.push(inner);
                let outer = frames.len().checked_sub(HELD_MAX + 1);
                if let Some(frame) = outer.and_then(|outer| frames.get_mut(outer)) {
                    frame.node = None;
                }
            }
            None => self.path.truncate(path_len_bytes),
        }
        Ok(false)
    }

    /// Ends the innermost directory and goes back to the one around it.
    fn leave(&mut self, frames: &mut Vec<Frame<S::Node>>) -> Result<bool> {
        let Some(frame) = frames.pop() else {
            return Ok(true);
        };
        let finished = self.target.finish(frame.made, &frame.status);
        self.settle_here(finished)?;
        self.path.truncate(frame.path_len_bytes);
        if let Some(outer) = frames.last_mut().filter(|outer| outer.node.is_none()) {
            let inner = frame.node.as_ref().context("the directory is gone");
            let found = inner.and_then(|inner| self.source.parent(inner, outer.status.id));
            match found {
                Ok(node) => outer.node = Some(node),
                Err(error) => {
                    // One complaint, not one a name.
                    outer.names = Vec::new().into_iter();
                    return Err(error.into());
                }
            }
        }
        Ok(false)
    }

    /// Copies one file; of a directory what is to be copied next.
    fn one(
        &mut self,
        node: S::Node,
        status: Status,
        parent: InodeNumber,
        name: &[u8],
        path_len_bytes: usize,
    ) -> Result<Option<Frame<S::Node>>> {
        if !is_component(name) {
            return Err(anyhow!("the name would leave the destination, not copied").into());
        }
        if status.file_type == FileType::Directory {
            return self
                .enter(node, status, path_len_bytes, |copier, original| {
                    let refused = copier.report.refused();
                    copier.target.directory(parent, name, original, refused)
                })
                .map(Some);
        }
        let has_names = status.links > 1;
        if has_names
            && let Some(&first) = self.links.get(&status.id)
            && self.target.link(first, parent, name)?
        {
            return Ok(None);
        }
        let made = self.make(&node, &status, parent, name)?;
        if has_names {
            self.target.hold(made)?;
            self.links.insert(status.id, made);
        }
        Ok(None)
    }

    fn make(
        &mut self,
        node: &S::Node,
        status: &Status,
        parent: InodeNumber,
        name: &[u8],
    ) -> Result<InodeNumber> {
        let kind = match status.file_type {
            FileType::Symlink => NewKind::Symlink(self.source.link_target(node)?),
            _ => status.kind(),
        };
        if kind != NewKind::File {
            let xattrs = self.xattrs(node);
            let original = Original {
                status,
                xattrs: &xattrs,
            };
            let refused = self.report.refused();
            return self.target.special(parent, name, kind, original, refused);
        }
        // What cannot be read must not empty what is there.
        let mut content = self.source.content(node, status)?;
        let xattrs = self.xattrs(node);
        let original = Original {
            status,
            xattrs: &xattrs,
        };
        let refused = self.report.refused();
        self.target
            .file(parent, name, original, &mut content, refused)
    }

    fn enter(
        &mut self,
        node: S::Node,
        status: Status,
        path_len_bytes: usize,
        make: impl FnOnce(&mut Self, Original<'_>) -> Result<Made>,
    ) -> Result<Frame<S::Node>> {
        if let Some(directories) = &mut self.directories
            && !directories.insert(status.id)
        {
            return Err(anyhow!("this directory was already copied under another name").into());
        }
        let xattrs = self.xattrs(&node);
        let original = Original {
            status: &status,
            xattrs: &xattrs,
        };
        let made = make(self, original)?;
        let (names, complete) = self.source.names(&node);
        if let Err(error) = complete {
            self.complain(&error);
        }
        Ok(Frame {
            node: Some(node),
            status,
            names: names.into_iter(),
            made,
            path_len_bytes,
        })
    }

    /// The attributes; if they cannot be read the file is copied without.
    fn xattrs(&mut self, node: &S::Node) -> Xattrs {
        self.source.xattrs(node).unwrap_or_else(|error| {
            self.complain(&error);
            Xattrs::new()
        })
    }

    fn complain(&mut self, error: &anyhow::Error) {
        self.report.complain(&self.source.place(&self.path), error);
    }

    /// Goes on after what concerns one file.
    fn settle_here<T>(&mut self, outcome: Result<T>) -> Result<Option<T>> {
        match outcome {
            Err(Trouble::File(error)) => {
                self.complain(&error);
                Ok(None)
            }
            outcome => outcome.map(Some),
        }
    }

    /// The same, and ends with the place of what concerns all.
    fn settle<T>(&mut self, outcome: Result<T>) -> anyhow::Result<Option<T>> {
        match self.settle_here(outcome) {
            Ok(done) => Ok(done),
            Err(Trouble::File(error) | Trouble::All(error)) => {
                bail!(error.context(self.source.place(&self.path)))
            }
        }
    }
}

//! Another image as a source.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use fs_core::{ErrorKind, Inode, InodeNumber, SeekTarget, Volume};

use super::super::place_in;
use super::source::{self, FileId, Source, Status, Xattrs};
use crate::walk::{is_dot, sorted_entries};

/// The files of an image that is open for reading, and so does not change.
#[derive(Debug)]
pub(super) struct VolumeFiles<'a> {
    volume: Arc<Volume>,
    image: &'a Path,
}

impl<'a> VolumeFiles<'a> {
    pub(super) fn new(volume: Volume, image: &'a Path) -> Self {
        Self {
            volume: Arc::new(volume),
            image,
        }
    }
}

/// A file of the image.
#[derive(Debug)]
pub(super) struct VolumeContent {
    volume: Arc<Volume>,
    inode: Arc<Inode>,
}

impl Source for VolumeFiles<'_> {
    type Node = Arc<Inode>;
    type Content = VolumeContent;

    fn place(&self, path: &[u8]) -> String {
        place_in(self.image, path)
    }

    fn find(&self, path: &[u8], follow: bool) -> anyhow::Result<Arc<Inode>> {
        Ok(self.volume.resolve(path, follow)?)
    }

    fn child(&self, directory: &Arc<Inode>, name: &[u8]) -> anyhow::Result<Arc<Inode>> {
        Ok(self.volume.child(directory, name)?)
    }

    fn parent(&self, _child: &Arc<Inode>, id: FileId) -> anyhow::Result<Arc<Inode>> {
        let number = u32::try_from(id.inode).context("no inode has this number")?;
        Ok(self.volume.inode(InodeNumber(number))?)
    }

    fn status(&self, node: &Arc<Inode>) -> anyhow::Result<Status> {
        Ok(Status {
            id: FileId {
                device: 0,
                inode: node.number().0.into(),
            },
            file_type: node.file_type(),
            permissions: node.mode() & 0o7777,
            uid: node.uid(),
            gid: node.gid(),
            links: node.links(),
            size_bytes: node.size_bytes(),
            device: node.device_number().unwrap_or((0, 0)),
            accessed: node.accessed(),
            modified: node.modified(),
        })
    }

    fn names(&self, directory: &Arc<Inode>) -> (Vec<Vec<u8>>, anyhow::Result<()>) {
        let (entries, complete) = sorted_entries(&self.volume, directory);
        let names = entries.into_iter().map(|entry| entry.name);
        let mut names: Vec<_> = names.filter(|name| !is_dot(name)).collect();
        names.dedup();
        (names, complete.map_err(Into::into))
    }

    fn xattrs(&self, node: &Arc<Inode>) -> anyhow::Result<Xattrs> {
        let names = self.volume.xattr_names(node)?.into_iter();
        let read = names.map(|name| {
            let value = self.volume.xattr(node, &name)?;
            Ok((name, value))
        });
        read.collect()
    }

    fn link_target(&self, node: &Arc<Inode>) -> anyhow::Result<Vec<u8>> {
        Ok(self.volume.read_link(node)?)
    }

    fn content(&self, node: &Arc<Inode>, _status: &Status) -> anyhow::Result<VolumeContent> {
        Ok(VolumeContent {
            volume: Arc::clone(&self.volume),
            inode: Arc::clone(node),
        })
    }
}

impl source::Content for VolumeContent {
    fn next_data(&mut self, offset: u64) -> anyhow::Result<Option<(u64, u64)>> {
        let seek = |offset, target| match self.volume.seek(&self.inode, offset, target) {
            Err(error) if *error.kind() == ErrorKind::OutOfRange => Ok(None),
            found => found.map(Some),
        };
        let Some(start) = seek(offset, SeekTarget::Data)? else {
            return Ok(None);
        };
        let end = seek(start, SeekTarget::Hole)?.unwrap_or(self.inode.size_bytes());
        anyhow::ensure!(
            start >= offset && end > start,
            "the mapping goes backwards at byte {start}"
        );
        Ok(Some((start, end)))
    }

    fn read(&self, buffer: &mut [u8], offset: u64) -> anyhow::Result<usize> {
        Ok(self.volume.read(&self.inode, buffer, offset)?)
    }

    fn check_unchanged(&self) -> anyhow::Result<()> {
        Ok(())
    }
}

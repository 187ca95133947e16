//! Trees of volumes, read through their own interface: what can be known without an
//! oracle, and checked on the way against itself.

use super::content::Content;
use super::tree::{Kind, Node, NodeId, Tree, Xattrs};
use anyhow::{Context, Result, bail, ensure};
use fs_core::{
    DirEntry, FileType, Inode, InodeNumber, Segment, USER_MODIFIABLE_FLAGS, Volume, WritableVolume,
};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Files up to this length are read twice, by plan and by reading.
const READ_BYTES_MAX: u64 = 1 << 20;

/// What both kinds of volume can tell.
pub trait Look {
    /// An inode.
    fn inode(&self, number: InodeNumber) -> fs_core::Result<Arc<Inode>>;
    /// What a name leads to.
    fn lookup(&self, parent: &Inode, name: &[u8]) -> fs_core::Result<Option<InodeNumber>>;
    /// Visits the names of a directory behind a cookie.
    fn read_dir(
        &self,
        directory: &Inode,
        cookie: u64,
        visit: &mut dyn FnMut(DirEntry<'_>) -> ControlFlow<()>,
    ) -> fs_core::Result<()>;
    /// The target of a link.
    fn read_link(&self, link: &Inode) -> fs_core::Result<Vec<u8>>;
    /// Content.
    fn read(&self, file: &Inode, buf: &mut [u8], offset: u64) -> fs_core::Result<usize>;
    /// Where all content lies, lent with the device.
    fn plan(&self, file: &Inode, content: &mut Content) -> fs_core::Result<()>;
    /// All extended attributes.
    fn xattrs(&self, inode: &Inode) -> fs_core::Result<Xattrs>;
}

fn fill(device: &dyn images::BlockDevice, segments: &[Segment], content: &mut Content) {
    let mut at = 0;
    for segment in segments {
        at += match segment {
            Segment::Device { offset, len_bytes } => {
                let mut bytes = vec![0; usize::try_from(*len_bytes).unwrap_or(0)];
                if let Err(error) = device.read_at(&mut bytes, *offset) {
                    // Found as a difference from what reading gives.
                    eprintln!("a segment that cannot be read: {error}");
                }
                content.write(at, &bytes);
                *len_bytes
            }
            Segment::Zero { len_bytes } => *len_bytes,
            Segment::Inline(bytes) => {
                content.write(at, bytes);
                bytes.len() as u64
            }
        };
    }
}

impl Look for WritableVolume {
    fn inode(&self, number: InodeNumber) -> fs_core::Result<Arc<Inode>> {
        self.inode(number)
    }

    fn lookup(&self, parent: &Inode, name: &[u8]) -> fs_core::Result<Option<InodeNumber>> {
        self.lookup(parent.number(), name)
    }

    fn read_dir(
        &self,
        directory: &Inode,
        cookie: u64,
        visit: &mut dyn FnMut(DirEntry<'_>) -> ControlFlow<()>,
    ) -> fs_core::Result<()> {
        self.read_dir(directory.number(), cookie, visit)
    }

    fn read_link(&self, link: &Inode) -> fs_core::Result<Vec<u8>> {
        self.read_link(link.number())
    }

    fn read(&self, file: &Inode, buf: &mut [u8], offset: u64) -> fs_core::Result<usize> {
        self.read(file.number(), buf, offset)
    }

    fn plan(&self, file: &Inode, content: &mut Content) -> fs_core::Result<()> {
        let device = Arc::clone(self.device());
        self.with_read_plan(file.number(), 0, u64::MAX, |segments| {
            fill(&*device, segments, content);
        })
    }

    fn xattrs(&self, inode: &Inode) -> fs_core::Result<Xattrs> {
        let names = self.xattr_names(inode.number())?;
        let value = |name: Vec<u8>| Ok((name.clone(), self.xattr(inode.number(), &name)?));
        names.into_iter().map(value).collect()
    }
}

impl Look for Volume {
    fn inode(&self, number: InodeNumber) -> fs_core::Result<Arc<Inode>> {
        self.inode(number)
    }

    fn lookup(&self, parent: &Inode, name: &[u8]) -> fs_core::Result<Option<InodeNumber>> {
        self.lookup(parent, name)
    }

    fn read_dir(
        &self,
        directory: &Inode,
        cookie: u64,
        visit: &mut dyn FnMut(DirEntry<'_>) -> ControlFlow<()>,
    ) -> fs_core::Result<()> {
        self.read_dir(directory, cookie, visit)
    }

    fn read_link(&self, link: &Inode) -> fs_core::Result<Vec<u8>> {
        self.read_link(link)
    }

    fn read(&self, file: &Inode, buf: &mut [u8], offset: u64) -> fs_core::Result<usize> {
        self.read(file, buf, offset)
    }

    fn plan(&self, file: &Inode, content: &mut Content) -> fs_core::Result<()> {
        let mut segments = Vec::new();
        self.read_plan(file, 0, u64::MAX, &mut segments)?;
        fill(&**self.device(), &segments, content);
        Ok(())
    }

    fn xattrs(&self, inode: &Inode) -> fs_core::Result<Xattrs> {
        let names = self.xattr_names(inode)?;
        let value = |name: Vec<u8>| Ok((name.clone(), self.xattr(inode, &name)?));
        names.into_iter().map(value).collect()
    }
}

/// Everything that has a name. An inode's number is its [`NodeId`].
///
/// # Errors
/// If anything cannot be read or contradicts itself: "." and "..", a listing and looking
/// up, types in a listing.
pub fn tree(volume: &dyn Look) -> Result<Tree> {
    let root = InodeNumber::ROOT;
    let mut nodes = BTreeMap::new();
    let mut pending = vec![(root, root)];
    while let Some((number, parent)) = pending.pop() {
        let id = id(number);
        if nodes.contains_key(&id) {
            continue;
        }
        let inode = volume.inode(number)?;
        let what = || format!("inode {number}");
        let node = node(volume, &inode, parent, &mut pending).with_context(what)?;
        nodes.insert(id, Arc::new(node));
    }
    let root = id(root);
    Ok(Tree { nodes, root })
}

fn id(number: InodeNumber) -> NodeId {
    NodeId(number.0.into())
}

/// One inode. What a directory holds is put on `pending` with its parent.
pub fn node(
    volume: &dyn Look,
    inode: &Inode,
    parent: InodeNumber,
    pending: &mut Vec<(InodeNumber, InodeNumber)>,
) -> Result<Node> {
    let kind = match inode.file_type() {
        FileType::Regular => Kind::File {
            size: inode.size_bytes(),
            content: content(volume, inode)?,
        },
        FileType::Directory => {
            let names = names(volume, inode, parent)?;
            for child in names.values() {
                pending.push((*child, inode.number()));
            }
            let entries = names.into_iter().map(|(name, child)| (name, id(child)));
            Kind::Directory {
                entries: Arc::new(entries.collect()),
                parent: id(parent),
            }
        }
        FileType::Symlink => Kind::Symlink(volume.read_link(inode)?),
        FileType::Fifo => Kind::Fifo,
        FileType::Socket => Kind::Socket,
        FileType::CharDevice | FileType::BlockDevice => {
            let (major, minor) = inode.device_number().context("no device number")?;
            match inode.file_type() {
                FileType::CharDevice => Kind::CharDevice(major, minor),
                _ => Kind::BlockDevice(major, minor),
            }
        }
    };
    Ok(Node {
        kind,
        permissions: inode.mode() & 0o7777,
        uid: inode.uid(),
        gid: inode.gid(),
        links: inode.links(),
        flags: Some((inode.flags() & USER_MODIFIABLE_FLAGS).bits()),
        accessed: inode.accessed(),
        modified: inode.modified(),
        changed: inode.changed(),
        created: inode.created(),
        generation: Some(inode.generation()),
        xattrs: volume.xattrs(inode)?,
    })
}

fn content(volume: &dyn Look, inode: &Inode) -> Result<Content> {
    let mut content = Content::default();
    volume.plan(inode, &mut content)?;
    let size = inode.size_bytes();
    if size <= READ_BYTES_MAX {
        // One more than there is.
        let mut bytes = vec![0; usize::try_from(size)? + 1];
        let len = volume.read(inode, &mut bytes, 0)?;
        ensure!(len as u64 == size, "{len} bytes of {size} are read");
        let mut read = Content::default();
        read.write(0, &bytes);
        ensure!(read == content, "reading differs from the plan");
    }
    Ok(content)
}

/// The names of a directory without "." and "..".
fn names(
    volume: &dyn Look,
    directory: &Inode,
    parent: InodeNumber,
) -> Result<BTreeMap<Vec<u8>, InodeNumber>> {
    let mut listed = Vec::new();
    volume.read_dir(directory, 0, &mut |entry| {
        listed.push((entry.name.to_vec(), entry.inode, entry.file_type));
        ControlFlow::Continue(())
    })?;
    let mut names = BTreeMap::new();
    for (name, number, file_type) in listed {
        let shown = name.escape_ascii().to_string();
        let found = volume.lookup(directory, &name)?;
        ensure!(
            found == Some(number),
            "\"{shown}\" is listed as {number}, looked up as {found:?}"
        );
        if let Some(listed) = file_type {
            let inode = volume.inode(number)?;
            let real = inode.file_type();
            ensure!(
                listed == real,
                "\"{shown}\" is listed as {listed:?}, is {real:?}"
            );
        }
        if names.insert(name, number).is_some() {
            bail!("\"{shown}\" is listed twice");
        }
    }
    ensure!(
        names.remove(&b"."[..]) == Some(directory.number()),
        "\".\" leads elsewhere"
    );
    ensure!(
        names.remove(&b".."[..]) == Some(parent),
        "\"..\" leads elsewhere"
    );
    Ok(names)
}

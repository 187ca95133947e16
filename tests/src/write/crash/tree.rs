//! Everything a volume shows, as values to compare: names, attributes, content.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use fs_core::{FileType, Inode, InodeNumber, Timestamp, Volume, WritableVolume};

/// Files of crash tests are small; a larger one is the sign of a wrong size.
const CONTENT_BYTES_MAX: u64 = 8 << 20;

/// What is read the same way of a volume open for reading and of one open for writing.
pub trait View {
    /// The inode with this number.
    fn inode(&self, number: InodeNumber) -> fs_core::Result<Arc<Inode>>;
    /// Names and inode numbers, "." and ".." too.
    fn names(&self, directory: &Inode) -> fs_core::Result<Vec<(Vec<u8>, InodeNumber)>>;
    /// Fills the buffer from an offset.
    fn read(&self, file: &Inode, buf: &mut [u8], offset: u64) -> fs_core::Result<usize>;
    /// The target of a symbolic link.
    fn read_link(&self, link: &Inode) -> fs_core::Result<Vec<u8>>;
    /// The full names of all extended attributes.
    fn xattr_names(&self, inode: &Inode) -> fs_core::Result<Vec<Vec<u8>>>;
    /// The value of one.
    fn xattr(&self, inode: &Inode, name: &[u8]) -> fs_core::Result<Vec<u8>>;
}

impl View for Volume {
    fn inode(&self, number: InodeNumber) -> fs_core::Result<Arc<Inode>> {
        self.inode(number)
    }

    fn names(&self, directory: &Inode) -> fs_core::Result<Vec<(Vec<u8>, InodeNumber)>> {
        let mut names = Vec::new();
        self.read_dir(directory, 0, &mut |entry| {
            names.push((entry.name.to_vec(), entry.inode));
            ControlFlow::Continue(())
        })?;
        Ok(names)
    }

    fn read(&self, file: &Inode, buf: &mut [u8], offset: u64) -> fs_core::Result<usize> {
        self.read(file, buf, offset)
    }

    fn read_link(&self, link: &Inode) -> fs_core::Result<Vec<u8>> {
        self.read_link(link)
    }

    fn xattr_names(&self, inode: &Inode) -> fs_core::Result<Vec<Vec<u8>>> {
        self.xattr_names(inode)
    }

    fn xattr(&self, inode: &Inode, name: &[u8]) -> fs_core::Result<Vec<u8>> {
        self.xattr(inode, name)
    }
}

impl View for WritableVolume {
    fn inode(&self, number: InodeNumber) -> fs_core::Result<Arc<Inode>> {
        self.inode(number)
    }

    fn names(&self, directory: &Inode) -> fs_core::Result<Vec<(Vec<u8>, InodeNumber)>> {
        let mut names = Vec::new();
        self.read_dir(directory.number(), 0, &mut |entry| {
            names.push((entry.name.to_vec(), entry.inode));
            ControlFlow::Continue(())
        })?;
        Ok(names)
    }

    fn read(&self, file: &Inode, buf: &mut [u8], offset: u64) -> fs_core::Result<usize> {
        self.read(file.number(), buf, offset)
    }

    fn read_link(&self, link: &Inode) -> fs_core::Result<Vec<u8>> {
        self.read_link(link.number())
    }

    fn xattr_names(&self, inode: &Inode) -> fs_core::Result<Vec<Vec<u8>>> {
        self.xattr_names(inode.number())
    }

    fn xattr(&self, inode: &Inode, name: &[u8]) -> fs_core::Result<Vec<u8>> {
        self.xattr(inode.number(), name)
    }
}

/// What an inode says, but for its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    /// Type and permissions.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Owning group.
    pub gid: u32,
    /// Names.
    pub links: u32,
    /// Size; of directories 0, since e2fsck and a replay may leave them longer.
    pub size_bytes: u64,
    /// Flags of the inode.
    pub flags: u32,
    /// Generation: tells uses of a number apart.
    pub generation: u32,
    /// mtime, ctime, crtime.
    pub times: (Timestamp, Timestamp, Option<Timestamp>),
    /// Device number.
    pub device: Option<(u32, u32)>,
    /// Target of a symbolic link.
    pub target: Option<Vec<u8>>,
    /// Extended attributes.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// One inode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// All but the content.
    pub attributes: Attributes,
    /// The content of a regular file.
    pub content: Arc<Vec<u8>>,
}

/// All names, and what they lead to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree {
    /// Inode numbers by path; the root is "".
    pub names: BTreeMap<Vec<u8>, u32>,
    /// Nodes by inode number.
    pub nodes: BTreeMap<u32, Node>,
}

impl Tree {
    /// Reads a whole volume.
    ///
    /// # Errors
    /// Whatever cannot be read, and "." or ".." that lead elsewhere.
    pub fn of(volume: &dyn View) -> Result<Self> {
        let mut tree = Self::default();
        let root = InodeNumber::ROOT;
        tree.names.insert(Vec::new(), root.0);
        let mut left = vec![(Vec::new(), root, root)];
        while let Some((path, number, parent)) = left.pop() {
            let shown = String::from_utf8_lossy(&path).into_owned();
            let inode = volume.inode(number).with_context(|| shown.clone())?;
            tree.nodes
                .insert(number.0, node(volume, &inode).with_context(|| shown)?);
            for (name, child) in volume.names(&inode)? {
                match name.as_slice() {
                    b"." => ensure!(child == number, "\".\" of {number} leads to {child}"),
                    b".." => ensure!(child == parent, "\"..\" of {number} leads to {child}"),
                    _ => {
                        let mut below = path.clone();
                        below.push(b'/');
                        below.extend(&name);
                        let is_new = tree.names.insert(below.clone(), child.0).is_none();
                        ensure!(is_new, "twice {}", String::from_utf8_lossy(&below));
                        add(volume, &mut tree, &mut left, (below, child, number))?;
                    }
                }
            }
        }
        Ok(tree)
    }

    /// The file with this path.
    pub fn file(&self, path: &[u8]) -> Option<&Node> {
        self.nodes.get(self.names.get(path)?)
    }
}

type Item = (Vec<u8>, InodeNumber, InodeNumber);

fn add(volume: &dyn View, tree: &mut Tree, left: &mut Vec<Item>, item: Item) -> Result<()> {
    let (path, child) = (&item.0, item.1);
    if tree.nodes.contains_key(&child.0) {
        return Ok(());
    }
    let shown = String::from_utf8_lossy(path).into_owned();
    let inode = volume.inode(child).with_context(|| shown.clone())?;
    if inode.file_type() == FileType::Directory {
        left.push(item);
        return Ok(());
    }
    let node = node(volume, &inode).with_context(|| shown)?;
    tree.nodes.insert(child.0, node);
    Ok(())
}

fn node(volume: &dyn View, inode: &Inode) -> Result<Node> {
    let mut xattrs = BTreeMap::new();
    for name in volume.xattr_names(inode)? {
        let value = volume.xattr(inode, &name)?;
        xattrs.insert(name, value);
    }
    let file_type = inode.file_type();
    let target = match file_type {
        FileType::Symlink => Some(volume.read_link(inode)?),
        _ => None,
    };
    let content = match file_type {
        FileType::Regular => content(volume, inode)?,
        _ => Vec::new(),
    };
    let size_bytes = match file_type {
        FileType::Directory => 0,
        _ => inode.size_bytes(),
    };
    Ok(Node {
        attributes: Attributes {
            mode: inode.mode(),
            uid: inode.uid(),
            gid: inode.gid(),
            links: inode.links(),
            size_bytes,
            flags: inode.flags().bits(),
            generation: inode.generation(),
            times: (inode.modified(), inode.changed(), inode.created()),
            device: inode.device_number(),
            target,
            xattrs,
        },
        content: Arc::new(content),
    })
}

fn content(volume: &dyn View, inode: &Inode) -> Result<Vec<u8>> {
    let size = inode.size_bytes();
    if size > CONTENT_BYTES_MAX {
        bail!("{size} bytes, which no file here has");
    }
    let mut content = vec![0xDB; usize::try_from(size)?];
    let len = volume.read(inode, &mut content, 0)?;
    ensure!(len == content.len(), "{len} of {size} bytes could be read");
    Ok(content)
}

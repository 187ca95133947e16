//! The kernel's view of an image, compared with the tree it was made from.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::SeekFrom;

use super::host::{Host, run};
use crate::populate::numbering::file_type;
use crate::{ContentSource, DataRange, FileContent, NodeId, NodeKind, Tree};

/// A mount, undone at the end.
pub(super) struct Mount(PathBuf);

impl Mount {
    fn read_only(image: &Path) -> Self {
        Self::new(image, "loop,ro,noatime")
    }

    pub(super) fn writable(image: &Path) -> Self {
        Self::new(image, "loop,acl,user_xattr")
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    fn new(image: &Path, options: &str) -> Self {
        let at = image.with_extension("mount");
        std::fs::create_dir_all(&at).expect("a directory");
        let (from, to) = (image.to_str().expect("UTF-8"), at.to_str().expect("UTF-8"));
        let output = run("mount", &["-t", "ext4", "-o", options, from, to]);
        assert!(output.status.success(), "{output:?}");
        Self(at)
    }
}

impl Drop for Mount {
    /// Between fork and exec, programs that other tests start have our descriptors
    /// and keep the mount busy.
    fn drop(&mut self) {
        for _ in 0..500 {
            let output = run("umount", &[self.0.to_str().unwrap_or_default()]);
            if output.status.success() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

/// True if images can be mounted here; else the skip has been recorded.
pub(super) fn can_mount(host: &Host) -> bool {
    if !rustix::process::geteuid().is_root() {
        skipping::record("mounting needs root");
        return false;
    }
    if host.superblock.block_bytes as usize > rustix::param::page_size() {
        skipping::record("the kernel mounts no blocks larger than its pages");
        return false;
    }
    true
}

/// Compares everything a mount shows with the tree.
pub(super) fn compare(host: &Host, tree: &Tree) {
    if !can_mount(host) {
        return;
    }
    let mount = Mount::read_only(&host.image);
    let mut names = vec![0u64; tree.nodes.len()];
    for node in &tree.nodes {
        if let NodeKind::Directory(entries) = &node.kind {
            entries
                .iter()
                .for_each(|entry| names[entry.node.0 as usize] += 1);
        }
    }
    let view = View { host, tree, names };
    view.compare(NodeId::ROOT, &mount.0);
}

struct View<'a> {
    host: &'a Host,
    tree: &'a Tree,
    /// How often each node is named.
    names: Vec<u64>,
}

impl View<'_> {
    fn compare(&self, id: NodeId, path: &Path) {
        let node = self.tree.node(id).expect("a node");
        let metadata = std::fs::symlink_metadata(path).expect("every name is found");
        self.compare_attributes(id, path, &metadata);
        match &node.kind {
            NodeKind::Directory(entries) => {
                let mut expected: BTreeSet<&[u8]> =
                    entries.iter().map(|entry| &*entry.name).collect();
                if id == NodeId::ROOT {
                    expected.insert(b"lost+found");
                }
                let found = std::fs::read_dir(path).expect("a listing");
                let found: Vec<_> = found
                    .map(|entry| entry.expect("an entry").file_name())
                    .collect();
                assert_eq!(found.len(), expected.len(), "{path:?}");
                let found: BTreeSet<&[u8]> = found.iter().map(|name| name.as_bytes()).collect();
                assert_eq!(found, expected, "{path:?}");
                for entry in entries {
                    self.compare(entry.node, &path.join(OsStr::from_bytes(&entry.name)));
                }
            }
            NodeKind::File(content) => compare_content(path, content, self.host),
            NodeKind::Symlink(target) => {
                let found = std::fs::read_link(path).expect("a target");
                assert_eq!(found.as_os_str().as_bytes(), &**target, "{path:?}");
            }
            _ => {}
        }
    }

    /// 1 for a root whose "lost+found" is not the tree's.
    fn own_lost_and_found(&self, id: NodeId) -> u64 {
        let node = self.tree.node(id).expect("a node");
        let NodeKind::Directory(entries) = &node.kind else {
            return 0;
        };
        let is_named = entries.iter().any(|entry| &*entry.name == b"lost+found");
        u64::from(id == NodeId::ROOT && !is_named)
    }

    fn compare_attributes(&self, id: NodeId, path: &Path, found: &Metadata) {
        let node = self.tree.node(id).expect("a node");
        let own = &node.attributes;
        let mode = file_type(&node.kind).mode_bits() | own.permissions;
        assert_eq!(found.mode(), u32::from(mode), "{path:?}");
        assert_eq!((found.uid(), found.gid()), (own.uid, own.gid), "{path:?}");
        let links = match &node.kind {
            NodeKind::Directory(entries) => {
                let directories = entries.iter().filter(|entry| {
                    let child = self.tree.node(entry.node).expect("a node");
                    matches!(child.kind, NodeKind::Directory(_))
                });
                let links = 2 + directories.count() as u64 + self.own_lost_and_found(id);
                if links <= 65_000 { links } else { 1 }
            }
            _ => self.names[id.0 as usize],
        };
        assert_eq!(found.nlink(), links, "{path:?}");
        let times = [
            (found.mtime(), found.mtime_nsec(), own.modified),
            (
                found.atime(),
                found.atime_nsec(),
                own.accessed.unwrap_or(own.modified),
            ),
            (
                found.ctime(),
                found.ctime_nsec(),
                own.changed.unwrap_or(self.host.identity.time),
            ),
        ];
        for (seconds, nanos, expected) in times {
            let is_narrow = self.host.superblock.inode_bytes == 128;
            let (expected_s, expected_ns) = if is_narrow {
                (expected.seconds.clamp(i32::MIN.into(), i32::MAX.into()), 0)
            } else {
                (expected.seconds, i64::from(expected.nanos))
            };
            assert_eq!((seconds, nanos), (expected_s, expected_ns), "{path:?}");
        }
        let device = match node.kind {
            NodeKind::CharDevice(major, minor) | NodeKind::BlockDevice(major, minor) => {
                rustix::fs::makedev(major, minor)
            }
            _ => 0,
        };
        assert_eq!(found.rdev(), device, "{path:?}");
        self.compare_xattrs(id, path);
    }

    fn compare_xattrs(&self, id: NodeId, path: &Path) {
        let own = &self.tree.node(id).expect("a node").attributes.xattrs;
        let mut list = vec![0; 1 << 16];
        let len = rustix::fs::llistxattr(path, &mut list[..]).expect("a list");
        let names: BTreeSet<&[u8]> = list[..len]
            .split(|&byte| byte == 0)
            .filter(|name| !name.is_empty())
            .collect();
        let expected: BTreeSet<&[u8]> = own.iter().map(|xattr| &*xattr.name).collect();
        assert_eq!(names, expected, "{path:?}");
        for xattr in own {
            let mut value = vec![0; 1 << 16];
            let len = rustix::fs::lgetxattr(path, &*xattr.name, &mut value[..]).expect("a value");
            assert_eq!(&value[..len], &*xattr.value, "{path:?}");
        }
    }
}

fn compare_content(path: &Path, content: &FileContent, host: &Host) {
    let found = File::open(path).expect("a file");
    assert_eq!(
        found.metadata().expect("metadata").len(),
        content.size_bytes
    );
    compare_map(path, &found, content, host);
    if content.size_bytes > 1 << 30 {
        compare_data(path, &found, content);
        return;
    }
    let len = usize::try_from(content.size_bytes).expect("a length");
    let mut expected = vec![0; len];
    for range in &content.data {
        let at = usize::try_from(range.offset).expect("an offset");
        let data = source_data(content, range);
        expected[at..at + data.len()].copy_from_slice(&data);
    }
    let found = std::fs::read(path).expect("content");
    assert_eq!(found.len(), len, "{path:?}");
    let differs = found.iter().zip(&expected).position(|(a, b)| a != b);
    assert_eq!(differs, None, "{path:?}");
}

/// What the source holds for a range.
fn source_data(content: &FileContent, range: &DataRange) -> Vec<u8> {
    let mut data = vec![0; usize::try_from(range.len).expect("a length")];
    match &content.source {
        ContentSource::Path { path, .. } => {
            let file = File::open(path).expect("a source");
            file.read_exact_at(&mut data, range.source_offset)
        }
        ContentSource::Shared { file, .. } => file.read_exact_at(&mut data, range.source_offset),
    }
    .expect("content");
    data
}

/// The data only, of files that are holes for the most part.
fn compare_data(path: &Path, found: &File, content: &FileContent) {
    for range in &content.data {
        let expected = source_data(content, range);
        let mut data = vec![0; expected.len()];
        found
            .read_exact_at(&mut data, range.offset)
            .expect("content");
        assert!(data == expected, "{path:?} differs at {}", range.offset);
    }
}

/// Data and holes are where the tree says, in whole blocks.
fn compare_map(path: &Path, found: &File, content: &FileContent, host: &Host) {
    let block_bytes = u64::from(host.superblock.block_bytes);
    let ranges = crate::populate::mapping::file_ranges(&content.data, block_bytes);
    let limit = content.size_bytes;
    let mut at = 0;
    for range in ranges {
        let (start, end) = (range.start * block_bytes, range.end() * block_bytes);
        let data = rustix::fs::seek(found, SeekFrom::Data(at)).expect("data");
        assert_eq!(data, start.max(at), "{path:?}");
        let hole = rustix::fs::seek(found, SeekFrom::Hole(data)).expect("a hole");
        assert_eq!(hole, end.min(limit), "{path:?}");
        at = hole;
    }
    let is_inline = block_bytes > 0 && limit > 0 && limit <= 200;
    if at < limit && !is_inline {
        assert_eq!(
            rustix::fs::seek(found, SeekFrom::Data(at)),
            Err(rustix::io::Errno::NXIO),
            "{path:?}"
        );
    }
}

//! The same tree as the kernel shows it.

use std::collections::BTreeMap;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use fs_core::Timestamp;

use super::tree::{Attributes, Node, Tree};
use crate::guards::KernelMount;
use crate::scratch::Scratch;

/// Mounts an image that may be dirty, reads it, unmounts it; the kernel leaves it clean.
///
/// # Errors
/// What the kernel or e2fsck has to say.
pub fn through_the_kernel(scratch: &Scratch, image: &Path) -> Result<Tree> {
    let mount = KernelMount::new(image, &scratch.path("kernel"), "rw,noatime")?;
    let tree = of_mount(mount.path());
    mount.unmount()?;
    let checked = crate::tool::output("e2fsck", &["-fn".as_ref(), image.as_os_str()])?;
    ensure!(
        checked.status.success(),
        "after the kernel: {}",
        crate::tool::failure(&checked)
    );
    tree
}

/// Everything below a directory of the host.
///
/// # Errors
/// What cannot be read.
pub fn of_mount(root: &Path) -> Result<Tree> {
    let mut tree = Tree::default();
    let mut left = vec![(Vec::new(), root.to_path_buf())];
    while let Some((name, path)) = left.pop() {
        let metadata = std::fs::symlink_metadata(&path)?;
        let number = u32::try_from(metadata.ino())?;
        tree.names.insert(name.clone(), number);
        let node = node(&path, &metadata).with_context(|| path.display().to_string())?;
        tree.nodes.insert(number, node);
        if !metadata.is_dir() {
            continue;
        }
        for entry in std::fs::read_dir(&path)? {
            let entry = entry?;
            let mut below = name.clone();
            below.push(b'/');
            below.extend(entry.file_name().into_vec());
            left.push((below, entry.path()));
        }
    }
    Ok(tree)
}

fn node(path: &Path, metadata: &std::fs::Metadata) -> Result<Node> {
    let time = |seconds, nanos: i64| -> Result<Timestamp> {
        let nanos = u32::try_from(nanos)?;
        Ok(Timestamp { seconds, nanos })
    };
    let file_type = metadata.file_type();
    let target = match file_type.is_symlink() {
        true => Some(std::fs::read_link(path)?.as_os_str().as_bytes().to_vec()),
        false => None,
    };
    let content = match file_type.is_file() {
        true => std::fs::read(path)?,
        false => Vec::new(),
    };
    let attributes = Attributes {
        mode: u16::try_from(metadata.mode())?,
        uid: metadata.uid(),
        gid: metadata.gid(),
        links: u32::try_from(metadata.nlink())?,
        size_bytes: if file_type.is_dir() {
            0
        } else {
            metadata.len()
        },
        flags: 0,
        generation: 0,
        times: (
            time(metadata.mtime(), metadata.mtime_nsec())?,
            time(metadata.ctime(), metadata.ctime_nsec())?,
            None,
        ),
        device: None,
        target,
        xattrs: xattrs(path)?,
    };
    Ok(Node {
        attributes,
        content: Arc::new(content),
    })
}

fn xattrs(path: &Path) -> Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut list = vec![0; 64 << 10];
    let len = rustix::fs::llistxattr(path, &mut list[..])?;
    let mut found = BTreeMap::new();
    for name in list[..len].split(|&byte| byte == 0) {
        if name.is_empty() {
            continue;
        }
        let mut value = vec![0; 64 << 10];
        let len = rustix::fs::lgetxattr(path, name, &mut value[..])?;
        value.truncate(len);
        found.insert(name.to_vec(), value);
    }
    Ok(found)
}

/// A tree without what the host does not tell.
#[must_use]
pub fn as_the_host_sees(mut tree: Tree) -> Tree {
    for node in tree.nodes.values_mut() {
        let attributes = &mut node.attributes;
        attributes.flags = 0;
        attributes.generation = 0;
        attributes.times.2 = None;
        attributes.device = None;
    }
    tree
}

/// Fails unless two trees are the same, naming the first difference.
///
/// # Errors
/// The difference.
pub fn assert_same(a: &Tree, b: &Tree, whose: (&str, &str)) -> Result<()> {
    for (path, number) in a.names.iter().chain(&b.names) {
        let shown = String::from_utf8_lossy(path);
        let (left, right) = (a.file(path), b.file(path));
        ensure!(
            left == right && a.names.get(path) == b.names.get(path),
            "{shown} ({number}): {}: {left:?}, {}: {right:?}",
            whose.0,
            whose.1
        );
    }
    Ok(())
}

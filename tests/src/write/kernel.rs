//! The tree the host's kernel shows of a mount.

use super::content::Content;
use super::tree::{Kind, Node, NodeId, Tree, Xattrs};
use crate::sys;
use anyhow::{Context, Result, bail, ensure};
use fs_core::{Timestamp, USER_MODIFIABLE_FLAGS};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, SeekFrom, StatxFlags, StatxTimestamp};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirEntryExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Everything below `root`. An inode's number is its [`NodeId`].
pub fn tree(root: &Path) -> Result<Tree> {
    let mut nodes = BTreeMap::new();
    let mut pending = vec![(root.to_path_buf(), None)];
    let mut root_id = None;
    while let Some((path, parent)) = pending.pop() {
        let look = look(&path, parent).with_context(|| path.display().to_string())?;
        root_id.get_or_insert(look.id);
        if nodes.contains_key(&look.id) {
            continue;
        }
        for (name, listed) in &look.listed {
            let child = path.join(OsStr::from_bytes(name));
            pending.push((child, Some((look.id, *listed))));
        }
        nodes.insert(look.id, Arc::new(look.node));
    }
    let root = root_id.context("no root")?;
    Ok(Tree { nodes, root })
}

struct Looked {
    id: NodeId,
    node: Node,
    listed: BTreeMap<Vec<u8>, NodeId>,
}

/// `from` is the directory that lists it, and the inode it is listed as.
fn look(path: &Path, from: Option<(NodeId, NodeId)>) -> Result<Looked> {
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    let stat = rustix::fs::statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, wanted)?;
    let id = NodeId(stat.stx_ino);
    if let Some((_, listed)) = from {
        ensure!(listed == id, "listed as {listed:?}");
    }
    let has_created = stat.stx_mask & StatxFlags::BTIME.bits() != 0;
    let mut node = Node {
        kind: Kind::Fifo,
        permissions: stat.stx_mode & 0o7777,
        uid: stat.stx_uid,
        gid: stat.stx_gid,
        links: stat.stx_nlink,
        flags: None,
        accessed: time(stat.stx_atime),
        modified: time(stat.stx_mtime),
        changed: time(stat.stx_ctime),
        created: has_created.then_some(time(stat.stx_btime)),
        generation: None,
        xattrs: xattrs(path)?,
    };
    let device = (stat.stx_rdev_major, stat.stx_rdev_minor);
    let mut listed = BTreeMap::new();
    node.kind = match FileType::from_raw_mode(stat.stx_mode.into()) {
        FileType::RegularFile => {
            let file = open(path, &mut node)?;
            Kind::File {
                size: stat.stx_size,
                content: content(&file, stat.stx_size)?,
            }
        }
        FileType::Directory => {
            open(path, &mut node)?;
            for entry in std::fs::read_dir(path)? {
                let entry = entry?;
                let name = entry.file_name().as_bytes().to_vec();
                let again = listed.insert(name, NodeId(entry.ino()));
                ensure!(again.is_none(), "{:?} is listed twice", entry.file_name());
            }
            let parent = from.map_or(id, |(parent, _)| parent);
            let up = rustix::fs::statx(CWD, path.join(".."), AtFlags::empty(), wanted)?;
            ensure!(
                from.is_none() || NodeId(up.stx_ino) == parent,
                "\"..\" leads to {}",
                up.stx_ino
            );
            let entries = Arc::new(listed.clone());
            Kind::Directory { entries, parent }
        }
        FileType::Symlink => {
            let target = rustix::fs::readlink(path, Vec::new())?;
            ensure!(
                stat.stx_size == target.as_bytes().len() as u64,
                "a link's size"
            );
            Kind::Symlink(target.into_bytes())
        }
        FileType::CharacterDevice => Kind::CharDevice(device.0, device.1),
        FileType::BlockDevice => Kind::BlockDevice(device.0, device.1),
        FileType::Fifo => Kind::Fifo,
        FileType::Socket => Kind::Socket,
        FileType::Unknown => bail!("of unknown type"),
    };
    Ok(Looked { id, node, listed })
}

/// Opens it and asks what only open files tell.
fn open(path: &Path, node: &mut Node) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty())?;
    let all = sys::get_flags(&file)?;
    node.flags = Some(all & USER_MODIFIABLE_FLAGS.bits());
    node.generation = sys::get_version(&file).ok();
    Ok(file)
}

fn time(time: StatxTimestamp) -> Timestamp {
    Timestamp {
        seconds: time.tv_sec,
        nanos: time.tv_nsec,
    }
}

fn xattrs(path: &Path) -> Result<Xattrs> {
    let mut names = vec![0u8; 64 << 10];
    let len = rustix::fs::llistxattr(path, &mut names[..])?;
    let mut xattrs = Xattrs::new();
    let names = names[..len].split(|&byte| byte == 0);
    for name in names.filter(|name| !name.is_empty()) {
        let mut value = vec![0u8; 64 << 10];
        let len = rustix::fs::lgetxattr(path, OsStr::from_bytes(name), &mut value[..])
            .with_context(|| name.escape_ascii().to_string())?;
        value.truncate(len);
        xattrs.insert(name.to_vec(), value);
    }
    Ok(xattrs)
}

/// The data between holes; what is taken for a hole must read as zeros at its edges.
fn content(file: &OwnedFd, size: u64) -> Result<Content> {
    let mut content = Content::default();
    let mut at = 0;
    while at < size {
        let start = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(Errno::NXIO) => size,
            Err(error) => return Err(error.into()),
        };
        for edge in [
            at..start.min(at + 4096),
            start.saturating_sub(4096).max(at)..start,
        ] {
            let bytes = read(file, edge.start, edge.end)?;
            ensure!(
                bytes.iter().all(|&byte| byte == 0),
                "a hole at {at} is not zeros"
            );
        }
        if start >= size {
            break;
        }
        let end = rustix::fs::seek(file, SeekFrom::Hole(start))?;
        ensure!(
            end > start && end <= size,
            "data from {start} to {end} of {size}"
        );
        content.write(start, &read(file, start, end)?);
        at = end;
    }
    Ok(content)
}

fn read(file: &OwnedFd, start: u64, end: u64) -> Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(end - start)?];
    let mut done = 0;
    while done < bytes.len() {
        let len = rustix::io::pread(file, &mut bytes[done..], start + done as u64)?;
        ensure!(len > 0, "the file ends at {}", start + done as u64);
        done += len;
    }
    Ok(bytes)
}

/// A path below `root`.
pub fn path(root: &Path, names: &[Vec<u8>]) -> PathBuf {
    let names = names.iter().map(|name| OsStr::from_bytes(name));
    std::iter::once(root.as_os_str()).chain(names).collect()
}

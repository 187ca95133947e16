//! Who judges a volume that was written to: e2fsck, the host's kernel, debugfs.

use super::device::CowDevice;
use super::kernel;
use super::kinds::VolumeKind;
use super::load;
use super::run::Run;
use super::tree::{Differences, Kind, Node, Tree};
use crate::guards::KernelMount;
use crate::mkfs::judge::{QUIET_MOUNT, fsck};
use crate::scratch::Scratch;
use crate::tool;
use anyhow::{Context, Result, ensure};
use fs_core::{OpenOptions, Recovery, Volume};
use std::path::Path;
use std::sync::Arc;

/// How thoroughly a volume is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// By e2fsck.
    Checked,
    /// By e2fsck, and the kernel, or debugfs where the kernel cannot mount it.
    Mounted,
}

/// Closes the volume of a run and has it judged: e2fsck finds nothing; what is read anew is
/// what the model says, and so is what the kernel shows, or debugfs.
pub fn judge(mut run: Run, device: &CowDevice, kind: &VolumeKind, depth: Depth) -> Result<()> {
    run.compare().context("while open")?;
    run.close()?;
    run.model.reopen();
    let model = &run.model.tree;
    let image = device.image();
    let scratch = Scratch::new()?;
    let path = scratch.path("image");
    image.write_to(&path)?;
    fsck(&path)?;
    let options = OpenOptions {
        recovery: Recovery::None,
        ..OpenOptions::default()
    };
    let volume = Volume::open(image.device(), &options)?;
    same(model, &load::tree(&volume)?, "what is read anew")?;
    if depth == Depth::Checked {
        return Ok(());
    }
    if kind.mounts {
        let mount = KernelMount::new(&path, &scratch.path("mounted"), QUIET_MOUNT)?;
        let seen = kernel::tree(mount.path()).context("the kernel's mount")?;
        same(model, &seen, "the kernel")?;
        mount.unmount()?;
        fsck(&path).context("after the kernel's mount")
    } else {
        judge_by_debugfs(&scratch, &path, model)
    }
}

fn same(model: &Tree, seen: &Tree, who: &str) -> Result<()> {
    let lines = model.diff(seen, "model", who);
    ensure!(lines.is_empty(), "{}", Differences(&lines));
    Ok(())
}

/// debugfs takes the tree out of the image: names, contents, targets are compared.
fn judge_by_debugfs(scratch: &Scratch, image: &Path, model: &Tree) -> Result<()> {
    let dumped = scratch.make_dir("dumped")?;
    let request = format!("rdump / {}", dumped.display());
    let output = tool::output(
        "debugfs",
        &["-R".as_ref(), request.as_ref(), image.as_os_str()],
    )?;
    ensure!(output.status.success(), "rdump: {}", tool::failure(&output));
    let seen = kernel::tree(&dumped).context("what debugfs took out")?;
    same(&bare(model), &bare(&seen), "debugfs")
}

/// What taking out keeps: each name a file of its own, without attributes; nothing of what
/// is neither file, directory nor link.
fn bare(tree: &Tree) -> Tree {
    let mut bare = Tree {
        nodes: std::collections::BTreeMap::new(),
        root: tree.root,
    };
    let mut next = tree.nodes.keys().map(|id| id.0).max().unwrap_or(0);
    let mut pending = vec![(tree.root, tree.root)];
    while let Some((from, to)) = pending.pop() {
        let Some(node) = tree.nodes.get(&from) else {
            continue;
        };
        let mut kind = node.kind.clone();
        if let Kind::Directory { entries, .. } = &mut kind {
            let mut kept = std::collections::BTreeMap::new();
            for (name, child) in entries.iter() {
                let is_kept = tree.nodes.get(child).is_some_and(|child| {
                    matches!(
                        child.kind,
                        Kind::File { .. } | Kind::Directory { .. } | Kind::Symlink(_)
                    )
                });
                if is_kept {
                    next += 1;
                    kept.insert(name.clone(), super::tree::NodeId(next));
                    pending.push((*child, super::tree::NodeId(next)));
                }
            }
            *entries = Arc::new(kept);
        }
        let plain = Node {
            kind,
            permissions: 0,
            uid: 0,
            gid: 0,
            links: 1,
            flags: None,
            accessed: fs_core::Timestamp::default(),
            modified: fs_core::Timestamp::default(),
            changed: fs_core::Timestamp::default(),
            created: None,
            generation: None,
            xattrs: super::tree::Xattrs::new(),
        };
        bare.nodes.insert(to, Arc::new(plain));
    }
    bare
}

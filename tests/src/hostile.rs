//! Images nobody should trust: a healthy one with known files, a place to
//! damage, and what must hold whatever the damage.

use crate::guards::{FuseMount, KernelMount, Server, status_kib};
use crate::manifest::{Depth, Manifest};
use crate::matrix::View;
use crate::program::{self, Ended, TIMEOUT};
use crate::scratch::Scratch;
use crate::{debugfs, patch, trees};
use anyhow::{Context, Result, bail, ensure};
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

/// Memory a server of a small image may have used at its peak, KiB.
pub const MEMORY_KIB_MAX: u64 = 192 << 10;

/// Block size of the fixture, bytes.
pub const BLOCK: u64 = 1024;

/// A healthy image and what the kernel shows of it.
#[derive(Debug)]
pub struct Fixture {
    /// Where everything lies.
    pub scratch: Scratch,
    /// The healthy image; damage copies of it.
    pub image: PathBuf,
    /// What it holds.
    pub tree: Manifest,
}

impl Fixture {
    /// An image of 1 KiB blocks made with these mke2fs arguments, holding
    /// `/deep` (an extent tree of two levels), `/flat` (one extent), `/hashed`
    /// (a hash tree), `/dir` (one block), `/slow` and `/fast` (symlinks),
    /// `/attributes` (a block of them), `/in-inode` (in the inode) and
    /// `/bystander`.
    pub fn new(mke2fs: &[&str]) -> Result<Self> {
        let scratch = Scratch::new()?;
        let mut args = vec!["-b", "1024", "-I", "256"];
        args.extend(mke2fs);
        let image = scratch.mke2fs("healthy", 24 << 20, &args)?;
        let mount = KernelMount::new(&image, &scratch.path("filling"), "rw")?;
        fill(mount.path())?;
        mount.unmount()?;
        let tree = View::of_kernel(&image, &scratch.path("judge"), Depth::Full)?.tree;
        Ok(Self {
            scratch,
            image,
            tree,
        })
    }

    /// A copy to damage.
    pub fn copy(&self) -> Result<PathBuf> {
        self.scratch.copy(&self.image, "damaged")
    }

    /// The device byte of a file's block.
    pub fn block_of(&self, path: &str, file_block: u64) -> Result<u64> {
        Ok(debugfs::bmap(&self.image, path, file_block)? * BLOCK)
    }

    /// The device byte of a file's inode.
    pub fn inode_of(&self, path: &str) -> Result<u64> {
        debugfs::inode_offset(&self.image, path, BLOCK)
    }

    /// Damages a copy by writing `bytes` at a device byte, and looks at it:
    /// see [`Self::look`].
    pub fn patched(&self, at: u64, bytes: &[u8]) -> Result<Manifest> {
        let copy = self.copy()?;
        patch::write(&copy, at, bytes)?;
        self.look(&copy)
    }

    /// Everything a mount of a damaged image shows. Fails if the server hangs,
    /// dies, or uses too much memory; damage itself is an error in the
    /// manifest.
    pub fn look(&self, image: &Path) -> Result<Manifest> {
        let mount = FuseMount::new(image, &self.scratch.path("fuse"))?;
        let pid = mount.pid();
        ensure!(
            pid.is_some() || Server::chosen() == Server::Kernel,
            "no server process"
        );
        let root = mount.path().to_path_buf();
        let (sender, receiver) = mpsc::channel();
        let walker = std::thread::spawn(move || sender.send(Manifest::of(&root)));
        let Ok(tree) = receiver.recv_timeout(TIMEOUT) else {
            drop(mount);
            bail!("walking the damaged image hangs");
        };
        ensure!(walker.join().is_ok(), "the walker panicked");
        if let Some(pid) = pid {
            let peak = status_kib(pid, "VmHWM").context("the server died")?;
            ensure!(peak < MEMORY_KIB_MAX, "the server used {peak} KiB");
        }
        mount.unmount()?;
        tree
    }

    /// The damage shows as an error of `victim` (or of what is below it), and
    /// nothing else differs from the healthy tree.
    pub fn only_hurts(&self, seen: &Manifest, victim: &str, error: &str) -> Result<()> {
        let victim = Path::new(victim);
        let errors = seen.errors();
        ensure!(
            seen.files
                .iter()
                .any(|(path, facts)| path.starts_with(victim)
                    && facts.values().any(|value| value.contains(error))),
            "no {error} at {}: {errors:?}",
            victim.display()
        );
        let rest = |tree: &Manifest| {
            let mut tree = tree.clone();
            tree.files.retain(|path, _| !path.starts_with(victim));
            // The victim may be missing from its directory's listing only as
            // one of two facts: the listing's inode, checked with it.
            tree.without(&["wrong listing"])
        };
        rest(&self.tree).assert_same(&rest(seen), "the healthy image", "the damaged one")
    }

    /// Every inspection command on `path` ends in time, without a panic.
    pub fn commands_survive(&self, image: &Path, path: &str) -> Result<()> {
        if Server::chosen() != Server::Extmap {
            return Ok(());
        }
        let target = self.scratch.path("copied");
        let from = format!("{}:{path}", image.display());
        let commands: [&[&OsStr]; 6] = [
            &["info".as_ref(), image.as_ref()],
            &["ls".as_ref(), "-l".as_ref(), image.as_ref(), path.as_ref()],
            &["stat".as_ref(), image.as_ref(), path.as_ref()],
            &["cat".as_ref(), image.as_ref(), path.as_ref()],
            &["map".as_ref(), image.as_ref(), path.as_ref()],
            &["cp".as_ref(), "-r".as_ref(), from.as_ref(), target.as_ref()],
        ];
        for command in commands {
            let ended = program::extmap_limited(command)?;
            survived(&ended).with_context(|| format!("extmap {command:?}"))?;
            let _ = std::fs::remove_dir_all(&target);
            let _ = std::fs::remove_file(&target);
        }
        Ok(())
    }
}

/// It ended by itself, without a panic.
pub fn survived(ended: &Ended) -> Result<()> {
    let code = ended.status.and_then(|status| status.code());
    ensure!(
        code.is_some_and(|code| code != 101) && !ended.stderr.contains("panicked"),
        "{ended}"
    );
    Ok(())
}

/// `info` and `mount` refuse the image, in one sentence each; what they say.
pub fn refused(image: &Path, dir: &Path, options: &[&str]) -> Result<[String; 2]> {
    let info = program::extmap_limited([OsStr::new("info"), image.as_ref()])?;
    let said = info.refusal().context("info")?.to_owned();
    Ok([said, mount_refused(image, dir, options)?])
}

/// `mount` refuses the image in one sentence, which is returned; `info`, which
/// is there to look at damage, may still show it.
pub fn only_shown(image: &Path, dir: &Path) -> Result<String> {
    let info = program::extmap_limited([OsStr::new("info"), image.as_ref()])?;
    if !info.success() || !info.stderr.is_empty() {
        info.refusal().context("info")?;
    }
    mount_refused(image, dir, &[])
}

fn mount_refused(image: &Path, dir: &Path, options: &[&str]) -> Result<String> {
    std::fs::create_dir_all(dir)?;
    let mut args: Vec<&OsStr> = vec!["mount".as_ref()];
    args.extend(options.iter().map(OsStr::new));
    args.extend([image.as_os_str(), dir.as_os_str()]);
    let mount = program::extmap_limited(args)?;
    let guard = FuseMount::adopt(image, dir);
    let said = mount.refusal().context("mount")?.to_owned();
    ensure!(!crate::guards::is_mounted(dir), "refused, but mounted");
    drop(guard);
    Ok(said)
}

fn fill(root: &Path) -> Result<()> {
    std::fs::write(root.join("bystander"), b"unharmed")?;
    std::fs::write(root.join("flat"), vec![b'f'; 5000])?;
    let deep = File::create(root.join("deep"))?;
    for block in (0..1200u64).step_by(2) {
        deep.write_all_at(&block.to_le_bytes(), block * BLOCK)?;
    }
    trees::crowd(&root.join("hashed"), 120, 60)?;
    trees::crowd(&root.join("dir"), 6, 30)?;
    std::os::unix::fs::symlink("bystander", root.join("fast"))?;
    std::os::unix::fs::symlink("s".repeat(300), root.join("slow"))?;
    let attributes = root.join("attributes");
    std::fs::write(&attributes, b"many")?;
    for number in 0..5 {
        trees::xattr(&attributes, &format!("user.block {number}"), &[b'v'; 120])?;
    }
    let in_inode = root.join("in-inode");
    std::fs::write(&in_inode, b"few")?;
    trees::xattr(&in_inode, "user.a", b"value")?;
    Ok(())
}

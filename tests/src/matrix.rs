//! The feature matrix: images by name, each made by public tools from one
//! recipe, and the comparison of a mount under test with its judge.

mod hand;
mod recipes;

pub use recipes::RECIPES;

use crate::debugfs;
use crate::guards::{FuseMount, KernelMount};
use crate::manifest::{self, Depth, Manifest};
use crate::scratch::{Scratch, file_hash};
use crate::trees::{self, Special};
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};

/// Who says what the image holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judge {
    /// The kernel's mount of the same image.
    Kernel,
    /// The tree the image was made from, because the kernel here cannot mount
    /// it (64 KiB blocks on 4 KiB pages; casefolding without `CONFIG_UNICODE`):
    /// what `mke2fs -d` takes over is compared.
    Source,
}

/// How one image is made.
#[derive(Clone, Copy, Debug)]
pub struct Recipe {
    /// Its name, and its test's.
    pub name: &'static str,
    /// Bytes of the image.
    pub len_bytes: u64,
    /// Arguments of mke2fs.
    pub mke2fs: &'static [&'static str],
    /// Fill it with the ordinary tree by `mke2fs -d`.
    pub populate: bool,
    /// Done to the empty or populated image before it is mounted.
    pub prepare: Option<fn(&Path) -> Result<()>>,
    /// Mount it writable and add the special tree.
    pub special: Option<Special>,
    /// Mount it writable and do this.
    pub fill: Option<fn(&Path) -> Result<()>>,
    /// Done to the finished image.
    pub finish: Option<fn(&Path) -> Result<()>>,
    /// Its judge.
    pub judge: Judge,
    /// How closely the trees are compared.
    pub depth: Depth,
}

/// What `mke2fs -d` takes over from its source.
const KEPT_BY_MKE2FS: &[&str] = &[
    "type", "mode", "uid", "gid", "rdev", "target", "xattr.*", "hash", "size", "nlink", "mtime",
];

/// What it makes anew for directories.
const NOT_KEPT_OF_DIRECTORIES: &[&str] = &["size", "nlink", "mtime"];

impl Recipe {
    /// The recipe of this name.
    pub fn named(name: &str) -> Result<&'static Self> {
        RECIPES
            .iter()
            .find(|recipe| recipe.name == name)
            .with_context(|| format!("no recipe {name}"))
    }

    /// Makes the image in `scratch`; also the source tree, if there is one.
    pub fn build(&self, scratch: &Scratch) -> Result<(PathBuf, PathBuf)> {
        let source = scratch.make_dir("source")?;
        let mut args = vec!["-E", "lazy_itable_init=0,lazy_journal_init=0"];
        args.extend(self.mke2fs);
        let source_text = source.to_string_lossy().into_owned();
        if self.populate {
            trees::base(&source, 0xba5e, true)?;
            args.extend(["-d", &source_text]);
        }
        let image = scratch.mke2fs("image", self.len_bytes, &args)?;
        if let Some(prepare) = self.prepare {
            prepare(&image)?;
        }
        if self.special.is_some() || self.fill.is_some() {
            let mount = KernelMount::new(&image, &scratch.path("filling"), "rw")?;
            if let Some(what) = self.special {
                trees::special(mount.path(), what)?;
            }
            if let Some(fill) = self.fill {
                fill(mount.path())?;
            }
            mount.unmount()?;
        }
        if let Some(finish) = self.finish {
            finish(&image)?;
        }
        Ok((image, source))
    }

    /// Makes the image, mounts it with the server under test and compares it
    /// with its judge; the image must be the same afterwards, bit for bit.
    pub fn check(&self) -> Result<()> {
        let scratch = Scratch::new()?;
        let (image, source) = self.build(&scratch)?;
        let before = file_hash(&image)?;
        let judged = match self.judge {
            Judge::Kernel => Some(View::of_kernel(
                &image,
                &scratch.path("kernel"),
                self.depth,
            )?),
            Judge::Source => None,
        };
        ensure!(before == file_hash(&image)?, "the judge changed the image");
        let mount = FuseMount::new(&image, &scratch.path("fuse"))?;
        let seen = View::of(mount.path(), self.depth)?;
        mount.unmount()?;
        ensure!(before == file_hash(&image)?, "the mount changed the image");
        match judged {
            Some(judged) => judged.assert_same(&seen),
            None => judge_by_source(&image, &source, &seen.tree),
        }
    }
}

/// Compares with the source tree what `mke2fs -d` takes over, and with debugfs
/// what it makes anew.
fn judge_by_source(image: &Path, source: &Path, seen: &Manifest) -> Result<()> {
    let comparable = |tree: Manifest| {
        tree.keep(KEPT_BY_MKE2FS)
            .without_in_directories(NOT_KEPT_OF_DIRECTORIES)
            .without_path("./lost+found")
            .without_at(".", &["*"])
            .whole_seconds()
    };
    let wanted = comparable(Manifest::of(source)?);
    wanted.assert_same(&comparable(seen.clone()), "the source", "the mount")?;
    let judged = debugfs::stat_all(image, seen)?;
    let seen = seen.clone().keep(debugfs::STAT_FACTS);
    judged.assert_same(&seen, "debugfs", "the mount")
}

/// Everything that is compared of a mount.
#[derive(Clone, Debug)]
pub struct View {
    /// The tree.
    pub tree: Manifest,
    /// What `df` shows.
    pub statfs: manifest::Facts,
    /// The label, asked by ioctl.
    pub label: String,
}

impl View {
    /// Looks at what is mounted at `root`.
    pub fn of(root: &Path, depth: Depth) -> Result<Self> {
        Ok(Self {
            tree: Manifest::with_depth(root, depth)?,
            statfs: manifest::statfs(root)?,
            label: manifest::label(root)?,
        })
    }

    /// Looks at `image` through a read-only kernel mount.
    pub fn of_kernel(image: &Path, dir: &Path, depth: Depth) -> Result<Self> {
        let mount = KernelMount::read_only(image, dir)?;
        let view = Self::of(mount.path(), depth)?;
        mount.unmount()?;
        Ok(view)
    }

    /// An error that shows all differences unless there is none.
    pub fn assert_same(&self, seen: &Self) -> Result<()> {
        self.tree
            .assert_same(&seen.tree, "the kernel", "the mount")?;
        ensure!(
            self.statfs == seen.statfs,
            "statfs: the kernel {:?}, the mount {:?}",
            self.statfs,
            seen.statfs
        );
        ensure!(
            self.label == seen.label,
            "label: the kernel {:?}, the mount {:?}",
            self.label,
            seen.label
        );
        Ok(())
    }
}

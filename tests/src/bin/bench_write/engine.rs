//! Who does the work: extmap's library, the kernel's ext4, plain files.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use fs_core::{InodeNumber, NewInode, WritableVolume, WriteOptions};
use rustix::fs::{AtFlags, Mode, OFlags};
use system_tests::guards::KernelMount;
use system_tests::scratch::Scratch;

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// The library on an image file.
    Extmap,
    /// The kernel's ext4 on a loop device over an image of the same kind.
    Kernel,
    /// Files of the directory in which the images lie.
    Plain,
}

/// Something with files in it.
pub(crate) trait FileSystem: Send + Sync {
    /// A new directory in the root.
    fn make_dir(&self, name: &str) -> Result<Box<dyn Directory>>;
    /// Everything done is durable afterwards.
    fn sync(&self) -> Result<()>;
    /// Ends its use.
    fn close(self: Box<Self>) -> Result<()>;
}

/// A directory in use.
pub(crate) trait Directory: Send + Sync {
    /// Makes a file with this content, and closes it.
    fn create(&self, name: &str, content: &[u8]) -> Result<()>;
    /// Looks a name up that is there.
    fn look_up(&self, name: &str) -> Result<()>;
    /// Removes a name.
    fn unlink(&self, name: &str) -> Result<()>;
    /// Makes a file and keeps it open.
    fn open_new(&self, name: &str) -> Result<Box<dyn OpenFile>>;
}

/// An open file.
pub(crate) trait OpenFile: Send + Sync {
    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()>;
    /// fdatasync(2) or what comes nearest.
    fn sync(&self) -> Result<()>;
    /// Number of extents.
    fn extents(&self) -> Result<u64>;
}

/// A file system of this kind on `image`, or beside it.
pub(crate) fn open(who: Who, image: &Path, scratch: &Scratch) -> Result<Box<dyn FileSystem>> {
    Ok(match who {
        Who::Extmap => Box::new(Extmap(Arc::new(volume(image)?))),
        Who::Kernel => {
            let mount = KernelMount::new(image, &scratch.path("kernel"), "rw")?;
            let root = mount.path().to_owned();
            let mount = Some(mount);
            Box::new(Kernel { mount, root })
        }
        Who::Plain => Box::new(Kernel {
            mount: None,
            root: image.parent().context("no directory")?.to_owned(),
        }),
    })
}

/// The library's volume on an image.
pub(crate) fn volume(image: &Path) -> Result<WritableVolume> {
    let device = images::open(image, &images::OpenOptions::default())?;
    Ok(WritableVolume::open(device, &WriteOptions::default())?)
}

struct Extmap(Arc<WritableVolume>);

impl FileSystem for Extmap {
    fn make_dir(&self, name: &str) -> Result<Box<dyn Directory>> {
        let new = NewInode::directory(0o755);
        let made = self.0.create(InodeNumber::ROOT, name.as_bytes(), &new)?;
        Ok(Box::new(ExtmapDirectory {
            volume: Arc::clone(&self.0),
            inode: made.number(),
        }))
    }

    fn sync(&self) -> Result<()> {
        Ok(self.0.sync()?)
    }

    fn close(self: Box<Self>) -> Result<()> {
        let volume = Arc::into_inner(self.0).context("the volume is in use")?;
        Ok(volume.close()?)
    }
}

struct ExtmapDirectory {
    volume: Arc<WritableVolume>,
    inode: InodeNumber,
}

impl ExtmapDirectory {
    fn new_file(&self, name: &str) -> Result<InodeNumber> {
        let new = NewInode::file(0o644);
        let file = self.volume.create(self.inode, name.as_bytes(), &new)?;
        self.volume.retain(file.number())?;
        Ok(file.number())
    }
}

impl Directory for ExtmapDirectory {
    fn create(&self, name: &str, content: &[u8]) -> Result<()> {
        let file = self.new_file(name)?;
        let written = self.volume.write(file, content, 0)?;
        ensure!(written == content.len(), "a short write");
        Ok(self.volume.release(file)?)
    }

    fn look_up(&self, name: &str) -> Result<()> {
        let found = self.volume.child(self.inode, name.as_bytes())?;
        ensure!(found.links() > 0, "{name} has no name");
        Ok(())
    }

    fn unlink(&self, name: &str) -> Result<()> {
        Ok(self.volume.unlink(self.inode, name.as_bytes())?)
    }

    fn open_new(&self, name: &str) -> Result<Box<dyn OpenFile>> {
        Ok(Box::new(ExtmapFile {
            volume: Arc::clone(&self.volume),
            inode: self.new_file(name)?,
        }))
    }
}

struct ExtmapFile {
    volume: Arc<WritableVolume>,
    inode: InodeNumber,
}

impl OpenFile for ExtmapFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        let written = self.volume.write(self.inode, bytes, offset)?;
        ensure!(written == bytes.len(), "a short write");
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        Ok(self.volume.fdatasync(self.inode)?)
    }

    fn extents(&self) -> Result<u64> {
        let size = self.volume.inode(self.inode)?.size_bytes();
        let block_bytes = u64::from(self.volume.superblock().block_bytes);
        let end = size.div_ceil(block_bytes);
        let (mut at, mut count) = (fs_core::FileBlock(0), 0);
        let mut follows = None;
        while at.0 < end {
            let run = self.volume.map(self.inode, at)?;
            let place = match run.state {
                fs_core::ExtentState::Written(place) | fs_core::ExtentState::Unwritten(place) => {
                    place.0
                }
                fs_core::ExtentState::Hole => bail!("a hole"),
            };
            // Neighbours that an extent's largest length divides are one piece.
            count += u64::from(follows != Some(place));
            follows = Some(place + run.len_blocks);
            at = run.end();
        }
        Ok(count)
    }
}

impl Drop for ExtmapFile {
    fn drop(&mut self) {
        if let Err(error) = self.volume.release(self.inode) {
            eprintln!("bench-write: {error}");
        }
    }
}

struct Kernel {
    mount: Option<KernelMount>,
    root: PathBuf,
}

impl FileSystem for Kernel {
    fn make_dir(&self, name: &str) -> Result<Box<dyn Directory>> {
        let path = self.root.join(name);
        std::fs::create_dir_all(&path)?;
        Ok(Box::new(KernelDirectory(File::open(path)?)))
    }

    fn sync(&self) -> Result<()> {
        rustix::fs::syncfs(&File::open(&self.root)?)?;
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        match self.mount {
            Some(mount) => mount.unmount(),
            None => Ok(()),
        }
    }
}

struct KernelDirectory(File);

impl KernelDirectory {
    fn new_file(&self, name: &str) -> Result<File> {
        let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.0, name, flags, Mode::from(0o644))?.into())
    }
}

impl Directory for KernelDirectory {
    fn create(&self, name: &str, content: &[u8]) -> Result<()> {
        Ok(self.new_file(name)?.write_all_at(content, 0)?)
    }

    fn look_up(&self, name: &str) -> Result<()> {
        rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(())
    }

    fn unlink(&self, name: &str) -> Result<()> {
        Ok(rustix::fs::unlinkat(&self.0, name, AtFlags::empty())?)
    }

    fn open_new(&self, name: &str) -> Result<Box<dyn OpenFile>> {
        Ok(Box::new(self.new_file(name)?))
    }
}

impl OpenFile for File {
    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        Ok(self.write_all_at(bytes, offset)?)
    }

    fn sync(&self) -> Result<()> {
        Ok(self.sync_data()?)
    }

    fn extents(&self) -> Result<u64> {
        bail!("the extents of other files are not counted")
    }
}

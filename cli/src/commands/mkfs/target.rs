//! What is written to: a block device, an image, or a file that does not exist yet.
//!
//! Nothing is destroyed by accident. What is mounted or otherwise in use is
//! refused unless `-F` was given twice, what holds a file system, a partition
//! table or the like unless it was given once; the sentence says what was found.
//! A file that does not exist is made only when everything else has been
//! decided, and removed again if the work fails.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use anyhow::{Context, anyhow, bail};
use images::BlockDevice;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// How a target is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Access {
    /// How often `-F` was given.
    pub(crate) force: u8,
    /// Bypass the page cache.
    pub(crate) direct: bool,
    /// Change nothing: `-n`.
    pub(crate) dry_run: bool,
    /// Where the file system starts, in bytes.
    pub(crate) offset_bytes: u64,
}

/// A place for a file system.
#[derive(Debug)]
pub(crate) enum Target {
    /// A file that does not exist, or is empty: it becomes as large as needed.
    New(NewFile),
    /// A block device, or a file with a size, claimed.
    Existing(Existing),
}

/// A file to be made.
#[derive(Debug)]
pub(crate) struct NewFile {
    path: PathBuf,
    access: Access,
    /// Device and number of the empty file the path names already, if it does.
    identity: Option<(u64, u64)>,
}

/// A claimed device.
#[derive(Debug)]
pub(crate) struct Existing {
    /// The bytes from the offset on.
    pub(crate) device: Arc<dyn BlockDevice>,
    pub(crate) is_block_device: bool,
    /// Device and number of the file itself.
    pub(crate) identity: (u64, u64),
    path: PathBuf,
    access: Access,
}

impl Target {
    /// Looks at `path` and claims what is there. `size` is how many bytes were asked
    /// for: what lies behind them stays.
    pub(crate) fn find(path: &Path, access: Access, size: Option<u64>) -> anyhow::Result<Self> {
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if fs::symlink_metadata(path).is_ok() {
                    bail!(
                        "{} is a symbolic link to a file that does not exist",
                        path.display()
                    );
                }
                return Ok(Self::New(NewFile {
                    path: path.to_owned(),
                    access,
                    identity: None,
                }));
            }
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        if metadata.is_file() && metadata.len() == 0 {
            return Ok(Self::New(NewFile {
                path: path.to_owned(),
                access,
                identity: Some((metadata.dev(), metadata.ino())),
            }));
        }
        refuse_if_used(path, access)?;
        if is_read_only(&metadata) && !access.dry_run {
            bail!("{} is read-only", path.display());
        }
        let device = open(path, access)?;
        let size = size.unwrap_or(u64::MAX).min(device.size_bytes());
        refuse_if_occupied(path, access, &*device, size)?;
        Ok(Self::Existing(Existing {
            device,
            is_block_device: metadata.file_type().is_block_device(),
            identity: (metadata.dev(), metadata.ino()),
            path: path.to_owned(),
            access,
        }))
    }

    /// Device and number of the file, if there is one, and of the file beneath a loop
    /// device.
    pub(crate) fn identities(&self) -> Vec<(u64, u64)> {
        match self {
            Self::New(file) => file.identity.into_iter().collect(),
            Self::Existing(existing) => {
                let beneath = images::backing_file(&existing.path);
                let beneath = beneath.and_then(|path| fs::metadata(path).ok());
                let beneath = beneath.map(|metadata| (metadata.dev(), metadata.ino()));
                [existing.identity].into_iter().chain(beneath).collect()
            }
        }
    }
}

impl Existing {
    /// Makes a regular file longer, so that it holds `size_bytes` from the offset on.
    pub(crate) fn grow(self, size_bytes: u64) -> anyhow::Result<Self> {
        let name = || self.path.display().to_string();
        let end = end_of(self.access, size_bytes)?;
        let file = File::options()
            .write(true)
            .open(&self.path)
            .with_context(name)?;
        file.set_len(end).with_context(name)?;
        // The old device keeps its size; the lock is taken again.
        drop(self.device);
        Ok(Self {
            device: open(&self.path, self.access)?,
            ..self
        })
    }
}

impl Existing {
    /// A number the kernel publishes about a block device's queue.
    fn queue_limit(&self, name: &str) -> Option<u32> {
        let number = fs::metadata(&self.path).ok()?.rdev();
        let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
        let device = PathBuf::from(format!("/sys/dev/block/{major}:{minor}"));
        // A partition's queue is its disk's.
        [device.join("queue"), device.join("../queue")]
            .iter()
            .find_map(|queue| fs::read_to_string(queue.join(name)).ok())
            .and_then(|text| text.trim().parse().ok())
    }
}

impl NewFile {
    /// What is wrong if no size was given.
    pub(crate) fn without_size(&self) -> anyhow::Error {
        let path = self.path.display();
        let state = match self.identity {
            Some(_) => "is empty",
            None => "does not exist",
        };
        anyhow!("{path} {state}: say how large it is to be, as in 'extmap mkfs {path} 1G'")
    }

    /// Makes the file, with room for `size_bytes` from the offset on. All of it is a hole.
    pub(crate) fn create(&self, size_bytes: u64) -> anyhow::Result<Created> {
        let name = || format!("cannot create {}", self.path.display());
        let mut options = File::options();
        options.write(true);
        options.create_new(self.identity.is_none());
        let file = options.open(&self.path).with_context(name)?;
        let metadata = file.metadata().with_context(name)?;
        if metadata.len() != 0 {
            bail!(
                "{} was empty and no longer is: another program writes to it",
                self.path.display()
            );
        }
        let mut created = Created::new(&self.path, self.identity.is_some())?;
        file.set_len(end_of(self.access, size_bytes)?)
            .map_err(|error| match error.kind() {
                io::ErrorKind::FileTooLarge => anyhow!(
                    "{}: the file system it lies on cannot hold a file of {size_bytes} bytes",
                    self.path.display()
                ),
                _ => anyhow::Error::from(error).context(name()),
            })?;
        drop(file);
        created.device = Some(open(&self.path, self.access)?);
        Ok(created)
    }
}

/// A file that was made. When dropped, or when a signal ends the program, it becomes
/// again what it was, nothing or empty, unless it was kept.
#[derive(Debug)]
pub(crate) struct Created {
    undo: Arc<Mutex<Option<Undo>>>,
    device: Option<Arc<dyn BlockDevice>>,
}

/// How to undo the making of a file.
#[derive(Debug)]
struct Undo {
    path: PathBuf,
    existed: bool,
}

impl Undo {
    fn run(&self) {
        // The reason of the failure is told already; this is tidying up.
        let _ = if self.existed {
            File::options()
                .write(true)
                .open(&self.path)
                .and_then(|file| file.set_len(0))
        } else {
            fs::remove_file(&self.path)
        };
    }
}

impl Created {
    fn new(path: &Path, existed: bool) -> anyhow::Result<Self> {
        let undo = Arc::new(Mutex::new(Some(Undo {
            path: path.to_owned(),
            existed,
        })));
        let created = Self {
            undo: undo.clone(),
            device: None,
        };
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
        std::thread::spawn(move || {
            if let Some(signal) = signals.forever().next() {
                if let Ok(Some(undo)) = undo.lock().as_deref() {
                    undo.run();
                }
                // Ends the program as the signal would have.
                let _ = signal_hook::low_level::emulate_default_handler(signal);
            }
        });
        Ok(created)
    }

    /// The bytes from the offset on.
    pub(crate) fn device(&self) -> anyhow::Result<&dyn BlockDevice> {
        self.device.as_deref().context("the image was not opened")
    }

    /// The work has succeeded.
    pub(crate) fn keep(self) {
        if let Ok(mut undo) = self.undo.lock() {
            *undo = None;
        }
    }
}

impl Drop for Created {
    fn drop(&mut self) {
        if let Ok(mut undo) = self.undo.lock()
            && let Some(undo) = undo.take()
        {
            undo.run();
        }
    }
}

fn end_of(access: Access, size_bytes: u64) -> anyhow::Result<u64> {
    access
        .offset_bytes
        .checked_add(size_bytes)
        .context("offset and size together are more than 2^64 bytes")
}

fn open(path: &Path, access: Access) -> anyhow::Result<Arc<dyn BlockDevice>> {
    let options = images::OpenOptions {
        read_only: access.dry_run,
        offset_bytes: Some(access.offset_bytes).filter(|&offset| offset != 0),
        direct: access.direct,
        unclaimed: access.force >= 2 || access.dry_run,
        ..images::OpenOptions::default()
    };
    images::open(path, &options).map_err(|error| match error {
        images::Error::InUse { .. } => match images::usage(path) {
            Some(usage) => anyhow!("{} is {usage}", path.display()),
            None => error.into(),
        },
        images::Error::Open { .. } | images::Error::WrongType { .. } => error.into(),
        images::Error::OutOfRange { offset, size, .. } => anyhow!(
            "{} has {size} bytes, the offset {offset} lies behind its end",
            path.display()
        ),
        other => anyhow::Error::from(other).context(path.display().to_string()),
    })
}

/// True if the system says that a block device cannot be written.
fn is_read_only(metadata: &fs::Metadata) -> bool {
    let number = metadata.rdev();
    let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
    metadata.file_type().is_block_device()
        && fs::read(format!("/sys/dev/block/{major}:{minor}/ro"))
            .is_ok_and(|text| text.starts_with(b"1"))
}

fn refuse_if_used(path: &Path, access: Access) -> anyhow::Result<()> {
    match images::usage(path) {
        Some(usage) if access.force < 2 && !access.dry_run => bail!(
            "{} is {usage}: unmount or detach it first, or give -F twice to destroy it",
            path.display()
        ),
        _ => Ok(()),
    }
}

fn refuse_if_occupied(
    path: &Path,
    access: Access,
    device: &dyn BlockDevice,
    size: u64,
) -> anyhow::Result<()> {
    if access.force >= 1 || access.dry_run {
        return Ok(());
    }
    match mkfs::existing::look(device, size)? {
        Some(existing) => bail!(
            "{} holds {existing}: give -F to overwrite it",
            path.display()
        ),
        None => Ok(()),
    }
}

/// What the library is told of a target with room for `size_bytes`.
pub(crate) fn description(
    size_bytes: Option<u64>,
    explicit_size: bool,
    existing: Option<&Existing>,
) -> mkfs::options::Target {
    let mut target = mkfs::options::Target {
        size_bytes: size_bytes.unwrap_or(0),
        explicit_size,
        logical_sector_bytes: 512,
        physical_sector_bytes: 512,
        known_zeroed: existing.is_none(),
        ..mkfs::options::Target::default()
    };
    if let Some(existing) = existing.filter(|existing| existing.is_block_device) {
        let queue = |name| existing.queue_limit(name).unwrap_or(0);
        target.is_block_device = true;
        target.logical_sector_bytes = existing.device.logical_sector_bytes();
        target.physical_sector_bytes =
            queue("physical_block_size").max(target.logical_sector_bytes);
        target.minimum_io_bytes = queue("minimum_io_size");
        target.optimal_io_bytes = queue("optimal_io_size");
    }
    target
}

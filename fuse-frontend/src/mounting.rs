//! How a connection with the kernel comes about: mounting, and shaking hands.
//!
//! ```text
//!  the kernel moves content    our mount(2), our INIT and CONFIG      (iomap)
//!  root, for writing           our mount(2) of type fuseblk, fuser's INIT (block_mount)
//!  everybody else              fuser mounts, if need be by fusermount3
//! ```
//!
//! The first that is possible is taken.

use std::fs::OpenOptions;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use fs_core::Superblock;
use rustix::thread::{CapabilitySet, capabilities};

use crate::block_mount;
use crate::channel::{Channel, FUSE_DEVICE};
use crate::error::{Error, Result};
use crate::iomap::{self, Connection, Iomap};
use crate::negotiate::{Agreed, Negotiator, WritingTerms};
use crate::options::{Access, IomapMode, MountOptions};
use crate::served::Served;
use crate::server::Kind;
use crate::unmounter::Unmounter;

/// A connection whose handshake is over.
#[derive(Debug)]
pub(crate) struct Established {
    pub(crate) connection: Held,
    /// Of a mount fuser has not made and would not undo.
    pub(crate) own_mount: Option<OwnMount>,
    pub(crate) agreed: Agreed,
    pub(crate) kind: Kind,
    /// Where requests come; empty if that is for us to make.
    pub(crate) channels: Vec<Channel>,
}

/// What keeps a connection open.
#[derive(Debug)]
pub(crate) enum Held {
    /// Unmounts when it is dropped, if it has mounted.
    Fuser(fuser::Session<Negotiator>),
    Descriptor(OwnedFd),
}

impl AsFd for Held {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Fuser(session) => session.as_fd(),
            Self::Descriptor(descriptor) => descriptor.as_fd(),
        }
    }
}

/// Mounts a volume at an existing directory, see [`check_mountpoint`].
///
/// # Errors
/// [`Error::Device`] if the system has no FUSE for us, [`Error::Mount`] if it refuses,
/// [`Error::Iomap`] if the kernel will not move content but must.
pub(crate) fn mount(
    volume: &Served,
    mountpoint: &Path,
    options: &MountOptions,
) -> Result<Established> {
    check_device()?;
    // Nobody else sees the mount of a superuser, who may do everything: what is left to
    // check the kernel checks without asking us.
    let checks_permissions = options.checks_permissions() || is_superuser();
    let why_no_iomap = match mount_with_iomap(volume, mountpoint, options, checks_permissions) {
        Ok(established) => return Ok(established),
        Err(reason) => accept(reason, options)?,
    };
    let writing = terms_for(volume, options);
    let on_block_device = writing
        .is_some()
        .then(|| mount_on_block_device(volume, mountpoint, options, checks_permissions))
        .flatten();
    let is_on_block_device = on_block_device.is_some();
    let own_mount = is_on_block_device.then(|| OwnMount::at(mountpoint));
    let (fuser, agreed) = match on_block_device {
        Some(mounted) => mounted,
        None => mount_plainly(mountpoint, options, writing, checks_permissions)?,
    };
    Ok(Established {
        connection: Held::Fuser(fuser),
        own_mount,
        agreed: agreed.get().copied().unwrap_or_default(),
        kind: Kind {
            is_on_block_device,
            iomap: Err(why_no_iomap),
        },
        channels: Vec::new(),
    })
}

/// Shakes hands with whoever is at the other end.
///
/// # Errors
/// [`Error::Device`] if they do not, [`Error::Iomap`] as [`mount`].
pub(crate) fn shake_hands_over(
    connection: Connection,
    volume: &Served,
    options: &MountOptions,
) -> Result<Established> {
    let refused = |source| Error::Device {
        operation: "shake hands over",
        source,
    };
    let mut channels = connection.channels.into_iter();
    let first = channels
        .next()
        .ok_or_else(|| refused(std::io::ErrorKind::NotConnected.into()))?;
    let is_wanted = !matches!(options.iomap, IomapMode::Never(_));
    if let Some(calls) = connection.calls.filter(|_| is_wanted)
        && iomap::query(calls.as_ref()).is_ok()
    {
        let own = first.try_clone().map_err(refused)?;
        let all: Vec<Channel> = std::iter::once(own)
            .chain(channels)
            .map(Channel::of)
            .collect();
        let wish = iomap::Wish {
            options,
            checks_permissions: true,
            writing: terms_for(volume, options),
            volume,
        };
        let (agreed, iomap) = match all.first() {
            Some(channel) => iomap::shake_hands(channel, &calls, &wish),
            None => Err("there is no connection".to_owned()),
        }
        .map_err(Error::Iomap)?;
        return Ok(with_iomap(
            Held::Descriptor(first),
            None,
            agreed,
            iomap,
            all,
        ));
    }
    let why_no_iomap = accept("the connection has none".to_owned(), options)?;
    let writing = terms_for(volume, options);
    let (negotiator, agreed) = Negotiator::new(options, writing);
    let config = options.to_fuser(true, writing.is_some());
    let fuser = fuser::Session::from_fd(negotiator, first, config.acl, config).map_err(refused)?;
    Ok(Established {
        connection: Held::Fuser(fuser),
        own_mount: None,
        agreed: agreed.get().copied().unwrap_or_default(),
        kind: Kind {
            is_on_block_device: false,
            iomap: Err(why_no_iomap),
        },
        channels: Vec::new(),
    })
}

/// Whether the kernel may go without moving content; then why it does, for who asks.
fn accept(reason: String, options: &MountOptions) -> Result<String> {
    match &options.iomap {
        IomapMode::Always => Err(Error::Iomap(reason)),
        IomapMode::Auto => {
            tracing::info!("file data goes through this server: {reason}");
            Ok(reason)
        }
        IomapMode::Never(_) => Ok(reason),
    }
}

/// An error is the reason, as half a sentence; nothing is mounted then.
fn mount_with_iomap(
    volume: &Served,
    mountpoint: &Path,
    options: &MountOptions,
    checks_permissions: bool,
) -> std::result::Result<Established, String> {
    if let IomapMode::Never(reason) = &options.iomap {
        return Err(reason.clone());
    }
    iomap::iomap_support()?;
    if options.access == Access::Root {
        return Err("allow_root needs every access to be asked about".to_owned());
    }
    if volume.device().block_device().is_none() {
        return Err("the image is not reached through a block device".to_owned());
    }
    let writing = terms_for(volume, options);
    let descriptor = iomap::mount(mountpoint, options, writing.is_some(), checks_permissions)
        .map_err(|error| format!("mount(2): {error}"))?;
    // From here on what goes wrong unmounts again.
    let own_mount = OwnMount::at(mountpoint);
    let channel = descriptor.try_clone().map(Channel::of);
    let channel = channel.map_err(|error| error.to_string())?;
    let calls = descriptor.try_clone().map_err(|error| error.to_string())?;
    let wish = iomap::Wish {
        options,
        checks_permissions,
        writing,
        volume,
    };
    let (agreed, iomap) = iomap::shake_hands(&channel, &iomap::calls_of(calls), &wish)?;
    let held = Held::Descriptor(descriptor);
    Ok(with_iomap(held, Some(own_mount), agreed, iomap, Vec::new()))
}

fn with_iomap(
    connection: Held,
    own_mount: Option<OwnMount>,
    agreed: Agreed,
    iomap: Arc<Iomap>,
    channels: Vec<Channel>,
) -> Established {
    Established {
        connection,
        own_mount,
        agreed,
        kind: Kind {
            is_on_block_device: false,
            iomap: Ok(iomap),
        },
        channels,
    }
}

fn terms_for(volume: &Served, options: &MountOptions) -> Option<WritingTerms> {
    let volume = volume.writer()?;
    Some(terms(volume.superblock(), options))
}

/// What a mount for writing asks the kernel for.
fn terms(superblock: &Superblock, options: &MountOptions) -> WritingTerms {
    // Small inodes have whole seconds only.
    let has_nanoseconds = superblock.inode_bytes > 128;
    WritingTerms {
        writeback: options.writeback && !options.sync,
        asks_opens: options.ask_opens,
        time_granularity: match has_nanoseconds {
            true => Duration::from_nanos(1),
            false => Duration::from_secs(1),
        },
    }
}

/// Unmounts when it is dropped.
#[derive(Debug)]
pub(crate) struct OwnMount(Unmounter);

impl OwnMount {
    fn at(mountpoint: &Path) -> Self {
        Self(Unmounter::new(mountpoint.to_owned()))
    }
}

impl Drop for OwnMount {
    fn drop(&mut self) {
        if let Err(error) = self.0.unmount() {
            tracing::error!("{error}");
        }
    }
}

type Mounted = (fuser::Session<Negotiator>, Arc<OnceLock<Agreed>>);

fn mount_plainly(
    mountpoint: &Path,
    options: &MountOptions,
    writing: Option<WritingTerms>,
    checks_permissions: bool,
) -> Result<Mounted> {
    let (negotiator, agreed) = Negotiator::new(options, writing);
    let mut config = options.to_fuser(is_privileged(), writing.is_some());
    if checks_permissions && !options.checks_permissions() {
        let check = fuser::MountOption::DefaultPermissions;
        config.mount_options.push(check);
    }
    let fuser =
        fuser::Session::new(negotiator, mountpoint, &config).map_err(|source| Error::Mount {
            mountpoint: options.mountpoint.clone(),
            source: tidy(source),
        })?;
    Ok((fuser, agreed))
}

/// `None` where that is not wanted or not possible.
fn mount_on_block_device(
    volume: &Served,
    mountpoint: &Path,
    options: &MountOptions,
    checks_permissions: bool,
) -> Option<Mounted> {
    let image = options.block_source.as_deref().filter(|_| is_superuser())?;
    let superblock = volume.superblock();
    let (negotiator, agreed) = Negotiator::new(options, Some(terms(superblock, options)));
    let mounted = block_mount::mount_on_loop(
        image,
        mountpoint,
        superblock.block_bytes,
        options,
        checks_permissions,
        negotiator,
        options.to_fuser(true, true),
    );
    match mounted {
        Ok(fuser) => Some((fuser, agreed)),
        Err(error) => {
            tracing::info!("mounted without a block device, so umount(2) will not wait: {error}");
            None
        }
    }
}

/// Whether mount(2) can be expected to work without fusermount3.
fn is_privileged() -> bool {
    capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN))
}

/// Whether permission bits do not bind this process: root, and not just that of
/// a user namespace, to whom many an owner means nothing.
fn is_superuser() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let has_all_users = map.split_whitespace().eq(["0", "0", "4294967295"]);
    let overrides =
        capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::DAC_OVERRIDE));
    has_all_users && overrides && rustix::process::geteuid().is_root()
}

/// Says so in time if the device is missing or not for us.
fn check_device() -> Result<()> {
    let opened = OpenOptions::new().read(true).write(true).open(FUSE_DEVICE);
    opened.map(drop).map_err(|source| Error::Device {
        operation: "open",
        source,
    })
}

/// The absolute path of an existing directory.
pub(crate) fn check_mountpoint(path: &Path) -> Result<PathBuf> {
    let problem = |problem: String| Error::Mountpoint {
        mountpoint: path.to_owned(),
        problem,
    };
    let explain = |error: std::io::Error| match error.raw_os_error() {
        Some(libc::ENOTCONN) => problem(
            "a server died here; unmount it first (fusermount3 -u, or umount as root)".into(),
        ),
        _ => problem(error.to_string()),
    };
    let absolute = path.canonicalize().map_err(explain)?;
    // Where a server died the path can be found, but not looked into.
    let metadata = std::fs::metadata(&absolute).map_err(explain)?;
    rustix::fs::statfs(&absolute).map_err(|error| explain(error.into()))?;
    if !metadata.is_dir() {
        return Err(problem("not a directory".into()));
    }
    Ok(absolute)
}

/// Makes one line of what fusermount3 wrote.
fn tidy(error: std::io::Error) -> std::io::Error {
    if error.raw_os_error().is_some() {
        return error;
    }
    let text = error.to_string();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    match lines.next() {
        Some(line) => std::io::Error::new(error.kind(), line.to_owned()),
        None => error,
    }
}

//! A mount and its service.
//!
//! fuser mounts, shakes hands with the kernel and unmounts. Its session stays
//! alive until our loops have ended, because dropping it unmounts.

use std::fs::OpenOptions;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use fs_core::Superblock;
use images::Mapped;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::thread::{CapabilitySet, capabilities};

use crate::block_mount;
use crate::channel::{Channel, FUSE_DEVICE};
use crate::errands::{self, Errand};
use crate::error::{Error, Result};
use crate::kernel_read_ahead;
use crate::negotiate::{Agreed, Negotiator, WritingTerms};
use crate::options::MountOptions;
use crate::served::Served;
use crate::server::Server;
use crate::unmounter::Unmounter;
use crate::worker::Worker;

/// A mounted volume, not yet or just being served.
///
/// Between [`mount`](Self::mount) and [`serve`](Self::serve) there are no
/// threads, so that a process may fork in between; users of the mount wait.
/// Dropping a session that was never served unmounts it.
#[derive(Debug)]
pub struct Session {
    fuser: fuser::Session<Negotiator>,
    server: Server,
    unmounter: Unmounter,
    /// Of a mount fuser has not made and would not undo.
    own_mount: Option<OwnMount>,
    /// One for each thread.
    channels: Vec<Channel>,
}

impl Session {
    /// Mounts a volume.
    ///
    /// # Errors
    /// [`Error::Mountpoint`] if there is no such directory, [`Error::Device`]
    /// if the system has no FUSE for us, [`Error::Mount`] if it refuses.
    pub fn mount(volume: impl Into<Served>, options: &MountOptions) -> Result<Self> {
        let volume = volume.into();
        let writing = volume
            .writer()
            .map(|volume| terms(volume.superblock(), options));
        let mountpoint = check_mountpoint(&options.mountpoint)?;
        check_device()?;
        // Nobody else sees the mount of a superuser, who may do everything: what is left to
        // check the kernel checks without asking us.
        let checks_permissions = options.checks_permissions() || is_superuser();
        let on_block_device = writing
            .is_some()
            .then(|| mount_on_block_device(&volume, &mountpoint, options, checks_permissions))
            .flatten();
        let own_mount = on_block_device
            .is_some()
            .then(|| OwnMount(Unmounter::new(mountpoint.clone())));
        let (fuser, agreed) = match on_block_device {
            Some(mounted) => mounted,
            None => mount_plainly(&mountpoint, options, writing, checks_permissions)?,
        };
        kernel_read_ahead::raise(&mountpoint);
        let agreed = agreed.get().copied().unwrap_or_default();
        let unmounter = Unmounter::new(mountpoint);
        Self::start(fuser, unmounter, own_mount, volume, options, agreed)
    }

    fn start(
        fuser: fuser::Session<Negotiator>,
        unmounter: Unmounter,
        own_mount: Option<OwnMount>,
        volume: Served,
        options: &MountOptions,
        agreed: Agreed,
    ) -> Result<Self> {
        let thread_count = options.thread_count(is_mapped(&volume), volume.writer().is_some());
        // Whatever can be refused is refused before anybody is told of a mount.
        let channels = (0..thread_count)
            .map(|_| Channel::beside(fuser.as_fd()))
            .collect::<Result<Vec<_>>>()?;
        tracing::debug!(?agreed, thread_count, "mounted");
        Ok(Self {
            fuser,
            server: Server::new(volume, options, agreed, thread_count, own_mount.is_some()),
            unmounter,
            own_mount,
            channels,
        })
    }

    /// A session with whoever is at the other end of `connection`: what another process has
    /// mounted and handed on, or a test that plays the kernel. The descriptor gives one whole
    /// request with each read(2) and takes one whole reply with each writev(2). INIT is awaited
    /// and answered; nothing is mounted, and nothing unmounted when it ends.
    ///
    /// # Errors
    /// [`Error::Device`] if the other end does not shake hands.
    pub fn over(
        connection: OwnedFd,
        volume: impl Into<Served>,
        options: &MountOptions,
    ) -> Result<Self> {
        let volume = volume.into();
        let writing = volume
            .writer()
            .map(|volume| terms(volume.superblock(), options));
        let (negotiator, agreed) = Negotiator::new(options, writing);
        let config = options.to_fuser(true, writing.is_some());
        let fuser = fuser::Session::from_fd(negotiator, connection, config.acl, config).map_err(
            |source| Error::Device {
                operation: "shake hands over",
                source,
            },
        )?;
        let agreed = agreed.get().copied().unwrap_or_default();
        Self::start(
            fuser,
            Unmounter::of_nothing(),
            None,
            volume,
            options,
            agreed,
        )
    }

    /// A handle to unmount by, from a signal handler's thread for instance.
    pub fn unmounter(&self) -> Unmounter {
        self.unmounter.clone()
    }

    /// Serves requests until the file system is unmounted, by whomever.
    ///
    /// # Errors
    /// [`Error::Thread`] and [`Error::Device`]; the file system is then no
    /// longer mounted.
    pub fn serve(mut self) -> Result<()> {
        let channels = std::mem::take(&mut self.channels);
        let outcome = self.run_workers(channels);
        let unmounter = self.unmounter();
        if is_disconnected(self.fuser.as_fd()) {
            // Dropped, fuser 0.18 would unmount by path once more (it takes
            // POLLERR for "still mounted"), and what is mounted there by now
            // may be someone else's. The price is one open descriptor.
            std::mem::forget(self.fuser);
            std::mem::forget(self.own_mount.take());
            unmounter.remove_dead_mount();
        } else {
            drop(self.own_mount.take());
            drop(self.fuser);
        }
        outcome.and(self.server.close())
    }

    fn run_workers(&self, channels: Vec<Channel>) -> Result<()> {
        let (sender, errands) = errands::queue();
        thread::scope(|scope| {
            let errand_runner = thread::Builder::new().name("extmap-errands".into());
            let server = &self.server;
            let started = errand_runner.spawn_scoped(scope, move || errands::run(server, &errands));
            started.map_err(|source| {
                self.give_up();
                Error::Thread(source)
            })?;
            let workers = channels
                .into_iter()
                .enumerate()
                .map(|(index, channel)| {
                    let errands = sender.clone();
                    thread::Builder::new()
                        .name(format!("extmap-{index}"))
                        .spawn_scoped(scope, move || self.run_worker(index, channel, errands))
                        .map_err(|source| {
                            // The others would go on without an end.
                            self.give_up();
                            Error::Thread(source)
                        })
                })
                .collect::<Result<Vec<_>>>()?;
            drop(sender);
            let mut outcome = Ok(());
            for worker in workers {
                let result = worker.join().unwrap_or_else(|_| {
                    self.give_up();
                    Err(Error::Thread(std::io::Error::other("a thread panicked")))
                });
                outcome = outcome.and(result);
            }
            outcome
        })
    }

    fn run_worker(&self, index: usize, channel: Channel, errands: Sender<Errand>) -> Result<()> {
        let worker = Worker::new(&self.server, index, channel, errands);
        let result = worker.and_then(Worker::run);
        if result.is_err() {
            self.give_up();
        }
        result
    }

    /// Unmounts because a thread cannot go on.
    fn give_up(&self) {
        if let Err(error) = self.unmounter.unmount() {
            tracing::error!("{error}");
        }
    }
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
struct OwnMount(Unmounter);

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

/// Whether the volume's device has its bytes in this process's memory.
fn is_mapped(volume: &Served) -> bool {
    matches!(volume.device().mapped_at(0, 1), Ok(Mapped::Bytes(_)))
}

/// Whether the kernel has ended the connection: unmounted or aborted.
fn is_disconnected(fd: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::empty())];
    let zero = Timespec::default();
    match rustix::event::poll(&mut fds, Some(&zero)) {
        Ok(_) => fds.iter().any(|fd| fd.revents().contains(PollFlags::ERR)),
        Err(_) => false,
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
fn check_mountpoint(path: &Path) -> Result<PathBuf> {
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

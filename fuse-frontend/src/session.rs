//! A mount and its service.
//!
//! What keeps the connection (see `mounting`) stays alive until our loops have ended, because
//! dropping it unmounts.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread;

use fs_core::MappingObserver;
use images::Mapped;
use rustix::event::{PollFd, PollFlags, Timespec};

use crate::channel::Channel;
use crate::errands::{self, Errand};
use crate::error::{Error, Result};
use crate::iomap::Connection;
use crate::kernel_read_ahead;
use crate::mounting::{self, Established, Held, OwnMount};
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
    connection: Held,
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
    /// if the system has no FUSE for us, [`Error::Mount`] if it refuses, [`Error::Iomap`] if the
    /// kernel will not move content but must.
    pub fn mount(volume: impl Into<Served>, options: &MountOptions) -> Result<Self> {
        let volume = volume.into();
        let mountpoint = mounting::check_mountpoint(&options.mountpoint)?;
        let established = mounting::mount(&volume, &mountpoint, options)?;
        kernel_read_ahead::raise(&mountpoint);
        Self::start(established, Unmounter::new(mountpoint), volume, options)
    }

    /// A session with whoever is at the other end of `connection`: what another process has
    /// mounted and handed on, or a test that plays the kernel. INIT is awaited and answered;
    /// nothing is mounted, and nothing unmounted when it ends.
    ///
    /// # Errors
    /// [`Error::Device`] if the other end does not shake hands, [`Error::Iomap`] as
    /// [`mount`](Self::mount).
    pub fn over(
        connection: impl Into<Connection>,
        volume: impl Into<Served>,
        options: &MountOptions,
    ) -> Result<Self> {
        let volume = volume.into();
        let established = mounting::shake_hands_over(connection.into(), &volume, options)?;
        Self::start(established, Unmounter::of_nothing(), volume, options)
    }

    fn start(
        established: Established,
        unmounter: Unmounter,
        volume: Served,
        options: &MountOptions,
    ) -> Result<Self> {
        let Established {
            connection,
            own_mount,
            agreed,
            kind,
            mut channels,
        } = established;
        if channels.is_empty() {
            let thread_count = options.thread_count(is_mapped(&volume), volume.writer().is_some());
            // Whatever can be refused is refused before anybody is told of a mount.
            channels = (0..thread_count)
                .map(|_| Channel::beside(connection.as_fd()))
                .collect::<Result<Vec<_>>>()?;
        }
        if let (Some(writer), Ok(iomap)) = (volume.writer(), &kind.iomap) {
            writer.observe_mappings(Arc::clone(iomap) as Arc<dyn MappingObserver>);
        }
        tracing::debug!(?agreed, threads = channels.len(), "mounted");
        Ok(Self {
            connection,
            server: Server::new(volume, options, agreed, channels.len(), kind),
            unmounter,
            own_mount,
            channels,
        })
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
        if is_disconnected(self.connection.as_fd()) {
            // Dropped, fuser 0.18 would unmount by path once more (it takes
            // POLLERR for "still mounted"), and what is mounted there by now
            // may be someone else's. The price is one open descriptor.
            std::mem::forget(self.connection);
            std::mem::forget(self.own_mount.take());
            unmounter.remove_dead_mount();
        } else {
            drop(self.own_mount.take());
            drop(self.connection);
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

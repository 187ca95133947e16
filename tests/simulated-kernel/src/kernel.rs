//! The kernel itself: what all parts share.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::backing::{BackingTable, Descriptor};
use crate::channel::{Channel, Transport};
use crate::counters::Counts;
use crate::errors::StartError;
use crate::handle::Handle;
use crate::inode::Inode;
use crate::personality::{Chaos, Personality};
use crate::record::{Record, Violation};
use crate::request::{Expect, Lock, PendingRequest, Request};
use crate::start::{Link, Phase};

/// How a kernel is set up.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which kernel.
    pub personality: Personality,
    /// How rough it is.
    pub chaos: Chaos,
    /// Descriptors the server gets.
    pub channels: usize,
    /// Whether the kernel has the patches: else its ioctls are unknown.
    pub knows_iomap: bool,
    /// Whether iomap was compiled in.
    pub compiled_in: bool,
    /// The module parameter `enable_iomap`.
    pub enabled: bool,
    /// Whether the server has `CAP_SYS_RAWIO`.
    pub capable: bool,
    /// How long a request may stay unanswered.
    pub answer_limit: Duration,
}

impl Settings {
    /// A kernel with iomap on, all rights given, two channels and no misfortune.
    #[must_use]
    pub fn new(personality: Personality) -> Self {
        Self {
            personality,
            chaos: Chaos::default(),
            channels: 2,
            knows_iomap: true,
            compiled_in: true,
            enabled: true,
            capable: true,
            answer_limit: Duration::from_secs(20),
        }
    }
}

/// What the server gets.
#[derive(Debug)]
pub struct ServerSide {
    /// The descriptors, each like one of `/dev/fuse`: one message a read(2) or writev(2).
    pub channels: Vec<OwnedFd>,
    /// Ioctls and notifications.
    pub handle: Handle,
}

/// What all parts share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) record: Record,
    pub(crate) transport: Transport,
    pub(crate) link: Mutex<Link>,
    pub(crate) link_changed: Condvar,
    pub(crate) inodes: Mutex<HashMap<u64, Arc<Inode>>>,
    pub(crate) backing: Mutex<BackingTable>,
    pub(crate) descriptors: Mutex<HashMap<i32, Descriptor>>,
    pub(crate) random: Mutex<u64>,
    /// Errors the next upserts get.
    pub(crate) upsert_errors: Mutex<Vec<Errno>>,
}

/// A simulated kernel with one connection.
#[derive(Debug)]
pub struct Kernel {
    pub(crate) shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Kernel {
    /// A kernel and the server's side of the connection, not yet mounted.
    ///
    /// # Errors
    /// [`StartError::Host`] if there are no sockets or threads.
    pub fn connect(settings: Settings) -> Result<(Self, ServerSide), StartError> {
        let shared = Arc::new(Shared {
            record: Record::default(),
            transport: Transport::default(),
            link: Mutex::new(Link::default()),
            link_changed: Condvar::new(),
            inodes: Mutex::default(),
            backing: Mutex::default(),
            descriptors: Mutex::default(),
            random: Mutex::new(settings.chaos.seed.wrapping_mul(2).wrapping_add(1)),
            upsert_errors: Mutex::default(),
            settings,
        });
        let kernel = Self {
            shared,
            threads: Mutex::default(),
        };
        let mut channels = Vec::new();
        for number in 0..kernel.shared.settings.channels {
            let (channel, index, theirs) = kernel
                .shared
                .transport
                .add_channel()
                .map_err(std::io::Error::from)?;
            let shared = Arc::clone(&kernel.shared);
            let builder = thread::Builder::new().name(format!("kernel-{number}"));
            let thread = builder.spawn(move || receive(&shared, index, &channel))?;
            kernel.threads.lock().push(thread);
            channels.push(theirs);
        }
        let handle = Handle {
            shared: Arc::clone(&kernel.shared),
        };
        Ok((kernel, ServerSide { channels, handle }))
    }

    /// From now on `fd` is what the server's descriptor of that number stands for.
    pub fn plug(&self, fd: i32, descriptor: Descriptor) {
        self.shared.descriptors.lock().insert(fd, descriptor);
    }

    /// What the server did that a conformant one never does.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        self.shared.record.violations()
    }

    /// How often what happened.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.record.counts()
    }

    /// Requests the server has not answered, with what they hold.
    #[must_use]
    pub fn pending(&self) -> Vec<PendingRequest> {
        self.shared.transport.pending()
    }

    /// The next upsert that would be accepted gets `errno` instead (ENOMEM, EIO, ...).
    pub fn refuse_upsert(&self, errno: Errno) {
        self.shared.upsert_errors.lock().push(errno);
    }

    /// The connection is cut, as by an abort.
    pub fn abort(&self) {
        self.shared.enter(Phase::Gone);
        self.shared.transport.close();
        for thread in self.threads.lock().drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        self.abort();
    }
}

/// Takes what the server writes to one channel.
fn receive(shared: &Shared, index: usize, channel: &Channel) {
    let forever: Option<&Timespec> = None;
    loop {
        let mut fds = [PollFd::new(&channel.socket, PollFlags::IN)];
        if poll(&mut fds, forever).is_err() {
            continue;
        }
        match shared.transport.take(index, channel, &shared.record) {
            Some(None) => return,
            Some(Some(bytes)) if !bytes.is_empty() => {
                // Its writer cannot be told the outcome; the record has it.
                let _ = shared.notify(&bytes);
            }
            _ => {}
        }
    }
}

impl Shared {
    /// An ordinary request: waits until the mount is ready.
    pub(crate) fn call(
        &self,
        opcode: u32,
        nodeid: u64,
        body: &[&[u8]],
        expect: Expect,
        locks: &[Lock],
    ) -> Result<Vec<u8>, Errno> {
        self.wait_ready()?;
        self.call_forced(opcode, nodeid, body, expect, locks)
    }

    /// A request that is not held back by the start-up.
    pub(crate) fn call_forced(
        &self,
        opcode: u32,
        nodeid: u64,
        body: &[&[u8]],
        expect: Expect,
        locks: &[Lock],
    ) -> Result<Vec<u8>, Errno> {
        let request = Request {
            opcode,
            nodeid,
            body,
            expect,
            locks,
        };
        let limit = self.settings.answer_limit;
        self.transport.call(&request, &self.record, limit)
    }

    /// The next random number (xorshift).
    pub(crate) fn random(&self) -> u64 {
        let mut state = self.random.lock();
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state
    }

    /// Whether a misfortune of `permille` strikes.
    pub(crate) fn strikes(&self, permille: u32) -> bool {
        permille > 0 && self.random() % 1000 < u64::from(permille)
    }

    /// The time between an answer and its use.
    pub(crate) fn delay(&self) {
        let max = self.settings.chaos.delay_max.as_nanos() as u64;
        if max > 0 {
            thread::sleep(Duration::from_nanos(self.random() % max));
        }
    }

    /// The inode of a node in core.
    pub(crate) fn inode(&self, nodeid: u64) -> Result<Arc<Inode>, Errno> {
        let inodes = self.inodes.lock();
        inodes.get(&nodeid).cloned().ok_or(Errno::STALE)
    }
}

//! From INIT to the first ordinary request, and the end (1.3 to 1.6).

use std::sync::Arc;
use std::thread;

use rustix::io::Errno;
use zerocopy::{FromBytes, IntoBytes};

use crate::config::{Geometry, judge_config};
use crate::errors::StartError;
use crate::kernel::{Kernel, Shared};
use crate::numbers::{INIT_ATOMIC_O_TRUNC, INIT_EXT, INIT_IOMAP, MAJOR, MINOR_IOMAP, config, op};
use crate::request::Expect;
use crate::rule::Rule;
use crate::tree::TREE_BYTES_DEFAULT;
use crate::wire::{ConfigIn, ConfigOut, InitIn, InitOut};

/// How far a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Unmounted,
    /// INIT is on its way.
    Init,
    /// CONFIG is on its way.
    Config,
    Ready,
    Failed(Errno),
    Gone,
}

/// The connection.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) phase: Phase,
    /// By ADD_IOMAP.
    pub(crate) granted: bool,
    pub(crate) sync_init: bool,
    /// Whether iomap was offered and accepted.
    pub(crate) iomap: bool,
    /// Of the server's INIT reply.
    pub(crate) minor: u32,
    /// OPEN truncates; else SETATTR does, behind it.
    pub(crate) truncates_in_open: bool,
    pub(crate) geometry: Geometry,
    /// Opcodes answered ENOSYS for good.
    pub(crate) switched_off: Vec<u32>,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            phase: Phase::Unmounted,
            granted: false,
            sync_init: false,
            iomap: false,
            minor: 0,
            truncates_in_open: false,
            geometry: Geometry::default(),
            switched_off: Vec::new(),
        }
    }
}

/// Largest WRITE and READ a request of this kernel has, so that messages fit a socket.
pub(crate) const WRITE_BYTES_MAX: u32 = 128 * 1024;

impl Kernel {
    /// mount(2). After SYNC_INIT it returns when CONFIG is answered, else at once.
    ///
    /// # Errors
    /// [`StartError::Mount`] with mount(2)'s error, [`StartError::Host`] without a thread.
    pub fn mount(&self) -> Result<(), StartError> {
        let sync = {
            let mut link = self.shared.link.lock();
            if link.phase != Phase::Unmounted {
                return Err(StartError::Mount(Errno::BUSY));
            }
            link.phase = Phase::Init;
            link.sync_init
        };
        if sync {
            return self.shared.start().map_err(StartError::Mount);
        }
        let shared = Arc::clone(&self.shared);
        let builder = thread::Builder::new().name("kernel-init".into());
        builder.spawn(move || shared.start())?;
        Ok(())
    }

    /// Waits until ordinary requests may be sent.
    ///
    /// # Errors
    /// Why the mount failed.
    pub fn wait_ready(&self) -> Result<(), Errno> {
        self.shared.wait_ready()
    }

    /// umount(2): everything is written, SYNCFS, DESTROY; then the descriptors are at their end.
    ///
    /// # Errors
    /// The first error of writing back or of the requests.
    pub fn unmount(&self) -> Result<(), Errno> {
        let written = self.sync();
        let destroyed = self
            .shared
            .call_forced(op::DESTROY, 0, &[], Expect::Exactly(0), &[]);
        self.abort();
        self.shared.inodes.lock().clear();
        written.and(destroyed.map(drop))
    }
}

impl Shared {
    pub(crate) fn enter(&self, phase: Phase) {
        self.link.lock().phase = phase;
        self.link_changed.notify_all();
    }

    /// Whether the connection has or may have iomap (1.4).
    pub(crate) fn may_use_iomap(&self) -> bool {
        let settings = &self.settings;
        let rights = settings.enabled && settings.capable;
        settings.knows_iomap && settings.compiled_in && (self.link.lock().granted || rights)
    }

    pub(crate) fn wait_ready(&self) -> Result<(), Errno> {
        let mut link = self.link.lock();
        loop {
            match link.phase {
                Phase::Ready => return Ok(()),
                Phase::Failed(errno) => return Err(errno),
                Phase::Unmounted | Phase::Gone => return Err(Errno::NOTCONN),
                Phase::Init | Phase::Config => {
                    let limit = self.settings.answer_limit;
                    if self.link_changed.wait_for(&mut link, limit).timed_out() {
                        return Err(Errno::TIMEDOUT);
                    }
                }
            }
        }
    }

    fn start(&self) -> Result<(), Errno> {
        let outcome = self.init().and_then(|iomap| match iomap {
            true => self.configure(),
            false => Ok(()),
        });
        self.enter(match outcome {
            Ok(()) => Phase::Ready,
            Err(errno) => Phase::Failed(errno),
        });
        outcome
    }

    /// INIT; whether iomap was agreed on.
    fn init(&self) -> Result<bool, Errno> {
        let offered = self.may_use_iomap();
        let iomap = if offered { INIT_IOMAP } else { 0 };
        let flags = INIT_EXT | INIT_ATOMIC_O_TRUNC | iomap;
        let minor = if self.settings.knows_iomap {
            MINOR_IOMAP
        } else {
            45
        };
        let request = InitIn {
            major: MAJOR,
            minor,
            max_readahead: WRITE_BYTES_MAX,
            flags: flags as u32,
            flags2: (flags >> 32) as u32,
            ..InitIn::default()
        };
        let expect = Expect::AtMost(size_of::<InitOut>());
        let body = self.call_forced(op::INIT, 0, &[request.as_bytes()], expect, &[])?;
        let reply = padded::<InitOut>(&body).ok_or(Errno::IO)?;
        // More than messages here can carry may be offered; it is not used.
        if reply.major != MAJOR {
            let rule = Rule::InitReply;
            self.record.violation(rule, format!("{reply:?}"));
            return Err(Errno::IO);
        }
        let high = match u64::from(reply.flags) & INIT_EXT {
            0 => 0,
            _ => u64::from(reply.flags2),
        };
        let accepted = (high << 32) & INIT_IOMAP != 0;
        if accepted && !(offered && reply.minor >= MINOR_IOMAP) {
            let detail = format!("offered: {offered}, {reply:?}");
            self.record.violation(Rule::InitReply, detail);
        }
        let mut link = self.link.lock();
        link.iomap = accepted && offered;
        link.minor = reply.minor;
        link.truncates_in_open = u64::from(reply.flags) & INIT_ATOMIC_O_TRUNC != 0;
        if link.iomap {
            link.phase = Phase::Config;
        }
        self.link_changed.notify_all();
        Ok(link.iomap)
    }

    fn configure(&self) -> Result<(), Errno> {
        let request = ConfigIn {
            flags: config::ALL,
            maxbytes: i64::MAX,
            cache_maxbytes: TREE_BYTES_DEFAULT,
            ..ConfigIn::default()
        };
        // A longer reply has a rule of its own, so the transport lets it pass.
        let expect = Expect::AtMost(4096);
        let body = match self.call_forced(op::IOMAP_CONFIG, 0, &[request.as_bytes()], expect, &[]) {
            Err(Errno::NOSYS) => return Ok(()),
            Err(errno) => {
                self.record
                    .violation(Rule::ConfigFailed, format!("{errno:?}"));
                return Err(self.start_error(errno));
            }
            Ok(body) => body,
        };
        let reply = padded::<ConfigOut>(&body).ok_or((Rule::ConfigLength, Errno::IO));
        let variant = self.settings.personality.variant;
        let judged = reply.and_then(|reply| {
            let fault = judge_config(&reply, crate::Variant::L).err();
            if let Some(rule) = fault {
                self.record.violation(rule, format!("{reply:?}"));
            }
            judge_config(&reply, variant).map_err(|rule| (rule, Errno::INVAL))
        });
        match judged {
            Ok(geometry) => {
                self.link.lock().geometry = geometry;
                Ok(())
            }
            Err((rule, errno)) => {
                self.record.refused(rule);
                if rule == Rule::ConfigLength {
                    self.record.violation(rule, format!("{} bytes", body.len()));
                }
                Err(self.start_error(errno))
            }
        }
    }

    /// In sync mode mount(2) gets the error itself, else EIO.
    fn start_error(&self, errno: Errno) -> Errno {
        match self.link.lock().sync_init {
            true => errno,
            false => Errno::IO,
        }
    }
}

/// A structure from a reply that may lack its tail. `None`: it is longer.
fn padded<T: FromBytes + IntoBytes>(bytes: &[u8]) -> Option<T> {
    let mut whole = vec![0; size_of::<T>()];
    whole.get_mut(..bytes.len())?.copy_from_slice(bytes);
    T::read_from_bytes(&whole).ok()
}

//! INIT: what this server asks of the kernel, and what the two agreed on.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use fuser::{InitFlags, KernelConfig, Version};

use crate::options::{Access, MountOptions};

/// Largest READ and largest directory listing, in bytes.
pub(crate) const REQUEST_BYTES_MAX: usize = 1 << 20;

/// Requests of the background kind (read-ahead, asynchronous direct reads)
/// the kernel keeps under way at most. Above the queue depths programs use.
const BACKGROUND_MAX: u16 = 128;

/// The oldest protocol spoken (Linux 3.15): its replies are today's.
const OLDEST: Version = Version(7, 23);

/// What a mount for writing asks for besides.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WritingTerms {
    /// Content that is written stays in the page cache until it is synced or old.
    pub(crate) writeback: bool,
    /// Files cannot be opened unasked.
    pub(crate) asks_opens: bool,
    /// The finest difference between two times the volume can tell.
    pub(crate) time_granularity: Duration,
}

/// What the kernel offered of what was asked.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Agreed {
    /// OPEN may be answered ENOSYS: files are then opened without a message.
    pub(crate) no_open: bool,
    /// The same for OPENDIR.
    pub(crate) no_opendir: bool,
    /// The kernel keeps what is written, and with it knows sizes and times better than we.
    pub(crate) writeback: bool,
    /// The umask comes with requests instead of being applied before.
    pub(crate) has_umask: bool,
    /// SETXATTR has its longer form.
    pub(crate) setxattr_ext: bool,
}

/// Takes part in fuser's handshake and in nothing else: the requests after it
/// are read by loops of our own.
#[derive(Debug)]
pub(crate) struct Negotiator {
    access: Access,
    checks_permissions: bool,
    wants_acls: bool,
    writing: Option<WritingTerms>,
    agreed: Arc<OnceLock<Agreed>>,
}

impl Negotiator {
    /// A negotiator, and where the outcome will stand once the handshake is over.
    pub(crate) fn new(
        options: &MountOptions,
        writing: Option<WritingTerms>,
    ) -> (Self, Arc<OnceLock<Agreed>>) {
        let agreed = Arc::new(OnceLock::new());
        let negotiator = Self {
            access: options.access,
            checks_permissions: options.checks_permissions(),
            wants_acls: options.wants_acls(),
            writing,
            agreed: Arc::clone(&agreed),
        };
        (negotiator, agreed)
    }

    /// Capabilities that are wanted wherever the kernel has them.
    fn wishes(&self) -> Vec<InitFlags> {
        let mut wishes = vec![
            InitFlags::FUSE_ASYNC_READ,
            InitFlags::FUSE_ASYNC_DIO,
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_DO_READDIRPLUS,
            InitFlags::FUSE_CACHE_SYMLINKS,
            InitFlags::FUSE_EXPORT_SUPPORT,
            InitFlags::FUSE_MAX_PAGES,
            InitFlags::FUSE_HAS_IOCTL_DIR,
            InitFlags::FUSE_EXPLICIT_INVAL_DATA,
        ];
        if self.wants_acls {
            wishes.push(InitFlags::FUSE_POSIX_ACL);
        }
        if self.writing.is_some() {
            wishes.extend([
                InitFlags::FUSE_BIG_WRITES,
                InitFlags::FUSE_HANDLE_KILLPRIV_V2,
            ]);
        }
        // The kernel refuses the mount if this comes without permission
        // checks; and an idmapped caller has no uid that `Access::Root` could
        // be decided by.
        if self.checks_permissions && self.access == Access::Other {
            wishes.push(InitFlags::FUSE_ALLOW_IDMAP);
        }
        wishes
    }
}

impl fuser::Filesystem for Negotiator {
    fn init(&mut self, _request: &fuser::Request, config: &mut KernelConfig) -> io::Result<()> {
        if config.kernel_abi() < OLDEST {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!("the kernel speaks FUSE {}, too old", config.kernel_abi()),
            ));
        }
        for wish in self.wishes() {
            // One by one: an old kernel lacks some, and refuses a set as a whole.
            let _ = config.add_capabilities(wish);
        }
        // Who may come in by `Access::Root` is decided when a file is opened,
        // so every open has to be asked about.
        let may_skip = self.access != Access::Root;
        let may_skip_opens = may_skip && !self.writing.is_some_and(|terms| terms.asks_opens);
        let mut agreed = Agreed {
            no_open: may_skip_opens && take(config, InitFlags::FUSE_NO_OPEN_SUPPORT),
            no_opendir: may_skip && take(config, InitFlags::FUSE_NO_OPENDIR_SUPPORT),
            ..Agreed::default()
        };
        if let Some(terms) = self.writing {
            take_writing(config, terms, &mut agreed);
        }
        // The largest write decides how many pages a request may have.
        set(|size| config.set_max_write(size), REQUEST_BYTES_MAX as u32);
        set(
            |size| config.set_max_readahead(size),
            REQUEST_BYTES_MAX as u32,
        );
        set(|count| config.set_max_background(count), BACKGROUND_MAX);
        set(
            |count| config.set_congestion_threshold(count),
            BACKGROUND_MAX / 4 * 3,
        );
        let _ = self.agreed.set(agreed);
        Ok(())
    }
}

fn take_writing(config: &mut KernelConfig, terms: WritingTerms, agreed: &mut Agreed) {
    agreed.writeback = terms.writeback && take(config, InitFlags::FUSE_WRITEBACK_CACHE);
    agreed.has_umask = take(config, InitFlags::FUSE_DONT_MASK);
    agreed.setxattr_ext = take(config, InitFlags::FUSE_SETXATTR_EXT);
    // Before groups came extensions had no length, and could not be told from names.
    if take(config, InitFlags::FUSE_CREATE_SUPP_GROUP) {
        let _ = config.add_capabilities(InitFlags::FUSE_SECURITY_CTX);
    }
    let _ = config.set_time_granularity(terms.time_granularity);
}

fn take(config: &mut KernelConfig, capability: InitFlags) -> bool {
    config.add_capabilities(capability).is_ok()
}

/// Sets a value, or the nearest one that is possible.
fn set<T: Copy>(mut setter: impl FnMut(T) -> Result<T, T>, wish: T) {
    if let Err(nearest) = setter(wish) {
        let _ = setter(nearest);
    }
}

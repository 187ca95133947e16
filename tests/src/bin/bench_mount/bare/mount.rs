//! Mounting as extmap does it: on a loop device, with the same agreement with the kernel.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use fuser::{InitFlags, KernelConfig};
use images::LoopDevice;
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use rustix::mount::{MountFlags, mount};
use system_tests::sys;

use super::REQUEST_BYTES_MAX;

const FUSE_DEVICE: &str = "/dev/fuse";
const FS_TYPE: &str = "fuseblk.bare";
/// Requests of the background kind under way at most.
const BACKGROUND_MAX: u16 = 128;

/// What extmap asks for on a root's mount for writing (fuse-frontend, `negotiate.rs`).
const WISHES: [InitFlags; 17] = [
    InitFlags::FUSE_ASYNC_READ,
    InitFlags::FUSE_ASYNC_DIO,
    InitFlags::FUSE_PARALLEL_DIROPS,
    InitFlags::FUSE_DO_READDIRPLUS,
    InitFlags::FUSE_CACHE_SYMLINKS,
    InitFlags::FUSE_EXPORT_SUPPORT,
    InitFlags::FUSE_MAX_PAGES,
    InitFlags::FUSE_HAS_IOCTL_DIR,
    InitFlags::FUSE_EXPLICIT_INVAL_DATA,
    InitFlags::FUSE_BIG_WRITES,
    InitFlags::FUSE_HANDLE_KILLPRIV_V2,
    InitFlags::FUSE_NO_OPEN_SUPPORT,
    InitFlags::FUSE_NO_OPENDIR_SUPPORT,
    InitFlags::FUSE_WRITEBACK_CACHE,
    InitFlags::FUSE_DONT_MASK,
    InitFlags::FUSE_CREATE_SUPP_GROUP,
    InitFlags::FUSE_SECURITY_CTX,
];

/// A mount. Its end is that of the connection, by umount(8).
#[derive(Debug)]
pub(super) struct Mount(fuser::Session<Negotiator>);

impl Mount {
    /// Mounts and shakes hands.
    pub(super) fn new(image: &Path, dir: &Path) -> Result<Self> {
        let source = LoopDevice::attach(image).context("no loop device")?;
        let fuse = open_device()?;
        let data = format!(
            "fd={},rootmode=40000,user_id=0,group_id=0,max_read={REQUEST_BYTES_MAX},\
             blksize=4096,default_permissions",
            fuse.as_raw_fd()
        );
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        mount(source.path(), dir, FS_TYPE, flags, &*CString::new(data)?)
            .with_context(|| format!("cannot mount at {}", dir.display()))?;
        let config = fuser::Config::default();
        let fuse = OwnedFd::from(fuse);
        let session = fuser::Session::from_fd(Negotiator, fuse, config.acl, config)?;
        raise_read_ahead(dir)?;
        Ok(Self(session))
    }

    /// A descriptor of the connection for one thread.
    pub(super) fn channel(&self) -> Result<OwnedFd> {
        let fresh = open_device()?;
        sys::clone_fuse_connection(&fresh, self.0.as_fd())?;
        Ok(fresh.into())
    }
}

fn open_device() -> Result<File> {
    let mut options = OpenOptions::new();
    let opened = options.read(true).write(true).open(FUSE_DEVICE);
    opened.context(FUSE_DEVICE)
}

/// To the largest request, as extmap does; INIT could only lower it.
fn raise_read_ahead(dir: &Path) -> Result<()> {
    // Asked with this flag the kernel does not ask us.
    let device = statx(CWD, dir, AtFlags::STATX_DONT_SYNC, StatxFlags::empty())?;
    let setting = format!(
        "/sys/class/bdi/{}:{}/read_ahead_kb",
        device.stx_dev_major, device.stx_dev_minor
    );
    std::fs::write(&setting, (REQUEST_BYTES_MAX >> 10).to_string()).context(setting)
}

/// Takes part in the handshake and in nothing else.
#[derive(Debug)]
struct Negotiator;

impl fuser::Filesystem for Negotiator {
    fn init(&mut self, _request: &fuser::Request, config: &mut KernelConfig) -> io::Result<()> {
        for wish in WISHES {
            // One by one: an old kernel lacks some, and refuses a set as a whole.
            let _ = config.add_capabilities(wish);
        }
        let _ = config.set_time_granularity(Duration::from_nanos(1));
        let refused = |_| io::Error::from(io::ErrorKind::Unsupported);
        let bytes = REQUEST_BYTES_MAX as u32;
        config.set_max_write(bytes).map_err(refused)?;
        if let Err(nearest) = config.set_max_readahead(bytes) {
            config.set_max_readahead(nearest).map_err(refused)?;
        }
        let refused = |_| io::Error::from(io::ErrorKind::Unsupported);
        config.set_max_background(BACKGROUND_MAX).map_err(refused)?;
        let congested = BACKGROUND_MAX / 4 * 3;
        config
            .set_congestion_threshold(congested)
            .map_err(refused)?;
        Ok(())
    }
}

//! Mounting as a file system on a block device (type `fuseblk`).
//!
//! The kernel then passes sync(2) and syncfs(2) on to the server, and umount(2) returns
//! only when the server has answered DESTROY: when the image is clean. Only root can. The
//! device the kernel wants is a loop device over the image; it lends its name and nothing
//! else, all reading and writing goes to the image itself.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use images::LoopDevice;
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};

use crate::channel::FUSE_DEVICE;
use crate::error::{Error, Result};
use crate::negotiate::{Negotiator, REQUEST_BYTES_MAX};
use crate::options::{Access, MountOptions};

const FS_TYPE: &str = "fuseblk.extmap";
/// The kernel's blocks must fit into its pages, and a file system's blocks into them all.
const BLOCK_BYTES_MAX: u32 = 4096;

/// Mounts, and shakes hands. `checks_permissions` has the kernel do that.
///
/// # Errors
/// [`Error::Mount`]: then nothing is mounted, and the other way may do.
pub(crate) fn mount_on_loop(
    image: &Path,
    mountpoint: &Path,
    block_bytes: u32,
    options: &MountOptions,
    checks_permissions: bool,
    negotiator: Negotiator,
    config: fuser::Config,
) -> Result<fuser::Session<Negotiator>> {
    let refused = |source: std::io::Error| Error::Mount {
        mountpoint: options.mountpoint.clone(),
        source,
    };
    let source = LoopDevice::attach(image).map_err(refused)?;
    let fuse: File = OpenOptions::new()
        .read(true)
        .write(true)
        .open(FUSE_DEVICE)
        .map_err(refused)?;
    let mut data = format!(
        "fd={},rootmode=40000,user_id={},group_id={},max_read={REQUEST_BYTES_MAX},blksize={}",
        fuse.as_raw_fd(),
        rustix::process::getuid().as_raw(),
        rustix::process::getgid().as_raw(),
        block_bytes.min(BLOCK_BYTES_MAX),
    );
    if options.access != Access::Owner {
        data.push_str(",allow_other");
    }
    if checks_permissions {
        data.push_str(",default_permissions");
    }
    let data = CString::new(data).map_err(|error| refused(error.into()))?;
    mount(
        source.path(),
        mountpoint,
        FS_TYPE,
        flags(options, true),
        &*data,
    )
    .map_err(|errno: Errno| refused(errno.into()))?;
    let fuse = OwnedFd::from(fuse);
    fuser::Session::from_fd(negotiator, fuse, config.acl, config).map_err(|error| {
        let _ = rustix::mount::unmount(mountpoint, rustix::mount::UnmountFlags::DETACH);
        refused(error)
    })
}

/// What mount(2) is told of a mount.
pub(crate) fn flags(options: &MountOptions, is_writable: bool) -> MountFlags {
    let mut flags = MountFlags::empty();
    flags.set(MountFlags::RDONLY, !is_writable);
    flags.set(MountFlags::NOSUID, !options.suid);
    flags.set(MountFlags::NODEV, !options.dev);
    flags.set(MountFlags::NOEXEC, !options.exec);
    flags.set(MountFlags::NOATIME, options.noatime);
    flags.set(MountFlags::SYNCHRONOUS, options.sync && is_writable);
    flags
}

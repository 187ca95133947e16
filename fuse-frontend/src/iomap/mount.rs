//! Mounting where the kernel has iomap: by our own mount(2), because the answer to INIT is to
//! be ours.

use std::ffi::CString;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::mount::mount as system_mount;

use crate::block_mount;
use crate::channel::FUSE_DEVICE;
use crate::options::{Access, MountOptions};

const FS_TYPE: &str = "fuse.extmap";

/// Mounts; returns the connection, of which INIT has not been read.
pub(crate) fn mount(
    mountpoint: &Path,
    options: &MountOptions,
    is_writable: bool,
    checks_permissions: bool,
) -> io::Result<OwnedFd> {
    let fuse = OpenOptions::new()
        .read(true)
        .write(true)
        .open(FUSE_DEVICE)?;
    let mut data = format!(
        "fd={},rootmode=40000,user_id={},group_id={}",
        fuse.as_raw_fd(),
        rustix::process::getuid().as_raw(),
        rustix::process::getgid().as_raw(),
    );
    if options.access != Access::Owner {
        data.push_str(",allow_other");
    }
    if checks_permissions {
        data.push_str(",default_permissions");
    }
    let flags = block_mount::flags(options, is_writable);
    let source = options.plain_source_name();
    system_mount(source, mountpoint, FS_TYPE, flags, &*CString::new(data)?)?;
    Ok(fuse.into())
}

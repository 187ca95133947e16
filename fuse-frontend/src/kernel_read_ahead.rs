//! How far the kernel reads ahead on a mount.
//!
//! INIT can only lower the kernel's 128 KiB. Root may raise it afterwards, and
//! it is worth it: with 1 MiB a buffered sequential read is nearly twice as
//! fast, because one request carries what eight did. For other users the
//! kernel's value stays.

use std::io;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, StatxFlags};

use crate::negotiate::REQUEST_BYTES_MAX;

/// Raises the read-ahead of the file system at `mountpoint` to the largest
/// request, if we may.
pub(crate) fn raise(mountpoint: &Path) {
    if let Err(error) = try_raise(mountpoint) {
        tracing::debug!("read-ahead stays as it is: {error}");
    }
}

fn try_raise(mountpoint: &Path) -> io::Result<()> {
    // Answered from what the kernel knows: nobody serves requests yet.
    let flags = AtFlags::STATX_DONT_SYNC | AtFlags::NO_AUTOMOUNT;
    let stat = rustix::fs::statx(CWD, mountpoint, flags, StatxFlags::empty())?;
    let setting = format!(
        "/sys/class/bdi/{}:{}/read_ahead_kb",
        stat.stx_dev_major, stat.stx_dev_minor
    );
    std::fs::write(setting, (REQUEST_BYTES_MAX >> 10).to_string())
}

//! What a test does to the system, as values: dropping one undoes it, after a
//! panic, too.

mod fuse_mount;
mod kernel_mount;
mod process;

pub use fuse_mount::{FuseMount, Server};
pub use kernel_mount::{KernelMount, LoopDevice};
pub use process::{ChildGuard, find_processes, patience, pid_alive, status_kib, wait_until};

use std::path::Path;

/// Whether something is mounted exactly at `dir`.
pub fn is_mounted(dir: &Path) -> bool {
    mount_type(dir).is_some()
}

/// The type of the file system mounted last at `dir`.
pub fn mount_type(dir: &Path) -> Option<String> {
    let table = std::fs::read_to_string("/proc/self/mounts").ok()?;
    let wanted = dir.to_string_lossy();
    table
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            let target = words.next()?.replace("\\040", " ");
            (target == wanted).then(|| words.next().map(str::to_owned))?
        })
        .next_back()
}

/// The options of the file system mounted last at `dir`, as the kernel lists
/// them.
pub fn mount_options(dir: &Path) -> Option<String> {
    let table = std::fs::read_to_string("/proc/self/mounts").ok()?;
    let wanted = dir.to_string_lossy();
    table
        .lines()
        .filter(|line| line.split(' ').nth(1) == Some(&wanted))
        .filter_map(|line| line.split(' ').nth(3).map(str::to_owned))
        .next_back()
}

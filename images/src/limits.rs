//! What a block device of the system promises, and how its page cache is set up.

use std::os::fd::BorrowedFd;

use rustix::fs::{fstat, major, minor};

use crate::sys;

/// Sets the unit of a block device's page cache, in bytes: a power of two from its logical
/// sector to a page.
///
/// # Errors
/// The system's; so for what is no block device.
pub fn set_block_size(device: BorrowedFd<'_>, bytes: u32) -> rustix::io::Result<()> {
    sys::set_block_size(device, bytes)
}

/// The unit of a block device's page cache, in bytes; `None` for what is no block device.
pub fn block_size(device: BorrowedFd<'_>) -> Option<u32> {
    sys::block_size(device).ok()
}

/// The smallest and the largest write, in bytes, that a block device makes whole or not at all;
/// `None` if it promises nothing (Linux sysfs, `queue/atomic_write_unit_{min,max}_bytes`).
pub fn atomic_write_bytes(device: BorrowedFd<'_>) -> Option<(u64, u64)> {
    let number = fstat(device).ok()?.st_rdev;
    let queue = |name: &str| {
        let directory = format!("/sys/dev/block/{}:{}", major(number), minor(number));
        // A partition's limits are its disk's.
        let places = [
            format!("{directory}/queue/{name}"),
            format!("{directory}/../queue/{name}"),
        ];
        let text = places
            .iter()
            .find_map(|place| std::fs::read_to_string(place).ok())?;
        text.trim().parse::<u64>().ok()
    };
    let least = queue("atomic_write_unit_min_bytes")?;
    let most = queue("atomic_write_unit_max_bytes")?;
    (least > 0 && least <= most).then_some((least, most))
}

//! Whether a kernel can do iomap for us, and if not, why.

use std::fs::OpenOptions;

use rustix::io::Errno;
use rustix::thread::{CapabilitySet, capabilities};
use zerocopy::IntoBytes;

use super::connection::{ConnectionCalls, FuseDevice};
use crate::channel::FUSE_DEVICE;
use crate::wire::{IomapSupport, device_ioctl, support};

const PARAMETER: &str = "/sys/module/fuse/parameters/enable_iomap";

/// Asks this machine's kernel.
///
/// # Errors
/// The reason, as half a sentence, if file data cannot be left to the kernel.
pub fn iomap_support() -> Result<(), String> {
    let device = OpenOptions::new().read(true).write(true).open(FUSE_DEVICE);
    let device = device.map_err(|error| format!("{FUSE_DEVICE} cannot be opened: {error}"))?;
    query(&FuseDevice(device.into()))
}

/// Asks by a descriptor that may not be mounted yet.
pub(crate) fn query(calls: &dyn ConnectionCalls) -> Result<(), String> {
    let mut answer = IomapSupport::default();
    match calls.ioctl(device_ioctl::IOMAP_SUPPORT, answer.as_mut_bytes()) {
        Ok(_) if answer.flags & support::FILE_IO != 0 => Ok(()),
        Ok(_) => Err(why_not_now()),
        Err(error) => Err(match Errno::from_io_error(&error) {
            Some(Errno::NOTTY | Errno::INVAL | Errno::NOSYS) => {
                "the kernel does not know FUSE iomap".to_owned()
            }
            Some(Errno::OPNOTSUPP) => "FUSE iomap is compiled out of the kernel".to_owned(),
            _ => format!("the kernel cannot be asked for FUSE iomap: {error}"),
        }),
    }
}

/// The kernel knows it and will not let us.
fn why_not_now() -> String {
    let has_rawio =
        capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_RAWIO));
    if !has_rawio {
        return "FUSE iomap needs CAP_SYS_RAWIO".to_owned();
    }
    match std::fs::read_to_string(PARAMETER) {
        Ok(value) if value.trim() != "Y" => {
            "FUSE iomap is turned off (/sys/module/fuse/parameters/enable_iomap)".to_owned()
        }
        _ => "the kernel offers FUSE iomap to others only".to_owned(),
    }
}

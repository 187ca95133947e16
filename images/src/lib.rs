//! Where blocks live.
//!
//! Everything above this crate sees a file system's bytes through one trait,
//! [`BlockDevice`]. What lies beneath — a regular file, a block device, a
//! partition of a disk image, memory — is chosen once, at opening, and checked
//! there; from then on every range is checked against the device's size before
//! it reaches the system.

mod device;
mod error;

pub use device::{BlockDevice, DeviceFile, Mapped, MappedBytes};
pub use error::{Error, Result};

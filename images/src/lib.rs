//! Where blocks live.
//!
//! Everything above this crate sees a file system's bytes through one trait,
//! [`BlockDevice`]. What lies beneath — a regular file, a block device, a
//! partition of a disk image, memory — is chosen once, at opening, and checked
//! there; from then on every range is checked against the device's size before
//! it reaches the system.

mod block;
mod descriptor;
mod device;
mod direct;
mod error;
mod faulty;
mod file;
mod gpt_table;
mod limits;
mod loop_device;
mod mbr_table;
mod memory;
mod metered;
mod open;
mod overlay;
mod partition;
mod power_cut;
mod recorder;
mod sys;
mod usage;
mod window;

pub use device::{BlockDevice, DeviceFile, Mapped, MappedBytes};
pub use error::{Error, Result};
pub use faulty::{Fault, Faulty, Operation};
pub use limits::{atomic_write_bytes, block_size, set_block_size};
pub use loop_device::{Attachment, LoopDevice};
pub use memory::Memory;
pub use metered::Metered;
pub use open::{OpenOptions, open};
pub use overlay::Overlay;
pub use partition::open_partition;
pub use power_cut::{Cut, Replay, Unflushed};
pub use recorder::{Event, Recorder};
pub use usage::{Usage, backing_file, usage};
pub use window::Window;

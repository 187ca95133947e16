//! Backing devices and their ids (section 2).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::device::SimDevice;

/// Highest id, and number of devices at most.
const IDS_MAX: u32 = 1024;

/// How a descriptor was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// `O_RDONLY`.
    Read,
    /// `O_WRONLY`.
    Write,
    /// `O_RDWR`.
    ReadWrite,
}

/// What a descriptor number of the server stands for.
#[derive(Debug, Clone)]
pub enum Descriptor {
    /// A block special file.
    Block(Arc<SimDevice>, Access),
    /// A block special file opened with `O_PATH`.
    PathOnly(Arc<SimDevice>),
    /// Anything else.
    Other,
}

/// A registered device.
#[derive(Debug, Clone)]
pub(crate) struct Backing {
    pub(crate) device: Arc<SimDevice>,
    pub(crate) access: Access,
}

/// The table of ids.
#[derive(Debug, Default)]
pub(crate) struct BackingTable {
    devices: BTreeMap<u32, Backing>,
    last: u32,
}

impl BackingTable {
    /// The next free id, cyclically. `None`: all are taken.
    pub(crate) fn insert(&mut self, backing: Backing) -> Option<u32> {
        let mut candidates = (self.last + 1..=IDS_MAX).chain(1..=self.last);
        let id = candidates.find(|id| !self.devices.contains_key(id))?;
        self.devices.insert(id, backing);
        self.last = id;
        Some(id)
    }

    pub(crate) fn get(&self, id: u32) -> Option<&Backing> {
        self.devices.get(&id)
    }

    /// Whether there was one.
    pub(crate) fn remove(&mut self, id: u32) -> bool {
        self.devices.remove(&id).is_some()
    }

    /// The first id with the device of `id`: what the kernel names it in END and IOEND.
    pub(crate) fn first_alike(&self, id: u32) -> u32 {
        let Some(wanted) = self.devices.get(&id) else {
            return id;
        };
        let mut all = self.devices.iter();
        let found = all.find(|(_, backing)| Arc::ptr_eq(&backing.device, &wanted.device));
        found.map_or(id, |(id, _)| *id)
    }
}

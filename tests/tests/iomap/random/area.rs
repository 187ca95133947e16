//! What one thread works on: a file, or its part of a file that others write to as well.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Result, bail, ensure};
use parking_lot::RwLock;
use simulated_kernel::OpenFile;

use super::possible::Possible;

/// Longest content in bytes.
pub(super) const SIZE_MAX: usize = 600 << 10;
/// Values the bytes of one area have, behind those of the areas before it.
pub(super) const VALUES: usize = 32;

/// A name, and what is there now.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) name: &'static str,
    node: AtomicU64,
    /// GETATTR does not meet a truncation here: a kernel that takes an older, larger size from
    /// its answer does not tell of a direct write below that at all, and no server can know.
    pub(super) cutting: RwLock<()>,
}

impl Slot {
    pub(super) fn new(name: &'static str, node: u64) -> Arc<Self> {
        Arc::new(Self {
            name,
            node: AtomicU64::new(node),
            cutting: RwLock::new(()),
        })
    }

    pub(super) fn node(&self) -> u64 {
        self.node.load(Ordering::Relaxed)
    }

    pub(super) fn set_node(&self, node: u64) {
        self.node.store(node, Ordering::Relaxed);
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Area {
    /// Says which values are its own.
    pub(super) number: usize,
    pub(super) slot: Arc<Slot>,
    pub(super) open: OpenFile,
    /// Where it begins in the file.
    pub(super) start: u64,
    /// It is all of the file, and can have another length.
    pub(super) is_whole: bool,
    pub(super) model: Vec<u8>,
    pub(super) possible: Possible,
}

impl Area {
    pub(super) fn node(&self) -> u64 {
        self.slot.node()
    }

    pub(super) fn len(&self) -> u64 {
        self.model.len() as u64
    }

    /// How long the area may become.
    pub(super) fn len_max(&self) -> u64 {
        match self.is_whole {
            true => SIZE_MAX as u64,
            false => self.len(),
        }
    }

    /// All is on the device.
    pub(super) fn is_synced(&mut self) {
        self.possible.is_certain(self.number, &self.model);
    }

    pub(super) fn announce(&mut self, change: &Change) {
        if let Some(size) = change.size {
            self.possible.may_have_size(size);
        }
        if let Some((range, byte)) = &change.fill {
            self.possible.may_hold(self.number, range.clone(), *byte);
        }
    }

    /// After a change that failed, maybe half way: `found` must lie between before and after,
    /// and is what is there.
    pub(super) fn settle(&mut self, change: &Change, found: Vec<u8>) -> Result<()> {
        let mut after = self.model.clone();
        change.apply(&mut after);
        let (short, long) = match self.model.len() < after.len() {
            true => (&self.model, &after),
            false => (&after, &self.model),
        };
        ensure!(
            (short.len()..=long.len()).contains(&found.len()),
            "a size of {} between {} and {}",
            found.len(),
            short.len(),
            long.len()
        );
        let content = |of: &[u8], at: usize| of.get(at).copied().unwrap_or(0);
        for (at, byte) in found.iter().enumerate() {
            let (old, new) = (content(&self.model, at), content(&after, at));
            ensure!(
                *byte == old || *byte == new,
                "at {at} {byte:#x} between {old:#x} and {new:#x}"
            );
        }
        self.model = found;
        Ok(())
    }
}

/// What an operation does to an area.
#[derive(Debug, Clone)]
pub(super) struct Change {
    /// The length afterwards.
    pub(super) size: Option<usize>,
    /// What lies where afterwards.
    pub(super) fill: Option<(Range<usize>, u8)>,
}

impl Change {
    pub(super) fn apply(&self, model: &mut Vec<u8>) {
        if let Some(size) = self.size {
            model.resize(size, 0);
        }
        if let Some((range, byte)) = &self.fill {
            let end = range.end.min(model.len());
            model[range.start.min(end)..end].fill(*byte);
        }
    }
}

/// An error unless both are the same.
pub(super) fn same(found: &[u8], expected: &[u8]) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    let at = found.iter().zip(expected).position(|(a, b)| a != b);
    let shown = |bytes: &[u8]| {
        at.and_then(|at| bytes.get(at..(at + 8).min(bytes.len())).map(<[u8]>::to_vec))
    };
    bail!(
        "{} bytes for {}, different from {at:?}: {:?} for {:?}",
        found.len(),
        expected.len(),
        shown(found),
        shown(expected)
    )
}

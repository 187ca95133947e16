//! Transactions on a small device that remembers what was written, judged by what a power
//! cut leaves of it.

mod faults;
mod group;
mod limits;
mod model;
mod threads;

use std::sync::Arc;

use images::{BlockDevice, Recorder, Unflushed};

use super::{Limits, Log, Transactions};
use crate::cache::BlockCache;
use crate::clock::Clock;
use crate::journal::tests::small;

pub(super) const SMALL: Limits = Limits {
    transaction_blocks: 12,
    unsettled_blocks: 9,
};

/// Transactions over `device`, which holds a [`small::image`].
pub(super) fn open(device: Arc<dyn BlockDevice>, limits: Limits) -> (Transactions, BlockCache) {
    let writer = small::writer(&device);
    let log = Log {
        writer,
        clock: Clock::System,
    };
    let cache = BlockCache::new(device, small::BLOCK_BYTES as u32, 0);
    (Transactions::new(Some(log), limits), cache)
}

/// What is found after a power cut now: the blocks before the log.
pub(super) fn after_cut(recorder: &Recorder, unflushed: Unflushed) -> Vec<u8> {
    let mut replay = recorder.replay();
    while replay.step() {}
    small::recovered(replay.after_power_cut(unflushed)).0
}

//! What happens beside an application: pages are written back and dropped, attributes asked
//! for, memory runs out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use simulated_kernel::{Errno, Kernel};
use system_tests::rng::Rng;

use super::area::Slot;

/// Errors upserts are refused with.
const REFUSALS: [Errno; 4] = [Errno::NOMEM, Errno::INVAL, Errno::IO, Errno::UCLEAN];

/// Goes on until it is told to stop.
pub(super) fn disturb(
    kernel: &Kernel,
    slots: &[Arc<Slot>],
    seed: u64,
    is_over: &AtomicBool,
) -> Result<()> {
    let mut rng = Rng::new(seed);
    while !is_over.load(Ordering::Relaxed) {
        let slot = &slots[rng.below(slots.len() as u64) as usize];
        let node = slot.node();
        let outcome = match rng.below(8) {
            0 => kernel.drop_pages(node),
            1..=3 => {
                let _no_truncation = slot.cutting.read();
                kernel.getattr(node).map(drop)
            }
            4 => {
                kernel.refuse_upsert(REFUSALS[rng.below(4) as usize]);
                Ok(())
            }
            _ => kernel.write_back(node),
        };
        if let Err(errno) = outcome {
            // It may be out of core for a moment.
            let is_absent = matches!(errno, Errno::STALE | Errno::NOENT);
            let is_over = is_over.load(Ordering::Relaxed);
            ensure!(is_absent || is_over, "disturbing {}: {errno}", slot.name);
        }
        std::thread::sleep(Duration::from_micros(rng.below(300)));
    }
    Ok(())
}

//! Multiple mount protection: a block that says who uses the volume, rewritten every few
//! seconds. Who wants to use it watches whether that goes on.
//!
//! The protocol is Linux's: watch for twice the interval unless the last user left cleanly,
//! write a number of one's own, watch again, and only then begin. Opening such a volume
//! takes 11 seconds at least.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, OnceLock, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use images::BlockDevice;
use parking_lot::{Condvar, Mutex};

use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::format::features::IncompatFeatures;
use crate::format::mmp::{
    CHECK_INTERVAL_SECONDS_MIN, MmpBlock, SEQUENCE_CLEAN, SEQUENCE_FSCK, SEQUENCE_MAX,
};
use crate::format::superblock::Superblock;
use crate::types::FsBlock;

/// The longest interval the format's users take.
const INTERVAL_SECONDS_MAX: u16 = 300;

/// Who is told when somebody else has taken the volume.
pub(super) trait Holder: Send + Sync {
    /// Nothing may be written any more. If somebody else has the volume now, not even the
    /// marks of an error.
    fn lost(&self, why: &str, is_taken: bool);
}

/// The block and how it is written.
#[derive(Debug)]
struct Place {
    device: Arc<dyn BlockDevice>,
    superblock: Superblock,
    block: FsBlock,
    clock: Clock,
}

impl Place {
    fn offset(&self) -> u64 {
        let block_bytes = u64::from(self.superblock.block_bytes);
        self.block.0.saturating_mul(block_bytes)
    }

    fn read(&self) -> Result<MmpBlock> {
        let mut bytes = [0; 1024];
        self.device.read_at(&mut bytes, self.offset())?;
        MmpBlock::parse(&self.superblock, self.block, &bytes)
    }

    fn write(&self, block: &mut MmpBlock) -> Result<()> {
        block.time_seconds = self.clock.now().seconds.max(0).cast_unsigned();
        self.device
            .write_at(&block.encode(&self.superblock), self.offset())?;
        self.device.flush()?;
        Ok(())
    }
}

/// What the thread and its owner share.
struct Signals {
    is_ending: Mutex<bool>,
    wake: Condvar,
    holder: OnceLock<Weak<dyn Holder>>,
    lost: OnceLock<String>,
}

/// The volume is ours while this lives.
pub(super) struct MmpHold {
    signals: Arc<Signals>,
    thread: Option<JoinHandle<MmpBlock>>,
    place: Arc<Place>,
}

impl std::fmt::Debug for MmpHold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MmpHold").finish_non_exhaustive()
    }
}

/// Takes the volume, if it has the feature.
///
/// # Errors
/// `Busy` with who uses it; `Corrupt` if the block is damaged.
pub(super) fn take(
    device: &Arc<dyn BlockDevice>,
    superblock: &Superblock,
    host: &str,
    clock: Clock,
) -> Result<Option<MmpHold>> {
    if !superblock.has_incompat(IncompatFeatures::MMP) {
        return Ok(None);
    }
    let block = FsBlock(superblock.mmp_block);
    if !superblock.contains(block) {
        let expected = format_args!("a block below {}", superblock.blocks_count);
        return Err(Error::corrupt("s_mmp_block", None, expected, block));
    }
    let place = Place {
        device: Arc::clone(device),
        superblock: superblock.clone(),
        block,
        clock,
    };
    let found = place.read()?;
    let interval = found
        .check_interval_seconds
        .max(superblock.mmp_interval)
        .clamp(CHECK_INTERVAL_SECONDS_MIN, INTERVAL_SECONDS_MAX);
    let watch = Duration::from_secs(u64::from((2 * interval + 1).min(interval + 60)));
    if found.sequence != SEQUENCE_CLEAN {
        if found.sequence == SEQUENCE_FSCK {
            return Err(ErrorKind::Busy("e2fsck works on it".to_owned()).into());
        }
        std::thread::sleep(watch);
        if place.read()?.sequence != found.sequence {
            return Err(busy(&found));
        }
    }
    let mut ours = MmpBlock {
        sequence: first_sequence(host),
        node: padded(host.as_bytes()),
        device: padded(b"extmap"),
        ..found
    };
    place.write(&mut ours)?;
    std::thread::sleep(watch);
    let now = place.read()?;
    if now.sequence != ours.sequence {
        return Err(busy(&now));
    }
    Ok(Some(MmpHold::start(place, ours)))
}

fn busy(block: &MmpBlock) -> Error {
    let text = |bytes: &[u8]| {
        let until_nul: Vec<u8> = bytes.iter().copied().take_while(|&b| b != 0).collect();
        until_nul.escape_ascii().to_string()
    };
    let (node, device) = (text(&block.node), text(&block.device));
    ErrorKind::Busy(format!(
        "by the machine \"{node}\", as its device \"{device}\""
    ))
    .into()
}

fn padded<const LEN: usize>(text: &[u8]) -> [u8; LEN] {
    let mut bytes = [0; LEN];
    let room = bytes.iter_mut().take(LEN.saturating_sub(1));
    room.zip(text).for_each(|(to, from)| *to = *from);
    bytes
}

/// A number that nobody else takes at the same time.
fn first_sequence(host: &str) -> u32 {
    let random = RandomState::new().hash_one(host) % u64::from(SEQUENCE_MAX);
    u32::try_from(random).unwrap_or(0) + 1
}

impl MmpHold {
    fn start(place: Place, ours: MmpBlock) -> Self {
        let place = Arc::new(place);
        let signals = Arc::new(Signals {
            is_ending: Mutex::new(false),
            wake: Condvar::new(),
            holder: OnceLock::new(),
            lost: OnceLock::new(),
        });
        let interval = place.superblock.mmp_interval.clamp(1, INTERVAL_SECONDS_MAX);
        let thread = {
            let (place, signals) = (Arc::clone(&place), Arc::clone(&signals));
            std::thread::Builder::new()
                .name("extmap-mmp".to_owned())
                .spawn(move || keep_up(&place, &signals, ours, interval))
        };
        let thread = thread
            .inspect_err(|error| {
                let why = format!("multiple mount protection cannot be kept up: {error}");
                let _ = signals.lost.set(why);
            })
            .ok();
        Self {
            signals,
            thread,
            place,
        }
    }

    /// Says who is told of a loss.
    ///
    /// # Errors
    /// `Stopped` if the volume has been lost already.
    pub(super) fn report_to(&self, holder: Weak<dyn Holder>) -> Result<()> {
        let _ = self.signals.holder.set(holder);
        match self.signals.lost.get() {
            None => Ok(()),
            Some(why) => Err(ErrorKind::Stopped(why.clone()).into()),
        }
    }

    fn end(&mut self) -> Option<MmpBlock> {
        *self.signals.is_ending.lock() = true;
        self.signals.wake.notify_all();
        self.thread.take().and_then(|thread| thread.join().ok())
    }

    /// Gives the volume up: the next who comes need not watch for the last user.
    pub(super) fn release(mut self) -> Result<()> {
        match self.end() {
            Some(mut ours) if self.signals.lost.get().is_none() => {
                check_ours(&self.place, &ours)?;
                ours.sequence = SEQUENCE_CLEAN;
                self.place.write(&mut ours)
            }
            _ => Ok(()),
        }
    }
}

impl Drop for MmpHold {
    fn drop(&mut self) {
        self.end();
    }
}

/// Rewrites the block until it is told to end, or finds that it is somebody else's.
fn keep_up(place: &Place, signals: &Signals, mut ours: MmpBlock, interval: u16) -> MmpBlock {
    let interval = Duration::from_secs(interval.into());
    let mut is_ending = signals.is_ending.lock();
    while !*is_ending {
        let timed_out = signals.wake.wait_for(&mut is_ending, interval).timed_out();
        if *is_ending || !timed_out {
            continue;
        }
        drop(is_ending);
        if let Err(error) = show_life(place, &mut ours) {
            let why = error.to_string();
            tracing::error!("multiple mount protection: {why}");
            let _ = signals.lost.set(why.clone());
            if let Some(holder) = signals.holder.get().and_then(Weak::upgrade) {
                holder.lost(&why, matches!(error.kind(), ErrorKind::Busy(_)));
            }
            return ours;
        }
        is_ending = signals.is_ending.lock();
    }
    ours
}

fn check_ours(place: &Place, ours: &MmpBlock) -> Result<()> {
    let found = place.read()?;
    if found.sequence != ours.sequence || found.node != ours.node {
        return Err(busy(&found));
    }
    Ok(())
}

fn show_life(place: &Place, ours: &mut MmpBlock) -> Result<()> {
    check_ours(place, ours)?;
    ours.sequence = if ours.sequence >= SEQUENCE_MAX {
        1
    } else {
        ours.sequence + 1
    };
    place.write(ours)
}

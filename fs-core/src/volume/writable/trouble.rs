//! What happens when damage is found, or writing fails.
//!
//! Damage is noted in the superblock's error fields, with the next commit, and then the
//! policy decides. A write that fails stops the transactions: nothing is written any more,
//! but for the mark that there was an error, in the superblock as it lies on the device and
//! in the journal's.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use images::BlockDevice;

use super::{Shared, WritableVolume};
use crate::change::Writer;
use crate::error::{Error, ErrorKind, Result};
use crate::format::superblock::{PRIMARY_OFFSET_BYTES, RawSuperblock, SIZE_BYTES};
use crate::types::Timestamp;

/// `s_state`: errors were found.
pub(super) const STATE_ERRORS: u16 = 0x2;
/// `s_*_error_errcode` of ext4: an I/O error, and a damaged structure.
const CODE_IO: u8 = 2;
const CODE_CORRUPTED: u8 = 5;

/// What happens when damage is found in the volume (mount(8)'s `errors=`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorsPolicy {
    /// Note it in the superblock and go on.
    Continue,
    /// Note it, commit what is there, and refuse all later changes.
    ReadOnly,
    /// Stop at once: nothing more is written, what is not durable is lost (`panic`).
    Stop,
}

impl ErrorsPolicy {
    /// The policy with this number in `s_errors`; numbers the format does not define mean
    /// the first.
    pub(super) fn from_superblock(s_errors: u16) -> Self {
        match s_errors {
            2 => Self::ReadOnly,
            3 => Self::Stop,
            _ => Self::Continue,
        }
    }
}

/// The state of a volume that has seen trouble, or not.
#[derive(Debug)]
pub(super) struct Trouble {
    policy: ErrorsPolicy,
    is_read_only: AtomicBool,
    /// The damage for which changes are refused.
    damage: OnceLock<String>,
    stop_is_recorded: AtomicBool,
}

impl Trouble {
    pub(super) fn new(policy: ErrorsPolicy) -> Self {
        Self {
            policy,
            is_read_only: AtomicBool::new(false),
            damage: OnceLock::new(),
            stop_is_recorded: AtomicBool::new(false),
        }
    }

    /// Has the device left as it is when writing stops: it is somebody else's.
    pub(super) fn leave_unmarked(&self) {
        self.stop_is_recorded.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    /// True if changes are refused: damage was found and the policy is to stop then, or a
    /// write has failed.
    fn is_read_only(&self) -> bool {
        self.trouble.is_read_only.load(Ordering::Relaxed)
            || self.writer.transactions.check_alive().is_err()
    }

    /// Looks at a result on its way out. No change is open here.
    pub(super) fn noted<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result {
            if error.is_corruption() {
                self.note_damage(error);
            }
            self.note_stop();
        }
        result
    }

    fn note_damage(&self, error: &Error) {
        // Whoever called gets the error, and may say it as often as they like: a damaged image
        // can make every look fail.
        tracing::debug!("{error}");
        if self.is_read_only() {
            return;
        }
        let now = self.writer.clock.now();
        let recorded = self.writer.begin(1).map(|mut change| {
            let superblock = &self.writer.superblock;
            superblock.edit(&mut change.handle, |raw| record(raw, error, now));
            change.finish();
        });
        if recorded.is_err() {
            return;
        }
        match self.trouble.policy {
            ErrorsPolicy::Continue => {}
            ErrorsPolicy::ReadOnly => {
                if !self.trouble.is_read_only.swap(true, Ordering::Relaxed) {
                    let _ = self.trouble.damage.set(error.to_string());
                    tracing::error!("the file system is read-only from now on");
                    let _ = self.writer.sync();
                }
            }
            ErrorsPolicy::Stop => {
                self.writer.transactions.stop(error);
                self.record_stop(error);
            }
        }
    }

    /// Marks the volume on the device as one with errors, once, if writing has stopped.
    pub(super) fn note_stop(&self) {
        let Err(error) = self.writer.transactions.check_alive() else {
            return;
        };
        self.record_stop(&error);
    }

    /// `error` is what writing has stopped for.
    fn record_stop(&self, error: &Error) {
        if self.trouble.stop_is_recorded.swap(true, Ordering::Relaxed) {
            return;
        }
        tracing::error!("writing has stopped: {error}");
        self.writer.transactions.record_stop();
        if let Err(failed) = mark_on_device(&self.writer, error) {
            tracing::error!("the failure could not be noted in the superblock: {failed}");
        }
    }
}

impl WritableVolume {
    /// True if changes are refused because of damage or a failed write.
    pub fn is_read_only(&self) -> bool {
        self.shared.is_read_only()
    }

    /// Stops writing at once and for good, as a failed commit does, but without a mark on the
    /// device: what is not durable is lost, every later change fails, closing writes nothing.
    /// Reading goes on.
    pub fn shut_down(&self) {
        self.shared.trouble.leave_unmarked();
        self.writer().transactions.stop("it was shut down");
        // Its signs of life end as well; it is not given back.
        drop(self.mmp.lock().take());
    }

    /// Why that is so.
    pub(super) fn why_read_only(&self) -> Option<String> {
        if let Err(stopped) = self.writer().transactions.check_alive() {
            return Some(stopped.to_string());
        }
        self.shared.trouble.damage.get().cloned()
    }

    pub(super) fn noted<T>(&self, result: Result<T>) -> Result<T> {
        self.shared.noted(result)
    }

    /// Runs something that changes the volume; once more if there was no space but a commit
    /// gives some back.
    pub(super) fn changing<T>(&self, act: impl Fn() -> Result<T>) -> Result<T> {
        self.changing_in_steps(|| {
            let durable = self.writer().transactions.committed();
            let result = act();
            let is_full = result
                .as_ref()
                .is_err_and(|error| *error.kind() == ErrorKind::NoSpace);
            if is_full && self.writer().space.waits_for_commit() {
                return self.writer().commit_pending().and_then(|()| act());
            }
            if is_full && self.writer().transactions.committed() != durable {
                // A commit has given something back meanwhile.
                return act();
            }
            result
        })
    }

    /// The same for what takes several changes, some of which may be done when it fails: it
    /// must not begin again, and tries each step twice itself.
    pub(super) fn changing_in_steps<T>(&self, act: impl FnOnce() -> Result<T>) -> Result<T> {
        if self.shared.trouble.is_read_only.load(Ordering::Relaxed) {
            return Err(ErrorKind::ReadOnly.into());
        }
        self.check_unfinished()?;
        let result = act();
        self.background.changed();
        self.noted(result)
    }
}

/// Sets the error fields of a superblock.
fn record(raw: &mut RawSuperblock, error: &Error, now: Timestamp) {
    let block = match error.kind() {
        ErrorKind::Corrupt(corruption) => corruption.block.map_or(0, |block| block.0),
        _ => 0,
    };
    let code = if error.is_corruption() {
        CODE_CORRUPTED
    } else {
        CODE_IO
    };
    let seconds = now.seconds.max(0).cast_unsigned();
    let low = u32::try_from(seconds & 0xFFFF_FFFF).unwrap_or(0);
    let high = u8::try_from(seconds >> 32 & 0xFF).unwrap_or(0);
    let mut function = [0; 32];
    function
        .iter_mut()
        .zip(b"extmap")
        .for_each(|(to, from)| *to = *from);
    raw.s_state = (raw.s_state.get() | STATE_ERRORS).into();
    if raw.s_first_error_time.get() == 0 && raw.s_first_error_time_hi == 0 {
        raw.s_first_error_time = low.into();
        raw.s_first_error_time_hi = high;
        raw.s_first_error_ino = 0.into();
        raw.s_first_error_block = block.into();
        raw.s_first_error_func = function;
        raw.s_first_error_line = 0.into();
        raw.s_first_error_errcode = code;
    }
    raw.s_last_error_time = low.into();
    raw.s_last_error_time_hi = high;
    raw.s_last_error_ino = 0.into();
    raw.s_last_error_block = block.into();
    raw.s_last_error_func = function;
    raw.s_last_error_line = 0.into();
    raw.s_last_error_errcode = code;
    raw.s_error_count = raw.s_error_count.get().saturating_add(1).into();
}

/// Sets the error fields of the superblock as it lies on the device, and nothing else.
fn mark_on_device(writer: &Writer, error: &Error) -> Result<()> {
    let device: &dyn BlockDevice = writer.store.cache.device().as_ref();
    let mut bytes = [0; SIZE_BYTES];
    device.read_at(&mut bytes, PRIMARY_OFFSET_BYTES)?;
    let Some(mut raw) = RawSuperblock::from_prefix(&bytes) else {
        return Ok(());
    };
    record(&mut raw, error, writer.clock.now());
    raw.seal_checksum();
    device.write_at(raw.bytes(), PRIMARY_OFFSET_BYTES)?;
    device.flush()?;
    Ok(())
}

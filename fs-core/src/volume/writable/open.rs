//! Opening for writing, and closing.
//!
//! What opening writes, in this order, each durable before the next: the sign of multiple
//! mount protection; the blocks of a journal that was not emptied, in their places; the
//! superblock's mark that the journal must be looked at; the journal's superblock. Then
//! orphans are finished, as ordinary changes. Closing goes the same way back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use images::BlockDevice;
use parking_lot::Mutex;

use super::trouble::{STATE_ERRORS, Trouble};
use super::upkeep::Background;
use super::{ErrorsPolicy, Shared, WritableVolume, WriteOptions, delete, retained};
use crate::change::Writer;
use crate::error::{Error, ErrorKind, Result};
use crate::file;
use crate::format::features::CompatFeatures;
use crate::format::superblock::RawSuperblock;
use crate::inode_locks::InodeLocks;
use crate::orphans;

use crate::volume::mmp::Holder;
use crate::volume::writing::{self, Opened};

/// `s_state`: unmounted cleanly.
const STATE_VALID: u16 = 0x1;

impl WritableVolume {
    /// Opens the file system on `device` for reading and writing. A journal that was not
    /// emptied is replayed onto the device, and orphans are finished.
    ///
    /// # Errors
    /// `Unsupported` by the name of a feature that this program reads but does not write,
    /// `Busy` if multiple mount protection says that somebody else uses it, `ReadOnly` if
    /// the device cannot be written, and those of [`Volume::open`](crate::Volume::open).
    pub fn open(device: Arc<dyn BlockDevice>, options: &WriteOptions) -> Result<Self> {
        if device.is_read_only() {
            return Err(ErrorKind::ReadOnly.into());
        }
        let Opened {
            writer,
            report,
            mmp,
        } = writing::open(device, options)?;
        let policy = options.errors.unwrap_or_else(|| {
            ErrorsPolicy::from_superblock(writer.store.superblock.errors_behavior)
        });
        let shared = Arc::new(Shared {
            writer,
            locks: InodeLocks::new(),
            moves: parking_lot::Mutex::new(()),
            retained: retained::Retained::default(),
            trouble: Trouble::new(policy),
            report,
        });
        let holder: Weak<dyn Holder> = Arc::<Shared>::downgrade(&shared);
        let begun = mmp.as_ref().map_or(Ok(()), |mmp| mmp.report_to(holder));
        let begun = begun.and_then(|()| shared.noted(begin_use(&shared.writer, options)));
        if let Err(error) = begun {
            writing::give_up(mmp);
            return Err(error);
        }
        finish_orphans(&shared.writer);
        let background = Background::start(&shared, options);
        Ok(Self {
            shared,
            background,
            mmp: Mutex::new(mmp),
            is_finished: AtomicBool::new(false),
        })
    }

    /// Makes everything durable, finishes what is retained without a name, and marks the
    /// volume as cleanly unmounted.
    ///
    /// # Errors
    /// The device's, and `Stopped` if writing failed before: then the journal has to be
    /// replayed, which whoever opens the volume next does.
    pub fn close(self) -> Result<()> {
        self.finish()
    }

    /// [`close`](Self::close) for who shares the volume with others: what they are changing
    /// meanwhile is done or fails, and later changes fail. Reading goes on.
    ///
    /// # Errors
    /// As [`close`](Self::close). Nothing happens if the volume is finished already.
    pub fn finish(&self) -> Result<()> {
        if self.is_finished.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        self.background.stop();
        let shared = &self.shared;
        // One that cannot be ended stays an orphan; what else was changed is kept all the same.
        let mut outcome = Ok(());
        for inode in shared.retained.all() {
            let found = shared.writer.store.inode(inode);
            if found.is_ok_and(|found| found.links() == 0) {
                let ended = shared.noted(delete::delete(&shared.writer, inode));
                outcome = outcome.and(ended);
            }
        }
        shared.noted(end_use(&shared.writer))?;
        if let Some(mmp) = self.mmp.lock().take() {
            mmp.release()?;
        }
        outcome
    }

    /// Asked before something is changed or made durable.
    ///
    /// # Errors
    /// `Closed` once the volume is being finished.
    pub(super) fn check_unfinished(&self) -> Result<()> {
        if self.is_finished.load(Ordering::Acquire) {
            return Err(ErrorKind::Closed.into());
        }
        Ok(())
    }
}

impl Holder for Shared {
    fn lost(&self, why: &str, is_taken: bool) {
        if is_taken {
            self.trouble.leave_unmarked();
        }
        self.writer.transactions.stop(why);
        self.note_stop();
    }
}

impl Drop for WritableVolume {
    fn drop(&mut self) {
        if let Err(error) = self.finish() {
            tracing::error!("the volume could not be closed cleanly: {error}");
        }
    }
}

/// Brings the superblock's account of its use up to date. Without a journal the volume is
/// marked as in use, so that a crash is known; with one the journal's mark does that.
fn begin_use(writer: &Writer, options: &WriteOptions) -> Result<()> {
    let superblock = &writer.store.superblock;
    let has_journal = superblock.has_compat(CompatFeatures::HAS_JOURNAL);
    let has_orphan_file = superblock.has_compat(CompatFeatures::ORPHAN_FILE);
    if superblock.state & STATE_ERRORS != 0 {
        tracing::warn!("the file system has errors noted; e2fsck mends them");
    }
    let now = writer.clock.now();
    let mut change = writer.begin(1)?;
    writer.superblock.edit(&mut change.handle, |raw| {
        raw.s_mnt_count = raw.s_mnt_count.get().saturating_add(1).into();
        set_mounted(raw, now, options.mounted_on.as_deref());
        if !has_journal {
            raw.s_state = (raw.s_state.get() & !STATE_VALID).into();
        }
        if has_orphan_file {
            orphans::mark_present(raw, true);
        }
    });
    change.finish();
    if has_journal {
        return Ok(());
    }
    // What is written next may be what a crash interrupts.
    writer.sync()
}

fn set_mounted(raw: &mut RawSuperblock, now: crate::Timestamp, place: Option<&[u8]>) {
    let seconds = now.seconds.max(0).cast_unsigned();
    raw.s_mtime = u32::try_from(seconds & 0xFFFF_FFFF).unwrap_or(0).into();
    raw.s_mtime_hi = u8::try_from(seconds >> 32 & 0xFF).unwrap_or(0);
    if let Some(place) = place {
        // A NUL stays at the end.
        let kept = place.iter().take(raw.s_last_mounted.len() - 1);
        let mut name = [0; 64];
        name.iter_mut().zip(kept).for_each(|(to, from)| *to = *from);
        raw.s_last_mounted = name;
    }
}

fn end_use(writer: &Writer) -> Result<()> {
    let was_valid = writer.store.superblock.state & STATE_VALID != 0;
    let has_orphans = !writer.orphans.all().is_empty();
    let mut change = writer.begin(1)?;
    writer.superblock.edit(&mut change.handle, |raw| {
        if was_valid {
            raw.s_state = (raw.s_state.get() | STATE_VALID).into();
        }
        if !has_orphans {
            orphans::mark_present(raw, false);
        }
    });
    change.finish();
    // Who began to change something before goes no further.
    writer.transactions.end();
    writing::close(writer)
}

/// Ends or cuts what a crash left half done. What cannot be finished stays an orphan, for
/// the next time or e2fsck.
fn finish_orphans(writer: &Writer) {
    for number in writer.orphans.all() {
        if let Err(error) = finish_orphan(writer, number) {
            tracing::warn!("orphan {number} cannot be finished: {error}");
        }
    }
}

fn finish_orphan(writer: &Writer, number: crate::InodeNumber) -> Result<()> {
    if number == crate::InodeNumber::ROOT || writer.store.superblock.is_own_inode(number) {
        let expected = "inodes of files and directories";
        return Err(Error::corrupt("orphans", None, expected, number));
    }
    let inode = match writer.store.inode(number) {
        Ok(inode) => inode,
        Err(error) if matches!(error.kind(), ErrorKind::Stale) => return forget(writer, number),
        Err(error) => return Err(error),
    };
    if inode.links() == 0 {
        return delete::delete(writer, number);
    }
    file::truncate_to_size(writer, number)?;
    forget(writer, number)
}

fn forget(writer: &Writer, number: crate::InodeNumber) -> Result<()> {
    let mut change = writer.begin(8)?;
    change.remove_orphan(number)?;
    change.finish();
    Ok(())
}

//! A workload on a device that remembers every write: what was asked when, and what the
//! volume showed after each operation.

use std::ops::RangeInclusive;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use fs_core::{Clock, InodeNumber, Timestamp, WritableVolume, WriteOptions};
use images::{BlockDevice, Event, Recorder};

use super::tree::Tree;
use crate::write::operation::{Operation, Path, Target};

/// How volumes are opened here: commits come only when asked for, so that runs repeat.
pub fn options(seconds: i64) -> WriteOptions {
    WriteOptions {
        cache_bytes: 8 << 20,
        clock: Clock::Fixed(Timestamp { seconds, nanos: 1 }),
        commit_interval_ms: 0,
        ..WriteOptions::default()
    }
}

/// When workloads happen, in seconds.
pub const WORK_SECONDS: i64 = 1_800_000_000;
/// When volumes are opened again after a crash.
pub const RECOVERY_SECONDS: i64 = 1_900_000_000;

/// When an operation was, in events of the recorder.
#[derive(Debug, Clone, Copy)]
struct Mark {
    begin: usize,
    end: usize,
    /// All before it is durable when it ends.
    is_durable: bool,
}

/// A workload that has run.
#[derive(Debug)]
pub struct Recording {
    /// The device.
    pub recorder: Arc<Recorder>,
    /// What was done, `Sync` at the end for closing.
    pub operations: Vec<Operation>,
    /// `states[k]`: what the volume showed after `k` operations.
    pub states: Vec<Tree>,
    marks: Vec<Mark>,
}

impl Recording {
    /// Runs operations on an image that has been closed cleanly, and closes it again.
    /// Operations that fail with what a user can cause change nothing and are kept.
    ///
    /// # Errors
    /// Failures that are none of the user's.
    pub fn new(image: &[u8], options: &WriteOptions, operations: &[Operation]) -> Result<Self> {
        let recorder = Arc::new(Recorder::new(image.to_vec()));
        let device: Arc<dyn BlockDevice> = recorder.clone();
        let volume = WritableVolume::open(device, options).context("opening")?;
        let mut states = vec![Tree::of(&volume)?];
        let mut marks = Vec::new();
        let mut holds = Holds::default();
        for operation in operations {
            let begin = recorder.events();
            let outcome = holds.apply(&volume, operation);
            let is_durable =
                matches!(operation, Operation::Sync | Operation::Fsync { .. }) && outcome.is_ok();
            check_outcome(operation, outcome)?;
            marks.push(Mark {
                begin,
                end: recorder.events(),
                is_durable,
            });
            let state = match operation {
                Operation::Sync | Operation::Fsync { .. } => states.last().cloned(),
                _ => None,
            };
            states.push(match state {
                Some(same) => same,
                None => Tree::of(&volume).with_context(|| format!("after {operation:?}"))?,
            });
        }
        let begin = recorder.events();
        volume.close().context("closing")?;
        marks.push(Mark {
            begin,
            end: recorder.events(),
            is_durable: true,
        });
        states.extend(states.last().cloned());
        let mut operations = operations.to_vec();
        operations.push(Operation::Sync);
        Ok(Self {
            recorder,
            operations,
            states,
            marks,
        })
    }

    /// Which states a power cut after this many events may show.
    pub fn allowed(&self, events: usize) -> RangeInclusive<usize> {
        let durable = self
            .marks
            .iter()
            .rposition(|mark| mark.is_durable && mark.end <= events);
        let begun = self.marks.partition_point(|mark| mark.begin < events);
        let first = durable.map_or(0, |at| at + 1);
        first..=begun.max(first)
    }
}

impl Recording {
    /// The image after this many operations, all written kept, and the state it shows.
    ///
    /// # Errors
    /// If the last of them was no sync.
    pub fn cut_after(&self, operations: usize) -> Result<(Vec<u8>, usize)> {
        let mark = operations.checked_sub(1).and_then(|at| self.marks.get(at));
        let mark = mark.filter(|mark| mark.is_durable).context("no sync")?;
        let mut walk = self.recorder.replay();
        for _ in 0..mark.end {
            walk.step();
        }
        Ok((walk.after_power_cut(images::Unflushed::Kept), operations))
    }

    /// Where the log's superblock is written: when it has been emptied.
    pub fn log_restarts(&self, log_superblock: u64) -> Vec<usize> {
        let events = self.recorder.log();
        let is_restart = |event: &Event| matches!(event, Event::Write { offset, .. } if *offset == log_superblock);
        let numbered = events.iter().enumerate();
        numbered
            .filter(|(_, event)| is_restart(event))
            .map(|(number, _)| number)
            .collect()
    }
}

/// Inodes held open.
#[derive(Debug, Default)]
pub struct Holds(Vec<InodeNumber>);

/// What can come of an operation besides success.
fn check_outcome(operation: &Operation, outcome: fs_core::Result<()>) -> Result<()> {
    use fs_core::ErrorKind;
    match outcome {
        Ok(()) => Ok(()),
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::Device
                    | ErrorKind::Corrupt(_)
                    | ErrorKind::Stopped(_)
                    | ErrorKind::ReadOnly
                    | ErrorKind::Unsupported(_)
            ) =>
        {
            Err(error).with_context(|| format!("{operation:?}"))
        }
        Err(_) => Ok(()),
    }
}

impl Holds {
    fn inode(&self, volume: &WritableVolume, target: &Target) -> fs_core::Result<InodeNumber> {
        match target {
            Target::Path(path) => find(volume, &path.0),
            Target::Held(at) => Ok(self.0[at % self.0.len()]),
        }
    }

    /// Applies an operation.
    ///
    /// # Errors
    /// The volume's.
    pub fn apply(&mut self, volume: &WritableVolume, operation: &Operation) -> fs_core::Result<()> {
        match operation {
            Operation::Create { .. }
            | Operation::Link { .. }
            | Operation::Unlink { .. }
            | Operation::Rmdir { .. }
            | Operation::Rename { .. } => self.apply_to_names(volume, operation),
            Operation::Write { .. }
            | Operation::Truncate { .. }
            | Operation::Allocate { .. }
            | Operation::SwapExtents { .. } => self.apply_to_content(volume, operation),
            Operation::CreateUnnamed { parent, new } => {
                let parent = find(volume, &parent.0)?;
                self.0.push(volume.create_unnamed(parent, new)?.number());
                Ok(())
            }
            Operation::Retain { target } => {
                let inode = self.inode(volume, target)?;
                volume.retain(inode)?;
                self.0.push(inode);
                Ok(())
            }
            Operation::Release { held } => {
                let at = held % self.0.len();
                volume.release(self.0.remove(at))
            }
            Operation::Sync => volume.sync(),
            Operation::Checkpoint => volume.checkpoint(),
            Operation::Fsync { target } => volume.fsync(self.inode(volume, target)?),
            Operation::SetAttributes { target, changes } => {
                let inode = self.inode(volume, target)?;
                volume.set_attributes(inode, changes).map(|_| ())
            }
            Operation::SetFlags { target, flags } => {
                volume.set_flags(self.inode(volume, target)?, *flags)
            }
            Operation::SetGeneration { target, generation } => {
                volume.set_generation(self.inode(volume, target)?, *generation)
            }
            Operation::SetXattr {
                target,
                name,
                value,
                mode,
            } => volume.set_xattr(self.inode(volume, target)?, name, &value.bytes(), *mode),
            Operation::RemoveXattr { target, name } => {
                volume.remove_xattr(self.inode(volume, target)?, name)
            }
            Operation::Reopen { .. } => Ok(()),
        }
    }

    fn apply_to_names(
        &self,
        volume: &WritableVolume,
        operation: &Operation,
    ) -> fs_core::Result<()> {
        match operation {
            Operation::Create { at, new } => {
                let (parent, name) = parent(volume, at)?;
                volume.create(parent, name, new).map(|_| ())
            }
            Operation::Link { from, at } => {
                let from = self.inode(volume, from)?;
                let (parent, name) = parent(volume, at)?;
                volume.link(from, parent, name)
            }
            Operation::Unlink { at } => {
                let (parent, name) = parent(volume, at)?;
                volume.unlink(parent, name)
            }
            Operation::Rmdir { at } => {
                let (parent, name) = parent(volume, at)?;
                volume.rmdir(parent, name)
            }
            Operation::Rename { from, to, mode } => {
                let (old, old_name) = parent(volume, from)?;
                let (new, new_name) = parent(volume, to)?;
                volume.rename(old, old_name, new, new_name, *mode)
            }
            _ => Ok(()),
        }
    }

    fn apply_to_content(
        &self,
        volume: &WritableVolume,
        operation: &Operation,
    ) -> fs_core::Result<()> {
        match operation {
            Operation::Write {
                file,
                data,
                offset,
                context,
            } => {
                let inode = self.inode(volume, file)?;
                let written = volume.write_as(inode, &data.bytes(), *offset, *context)?;
                assert!(written > 0 || data.len == 0);
                Ok(())
            }
            Operation::Truncate {
                file,
                size,
                context,
            } => volume.truncate_as(self.inode(volume, file)?, *size, *context),
            Operation::Allocate {
                file,
                how,
                offset,
                len,
                context,
            } => {
                let inode = self.inode(volume, file)?;
                volume.allocate(inode, *how, *offset, *len, *context)
            }
            Operation::SwapExtents {
                a,
                a_offset,
                b,
                b_offset,
                len,
            } => {
                let (a, b) = (self.inode(volume, a)?, self.inode(volume, b)?);
                volume.swap_extents(a, *a_offset, b, *b_offset, *len)
            }
            _ => Ok(()),
        }
    }
}

fn find(volume: &WritableVolume, names: &[Vec<u8>]) -> fs_core::Result<InodeNumber> {
    let mut at = InodeNumber::ROOT;
    for name in names {
        at = volume.child(at, name)?.number();
    }
    Ok(at)
}

fn parent<'p>(volume: &WritableVolume, path: &'p Path) -> fs_core::Result<(InodeNumber, &'p [u8])> {
    let Some((parent, name)) = path.split() else {
        return Err(fs_core::ErrorKind::InvalidInput("the root has no name").into());
    };
    Ok((find(volume, parent)?, name))
}

/// Fails for a workload of which nothing was done: a test that tests nothing.
///
/// # Errors
/// If all states are the same.
pub fn ensure_changes(recording: &Recording) -> Result<()> {
    if recording.states.windows(2).all(|pair| pair[0] == pair[1]) {
        bail!("nothing changed: {:?}", recording.operations);
    }
    Ok(())
}

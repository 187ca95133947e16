//! An operation applied to a volume and to its model, and the outcomes compared.

use super::load;
use super::model::{Model, Outcome, Traits};
use super::operation::{Data, Operation, Path, Target};
use super::tree::{Differences, Kind, NodeId};
use anyhow::{Context, Result, anyhow, bail, ensure};
use fs_core::{
    Allocation, Clock, Error, InodeNumber, StatFs, Timestamp, USER_MODIFIABLE_FLAGS,
    WritableVolume, WriteOptions,
};
use images::BlockDevice;
use rustix::io::Errno;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

/// When tests take place; the nanoseconds tell inodes that keep them from others.
pub const START: Timestamp = Timestamp {
    seconds: 1_700_000_000,
    nanos: 123_456_789,
};

/// What happened, by operation and result.
#[derive(Debug, Clone, Default)]
pub struct Counts(pub BTreeMap<(String, String), u64>);

impl Counts {
    fn note(&mut self, operation: &Operation, result: &fs_core::Result<Seen>) {
        let text = format!("{operation:?}");
        let name = text.split([' ', '(']).next().unwrap_or_default().to_owned();
        let result = match result {
            Ok(_) => "ok".to_owned(),
            Err(error) => errno_name(error.errno()),
        };
        *self.0.entry((name, result)).or_insert(0) += 1;
    }

    /// Adds another's.
    pub fn add(&mut self, other: &Self) {
        for (key, count) in &other.0 {
            *self.0.entry(key.clone()).or_insert(0) += count;
        }
    }

    /// How many operations there were.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// How often a result came, of all operations.
    pub fn of(&self, result: &str) -> u64 {
        let found = self.0.iter().filter(|((_, found), _)| found == result);
        found.map(|(_, count)| count).sum()
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = "";
        for ((name, result), count) in &self.0 {
            if last != name {
                write!(f, "\n  {name}:")?;
            }
            last = name;
            write!(f, " {result} {count}")?;
        }
        Ok(())
    }
}

fn errno_name(errno: Errno) -> String {
    let name = match errno {
        Errno::PERM => "EPERM",
        Errno::NOENT => "ENOENT",
        Errno::EXIST => "EEXIST",
        Errno::NOTDIR => "ENOTDIR",
        Errno::ISDIR => "EISDIR",
        Errno::INVAL => "EINVAL",
        Errno::FBIG => "EFBIG",
        Errno::NOSPC => "ENOSPC",
        Errno::MLINK => "EMLINK",
        Errno::NAMETOOLONG => "ENAMETOOLONG",
        Errno::NOTEMPTY => "ENOTEMPTY",
        Errno::NODATA => "ENODATA",
        Errno::OPNOTSUPP => "EOPNOTSUPP",
        other => return format!("errno {}", other.raw_os_error()),
    };
    name.to_owned()
}

/// What a volume did.
#[derive(Debug, Clone, Copy)]
enum Seen {
    Done,
    Made(InodeNumber),
    Written(usize),
}

/// A volume and its model.
#[derive(Debug)]
pub struct Run {
    /// What should be.
    pub model: Model,
    /// What is; none between closing and opening.
    volume: Option<WritableVolume>,
    device: Arc<dyn BlockDevice>,
    options: WriteOptions,
    numbers: HashMap<NodeId, InodeNumber>,
    held: Vec<InodeNumber>,
    /// What has happened.
    pub counts: Counts,
}

impl Run {
    /// Opens a volume; what is on it is the model's beginning.
    pub fn open(device: Arc<dyn BlockDevice>, options: &WriteOptions) -> Result<Self> {
        let now = match options.clock {
            Clock::Fixed(now) => now,
            Clock::System => START,
        };
        let options = WriteOptions {
            clock: Clock::Fixed(now),
            ..options.clone()
        };
        let volume = WritableVolume::open(Arc::clone(&device), &options)?;
        let tree = load::tree(&volume)?;
        let traits = Traits::of(volume.superblock());
        let number = |id: &NodeId| Some((*id, InodeNumber(u32::try_from(id.0).ok()?)));
        Ok(Self {
            numbers: tree.nodes.keys().filter_map(number).collect(),
            model: Model::new(traits, tree, now),
            volume: Some(volume),
            device,
            options,
            held: Vec::new(),
            counts: Counts::default(),
        })
    }

    /// The open volume.
    pub fn volume(&self) -> Result<&WritableVolume> {
        self.volume.as_ref().context("the volume is closed")
    }

    /// The inode of the volume that is one of the model's.
    pub fn number(&self, id: NodeId) -> Option<InodeNumber> {
        self.numbers.get(&id).copied()
    }

    /// Does one operation on both.
    ///
    /// # Errors
    /// If the volume did what the model did not predict. That space runs out is predicted
    /// by nobody: it must have become short, and what is left must be as before.
    pub fn step(&mut self, operation: &Operation) -> Result<()> {
        self.try_step(operation)
            .with_context(|| format!("{operation:?}"))
    }

    fn try_step(&mut self, operation: &Operation) -> Result<()> {
        if let Operation::Reopen { .. } = operation {
            self.compare().context("before closing")?;
            self.close()?;
            self.model
                .apply(operation)
                .map_err(|errno| anyhow!(errno))?;
            return self.reopen();
        }
        let before = self.volume()?.statfs();
        let seen = self.perform(operation);
        self.counts.note(operation, &seen);
        match seen {
            Err(error) if error.errno() == Errno::NOSPC => {
                self.judge_no_space(operation, &error, &before)
            }
            Ok(Seen::Written(len)) => self.judge_write(operation, len, &before),
            seen => self.judge_outcome(operation, seen, &before),
        }
    }

    fn judge_outcome(
        &mut self,
        operation: &Operation,
        seen: fs_core::Result<Seen>,
        before: &StatFs,
    ) -> Result<()> {
        if let Err(error) = &seen
            && self.may_be_refused(operation, error)
        {
            return Ok(());
        }
        match (self.model.apply(operation), seen) {
            (Ok(Outcome::Made(id)), Ok(Seen::Made(number))) => {
                self.numbers.insert(id, number);
                if let Operation::CreateUnnamed { .. } = operation {
                    self.held.push(number);
                }
                Ok(())
            }
            (Ok(_), Ok(_)) => Ok(()),
            (Err(predicted), Err(error)) if error.errno() == predicted => {
                let after = self.volume()?.statfs();
                ensure!(
                    after == *before,
                    "free space changed: {before:?}, {after:?}"
                );
                Ok(())
            }
            (Ok(_), Err(error)) => bail!("should succeed, but: {error}"),
            (Err(predicted), Ok(seen)) => bail!("should fail: {predicted}, but: {seen:?}"),
            (Err(predicted), Err(error)) => {
                bail!("should fail otherwise: {predicted}, but: {error}")
            }
        }
    }

    fn judge_write(&mut self, operation: &Operation, len: usize, before: &StatFs) -> Result<()> {
        let Operation::Write {
            file,
            data,
            offset,
            context,
        } = operation
        else {
            bail!("written by something else");
        };
        let mut whole = self.model.clone();
        let predicted = whole.apply(operation);
        match predicted {
            Ok(Outcome::Written(wanted)) if wanted == len => self.model = whole,
            Ok(Outcome::Written(wanted)) if len > 0 && len < wanted => {
                self.check_is_short(operation, before)?;
                self.model
                    .write_bytes(file, &data.bytes()[..len], *offset, *context)
                    .map_err(|errno| anyhow!(errno))?;
            }
            predicted => bail!("{len} bytes were written, predicted: {predicted:?}"),
        }
        Ok(())
    }

    /// Whether an operation may fail that the model would let succeed: which small files
    /// lie in their inodes is the volume's business.
    fn may_be_refused(&self, operation: &Operation, error: &Error) -> bool {
        self.model.traits.has_inline_data
            && error.errno() == Errno::OPNOTSUPP
            && matches!(operation, Operation::SwapExtents { .. })
            && self.model.clone().apply(operation) != Err(Errno::OPNOTSUPP)
    }

    fn judge_no_space(
        &mut self,
        operation: &Operation,
        error: &Error,
        before: &StatFs,
    ) -> Result<()> {
        let mut whole = self.model.clone();
        match whole.apply(operation) {
            Ok(_) | Err(Errno::NOSPC) => {}
            Err(predicted) => bail!("should fail otherwise: {predicted}, but: {error}"),
        }
        self.check_is_short(operation, before)?;
        if self.adopt(operation, &whole)? {
            return Ok(());
        }
        let after = self.volume()?.statfs();
        ensure!(
            (before.inodes_free, before.blocks_free) == (after.inodes_free, after.blocks_free),
            "it failed, but free space changed: {before:?}, {after:?}"
        );
        self.compare().context("it failed, but something changed")
    }

    /// Fails unless there is too little space for the operation.
    fn check_is_short(&self, operation: &Operation, before: &StatFs) -> Result<()> {
        let is_xattr = match operation {
            Operation::SetXattr { .. } => true,
            Operation::Create { new, .. } | Operation::CreateUnnamed { new, .. } => {
                !new.xattrs.is_empty()
            }
            _ => false,
        };
        let needed = SPARE_BLOCKS + needed_bytes(operation).div_ceil(before.block_bytes.into());
        let is_short = before.blocks_available < needed || before.inodes_free < 4;
        // Attributes may not fit into their block, however much space is left.
        ensure!(is_short || is_xattr, "no space, but there is: {before:?}");
        Ok(())
    }

    /// Takes over what an operation did that ended in its middle, if that is one of its
    /// promises; true if it was.
    fn adopt(&mut self, operation: &Operation, whole: &Model) -> Result<bool> {
        let Operation::Allocate { file, how, .. } = operation else {
            return Ok(false);
        };
        let keeps_part = matches!(how, Allocation::Allocate { .. } | Allocation::UnshareRange);
        let id = self.model.resolve(file).map_err(|errno| anyhow!(errno))?;
        let number = self.number(id).context("an inode without a number")?;
        let volume = self.volume()?;
        let inode = volume.inode(number)?;
        let seen = load::node(volume, &inode, InodeNumber::ROOT, &mut Vec::new())?;
        let old = self.model.node(id).map_err(|errno| anyhow!(errno))?.clone();
        let new = whole.node(id).map_err(|errno| anyhow!(errno))?.clone();
        let (
            Kind::File { size, content },
            Kind::File {
                size: old_size,
                content: old_content,
            },
            Kind::File {
                size: new_size,
                content: new_content,
            },
        ) = (&seen.kind, &old.kind, &new.kind)
        else {
            return Ok(false);
        };
        ensure!(
            size == old_size || keeps_part && size > old_size && size <= new_size,
            "the size is {size}, was {old_size}, becomes {new_size}"
        );
        ensure!(
            content.is_between(old_content, new_content),
            "content is neither old nor new"
        );
        let stamps = |node: &super::tree::Node| (node.modified, node.changed);
        ensure!(
            [stamps(&old), stamps(&new)].contains(&stamps(&seen)),
            "times are neither old nor new"
        );
        let kept = super::tree::Node {
            generation: old.generation,
            ..seen
        };
        self.model.tree.nodes.insert(id, Arc::new(kept));
        self.compare()?;
        Ok(true)
    }

    /// Compares everything that has a name, and what is held without one.
    pub fn compare(&self) -> Result<()> {
        let volume = self.volume()?;
        let seen = load::tree(volume)?;
        let lines = self.model.tree.diff(&seen, "model", "volume");
        ensure!(lines.is_empty(), "{}", Differences(&lines));
        for (id, number) in self.model.held.iter().zip(&self.held) {
            let node = self.model.node(*id).map_err(|errno| anyhow!(errno))?;
            let inode = volume.inode(*number)?;
            ensure!(inode.links() == node.links, "links of held inode {number}");
            if let Kind::File { size, .. } = &node.kind {
                ensure!(inode.size_bytes() == *size, "size of held inode {number}");
            }
        }
        Ok(())
    }

    /// Closes the volume.
    pub fn close(&mut self) -> Result<()> {
        let volume = self.volume.take().context("the volume is closed")?;
        volume.close().context("closing")
    }

    fn reopen(&mut self) -> Result<()> {
        self.held.clear();
        self.options.clock = Clock::Fixed(self.model.now);
        let volume = WritableVolume::open(Arc::clone(&self.device), &self.options)?;
        let report = volume.recovery_report();
        ensure!(
            !report.journal_was_dirty && report.orphans.is_empty(),
            "not closed cleanly: {report:?}"
        );
        self.volume = Some(volume);
        self.compare().context("after closing and opening")
    }

    fn find(&self, names: &[Vec<u8>]) -> fs_core::Result<InodeNumber> {
        let mut at = InodeNumber::ROOT;
        for name in names {
            at = self.open_volume()?.child(at, name)?.number();
        }
        Ok(at)
    }

    fn open_volume(&self) -> fs_core::Result<&WritableVolume> {
        let closed = || fs_core::ErrorKind::InvalidInput("the volume is closed").into();
        self.volume.as_ref().ok_or_else(closed)
    }

    fn target(&self, target: &Target) -> fs_core::Result<InodeNumber> {
        match target {
            Target::Path(path) => self.find(&path.0),
            Target::Held(number) => {
                let index = number.checked_rem(self.held.len());
                let held = index.and_then(|index| self.held.get(index));
                held.copied().ok_or(fs_core::ErrorKind::NotFound.into())
            }
        }
    }

    fn split<'p>(&self, path: &'p Path) -> fs_core::Result<(InodeNumber, &'p [u8])> {
        match path.split() {
            Some((parent, name)) => Ok((self.find(parent)?, name)),
            None => Ok((InodeNumber::ROOT, b"")),
        }
    }

    fn perform(&mut self, operation: &Operation) -> fs_core::Result<Seen> {
        let volume = self.open_volume()?;
        match operation {
            Operation::Create { at, new } => {
                let (parent, name) = self.split(at)?;
                let made = volume.create(parent, name, new)?;
                return Ok(Seen::Made(made.number()));
            }
            Operation::CreateUnnamed { parent, new } => {
                let made = volume.create_unnamed(self.find(&parent.0)?, new)?;
                return Ok(Seen::Made(made.number()));
            }
            Operation::Link { from, at } => {
                let inode = self.target(from)?;
                let (parent, name) = self.split(at)?;
                volume.link(inode, parent, name)?;
            }
            Operation::Unlink { at } => {
                let (parent, name) = self.split(at)?;
                volume.unlink(parent, name)?;
            }
            Operation::Rmdir { at } => {
                let (parent, name) = self.split(at)?;
                volume.rmdir(parent, name)?;
            }
            Operation::Rename { from, to, mode } => {
                let (parent, name) = self.split(from)?;
                let (new_parent, new_name) = self.split(to)?;
                volume.rename(parent, name, new_parent, new_name, *mode)?;
            }
            Operation::Retain { target } => {
                let inode = self.target(target)?;
                volume.retain(inode)?;
                self.held.push(inode);
            }
            Operation::Release { held } => {
                let index = held.checked_rem(self.held.len());
                if let Some(inode) = index.and_then(|index| self.held.get(index)) {
                    volume.release(*inode)?;
                    self.held.remove(index.unwrap_or(0));
                }
            }
            operation => return self.perform_on_inodes(operation),
        }
        Ok(Seen::Done)
    }

    fn perform_on_inodes(&self, operation: &Operation) -> fs_core::Result<Seen> {
        let volume = self.open_volume()?;
        match operation {
            Operation::Write {
                file,
                data,
                offset,
                context,
            } => {
                let file = self.target(file)?;
                let len = volume.write_as(file, &data.bytes(), *offset, *context)?;
                return Ok(Seen::Written(len));
            }
            Operation::Truncate {
                file,
                size,
                context,
            } => volume.truncate_as(self.target(file)?, *size, *context)?,
            Operation::Allocate {
                file,
                how,
                offset,
                len,
                context,
            } => volume.allocate(self.target(file)?, *how, *offset, *len, *context)?,
            Operation::SwapExtents {
                a,
                a_offset,
                b,
                b_offset,
                len,
            } => {
                let (a, b) = (self.target(a)?, self.target(b)?);
                volume.swap_extents(a, *a_offset, b, *b_offset, *len)?;
            }
            Operation::SetAttributes { target, changes } => {
                volume.set_attributes(self.target(target)?, changes)?;
            }
            Operation::SetFlags { target, flags } => {
                let inode = self.target(target)?;
                let others = volume
                    .inode(inode)?
                    .flags()
                    .difference(USER_MODIFIABLE_FLAGS);
                volume.set_flags(inode, (*flags & USER_MODIFIABLE_FLAGS) | others)?;
            }
            Operation::SetGeneration { target, generation } => {
                volume.set_generation(self.target(target)?, *generation)?;
            }
            Operation::SetXattr {
                target,
                name,
                value,
                mode,
            } => volume.set_xattr(self.target(target)?, name, &value.bytes(), *mode)?,
            Operation::RemoveXattr { target, name } => {
                volume.remove_xattr(self.target(target)?, name)?;
            }
            Operation::Sync => volume.sync()?,
            Operation::Checkpoint => volume.checkpoint()?,
            Operation::Fsync { target } => volume.fsync(self.target(target)?)?,
            _ => {}
        }
        Ok(Seen::Done)
    }
}

/// Blocks that may be missing for other things than content: directories, maps, what is
/// kept for growing files, what is freed but not yet durable.
const SPARE_BLOCKS: u64 = 96;

fn needed_bytes(operation: &Operation) -> u64 {
    match operation {
        Operation::Write {
            data: Data { len, .. },
            ..
        } => *len as u64,
        Operation::Allocate { len, .. } => *len,
        _ => 0,
    }
}

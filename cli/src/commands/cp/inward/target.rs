//! The image that is written: files made, replaced, filled and given what they carry.
//!
//! As cp(1) that keeps everything: a regular file in the way is cut and written anew, and
//! stays the same inode, unless it has other names, which must not change with it. Anything
//! else in the way is replaced, but for directories. Symbolic links are never followed here.

use std::collections::HashSet;

use anyhow::{anyhow, ensure};
use fs_core::{
    AttributeChanges, ErrorKind, FileType, Inode, InodeNumber, NewInode, NewKind, TimeChange,
    WritableVolume, WriteContext, XattrSet,
};

use super::super::attributes::{ACCESS_LIST, DEFAULT_LIST, owning_group_bits};
use super::super::report::RefusedXattrs;
use super::source::{Content, Status, Xattrs};
use super::trouble::{Result, Trouble};
use crate::interrupt::Interrupt;

/// How much is read and written at once.
const BUFFER_BYTES: usize = 1 << 20;
const SET_IDS: u16 = 0o6000;
/// Goes with a change of the content, as with write(2).
const CAPABILITY: &[u8] = b"security.capability";

/// The image.
pub(super) struct Target<'a> {
    volume: &'a WritableVolume,
    interrupt: &'a Interrupt,
    context: WriteContext,
    buffer: Vec<u8>,
    /// Files whose other names are still to come: they are held, so that their numbers
    /// cannot come to mean others, and nothing else is written into them.
    linked: HashSet<InodeNumber>,
}

/// What a file is made of: status, and attributes where they could be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Original<'a> {
    pub(super) status: &'a Status,
    pub(super) xattrs: &'a Xattrs,
}

/// A file of the image that lacks its times.
#[derive(Debug, Clone, Copy)]
pub(super) struct Made {
    pub(super) inode: InodeNumber,
    /// What its mode will say.
    permissions: u16,
}

impl<'a> Target<'a> {
    pub(super) fn new(
        volume: &'a WritableVolume,
        interrupt: &'a Interrupt,
        may_use_reserve: bool,
    ) -> Self {
        let context = WriteContext {
            kernel_moves_content: false,
            may_use_reserve,
            clear_privileges: true,
            keeps_times: false,
        };
        Self {
            volume,
            interrupt,
            context,
            buffer: vec![0; BUFFER_BYTES],
            linked: HashSet::new(),
        }
    }

    /// Fails if a signal has asked for the end.
    pub(super) fn check_interrupt(&self) -> Result<()> {
        match self.interrupt.has_come() {
            true => Err(Trouble::All(anyhow!("interrupted, not copied"))),
            false => Ok(()),
        }
    }

    /// Makes a directory, or takes the one that is there.
    pub(super) fn directory(
        &self,
        parent: InodeNumber,
        name: &[u8],
        original: Original<'_>,
        refused: &mut RefusedXattrs,
    ) -> Result<Made> {
        match self.look(parent, name)? {
            Some(old) => {
                let is_directory = old.file_type() == FileType::Directory;
                let why = "the destination exists and is not a directory";
                ensure_file(is_directory, why)?;
                self.merge(old.number(), original, refused)
            }
            None => self.create(parent, name, NewKind::Directory, original, refused),
        }
    }

    /// Gives a file that is there the attributes of `original`; the rest follows with
    /// [`finish`](Self::finish).
    pub(super) fn merge(
        &self,
        inode: InodeNumber,
        original: Original<'_>,
        refused: &mut RefusedXattrs,
    ) -> Result<Made> {
        let is_regular = original.status.file_type == FileType::Regular;
        let gone: &[&[u8]] = match is_regular {
            true => &[ACCESS_LIST, CAPABILITY],
            false => &[ACCESS_LIST, DEFAULT_LIST],
        };
        for &name in gone {
            if original.xattrs.iter().any(|(kept, _)| kept == name) {
                continue;
            }
            match self.volume.remove_xattr(inode, name) {
                Err(error) if *error.kind() != ErrorKind::NoAttribute => {
                    return Err(Trouble::in_image(error));
                }
                _ => {}
            }
        }
        self.add_xattrs(inode, original, refused)
    }

    /// Makes a regular file, or empties the one that is there, and fills it.
    pub(super) fn file(
        &mut self,
        parent: InodeNumber,
        name: &[u8],
        original: Original<'_>,
        content: &mut impl Content,
        refused: &mut RefusedXattrs,
    ) -> Result<InodeNumber> {
        let made = match self.look(parent, name)? {
            Some(old) if self.can_be_overwritten(&old) => {
                let number = old.number();
                self.volume
                    .truncate_as(number, 0, self.context)
                    .map_err(Trouble::in_image)?;
                self.merge(number, original, refused)?
            }
            Some(old) => {
                self.remove(parent, name, &old)?;
                self.create(parent, name, NewKind::File, original, refused)?
            }
            None => self.create(parent, name, NewKind::File, original, refused)?,
        };
        self.fill(made.inode, original.status.size_bytes, content)
            .map_err(|trouble| trouble.context("copied in part only"))?;
        self.finish(made, original.status)?;
        Ok(made.inode)
    }

    /// Makes anything but a directory or a regular file, in place of what is there.
    pub(super) fn special(
        &self,
        parent: InodeNumber,
        name: &[u8],
        kind: NewKind,
        original: Original<'_>,
        refused: &mut RefusedXattrs,
    ) -> Result<InodeNumber> {
        if let NewKind::Symlink(target) = &kind {
            let block_bytes = self.volume.superblock().block_bytes;
            let is_short = (target.len() as u64) < u64::from(block_bytes);
            let why = "its target is longer than a block of the image";
            ensure_file(is_short, why)?;
        }
        if let Some(old) = self.look(parent, name)? {
            self.remove(parent, name, &old)?;
        }
        let made = self.create(parent, name, kind, original, refused)?;
        self.finish(made, original.status)?;
        Ok(made.inode)
    }

    /// Holds a file that will get other names, as long as the copy lasts.
    pub(super) fn hold(&mut self, inode: InodeNumber) -> Result<()> {
        if self.linked.insert(inode) {
            self.volume.retain(inode).map_err(Trouble::in_image)?;
        }
        Ok(())
    }

    /// Gives a file another name. False if it cannot have more.
    pub(super) fn link(
        &self,
        inode: InodeNumber,
        parent: InodeNumber,
        name: &[u8],
    ) -> Result<bool> {
        match self.look(parent, name)? {
            // The same file copied twice over itself is done already.
            Some(old) if old.number() == inode => return Ok(true),
            Some(old) => self.remove(parent, name, &old)?,
            None => {}
        }
        match self.volume.link(inode, parent, name) {
            Err(error) if *error.kind() == ErrorKind::TooManyNames => Ok(false),
            linked => linked.map(|()| true).map_err(Trouble::in_image),
        }
    }

    /// Sets owner, mode and times: the last step, since all others change times.
    pub(super) fn finish(&self, made: Made, status: &Status) -> Result<()> {
        let changes = AttributeChanges {
            permissions: Some(made.permissions),
            uid: Some(status.uid),
            gid: Some(status.gid),
            accessed: Some(TimeChange::At(status.accessed)),
            modified: Some(TimeChange::At(status.modified)),
            ..AttributeChanges::default()
        };
        self.volume
            .set_attributes(made.inode, &changes)
            .map_err(|error| Trouble::in_image(error).context("cannot set its attributes"))?;
        Ok(())
    }

    fn look(&self, parent: InodeNumber, name: &[u8]) -> Result<Option<std::sync::Arc<Inode>>> {
        match self.volume.child(parent, name) {
            Err(error) if *error.kind() == ErrorKind::NotFound => Ok(None),
            found => found.map(Some).map_err(Trouble::in_image),
        }
    }

    fn can_be_overwritten(&self, old: &Inode) -> bool {
        old.file_type() == FileType::Regular
            && old.links() == 1
            && !self.linked.contains(&old.number())
    }

    fn remove(&self, parent: InodeNumber, name: &[u8], old: &Inode) -> Result<()> {
        let is_directory = old.file_type() == FileType::Directory;
        ensure_file(!is_directory, "the destination is a directory")?;
        self.volume
            .unlink(parent, name)
            .map_err(|error| Trouble::in_image(error).context("cannot replace the destination"))
    }

    /// Makes an inode with its attributes, in one change if they all fit.
    fn create(
        &self,
        parent: InodeNumber,
        name: &[u8],
        kind: NewKind,
        original: Original<'_>,
        refused: &mut RefusedXattrs,
    ) -> Result<Made> {
        let status = original.status;
        let mut new = NewInode {
            kind,
            // A half-filled program of root's is nobody's to run.
            permissions: status.permissions & !SET_IDS,
            uid: status.uid,
            gid: status.gid,
            may_use_reserve: self.context.may_use_reserve,
            xattrs: original.xattrs.clone(),
        };
        let words = |error| Trouble::in_image(error).context("cannot create it");
        match self.volume.create(parent, name, &new) {
            Ok(inode) => Ok(Made {
                inode: inode.number(),
                permissions: status.permissions,
            }),
            Err(error) if is_refusal(&error) && !new.xattrs.is_empty() => {
                new.xattrs.clear();
                let inode = self.volume.create(parent, name, &new).map_err(words)?;
                self.add_xattrs(inode.number(), original, refused)
            }
            Err(error) => Err(words(error)),
        }
    }

    /// Sets attributes one by one; those that cannot be had here are counted.
    fn add_xattrs(
        &self,
        inode: InodeNumber,
        original: Original<'_>,
        refused: &mut RefusedXattrs,
    ) -> Result<Made> {
        let mut permissions = original.status.permissions;
        for (name, value) in original.xattrs {
            match self.volume.set_xattr(inode, name, value, XattrSet::Any) {
                Ok(()) => {}
                Err(error) if is_refusal(&error) => {
                    if name == ACCESS_LIST {
                        // The mode's group bits would grant what only the list's mask allows.
                        permissions &= !0o070 | owning_group_bits(value);
                    }
                    refused.add(name.clone());
                }
                Err(error) => return Err(Trouble::in_image(error)),
            }
        }
        Ok(Made { inode, permissions })
    }

    /// Writes the content into an empty file; holes stay holes.
    fn fill(
        &mut self,
        inode: InodeNumber,
        size_bytes: u64,
        content: &mut impl Content,
    ) -> Result<()> {
        let mut offset = 0;
        while let Some((start, end)) = content.next_data(offset)? {
            offset = self.fill_range(inode, start, end, content)?;
            // Its end was not known.
            if offset < end {
                break;
            }
        }
        if offset < size_bytes {
            self.volume
                .truncate_as(inode, size_bytes, self.context)
                .map_err(Trouble::in_image)?;
        }
        Ok(content.check_unchanged()?)
    }

    fn fill_range(
        &mut self,
        inode: InodeNumber,
        start: u64,
        end: u64,
        content: &mut impl Content,
    ) -> Result<u64> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let outcome = self.fill_through(&mut buffer, inode, start, end, content);
        self.buffer = buffer;
        outcome
    }

    /// Copies a range, and returns where it ended: earlier only if the file does.
    fn fill_through(
        &self,
        buffer: &mut [u8],
        inode: InodeNumber,
        start: u64,
        end: u64,
        content: &mut impl Content,
    ) -> Result<u64> {
        let mut offset = start;
        while offset < end {
            self.check_interrupt()?;
            // Pieces end where blocks do.
            let room = BUFFER_BYTES as u64 - offset % BUFFER_BYTES as u64;
            let len = usize::try_from(room.min(end - offset)).unwrap_or(BUFFER_BYTES);
            let piece = buffer.get_mut(..len).unwrap_or_default();
            let len = content.read(piece, offset)?;
            if len == 0 {
                ensure_file(end == u64::MAX, "was cut short while it was read")?;
                break;
            }
            self.write(inode, piece.get(..len).unwrap_or_default(), offset)?;
            offset = offset.saturating_add(len as u64);
        }
        Ok(offset)
    }

    fn write(&self, inode: InodeNumber, mut data: &[u8], mut offset: u64) -> Result<()> {
        while !data.is_empty() {
            let written = self
                .volume
                .write_as(inode, data, offset, self.context)
                .map_err(Trouble::in_image)?;
            ensure_file(written > 0, "nothing was written")?;
            data = data.get(written..).unwrap_or_default();
            offset = offset.saturating_add(written as u64);
        }
        Ok(())
    }
}

/// True if an attribute, or what it says, cannot be had in this image.
fn is_refusal(error: &fs_core::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::TooLarge(_)
            | ErrorKind::NotSupported(_)
            | ErrorKind::InvalidInput(_)
            | ErrorKind::NameTooLong
    )
}

fn ensure_file(condition: bool, why: &'static str) -> anyhow::Result<()> {
    ensure!(condition, why);
    Ok(())
}

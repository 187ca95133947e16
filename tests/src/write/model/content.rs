//! The content of files.

use super::{Model, Outcome, Predicted};
use crate::write::content::Content;
use crate::write::operation::Target;
use crate::write::tree::{Kind, Node, NodeId};
use fs_core::{Allocation, InodeFlags, WriteContext};
use rustix::io::Errno;
use std::ops::Range;

/// `S_ISUID`, `S_ISGID` and `S_IXGRP`.
const SET_USER_ID: u16 = 0o4000;
const SET_GROUP_ID: u16 = 0o2000;
const GROUP_EXECUTES: u16 = 0o010;

fn parts(node: &Node) -> Predicted<(u64, &Content)> {
    match &node.kind {
        Kind::File { size, content } => Ok((*size, content)),
        Kind::Directory { .. } => Err(Errno::ISDIR),
        _ => Err(Errno::INVAL),
    }
}

fn parts_mut(node: &mut Node) -> Predicted<(&mut u64, &mut Content)> {
    match &mut node.kind {
        Kind::File { size, content } => Ok((size, content)),
        Kind::Directory { .. } => Err(Errno::ISDIR),
        _ => Err(Errno::INVAL),
    }
}

impl Model {
    /// The size, if the content may be changed.
    fn check_writable(&self, id: NodeId) -> Predicted<u64> {
        let (size, _) = parts(self.node(id)?)?;
        self.check_mutable(id)?;
        Ok(size)
    }

    fn check_not_append_only(&self, id: NodeId) -> Predicted<()> {
        match self.has_flag(id, InodeFlags::APPEND) {
            true => Err(Errno::PERM),
            false => Ok(()),
        }
    }

    /// The times of a change of content, and the end of privileges.
    fn stamp(&mut self, id: NodeId, context: WriteContext) -> Predicted<()> {
        let now = self.stored(id, self.now);
        let node = self.node_mut(id)?;
        (node.modified, node.changed) = (now, now);
        if context.clear_privileges {
            node.permissions &= !SET_USER_ID;
            if node.permissions & GROUP_EXECUTES != 0 {
                node.permissions &= !SET_GROUP_ID;
            }
        }
        Ok(())
    }

    /// Writes these bytes.
    pub fn write_bytes(
        &mut self,
        file: &Target,
        data: &[u8],
        offset: u64,
        context: WriteContext,
    ) -> Predicted<Outcome> {
        let id = self.resolve(file)?;
        if offset < self.check_writable(id)? {
            self.check_not_append_only(id)?;
        }
        if data.is_empty() {
            return Ok(Outcome::Written(0));
        }
        let room = self.traits.size_max.saturating_sub(offset);
        if room == 0 {
            return Err(Errno::FBIG);
        }
        let len = data.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        let (size, content) = parts_mut(self.node_mut(id)?)?;
        content.write(offset, &data[..len]);
        *size = (*size).max(offset + len as u64);
        self.stamp(id, context)?;
        Ok(Outcome::Written(len))
    }

    pub(super) fn truncate(
        &mut self,
        file: &Target,
        new: u64,
        context: WriteContext,
    ) -> Predicted<Outcome> {
        let id = self.resolve(file)?;
        self.check_writable(id)?;
        self.check_not_append_only(id)?;
        if new > self.traits.size_max {
            return Err(Errno::FBIG);
        }
        let (size, content) = parts_mut(self.node_mut(id)?)?;
        *size = new;
        content.zero(new..u64::MAX);
        self.stamp(id, context)?;
        Ok(Outcome::Done)
    }

    pub(super) fn allocate(
        &mut self,
        file: &Target,
        how: Allocation,
        range: Range<u64>,
        context: WriteContext,
    ) -> Predicted<Outcome> {
        let id = self.resolve(file)?;
        let len = range.end - range.start;
        if len == 0 {
            return Err(Errno::INVAL);
        }
        if !matches!(how, Allocation::Allocate { .. }) {
            self.check_not_append_only(id)?;
        }
        let size = self.check_writable(id)?;
        if range.end > self.traits.allocated_max {
            return Err(Errno::FBIG);
        }
        if how != Allocation::PunchHole && !self.traits.has_extents {
            return Err(Errno::OPNOTSUPP);
        }
        let is_whole_blocks = [range.start, len]
            .iter()
            .all(|at| at % self.traits.block_bytes == 0);
        let moves = matches!(how, Allocation::CollapseRange | Allocation::InsertRange);
        if moves && !is_whole_blocks {
            return Err(Errno::INVAL);
        }
        let (reach, content) = match how {
            Allocation::Allocate { keep_size: false } => (size.max(range.end), None),
            Allocation::Allocate { keep_size: true } => (size, None),
            Allocation::UnshareRange | Allocation::PunchHole if range.start >= size => {
                return Ok(Outcome::Done);
            }
            Allocation::UnshareRange => (size, None),
            Allocation::PunchHole | Allocation::ZeroRange { keep_size: true } => (size, Some(how)),
            Allocation::ZeroRange { keep_size: false } => (size.max(range.end), Some(how)),
            Allocation::CollapseRange if range.end >= size => return Err(Errno::INVAL),
            Allocation::CollapseRange => (size - len, Some(how)),
            Allocation::InsertRange if len > self.traits.size_max.saturating_sub(size) => {
                return Err(Errno::FBIG);
            }
            Allocation::InsertRange if range.start >= size => return Err(Errno::INVAL),
            Allocation::InsertRange => (size + len, Some(how)),
        };
        let (size, bytes) = parts_mut(self.node_mut(id)?)?;
        match content {
            Some(Allocation::CollapseRange) => bytes.collapse(range.start, len),
            Some(Allocation::InsertRange) => bytes.insert(range.start, len),
            Some(_) => bytes.zero(range),
            None => {}
        }
        *size = reach;
        self.stamp(id, context)?;
        Ok(Outcome::Done)
    }

    pub(super) fn swap_extents(
        &mut self,
        (a, a_offset): (&Target, u64),
        (b, b_offset): (&Target, u64),
        len: u64,
    ) -> Predicted<Outcome> {
        let (a, b) = (self.resolve(a)?, self.resolve(b)?);
        if a == b {
            return Err(Errno::INVAL);
        }
        for id in [a, b] {
            self.check_writable(id)?;
            self.check_not_append_only(id)?;
            if !self.traits.has_extents {
                return Err(Errno::OPNOTSUPP);
            }
        }
        if self.node(b)?.permissions & (SET_USER_ID | SET_GROUP_ID) != 0 {
            return Err(Errno::INVAL);
        }
        let block = self.traits.block_bytes;
        if [a_offset, b_offset, len].iter().any(|at| at % block != 0) {
            return Err(Errno::INVAL);
        }
        let (a_size, a_content) = parts(self.node(a)?)?;
        let (b_size, b_content) = parts(self.node(b)?)?;
        let reach = |size: u64, offset: u64| size.next_multiple_of(block).saturating_sub(offset);
        let len = len
            .min(reach(a_size, a_offset))
            .min(reach(b_size, b_offset));
        if len == 0 {
            return Err(Errno::INVAL);
        }
        let (mut new_a, mut new_b) = (a_content.clone(), b_content.clone());
        Content::exchange(&mut new_a, a_offset, &mut new_b, b_offset, len);
        new_a.zero(a_size..u64::MAX);
        new_b.zero(b_size..u64::MAX);
        *parts_mut(self.node_mut(a)?)?.1 = new_a;
        *parts_mut(self.node_mut(b)?)?.1 = new_b;
        Ok(Outcome::Done)
    }
}

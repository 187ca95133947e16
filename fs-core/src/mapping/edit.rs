//! Placeholder until the real one lands.
use std::ops::Range;

use crate::change::Change;
use crate::error::{ErrorKind, Result};
use crate::format::inode::Inode;
use crate::format::inode_flags::InodeFlags;
use crate::format::superblock::Superblock;
use crate::run::MappedExtent;
use crate::store::Store;
use crate::types::{FileBlock, InodeNumber};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    Done,
    Until(FileBlock),
}
pub(crate) fn empty_map(_superblock: &Superblock, _flags: InodeFlags) -> [u8; 60] {
    [0; 60]
}
pub(crate) fn insert(_: &mut Change<'_>, _: InodeNumber, _: MappedExtent) -> Result<()> {
    Err(ErrorKind::NotSupported("stub").into())
}
pub(crate) fn remove(_: &mut Change<'_>, _: InodeNumber, _: Range<FileBlock>) -> Result<Progress> {
    Err(ErrorKind::NotSupported("stub").into())
}
pub(crate) fn convert(
    _: &mut Change<'_>,
    _: InodeNumber,
    _: Range<FileBlock>,
    _: bool,
) -> Result<()> {
    Err(ErrorKind::NotSupported("stub").into())
}
pub(crate) fn shift_down(
    _: &mut Change<'_>,
    _: InodeNumber,
    _: FileBlock,
    _: u64,
) -> Result<Progress> {
    Err(ErrorKind::NotSupported("stub").into())
}
pub(crate) fn shift_up(
    _: &mut Change<'_>,
    _: InodeNumber,
    _: FileBlock,
    _: u64,
) -> Result<Progress> {
    Err(ErrorKind::NotSupported("stub").into())
}
pub(crate) const FRESH_CREDITS: usize = 64;
pub(crate) fn shift_up_range(
    _: &mut Change<'_>,
    _: InodeNumber,
    _: Range<FileBlock>,
    _: u64,
) -> Result<Progress> {
    Err(ErrorKind::NotSupported("stub").into())
}
pub(crate) fn swap(
    _: &mut Change<'_>,
    _: InodeNumber,
    _: FileBlock,
    _: InodeNumber,
    _: FileBlock,
    _: u64,
) -> Result<Progress> {
    Err(ErrorKind::NotSupported("stub").into())
}
pub(crate) fn credits(_: &Store, _: &Inode, _: u64) -> usize {
    8
}

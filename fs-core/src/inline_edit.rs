//! Placeholder until the real one lands.
use crate::change::Change;
use crate::error::{ErrorKind, Result};
use crate::format::inode::Inode;
use crate::store::Store;
use crate::types::InodeNumber;

pub(crate) fn inline_capacity(_: &Store, _: &Inode) -> usize {
    60
}
pub(crate) fn set_inline(_: &mut Change<'_>, _: InodeNumber, _: &[u8]) -> Result<bool> {
    Err(ErrorKind::NotSupported("stub").into())
}
pub(crate) fn clear_inline(_: &mut Change<'_>, _: InodeNumber) -> Result<Vec<u8>> {
    Err(ErrorKind::NotSupported("stub").into())
}

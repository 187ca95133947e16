//! Content kept in the inode: 60 bytes in `i_block`, the rest in the attribute
//! `system.data`, which is there even if it is empty (ext4 on-disk layout,
//! "Inline Data").

use std::borrow::Cow;

use fs_core::encode::{self, DirectoryBlock, INDEX_SYSTEM, NewXattr, NewXattrValue};
use fs_core::{IncompatFeatures, InodeNumber};

use crate::Result;
use crate::populate::directory::{self, Name};
use crate::populate::rules::Rules;

/// Bytes of `i_block`.
pub(super) const AREA_BYTES: usize = 60;
/// A directory's first 4 bytes are its parent's number.
const PARENT_BYTES: usize = 4;
const NAME: &[u8] = b"data";

/// Longest `system.data`; `None` if the volume has no inline data.
fn value_bytes_max(rules: Rules<'_>) -> Option<usize> {
    let has_feature = rules.has_incompat(IncompatFeatures::INLINE_DATA);
    let entry = xattr(&[]).room_bytes();
    let room = encode::xattr_inode_room(rules.xattr_area_bytes()).checked_sub(entry)?;
    has_feature.then_some(room & !3)
}

/// The attribute with the part of the content that `i_block` does not hold.
pub(super) fn xattr(value: &[u8]) -> NewXattr<'static> {
    NewXattr {
        index: INDEX_SYSTEM,
        name: Cow::Borrowed(NAME),
        value: NewXattrValue::Here(Cow::Owned(value.to_vec())),
    }
}

/// Room of the inode's attributes that inline data of `size_bytes` takes.
pub(super) fn room_bytes(size_bytes: usize) -> usize {
    let value = size_bytes.saturating_sub(AREA_BYTES);
    xattr(&[]).room_bytes() + value.next_multiple_of(4)
}

/// Whether a file is kept in its inode. Empty ones are not, as in Linux.
pub(super) fn holds_file(rules: Rules<'_>, size_bytes: u64) -> bool {
    value_bytes_max(rules)
        .is_some_and(|more| (1..=(AREA_BYTES + more) as u64).contains(&size_bytes))
}

/// The two parts of content.
pub(super) fn split(content: &[u8]) -> ([u8; AREA_BYTES], &[u8]) {
    let mut area = [0; AREA_BYTES];
    let (head, rest) = content.split_at(content.len().min(AREA_BYTES));
    area.iter_mut().zip(head).for_each(|(to, byte)| *to = *byte);
    (area, rest)
}

/// A directory's content, 60 bytes or more, if it fits the inode.
///
/// Each record goes to the first of the two areas that has room for it.
pub(super) fn directory(
    rules: Rules<'_>,
    parent: InodeNumber,
    names: &[Name<'_>],
) -> Result<Option<Vec<u8>>> {
    let Some(more_max) = value_bytes_max(rules) else {
        return Ok(None);
    };
    let first_room = AREA_BYTES - PARENT_BYTES;
    let (mut in_first, mut in_second) = (Vec::new(), Vec::new());
    let (mut first_used, mut second_used) = (0, 0);
    for name in names {
        let len = DirectoryBlock::record_bytes(name.name.len());
        if first_used + len <= first_room {
            first_used += len;
            in_first.push(*name);
        } else {
            second_used += len;
            in_second.push(*name);
        }
        if second_used > more_max {
            return Ok(None);
        }
    }
    let area = |len: usize, names: &[Name<'_>]| -> Result<Vec<u8>> {
        let mut block = DirectoryBlock::new(len, rules.has_types(), None);
        directory::push_all(&mut block, names.iter())?;
        Ok(block.finish())
    };
    let mut content = parent.0.to_le_bytes().to_vec();
    content.extend(area(first_room, &in_first)?);
    if !in_second.is_empty() {
        content.extend(area(second_used, &in_second)?);
    }
    Ok(Some(content))
}

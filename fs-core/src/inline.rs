//! Content kept in the inode: the first 60 bytes in `i_block`, the rest in the
//! extended attribute `system.data` (ext4 on-disk layout, "Inline Data").

use crate::error::{Error, Result};
use crate::format::inode::Inode;
use crate::format::xattr::{self, INDEX_SYSTEM, Value};

/// The two places of an inode's inline data.
pub(crate) struct InlineData<'a> {
    pub(crate) block_area: &'a [u8; 60],
    pub(crate) more: &'a [u8],
}

/// Finds the inline data of an inode that has the flag.
pub(crate) fn find(inode: &Inode) -> Result<InlineData<'_>> {
    let number = inode.number();
    let structure = format_args!("inode {number}");
    let entries = xattr::inode_entries(&structure, inode.xattr_area())?;
    let data = entries
        .iter()
        .find(|entry| entry.index == INDEX_SYSTEM && entry.name == b"data");
    let more = match data.map(|entry| entry.value) {
        Some(Value::Here(value)) => value,
        Some(Value::InInode { inode, .. }) => {
            return Err(Error::corrupt(
                format_args!("inline data of {structure}"),
                None,
                "a value inside the inode",
                format_args!("inode {inode}"),
            ));
        }
        // Linux adds the attribute with the flag, empty while 60 bytes suffice.
        None => {
            return Err(Error::corrupt(
                format_args!("inline data of {structure}"),
                None,
                "the attribute system.data",
                "none",
            ));
        }
    };
    Ok(InlineData {
        block_area: inode.block_area(),
        more,
    })
}

/// Inline content as one piece, cut to the inode's size; the rest of a longer
/// size reads as zeros.
pub(crate) fn content(inode: &Inode) -> Result<Vec<u8>> {
    let data = find(inode)?;
    let mut content = [&data.block_area[..], data.more].concat();
    let size = usize::try_from(inode.size_bytes()).unwrap_or(usize::MAX);
    content.truncate(size);
    Ok(content)
}

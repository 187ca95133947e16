//! Changing directories kept in their inode. The second piece grows by the record that is
//! added; what does not fit any more moves to a block.

use crate::change::Change;
use crate::directory::{append, blocks, inline, leaf, linear_edit, rules};
use crate::error::{Error, ErrorKind, Result};
use crate::format::directory_block;
use crate::format::directory_records::{self as records, Found, Record};
use crate::format::inode::Inode;
use crate::inline as inline_data;
use crate::inline_edit;
use crate::store::Store;
use crate::types::{FileType, InodeNumber};

/// The parent's number comes first.
const PARENT_BYTES: usize = 4;
/// Where the second piece begins.
const FIRST_BYTES: usize = 60;

/// An inline directory's bytes, both pieces in a row, their records checked.
struct Content {
    bytes: Vec<u8>,
}

/// Which of the two pieces.
#[derive(Clone, Copy)]
enum Piece {
    First,
    Second,
}

impl Content {
    fn of(store: &Store, directory: &Inode) -> Result<Self> {
        let name = blocks::name_of(directory);
        for area in inline::parts(store, directory)?.areas {
            directory_block::check(&name, None, area, rules(store))?;
        }
        let data = inline_data::find(directory)?;
        let bytes = [&data.block_area[..], data.more].concat();
        Ok(Self { bytes })
    }

    fn area(&mut self, piece: Piece) -> &mut [u8] {
        let range = match piece {
            Piece::First => PARENT_BYTES..FIRST_BYTES,
            Piece::Second => FIRST_BYTES..self.bytes.len(),
        };
        self.bytes.get_mut(range).unwrap_or_default()
    }

    fn find(&mut self, name: &[u8]) -> Option<(Piece, Found)> {
        [Piece::First, Piece::Second].into_iter().find_map(|piece| {
            let found = records::scan(self.area(piece), name).found?;
            Some((piece, found))
        })
    }

    /// Puts the record where there is room; grows the second piece if it may become so long.
    fn insert(&mut self, record: &Record<'_>, len_max: usize) -> Option<()> {
        for piece in [Piece::First, Piece::Second] {
            let area = self.area(piece);
            if let Some(at) = records::scan(area, record.name).room {
                return records::insert(area, at, record);
            }
        }
        let start = self.bytes.len();
        if start + record.bytes() > len_max {
            return None;
        }
        self.bytes.resize(start + record.bytes(), 0);
        records::pack(self.bytes.get_mut(start..)?, [*record])
    }

    fn store(&self, change: &mut Change<'_>, number: InodeNumber) -> Result<()> {
        if !inline_edit::set_inline(change, number, &self.bytes)? {
            let structure = format_args!("attributes of directory {number}");
            return Err(Error::corrupt(
                structure,
                None,
                "room for what was there",
                "none",
            ));
        }
        let size_bytes = self.bytes.len() as u64;
        change.edit_inode(number, |edit| edit.set_size(size_bytes))?;
        Ok(())
    }
}

/// Makes a new inode an empty inline directory; false if it has no room for one.
pub(super) fn initialise(
    change: &mut Change<'_>,
    number: InodeNumber,
    parent: InodeNumber,
) -> Result<bool> {
    let mut content = Content {
        bytes: vec![0; FIRST_BYTES],
    };
    let [p0, p1, p2, p3] = parent.0.to_le_bytes();
    if let Some(field) = content.bytes.first_chunk_mut::<PARENT_BYTES>() {
        *field = [p0, p1, p2, p3];
    }
    let packed = records::pack(content.area(Piece::First), []);
    if packed.is_none() || !inline_edit::set_inline(change, number, &content.bytes)? {
        return Ok(false);
    }
    change.edit_inode(number, |edit| edit.set_size(FIRST_BYTES as u64))?;
    Ok(true)
}

/// Adds a name.
pub(super) fn add(change: &mut Change<'_>, number: InodeNumber, record: &Record<'_>) -> Result<()> {
    let store = change.store();
    let directory = change.inode(number)?;
    let mut content = Content::of(store, &directory)?;
    if content.find(record.name).is_some() {
        return Err(ErrorKind::Exists.into());
    }
    let len_max = inline_edit::inline_capacity(store, &directory);
    if content.insert(record, len_max).is_some() {
        return content.store(change, number);
    }
    move_to_block(change, &directory, record.file_type != 0)?;
    linear_edit::add(change, number, record)
}

/// Gives an inline directory a block of its own.
fn move_to_block(change: &mut Change<'_>, directory: &Inode, has_types: bool) -> Result<()> {
    let store = change.store();
    let number = directory.number();
    let parts = inline::parts(store, directory)?;
    let [first, second] = parts.areas;
    let names = records::records(first).chain(records::records(second));
    inline_edit::clear_inline(change, number)?;
    let directory = change.edit_inode(number, |edit| edit.set_size(0))?;
    let block = append::next(store, &directory)?;
    let all = own(number, parts.parent, has_types)
        .into_iter()
        .chain(names);
    let bytes = leaf::packed(store, &directory, block, all)?;
    append::append(change, number, blocks::role(&directory, block), bytes)?;
    Ok(())
}

/// The records every directory in blocks begins with.
pub(super) fn own(
    directory: InodeNumber,
    parent: InodeNumber,
    has_types: bool,
) -> [Record<'static>; 2] {
    let file_type = if has_types {
        FileType::Directory.dirent_code()
    } else {
        0
    };
    [(&b"."[..], directory), (&b".."[..], parent)].map(|(name, inode)| Record {
        name,
        inode,
        file_type,
    })
}

/// Removes a name; returns what it named.
pub(super) fn remove(
    change: &mut Change<'_>,
    number: InodeNumber,
    name: &[u8],
) -> Result<InodeNumber> {
    edit(change, number, name, |area, found| {
        records::remove(area, found)
    })
}

/// Makes a name name another inode; returns the old one.
pub(super) fn replace(
    change: &mut Change<'_>,
    number: InodeNumber,
    record: &Record<'_>,
) -> Result<InodeNumber> {
    if record.name == b".." {
        let directory = change.inode(number)?;
        let old = inline::parts(change.store(), &directory)?.parent;
        let parent = record.inode.0.to_le_bytes();
        change.edit_inode(number, |edit| {
            if let Some(field) = edit.block_area_mut()?.first_chunk_mut::<PARENT_BYTES>() {
                *field = parent;
            }
            Ok(())
        })?;
        return Ok(old);
    }
    edit(change, number, record.name, |area, found| {
        records::retarget(area, found.at, record.inode, record.file_type)
    })
}

fn edit(
    change: &mut Change<'_>,
    number: InodeNumber,
    name: &[u8],
    edit: impl FnOnce(&mut [u8], &Found) -> Option<()>,
) -> Result<InodeNumber> {
    let directory = change.inode(number)?;
    let mut content = Content::of(change.store(), &directory)?;
    let (piece, found) = content.find(name).ok_or(ErrorKind::NotFound)?;
    edit(content.area(piece), &found)
        .ok_or_else(|| Error::corrupt(blocks::name_of(&directory), None, "a record", "none"))?;
    content.store(change, number)?;
    Ok(found.inode)
}

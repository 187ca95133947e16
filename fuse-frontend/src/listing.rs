//! READDIR and READDIRPLUS.
//!
//! Records go into the thread's buffer until the request's size is reached.
//! An entry whose inode is damaged is still listed, without attributes: the
//! name can be seen, and looking it up tells what is wrong.

use std::borrow::Cow;
use std::ops::ControlFlow;

use fs_core::{DirEntry, FileType, Inode, InodeNumber};
use rustix::io::Errno;
use zerocopy::IntoBytes;

use crate::attributes;
use crate::failure::Failure;
use crate::namespace::named_inode;
use crate::negotiate::REQUEST_BYTES_MAX;
use crate::replies::Reply;
use crate::scratch::Scratch;
use crate::server::Server;
use crate::wire::{DIRENT_ALIGN, Dirent, EntryOut, ReadIn};

/// What each record holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    /// Names (READDIR).
    Names,
    /// Names and attributes (READDIRPLUS).
    Attributes,
}

pub(crate) fn read<'w>(
    server: &Server,
    nodeid: u64,
    arguments: &ReadIn,
    detail: Detail,
    scratch: &'w mut Scratch,
) -> Result<Reply<'w>, Failure> {
    let directory = server.inode(nodeid)?;
    let limit = usize::try_from(arguments.size)
        .map_or(REQUEST_BYTES_MAX, |size| size.min(REQUEST_BYTES_MAX));
    let buffer = &mut scratch.listing;
    buffer.clear();
    let mut records = Records { buffer, limit };
    // Where in the buffer nodes and attributes are still to be told, and whose.
    let mut untold = Vec::new();
    let mut is_full = false;
    let outcome = server
        .volume
        .read_dir(&directory, arguments.offset, &mut |entry| {
            if !is_listable(entry.name) {
                return ControlFlow::Continue(());
            }
            let start = records.buffer.len();
            if !records.append(entry, detail) {
                is_full = true;
                return ControlFlow::Break(());
            }
            if detail == Detail::Attributes && has_node(entry) {
                if let Some(volume) = server.volume.writer() {
                    volume.retain_entry(entry);
                    scratch.granted.push(entry.inode);
                }
                untold.push((start, entry.inode));
            }
            ControlFlow::Continue(())
        });
    if records.buffer.is_empty() {
        outcome?;
        if is_full {
            // An empty reply would mean the end of the directory.
            return Err(Errno::INVAL.into());
        }
    }
    // Not while the directory was locked: no inode is waited for with another one locked.
    for (start, number) in untold {
        match about(server, &directory, number) {
            Some(entry) => records.tell(start, &entry),
            None => give_back(server, number, &mut scratch.granted),
        }
    }
    // What was listed before a damaged place is still worth having; the next
    // request starts there and gets the error.
    Ok(Reply::Bytes(Cow::Borrowed(&scratch.listing)))
}

/// Names no path can contain; one of them would make the kernel refuse the
/// whole listing.
fn is_listable(name: &[u8]) -> bool {
    !name.is_empty() && !name.iter().any(|&byte| byte == 0 || byte == b'/')
}

/// Whether something is said of the node an entry names: not of ".", "..", nor of what the
/// kernel would refuse.
fn has_node(entry: &DirEntry<'_>) -> bool {
    !matches!(entry.name, b"." | b"..") && entry.inode != InodeNumber::ROOT
}

/// A node with its attributes; `None` if they cannot be read.
fn about(server: &Server, directory: &Inode, number: InodeNumber) -> Option<EntryOut> {
    let result = named_inode(&server.volume, directory, number)
        .map_err(Failure::from)
        .and_then(|inode| attributes::entry(server, &inode));
    match result {
        Ok(entry_out) => Some(entry_out),
        Err(Failure::Volume(error)) => {
            server.complaints.report(&error);
            None
        }
        Err(Failure::Refused(_)) => None,
    }
}

/// Gives up one inode that was held for a record that says nothing of it.
fn give_back(server: &Server, number: InodeNumber, granted: &mut Vec<InodeNumber>) {
    if let Some(at) = granted.iter().position(|&held| held == number) {
        granted.swap_remove(at);
        server.forget(number, 1);
    }
}

/// A buffer of directory records.
struct Records<'b> {
    buffer: &'b mut Vec<u8>,
    limit: usize,
}

impl Records<'_> {
    /// Appends one record, its node and attributes left open; false if there is no room.
    fn append(&mut self, entry: &DirEntry<'_>, detail: Detail) -> bool {
        let nothing = EntryOut::default();
        let plus_bytes = match detail {
            Detail::Names => &[][..],
            Detail::Attributes => nothing.as_bytes(),
        };
        let len = plus_bytes.len() + size_of::<Dirent>() + entry.name.len();
        let end = self.buffer.len() + len.next_multiple_of(DIRENT_ALIGN);
        let Ok(namelen) = u32::try_from(entry.name.len()) else {
            return false;
        };
        if end > self.limit {
            return false;
        }
        let dirent = Dirent {
            ino: u64::from(entry.inode.0),
            off: entry.next_cookie,
            namelen,
            kind: entry.file_type.map_or(DT_UNKNOWN, kind),
        };
        self.buffer.extend_from_slice(plus_bytes);
        self.buffer.extend_from_slice(dirent.as_bytes());
        self.buffer.extend_from_slice(entry.name);
        self.buffer.resize(end, 0);
        true
    }

    /// Fills in the node and the attributes of the record that starts at `start`.
    fn tell(&mut self, start: usize, entry: &EntryOut) {
        let bytes = entry.as_bytes();
        let room = self.buffer.get_mut(start..);
        if let Some(room) = room.and_then(|room| room.get_mut(..bytes.len())) {
            room.copy_from_slice(bytes);
        }
    }
}

const DT_UNKNOWN: u32 = 0;

/// The `DT_` number: the type's bits of a mode, moved down.
fn kind(file_type: FileType) -> u32 {
    u32::from(file_type.mode_bits() >> 12)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &[u8]) -> DirEntry<'_> {
        DirEntry {
            name,
            inode: InodeNumber(12),
            file_type: Some(FileType::Regular),
            next_cookie: 77,
        }
    }

    #[test]
    fn a_record_is_laid_out_and_padded() {
        let mut buffer = Vec::new();
        let mut records = Records {
            buffer: &mut buffer,
            limit: 4096,
        };
        assert!(records.append(&entry(b"hello"), Detail::Names));
        let mut expected = Vec::new();
        expected.extend_from_slice(&12u64.to_ne_bytes());
        expected.extend_from_slice(&77u64.to_ne_bytes());
        expected.extend_from_slice(&5u32.to_ne_bytes());
        expected.extend_from_slice(&8u32.to_ne_bytes());
        expected.extend_from_slice(b"hello\0\0\0");
        assert_eq!(buffer, expected);
    }

    #[test]
    fn a_plus_record_starts_with_the_entry() {
        let mut buffer = Vec::new();
        let mut records = Records {
            buffer: &mut buffer,
            limit: 4096,
        };
        let plus = EntryOut {
            nodeid: 9,
            ..EntryOut::default()
        };
        assert!(records.append(&entry(b"12345678"), Detail::Attributes));
        records.tell(0, &plus);
        assert_eq!(buffer.len(), 128 + 24 + 8);
        assert_eq!(buffer[..8], 9u64.to_ne_bytes());
    }

    #[test]
    fn a_full_buffer_takes_no_more() {
        let mut buffer = Vec::new();
        let mut records = Records {
            buffer: &mut buffer,
            limit: 63,
        };
        assert!(records.append(&entry(b"a"), Detail::Names));
        assert!(
            !records.append(&entry(b"b"), Detail::Names),
            "64 bytes are too many"
        );
        assert_eq!(buffer.len(), 32);
    }

    #[test]
    fn impossible_names_are_left_out() {
        assert!(is_listable(b".."));
        assert!(!is_listable(b""));
        assert!(!is_listable(b"a/b"));
        assert!(!is_listable(b"a\0b"));
    }
}

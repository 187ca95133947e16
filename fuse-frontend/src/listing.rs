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
    buffer: &'w mut Vec<u8>,
) -> Result<Reply<'w>, Failure> {
    let directory = server.inode(nodeid)?;
    let limit = usize::try_from(arguments.size)
        .map_or(REQUEST_BYTES_MAX, |size| size.min(REQUEST_BYTES_MAX));
    let mut records = Records { buffer, limit };
    records.buffer.clear();
    let mut is_full = false;
    let outcome = server
        .volume
        .read_dir(&directory, arguments.offset, &mut |entry| {
            if !is_listable(entry.name) {
                return ControlFlow::Continue(());
            }
            let plus = (detail == Detail::Attributes).then(|| about(server, &directory, &entry));
            if records.append(&entry, plus.as_ref()) {
                return ControlFlow::Continue(());
            }
            is_full = true;
            ControlFlow::Break(())
        });
    if records.buffer.is_empty() {
        outcome?;
        if is_full {
            // An empty reply would mean the end of the directory.
            return Err(Errno::INVAL.into());
        }
    }
    // What was listed before a damaged place is still worth having; the next
    // request starts there and gets the error.
    Ok(Reply::Bytes(Cow::Borrowed(buffer)))
}

/// Names no path can contain; one of them would make the kernel refuse the
/// whole listing.
fn is_listable(name: &[u8]) -> bool {
    !name.is_empty() && !name.iter().any(|&byte| byte == 0 || byte == b'/')
}

/// An entry's node and attributes; node 0 (nothing is said of it) for ".",
/// "..", what the kernel would refuse, and what cannot be read.
fn about(server: &Server, directory: &Inode, entry: &DirEntry<'_>) -> EntryOut {
    if matches!(entry.name, b"." | b"..") || entry.inode == InodeNumber::ROOT {
        return EntryOut::default();
    }
    let result = named_inode(&server.volume, directory, entry.inode)
        .map_err(Failure::from)
        .and_then(|inode| attributes::entry(server, &inode));
    match result {
        Ok(entry_out) => entry_out,
        Err(Failure::Volume(error)) => {
            server.complaints.report(&error);
            EntryOut::default()
        }
        Err(Failure::Refused(_)) => EntryOut::default(),
    }
}

/// A buffer of directory records.
struct Records<'b> {
    buffer: &'b mut Vec<u8>,
    limit: usize,
}

impl Records<'_> {
    /// Appends one record; false if there is no room for it.
    fn append(&mut self, entry: &DirEntry<'_>, plus: Option<&EntryOut>) -> bool {
        let plus_bytes = plus.map_or(&[][..], IntoBytes::as_bytes);
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
        assert!(records.append(&entry(b"hello"), None));
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
        assert!(records.append(&entry(b"12345678"), Some(&plus)));
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
        assert!(records.append(&entry(b"a"), None));
        assert!(!records.append(&entry(b"b"), None), "64 bytes are too many");
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

//! Replies: typed values, and the one place that turns them into bytes.
//!
//! A reply is a header, a fixed structure (perhaps none) and data (perhaps
//! none); it leaves in one writev(2), without being put together first.

use std::borrow::Cow;
use std::io;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use zerocopy::IntoBytes;

use crate::sys::{self, Piece};
use crate::wire::{
    AttrOut, BeginOut, BmapOut, CopyOut, CreateOut, EntryOut, GetxattrOut, IoctlOut, IoendOut,
    LseekOut, OpenOut, OutHeader, StatfsOut, StatxOut, WriteOut,
};

/// What a request is answered with.
#[derive(Debug)]
pub(crate) enum Reply<'w> {
    /// No message at all: the kernel does not wait for one.
    Silence,
    /// Success, nothing to say.
    Done,
    Entry(EntryOut),
    Attr(AttrOut),
    Statx(StatxOut),
    Open(OpenOut),
    Create(CreateOut),
    Written(WriteOut),
    Copied(CopyOut),
    StatFs(StatfsOut),
    XattrSize(GetxattrOut),
    Lseek(LseekOut),
    Bmap(BmapOut),
    Begin(BeginOut),
    Ioend(IoendOut),
    Ioctl(IoctlOut, Vec<u8>),
    /// A link's target, an attribute, directory entries.
    Bytes(Cow<'w, [u8]>),
    /// A file's content, wherever it lies.
    Pieces(Pieces<'w>),
}

/// A list of pieces that leaves room for the header in front.
#[derive(Debug)]
pub(crate) struct Pieces<'w>(Vec<Piece<'w>>);

/// Most pieces one writev(2) takes (`IOV_MAX`), the header's included.
pub(crate) const PIECES_MAX: usize = 1024;

impl<'w> Pieces<'w> {
    /// An empty list in the memory of an old one.
    pub(crate) fn reusing(old: Vec<Piece<'static>>) -> Self {
        let mut list: Vec<Piece<'w>> = recycle(old);
        list.push(Piece::of_slice(&[]));
        Self(list)
    }

    /// Appends a piece, as part of the last one where both are neighbours in
    /// memory. False if there is no room; the piece is then not in the list.
    #[must_use]
    pub(crate) fn push(&mut self, piece: Piece<'w>) -> bool {
        if self.0.len() > 1
            && let Some(last) = self.0.last_mut()
            && last.join(&piece)
        {
            return true;
        }
        if self.0.len() >= PIECES_MAX {
            return false;
        }
        self.0.push(piece);
        true
    }

    /// Number of pieces that can still be appended.
    pub(crate) fn room(&self) -> usize {
        PIECES_MAX.saturating_sub(self.0.len())
    }

    /// Sum of the pieces' lengths in bytes.
    pub(crate) fn len_bytes(&self) -> usize {
        self.0.iter().map(Piece::len).sum()
    }
}

/// An empty list with another lifetime and the old one's memory (the standard
/// library collects in place where sizes agree).
fn recycle<'to>(mut list: Vec<Piece<'_>>) -> Vec<Piece<'to>> {
    list.clear();
    list.into_iter().map(|_| Piece::of_slice(&[])).collect()
}

/// How sending went.
#[derive(Debug)]
pub(crate) struct Sent {
    /// The system's answer.
    pub(crate) outcome: io::Result<()>,
    /// The memory of the reply's list of pieces, if it was one, to be used again.
    pub(crate) spare: Option<Vec<Piece<'static>>>,
}

/// Sends a reply.
pub(crate) fn send(fd: BorrowedFd<'_>, unique: u64, reply: Reply<'_>) -> Sent {
    if let Reply::Pieces(pieces) = reply {
        return send_pieces(fd, unique, pieces);
    }
    let outcome = match reply.parts() {
        None => Ok(()),
        Some((fixed, data)) => send_parts(fd, unique, fixed, data),
    };
    Sent {
        outcome,
        spare: None,
    }
}

/// Sends an error.
pub(crate) fn send_error(fd: BorrowedFd<'_>, unique: u64, errno: Errno) -> io::Result<()> {
    let header = OutHeader {
        error: -errno.raw_os_error(),
        ..header(unique, 0)?
    };
    sys::writev(fd, &[Piece::of_slice(header.as_bytes())]).map(drop)
}

impl Reply<'_> {
    /// The fixed structure and the data behind it; `None` where there is no
    /// message or the data lie in pieces.
    fn parts(&self) -> Option<(&[u8], &[u8])> {
        Some(match self {
            Self::Silence | Self::Pieces(_) => return None,
            Self::Done => (&[], &[]),
            Self::Entry(body) => (body.as_bytes(), &[]),
            Self::Attr(body) => (body.as_bytes(), &[]),
            Self::Statx(body) => (body.as_bytes(), &[]),
            Self::Open(body) => (body.as_bytes(), &[]),
            Self::Create(body) => (body.as_bytes(), &[]),
            Self::Written(body) => (body.as_bytes(), &[]),
            Self::Copied(body) => (body.as_bytes(), &[]),
            Self::StatFs(body) => (body.as_bytes(), &[]),
            Self::XattrSize(body) => (body.as_bytes(), &[]),
            Self::Lseek(body) => (body.as_bytes(), &[]),
            Self::Bmap(body) => (body.as_bytes(), &[]),
            Self::Begin(body) => (body.as_bytes(), &[]),
            Self::Ioend(body) => (body.as_bytes(), &[]),
            Self::Ioctl(body, data) => (body.as_bytes(), data),
            Self::Bytes(data) => (&[], data),
        })
    }
}

fn header(unique: u64, body_len: usize) -> io::Result<OutHeader> {
    let len = size_of::<OutHeader>()
        .checked_add(body_len)
        .and_then(|len| u32::try_from(len).ok())
        .ok_or(io::ErrorKind::InvalidInput)?;
    Ok(OutHeader {
        len,
        error: 0,
        unique,
    })
}

fn send_parts(fd: BorrowedFd<'_>, unique: u64, fixed: &[u8], data: &[u8]) -> io::Result<()> {
    let header = header(unique, fixed.len().saturating_add(data.len()))?;
    let pieces = [header.as_bytes(), fixed, data].map(Piece::of_slice);
    sys::writev(fd, &pieces).map(drop)
}

fn send_pieces(fd: BorrowedFd<'_>, unique: u64, pieces: Pieces<'_>) -> Sent {
    let body_len = pieces.len_bytes();
    // A list that lives only as long as the header on this stack.
    let mut list: Vec<Piece<'_>> = pieces.0;
    let header = header(unique, body_len);
    let outcome = match &header {
        Ok(header) => {
            if let Some(first) = list.first_mut() {
                *first = Piece::of_slice(header.as_bytes());
            }
            sys::writev(fd, &list).map(drop)
        }
        Err(error) => Err(error.kind().into()),
    };
    Sent {
        outcome,
        spare: Some(recycle(list)),
    }
}

#[cfg(test)]
#[path = "replies_tests.rs"]
mod tests;

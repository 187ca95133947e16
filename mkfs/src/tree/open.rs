//! Opening files without leaving traces on them, whatever the length of paths.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

/// Linux takes at most PATH_MAX (4096) bytes of path at a time.
const PIECE_BYTES_MAX: usize = 4000;

/// A directory, for reading its names.
pub(super) const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);
/// A file for reading; a pipe that took its place must not block.
pub(super) const FILE: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);
/// A directory on the way.
const WAY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Opens without changing the access time, where that is permitted (to the
/// owner and to root).
pub(super) fn open_quietly(
    directory: BorrowedFd<'_>,
    path: &[u8],
    flags: OFlags,
) -> rustix::io::Result<OwnedFd> {
    match openat(directory, path, flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => openat(directory, path, flags, Mode::empty()),
        result => result,
    }
}

/// Opens a path of any length, following symbolic links except as its last part
/// if `flags` says so.
pub(super) fn open_path(path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let bytes = path.as_os_str().as_bytes();
    match open_quietly(CWD, bytes, flags) {
        Err(Errno::NAMETOOLONG) if bytes.len() > PIECE_BYTES_MAX => {}
        result => return result,
    }
    let (start, bytes) = match bytes.strip_prefix(b"/") {
        Some(rest) => (openat(CWD, "/", WAY, Mode::empty())?, rest),
        None => (openat(CWD, ".", WAY, Mode::empty())?, bytes),
    };
    in_pieces(
        start.as_fd(),
        bytes,
        PIECE_BYTES_MAX,
        |directory, piece, last| {
            if last {
                open_quietly(directory, piece, flags)
            } else {
                openat(directory, piece, WAY, Mode::empty())
            }
        },
    )
}

/// Opens a directory beneath another one. No part of `path` may be a symbolic
/// link, so that nobody can lead the way out of the tree.
pub(super) fn open_directory_beneath(
    base: BorrowedFd<'_>,
    path: &[u8],
) -> rustix::io::Result<OwnedFd> {
    let flags = DIRECTORY | OFlags::NOFOLLOW;
    if !path.contains(&b'/') {
        return open_quietly(base, path, flags);
    }
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let opened = in_pieces(base, path, PIECE_BYTES_MAX, |directory, piece, last| {
        let flags = if last { flags } else { WAY | OFlags::NOFOLLOW };
        let noatime = if last {
            OFlags::NOATIME
        } else {
            OFlags::empty()
        };
        match openat2(directory, piece, flags | noatime, Mode::empty(), resolve) {
            Err(Errno::PERM) if last => openat2(directory, piece, flags, Mode::empty(), resolve),
            result => result,
        }
    });
    match opened {
        // Kernels before 5.6, and sandboxes that do not know openat2.
        Err(Errno::NOSYS | Errno::PERM | Errno::INVAL) => {
            in_pieces(base, path, 1, |directory, piece, last| {
                if last {
                    open_quietly(directory, piece, flags)
                } else {
                    openat(directory, piece, WAY | OFlags::NOFOLLOW, Mode::empty())
                }
            })
        }
        result => result,
    }
}

/// Opens a relative path piece by piece: as many whole components at a time as
/// fit in `piece_bytes_max`, at least one. `open` is told which piece is the last.
fn in_pieces(
    base: BorrowedFd<'_>,
    path: &[u8],
    piece_bytes_max: usize,
    open: impl Fn(BorrowedFd<'_>, &[u8], bool) -> rustix::io::Result<OwnedFd>,
) -> rustix::io::Result<OwnedFd> {
    let mut rest = path;
    let mut at: Option<OwnedFd> = None;
    loop {
        let (piece, after) = split_piece(rest, piece_bytes_max);
        let directory = at.as_ref().map_or(base, AsFd::as_fd);
        let opened = open(directory, piece, after.is_empty())?;
        if after.is_empty() {
            return Ok(opened);
        }
        (at, rest) = (Some(opened), after);
    }
}

/// The first components of a path and what follows them, without the slash
/// between.
fn split_piece(path: &[u8], piece_bytes_max: usize) -> (&[u8], &[u8]) {
    if path.len() <= piece_bytes_max {
        return (path, &[]);
    }
    let fits = path.get(..=piece_bytes_max).unwrap_or(path);
    let cut = fits
        .iter()
        .rposition(|&byte| byte == b'/')
        .filter(|&cut| cut > 0)
        .or_else(|| {
            let later = path.iter().skip(1).position(|&byte| byte == b'/')?;
            Some(later + 1)
        });
    let Some((piece, after)) = cut.and_then(|cut| path.split_at_checked(cut)) else {
        return (path, &[]);
    };
    let slashes = after.iter().take_while(|&&byte| byte == b'/').count();
    (piece, after.get(slashes..).unwrap_or_default())
}

/// A directory's path and a name in it.
pub(super) fn joined(directory: &Path, name: &[u8]) -> PathBuf {
    let mut path = directory.to_owned();
    path.push(OsStr::from_bytes(name));
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_split_between_components() {
        assert_eq!(
            split_piece(b"ab/cd/ef", 5),
            (&b"ab/cd"[..], &b"ef"[..]),
            "the slash may stand just behind the limit"
        );
        assert_eq!(split_piece(b"ab/cd/ef", 4), (&b"ab"[..], &b"cd/ef"[..]));
        assert_eq!(split_piece(b"abcdef//gh", 3), (&b"abcdef"[..], &b"gh"[..]));
        assert_eq!(split_piece(b"abcdef", 3), (&b"abcdef"[..], &b""[..]));
        assert_eq!(split_piece(b"ab", 3), (&b"ab"[..], &b""[..]));
    }
}

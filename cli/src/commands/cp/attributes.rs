//! What a file carries besides its bytes.
//!
//! The order matters: a change of owner clears set-user-id bits and
//! capabilities, a user attribute can't be set on a file one may not write, an
//! access list changes the mode's group bits. Hence owner, attributes, mode,
//! times.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use anyhow::Context;
use fs_core::{Inode, Timestamp, Volume};
use rustix::fs::{
    AtFlags, CWD, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags, chmod, chownat, fchmod,
    fremovexattr, fsetxattr, futimens, setxattr, utimensat,
};
use rustix::io::Errno;

use super::report::RefusedXattrs;

pub(super) const ACCESS_LIST: &[u8] = b"system.posix_acl_access";
pub(super) const DEFAULT_LIST: &[u8] = b"system.posix_acl_default";

/// The new file.
#[derive(Debug, Clone, Copy)]
pub(super) enum Target<'a> {
    /// A file or directory, open.
    Open(BorrowedFd<'a>),
    /// Anything else, held with `O_PATH`: opening a device or a pipe acts on it.
    Held(BorrowedFd<'a>, HeldKind),
}

/// Whether a held file has a mode of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeldKind {
    /// A symbolic link: no mode.
    Symlink,
    /// A device, pipe or socket.
    Special,
}

/// Gives `target` what `inode` has.
pub(super) fn apply(
    volume: &Volume,
    inode: &Inode,
    target: Target<'_>,
    refused: &mut RefusedXattrs,
) -> anyhow::Result<()> {
    let owned = set_owner(target, inode).context("cannot set the owner")?;
    // A damaged attribute block is reported after the rest has been set.
    let copied = copy_xattrs(volume, inode, target, refused);
    let mut mode = inode.mode() & 0o7777;
    if !owned {
        // Another's set-user-id program must not become mine.
        mode &= 0o1777;
    }
    if let Ok(Some(group_bits)) = &copied {
        mode &= !0o070 | group_bits;
    }
    set_mode(target, mode).context("cannot set the mode")?;
    set_times(target, inode).context("cannot set the times")?;
    copied.map(drop)
}

/// Sets user and group, or what of it is permitted. True if both are set.
fn set_owner(target: Target<'_>, inode: &Inode) -> io::Result<bool> {
    let uid = Uid::from_raw(inode.uid());
    let gid = Gid::from_raw(inode.gid());
    match change_owner(target, Some(uid), Some(gid)) {
        Ok(()) => Ok(true),
        Err(Errno::PERM | Errno::INVAL | Errno::OPNOTSUPP) => {
            // The group alone, as cp(1); a refusal keeps our own.
            let _ = change_owner(target, None, Some(gid));
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

fn change_owner(target: Target<'_>, uid: Option<Uid>, gid: Option<Gid>) -> rustix::io::Result<()> {
    let (Target::Open(fd) | Target::Held(fd, _)) = target;
    chownat(fd, "", uid, gid, AtFlags::EMPTY_PATH)
}

/// Copies the attributes. If the access list is among those refused, returns
/// the owning group's bits: without the list, the mode's group bits would
/// grant the group what only the list's mask allows others.
fn copy_xattrs(
    volume: &Volume,
    inode: &Inode,
    target: Target<'_>,
    refused: &mut RefusedXattrs,
) -> anyhow::Result<Option<u16>> {
    let names = volume.xattr_names(inode)?;
    remove_inherited_lists(target, &names);
    let mut group_bits = None;
    for name in names {
        let value = volume.xattr(inode, &name)?;
        match set_xattr(target, &name, &value) {
            Ok(()) => {}
            // Too large for the destination's attributes is no full disk.
            Err(
                Errno::PERM
                | Errno::ACCESS
                | Errno::OPNOTSUPP
                | Errno::INVAL
                | Errno::NOSPC
                | Errno::TOOBIG
                | Errno::RANGE
                | Errno::NAMETOOLONG,
            ) => {
                if name == ACCESS_LIST {
                    group_bits = Some(owning_group_bits(&value));
                }
                refused.add(name);
            }
            Err(error) => {
                let name = String::from_utf8_lossy(&name);
                return Err(io::Error::from(error))
                    .with_context(|| format!("cannot set attribute {name}"));
            }
        }
    }
    Ok(group_bits)
}

/// A new file inherits access lists from its directory; the original had its own or none.
fn remove_inherited_lists(target: Target<'_>, names: &[Vec<u8>]) {
    let Target::Open(fd) = target else { return };
    for list in [ACCESS_LIST, DEFAULT_LIST] {
        if !names.iter().any(|name| name == list) {
            // None was there, or the file system knows none.
            let _ = fremovexattr(fd, OsStr::from_bytes(list));
        }
    }
}

fn set_xattr(target: Target<'_>, name: &[u8], value: &[u8]) -> rustix::io::Result<()> {
    let name = OsStr::from_bytes(name);
    match target {
        Target::Open(fd) => fsetxattr(fd, name, value, XattrFlags::empty()),
        Target::Held(fd, _) => setxattr(held_path(fd), name, value, XattrFlags::empty()),
    }
}

fn set_mode(target: Target<'_>, mode: u16) -> rustix::io::Result<()> {
    let mode = Mode::from_raw_mode(mode.into());
    match target {
        Target::Open(fd) => fchmod(fd, mode),
        Target::Held(_, HeldKind::Symlink) => Ok(()),
        Target::Held(fd, HeldKind::Special) => chmod(held_path(fd), mode),
    }
}

fn set_times(target: Target<'_>, inode: &Inode) -> rustix::io::Result<()> {
    let times = Timestamps {
        last_access: timespec(inode.accessed()),
        last_modification: timespec(inode.modified()),
    };
    match target {
        Target::Open(fd) => futimens(fd, &times),
        Target::Held(fd, _) => utimensat(CWD, held_path(fd), &times, AtFlags::empty()),
    }
}

fn timespec(time: Timestamp) -> Timespec {
    Timespec {
        tv_sec: time.seconds,
        tv_nsec: time.nanos.into(),
    }
}

/// A path that leads to the very file of a descriptor, never through a name.
fn held_path(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// The owning group's permission bits (in the group's place of a mode) in an
/// access list of the kernel's form: a version, then entries of tag, bits, id.
/// No list that makes sense: none.
pub(super) fn owning_group_bits(list: &[u8]) -> u16 {
    const OWNING_GROUP: u16 = 0x04;
    let entries = list.get(4..).unwrap_or_default();
    entries
        .chunks_exact(8)
        .map(|entry| {
            let number = |at: usize| u16::from_le_bytes([entry[at], entry[at + 1]]);
            (number(0), number(2))
        })
        .find(|(tag, _)| *tag == OWNING_GROUP)
        .map_or(0, |(_, bits)| (bits & 7) << 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owning_group_is_found_in_a_list() {
        let mut list = vec![2, 0, 0, 0];
        for (tag, bits) in [(1_u16, 7_u16), (2, 6), (4, 5), (0x10, 7), (0x20, 0)] {
            list.extend(tag.to_le_bytes());
            list.extend(bits.to_le_bytes());
            list.extend([0xff; 4]);
        }
        assert_eq!(owning_group_bits(&list), 0o050);
    }

    #[test]
    fn a_list_without_sense_grants_nothing() {
        assert_eq!(owning_group_bits(b""), 0);
        assert_eq!(owning_group_bits(&[2, 0, 0, 0, 4, 0]), 0);
    }
}

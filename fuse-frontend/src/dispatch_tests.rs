//! Requests answered from a real volume, made by mke2fs, without a mount.

use std::process::Command;

use fs_core::Volume;
use zerocopy::{FromBytes, IntoBytes};

use super::*;
use crate::negotiate::Agreed;
use crate::options::{Access, MountOptions};
use crate::server::Kind;
use crate::wire::{
    AccessIn, BmapIn, Dirent, EntryOut, GetattrIn, GetxattrIn, InHeader, IoctlIn, LseekIn, OpenIn,
    ReadIn, StatxIn, opcode, statx_mask,
};

/// What sending is said to have done.
pub(super) const SENT: Sent = Sent {
    outcome: Ok(()),
    spare: None,
};

const CONTENT: &[u8] = b"what the file says\n";

/// A server of a volume with `file`, `link` and `dir/inner`, and the directory
/// its image lies in; `None` where there is no mke2fs.
fn server(
    change: impl FnOnce(&mut MountOptions),
    agreed: Agreed,
) -> Option<(Server, tempfile::TempDir)> {
    if !skipping::have_programs(&["mke2fs"]) {
        return None;
    }
    let scratch = tempfile::tempdir().unwrap();
    let tree = scratch.path().join("tree");
    std::fs::create_dir_all(tree.join("dir")).unwrap();
    std::fs::write(tree.join("file"), CONTENT).unwrap();
    std::fs::write(tree.join("dir/inner"), vec![7; 100_000]).unwrap();
    std::os::unix::fs::symlink("dir/inner", tree.join("link")).unwrap();
    let image = scratch.path().join("image");
    std::fs::File::create(&image)
        .unwrap()
        .set_len(8 << 20)
        .unwrap();
    let status = Command::new("mke2fs")
        .args(["-q", "-t", "ext4", "-b", "1024", "-d"])
        .args([&tree, &image])
        .status()
        .unwrap();
    assert!(status.success());
    let how = images::OpenOptions {
        read_only: true,
        ..images::OpenOptions::default()
    };
    let device = images::open(&image, &how).unwrap();
    let volume = Volume::open(device, &fs_core::OpenOptions::default()).unwrap();
    let mut options = MountOptions::new("/mnt", "image");
    change(&mut options);
    Some((
        Server::new(volume.into(), &options, agreed, 1, Kind::plain()),
        scratch,
    ))
}

fn plain_server() -> Option<(Server, tempfile::TempDir)> {
    server(|_| {}, Agreed::default())
}

/// A request in aligned memory.
pub(super) fn request(opcode: u32, nodeid: u64, body: &[u8]) -> Vec<u64> {
    let header = InHeader {
        len: (size_of::<InHeader>() + body.len()) as u32,
        opcode,
        nodeid,
        unique: 1,
        ..InHeader::default()
    };
    aligned(&[header.as_bytes(), body].concat())
}

fn aligned(bytes: &[u8]) -> Vec<u64> {
    let mut words = vec![0u64; bytes.len().div_ceil(8)];
    words.as_mut_bytes()[..bytes.len()].copy_from_slice(bytes);
    words
}

/// Hands the answer to `check`.
pub(super) fn ask<T>(
    server: &Server,
    opcode: u32,
    nodeid: u64,
    body: &[u8],
    check: impl FnOnce(Result<Reply<'_>, Errno>) -> T,
) -> T {
    let words = request(opcode, nodeid, body);
    let len = size_of::<InHeader>() + body.len();
    let message = Message::parse(&words.as_bytes()[..len]).unwrap();
    let mut scratch = Scratch::new().unwrap();
    let mut check = Some(check);
    let mut checked = None;
    let outcome = serve(server, &message, &mut scratch, |reply| {
        checked = check.take().map(|check| check(Ok(reply)));
        SENT
    });
    if let Err(failure) = outcome {
        checked = check.take().map(|check| check(Err(failure.errno())));
    }
    checked.unwrap()
}

fn lookup(server: &Server, parent: u64, name: &str) -> EntryOut {
    let name = [name.as_bytes(), b"\0"].concat();
    ask(server, opcode::LOOKUP, parent, &name, |reply| match reply {
        Ok(Reply::Entry(entry)) => entry,
        other => panic!("{other:?}"),
    })
}

fn errno_of(server: &Server, opcode: u32, nodeid: u64, body: &[u8]) -> Errno {
    ask(server, opcode, nodeid, body, |reply| reply.unwrap_err())
}

#[test]
fn names_lead_to_nodes() {
    let Some((server, _image)) = plain_server() else {
        return;
    };
    let file = lookup(&server, 1, "file");
    assert_eq!(file.attr.size, CONTENT.len() as u64);
    assert_eq!(file.nodeid, file.attr.ino);
    assert_eq!(file.entry_valid, 86_400);
    let dir = lookup(&server, 1, "dir");
    assert_eq!(lookup(&server, dir.nodeid, "inner").attr.size, 100_000);
    let root = lookup(&server, dir.nodeid, "..");
    assert_eq!((root.nodeid, root.generation, root.attr.ino), (1, 0, 2));
    let same = lookup(&server, file.nodeid, ".");
    assert_eq!(
        (same.nodeid, same.generation),
        (file.nodeid, file.generation)
    );
    let none = lookup(&server, 1, "missing");
    assert_eq!((none.nodeid, none.entry_valid), (0, 86_400));
}

#[test]
fn nodes_that_cannot_be_are_stale() {
    let Some((server, _image)) = plain_server() else {
        return;
    };
    let getattr = GetattrIn::default();
    for nodeid in [0, 1 << 32, u64::MAX, 0xffff_fff0] {
        let errno = errno_of(&server, opcode::GETATTR, nodeid, getattr.as_bytes());
        assert_eq!(errno, Errno::STALE, "{nodeid}");
    }
}

#[test]
fn creation_times_are_told() {
    let Some((server, _image)) = plain_server() else {
        return;
    };
    let body = StatxIn::default();
    ask(&server, opcode::STATX, 1, body.as_bytes(), |reply| {
        let Ok(Reply::Statx(out)) = reply else {
            panic!("{reply:?}")
        };
        assert_eq!(out.stat.mask, statx_mask::BASIC_STATS | statx_mask::BTIME);
        assert_eq!(out.stat.ino, 2);
        assert!(out.stat.btime.tv_sec > 1_000_000_000);
    });
}

/// The records of a listing: names with the nodes they were given.
fn records(bytes: &[u8], plus: bool) -> Vec<(String, u64)> {
    let mut rest = bytes;
    let mut found = Vec::new();
    while !rest.is_empty() {
        let mut nodeid = 0;
        let mut head = 0;
        if plus {
            nodeid = EntryOut::read_from_prefix(rest).unwrap().0.nodeid;
            head = size_of::<EntryOut>();
        }
        let dirent = Dirent::read_from_prefix(&rest[head..]).unwrap().0;
        let start = head + size_of::<Dirent>();
        let end = start + dirent.namelen as usize;
        let name = String::from_utf8(rest[start..end].to_vec()).unwrap();
        found.push((name, nodeid));
        rest = &rest[end.next_multiple_of(8)..];
    }
    found
}

fn listing(server: &Server, opcode: u32) -> Vec<(String, u64)> {
    let read = ReadIn {
        size: 4096,
        ..ReadIn::default()
    };
    ask(server, opcode, 1, read.as_bytes(), |reply| match reply {
        Ok(Reply::Bytes(bytes)) => records(&bytes, opcode == opcode::READDIRPLUS),
        other => panic!("{other:?}"),
    })
}

#[test]
fn listings_name_everything_once() {
    let Some((server, _image)) = plain_server() else {
        return;
    };
    let mut names: Vec<_> = listing(&server, opcode::READDIR)
        .into_iter()
        .map(|r| r.0)
        .collect();
    names.sort();
    assert_eq!(names, [".", "..", "dir", "file", "link", "lost+found"]);
    for (name, nodeid) in listing(&server, opcode::READDIRPLUS) {
        let expected = match name.as_str() {
            "." | ".." => 0,
            name => lookup(&server, 1, name).nodeid,
        };
        assert_eq!(nodeid, expected, "{name}");
    }
}

#[test]
fn content_and_links_are_read() {
    let Some((server, _image)) = plain_server() else {
        return;
    };
    let file = lookup(&server, 1, "file").nodeid;
    let read = ReadIn {
        size: 4096,
        offset: 5,
        ..ReadIn::default()
    };
    ask(&server, opcode::READ, file, read.as_bytes(), |reply| {
        let Ok(Reply::Pieces(pieces)) = reply else {
            panic!("{reply:?}")
        };
        assert_eq!(pieces.len_bytes(), CONTENT.len() - 5);
    });
    assert_eq!(
        errno_of(&server, opcode::READ, 1, read.as_bytes()),
        Errno::ISDIR
    );
    let too_large = ReadIn {
        size: (1 << 20) + 1,
        ..read
    };
    let errno = errno_of(&server, opcode::READ, file, too_large.as_bytes());
    assert_eq!(errno, Errno::INVAL);
    let link = lookup(&server, 1, "link").nodeid;
    ask(&server, opcode::READLINK, link, &[], |reply| {
        assert!(matches!(reply, Ok(Reply::Bytes(target)) if target.as_ref() == b"dir/inner"));
    });
}

#[test]
fn opens_are_asked_about_unless_agreed() {
    let Some((server, _image)) = plain_server() else {
        return;
    };
    let open = OpenIn::default();
    ask(&server, opcode::OPEN, 1, open.as_bytes(), |reply| {
        assert!(matches!(reply, Ok(Reply::Open(_))));
    });
    let agreed = Agreed {
        no_open: true,
        no_opendir: true,
        ..Agreed::default()
    };
    let Some((server, _image)) = self::server(|_| {}, agreed) else {
        return;
    };
    for opcode in [opcode::OPEN, opcode::OPENDIR] {
        assert_eq!(errno_of(&server, opcode, 1, open.as_bytes()), Errno::NOSYS);
    }
}

#[test]
fn refusals_have_their_numbers() {
    let Some((server, _image)) = plain_server() else {
        return;
    };
    let write = AccessIn {
        mask: 2,
        padding: 0,
    };
    let cases = [
        (opcode::UNLINK, &b"file\0"[..], Errno::ROFS),
        (opcode::SETATTR, &[0; 88], Errno::ROFS),
        (opcode::ACCESS, write.as_bytes(), Errno::ROFS),
        (opcode::FLUSH, &[0; 24], Errno::NOSYS),
        (4080, b"", Errno::NOSYS),
        (opcode::IOMAP_BEGIN, &[0; 32], Errno::NOSYS),
        (opcode::LOOKUP, b"a/b\0", Errno::INVAL),
    ];
    for (opcode, body, errno) in cases {
        assert_eq!(errno_of(&server, opcode, 1, body), errno, "opcode {opcode}");
    }
    let long = [&[b'n'; 256][..], b"\0"].concat();
    assert_eq!(
        errno_of(&server, opcode::LOOKUP, 1, &long),
        Errno::NAMETOOLONG
    );
    let ioctl = IoctlIn {
        cmd: 0x1234,
        ..IoctlIn::default()
    };
    assert_eq!(
        errno_of(&server, opcode::IOCTL, 1, ioctl.as_bytes()),
        Errno::NOTTY
    );
}

#[test]
fn under_allow_root_nothing_may_be_kept() {
    let restrict = |options: &mut MountOptions| options.access = Access::Root;
    let Some((server, _image)) = server(restrict, Agreed::default()) else {
        return;
    };
    let file = lookup(&server, 1, "file");
    assert_eq!((file.entry_valid, file.attr_valid), (0, 0));
}

#[test]
fn owners_are_replaced() {
    let Some((server, _image)) = server(
        |options| {
            options.uid = Some(1234);
            options.umask = Some(0o77);
        },
        Agreed::default(),
    ) else {
        return;
    };
    let file = lookup(&server, 1, "file").attr;
    assert_eq!((file.uid, file.mode), (1234, 0o100_700));
}

/// xorshift64*: the same requests in every run.
pub(super) fn next(state: &mut u64) -> u64 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    state.wrapping_mul(0x2545_F491_4F6C_DD1D)
}

/// Bodies of the right size with numbers of all magnitudes.
fn random_body(opcode: u32, state: &mut u64) -> Vec<u8> {
    let len = match opcode {
        opcode::LOOKUP => {
            return [&b"file\0"[..], b"dir\0", b"..\0", b".\0"][(next(state) % 4) as usize]
                .to_vec();
        }
        opcode::READLINK | opcode::STATFS | opcode::DESTROY => 0,
        opcode::READ | opcode::READDIR | opcode::READDIRPLUS => size_of::<ReadIn>(),
        opcode::LSEEK => size_of::<LseekIn>(),
        opcode::BMAP => size_of::<BmapIn>(),
        opcode::STATX => size_of::<StatxIn>(),
        opcode::GETATTR => size_of::<GetattrIn>(),
        _ => size_of::<GetxattrIn>(),
    };
    let mut body = Vec::with_capacity(len);
    while body.len() < len {
        let number = next(state) >> (next(state) % 64);
        body.extend_from_slice(&number.to_ne_bytes());
    }
    body.truncate(len);
    if matches!(opcode, opcode::READ | opcode::READDIR | opcode::READDIRPLUS) {
        let size = (next(state) % (64 << 10)) as u32;
        body[16..20].copy_from_slice(&size.to_ne_bytes());
    }
    body
}

#[test]
fn arbitrary_numbers_never_panic() {
    let Some((server, _image)) = plain_server() else {
        return;
    };
    let mut scratch = Scratch::new().unwrap();
    let mut state = 0x0123_4567_89ab_cdef;
    let mut answered = 0;
    for _ in 0..60_000 {
        let opcode = (next(&mut state) % 56) as u32;
        let nodeid = next(&mut state) % 20;
        let body = random_body(opcode, &mut state);
        let words = request(opcode, nodeid, &body);
        let len = size_of::<InHeader>() + body.len();
        let message = Message::parse(&words.as_bytes()[..len]).unwrap();
        answered += u32::from(serve(&server, &message, &mut scratch, |_| SENT).is_ok());
    }
    assert!(answered > 5_000, "only {answered} made sense");
}

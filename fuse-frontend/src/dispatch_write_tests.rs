//! Requests that change a real volume, made by mke2fs, without a mount.

use std::path::{Path, PathBuf};
use std::process::Command;

use fs_core::{WritableVolume, WriteOptions};
use zerocopy::IntoBytes;

use super::tests::{SENT, ask, next, request};
use super::*;
use crate::negotiate::Agreed;
use crate::options::MountOptions;
use crate::server::Kind;
use crate::wire::{
    AttrOut, CopyIn, CreateIn, CreateOut, FallocateIn, ForgetIn, GetattrIn, InHeader, LinkIn,
    MkdirIn, MknodIn, ReadIn, Rename2In, SetattrIn, SetxattrExt, SetxattrIn, WriteIn, fattr,
    opcode, write_flag,
};

const AGREED: Agreed = Agreed {
    no_open: true,
    no_opendir: true,
    writeback: true,
    has_umask: true,
    setxattr_ext: true,
};

/// A server of an empty volume, and the directory its image lies in.
fn server() -> Option<(Server, tempfile::TempDir)> {
    if !skipping::have_programs(&["mke2fs", "e2fsck"]) {
        return None;
    }
    let scratch = tempfile::tempdir().unwrap();
    let image = image_in(scratch.path());
    let file = std::fs::File::create(&image).unwrap();
    file.set_len(8 << 20).unwrap();
    let made = Command::new("mke2fs")
        .args(["-q", "-F", "-t", "ext4", "-b", "1024"])
        .arg(&image)
        .status()
        .unwrap();
    assert!(made.success());
    let device = images::open(&image, &images::OpenOptions::default()).unwrap();
    let volume = WritableVolume::open(device, &WriteOptions::default()).unwrap();
    let options = MountOptions::new("/mnt", "image");
    Some((
        Server::new(volume.into(), &options, AGREED, 1, Kind::plain()),
        scratch,
    ))
}

fn image_in(scratch: &Path) -> PathBuf {
    scratch.join("image")
}

/// Closes the volume; its image must be clean.
fn check(server: Server, scratch: &tempfile::TempDir) {
    server.close().unwrap();
    let checked = Command::new("e2fsck")
        .arg("-fn")
        .arg(image_in(scratch.path()))
        .output()
        .unwrap();
    assert!(checked.status.success(), "{checked:?}");
}

fn create(server: &Server, name: &[u8], mode: u32, umask: u32) -> Result<CreateOut, Errno> {
    let arguments = CreateIn {
        mode,
        umask,
        ..CreateIn::default()
    };
    let body = [arguments.as_bytes(), name, b"\0"].concat();
    ask(server, opcode::CREATE, 1, &body, |reply| match reply? {
        Reply::Create(created) => Ok(created),
        other => panic!("{other:?}"),
    })
}

fn getattr(server: &Server, node: u64) -> Result<AttrOut, Errno> {
    let body = GetattrIn::default();
    ask(
        server,
        opcode::GETATTR,
        node,
        body.as_bytes(),
        |reply| match reply? {
            Reply::Attr(attr) => Ok(attr),
            other => panic!("{other:?}"),
        },
    )
}

fn errno_of(server: &Server, opcode: u32, node: u64, body: &[u8]) -> Option<Errno> {
    ask(server, opcode, node, body, |reply| reply.err())
}

#[test]
fn a_node_lives_until_it_is_forgotten() {
    let Some((server, scratch)) = server() else {
        return;
    };
    let made = create(&server, b"file", 0o100_666, 0o022).unwrap();
    let node = made.entry.nodeid;
    assert_eq!(made.entry.attr.mode, 0o100_644);
    let again = ask(&server, opcode::LOOKUP, 1, b"file\0", |reply| match reply {
        Ok(Reply::Entry(entry)) => entry.nodeid,
        other => panic!("{other:?}"),
    });
    assert_eq!(again, node);
    assert_eq!(errno_of(&server, opcode::UNLINK, 1, b"file\0"), None);
    assert_eq!(getattr(&server, node).unwrap().attr.nlink, 0);
    let forget = |times| ForgetIn { nlookup: times };
    errno_of(&server, opcode::FORGET, node, forget(1).as_bytes());
    assert!(getattr(&server, node).is_ok(), "known once more");
    errno_of(&server, opcode::FORGET, node, forget(u64::MAX).as_bytes());
    assert_eq!(getattr(&server, node).unwrap_err(), Errno::STALE);
    check(server, &scratch);
}

#[test]
fn what_nobody_got_is_taken_back() {
    let Some((server, scratch)) = server() else {
        return;
    };
    let node = create(&server, b"file", 0o100_644, 0).unwrap().entry.nodeid;
    let forget = ForgetIn { nlookup: 1 };
    errno_of(&server, opcode::FORGET, node, forget.as_bytes());
    let read = ReadIn {
        size: 4096,
        ..ReadIn::default()
    };
    let words = request(opcode::READDIRPLUS, 1, read.as_bytes());
    let len = size_of::<InHeader>() + size_of::<ReadIn>();
    let message = Message::parse(&words.as_bytes()[..len]).unwrap();
    let mut scratch_memory = Scratch::new().unwrap();
    serve(&server, &message, &mut scratch_memory, |_| SENT).unwrap();
    assert_eq!(scratch_memory.granted.len(), 2, "lost+found and file");
    server.take_back(&mut scratch_memory.granted);
    assert_eq!(errno_of(&server, opcode::UNLINK, 1, b"file\0"), None);
    assert_eq!(getattr(&server, node).unwrap_err(), Errno::STALE);
    check(server, &scratch);
}

#[test]
fn appending_pages_keep_what_is_there() {
    let Some((server, scratch)) = server() else {
        return;
    };
    let node = create(&server, b"log", 0o100_644, 0).unwrap().entry.nodeid;
    let write = |bytes: &[u8], offset| {
        let arguments = WriteIn {
            offset,
            size: bytes.len() as u32,
            write_flags: write_flag::CACHE,
            ..WriteIn::default()
        };
        let body = [arguments.as_bytes(), bytes].concat();
        errno_of(&server, opcode::WRITE, node, &body)
    };
    assert_eq!(write(b"one", 0), None);
    let inode = number_of(node).unwrap();
    let volume = server.writer().unwrap();
    let flags = volume.inode(inode).unwrap().flags() | fs_core::InodeFlags::APPEND;
    volume.set_flags(inode, flags).unwrap();
    assert_eq!(write(b"one two", 0), None);
    assert_eq!(write(b"ONE two three", 0), Some(Errno::PERM));
    assert_eq!(write(b"wo three", 5), None);
    let mut content = [0; 20];
    let len = volume.read(inode, &mut content, 0).unwrap();
    assert_eq!(&content[..len], b"one two three");
    // The times of what was written before come late.
    let times = SetattrIn {
        valid: fattr::MTIME | fattr::CTIME,
        ..SetattrIn::default()
    };
    assert_eq!(
        errno_of(&server, opcode::SETATTR, node, times.as_bytes()),
        None
    );
    check(server, &scratch);
}

const NAMES: [&[u8]; 6] = [b"a\0", b"b\0", b"dir\0", b"lost+found\0", b"..\0", b".\0"];

/// A number of any magnitude, more often a small one.
fn number(state: &mut u64) -> u64 {
    match next(state) % 4 {
        0 => next(state) >> (next(state) % 64),
        _ => next(state) % 100_000,
    }
}

fn filled<T: zerocopy::FromBytes>(state: &mut u64) -> T {
    let mut words = [0u64; 12];
    for word in &mut words {
        *word = number(state);
    }
    T::read_from_prefix(words.as_bytes()).unwrap().0
}

fn random_change(opcode: u32, state: &mut u64) -> Vec<u8> {
    let name = NAMES[(next(state) % 6) as usize];
    let other = NAMES[(next(state) % 6) as usize];
    let node = next(state) % 24;
    match opcode {
        opcode::SETATTR => filled::<SetattrIn>(state).as_bytes().to_vec(),
        opcode::SYMLINK => [name, b"target\0"].concat(),
        opcode::MKNOD => [filled::<MknodIn>(state).as_bytes(), name].concat(),
        opcode::MKDIR => [filled::<MkdirIn>(state).as_bytes(), name].concat(),
        opcode::CREATE | opcode::TMPFILE => [filled::<CreateIn>(state).as_bytes(), name].concat(),
        opcode::RENAME2 => {
            let arguments = Rename2In {
                newdir: node,
                flags: (next(state) % 9) as u32,
                padding: 0,
            };
            [arguments.as_bytes(), name, other].concat()
        }
        opcode::LINK => [LinkIn { oldnodeid: node }.as_bytes(), name].concat(),
        opcode::WRITE => {
            let mut arguments = filled::<WriteIn>(state);
            arguments.size = (next(state) % 3000) as u32;
            let bytes = vec![next(state) as u8; arguments.size as usize];
            [arguments.as_bytes(), &bytes].concat()
        }
        opcode::SETXATTR => {
            let head = SetxattrIn {
                size: (next(state) % 800) as u32,
                flags: (next(state) % 4) as u32,
            };
            let names = [
                &b"user.x\0"[..],
                b"security.capability\0",
                b"system.posix_acl_access\0",
            ];
            let name = names[(next(state) % 3) as usize];
            let value = vec![2; head.size as usize];
            let ext: SetxattrExt = filled(state);
            [head.as_bytes(), ext.as_bytes(), name, &value].concat()
        }
        opcode::REMOVEXATTR => b"user.x\0".to_vec(),
        opcode::FALLOCATE => {
            let mut arguments = filled::<FallocateIn>(state);
            arguments.mode = [0, 1, 2, 3, 8, 0x10, 0x11, 0x20, 0x40][(next(state) % 9) as usize];
            arguments.as_bytes().to_vec()
        }
        opcode::COPY_FILE_RANGE | opcode::COPY_FILE_RANGE_64 => {
            let mut arguments = filled::<CopyIn>(state);
            arguments.nodeid_out = node;
            arguments.flags = 0;
            arguments.as_bytes().to_vec()
        }
        opcode::FORGET => ForgetIn {
            nlookup: number(state),
        }
        .as_bytes()
        .to_vec(),
        opcode::READ => {
            let mut arguments = filled::<ReadIn>(state);
            arguments.size %= 1 << 20;
            arguments.as_bytes().to_vec()
        }
        opcode::FSYNC => vec![0; 16],
        _ => name.to_vec(),
    }
}

#[test]
fn arbitrary_changes_never_panic_and_leave_the_volume_whole() {
    let Some((server, scratch)) = server() else {
        return;
    };
    let opcodes = [
        opcode::SETATTR,
        opcode::SYMLINK,
        opcode::MKNOD,
        opcode::MKDIR,
        opcode::UNLINK,
        opcode::RMDIR,
        opcode::RENAME2,
        opcode::LINK,
        opcode::WRITE,
        opcode::SETXATTR,
        opcode::REMOVEXATTR,
        opcode::CREATE,
        opcode::TMPFILE,
        opcode::FALLOCATE,
        opcode::COPY_FILE_RANGE,
        opcode::COPY_FILE_RANGE_64,
        opcode::LOOKUP,
        opcode::READ,
        opcode::FORGET,
    ];
    let mut memory = Scratch::new().unwrap();
    let mut state = 0x0123_4567_89ab_cdef;
    let mut done = 0;
    for round in 0..30_000 {
        let at = (next(&mut state) % opcodes.len() as u64) as usize;
        let opcode = if round % 1000 == 999 {
            opcode::FSYNC
        } else {
            opcodes[at]
        };
        let nodeid = next(&mut state) % 24;
        let body = random_change(opcode, &mut state);
        let words = request(opcode, nodeid, &body);
        let len = size_of::<InHeader>() + body.len();
        let message = Message::parse(&words.as_bytes()[..len]).unwrap();
        memory.granted.clear();
        let is_done = serve(&server, &message, &mut memory, |_| SENT).is_ok();
        done += u32::from(is_done);
        if !is_done {
            server.take_back(&mut memory.granted);
        }
    }
    assert!(done > 3_000, "only {done} made sense");
    check(server, &scratch);
}

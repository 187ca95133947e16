//! Malformed and mutated messages: whatever arrives, parsing answers and never panics.

use zerocopy::IntoBytes;

use super::*;
use crate::wire::{
    CopyIn, CreateIn, FallocateIn, LinkIn, MkdirIn, MknodIn, Rename2In, RenameIn, SetattrIn,
    SetxattrExt, SetxattrIn, WriteIn,
};

/// A message in memory aligned as the thread's buffer is.
struct Raw {
    words: Vec<u64>,
    len: usize,
}

impl Raw {
    fn new(bytes: &[u8]) -> Self {
        let mut words = vec![0u64; bytes.len().div_ceil(8)];
        words.as_mut_bytes()[..bytes.len()].copy_from_slice(bytes);
        Self {
            words,
            len: bytes.len(),
        }
    }

    fn bytes(&self) -> &[u8] {
        &self.words.as_bytes()[..self.len]
    }
}

/// A message with a correct header.
fn message(opcode: u32, body: &[u8]) -> Vec<u8> {
    let header = InHeader {
        len: (size_of::<InHeader>() + body.len()) as u32,
        opcode,
        unique: 42,
        nodeid: 1,
        ..InHeader::default()
    };
    [header.as_bytes(), body].concat()
}

/// One valid message for each opcode that has a body to check.
fn valid() -> Vec<(u32, Vec<u8>)> {
    let read = ReadIn {
        size: 4096,
        ..ReadIn::default()
    };
    let getxattr = GetxattrIn {
        size: 64,
        padding: 0,
    };
    let ioctl = IoctlIn {
        cmd: 0x8008_6601,
        in_size: 4,
        out_size: 4,
        ..IoctlIn::default()
    };
    let forgets = BatchForgetIn { count: 2, dummy: 0 };
    vec![
        (opcode::LOOKUP, b"name\0".to_vec()),
        (opcode::FORGET, ForgetIn::default().as_bytes().to_vec()),
        (opcode::GETATTR, GetattrIn::default().as_bytes().to_vec()),
        (opcode::STATX, StatxIn::default().as_bytes().to_vec()),
        (opcode::OPEN, OpenIn::default().as_bytes().to_vec()),
        (opcode::OPENDIR, OpenIn::default().as_bytes().to_vec()),
        (opcode::READ, read.as_bytes().to_vec()),
        (opcode::READDIR, read.as_bytes().to_vec()),
        (opcode::READDIRPLUS, read.as_bytes().to_vec()),
        (
            opcode::GETXATTR,
            [getxattr.as_bytes(), b"user.a/b\0"].concat(),
        ),
        (opcode::LISTXATTR, getxattr.as_bytes().to_vec()),
        (opcode::ACCESS, AccessIn::default().as_bytes().to_vec()),
        (opcode::LSEEK, LseekIn::default().as_bytes().to_vec()),
        (opcode::BMAP, BmapIn::default().as_bytes().to_vec()),
        (opcode::IOCTL, [ioctl.as_bytes(), &[0; 4]].concat()),
        (
            opcode::INTERRUPT,
            InterruptIn::default().as_bytes().to_vec(),
        ),
        (
            opcode::BATCH_FORGET,
            [forgets.as_bytes(), &[0; 32]].concat(),
        ),
        (opcode::FLUSH, FlushIn::default().as_bytes().to_vec()),
        (opcode::FSYNC, FsyncIn::default().as_bytes().to_vec()),
        (opcode::FSYNCDIR, FsyncIn::default().as_bytes().to_vec()),
        (opcode::SYNCFS, SyncfsIn::default().as_bytes().to_vec()),
    ]
    .into_iter()
    .chain(valid_changes())
    .collect()
}

/// The same for the opcodes that change something.
fn valid_changes() -> Vec<(u32, Vec<u8>)> {
    let write = WriteIn {
        size: 5,
        ..WriteIn::default()
    };
    let setxattr = SetxattrIn { size: 5, flags: 1 };
    let ext = SetxattrExt::default();
    let with = |head: &[u8], rest: &[u8]| [head, rest].concat();
    vec![
        (opcode::SETATTR, SetattrIn::default().as_bytes().to_vec()),
        (opcode::SYMLINK, b"name\0some/target\0".to_vec()),
        (
            opcode::MKNOD,
            with(MknodIn::default().as_bytes(), b"name\0"),
        ),
        (
            opcode::MKDIR,
            with(MkdirIn::default().as_bytes(), b"name\0"),
        ),
        (opcode::UNLINK, b"name\0".to_vec()),
        (opcode::RMDIR, b"name\0".to_vec()),
        (
            opcode::RENAME,
            with(RenameIn::default().as_bytes(), b"old\0new\0"),
        ),
        (
            opcode::RENAME2,
            with(Rename2In::default().as_bytes(), b"old\0new\0"),
        ),
        (opcode::LINK, with(LinkIn::default().as_bytes(), b"name\0")),
        (
            opcode::CREATE,
            with(CreateIn::default().as_bytes(), b"name\0"),
        ),
        (opcode::WRITE, with(write.as_bytes(), b"bytes")),
        (
            opcode::SETXATTR,
            [setxattr.as_bytes(), ext.as_bytes(), b"user.a/b\0value"].concat(),
        ),
        (opcode::REMOVEXATTR, b"user.a/b\0".to_vec()),
        (
            opcode::FALLOCATE,
            FallocateIn::default().as_bytes().to_vec(),
        ),
        (
            opcode::COPY_FILE_RANGE,
            CopyIn::default().as_bytes().to_vec(),
        ),
        (
            opcode::COPY_FILE_RANGE_64,
            CopyIn::default().as_bytes().to_vec(),
        ),
    ]
}

/// What newer kernels agree to.
const AGREED: Agreed = Agreed {
    no_open: false,
    no_opendir: false,
    writeback: true,
    has_umask: true,
    setxattr_ext: true,
};

fn parses(bytes: &[u8]) -> bool {
    let raw = Raw::new(bytes);
    Message::parse(raw.bytes()).is_ok_and(|message| message.request(AGREED).is_ok())
}

#[test]
fn valid_messages_are_understood() {
    for (opcode, body) in valid() {
        let raw = Raw::new(&message(opcode, &body));
        let message = Message::parse(raw.bytes()).unwrap();
        assert_eq!(message.header.unique, 42);
        let request = message.request(AGREED).unwrap();
        let is_known = !matches!(request, Request::Declined | Request::Unknown);
        assert!(is_known, "opcode {opcode}");
    }
}

#[test]
fn a_body_of_another_length_is_refused() {
    for (opcode, body) in valid() {
        for len in 0..body.len() {
            assert!(
                !parses(&message(opcode, &body[..len])),
                "opcode {opcode}, {len} bytes"
            );
        }
        let longer = [&body[..], b"x"].concat();
        assert!(
            !parses(&message(opcode, &longer)),
            "opcode {opcode}, a byte more"
        );
    }
}

#[test]
fn a_header_must_tell_the_length() {
    for (opcode, body) in valid() {
        let good = message(opcode, &body);
        for wrong in [
            0,
            1,
            39,
            good.len() as u32 - 1,
            good.len() as u32 + 1,
            u32::MAX,
        ] {
            let mut bytes = good.clone();
            bytes[..4].copy_from_slice(&wrong.to_ne_bytes());
            let raw = Raw::new(&bytes);
            let error = Message::parse(raw.bytes()).unwrap_err();
            assert!(matches!(error, Malformed::Length { unique: 42, .. }));
        }
    }
    for len in 0..size_of::<InHeader>() {
        let raw = Raw::new(&vec![0xff; len]);
        assert_eq!(Message::parse(raw.bytes()).unwrap_err(), Malformed::Header);
    }
}

#[test]
fn extensions_are_cut_off_and_must_fit() {
    let with_extensions = |units: u16| {
        let mut bytes = message(opcode::LOOKUP, b"ab\0\0\0\0\0\0\0\0\0");
        bytes[36..38].copy_from_slice(&units.to_ne_bytes());
        bytes
    };
    let raw = Raw::new(&with_extensions(1));
    let message = Message::parse(raw.bytes()).unwrap();
    assert!(matches!(
        message.request(AGREED),
        Ok(Request::Lookup { name: b"ab" })
    ));
    assert!(!parses(&with_extensions(0)), "NUL inside the name");
    assert!(!parses(&with_extensions(2)), "longer than the message");
    assert!(!parses(&with_extensions(u16::MAX)));
}

#[test]
fn names_end_inside_the_message_and_have_no_slash() {
    for name in [&b""[..], b"\0", b"a", b"a/b\0", b"/\0", b"a\0b\0", b"a\0\0"] {
        assert!(!parses(&message(opcode::LOOKUP, name)), "{name:?}");
    }
    let size = GetxattrIn::default();
    for name in [&b""[..], b"\0", b"user.a", b"a\0b\0"] {
        let body = [size.as_bytes(), name].concat();
        assert!(!parses(&message(opcode::GETXATTR, &body)), "{name:?}");
    }
}

#[test]
fn counts_must_agree_with_what_follows() {
    for count in [0, 1, 3, u32::MAX] {
        let head = BatchForgetIn { count, dummy: 0 };
        let body = [head.as_bytes(), &[0; 32]].concat();
        assert!(!parses(&message(opcode::BATCH_FORGET, &body)), "{count}");
    }
    for in_size in [0, 3, 5, u32::MAX] {
        let head = IoctlIn {
            in_size,
            ..IoctlIn::default()
        };
        let body = [head.as_bytes(), &[0; 4]].concat();
        assert!(!parses(&message(opcode::IOCTL, &body)), "{in_size}");
    }
}

#[test]
fn changes_are_those_that_are_parsed_as_such() {
    for (opcode, body) in valid() {
        let raw = Raw::new(&message(opcode, &body));
        let message = Message::parse(raw.bytes()).unwrap();
        let request = message.request(AGREED).unwrap();
        let is_parsed_as_one = matches!(request, Request::Change(_));
        assert_eq!(is_parsed_as_one, is_change(opcode), "opcode {opcode}");
    }
}

#[test]
fn two_names_are_told_apart() {
    let raw = Raw::new(&message(
        opcode::RENAME2,
        &[Rename2In::default().as_bytes(), b"old\0new\0"].concat(),
    ));
    let message = Message::parse(raw.bytes()).unwrap();
    let Ok(Request::Change(Change::Rename(rename))) = message.request(AGREED) else {
        panic!("no rename");
    };
    assert_eq!((rename.name, rename.new_name), (&b"old"[..], &b"new"[..]));
}

#[test]
fn the_short_form_of_setxattr_is_understood_without_the_agreement() {
    let arguments = SetxattrIn { size: 3, flags: 0 };
    let body = [arguments.as_bytes(), b"user.a/b\0val"].concat();
    let raw = Raw::new(&message(opcode::SETXATTR, &body));
    let message = Message::parse(raw.bytes()).unwrap();
    let Ok(Request::Change(Change::SetXattr(set))) = message.request(Agreed::default()) else {
        panic!("no setxattr");
    };
    assert_eq!((set.name, set.value), (&b"user.a/b"[..], &b"val"[..]));
}

#[test]
fn unknown_opcodes_are_unknown() {
    for opcode in [0, 7, 19, 48, 49, 54, 4092, 4096, u32::MAX] {
        let raw = Raw::new(&message(opcode, b"anything"));
        let message = Message::parse(raw.bytes()).unwrap();
        assert!(
            matches!(message.request(AGREED), Ok(Request::Unknown)),
            "{opcode}"
        );
    }
}

/// xorshift64*: the same mutations in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

fn mutate(random: &mut Random, bytes: &mut Vec<u8>) {
    for _ in 0..=random.below(4) {
        match random.below(5) {
            0 => bytes.truncate(random.below(bytes.len() + 1)),
            1 => bytes.extend((0..random.below(24)).map(|n| n as u8)),
            _ if bytes.is_empty() => {}
            2 => {
                let at = random.below(bytes.len());
                bytes[at] ^= 1 << random.below(8);
            }
            3 => {
                let at = random.below(bytes.len());
                bytes[at] = [0, 1, 0x2f, 0x7f, 0x80, 0xff][random.below(6)];
            }
            // Keep the length right, so that the mutation reaches the body.
            _ => {
                let len = (bytes.len() as u32).to_ne_bytes();
                let end = bytes.len().min(4);
                bytes[..end].copy_from_slice(&len[..end]);
            }
        }
    }
}

#[test]
fn mutated_messages_never_panic() {
    let messages = valid();
    let mut random = Random(0x1234_5678_9abc_def1);
    let mut understood = 0u32;
    for round in 0..400_000 {
        let (opcode, body) = &messages[round % messages.len()];
        let mut bytes = message(*opcode, body);
        mutate(&mut random, &mut bytes);
        let raw = Raw::new(&bytes);
        let Ok(message) = Message::parse(raw.bytes()) else {
            continue;
        };
        match message.request(AGREED) {
            Ok(Request::Lookup { name }) => {
                assert!(!name.is_empty() && !name.contains(&b'/') && !name.contains(&0));
            }
            Ok(Request::GetXattr { name, .. })
            | Ok(Request::Change(Change::RemoveXattr { name })) => {
                assert!(!name.is_empty() && !name.contains(&0));
            }
            Ok(Request::Change(Change::Rename(rename))) => {
                for name in [rename.name, rename.new_name] {
                    assert!(!name.is_empty() && !name.contains(&b'/') && !name.contains(&0));
                }
            }
            Ok(Request::Change(Change::Write { arguments, data })) => {
                assert_eq!(arguments.size as usize, data.len());
            }
            Ok(_) => understood += 1,
            Err(BadBody) => {}
        }
    }
    assert!(
        understood > 50_000,
        "only {understood} got through: mutations too wild"
    );
}

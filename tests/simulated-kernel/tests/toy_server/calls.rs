//! Calls on names, attributes and extended attributes: what the server is asked, byte by byte.

use std::sync::Arc;

use parking_lot::Mutex;
use simulated_kernel::numbers::{attr, notify, op, setattr};
use simulated_kernel::wire::{
    Attr, AttrOut, CreateOut, Dirent, EntryOut, GetxattrIn, GetxattrOut, OpenOut, ReadIn,
    SetattrIn, StatfsOut,
};
use simulated_kernel::{Errno, Kernel};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::toy::{Mounted, NODE, Options, VARIANTS, message, set_error};

/// Requests as they came: opcode and body.
type Seen = Arc<Mutex<Vec<(u32, Vec<u8>)>>>;

fn succeed(reply: &mut Vec<u8>, parts: &[&[u8]]) {
    let body = parts.concat();
    set_error(reply, 0);
    reply[0..4].copy_from_slice(&(16 + body.len() as u32).to_ne_bytes());
    reply.extend_from_slice(&body);
}

fn entry(nodeid: u64) -> EntryOut {
    EntryOut {
        nodeid,
        attr: Attr {
            ino: nodeid + 10,
            mode: 0o100_644,
            flags: attr::EXCLUSIVE | attr::IOMAP,
            ..Attr::default()
        },
        ..EntryOut::default()
    }
}

/// An entry of a listing with its padding.
fn listed(name: &str, off: u64) -> Vec<u8> {
    let head = Dirent {
        ino: 20 + off,
        off,
        namelen: name.len() as u32,
        kind: 8,
    };
    let mut bytes = [head.as_bytes(), name.as_bytes()].concat();
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

fn answer(opcode: u32, request: &[u8], reply: &mut Vec<u8>) {
    let value: &[u8] = b"value";
    match opcode {
        op::MKDIR | op::MKNOD | op::SYMLINK => succeed(reply, &[entry(30).as_bytes()]),
        op::LINK => {
            let (node, _) = u64::read_from_prefix(request).unwrap();
            succeed(reply, &[entry(node).as_bytes()]);
        }
        op::TMPFILE | op::CREATE => {
            let open = OpenOut::default();
            let entry = entry(31);
            succeed(reply, &[CreateOut { entry, open }.as_bytes()]);
        }
        op::READLINK => succeed(reply, &[b"target"]),
        op::GETXATTR | op::LISTXATTR => match GetxattrIn::read_from_prefix(request).unwrap().0 {
            GetxattrIn { size: 0, .. } => {
                let size = value.len() as u32;
                succeed(reply, &[GetxattrOut { size, padding: 0 }.as_bytes()]);
            }
            _ => succeed(reply, &[value]),
        },
        op::STATFS => succeed(
            reply,
            &[StatfsOut {
                bfree: 77,
                ..StatfsOut::default()
            }
            .as_bytes()],
        ),
        op::OPENDIR => succeed(reply, &[OpenOut::default().as_bytes()]),
        op::READDIR | op::READDIRPLUS => {
            let (read, _) = ReadIn::read_from_prefix(request).unwrap();
            let plus = opcode == op::READDIRPLUS;
            let head = |nodeid| match plus {
                true => entry(nodeid).as_bytes().to_vec(),
                false => Vec::new(),
            };
            match read.offset {
                0 => succeed(
                    reply,
                    &[&head(1), &listed(".", 1), &head(40), &listed("a", 2)],
                ),
                2 => succeed(reply, &[&head(0), &listed("longer name", 3)]),
                _ => succeed(reply, &[]),
            }
        }
        op::RMDIR | op::RENAME | op::RENAME2 | op::SETXATTR | op::REMOVEXATTR | op::RELEASEDIR => {
            succeed(reply, &[]);
        }
        _ => {}
    }
}

fn with(test: impl Fn(&Kernel, &Mutex<Vec<(u32, Vec<u8>)>>)) {
    for variant in VARIANTS {
        let seen = Seen::default();
        let log = Arc::clone(&seen);
        let mut options = Options::new(variant);
        options.tamper = Arc::new(move |opcode, request, reply| {
            log.lock().push((opcode, request.to_vec()));
            answer(opcode, request, reply);
        });
        let mounted = Mounted::new(options);
        seen.lock().clear();
        test(&mounted.kernel, &seen);
        mounted.assert_clean();
    }
}

/// A request's body: numbers, then the rest.
fn body<T: IntoBytes + Immutable>(numbers: &[T], rest: &[u8]) -> Vec<u8> {
    [numbers.as_bytes(), rest].concat()
}

#[test]
fn names_are_asked_for_as_the_protocol_says() {
    with(|kernel, seen| {
        assert_eq!(kernel.mkdir(1, "d", 0o777).unwrap().nodeid, 30);
        kernel.mknod(1, "n", 0o010_666, 3).unwrap();
        kernel.symlink(1, "s", "target").unwrap();
        assert_eq!(kernel.readlink(30).unwrap(), b"target");
        kernel.link(NODE, 1, "l").unwrap();
        let (made, _) = kernel.tmpfile(1, 0o666, 2).unwrap();
        kernel.link(made.nodeid, 1, "t").unwrap();
        kernel.rename((1, "a"), (5, "b"), 0).unwrap();
        kernel.rename((1, "a"), (5, "b"), 2).unwrap();
        kernel.rmdir(1, "d").unwrap();
        let expected = [
            (op::MKDIR, body(&[0o755u32, 0o022], b"d\0")),
            (op::MKNOD, body(&[0o010_644u32, 3, 0o022, 0], b"n\0")),
            (op::SYMLINK, b"s\0target\0".to_vec()),
            (op::READLINK, Vec::new()),
            (op::LINK, body(&[NODE], b"l\0")),
            (op::TMPFILE, body(&[2u32, 0o100_644, 0o022, 0], b"/\0")),
            (op::LINK, body(&[31u64], b"t\0")),
            (op::RENAME, body(&[5u64], b"a\0b\0")),
            (op::RENAME2, body(&[5u64, 2], b"a\0b\0")),
            (op::RMDIR, b"d\0".to_vec()),
        ];
        assert_eq!(*seen.lock(), expected);
        let lookups = kernel
            .in_core()
            .iter()
            .map(|inode| (inode.nodeid, inode.lookups))
            .collect::<Vec<_>>();
        assert_eq!(lookups, [(NODE, 2), (30, 3), (31, 2)]);
    });
}

#[test]
fn listing_brings_inodes_into_core_only_with_plus() {
    with(|kernel, _| {
        for plus in [false, true] {
            let all = kernel.list(1, plus).unwrap();
            let names: Vec<_> = all.iter().map(|entry| entry.name.as_slice()).collect();
            assert_eq!(names, [b".".as_slice(), b"a", b"longer name"]);
            let nodes: Vec<_> = all.iter().map(|entry| entry.nodeid).collect();
            assert_eq!(nodes, [None, plus.then_some(40), None]);
            let there = kernel.in_core().iter().any(|inode| inode.nodeid == 40);
            assert_eq!(there, plus);
        }
    });
}

#[test]
fn extended_attributes_and_space() {
    with(|kernel, seen| {
        kernel.setxattr(NODE, "user.a", b"xy", 1).unwrap();
        assert_eq!(kernel.getxattr(NODE, "user.a").unwrap(), b"value");
        assert_eq!(kernel.listxattr(NODE).unwrap(), b"value");
        kernel.removexattr(1, "user.a").unwrap();
        assert_eq!(kernel.statfs(1).unwrap().bfree, 77);
        let first = seen.lock()[0].clone();
        assert_eq!(first, (op::SETXATTR, body(&[2u32, 1], b"user.a\0xy")));
    });
}

#[test]
fn attributes_change_after_dirty_data_is_written() {
    with(|kernel, seen| {
        kernel.write(NODE, 0, &[1; 100]).unwrap();
        seen.lock().clear();
        kernel.chmod(NODE, 0o600).unwrap();
        kernel.chown(NODE, 3, 4).unwrap();
        kernel.utimens(NODE, (5, 6), (7, 8)).unwrap();
        let seen = seen.lock();
        let ioend = seen
            .iter()
            .position(|(opcode, _)| *opcode == op::IOMAP_IOEND);
        let asked = |valid: u32| {
            seen.iter().position(|(opcode, body)| {
                *opcode == op::SETATTR
                    && SetattrIn::read_from_prefix(body).unwrap().0.valid == valid
            })
        };
        let chmod = asked(setattr::MODE);
        assert!(ioend.is_some() && ioend < chmod);
        assert!(chmod < asked(setattr::UID | setattr::GID));
        assert!(asked(setattr::ATIME | setattr::MTIME).is_some());
    });
}

#[test]
fn unknown_requests_and_wrong_nodes_are_errors() {
    for variant in VARIANTS {
        let mounted = Mounted::new(Options::new(variant));
        let kernel = &mounted.kernel;
        assert_eq!(
            kernel.setxattr(NODE, "user.a", b"", 0),
            Err(Errno::OPNOTSUPP)
        );
        assert_eq!(kernel.rename((1, "a"), (1, "b"), 1), Err(Errno::INVAL));
        let other = Options::new(variant).raw(op::LINK, |reply| {
            succeed(reply, &[entry(50).as_bytes()]);
        });
        let other = Mounted::new(other);
        assert_eq!(other.kernel.link(NODE, 1, "l").err(), Some(Errno::IO));
        let malformed = Options::new(variant).raw(op::OPENDIR, |reply| {
            succeed(reply, &[AttrOut::default().as_bytes()]);
        });
        let malformed = Mounted::new(malformed);
        assert_eq!(malformed.kernel.list(1, false), Err(Errno::IO));
    }
}

#[test]
fn what_trees_hold_is_counted() {
    for variant in VARIANTS {
        let mounted = Mounted::new(Options::new(variant));
        let kernel = &mounted.kernel;
        assert_eq!(kernel.tree_bytes_max(NODE), 0);
        kernel.write_direct(NODE, 0, &[1; 4096]).unwrap();
        kernel.refuse_upsert(Errno::NOMEM);
        let _ = kernel.read_direct(NODE, 0, 4096);
        kernel.read_direct(NODE, 0, 4096).unwrap();
        let inodes = kernel.in_core();
        assert_eq!(inodes.len(), 1);
        assert!(inodes[0].read_records > 0);
        assert_eq!(inodes[0].tree_bytes_max, kernel.tree_bytes_max(NODE));
        assert!(kernel.tree_bytes_max(NODE) >= inodes[0].read_records as u64 * 32);
        let counts = kernel.counts();
        assert_eq!(counts.upserts_refused.get(&12), Some(&1));
        assert_eq!(counts.begins_with(0), counts.begin_count());
    }
}

#[test]
fn names_in_notifications_have_their_length() {
    for variant in VARIANTS {
        for (code, fixed) in [(notify::INVAL_ENTRY, 16), (notify::DELETE, 24)] {
            let mounted = Mounted::new(Options::new(variant));
            let send = |namelen: u32, name: &[u8]| {
                let mut payload = vec![0; fixed];
                payload[fixed - 8..fixed - 4].copy_from_slice(&namelen.to_ne_bytes());
                payload.extend_from_slice(name);
                mounted.handle.notify(&message(code, &payload))
            };
            assert_eq!(send(4, b"name\0"), Ok(()));
            mounted.assert_clean();
            assert_eq!(send(4, b"name"), Err(Errno::INVAL));
            assert_eq!(send(5, b"name\0"), Err(Errno::INVAL));
            assert_eq!(send(1025, &[0; 1026]), Err(Errno::NAMETOOLONG));
            assert_eq!(mounted.kernel.violations().len(), 3);
        }
    }
}

//! A kernel that asks what it must not: each question gets one answer, an error of the right
//! kind, and nothing is changed.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::{Context, Result, bail, ensure};
use fs_core::{WritableVolume, WriteOptions};
use fuse_frontend::{Connection, ConnectionCalls, IomapMode, MountOptions, Session};
use images::BlockDevice;
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::net::{recv, send, socketpair};
use simulated_kernel::SimDevice;
use simulated_kernel::numbers::{map, op, opflag};
use system_tests::mkfs::judge::fsck;
use system_tests::rng::Rng;
use system_tests::scratch::Scratch;

use crate::device::ServerDevice;
use crate::rig::{load, possible, store};

const ROOT: u64 = 1;
const IMAGE_BYTES: u64 = 16 << 20;
const SUPPORT: u32 = 0x8010_e563;
const BACKING_OPEN: u32 = 0x4010_e501;
/// Random requests besides those of the table.
const RANDOM_REQUESTS: u64 = 4000;

/// Says yes to everything.
#[derive(Debug)]
struct Yes;

impl ConnectionCalls for Yes {
    fn ioctl(&self, command: u32, argument: &mut [u8]) -> io::Result<u32> {
        if command == SUPPORT {
            argument[..8].copy_from_slice(&3u64.to_ne_bytes());
        }
        Ok(u32::from(command == BACKING_OPEN))
    }

    fn notify(&self, _message: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

/// A message's fields, one after the other.
#[derive(Default, Clone)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_ne_bytes());
        self
    }

    fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_ne_bytes());
        self
    }
}

/// BEGIN's fields.
fn begin(opflags: u32, attr_ino: u64, pos: u64, count: u64) -> Bytes {
    let start = Bytes::default().u32(opflags).u32(0);
    start.u64(attr_ino).u64(pos).u64(count)
}

/// IOEND's fields.
fn ioend(flags: u32, error: i32, attr_ino: u64, pos: u64, written: u64) -> Bytes {
    let start = Bytes::default().u32(flags).u32(error.cast_unsigned());
    let place = start.u64(attr_ino).u64(pos).u64(u64::MAX);
    place.u64(written).u32(0).u32(0)
}

/// END's fields, of a write that is said to have made the file longer.
fn longer(attr_ino: u64, pos: u64, written: u64) -> Bytes {
    let mapping = Bytes::default().u64(0).u64(4096).u64(u64::MAX);
    let mapping = mapping.u32(u32::from(map::SIZE_CHANGED) << 16).u32(0);
    let mut end = begin(WRITE, attr_ino, pos, written).u64(written);
    end.0.extend(mapping.0);
    end
}

struct Peer {
    socket: OwnedFd,
    unique: u64,
    server: Option<JoinHandle<Result<()>>>,
}

impl Peer {
    fn new(device: &Arc<SimDevice>) -> Result<Self> {
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        let device: Arc<dyn BlockDevice> = Arc::new(ServerDevice::new(Arc::clone(device))?);
        let server = std::thread::spawn(move || {
            let volume = WritableVolume::open(device, &WriteOptions::default())?;
            let options = MountOptions {
                iomap: IomapMode::Always,
                ..MountOptions::new("/", "hostile")
            };
            let connection = Connection {
                channels: vec![theirs],
                calls: Some(Arc::new(Yes)),
            };
            Ok(Session::over(connection, volume, &options)?.serve()?)
        });
        let mut peer = Self {
            socket: ours,
            unique: 0,
            server: Some(server),
        };
        let (ext, iomap) = (1u32 << 30, 1u32 << 11);
        let mut init = Bytes::default()
            .u32(7)
            .u32(99)
            .u32(1 << 17)
            .u32(ext)
            .u32(iomap);
        init.0.resize(64, 0);
        peer.ask(op::INIT, 0, &init)?.map_err(io::Error::from)?;
        let mut config = Bytes::default()
            .u64(0x7f)
            .u64(i64::MAX.unsigned_abs())
            .u32(262_144);
        config.0.resize(64, 0);
        peer.ask(op::IOMAP_CONFIG, 0, &config)?
            .map_err(io::Error::from)?;
        Ok(peer)
    }

    /// Sends a request and waits for its one answer.
    fn ask(&mut self, opcode: u32, node: u64, body: &Bytes) -> Result<Result<Vec<u8>, Errno>> {
        self.unique += 2;
        let len = u32::try_from(40 + body.0.len())?;
        let header = Bytes::default()
            .u32(len)
            .u32(opcode)
            .u64(self.unique)
            .u64(node);
        // User and group 0, no process, no extensions.
        let mut message = header.u64(0).u64(0).0;
        message.extend(&body.0);
        send(&self.socket, &message, SendFlags::NOSIGNAL)?;
        let mut answer = vec![0; 1 << 16];
        let (len, _) = recv(&self.socket, &mut answer[..], RecvFlags::empty())?;
        ensure!(len >= 16, "an answer of {len} bytes to opcode {opcode}");
        let unique = u64::from_ne_bytes(answer[8..16].try_into()?);
        ensure!(unique == self.unique, "an answer to another request");
        let error = i32::from_ne_bytes(answer[4..8].try_into()?);
        ensure!((-511..=0).contains(&error), "an error of {error}");
        ensure!(error == 0 || len == 16, "an error with a body");
        Ok(match error {
            0 => Ok(answer[16..len].to_vec()),
            error => Err(Errno::from_raw_os_error(-error)),
        })
    }

    fn create(&mut self, name: &str) -> Result<u64> {
        // Flags, mode, umask, open_flags.
        let mut body = Bytes::default().u32(2).u32(0o100_644).u32(0).u32(0);
        body.0.extend(name.as_bytes());
        body.0.push(0);
        let answer = self
            .ask(op::CREATE, ROOT, &body)?
            .map_err(io::Error::from)?;
        Ok(u64::from_ne_bytes(
            answer.get(..8).context("short")?.try_into()?,
        ))
    }

    fn size(&mut self, node: u64) -> Result<u64> {
        let body = Bytes(vec![0; 16]);
        let answer = self
            .ask(op::GETATTR, node, &body)?
            .map_err(io::Error::from)?;
        Ok(u64::from_ne_bytes(
            answer.get(24..32).context("short")?.try_into()?,
        ))
    }

    fn end(mut self) -> Result<()> {
        drop(self.socket);
        match self.server.take().map(JoinHandle::join) {
            Some(Ok(outcome)) => outcome,
            _ => bail!("the server panicked"),
        }
    }
}

const WRITE: u32 = 1;
const DIRECT: u32 = 16;
const UNWRITTEN: u32 = 2;
const SHARED: u32 = 1;

fn questions(file: u64, directory: u64) -> Vec<(u32, u64, Bytes, Errno)> {
    let (begins, ends, ioends) = (op::IOMAP_BEGIN, op::IOMAP_END, op::IOMAP_IOEND);
    let unknown = 1 << 30;
    vec![
        (begins, file, Bytes(vec![0; 31]), Errno::INVAL),
        (begins, file, Bytes(vec![0; 40]), Errno::INVAL),
        (begins, file, begin(1 << 15, file, 0, 4096), Errno::INVAL),
        (begins, file, begin(0, file + 1, 0, 4096), Errno::INVAL),
        (
            begins,
            file,
            begin(0, file, u64::MAX - 5, 4096),
            Errno::INVAL,
        ),
        (begins, file, begin(0, file, 0, u64::MAX), Errno::INVAL),
        (begins, file, begin(0, file, 0, 0), Errno::INVAL),
        (
            begins,
            file,
            begin(WRITE | DIRECT, file, 1 << 60, 4096),
            Errno::FBIG,
        ),
        (begins, unknown, begin(0, unknown, 0, 4096), Errno::STALE),
        (begins, 0, begin(0, 0, 0, 4096), Errno::STALE),
        (
            begins,
            directory,
            begin(0, directory, 0, 4096),
            Errno::INVAL,
        ),
        (
            begins,
            directory,
            begin(WRITE, directory, 0, 4096),
            Errno::INVAL,
        ),
        (
            begins,
            file,
            begin(opflag::SWAPFILE, file, 0, 4096),
            Errno::INVAL,
        ),
        (ends, file, Bytes(vec![0; 71]), Errno::INVAL),
        (ends, unknown, longer(unknown, 0, 4096), Errno::STALE),
        (ends, file, longer(file, 1 << 60, 4096), Errno::INVAL),
        (ends, file, longer(file, u64::MAX - 5, 4096), Errno::INVAL),
        (ioends, file, Bytes(vec![0; 47]), Errno::INVAL),
        (ioends, file, ioend(1 << 20, 0, file, 0, 4096), Errno::INVAL),
        (
            ioends,
            file,
            ioend(UNWRITTEN, 0, file + 1, 0, 4096),
            Errno::INVAL,
        ),
        (
            ioends,
            file,
            ioend(UNWRITTEN, 0, file, u64::MAX - 5, 4096),
            Errno::FBIG,
        ),
        (
            ioends,
            file,
            ioend(UNWRITTEN, 0, file, 0, u64::MAX),
            Errno::FBIG,
        ),
        // Space that was never allocated.
        (
            ioends,
            file,
            ioend(UNWRITTEN, 0, file, 1 << 20, 4096),
            Errno::UCLEAN,
        ),
        (ioends, file, ioend(SHARED, 0, file, 0, 4096), Errno::UCLEAN),
        (
            ioends,
            unknown,
            ioend(UNWRITTEN, 0, unknown, 0, 4096),
            Errno::STALE,
        ),
        (op::FREEZE_FS, ROOT, Bytes(vec![0; 7]), Errno::INVAL),
        (op::SHUTDOWN_FS, ROOT, Bytes(vec![0; 9]), Errno::INVAL),
    ]
}

#[test]
fn questions_that_make_no_sense_change_nothing() -> Result<()> {
    if !possible() {
        return Ok(());
    }
    let kinds: [&[&str]; 3] = [
        &["-t", "ext4", "-b", "4096"],
        &["-t", "ext4", "-b", "1024", "-O", "inline_data"],
        &["-t", "ext3", "-b", "1024"],
    ];
    for kind in kinds {
        let scratch = Scratch::new()?;
        let image = scratch.mke2fs("image", IMAGE_BYTES, kind)?;
        let device = Arc::new(SimDevice::new(IMAGE_BYTES, 1024));
        load(&image, &device)?;
        let mut peer = Peer::new(&device)?;
        let file = peer.create("file")?;
        let mut mkdir = Bytes::default().u32(0o755).u32(0);
        mkdir.0.extend(b"dir\0");
        let made = peer
            .ask(op::MKDIR, ROOT, &mkdir)?
            .map_err(io::Error::from)?;
        let directory = u64::from_ne_bytes(made[..8].try_into()?);
        for (index, (opcode, node, body, errno)) in
            questions(file, directory).into_iter().enumerate()
        {
            let answer = peer.ask(opcode, node, &body)?;
            ensure!(
                answer.as_ref().err() == Some(&errno),
                "{kind:?}, question {index}: {answer:?} for {errno}"
            );
            ensure!(
                peer.size(file)? == 0,
                "{kind:?}, question {index}: another size"
            );
        }
        at_random(&mut peer, file)?;
        peer.end()?;
        store(&device, &image)?;
        fsck(&image).with_context(|| format!("{kind:?}"))?;
    }
    Ok(())
}

/// Numbers near all limits, in any combination; every request gets its answer.
fn at_random(peer: &mut Peer, file: u64) -> Result<()> {
    let mut rng = Rng::new(1);
    let numbers = [
        0,
        1,
        511,
        4096,
        1 << 20,
        1 << 32,
        1 << 44,
        i64::MAX as u64,
        u64::MAX,
    ];
    for _ in 0..RANDOM_REQUESTS {
        let mut number = || {
            numbers[rng.below(9) as usize]
                .wrapping_add(rng.below(3))
                .wrapping_sub(1)
        };
        let (pos, count, ino) = (
            number(),
            number(),
            [file, file, number()][(number() % 3) as usize],
        );
        let flags = 1u32.unbounded_shl((number() % 34) as u32);
        let body = match number() % 3 {
            0 => begin(flags, ino, pos, count),
            1 => ioend(flags % 256, -((number() % 700) as i32), ino, pos, count),
            _ => {
                let mut end = begin(flags, ino, pos, count).u64(number());
                end.0.resize(72, 0);
                end
            }
        };
        let opcode = match body.0.len() {
            32 => op::IOMAP_BEGIN,
            48 => op::IOMAP_IOEND,
            _ => op::IOMAP_END,
        };
        let _ = peer.ask(opcode, file, &body)?;
    }
    Ok(())
}

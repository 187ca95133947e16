//! The toy server and a kernel it is mounted on.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::Mutex;
use simulated_kernel::numbers::{
    attr, config, fopen, ioctl, ioend, map, notify, op, opflag, setattr,
};
use simulated_kernel::wire::*;
use simulated_kernel::{
    Access, Chaos, Descriptor, Errno, Handle, Kernel, Kind, Mapping, Personality, Rule, Settings,
    SimDevice, Variant,
};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub(crate) const BLOCK: u64 = 4096;
/// The file's blocks, and where the first lies on the device.
pub(crate) const BLOCKS: usize = 256;
pub(crate) const FIRST: u64 = 100;
pub(crate) const NODE: u64 = 2;
pub(crate) const INO: u64 = 12;
pub(crate) const FD: i32 = 7;
pub(crate) const VARIANTS: [Variant; 2] = [Variant::S, Variant::L];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cell {
    Hole,
    Unwritten,
    Written,
}

#[derive(Debug)]
pub(crate) struct File {
    pub(crate) size: u64,
    cells: Vec<Cell>,
}

/// Changes a whole reply before it is sent; given opcode and request body.
pub(crate) type Tamper = Arc<dyn Fn(u32, &[u8], &mut Vec<u8>) + Send + Sync>;

#[derive(Clone)]
pub(crate) struct Options {
    pub(crate) settings: Settings,
    pub(crate) tamper: Tamper,
    /// BEGIN is answered with mappings, not with an upsert and RETRY_CACHE.
    pub(crate) plain: bool,
    pub(crate) access: Access,
}

impl Options {
    pub(crate) fn new(variant: Variant) -> Self {
        let mut settings = Settings::new(Personality::of(variant));
        settings.answer_limit = Duration::from_secs(5);
        Self {
            settings,
            tamper: Arc::new(|_, _, _| {}),
            plain: false,
            access: Access::ReadWrite,
        }
    }

    pub(crate) fn chaos(mut self, chaos: Chaos) -> Self {
        self.settings.chaos = chaos;
        self
    }

    pub(crate) fn plain(mut self) -> Self {
        self.plain = true;
        self
    }

    /// The body of successful replies to `opcode` is changed.
    pub(crate) fn body<T, Q>(
        mut self,
        opcode: u32,
        change: impl Fn(&Q, &mut T) + Send + Sync + 'static,
    ) -> Self
    where
        T: FromBytes + IntoBytes + Immutable,
        Q: FromBytes + KnownLayout + Immutable,
    {
        self.tamper = Arc::new(move |asked, request, reply| {
            if asked == opcode {
                let (request, _) = Q::read_from_prefix(request).unwrap();
                let (mut body, _) = T::read_from_prefix(&reply[16..]).unwrap();
                change(&request, &mut body);
                reply.truncate(16);
                reply.extend_from_slice(body.as_bytes());
            }
        });
        self
    }

    /// Replies to `opcode` are changed as a whole.
    pub(crate) fn raw(
        mut self,
        opcode: u32,
        change: impl Fn(&mut Vec<u8>) + Send + Sync + 'static,
    ) -> Self {
        self.tamper = Arc::new(move |asked, _, reply| {
            if asked == opcode {
                change(reply);
            }
        });
        self
    }
}

/// Header and error only.
pub(crate) fn set_error(reply: &mut Vec<u8>, error: i32) {
    reply.truncate(16);
    reply[0..4].copy_from_slice(&16u32.to_ne_bytes());
    reply[4..8].copy_from_slice(&error.to_ne_bytes());
}

pub(crate) struct Toy {
    handle: Handle,
    options: Options,
    pub(crate) file: Mutex<File>,
}

pub(crate) struct Mounted {
    pub(crate) kernel: Kernel,
    pub(crate) handle: Handle,
    pub(crate) device: Arc<SimDevice>,
    pub(crate) toy: Arc<Toy>,
    pub(crate) servers: Vec<JoinHandle<()>>,
}

impl Mounted {
    /// A kernel with a toy server on every channel, not yet mounted.
    pub(crate) fn connect(options: Options) -> Self {
        let (kernel, side) = Kernel::connect(options.settings.clone()).unwrap();
        let device = Arc::new(SimDevice::new(8 << 20, BLOCK));
        let file = File {
            size: 0,
            cells: vec![Cell::Hole; BLOCKS],
        };
        kernel.plug(FD, Descriptor::Block(Arc::clone(&device), options.access));
        let toy = Arc::new(Toy {
            handle: side.handle.clone(),
            options,
            file: Mutex::new(file),
        });
        let owner = Arc::clone(&toy);
        device.set_owner_of(Box::new(move |block| {
            let index = block.checked_sub(FIRST)?;
            let cell = *owner.file.lock().cells.get(index as usize)?;
            (cell != Cell::Hole).then_some(NODE)
        }));
        let serve = |channel| {
            let toy = Arc::clone(&toy);
            thread::spawn(move || toy.serve(&channel))
        };
        let servers = side.channels.into_iter().map(serve).collect();
        Self {
            kernel,
            handle: side.handle,
            device,
            toy,
            servers,
        }
    }

    /// Mounted, with the file in core.
    pub(crate) fn new(options: Options) -> Self {
        let mounted = Self::connect(options);
        mounted.kernel.mount().unwrap();
        mounted.kernel.lookup(1, "file").unwrap();
        mounted
    }

    pub(crate) fn rules(&self) -> Vec<Rule> {
        let violations = self.kernel.violations();
        violations.iter().map(|violation| violation.rule).collect()
    }

    #[track_caller]
    pub(crate) fn assert_clean(&self) {
        assert_eq!(self.kernel.violations(), []);
        assert_eq!(self.device.strays(), []);
    }
}

impl Toy {
    /// Forgets, without telling the kernel, that the file has blocks.
    pub(crate) fn free_all(&self) {
        self.file.lock().cells.fill(Cell::Hole);
    }

    fn serve(&self, channel: &OwnedFd) {
        let mut buffer = vec![0; 1 << 18];
        loop {
            let len = rustix::io::read(channel, buffer.as_mut_slice()).unwrap_or(0);
            if len == 0 {
                return;
            }
            let (header, body) = InHeader::ref_from_prefix(&buffer[..len]).unwrap();
            assert_eq!(header.len as usize, len);
            let Some(outcome) = self.answer(header, body) else {
                continue;
            };
            let (error, bytes) = match outcome {
                Ok(bytes) => (0, bytes),
                Err(errno) => (-errno.raw_os_error(), Vec::new()),
            };
            let mut reply = vec![0; 16];
            reply.extend_from_slice(&bytes);
            reply[4..8].copy_from_slice(&i32::to_ne_bytes(error));
            reply[8..16].copy_from_slice(&header.unique.to_ne_bytes());
            (self.options.tamper)(header.opcode, body, &mut reply);
            if reply[0..4] == [0; 4] {
                let len = reply.len() as u32;
                reply[0..4].copy_from_slice(&len.to_ne_bytes());
            }
            let _ = rustix::io::write(channel, &reply);
        }
    }

    fn answer(&self, header: &InHeader, body: &[u8]) -> Option<Result<Vec<u8>, Errno>> {
        Some(Ok(match header.opcode {
            op::FORGET => return None,
            op::INIT => bytes(&InitOut {
                major: 7,
                minor: 99,
                flags: 1 << 30,
                flags2: parse::<InitIn>(body).flags2 & (1 << 11),
                max_write: 1 << 17,
                ..InitOut::default()
            }),
            op::IOMAP_CONFIG => {
                let mut map = BackingMap {
                    fd: FD,
                    flags: 1,
                    padding: 0,
                };
                if self
                    .handle
                    .ioctl(ioctl::BACKING_OPEN, map.as_mut_bytes())
                    .is_err()
                {
                    return Some(Err(Errno::IO));
                }
                bytes(&ConfigOut {
                    flags: config::BLOCKSIZE | config::MAXBYTES,
                    s_blocksize: BLOCK as u32,
                    s_maxbytes: 1 << 44,
                    ..ConfigOut::default()
                })
            }
            op::LOOKUP => bytes(&EntryOut {
                nodeid: NODE,
                attr: self.attr(),
                ..EntryOut::default()
            }),
            op::GETATTR => bytes(&AttrOut {
                attr: self.attr(),
                ..AttrOut::default()
            }),
            op::SETATTR => {
                let request: SetattrIn = parse(body);
                if request.valid & setattr::SIZE != 0 {
                    let mut file = self.file.lock();
                    file.size = request.size;
                    let kept = request.size.div_ceil(BLOCK) as usize;
                    file.cells[kept..].fill(Cell::Hole);
                }
                bytes(&AttrOut {
                    attr: self.attr(),
                    ..AttrOut::default()
                })
            }
            op::OPEN => bytes(&OpenOut {
                fh: 5,
                open_flags: fopen::KEEP_CACHE,
                backing_id: 0,
            }),
            op::FALLOCATE => {
                self.fallocate(&parse(body));
                Vec::new()
            }
            op::IOMAP_BEGIN => return Some(Ok(self.begin(&parse(body)))),
            op::IOMAP_IOEND => self.ioend(&parse(body)),
            op::IOMAP_END | op::FLUSH | op::RELEASE | op::SYNCFS | op::DESTROY => Vec::new(),
            op::FSYNC => Vec::new(),
            _ => return Some(Err(Errno::NOSYS)),
        }))
    }

    fn attr(&self) -> Attr {
        Attr {
            ino: INO,
            size: self.file.lock().size,
            mode: 0o100_644,
            nlink: 1,
            blksize: BLOCK as u32,
            flags: attr::EXCLUSIVE | attr::IOMAP,
            ..Attr::default()
        }
    }

    fn begin(&self, request: &BeginIn) -> Vec<u8> {
        let mut file = self.file.lock();
        let block = (request.pos / BLOCK) as usize;
        let end = (request.pos + request.count).div_ceil(BLOCK) as usize;
        let writes = request.opflags & opflag::WRITE_TYPE & !opflag::ZERO != 0;
        if writes && request.opflags & opflag::REPORT == 0 {
            for cell in &mut file.cells[block..end.min(BLOCKS)] {
                if *cell == Cell::Hole {
                    *cell = Cell::Unwritten;
                }
            }
        }
        let read = file.mapping(block);
        let never_cached = opflag::REPORT | opflag::SWAPFILE | opflag::ATOMIC;
        let plain = self.options.plain || request.opflags & never_cached != 0;
        let write = special(&read, Kind::PureOverwrite);
        if plain || self.push(&read).is_err() {
            return bytes(&BeginOut {
                read: read.to_wire(),
                write,
            });
        }
        let read = special(&read, Kind::RetryCache);
        bytes(&BeginOut { read, write })
    }

    /// Upserts a mapping.
    fn push(&self, read: &Mapping) -> Result<(), Errno> {
        self.handle.notify(&upsert_message(&Upsert {
            nodeid: NODE,
            attr_ino: INO,
            read: read.to_wire(),
            write: special(read, Kind::Nocache),
        }))
    }

    fn ioend(&self, request: &IoendIn) -> Vec<u8> {
        let mut file = self.file.lock();
        let end = request.pos + request.written;
        if request.error == 0 && request.flags & ioend::SWAPOFF == 0 {
            if request.flags & ioend::UNWRITTEN != 0 {
                for block in request.pos / BLOCK..end.div_ceil(BLOCK) {
                    let cell = &mut file.cells[block as usize];
                    if *cell == Cell::Unwritten {
                        *cell = Cell::Written;
                    }
                }
            }
            file.size = file.size.max(end);
        }
        bytes(&IoendOut { newsize: file.size })
    }

    fn fallocate(&self, request: &FallocateIn) {
        let mut file = self.file.lock();
        let end = request.offset + request.length;
        let (first, last) = match request.mode & (2 | 16) {
            0 => (request.offset / BLOCK, end.div_ceil(BLOCK)),
            _ => (request.offset.div_ceil(BLOCK), end / BLOCK),
        };
        for block in first..last.max(first) {
            let cell = &mut file.cells[block as usize];
            *cell = match (request.mode & (2 | 16), *cell) {
                (2, _) => Cell::Hole,
                (0, Cell::Written) => Cell::Written,
                _ => Cell::Unwritten,
            };
        }
        if request.mode & 1 == 0 {
            file.size = file.size.max(end);
        }
    }
}

impl File {
    /// The run of equal blocks around one.
    fn mapping(&self, block: usize) -> Mapping {
        let cell = self.cells.get(block).copied().unwrap_or(Cell::Hole);
        if block >= BLOCKS {
            return Mapping::hole(block as u64 * BLOCK, BLOCK << 20);
        }
        let before = self.cells[..block]
            .iter()
            .rev()
            .take_while(|other| **other == cell)
            .count();
        let after = self.cells[block..]
            .iter()
            .take_while(|other| **other == cell)
            .count();
        let first = (block - before) as u64;
        let hole = Mapping::hole(first * BLOCK, (before + after) as u64 * BLOCK);
        let place = Mapping {
            addr: (FIRST + first) * BLOCK,
            dev: 1,
            ..hole
        };
        match cell {
            Cell::Hole => hole,
            Cell::Unwritten => Mapping {
                kind: Kind::Unwritten,
                ..place
            },
            Cell::Written => Mapping {
                kind: Kind::Mapped,
                ..place
            },
        }
    }
}

/// A mapping of a special type over another's range.
pub(crate) fn special(like: &Mapping, kind: Kind) -> MapIo {
    MapIo {
        offset: like.offset,
        length: like.length,
        addr: map::NONE,
        kind: kind.number(),
        flags: 0,
        dev: 0,
    }
}

pub(crate) fn message(code: i32, payload: &[u8]) -> Vec<u8> {
    let header = OutHeader {
        len: 16 + payload.len() as u32,
        error: code,
        unique: 0,
    };
    [header.as_bytes(), payload].concat()
}

pub(crate) fn upsert_message(upsert: &Upsert) -> Vec<u8> {
    message(notify::IOMAP_UPSERT, upsert.as_bytes())
}

fn bytes<T: IntoBytes + Immutable>(value: &T) -> Vec<u8> {
    value.as_bytes().to_vec()
}

fn parse<T: FromBytes>(body: &[u8]) -> T {
    T::read_from_prefix(body).unwrap().0
}

//! Requests, from nearly right to nonsense.

use anyhow::{Result, ensure};
use system_tests::rng::Rng;

const HEADER_BYTES: usize = 40;

const FORGET: u32 = 2;
pub(crate) const GETATTR: u32 = 3;
const READ: u32 = 15;
const WRITE: u32 = 16;
const SETXATTR: u32 = 21;
const GETXATTR: u32 = 22;
const LISTXATTR: u32 = 23;
pub(crate) const INIT: u32 = 26;
const READDIR: u32 = 28;
const INTERRUPT: u32 = 36;
const DESTROY: u32 = 38;
const IOCTL: u32 = 39;
const NOTIFY_REPLY: u32 = 41;
const BATCH_FORGET: u32 = 42;
const FALLOCATE: u32 = 43;
const READDIRPLUS: u32 = 44;
const LSEEK: u32 = 46;

/// A kind of request: opcode, bytes of its structure, names after it.
const KINDS: &[(u32, usize, usize)] = &[
    (1, 0, 1), // LOOKUP
    (FORGET, 8, 0),
    (GETATTR, 16, 0),
    (4, 88, 0), // SETATTR
    (5, 0, 0),  // READLINK
    (6, 0, 2),  // SYMLINK
    (8, 16, 1), // MKNOD
    (9, 8, 1),  // MKDIR
    (10, 0, 1), // UNLINK
    (11, 0, 1), // RMDIR
    (12, 8, 2), // RENAME
    (13, 8, 1), // LINK
    (14, 8, 0), // OPEN
    (READ, 40, 0),
    (WRITE, 40, 0),
    (17, 0, 0),  // STATFS
    (18, 24, 0), // RELEASE
    (20, 16, 0), // FSYNC
    (SETXATTR, 16, 1),
    (GETXATTR, 8, 1),
    (LISTXATTR, 8, 0),
    (24, 0, 1),  // REMOVEXATTR
    (25, 24, 0), // FLUSH
    (INIT, 64, 0),
    (27, 8, 0), // OPENDIR
    (READDIR, 40, 0),
    (29, 24, 0), // RELEASEDIR
    (30, 16, 0), // FSYNCDIR
    (31, 48, 0), // GETLK
    (34, 8, 0),  // ACCESS
    (35, 16, 1), // CREATE
    (INTERRUPT, 8, 0),
    (37, 16, 0), // BMAP
    (IOCTL, 32, 0),
    (40, 24, 0), // POLL
    (NOTIFY_REPLY, 40, 0),
    (BATCH_FORGET, 8, 0),
    (FALLOCATE, 32, 0),
    (READDIRPLUS, 40, 0),
    (45, 16, 2), // RENAME2
    (LSEEK, 24, 0),
    (47, 56, 0), // COPY_FILE_RANGE
    (50, 8, 0),  // SYNCFS
    (51, 16, 1), // TMPFILE
    (52, 24, 0), // STATX
    (53, 56, 0), // COPY_FILE_RANGE_64
];

/// Opcodes that are not refused whatever they ask for.
pub(crate) fn can_succeed() -> impl Iterator<Item = u32> {
    let refused = [
        FORGET,
        14,
        25,
        INIT,
        27,
        31,
        INTERRUPT,
        40,
        NOTIFY_REPLY,
        BATCH_FORGET,
    ];
    let kinds = KINDS.iter().map(|kind| kind.0);
    kinds.filter(move |opcode| !refused.contains(opcode))
}

/// Numbers at which things end or begin.
const NUMBERS: &[u64] = &[
    0,
    1,
    2,
    3,
    11,
    12,
    255,
    256,
    511,
    4095,
    4096,
    4097,
    8192,
    65_535,
    65_536,
    1 << 20,
    1 << 31,
    (1 << 32) - 1,
    1 << 32,
    (1 << 44) - 4096,
    1 << 44,
    1 << 62,
    i64::MAX.cast_unsigned(),
    1 << 63,
    u64::MAX - 4095,
    u64::MAX,
];

const NAMES: &[&[u8]] = &[
    b"a",
    b"b",
    b"c",
    b"d",
    b"lost+found",
    b".",
    b"..",
    b"",
    b"a/b",
    b"\xff\xfe",
    b"user.x",
    b"user.y",
    b"trusted.x",
    b"security.capability",
    b"system.posix_acl_access",
    b"system.posix_acl_default",
    b"system.data",
    b"user.",
];

const IOCTLS: &[u32] = &[
    0x8008_6601,
    0x4008_6602,
    0x801c_581f,
    0x401c_5820,
    0x8008_7601,
    0x4008_7602,
    0x8100_9431,
    0x4100_9432,
    0xc018_5879,
    0x8010_eb01,
    0xbff0_eb02,
    0x8011_1500,
    0,
];

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) opcode: u32,
    /// The one that begins a connection.
    pub(crate) is_first: bool,
    node: u64,
    body: Vec<u8>,
    caller: [u32; 3],
    extension_words: u16,
    /// What the length says too much or too little.
    lie: i32,
    /// The room a READ or the like has said there is.
    room: Option<usize>,
}

impl Request {
    pub(crate) fn new(opcode: u32, node: u64, body: Vec<u8>) -> Self {
        Self {
            opcode,
            is_first: opcode == INIT,
            node,
            body,
            caller: [0; 3],
            extension_words: 0,
            lie: 0,
            room: None,
        }
    }

    /// The bytes of it.
    pub(crate) fn message(&mut self, unique: u64) -> Vec<u8> {
        let len = HEADER_BYTES as i32 + self.body.len() as i32 + self.lie;
        let mut message = len.to_ne_bytes().to_vec();
        message.extend(self.opcode.to_ne_bytes());
        message.extend(unique.to_ne_bytes());
        message.extend(self.node.to_ne_bytes());
        self.caller
            .iter()
            .for_each(|word| message.extend(word.to_ne_bytes()));
        message.extend(self.extension_words.to_ne_bytes());
        message.extend([0; 2]);
        message.extend(&self.body);
        message
    }

    /// Whether the kernel waits for an answer.
    pub(crate) fn is_answered(&self) -> bool {
        ![FORGET, BATCH_FORGET, INTERRUPT, NOTIFY_REPLY].contains(&self.opcode)
    }

    /// The answer begins with a node's number.
    pub(crate) fn gives_a_node(&self) -> bool {
        [1, 6, 8, 9, 13, 35, 51].contains(&self.opcode)
    }

    /// A good answer's form, where it is always the same.
    pub(crate) fn check_answer(&self, body: &[u8]) -> Result<()> {
        let fixed = match self.opcode {
            1 | 6 | 8 | 9 | 13 => Some(128),
            GETATTR | 4 => Some(104),
            WRITE | 47 | 53 | LSEEK | 37 => Some(8),
            17 => Some(80),
            35 | 51 => Some(144),
            52 => Some(288),
            4096.. => None,
            10 | 11 | 12 | 45 | 18 | 20 | SETXATTR | 24 | 29 | 30 | 34 | FALLOCATE | 50 => Some(0),
            _ => None,
        };
        if let Some(fixed) = fixed {
            ensure!(body.len() == fixed, "{self:?}: an answer of {}", body.len());
        }
        if let Some(room) = self.room {
            ensure!(body.len() <= room, "{self:?}: {} bytes", body.len());
        }
        Ok(())
    }
}

/// A request that may be right, nearly right, or nonsense.
pub(crate) fn any(rng: &mut Rng, nodes: &[u64]) -> Request {
    if rng.below(40) == 0 {
        return nonsense(rng);
    }
    let &(opcode, bytes, names) = pick(rng, KINDS);
    let mut request = Request::new(opcode, node(rng, nodes), Vec::new());
    request.is_first = false;
    request.caller = [caller(rng), caller(rng), 0];
    let body = &mut request.body;
    while body.len() < bytes {
        let number = match rng.below(4) {
            0 => node(rng, nodes),
            _ => number(rng),
        };
        match rng.below(2) {
            0 => body.extend(number.to_ne_bytes()),
            _ => body.extend((number as u32).to_ne_bytes()),
        }
    }
    body.truncate(bytes);
    make_sense(rng, &mut request, nodes);
    for _ in 0..names {
        let name = match opcode {
            SETXATTR | GETXATTR | 24 if rng.below(2) == 0 => b"user.x".to_vec(),
            _ => name(rng),
        };
        request.body.extend(name);
        request.body.push(0);
    }
    if opcode == SETXATTR && rng.below(8) > 0 {
        let len = rng.below(300);
        set(&mut request.body, 0, len as u32);
        request.body.extend((0..len).map(|_| rng.below(256) as u8));
    }
    spoil(rng, &mut request);
    request
}

/// Most requests are as they should be in what would stop them at once.
fn make_sense(rng: &mut Rng, request: &mut Request, nodes: &[u64]) {
    if rng.below(10) == 0 {
        return;
    }
    let small = rng.below(70_000) as u32;
    let body = &mut request.body;
    match request.opcode {
        WRITE => {
            set(body, 8, rng.below(1 << 22) as u32);
            set(body, 12, 0);
            set(body, 16, small);
            body.extend((0..small).map(|at| at as u8));
        }
        READ | READDIR | READDIRPLUS => {
            set(body, 16, small);
            set(body, 12, 0);
            request.room = Some(small as usize);
        }
        GETXATTR | LISTXATTR => set(body, 0, small),
        LSEEK => set(body, 16, 3 + rng.below(2) as u32),
        FALLOCATE => {
            set(body, 24, *pick(rng, &[0, 1, 2, 3, 8, 16, 17, 32, 64]));
            set(body, 12, rng.below(2) as u32);
            set(body, 20, 0);
        }
        IOCTL => {
            set(body, 12, *pick(rng, IOCTLS));
            let len = *pick(rng, &[0, 4, 8, 24, 28, 256]);
            set(body, 24, len);
            set(body, 28, *pick(rng, &[0, 4, 8, 28, 256, 16_368]));
            body.extend((0..len).map(|_| rng.below(256) as u8));
        }
        BATCH_FORGET => {
            let count = rng.below(4) as u32;
            set(body, 0, count);
            for _ in 0..count {
                body.extend(node(rng, nodes).to_ne_bytes());
                body.extend(rng.below(3).to_ne_bytes());
            }
        }
        // FORGET of what has been told, not of more.
        FORGET => body.copy_from_slice(&rng.below(2).to_ne_bytes()),
        8 | 9 | 35 | 51 => {
            // mode, umask and flags where they lie.
            let types = [0o100_000, 0o040_000, 0o020_000, 0o010_000, 0o140_000];
            let mode = *pick(rng, &types) | rng.below(0o10000) as u32;
            set(body, if request.opcode < 10 { 0 } else { 4 }, mode);
        }
        // Sizes that a small image has room for.
        4 => {
            set(body, 0, rng.below(1 << 12) as u32);
            set(body, 20, rng.below(2) as u32);
        }
        47 | 53 => {
            for place in [8, 32, 40] {
                set_long(body, place, rng.below(70_000));
            }
            set_long(body, 16, node(rng, nodes));
            set_long(body, 48, 0);
        }
        12 | 45 => {
            set_long(body, 0, node(rng, nodes));
            set(body, 8, *pick(rng, &[0, 0, 1, 2, 4, 5]));
        }
        _ => {}
    }
}

/// Lengths that lie, ends cut off, bits turned, extensions that are none.
fn spoil(rng: &mut Rng, request: &mut Request) {
    match rng.below(30) {
        0 => request
            .body
            .truncate(rng.below(request.body.len() as u64 + 1) as usize),
        1 => request.body.extend((0..rng.below(64)).map(|_| 0xa5u8)),
        2 => request.lie = *pick(rng, &[-41, -8, -1, 1, 8, i32::MAX / 2]),
        3 => request.extension_words = rng.below(1 << 16) as u16,
        4 => {
            request.extension_words = 3;
            request
                .body
                .resize(request.body.len().next_multiple_of(8), 0);
            let group = [24, 32, 1, rng.below(1 << 32) as u32, 0, 0];
            let bytes = group.iter().flat_map(|word: &u32| word.to_ne_bytes());
            request.body.extend(bytes);
        }
        5 => {
            if let Some(byte) = request.body.first_mut() {
                *byte ^= 1 << rng.below(8);
            }
        }
        _ => return,
    }
    // What was said before may be so no longer.
    request.room = None;
}

fn nonsense(rng: &mut Rng) -> Request {
    let opcode = loop {
        let opcode = match rng.below(3) {
            0 => rng.below(64) as u32,
            1 => 4090 + rng.below(10) as u32,
            _ => rng.next_u64() as u32,
        };
        // That would be the end.
        if opcode != DESTROY {
            break opcode;
        }
    };
    let len = rng.below(200);
    let body = (0..len).map(|_| rng.below(256) as u8).collect();
    let mut request = Request::new(opcode, rng.next_u64(), body);
    request.is_first = false;
    request
}

fn pick<'a, T>(rng: &mut Rng, from: &'a [T]) -> &'a T {
    &from[rng.below(from.len() as u64) as usize]
}

fn number(rng: &mut Rng) -> u64 {
    match rng.below(4) {
        0 => rng.next_u64(),
        1 => rng.below(1 << 20),
        _ => *pick(rng, NUMBERS),
    }
}

fn node(rng: &mut Rng, nodes: &[u64]) -> u64 {
    match rng.below(20) {
        0 => number(rng),
        1..8 => 1,
        _ => *pick(rng, nodes),
    }
}

fn caller(rng: &mut Rng) -> u32 {
    *pick(rng, &[0, 0, 1000, u32::MAX])
}

fn name(rng: &mut Rng) -> Vec<u8> {
    match rng.below(12) {
        0 => vec![b'n'; rng.below(300) as usize],
        1 => b"user.".iter().chain(&[b'z'; 250]).copied().collect(),
        2..6 => format!("f{}", rng.below(40)).into_bytes(),
        _ => pick(rng, NAMES).to_vec(),
    }
}

fn set_long(body: &mut [u8], offset: usize, value: u64) {
    set(body, offset, value as u32);
    set(body, offset + 4, (value >> 32) as u32);
}

fn set(body: &mut [u8], offset: usize, word: u32) {
    if let Some(place) = body.get_mut(offset..offset + 4) {
        place.copy_from_slice(&word.to_ne_bytes());
    }
}
